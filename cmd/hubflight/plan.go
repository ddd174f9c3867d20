package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

func newPlanCommand() *cobra.Command {
	var f readFlags
	var q queryFlags
	var explain bool
	var svg string
	cmd := &cobra.Command{
		Use:   "plan DATASET",
		Short: "Show which files and row groups a read would touch",
		Long: `Show which files and row groups a read would touch.

One line is one partition: one Flight endpoint, one Spark task. With --explain
every row group is a cell, which tells whether it is read, and what spares it.
For that, bloom filters, dictionaries and page indexes are read, too; a plan by
itself reads footers only.`,
		Example: `  hubflight plan demo/instruct --config-name 7M-core --filters '[["langdetect","=","zh-cn"]]' --explain
  hubflight plan demo/instruct --filters '[["id","=",7]]' --svg plan.svg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, err := q.apply(f.read(args[0]))
			if err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if explain || svg != "" {
					e, err := c.Dataset(read).Explain(ctx)
					if err != nil {
						return err
					}
					if svg != "" {
						if err := saveSVG(svg, args[0], e); err != nil {
							return err
						}
					}
					return printExplanation(cmd, e, c.Requests(), f.asJSON)
				}
				plan, err := c.Dataset(read).Plan(ctx)
				if err != nil {
					return err
				}
				return printPlan(cmd, plan, c.Requests(), f.asJSON)
			})
		},
	}
	f.add(cmd)
	q.add(cmd.Flags())
	cmd.Flags().BoolVar(&explain, "explain", false, "show every row group: read, or skipped and by which layer")
	cmd.Flags().StringVar(&svg, "svg", "", "draw the row groups into an SVG `file`; implies --explain")
	return cmd
}

// saveSVG writes the picture of a plan; a file that is there is replaced.
func saveSVG(path, dataset string, e *client.Explanation) error {
	file, err := os.Create(path)
	if err != nil {
		return &usageError{fmt.Errorf("--svg: %w", err)}
	}
	return errors.Join(writeSVG(file, dataset, e), file.Close())
}

func printPlan(cmd *cobra.Command, plan *client.Plan, spent client.Requests, asJSON bool) error {
	if asJSON {
		parts := make([]any, len(plan.Partitions))
		for i, p := range plan.Partitions {
			parts[i] = p.Facts
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"facts": plan.Facts, "rows": plan.Rows, "bytes": plan.Bytes, "partitions": parts, "requests": spent})
	}
	printFacts(cmd.ErrOrStderr(), plan)
	printRequests(cmd.ErrOrStderr(), spent)
	var table [][]string
	for _, p := range plan.Partitions {
		groups, rows := "all", fmt.Sprint(p.Facts.Rows)
		if p.Facts.RowGroups != nil {
			groups = fmt.Sprint(len(p.Facts.RowGroups))
		}
		if !p.Facts.RowsExact {
			rows = "≤ " + rows
		}
		table = append(table, []string{p.Facts.File, groups, rows, bytesText(p.Facts.Bytes)})
	}
	return printTable(cmd.OutOrStdout(), []column{text("FILE"), number("ROW GROUPS"), number("ROWS"), number("BYTES")}, table)
}

func printFacts(w io.Writer, plan *client.Plan) {
	f := plan.Facts
	rows := "rows unknown before reading"
	if plan.Rows >= 0 {
		rows = count(int(plan.Rows), "row")
	}
	fmt.Fprintf(w, "%s at %.12s, config %s, split %s (%s): %s, %d of %d files, %s, %s\n",
		f.Dataset, f.Sha, printable(f.Config), printable(f.Split), f.Source, count(len(plan.Partitions), "partition"), f.FilesKept, f.FilesTotal, rows, bytesText(plan.Bytes))
}

// printRequests says what an answer has cost, where others answer: nothing for a
// local folder.
func printRequests(w io.Writer, spent client.Requests) {
	if spent == (client.Requests{}) {
		return
	}
	fmt.Fprintf(w, "requests: %d to the Hub, %d to its storage", spent.Hub, spent.CDN)
	if spent.Viewer > 0 {
		fmt.Fprintf(w, ", %d to the dataset viewer", spent.Viewer)
	}
	fmt.Fprintln(w)
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func printExplanation(cmd *cobra.Command, e *client.Explanation, spent client.Requests, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			*client.Explanation
			Requests client.Requests `json:"requests"`
		}{e, spent})
	}
	out := cmd.OutOrStdout()
	if err := drawPlan(out, terminalWidth(out), e); err != nil {
		return err
	}
	t := e.Totals
	for _, note := range t.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: "+printable(note))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s at %.12s, config %s, split %s (%s)\n", t.Dataset, t.Sha, printable(t.Config), printable(t.Split), t.Source)
	printRequests(cmd.ErrOrStderr(), spent)
	_, err := fmt.Fprintf(out, "row groups read: %d of %d · files: %d of %d · bytes: at most %s of %s · rows that may match: %d\n",
		t.GroupsKept, t.GroupsTotal, t.FilesKept, t.FilesTotal, bytesText(t.BytesRead), bytesText(t.BytesTotal), t.Candidates)
	return err
}
