package column

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// node is a struct, list or map of the Reader's field, or the place of a leaf in it. The first leaf below a struct or a list builds its
// validity and offsets from the levels; the other leaves are held to them.
type node struct {
	typ      arrow.DataType
	list     bool // or a map
	def      uint8
	rep      uint8
	anc      uint8 // the level from which on the enclosing list has an element, which is a slot of this node
	nullable bool
	children []*node
	leaf     *leaf

	mem     memory.Allocator
	valid   bitmap
	offsets *memory.Buffer // of a list: n+1
	n       int            // lists so far
	count   int            // their elements
	mean    float64        // elements a list had, in the array before
}

// place is what a node knows of those above it.
type place struct {
	def, rep, anc int16
}

// maxLevel keeps levels in bytes.
const maxLevel = 127

// build makes the tree of a field. leaves are appended in their order; who is not the first below a node leaves the node to the first.
func (r *Reader) build(f Field, at place, owned []*node) (*node, error) {
	if f.Def > maxLevel || f.Rep > maxLevel || f.Def < at.def {
		return nil, errLevels
	}
	n := &node{typ: f.Type, def: uint8(f.Def), rep: uint8(f.Rep), anc: uint8(at.anc), mem: r.mem}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		n.nullable = f.Def > at.def
		if f.Rep != at.rep || f.Def > at.def+1 || len(f.Children) != t.NumFields() || len(f.Children) == 0 {
			return nil, errLevels
		}
		at.def = f.Def
	case *arrow.ListType, *arrow.MapType:
		n.list, n.nullable = true, f.Def-1 > at.def
		if f.Rep != at.rep+1 || f.Def < at.def+1 || f.Def > at.def+2 || len(f.Children) != 1 {
			return nil, errLevels
		}
		at = place{def: f.Def, rep: f.Rep, anc: f.Def}
	default:
		if _, nested := f.Type.(arrow.NestedType); nested || f.Leaf == nil || len(f.Children) > 0 {
			return nil, errLevels
		}
		if f.Rep != at.rep || f.Def > at.def+1 || f.Leaf.MaxDef != f.Def || f.Leaf.MaxRep != f.Rep {
			return nil, errLevels
		}
		var err error
		n.leaf, err = r.newLeaf(f, at, owned)
		return n, err
	}
	if n.list || n.nullable {
		owned = append(owned, n)
	}
	for i := range f.Children {
		child, err := r.build(f.Children[i], at, owned)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
		owned = nil
	}
	return n, nil
}

var errLevels = errors.New("levels or types that do not fit one another")

// newLeaf decides how a leaf's levels are read.
func (r *Reader) newLeaf(f Field, at place, owned []*node) (*leaf, error) {
	lay, ok := layoutOf(f.Type, f.Leaf)
	if !ok {
		return nil, fmt.Errorf("physical type %s as %s", f.Leaf.Physical, f.Type)
	}
	if !codecKnown(f.Leaf.Codec) {
		return nil, fmt.Errorf("compression %s", f.Leaf.Codec)
	}
	l := &leaf{ordinal: len(r.leaves)}
	l.cursor = cursor{chunk: f.Leaf, limit: r.limit, mem: r.mem, scratch: r.scratch, layout: lay}
	l.sink = sink{layout: lay, typ: f.Type, mem: r.mem}
	if len(owned) > 0 || f.Def > 1 || f.Rep > 0 {
		l.nested = &levels{
			maxDef: uint8(f.Def), maxRep: uint8(f.Rep), anc: uint8(at.anc),
			owned: append([]*node(nil), owned...), nullable: f.Def > at.anc,
		}
	}
	r.leaves = append(r.leaves, l)
	return l, nil
}

// reset begins an array of about hint rows.
func (n *node) reset(hint int) {
	n.release()
	n.valid.mem = n.mem
	n.valid.reset(hint)
	n.n, n.count = 0, 0
	if n.list {
		n.offsets = memory.NewResizableBuffer(n.mem)
		n.offsets.Reserve(4 * (hint + 1))
		arrow.GetData[int32](n.offsets.Buf())[0] = 0
		if n.mean > 0 {
			hint = expected(n.mean, hint)
		}
	}
	for _, c := range n.children {
		c.reset(hint)
	}
	if n.leaf != nil {
		n.leaf.sink.reset(hint)
	}
}

