package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/csv"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// rowFile is a file of rows in one of the formats that put reads. It is open only while
// it is looked at, and while its rows are read: there may be thousands.
type rowFile struct {
	name    string
	size    int64
	schema  *arrow.Schema
	notes   []string // what its user may not expect
	count   atomic.Int64
	lengths rowLengths // of a text file

	// What the cells of a CSV file have been, or the values of JSON; nil of other files.
	cells  []csvColumn
	values *jsonFields
}

// read is how many bytes of the file have been read for its rows.
func (r *rowFile) read() int64 { return r.count.Load() }

// countedFile counts the bytes that are read.
type countedFile struct {
	*os.File
	count *atomic.Int64
}

func (c *countedFile) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.count.Add(int64(n))
	return n, err
}

func (c *countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(p, off)
	c.count.Add(int64(n))
	return n, err
}

// A batch is of putBatchRows at most, and of about putBatchBytes, however long rows are
// on average. Where a few are much longer, it stays below what an array can hold.
const (
	putBatchRows   = 8192
	putBatchBytes  = 16 << 20
	putLongestRows = 1 << 30
)

// rowLengths are how long the rows of a file are.
type rowLengths struct{ rows, bytes, longest int64 }

func (l *rowLengths) add(bytes int64) {
	l.rows++
	l.bytes += bytes
	l.longest = max(l.longest, bytes)
}

// batch is how many rows are read at a time.
func (l rowLengths) batch() int {
	average := max(l.bytes/max(l.rows, 1), 1)
	return int(max(1, min(putBatchRows, putBatchBytes/average, putLongestRows/max(l.longest, 1))))
}

// recordReader is what arrow-go's readers of rows have in common.
type recordReader interface {
	Schema() *arrow.Schema
	Next() bool
	RecordBatch() arrow.RecordBatch
	Err() error
	Release()
}

// openRows looks at a file's columns, by the format that its name says, until ctx ends.
func openRows(ctx context.Context, name string) (_ *rowFile, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, &usageError{err}
	}
	if !info.Mode().IsRegular() { // what comes through a pipe comes once, and is read twice
		return nil, &usageError{fmt.Errorf("%s is not a regular file", name)}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, &usageError{err}
	}
	defer func() { _ = f.Close() }() // only read
	in := &rowFile{name: name, size: info.Size()}
	in.schema, err = guarded(name, func() (*arrow.Schema, error) { return in.look(f, untilDone{ctx, f}) })
	if ctx.Err() != nil {
		return nil, source.AsError("put", ctx.Err())
	}
	return in, err
}

// untilDone can be read until its context ends.
type untilDone struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// rows reads the file's rows.
func (r *rowFile) rows(ctx context.Context) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		f, err := os.Open(r.name)
		if err != nil {
			yield(nil, source.AsError("put", err))
			return
		}
		defer func() { _ = f.Close() }() // only read
		r.count.Store(0)
		reader, err := guarded(r.name, func() (recordReader, error) { return r.reader(ctx, &countedFile{f, &r.count}) })
		if err != nil {
			yield(nil, err)
			return
		}
		defer reader.Release()
		for {
			rec, err := guarded(r.name, func() (arrow.RecordBatch, error) {
				if reader.Next() {
					return reader.RecordBatch(), nil
				}
				if err := reader.Err(); !errors.Is(err, io.EOF) {
					return nil, err
				}
				return nil, nil
			})
			if rec == nil && err == nil || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// guarded does something with a file. Its errors name the file, and a panic is one:
// arrow-go's readers panic on some damaged files.
func guarded[T any](name string, do func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = source.Errorf(source.KindCorrupt, "put", "%s cannot be read: %v", name, r)
		}
	}()
	result, err = do()
	if ours := (*source.Error)(nil); err != nil && !errors.As(err, &ours) {
		err = source.Errorf(source.KindInvalid, "put", "%s: %w", name, err)
	}
	return result, err
}

