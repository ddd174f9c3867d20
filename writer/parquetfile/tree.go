package parquetfile

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// live marks an entry that goes on: no node above has ended it by a null or an empty list.
const live = 0xff

// run is a half-open range of indices into an array.
type run struct{ lo, hi int }

// entries are the slots of one node in a batch, in order: what a leaf writes a level for. They are not changed once they are made.
type entries struct {
	n    int
	rep  []uint8 // nil: all 0
	def  []uint8 // live, or the level at which the entry ended; nil: all live
	live []run   // the indices of the live entries in the node's array, in order
}

// levelsAbove are the levels that a node's ancestors take.
type levelsAbove struct{ def, rep uint8 }

// node is one field of the schema. Its scratch is used again for every batch.
type node struct {
	id       arrow.Type
	nullable bool
	list     bool // one of the list types
	nullAt   uint8
	emptyAt  uint8 // of a list
	repeatAt uint8 // the repetition level of a list's further elements
	children []*node
	leaf     *chunk

	def   []uint8 // after nulls
	runs  []run
	itemR []uint8 // of a list's elements
	itemD []uint8
	itemL []run
}

// grow makes the node of a field and, in the order of the schema, the chunks of its leaves.
func (f *File) grow(field arrow.Field, above levelsAbove) (*node, error) {
	n := &node{id: field.Type.ID(), nullable: field.Nullable, nullAt: above.def}
	if n.nullable {
		above.def++
	}
	if above.def >= live-2 {
		return nil, fmt.Errorf("%q is nested too deeply", field.Name)
	}
	var inner []arrow.Field
	switch t := field.Type.(type) {
	case *arrow.StructType:
		inner = t.Fields()
	case *arrow.MapType:
		n.list = true
		inner = []arrow.Field{{Name: "key_value", Type: t.Elem()}}
	case *arrow.ListType:
		n.list = true
		inner = []arrow.Field{t.ElemField()}
	case *arrow.LargeListType:
		n.list = true
		inner = []arrow.Field{t.ElemField()}
	case *arrow.FixedSizeListType:
		n.list = true
		inner = []arrow.Field{t.ElemField()}
	default:
		leaf, err := f.plant(field, above)
		n.leaf = leaf
		return n, err
	}
	if n.list {
		n.emptyAt = above.def
		above.def++
		above.rep++
		n.repeatAt = above.rep
	}
	for _, child := range inner {
		grown, err := f.grow(child, above)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, grown)
	}
	return n, nil
}

// plant makes the chunk of a leaf and checks its levels against the schema's.
func (f *File) plant(field arrow.Field, above levelsAbove) (*chunk, error) {
	if len(f.chunks) >= f.schema.NumColumns() {
		return nil, fmt.Errorf("%q is not in the Parquet schema", field.Name)
	}
	column := f.schema.Column(len(f.chunks))
	if column.MaxDefinitionLevel() != int16(above.def) || column.MaxRepetitionLevel() != int16(above.rep) {
		return nil, fmt.Errorf("column %s has levels %d and %d in the schema, not %d and %d", column.Path(),
			column.MaxDefinitionLevel(), column.MaxRepetitionLevel(), above.def, above.rep)
	}
	c, err := newChunk(column, field.Type, f.props, f.slabs)
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", column.Path(), err)
	}
	f.chunks = append(f.chunks, c)
	return c, nil
}

// walk gives an array's entries to the leaves below.
func (n *node) walk(a arrow.Array, e entries) error {
	if a.NullN() > 0 {
		if !n.nullable && n.id != arrow.NULL {
			if n.id != arrow.STRUCT { // the entries of maps may hide such
				return errNulls
			}
		} else {
			e = n.withoutNulls(a, e)
		}
	}
	switch {
	case n.leaf != nil:
		return n.leaf.add(a, e)
	case n.list:
		values, err := n.elements(a, &e)
		if err != nil {
			return err
		}
		return n.children[0].walk(values, e)
	}
	s, ok := a.(*array.Struct)
	if !ok || s.NumField() != len(n.children) {
		return fmt.Errorf("%s is no struct of %d fields", a.DataType(), len(n.children))
	}
	for i, child := range n.children {
		if err := child.walk(s.Field(i), e); err != nil {
			return err
		}
	}
	return nil
}

// withoutNulls ends the entries that are null.
func (n *node) withoutNulls(a arrow.Array, e entries) entries {
	n.def = append(n.def[:0], e.def...)
	if e.def == nil {
		n.def = fill(n.def, e.n, live)
	}
	n.runs = n.runs[:0]
	bitmap, offset := a.NullBitmapBytes(), a.Data().Offset()
	if a.DataType().ID() == arrow.NULL {
		bitmap = nil
	}
	at := 0
	for _, r := range e.live {
		for i := r.lo; ; i++ {
			null := nextNull(bitmap, offset, i, r.hi)
			n.runs = extend(n.runs, i, null)
			at = skipLive(n.def, at, null-i, e.def == nil)
			if i = null; i == r.hi {
				break
			}
			for n.def[at] != live {
				at++
			}
			n.def[at] = n.nullAt
			at++
		}
	}
	e.def, e.live = n.def, n.runs
	return e
}