func (n *node) release() {
	n.valid.release()
	if n.offsets != nil {
		n.offsets.Release()
		n.offsets = nil
	}
	for _, c := range n.children {
		c.release()
	}
	if n.leaf != nil {
		n.leaf.sink.release()
	}
}

// append adds what a block of levels says about this node.
func (n *node) append(def, rep []uint8, maxRep uint8) error {
	if n.list {
		return n.appendLists(def, rep)
	}
	if n.rep == maxRep {
		appendSlots(&n.valid, def, n.anc, n.def)
		return nil
	}
	// Entries inside lists below are no slots of their own.
	for i, d := range def {
		if rep[i] <= n.rep && d >= n.anc {
			n.appendBit(d >= n.def)
		}
	}
	return nil
}

func (n *node) appendBit(valid bool) {
	if valid {
		n.valid.appendOnes(1)
	} else {
		n.valid.appendZeros(1)
	}
}

// appendLists: an entry of a lower repetition level begins a list, unless an ancestor is null or empty; one of the list's own level is
// its next element; higher ones lie inside the element.
func (n *node) appendLists(def, rep []uint8) error {
	if need := 4 * (n.n + len(def) + 1); need > n.offsets.Cap() {
		n.offsets.Reserve(max(need, 2*n.offsets.Cap()))
	}
	ends := arrow.GetData[int32](n.offsets.Buf())
	at, count := n.n, n.count
	if count > math.MaxInt32-len(def) {
		return &Error{Kind: TooLarge, Err: errors.New("more than 2^31 list elements in one array")}
	}
	rep = rep[:len(def)]
	for i, d := range def {
		switch r := rep[i]; {
		case r < n.rep:
			if d < n.anc {
				continue
			}
			ends[at] = int32(count)
			at++
			if d >= n.def {
				count++
			}
			if n.nullable {
				n.appendBit(d >= n.def-1)
			}
		case r == n.rep:
			count++
		}
	}
	ends[at] = int32(count)
	n.n, n.count = at, count
	return nil
}

// finish makes the array of a node and of everything below.
func (n *node) finish() (arrow.ArrayData, error) {
	if n.leaf != nil {
		out, err := n.leaf.sink.finish()
		if err != nil {
			return nil, n.leaf.fault(err)
		}
		return out, nil
	}
	children := make([]arrow.ArrayData, 0, len(n.children))
	defer func() {
		for _, c := range children {
			c.Release()
		}
	}()
	for _, c := range n.children {
		child, err := c.finish()
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	if n.list {
		return n.finishList(children)
	}
	return n.finishStruct(children)
}

func (n *node) finishList(children []arrow.ArrayData) (arrow.ArrayData, error) {
	if children[0].Len() != n.count {
		return nil, misfit(fmt.Errorf("%d elements in lists of %d", children[0].Len(), n.count))
	}
	if n.nullable && n.valid.n != n.n {
		return nil, misfit(fmt.Errorf("%d validity bits for %d lists", n.valid.n, n.n))
	}
	if hintWorth(n.n) {
		n.mean = float64(n.count) / float64(n.n)
	}
	validity, nulls := n.valid.finish()
	if validity != nil {
		defer validity.Release()
	}
	n.offsets.ResizeNoShrink(4 * (n.n + 1))
	return array.NewData(n.typ, n.n, []*memory.Buffer{validity, n.offsets}, children, nulls, 0), nil
}

func (n *node) finishStruct(children []arrow.ArrayData) (arrow.ArrayData, error) {
	slots := children[0].Len()
	for _, c := range children {
		if c.Len() != slots {
			return nil, misfit(fmt.Errorf("fields of %d and %d values in one struct", slots, c.Len()))
		}
	}
	if n.nullable && n.valid.n != slots {
		return nil, misfit(fmt.Errorf("%d values for %d structs", slots, n.valid.n))
	}
	validity, nulls := n.valid.finish()
	if validity != nil {
		defer validity.Release()
	}
	return array.NewData(n.typ, slots, []*memory.Buffer{validity}, children, nulls, 0), nil
}

// misfit: the leaves of one field tell different stories about the lists and structs that they share.
func misfit(err error) error { return &Error{Kind: Corrupt, Page: -1, Err: err} }
