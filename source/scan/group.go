package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
)

// streamBuffer is what the library peeks page headers through; page bodies go
// around it.
const streamBuffer = 64 << 10

// groupDecoder reads one row group after the other, a number of rows at a time,
// with the library's column readers. It belongs to the decoding goroutine.
type groupDecoder struct {
	ft     *Footer
	mem    *meter
	read   func(p []byte, off int64) error
	size   int64
	fields []int        // top-level fields, by index
	leaves map[int]bool // leaves to read
	order  []int        // the same, in order
	micros map[int]bool // fields read by int96Column

	group   int
	chunks  *chunkReader
	columns []columnSource // one per field
}

// columnSource gives the next n rows of a top-level field in the library's
// layout; the caller releases them.
type columnSource interface {
	next(n int64) (arrow.ArrayData, error)
	release()
}

// open prepares a row group: its chunks are fetched and checked before the
// library sees a byte of them.
func (d *groupDecoder) open(ctx context.Context, group int) error {
	d.close()
	d.group = group
	d.mem.begin()
	if len(d.order) == 0 {
		return nil
	}
	var chunks []chunk
	for _, leaf := range d.order {
		if err := d.ft.checkCodec(group, leaf); err != nil {
			return err
		}
		chunks = append(chunks, d.ft.chunks[group][leaf])
	}
	d.chunks = newChunkReader(d.read, d.size, d.mem, chunks)
	if d.chunks.inMemory() {
		for i, leaf := range d.order {
			if err := d.checkLeaf(leaf, chunks[i]); err != nil {
				return err
			}
		}
	}
	return d.openColumns(ctx)
}

func (d *groupDecoder) checkLeaf(leaf int, c chunk) error {
	data, err := d.chunks.bytes(c)
	if err != nil {
		return err
	}
	column := d.ft.meta.Schema.Column(leaf)
	codec := compress.Compression(d.ft.meta.RowGroups[d.group].Columns[leaf].MetaData.Codec)
	if err := checkPages(data, c, column, codec); err != nil {
		// Writers before PARQUET-816 left the dictionary header out of the chunk's
		// size; the library pads, and so must the check.
		if errors.Is(err, errThriftEnd) || d.oldWriter() {
			return nil
		}
		return d.classify(err).WithColumn(column.Path())
	}
	return nil
}

func (d *groupDecoder) oldWriter() bool {
	v := d.ft.meta.WriterVersion()
	return v.App == "parquet-mr" && v.Version.Major == 1 && (v.Version.Minor < 2 || v.Version.Minor == 2 && v.Version.Patch < 9)
}

func (d *groupDecoder) openColumns(ctx context.Context) error {
	props := parquet.NewReaderProperties(d.mem)
	props.BufferedStreamEnabled = true
	props.BufferSize = streamBuffer
	props.MaxCompressedPageSize = maxPageBytes
	props.MaxUncompressedPageSize = maxPageBytes
	rdr, err := file.NewParquetReader(d.chunks, file.WithReadProps(props), file.WithMetadata(d.ft.meta))
	if err != nil {
		return err
	}
	if err := d.tryLeaves(rdr); err != nil {
		return err
	}
	fr, err := pqarrow.NewFileReader(rdr, pqarrow.ArrowReadProperties{}, d.mem)
	if err != nil {
		return err
	}
	// A struct's children are opened on a goroutine without recover: nothing may
	// panic there, not even our own budget. What can go wrong has gone wrong in
	// tryLeaves.
	d.mem.lenient.Store(true)
	defer d.mem.lenient.Store(false)
	for _, field := range d.fields {
		if d.micros[field] {
			col, err := newInt96Column(rdr, d.group, d.ft.roots[field].leaf, d.mem)
			if err != nil {
				return err
			}
			d.columns = append(d.columns, col)
			continue
		}
		col, err := fr.GetFieldReader(ctx, field, d.leaves, []int{d.group})
		if err != nil {
			return err
		}
		if col == nil {
			return fmt.Errorf("column %s: nothing to read", d.ft.roots[field].field.Name)
		}
		d.columns = append(d.columns, &libraryColumn{col, d.mem})
	}
	return nil
}