// nextNull returns the index of the first null in [i, hi), else hi. Without a bitmap there are nulls only.
func nextNull(bitmap []byte, offset, i, hi int) int {
	if bitmap == nil {
		return i
	}
	for i < hi {
		bit := offset + i
		if bit&7 == 0 && bit>>3+8 <= len(bitmap) { // 64 at a time
			valid := bits.TrailingZeros64(^binary.LittleEndian.Uint64(bitmap[bit>>3:]))
			i += valid
			if valid < 64 {
				break
			}
			continue
		}
		if bitmap[bit>>3]>>(bit&7)&1 == 0 {
			break
		}
		i++
	}
	return min(i, hi)
}

// skipLive returns where n live entries from at on end. all: every entry that is not passed yet is live.
func skipLive(def []uint8, at, n int, all bool) int {
	if all {
		return at + n
	}
	for ; n > 0; at++ {
		if def[at] == live {
			n--
		}
	}
	return at
}

// elements replaces a list's entries by those of its elements, and returns the array that these are in.
func (n *node) elements(a arrow.Array, e *entries) (arrow.Array, error) {
	offset := a.Data().Offset()
	switch l := a.(type) {
	case *array.Map:
		expand(n, e, spread[int32]{offsets: offsets32(a)})
		return l.ListValues(), nil
	case *array.List:
		expand(n, e, spread[int32]{offsets: offsets32(a)})
		return l.ListValues(), nil
	case *array.LargeList:
		expand(n, e, spread[int64]{offsets: offsets64(a)})
		return l.ListValues(), nil
	case *array.FixedSizeList:
		size := int(l.DataType().(*arrow.FixedSizeListType).Len())
		expand(n, e, spread[int32]{fixed: size, first: offset * size})
		return l.ListValues(), nil
	}
	return nil, fmt.Errorf("%s is no list", a.DataType())
}

// spread says where the elements of a list lie.
type spread[O int32 | int64] struct {
	offsets      []O
	fixed, first int // without offsets
}

func (s spread[O]) of(i int) (lo, hi int) {
	if s.offsets == nil {
		return s.first + i*s.fixed, s.first + (i+1)*s.fixed
	}
	return int(s.offsets[i]), int(s.offsets[i+1])
}

func expand[O int32 | int64](n *node, e *entries, where spread[O]) {
	n.itemR, n.itemD, n.itemL = n.itemR[:0], n.itemD[:0], n.itemL[:0]
	at := 0
	ended := func() { // takes over what ended before this list
		for e.def != nil && at < e.n && e.def[at] != live {
			n.itemR, n.itemD = append(n.itemR, e.repeats(at)), append(n.itemD, e.def[at])
			at++
		}
	}
	for _, r := range e.live {
		for i := r.lo; i < r.hi; i++ {
			ended()
			lo, hi := where.of(i)
			n.itemR = append(n.itemR, e.repeats(at))
			at++
			if lo == hi {
				n.itemD = append(n.itemD, n.emptyAt)
				continue
			}
			n.itemR = fill(n.itemR, hi-lo-1, n.repeatAt)
			n.itemD = fill(n.itemD, hi-lo, live)
			n.itemL = extend(n.itemL, lo, hi)
		}
	}
	ended()
	*e = entries{n: len(n.itemR), rep: n.itemR, def: n.itemD, live: n.itemL}
}

func (e *entries) repeats(at int) uint8 {
	if e.rep == nil {
		return 0
	}
	return e.rep[at]
}

// extend appends a run, or lengthens the last one.
func extend(runs []run, lo, hi int) []run {
	if lo == hi {
		return runs
	}
	if last := len(runs) - 1; last >= 0 && runs[last].hi == lo {
		runs[last].hi = hi
		return runs
	}
	return append(runs, run{lo, hi})
}

// fill appends n times v.
func fill(dst []uint8, n int, v uint8) []uint8 {
	if n <= 0 {
		return dst
	}
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	more := dst[at:]
	more[0] = v
	for done := 1; done < n; done *= 2 {
		copy(more[done:], more[:done])
	}
	return dst
}

func offsets32(a arrow.Array) []int32 {
	d := a.Data()
	if d.Len() == 0 || d.Buffers()[1] == nil {
		return make([]int32, 1)
	}
	return arrow.Int32Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset():]
}

func offsets64(a arrow.Array) []int64 {
	d := a.Data()
	if d.Len() == 0 || d.Buffers()[1] == nil {
		return make([]int64, 1)
	}
	return arrow.Int64Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset():]
}
