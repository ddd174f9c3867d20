package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
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
			if format == "" && f.asJSON {
				format = "jsonl"
			}
			if format = cmp.Or(format, formatOf(output)); format == "" && filepath.Ext(output) != "" {
				return &usageError{fmt.Errorf("--output: the format of %s is not known by its name: say --format, which is one of %s", output, strings.Join(formats, ", "))}
			}
			format = cmp.Or(format, "jsonl")
			if !slices.Contains(formats, format) {
				return &usageError{fmt.Errorf("--format: %q is none of %s", format, strings.Join(formats, ", "))}
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return catTo(ctx, cmd, c.Dataset(read), c, output, format)
			})
		},
	}
	f.add(cmd)
	q.add(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write; it appears only when it is complete")
	cmd.Flags().StringVar(&format, "format", "", "`name` of the format: "+strings.Join(formats, ", "))
	return cmd
}

// formats are what cat writes.
var formats = []string{"jsonl", "csv", "arrow", "parquet"} //nolint:gochecknoglobals // a constant list

// formatOf is the format that a file's name says; "" if it says none of ours.
func formatOf(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".jsonl", ".ndjson", ".json":
		return "jsonl"
	case ".parquet", ".pq":
		return "parquet"
	case ".arrow", ".arrows", ".ipc":
		return "arrow"
	case ".csv":
		return "csv"
	}
	return ""
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
			return &usageError{fmt.Errorf("--output: %w", err)}
		}
		out = file
	}
	progress, drawn := newProgress(cmd, plan, output)
	err = copyRows(ctx, c, plan, out, format, progress)
	drawn()
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
		return newCSVSink(out, schema), nil
	case "arrow":
		return ipc.NewWriter(out, ipc.WithSchema(schema)), nil
	case "parquet":
		w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
		if err != nil {
			return nil, source.AsError("cat", err)
		}
		return &parquetSink{w: w}, nil
	}
	return nil, source.Errorf(source.KindInternal, "cat", "no writer for format %q", format)
}

// jsonLines writes a JSON object a row, its keys in the order of the columns.
type jsonLines struct{ out io.Writer }

func (j jsonLines) Write(rec arrow.RecordBatch) error {
	keys := make([][]byte, rec.NumCols())
	for c := range keys {
		name, err := json.Marshal(rec.ColumnName(c))
		if err != nil {
			return err
		}
		keys[c] = append(name, ':')
	}
	var line bytes.Buffer
	for row := range int(rec.NumRows()) {
		line.Reset()
		line.WriteByte('{')
		for c, key := range keys {
			if c > 0 {
				line.WriteByte(',')
			}
			line.Write(key)
			value, err := jsonOf(rec.Column(c), row)
			if err != nil {
				return err
			}
			line.Write(value)
		}
		line.WriteString("}\n")
		if _, err := j.out.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (j jsonLines) Close() error { return nil }

// jsonOf is a value as JSON. Of the floats that JSON has no number for, the library makes
// texts; only the half ones are left to us, and inside of structs to nobody.
func jsonOf(col arrow.Array, row int) (raw []byte, err error) {
	defer func() {
		if recover() != nil || errors.As(err, new(*json.UnsupportedValueError)) {
			raw, err = nil, source.Errorf(source.KindUnsupported, "cat", "a value has no form in JSON").WithHint("read it with --profile spark, or write another format")
		}
	}()
	value := col.GetOneForMarshal(row)
	if f, ok := value.(float32); ok && (math.IsNaN(float64(f)) || math.IsInf(float64(f), 0)) {
		value = strconv.FormatFloat(float64(f), 'g', -1, 32)
	}
	raw, err = json.Marshal(value)
	return unescaped(raw), err
}

// unescaped is JSON with <, > and & as they are: the encoders, of which the library's own
// cannot be told, write them for HTML, where nobody would find them.
func unescaped(raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`\u00`)) {
		return raw
	}
	out := raw[:0]
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		if at := slices.Index([]string{`\u003c`, `\u003e`, `\u0026`}, string(raw[i:min(i+6, len(raw))])); at >= 0 {
			out = append(out, "<>&"[at])
			i += 5
			continue
		}
		out = append(out, raw[i], raw[i+1]) // of an escape, also that of a backslash
		i++
	}
	return out
}

// A row group of catGroupRows is large enough to compress well and small enough
// to prune; catGroupBytes bounds the memory of wide rows.
const (
	catGroupRows  = 128 << 10
	catGroupBytes = 128 << 20
)

type parquetSink struct {
	w           *pqarrow.FileWriter
	rows, bytes int64 // of the open row group
}

// Write collects whole batches into row groups. The library would cut a batch at
// its own limit, and writes the wrong children of a fixed-size list when it does.
func (p *parquetSink) Write(rec arrow.RecordBatch) error {
	if p.rows > 0 && (p.rows+rec.NumRows() > catGroupRows || p.bytes > catGroupBytes) {
		if err := p.w.NewBufferedRowGroupChecked(); err != nil {
			return err
		}
		p.rows, p.bytes = 0, 0
	}
	p.rows += rec.NumRows()
	for _, col := range rec.Columns() {
		p.bytes += int64(col.Data().SizeInBytes())
	}
	return p.w.WriteBuffered(rec)
}

func (p *parquetSink) Close() error { return p.w.Close() }

// createWhole makes a file that appears under its name only when finish(true) is
// called: nobody ever reads half of it. What exists and is no regular file, such
// as /dev/null or a pipe, is written in place.
func createWhole(name string) (file *os.File, finish func(ok bool) error, err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		file, err = os.OpenFile(name, os.O_WRONLY, 0) // refuses folders
		return file, func(bool) error { return file.Close() }, err
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // a link stays one
	}
	// Not os.CreateTemp: the file gets the permissions that the umask gives.
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf(".hubflight-%016x", rand.Uint64()))
	file, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		if parent, serr := os.Stat(filepath.Dir(name)); serr != nil || !parent.IsDir() {
			return nil, nil, fmt.Errorf("%s: there is no such folder", filepath.Dir(name))
		}
		return nil, nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	return file, func(ok bool) error {
		err := file.Sync()
		err = errors.Join(err, file.Close())
		if ok && err == nil {
			err = os.Rename(temp, name)
		}
		if !ok || err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
		return err
	}, nil
}

// cause is why a file operation failed, without the name of the temporary file that it
// was about.
func cause(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// newProgress draws a bar on a terminal while a file is written, and nothing
// anywhere else. What is printed after drawn begins on a clear line: a bar by itself
// goes away at the number of rows that was planned, which with filters is not known.
func newProgress(cmd *cobra.Command, plan *client.Plan, output string) (draw func(rows int64), drawn func()) {
	stderr, ok := cmd.ErrOrStderr().(*os.File)
	if output == "" || !ok || !term.IsTerminal(int(stderr.Fd())) {
		return func(int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(plan.Rows, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(filepath.Base(output)),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	// A bar that cannot be drawn is no failure.
	return func(rows int64) { _ = bar.Add64(rows) }, func() { _ = bar.Clear() }
}
