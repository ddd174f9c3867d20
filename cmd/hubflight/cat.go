package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/csv"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
)

func newCatCommand() *cobra.Command {
	var f readFlags
	var q queryFlags
	var output, format string
	cmd := &cobra.Command{
		Use:   "cat DATASET",
		Short: "Print the rows of a dataset, or write them to a file",
		Long: `Print the rows of a dataset as JSON lines, or write them to a file.

The format is --format, else it follows from the output's name: .parquet, .arrow
(an IPC stream), .csv or .jsonl.`,
		Example: `  hubflight cat demo/flights --columns carrier,dep_delay --limit 5
  hubflight cat demo/instruct --config-name gen --filters '[["langdetect","=","en"]]' --output en.parquet`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			read, err := q.apply(f.read(args[0]))
			if err != nil {
				return err
			}
			if format == "" {
				format = formatOf(output)
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return catTo(ctx, cmd, c.Dataset(read), c, output, format)
			})
		},
	}
	f.add(cmd.Flags())
	q.add(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write; it appears only when it is complete")
	cmd.Flags().StringVar(&format, "format", "", "jsonl, csv, arrow or parquet")
	return cmd
}

func formatOf(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".parquet", ".pq":
		return "parquet"
	case ".arrow", ".arrows", ".ipc":
		return "arrow"
	case ".csv":
		return "csv"
	}
	return "jsonl"
}

// catTo streams a dataset to stdout or to a file.
func catTo(ctx context.Context, cmd *cobra.Command, d *client.Dataset, c *client.Client, output, format string) (err error) {
	plan, err := d.Plan(ctx)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	finish := func(bool) error { return nil }
	if output != "" {
		var file *os.File
		if file, finish, err = createWhole(output); err != nil {
			return err
		}
		out = file
	}
	err = copyRows(ctx, c, plan, out, format, newProgress(cmd, plan, output))
	return errors.Join(err, finish(err == nil))
}

func copyRows(ctx context.Context, c *client.Client, plan *client.Plan, out io.Writer, format string, progress func(int64)) error {
	buffered := bufio.NewWriterSize(out, 1<<20)
	sink, err := newRowSink(format, buffered, plan.Schema)
	if err != nil {
		return err
	}
	for rec, err := range c.ScanPlan(ctx, plan, client.ScanOptions{Ordered: true}) {
		if err != nil {
			return err
		}
		if err := sink.Write(rec); err != nil {
			return source.AsError("cat", err)
		}
		progress(rec.NumRows())
	}
	if err := sink.Close(); err != nil {
		return source.AsError("cat", err)
	}
	return buffered.Flush()
}

// rowSink is a writer of record batches in some format.
type rowSink interface {
	Write(arrow.RecordBatch) error
	Close() error
}

func newRowSink(format string, out io.Writer, schema *arrow.Schema) (rowSink, error) {
	switch format {
	case "jsonl":
		return jsonLines{out}, nil
	case "csv":
		return csvSink{csv.NewWriter(out, schema, csv.WithHeader(true), csv.WithNullWriter(""))}, nil
	case "arrow":
		return ipc.NewWriter(out, ipc.WithSchema(schema)), nil
	case "parquet":
		w, err := pqarrow.NewFileWriter(schema, out, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
		if err != nil {
			return nil, source.AsError("cat", err)
		}
		return parquetSink{w}, nil
	}
	return nil, &usageError{fmt.Errorf("--format: %q is none of jsonl, csv, arrow, parquet", format)}
}

type jsonLines struct{ out io.Writer }

func (j jsonLines) Write(rec arrow.RecordBatch) error { return array.RecordToJSON(rec, j.out) }
func (j jsonLines) Close() error                      { return nil }

type csvSink struct{ w *csv.Writer }

func (c csvSink) Write(rec arrow.RecordBatch) error { return c.w.Write(rec) }
func (c csvSink) Close() error                      { return c.w.Flush() }

type parquetSink struct{ w *pqarrow.FileWriter }

// Write collects batches into row groups of the library's default size.
func (p parquetSink) Write(rec arrow.RecordBatch) error { return p.w.WriteBuffered(rec) }
func (p parquetSink) Close() error                      { return p.w.Close() }

// createWhole makes a file that appears under its name only when finish(true) is
// called: nobody ever reads half of it.
func createWhole(name string) (file *os.File, finish func(ok bool) error, err error) {
	file, err = os.CreateTemp(filepath.Dir(name), ".hubflight-*")
	if err != nil {
		return nil, nil, source.AsError("cat", err)
	}
	return file, func(ok bool) error {
		err := file.Close() // pqarrow has closed it already; that is no failure
		if errors.Is(err, os.ErrClosed) {
			err = nil
		}
		if ok && err == nil {
			err = os.Rename(file.Name(), name)
		}
		if !ok || err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
		return err
	}, nil
}

// newProgress draws a bar on a terminal while a file is written, and nothing
// anywhere else.
func newProgress(cmd *cobra.Command, plan *client.Plan, output string) func(rows int64) {
	stderr, ok := cmd.ErrOrStderr().(*os.File)
	if output == "" || !ok || !term.IsTerminal(int(stderr.Fd())) {
		return func(int64) {}
	}
	bar := progressbar.NewOptions64(plan.Rows, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(filepath.Base(output)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"), progressbar.OptionClearOnFinish())
	return func(rows int64) { _ = bar.Add64(rows) } // a bar that cannot be drawn is no failure
}
