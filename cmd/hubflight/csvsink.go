package main

import (
	"encoding/json"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/csv"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// csvSink writes rows as CSV, below a header that is there without rows, too. A null
// is an empty cell, and what is nested is JSON.
type csvSink struct {
	w      *csv.Writer
	schema *arrow.Schema
	begun  bool
	err    error // of a cell
}

func newCSVSink(out io.Writer, schema *arrow.Schema) *csvSink {
	if schema.NumFields() == 1 {
		out = &unblank{out: out}
	}
	c := &csvSink{schema: schema}
	c.w = csv.NewWriter(out, schema, csv.WithHeader(true), csv.WithNullWriter(""), csv.WithCustomTypeConverter(c.cells))
	return c
}

func (c *csvSink) Write(rec arrow.RecordBatch) error {
	c.begun = true
	if err := c.w.Write(rec); err != nil {
		return err
	}
	return c.err
}

func (c *csvSink) Close() error {
	if !c.begun { // the library writes the header with the first batch
		b := array.NewRecordBuilder(memory.DefaultAllocator, c.schema)
		defer b.Release()
		rec := b.NewRecordBatch()
		defer rec.Release()
		if err := c.w.Write(rec); err != nil {
			return err
		}
	}
	return c.w.Flush()
}

// cells are those of a column whose type the library does not write: at times, structs
// and maps it panics, and a list without items looks like one with an empty text.
func (c *csvSink) cells(typ arrow.DataType, col arrow.Array) (cells []string, ours bool) {
	switch typ.ID() {
	case arrow.TIME32, arrow.TIME64, arrow.DURATION, arrow.DECIMAL32, arrow.DECIMAL64,
		arrow.STRUCT, arrow.MAP, arrow.LIST, arrow.LARGE_LIST, arrow.FIXED_SIZE_LIST:
	default:
		return nil, false
	}
	cells = make([]string, col.Len())
	for i := range cells {
		if col.IsNull(i) {
			continue
		}
		raw, err := jsonOf(col, i)
		if err == nil && len(raw) > 0 && raw[0] == '"' { // times are no JSON
			err = json.Unmarshal(raw, &cells[i])
		} else {
			cells[i] = string(raw)
		}
		if err != nil && c.err == nil {
			c.err = err
		}
	}
	return cells, true
}

// unblank writes the line of a row whose only cell is empty with two quotes: readers
// pass over empty lines, and lose such rows.
type unblank struct {
	out            io.Writer
	quoted, inLine bool // where the last byte was
}

// Write implements io.Writer.
func (u *unblank) Write(p []byte) (n int, err error) {
	for i, b := range p {
		if b == '"' {
			u.quoted = !u.quoted
		}
		if b == '\n' && !u.quoted && !u.inLine {
			if _, err := u.out.Write(p[n:i]); err != nil {
				return n, err
			}
			if _, err := io.WriteString(u.out, `""`); err != nil {
				return i, err
			}
			n = i
		}
		u.inLine = u.quoted || b != '\n'
	}
	if _, err := u.out.Write(p[n:]); err != nil {
		return n, err
	}
	return len(p), nil
}