// look finds out a file's columns: where it does not name their types, from all of its
// text.
func (r *rowFile) look(f *os.File, text io.Reader) (*arrow.Schema, error) {
	switch formatOf(r.name) {
	case "parquet":
		columns, err := parquetFile(f)
		if err != nil {
			return nil, err
		}
		schema, err := columns.Schema()
		if err != nil {
			return nil, err
		}
		return plainSchema(schema, r.name)
	case "arrow":
		rows, err := newArrowReader(f)
		if err != nil {
			return nil, err
		}
		defer rows.Release()
		return plainSchema(rows.Schema(), r.name)
	case "csv":
		return r.inferCSV(text)
	case "jsonl":
		return r.inferJSON(text)
	}
	return nil, source.Errorf(source.KindUnsupported, "put", "%s: the format is not known by this name", r.name).WithHint("use .parquet, .arrow, .csv or .jsonl")
}

// reader reads the rows of a file whose columns are known.
func (r *rowFile) reader(ctx context.Context, f *countedFile) (recordReader, error) {
	switch formatOf(r.name) {
	case "parquet":
		columns, err := parquetFile(f)
		if err != nil {
			return nil, err
		}
		rows, err := columns.GetRecordReader(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		return plain(ctx, rows, r.name)
	case "arrow":
		rows, err := newArrowReader(f)
		if err != nil {
			return nil, err
		}
		return plain(ctx, rows, r.name)
	}
	// What has no type is read as text, which is all null.
	fields := slices.Clone(r.schema.Fields())
	for i := range fields {
		if fields[i].Type.ID() == arrow.NULL {
			fields[i].Type = arrow.BinaryTypes.String
		}
	}
	typed := arrow.NewSchema(fields, nil)
	if formatOf(r.name) == "csv" {
		return withNulls(newCSVFile(f, typed, r.lengths.batch()), r.schema), nil
	}
	return withNulls(array.NewJSONReader(unmarked(f), typed, array.WithChunk(r.lengths.batch())), r.schema), nil
}

// withNulls are rows of which columns without values have no type.
func withNulls(rows recordReader, schema *arrow.Schema) recordReader {
	return &plainRows{recordReader: rows, schema: schema, convert: func(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
		columns := slices.Clone(rec.Columns())
		for i, f := range schema.Fields() {
			if f.Type.ID() == arrow.NULL {
				nulls := array.NewNull(int(rec.NumRows()))
				defer nulls.Release()
				columns[i] = nulls
			}
		}
		return array.NewRecordBatch(schema, columns, rec.NumRows()), nil
	}}
}

// parquetFile reads the footer of a Parquet file.
func parquetFile(f parquet.ReaderAtSeeker) (*pqarrow.FileReader, error) {
	pf, err := file.NewParquetReader(f)
	if err != nil {
		return nil, err
	}
	return pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: parquetBatch(pf)}, memory.DefaultAllocator)
}

// parquetBatch is how many rows of a Parquet file are read at a time: by the row group
// with the longest, because a batch may be of several.
func parquetBatch(pf *file.Reader) int64 {
	rows := putBatchRows
	for i := range pf.NumRowGroups() {
		group := pf.MetaData().RowGroup(i)
		rows = min(rows, rowLengths{rows: group.NumRows(), bytes: group.TotalByteSize()}.batch())
	}
	return int64(rows)
}

// newArrowReader reads an IPC file, which begins with ARROW1, or a stream.
func newArrowReader(f ipc.ReadAtSeeker) (recordReader, error) {
	magic := make([]byte, 6)
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte("ARROW1")) {
		return ipc.NewReader(bufio.NewReaderSize(f, 1<<20))
	}
	r, err := ipc.NewFileReader(f)
	if err != nil {
		return nil, err
	}
	return &arrowFile{FileReader: r}, nil
}

// arrowFile makes an IPC file's random access a sequence.
type arrowFile struct {
	*ipc.FileReader
	at  int
	rec arrow.RecordBatch
	err error
}

func (a *arrowFile) Next() bool {
	a.Release()
	if a.at >= a.NumRecords() {
		return false
	}
	a.rec, a.err = a.RecordBatchAt(a.at)
	a.at++
	return a.err == nil
}

