package main

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

func newSchemaCommand() *cobra.Command {
	var f readFlags
	var q queryFlags
	cmd := &cobra.Command{
		Use:     "schema DATASET",
		Short:   "Print the columns of a dataset and their types",
		Example: `  hubflight schema stanfordnlp/imdb --profile spark`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, err := q.apply(f.read(args[0]))
			if err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				schema, err := c.Dataset(read).Schema(ctx)
				if err != nil {
					return err
				}
				return printSchema(cmd, schema, f.asJSON)
			})
		},
	}
	f.add(cmd)
	q.add(cmd.Flags())
	return cmd
}

func printSchema(cmd *cobra.Command, schema *arrow.Schema, asJSON bool) error {
	if asJSON {
		type field struct {
			Name     string `json:"name"`
			Type     string `json:"type"`
			Nullable bool   `json:"nullable"`
		}
		columns := []field{}
		for _, f := range schema.Fields() {
			columns = append(columns, field{f.Name, f.Type.String(), f.Nullable})
		}
		answer := map[string]any{"columns": columns}
		if facts, ok := schema.Metadata().GetValue("hubflight"); ok {
			answer["snapshot"] = json.RawMessage(facts)
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
	}
	var table [][]string
	for _, f := range schema.Fields() {
		table = append(table, []string{f.Name, f.Type.String(), strconv.FormatBool(f.Nullable)})
	}
	return printTable(cmd.OutOrStdout(), []column{text("COLUMN"), text("TYPE"), text("NULLABLE")}, table)
}
