package scan

import (
	"errors"
	"fmt"
	"math"

	"github.com/hubflight/hubflight/source/scan/column"
)

// Fields of the page index in parquet.thrift.
const (
	offsetIndexLocations = 1

	pageLocationOffset   = 1
	pageLocationSize     = 2
	pageLocationFirstRow = 3

	columnIndexNullPages  = 1
	columnIndexMinValues  = 2
	columnIndexMaxValues  = 3
	columnIndexNullCounts = 5
)

// readOffsetIndex decodes an offset index. Nothing is allocated that is larger
// than a small multiple of data.
func readOffsetIndex(data []byte) ([]column.Page, error) {
	w := thriftWalk{data: data}
	var pages []column.Page
	err := w.fields(func(id int16, typ byte) error {
		if id != offsetIndexLocations || typ != thriftList {
			return w.skip(typ, 1)
		}
		n, elem, err := w.list()
		if err != nil {
			return err
		}
		if elem != thriftStruct {
			return fmt.Errorf("page locations of thrift type %d", elem)
		}
		pages = make([]column.Page, n)
		for i := range pages {
			if err := w.pageLocation(&pages[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return pages, err
}

func (w *thriftWalk) pageLocation(p *column.Page) error {
	return w.fields(func(id int16, typ byte) error {
		if typ != thriftI32 && typ != thriftI64 {
			return w.skip(typ, 2)
		}
		v, err := w.varint()
		switch id {
		case pageLocationOffset:
			p.Off = v
		case pageLocationSize:
			if v < 0 || v > math.MaxInt32 {
				return errors.New("page size out of range")
			}
			p.Size = int32(v)
		case pageLocationFirstRow:
			p.FirstRow = v
		}
		return err
	})
}

// checkOffsetIndex makes sure that the pages are exactly those of a chunk: they
// fill it from the first data page to its end, and their rows fill the group. An
// index that leaves anything out could make rows disappear.
func checkOffsetIndex(pages []column.Page, c chunk, rows int64) error {
	if len(pages) == 0 {
		return errors.New("no pages")
	}
	at, row := c.data, int64(-1)
	if pages[0].FirstRow != 0 {
		return errors.New("the first page is not the chunk's")
	}
	for i, p := range pages {
		if p.Off != at || p.Size < minPageBytes {
			return fmt.Errorf("page %d is not where the one before it ends, or too short", i)
		}
		if p.FirstRow <= row || p.FirstRow >= rows {
			return fmt.Errorf("page %d begins at row %d", i, p.FirstRow)
		}
		at, row = at+int64(p.Size), p.FirstRow
	}
	if at != c.off+c.len {
		return errors.New("the last page is not the chunk's last")
	}
	return nil
}

// minPageBytes: no page header is shorter.
const minPageBytes = 8

// columnIndex is what a column index says, one entry a page. Byte slices refer to
// what it was read from.
type columnIndex struct {
	allNull  []bool
	min, max [][]byte
	nulls    []int64 // nil if the writer left them out
}

// readColumnIndex decodes a column index of a chunk with so many pages. The order
// that it claims for its pages is not used: nothing here depends on it.
func readColumnIndex(data []byte, pages int) (columnIndex, error) {
	var out columnIndex
	w := thriftWalk{data: data}
	err := w.fields(func(id int16, typ byte) error {
		if typ != thriftList || id > columnIndexNullCounts {
			return w.skip(typ, 1)
		}
		n, elem, err := w.list()
		if err != nil {
			return err
		}
		if n != pages {
			return fmt.Errorf("list %d has %d entries for %d pages", id, n, pages)
		}
		switch {
		case id == columnIndexNullPages && (elem == thriftTrue || elem == thriftFalse):
			out.allNull, err = w.bools(n)
		case id == columnIndexMinValues && elem == thriftBinary:
			out.min, err = w.binaries(n)
		case id == columnIndexMaxValues && elem == thriftBinary:
			out.max, err = w.binaries(n)
		case id == columnIndexNullCounts && elem == thriftI64:
			out.nulls, err = w.integers(n)
		default:
			return fmt.Errorf("list %d holds thrift type %d", id, elem)
		}
		return err
	})
	if err == nil && (out.allNull == nil || out.min == nil || out.max == nil) {
		err = errors.New("a list is missing")
	}
	return out, err
}

// check compares the index with what else is known: the rows of its pages, and the
// nulls that the footer counts in the chunk (−1: it does not say).
func (x columnIndex) check(pages []column.Page, rows, nulls int64) error {
	if x.nulls == nil {
		return nil
	}
	total := int64(0)
	for i, n := range x.nulls {
		in := pageRows(pages, i, rows)
		if n < 0 || n > in || x.allNull[i] && n != in {
			return fmt.Errorf("page %d has %d nulls in %d rows", i, n, in)
		}
		total += n
	}
	if nulls >= 0 && total != nulls {
		return fmt.Errorf("the pages have %d nulls, the chunk %d", total, nulls)
	}
	return nil
}

// pageRows is the number of rows of page i.
func pageRows(pages []column.Page, i int, rows int64) int64 {
	if i+1 < len(pages) {
		rows = pages[i+1].FirstRow
	}
	return rows - pages[i].FirstRow
}

// fields walks one structure; each must read or skip the field's value.
func (w *thriftWalk) fields(each func(id int16, typ byte) error) error {
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil || typ == thriftStop {
			return err
		}
		if err := each(id, typ); err != nil {
			return err
		}
		last = id
	}
}

// list reads a list's header. Every element takes at least one byte, so that n
// elements of bounded size may be allocated.
func (w *thriftWalk) list() (n int, elem byte, err error) {
	head, err := w.byte()
	if err != nil {
		return 0, 0, err
	}
	count := uint64(head >> 4)
	if count == 15 {
		if count, err = w.uvarint(); err != nil {
			return 0, 0, err
		}
	}
	if count > uint64(len(w.data)-w.pos) {
		return 0, 0, fmt.Errorf("a list of %d elements in %d bytes", count, len(w.data)-w.pos)
	}
	return int(count), head & 0x0f, nil
}

// bools reads list elements: 1 is true, and false is 2 or, from some writers, 0.
func (w *thriftWalk) bools(n int) ([]bool, error) {
	out := make([]bool, n)
	for i := range out {
		b, err := w.byte()
		if err != nil {
			return nil, err
		}
		if b > 2 {
			return nil, fmt.Errorf("a boolean of value %d", b)
		}
		out[i] = b == thriftTrue
	}
	return out, nil
}

func (w *thriftWalk) binaries(n int) ([][]byte, error) {
	out := make([][]byte, n)
	for i := range out {
		length, err := w.uvarint()
		if err != nil {
			return nil, err
		}
		from := w.pos
		if err := w.advance(length); err != nil {
			return nil, err
		}
		out[i] = w.data[from:w.pos:w.pos]
	}
	return out, nil
}

func (w *thriftWalk) integers(n int) ([]int64, error) {
	out := make([]int64, n)
	for i := range out {
		var err error
		if out[i], err = w.varint(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
