package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

func newLsCommand() *cobra.Command {
	var f readFlags
	var p parquetFlags
	cmd := &cobra.Command{
		Use:   "ls DATASET",
		Short: "List the configs and splits of a dataset, with files, bytes and rows",
		Example: `  hubflight ls stanfordnlp/imdb
  hubflight ls ibm/duorc --parquet --config-name SelfRC
  hubflight ls file:///data/flights --local.roots /data`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.check(cmd); err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if p.parquet {
					return p.list(ctx, cmd, c, args[0], f.revision)
				}
				sha, splits, err := c.Splits(ctx, args[0], f.revision)
				if err != nil {
					return err
				}
				if f.asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"dataset": args[0], "sha": sha, "splits": splits, "requests": c.Requests()})
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s at %.12s\n", args[0], sha)
				printRequests(cmd.ErrOrStderr(), c.Requests())
				return printSplits(cmd, splits)
			})
		},
	}
	p.add(cmd)
	f.add(cmd)
	return cmd
}

func printSplits(cmd *cobra.Command, splits []client.Split) error {
	var table [][]string
	for _, s := range splits {
		rows, mark := "?", ""
		if s.Rows != nil {
			rows = strconv.FormatInt(*s.Rows, 10)
		}
		if s.Default {
			mark = "yes"
		}
		table = append(table, []string{s.Config, s.Split, strconv.Itoa(s.Files), bytesText(s.Bytes), rows, mark})
	}
	return printTable(cmd.OutOrStdout(), []column{text("CONFIG"), text("SPLIT"), number("FILES"), number("BYTES"), number("ROWS"), text("DEFAULT")}, table)
}

// bytesText is a size as the Hub shows it: three digits and a decimal unit.
func bytesText(n int64) string {
	if n < 0 {
		return "?"
	}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), -1
	for value >= 1000 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	digits := 0
	if value < 100 {
		digits = 1
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + []string{"kB", "MB", "GB", "TB", "PB"}[unit]
}
