package scan

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source/scan/column"
)

const (
	// streamBuffer is what the library peeks page headers through; page bodies go
	// around it.
	streamBuffer = 64 << 10
	// libraryRows are decoded at once where some of them are dropped.
	libraryRows = 4096
)

// libraryGroup reads what package column does not: units of one row group with
// the Parquet library's column readers. Chunks are checked before the library
// sees a byte of them.
type libraryGroup struct {
	ft     *Footer
	mem    *meter
	group  int
	chunks *chunkReader
	file   *file.Reader
	arrow  *pqarrow.FileReader
}

func (d *libraryGroup) close() {
	if d.chunks != nil {
		d.chunks.close()
	}
	*d = libraryGroup{}
}

// open makes the cursor of a unit.
func (d *libraryGroup) open(ctx context.Context, u *unit) (cursor, error) {
	for _, leaf := range u.order {
		if err := d.checkLeaf(leaf); err != nil {
			return nil, err
		}
	}
	if d.file == nil {
		if err := d.openFile(); err != nil {
			return nil, err
		}
	}
	if err := d.tryLeaves(u); err != nil {
		return nil, err
	}
	// A struct's children are opened on a goroutine without recover: nothing may
	// panic there, not even our own budget. What can go wrong has gone wrong in
	// tryLeaves.
	d.mem.lenient.Store(true)
	defer d.mem.lenient.Store(false)
	name := d.ft.roots[u.root].field.Name
	col, err := d.arrow.GetFieldReader(ctx, u.root, u.leaves, []int{d.group})
	if err != nil {
		return nil, err
	}
	if col == nil {
		return nil, fmt.Errorf("column %s: nothing to read", name)
	}
	return &libraryCursor{source: &libraryColumn{col, d.mem}, mem: d.mem, name: name}, nil
}

func (d *libraryGroup) openFile() (err error) {
	props := parquet.NewReaderProperties(d.mem)
	props.BufferedStreamEnabled = true
	props.BufferSize = streamBuffer
	props.MaxCompressedPageSize = maxPageBytes
	props.MaxUncompressedPageSize = maxPageBytes
	if d.file, err = file.NewParquetReader(d.chunks, file.WithReadProps(props), file.WithMetadata(d.ft.meta)); err != nil {
		return err
	}
	d.arrow, err = pqarrow.NewFileReader(d.file, pqarrow.ArrowReadProperties{}, d.mem)
	return err
}

func (d *libraryGroup) checkLeaf(leaf int) error {
	c := d.ft.chunks[d.group][leaf]
	s := d.chunks.find(c.off, c.len)
	if s == nil {
		return errors.New("the chunk was not planned")
	}
	if s.window != 0 {
		return nil // too large to be looked at as a whole
	}
	data, err := d.chunks.view(s, c.off, c.len)
	if err != nil {
		return err
	}
	col := d.ft.meta.Schema.Column(leaf)
	codec := compress.Compression(d.ft.meta.RowGroups[d.group].Columns[leaf].MetaData.Codec)
	if err := checkPages(data, c, col, codec); err != nil {
		// Writers before PARQUET-816 left the dictionary header out of the chunk's
		// size; the library pads, and so must the check.
		if errors.Is(err, column.ErrEnd) || d.ft.oldWriter {
			return nil
		}
		return err
	}
	return nil
}

// tryLeaves does what opening a leaf does, on this goroutine, where a panic is
// an error. It reads nothing.
func (d *libraryGroup) tryLeaves(u *unit) error {
	rg := d.file.RowGroup(d.group)
	for _, leaf := range u.order {
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

// libraryCursor makes a cursor of a libraryColumn, which knows only the next
// rows: what is left out is decoded and dropped, because the library's row seek
// is wrong for repeated columns.
type libraryCursor struct {
	source *libraryColumn
	mem    *meter
	name   string
}

func (c *libraryCursor) close() { c.source.Release() }

func (c *libraryCursor) read(ctx context.Context, spans []column.Span) (arrow.ArrayData, error) {
	if len(spans) == 1 && spans[0].Skip == 0 {
		return c.next(spans[0].Take)
	}
	var parts []arrow.Array
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	// A step of rows, and which of them are taken.
	var step int64
	var kept []run
	total := 0
	flush := func() error {
		if step == 0 {
			return nil
		}
		data, err := c.next(step)
		if err != nil {
			return err
		}
		defer data.Release()
		if total > 0 {
			part := gatherer{c.mem}.take(data, kept, total)
			defer part.Release()
			parts = append(parts, array.MakeFromData(part))
		}
		step, kept, total = 0, nil, 0
		return ctx.Err()
	}
	pass := func(n int64, take bool) error {
		for n > 0 {
			k := min(n, libraryRows-step)
			if take {
				kept = append(kept, run{int(step), int(k)})
				total += int(k)
			}
			step, n = step+k, n-k
			if step == libraryRows {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, s := range spans {
		if err := pass(s.Skip, false); err != nil {
			return nil, err
		}
		if err := pass(s.Take, true); err != nil {
			return nil, err
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return c.join(parts)
}

func (c *libraryCursor) join(parts []arrow.Array) (arrow.ArrayData, error) {
	if len(parts) == 0 {
		return nil, errors.New("no rows are taken")
	}
	whole := parts[0]
	if len(parts) == 1 {
		whole.Retain()
	} else {
		var err error
		if whole, err = array.Concatenate(parts, c.mem); err != nil {
			return nil, err
		}
	}
	defer whole.Release()
	data := whole.Data()
	data.Retain()
	return data, nil
}

// next is the next n rows, checked.
func (c *libraryCursor) next(n int64) (arrow.ArrayData, error) {
	data, err := c.source.next(n)
	if err != nil {
		return nil, err
	}
	if int64(data.Len()) != n {
		defer data.Release()
		return nil, fmt.Errorf("%d rows where %d are left", data.Len(), n)
	}
	if err := checkData(data, c.name); err != nil {
		data.Release()
		return nil, err
	}
	if data.Offset() == 0 {
		return data, nil
	}
	defer data.Release()
	return gatherer{c.mem}.take(data, []run{{0, data.Len()}}, data.Len()), nil
}

// libraryColumn is a field read by pqarrow.
type libraryColumn struct {
	*pqarrow.ColumnReader
	mem memory.Allocator
}

// next is the next n rows; the caller releases them.
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
