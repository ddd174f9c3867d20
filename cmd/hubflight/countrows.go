package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

func newCountCommand() *cobra.Command {
	var f readFlags
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "count DATASET",
		Short: "Count the rows that a read would give",
		Long: `Count the rows that a read would give.

The number is exact. Without filters the footers say it; with filters the columns
that these name are read, as far as nothing else rules their rows out.`,
		Example: `  hubflight count stanfordnlp/imdb --split test
  hubflight count demo/instruct --filters '[["langdetect","=","zh-cn"]]'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, err := q.apply(f.read(args[0]))
			if err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				n, err := c.Dataset(read).Counted(ctx)
				if err != nil {
					return err
				}
				if f.asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"rows": n.Rows, "exact": n.Exact, "from": n.From})
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), n.Rows)
				return err
			})
		},
	}
	f.add(cmd)
	q.add(cmd.Flags())
	return cmd
}