func (a *arrowFile) RecordBatch() arrow.RecordBatch { return a.rec }
func (a *arrowFile) Err() error                     { return a.err }

func (a *arrowFile) Release() {
	if a.rec != nil {
		a.rec.Release()
		a.rec = nil
	}
}

// plainRows are those of a reader without dictionaries and views, which are not sent:
// pandas' categories and Polars' strings are some.
type plainRows struct {
	recordReader
	schema  *arrow.Schema
	convert func(arrow.RecordBatch) (arrow.RecordBatch, error)
	rec     arrow.RecordBatch
	err     error
}

// plainSchema is the schema of plain rows.
func plainSchema(from *arrow.Schema, name string) (*arrow.Schema, error) {
	schema, _, err := writer.Plain(from)
	if err != nil {
		named := *source.AsError("put", err)
		named.Op, named.Path = "put", name
		return nil, &named
	}
	return schema, nil
}

// plain takes the reader over, also if it fails.
func plain(ctx context.Context, r recordReader, name string) (recordReader, error) {
	schema, convert, err := writer.Plain(r.Schema())
	if err != nil {
		r.Release()
		return nil, err
	}
	return &plainRows{recordReader: r, schema: schema, convert: func(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
		return convert(ctx, rec)
	}}, nil
}

func (p *plainRows) Schema() *arrow.Schema          { return p.schema }
func (p *plainRows) RecordBatch() arrow.RecordBatch { return p.rec }

func (p *plainRows) Next() bool {
	p.drop()
	if p.err != nil || !p.recordReader.Next() {
		return false
	}
	p.rec, p.err = p.convert(p.recordReader.RecordBatch())
	return p.err == nil
}

func (p *plainRows) Err() error {
	if p.err != nil {
		return p.err
	}
	return p.recordReader.Err()
}

func (p *plainRows) Release() {
	p.drop()
	p.recordReader.Release()
}

func (p *plainRows) drop() {
	if p.rec != nil {
		p.rec.Release()
		p.rec = nil
	}
}

// csvFile reads the rows of a CSV file whose types are known. Of arrow-go's readers
// only the one that infers takes times: it is told every type.
type csvFile struct {
	*csv.Reader
	schema *arrow.Schema
}

func newCSVFile(f *countedFile, schema *arrow.Schema, batch int) *csvFile {
	types := make(map[string]arrow.DataType, schema.NumFields())
	for _, field := range schema.Fields() {
		types[field.Name] = field.Type
	}
	return &csvFile{schema: schema, Reader: csv.NewInferringReader(csvLines(f), csv.WithHeader(true), csv.WithColumnTypes(types),
		csv.WithChunk(batch), csv.WithNullReader(true, csvNulls()...))}
}

func (c *csvFile) Schema() *arrow.Schema { return c.schema }

// inferJSON reads the whole file for the types of its columns, so that no key that
// only a late row has is lost.
func (r *rowFile) inferJSON(f io.Reader) (*arrow.Schema, error) {
	dec := json.NewDecoder(unmarked(f))
	dec.UseNumber()
	r.values = newJSONFields()
	for line := 1; ; line++ {
		var row json.RawMessage
		if err := dec.Decode(&row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, source.Errorf(source.KindInvalid, "put", "%s: row %d: %w", r.name, line, err)
		}
		if !utf8.Valid(row) { // the decoders would put other letters there
			return nil, source.Errorf(source.KindInvalid, "put", "%s: row %d is not UTF-8", r.name, line).WithHint("save the file in UTF-8")
		}
		if err := r.values.add(row); err != nil {
			return nil, source.Errorf(source.KindInvalid, "put", "%s: row %d: %w", r.name, line, err)
		}
		r.lengths.add(int64(len(row)))
	}
	if len(r.values.names) == 0 {
		return nil, source.Errorf(source.KindInvalid, "put", "%s has no columns", r.name)
	}
	return r.values.schema(), nil
}