// tryLeaves does what opening a leaf does, on this goroutine, where a panic is
// an error. It reads nothing.
func (d *groupDecoder) tryLeaves(rdr *file.Reader) error {
	rg := rdr.RowGroup(d.group)
	for _, leaf := range d.order {
		pages, err := rg.GetColumnPageReader(leaf)
		if err != nil {
			return err
		}
		if err := pages.Close(); err != nil {
			return err
		}
	}
	return nil
}

// next decodes n rows of every field.
func (d *groupDecoder) next(ctx context.Context, n int64) ([]arrow.ArrayData, error) {
	out := make([]arrow.ArrayData, 0, len(d.columns))
	fail := func(i int, err error) ([]arrow.ArrayData, error) {
		releaseAll(out)
		return nil, d.columnError(i, err)
	}
	for i, col := range d.columns {
		if err := ctx.Err(); err != nil {
			releaseAll(out)
			return nil, err
		}
		data, err := col.next(n)
		if err != nil {
			return fail(i, err)
		}
		out = append(out, data)
		if int64(data.Len()) != n {
			return fail(i, fmt.Errorf("%d rows where %d are left", data.Len(), n))
		}
		if err := checkData(data, d.ft.roots[d.fields[i]].field.Name); err != nil {
			return fail(i, err)
		}
	}
	return out, nil
}

// columnError names the column, and tells what the library cannot do from what
// the file does wrong.
func (d *groupDecoder) columnError(i int, err error) error {
	name := d.ft.roots[d.fields[i]].field.Name
	if d.chunks.err != nil {
		return d.chunks.err
	}
	return d.classify(err).WithColumn(name)
}

func (d *groupDecoder) classify(err error) *source.Error {
	var e *source.Error
	if errors.As(err, &e) {
		return e
	}
	var large pageTooLarge
	text := err.Error()
	switch {
	case errors.As(err, &large), errors.Is(err, arrow.ErrNotImplemented),
		strings.Contains(text, "exceeds configured limit"), strings.Contains(text, "unimplemented"),
		strings.Contains(text, "not implemented"), strings.Contains(text, "not yet implemented"),
		strings.Contains(text, "no support for"), strings.Contains(text, "unsupported"):
		return unsupported(d.ft.file, "row group %d: %v", d.group, err)
	case strings.Contains(text, "INT96"):
		return unsupported(d.ft.file, "row group %d: a timestamp is outside the range of nanoseconds: %v", d.group, err).
			WithHint("read it with profile spark, which has microseconds, or leave the column out")
	}
	return corrupt(d.ft.file, "row group %d: %v", d.group, err)
}

func (d *groupDecoder) close() {
	for _, c := range d.columns {
		c.release()
	}
	d.columns = nil
	if d.chunks != nil {
		d.chunks.close()
		d.chunks = nil
	}
}

// libraryColumn is a field read by pqarrow.
type libraryColumn struct {
	*pqarrow.ColumnReader
	mem memory.Allocator
}

func (c *libraryColumn) release() { c.Release() }

func (c *libraryColumn) next(n int64) (arrow.ArrayData, error) {
	chunked, err := c.NextBatch(n)
	if err != nil {
		return nil, err
	}
	defer chunked.Release()
	chunks := chunked.Chunks()
	switch len(chunks) {
	case 0:
		return nil, errors.New("no data")
	case 1:
		data := chunks[0].Data()
		data.Retain()
		return storageData(data), nil
	}
	// More than 2 GiB of strings in one batch; Concatenate refuses what does not
	// fit one array.
	whole, err := array.Concatenate(chunks, c.mem)
	if err != nil {
		return nil, err
	}
	defer whole.Release()
	data := whole.Data()
	data.Retain()
	return storageData(data), nil
}
