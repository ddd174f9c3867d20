package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/csv"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// rowFile is a file of rows in one of the formats that put reads.
type rowFile struct {
	name   string
	size   int64
	schema *arrow.Schema
	rows   iter.Seq2[arrow.RecordBatch, error]
	notes  []string // what its user may not expect
	file   *countedFile
	free   func()
}

func (r *rowFile) read() int64 { return r.file.count.Load() }

func (r *rowFile) close() {
	if r.free != nil {
		r.free()
	}
	_ = r.file.Close() // only read
}

// countedFile counts the bytes that are read.
type countedFile struct {
	*os.File
	count atomic.Int64
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

const putBatchRows = 8192

// recordReader is what arrow-go's readers of rows have in common.
type recordReader interface {
	Schema() *arrow.Schema
	Next() bool
	RecordBatch() arrow.RecordBatch
	Err() error
	Release()
}

// openRows opens a file by the format that its name says.
func openRows(ctx context.Context, name string) (_ *rowFile, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &usageError{err}
	}
	in := &rowFile{name: name, file: &countedFile{File: f}}
	defer func() {
		if r := recover(); r != nil { // the readers panic on some damaged files
			err = source.Errorf(source.KindCorrupt, "put", "%s cannot be read: %v", name, r)
		}
		if err != nil {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, &usageError{err}
	}
	in.size = info.Size()
	reader, err := in.reader(ctx)
	if err != nil {
		var ours *source.Error
		if errors.As(err, &ours) {
			return nil, err
		}
		return nil, source.Errorf(source.KindInvalid, "put", "%s: %w", name, err)
	}
	in.schema, in.free = reader.Schema(), reader.Release
	in.rows = func(yield func(arrow.RecordBatch, error) bool) {
		for reader.Next() {
			if !yield(reader.RecordBatch(), nil) {
				return
			}
		}
		if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
			yield(nil, source.Errorf(source.KindInvalid, "put", "%s: %w", name, err))
		}
	}
	return in, nil
}

// reader reads the rows by the format that the file's name says.
func (r *rowFile) reader(ctx context.Context) (recordReader, error) {
	f := r.file
	switch lower := strings.ToLower(r.name); {
	case strings.HasSuffix(lower, ".parquet"), strings.HasSuffix(lower, ".pq"):
		pf, err := file.NewParquetReader(f)
		if err != nil {
			return nil, err
		}
		columns, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: putBatchRows}, memory.DefaultAllocator)
		if err != nil {
			return nil, err
		}
		rows, err := columns.GetRecordReader(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		return plain(ctx, rows, r.name)
	case strings.HasSuffix(lower, ".arrow"), strings.HasSuffix(lower, ".arrows"), strings.HasSuffix(lower, ".ipc"):
		rows, err := arrowRows(f)
		if err != nil {
			return nil, err
		}
		return plain(ctx, rows, r.name)
	case strings.HasSuffix(lower, ".csv"):
		schema, notes, err := inferCSV(f)
		if err != nil {
			return nil, err
		}
		r.notes = notes
		return newCSVFile(f, schema), nil
	case strings.HasSuffix(lower, ".jsonl"), strings.HasSuffix(lower, ".ndjson"), strings.HasSuffix(lower, ".json"):
		schema, err := inferJSON(f)
		if err != nil {
			return nil, err
		}
		return array.NewJSONReader(f, schema, array.WithChunk(putBatchRows)), nil
	}
	return nil, source.Errorf(source.KindUnsupported, "put", "%s: the format is not known by this name", r.name).WithHint("use .parquet, .arrow, .csv or .jsonl")
}

// arrowRows reads an IPC file, which begins with ARROW1, or a stream.
func arrowRows(f *countedFile) (recordReader, error) {
	magic := make([]byte, 6)
	if _, err := f.File.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
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

// plain takes the reader over, also if it fails.
func plain(ctx context.Context, r recordReader, name string) (recordReader, error) {
	schema, convert, err := writer.Plain(r.Schema())
	if err != nil {
		r.Release()
		named := *source.AsError("put", err)
		named.Op, named.Path = "put", name
		return nil, &named
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

func newCSVFile(f *countedFile, schema *arrow.Schema) *csvFile {
	types := make(map[string]arrow.DataType, schema.NumFields())
	for _, field := range schema.Fields() {
		types[field.Name] = field.Type
	}
	return &csvFile{schema: schema, Reader: csv.NewInferringReader(unmarked(f), csv.WithHeader(true), csv.WithColumnTypes(types),
		csv.WithChunk(putBatchRows), csv.WithNullReader(true, csvNulls()...))}
}

func (c *csvFile) Schema() *arrow.Schema { return c.schema }

// inferJSON reads the whole file for the types of its columns, so that no key that
// only a late row has is lost, and goes back to its beginning.
func inferJSON(f *countedFile) (*arrow.Schema, error) {
	dec := json.NewDecoder(bufio.NewReaderSize(f.File, 1<<20))
	dec.UseNumber()
	fields := newJSONFields()
	for line := 1; ; line++ {
		var row json.RawMessage
		if err := dec.Decode(&row); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, source.Errorf(source.KindInvalid, "put", "%s: row %d: %w", f.Name(), line, err)
		}
		if err := fields.add(row); err != nil {
			return nil, source.Errorf(source.KindInvalid, "put", "%s: row %d: %w", f.Name(), line, err)
		}
	}
	if len(fields.names) == 0 {
		return nil, source.Errorf(source.KindInvalid, "put", "%s has no columns", f.Name())
	}
	_, err := f.Seek(0, io.SeekStart)
	return arrow.NewSchema(fields.fields(), nil), err
}
