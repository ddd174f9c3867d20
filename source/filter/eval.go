package filter

import (
	"context"
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// Eval says for every row of a record whether it is wanted: one bool per row,
// never null. The caller releases the result.
//
// rec holds the columns of Paths under their names (nested ones inside their
// structs) in the types that the filter was bound to; other columns do not
// matter, nor does order. A record of another schema is KindInternal. Between
// terms a cancelled ctx ends the work.
func (b *Bound) Eval(ctx context.Context, rec arrow.RecordBatch, mem memory.Allocator) (*array.Boolean, error) {
	e, err := newEvaluation(b, rec)
	if err != nil {
		return nil, err
	}
	for _, and := range b.or {
		// A row that an earlier conjunction kept need not be looked at again.
		for w := range e.live {
			e.live[w] = ^e.kept[w]
		}
		e.clearTail(e.live)
		for i := range and {
			if err := ctx.Err(); err != nil {
				return nil, source.AsError("filter", err)
			}
			if !e.apply(&and[i]) {
				break
			}
		}
		for w := range e.kept {
			e.kept[w] |= e.live[w]
		}
	}
	return e.result(mem), nil
}

// evaluation is the state of one Eval: bitmaps of one bit per row, in words.
type evaluation struct {
	rows    int
	columns []column
	kept    []uint64 // rows that some conjunction wants
	live    []uint64 // rows that every term so far wants
	want    []uint64 // rows that the test at hand is asked about
	hits    []uint64 // its answer
}

// column is a leaf's values in this record.
type column struct {
	arr   arrow.Array
	valid []uint64 // rows that are not null; nil if none is
}

func newEvaluation(b *Bound, rec arrow.RecordBatch) (*evaluation, error) {
	e := &evaluation{rows: int(rec.NumRows()), columns: make([]column, len(b.leaves))}
	words := (e.rows + 63) / 64
	scratch := make([]uint64, 4*words)
	e.kept, e.live = scratch[:words], scratch[words:2*words]
	e.want, e.hits = scratch[2*words:3*words], scratch[3*words:]
	for i, l := range b.leaves {
		var err error
		if e.columns[i], err = l.fetch(rec); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// apply narrows live to the rows for which the term is true, and reports
// whether any is left.
func (e *evaluation) apply(t *boundTerm) bool {
	if t.leaf < 0 { // every value is null
		if !t.onNull {
			clear(e.live)
		}
		return t.onNull
	}
	c := e.columns[t.leaf]
	asked := uint64(0)
	for w, live := range e.live {
		e.want[w] = live
		if c.valid != nil {
			e.want[w] &= c.valid[w]
		}
		asked |= e.want[w]
	}
	switch {
	case asked == 0: // nothing but nulls to ask about
	case t.test != nil:
		t.test.fill(e.hits, e.want, c.arr)
		for w := range e.want {
			e.want[w] &= e.hits[w]
		}
	case !t.onValue:
		clear(e.want)
	}
	left := uint64(0)
	for w := range e.live {
		if t.onNull && c.valid != nil {
			e.want[w] |= e.live[w] &^ c.valid[w]
		}
		left |= e.want[w]
	}
	copy(e.live, e.want)
	return left != 0
}

// clearTail clears the bits past the last row.
func (e *evaluation) clearTail(words []uint64) {
	if tail := e.rows % 64; tail != 0 {
		words[len(words)-1] &= 1<<tail - 1
	}
}

func (e *evaluation) result(mem memory.Allocator) *array.Boolean {
	buf := memory.NewResizableBuffer(mem)
	defer buf.Release() // the array holds its own reference
	buf.Resize(len(e.kept) * 8)
	for w, word := range e.kept {
		binary.LittleEndian.PutUint64(buf.Bytes()[w*8:], word)
	}
	return array.NewBoolean(e.rows, buf, nil, 0)
}

// fetch finds the leaf in a record. A row is null if the leaf or any struct
// around it is.
func (l leaf) fetch(rec arrow.RecordBatch) (column, error) {
	at := rec.Schema().FieldIndices(l.path[0])
	if len(at) != 1 {
		return column{}, columnError(l.path, "the record holds %d columns of this name", len(at))
	}
	c := column{arr: storageArray(rec.Column(at[0]))}
	for _, name := range l.path[1:] {
		parent, ok := c.arr.(*array.Struct)
		if !ok {
			return column{}, columnError(l.path, "the record holds a %s where a struct is expected", c.arr.DataType())
		}
		c.restrict(parent)
		at, ok := parent.DataType().(*arrow.StructType).FieldIdx(name)
		if !ok {
			return column{}, columnError(l.path, "the record's struct has no field %q", name)
		}
		c.arr = storageArray(parent.Field(at))
	}
	if got := classify(c.arr.DataType()); !l.col.sameStorage(got) {
		return column{}, columnError(l.path, "the record holds a %s, the filter was bound to %s", got.arrow, l.col.arrow)
	}
	c.restrict(c.arr)
	return c, nil
}

// restrict takes the rows away in which arr is null.
func (c *column) restrict(arr arrow.Array) {
	if arr.NullN() == 0 || arr.Len() == 0 {
		return
	}
	data := arr.Data()
	if c.valid == nil {
		c.valid = make([]uint64, (arr.Len()+63)/64)
		for w := range c.valid {
			c.valid[w] = ^uint64(0)
		}
	}
	for w := range c.valid {
		c.valid[w] &= bitmapWord(arr.NullBitmapBytes(), data.Offset()+w*64, data.Offset()+data.Len())
	}
}

// storageArray looks through extension arrays.
func storageArray(arr arrow.Array) arrow.Array {
	for {
		ext, ok := arr.(array.ExtensionArray)
		if !ok {
			return arr
		}
		arr = ext.Storage()
	}
}

// bitmapWord returns 64 bits of a bitmap from bit at on; bits from end on are
// arbitrary, and the bitmap may stop there.
func bitmapWord(bitmap []byte, at, end int) uint64 {
	first, shift := at/8, at%8
	if len(bitmap) >= first+9 {
		word := binary.LittleEndian.Uint64(bitmap[first:]) >> shift
		// With shift 0 this shifts by 64, which gives 0 in Go.
		return word | uint64(bitmap[first+8])<<(64-shift)
	}
	var last [9]byte
	copy(last[:], bitmap[first:min(len(bitmap), (end+7)/8)])
	return binary.LittleEndian.Uint64(last[:])>>shift | uint64(last[8])<<(64-shift)
}
