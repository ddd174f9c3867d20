package scan

import (
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

// layout says, for one file, what is decoded and what becomes of it. Fields are
// matched by name between the stream's schema and the file's.
type layout struct {
	units  []unit // what is decoded; those that the filter looks at come first
	first  int    // how many those are
	output []target
	bound  *filter.Bound
	tested []target // one per field of schema, made of units[:first]
	schema *arrow.Schema
	lacks  int64 // bytes of an output row that the file does not have, which are nulls
	arrays int64 // of an output batch, those inside others included
}

// arrayBytes is about what an array takes beside its values.
const arrayBytes = 512

// batchOverhead is what a batch takes beside its values.
func (l *layout) batchOverhead() int64 { return l.arrays * arrayBytes }

// unit is a top-level field, or as much of it as is needed, decoded as one array.
// A field of which the filter looks at some leaves and the stream wants others
// makes two units, so that the others are read only where rows are kept.
type unit struct {
	root   int     // of Footer.roots
	leaves leafSet // what is decoded of it
	order  []int   // the same, in order
	micros bool    // a flat INT96 column that everybody wants as µs
}

// target makes one column of an output, or of what the filter looks at.
type target struct {
	from   int // index into layout.units, −1: the file lacks it
	field  arrow.Field
	native arrow.DataType
}

func newLayout(ft *Footer, q Query, out *arrow.Schema) (*layout, error) {
	l := &layout{}
	tested := make(map[int]leafSet) // by root
	if q.Filters != nil {
		native, err := q.filterSchema(ft.schema)
		if err != nil {
			return nil, inFile(ft.file, err)
		}
		if l.bound, err = q.Filters.BindWithMissing(native, q.Logic); err != nil {
			return nil, inFile(ft.file, err)
		}
		for _, path := range l.bound.Paths() {
			root := ft.rootIndex(path[0])
			for _, leaf := range ft.leavesAt(path) {
				if tested[root] == nil {
					tested[root] = make(leafSet)
				}
				tested[root][leaf] = true
			}
		}
	}
	wanted := make(map[int]leafSet)
	for _, f := range out.Fields() {
		if at := ft.rootIndex(f.Name); at >= 0 {
			wanted[at] = make(leafSet)
			wanted[at].mark(ft.roots[at], f.Type)
		}
	}
	l.planUnits(ft, tested, wanted)
	bits, places := int64(0), placesOf(l.units)
	for _, f := range out.Fields() {
		t := places.target(ft, f)
		l.output = append(l.output, t)
		l.arrays += arraysOf(f.Type)
		if t.from < 0 {
			bits = addBits(bits, nullBits(f.Type))
		} else {
			bits = addBits(bits, lackedBits(t.native, f.Type))
		}
	}
	l.lacks = (bits + 7) / 8
	if err := l.planTest(ft, q, tested); err != nil {
		return nil, err
	}
	l.planMicros(ft)
	return l, nil
}

// lackedBits is how many bits of a value the file does not have: fields of structs, and
// everything where it has nulls only. Of a list it is taken for one element.
func lackedBits(native, want arrow.DataType) int64 {
	if native.ID() == arrow.NULL {
		return nullBits(want)
	}
	bits := int64(0)
	switch t := want.(type) {
	case *arrow.StructType:
		have, ok := native.(*arrow.StructType)
		if !ok {
			return 0 // and is refused
		}
		for _, f := range t.Fields() {
			if at, ok := have.FieldIdx(f.Name); ok {
				bits = addBits(bits, lackedBits(have.Field(at).Type, f.Type))
			} else {
				bits = addBits(bits, nullBits(f.Type))
			}
		}
	case *arrow.MapType:
	case arrow.ListLikeType:
		if have, ok := native.(arrow.ListLikeType); ok {
			bits = lackedBits(have.Elem(), t.Elem())
		}
	}
	return bits
}

// maxBits is where sums of bits stop: nothing of that size can be decoded.
const maxBits = 8 * 4 * maxDecodeBytes

func addBits(a, b int64) int64 { return min(a+b, maxBits) }

// nullBits is what a null takes in an array of them.
func nullBits(t arrow.DataType) int64 {
	const valid = 1
	switch t := t.(type) {
	case *arrow.NullType:
		return 0
	case *arrow.StructType:
		bits := int64(valid)
		for _, f := range t.Fields() {
			bits = addBits(bits, nullBits(f.Type))
		}
		return bits
	case *arrow.FixedSizeListType:
		elem, n := nullBits(t.Elem()), int64(t.Len())
		if elem > 0 && n > maxBits/elem {
			return maxBits
		}
		return valid + elem*n
	case *arrow.LargeListType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		return valid + 64
	case arrow.FixedWidthDataType:
		return addBits(valid, int64(t.BitWidth()))
	}
	return valid + 32 // offsets
}

// arraysOf is how many arrays one of a type is made of.
func arraysOf(t arrow.DataType) int64 {
	n := int64(1)
	if nested, ok := t.(arrow.NestedType); ok {
		for _, f := range nested.Fields() {
			n += arraysOf(f.Type)
		}
	}
	return n
}

// planUnits makes a unit of what the filter looks at in each field, and another
// of what is wanted of the field unless the first has it all.
func (l *layout) planUnits(ft *Footer, tested, wanted map[int]leafSet) {
	add := func(root int, leaves leafSet) {
		l.units = append(l.units, unit{root: root, leaves: leaves, order: slices.Sorted(maps.Keys(leaves))})
	}
	for root := range ft.roots {
		if len(tested[root]) > 0 {
			add(root, tested[root])
		}
	}
	l.first = len(l.units)
	for root := range ft.roots {
		if len(wanted[root]) > 0 && !tested[root].covers(wanted[root]) {
			add(root, wanted[root])
		}
	}
}

// planMicros finds the INT96 columns of which everybody wants microseconds.
func (l *layout) planMicros(ft *Footer) {
	for at := range l.units {
		n := ft.roots[l.units[at].root]
		l.units[at].micros = n.leaf >= 0 && isInt96(n.field)
	}
	for _, t := range slices.Concat(l.output, l.tested) {
		if t.from >= 0 && !arrow.TypeEqual(t.field.Type, arrow.FixedWidthTypes.Timestamp_us) {
			l.units[t.from].micros = false
		}
	}
}

// planTest lays out the record that the filter evaluates: only the leaves it
// reads, in the types it is bound to.
func (l *layout) planTest(ft *Footer, q Query, tested map[int]leafSet) error {
	if l.bound == nil {
		return nil
	}
	var fields []arrow.Field
	places := placesOf(l.units[:l.first])
	for _, u := range l.units[:l.first] {
		f, ok := ft.roots[u.root].only(tested[u.root])
		if !ok {
			continue
		}
		if q.Logic == filter.Spark {
			var err error
			if f, err = q.Profile.mapField(f, f.Name); err != nil {
				return inFile(ft.file, err)
			}
		}
		fields = append(fields, f)
		l.tested = append(l.tested, places.target(ft, f))
	}
	l.schema = arrow.NewSchema(fields, nil)
	return nil
}

// places says which of some units has a root: the last, because what is wanted comes
// after what is tested.
type places map[int]int

func placesOf(units []unit) places {
	p := make(places, len(units))
	for i, u := range units {
		p[u.root] = i
	}
	return p
}

// target finds the unit that has a field.
func (p places) target(ft *Footer, f arrow.Field) target {
	root := ft.rootIndex(f.Name)
	if at, ok := p[root]; ok {
		return target{from: at, field: f, native: ft.roots[root].field.Type}
	}
	return target{from: -1, field: f}
}

// wants reports whether a unit is part of the output.
func (l *layout) wants(at int) bool {
	return slices.ContainsFunc(l.output, func(t target) bool { return t.from == at })
}

// leaves are all that may be read, in order.
func (l *layout) leaves() []int {
	all := make(leafSet)
	for _, u := range l.units {
		maps.Copy(all, u.leaves)
	}
	return slices.Sorted(maps.Keys(all))
}

func (ft *Footer) rootIndex(name string) int {
	if at, ok := ft.named[name]; ok {
		return at
	}
	return -1
}

// leafSet is a set of leaves.
type leafSet map[int]bool

// mark notes the leaves of n that want needs.
func (s leafSet) mark(n *node, want arrow.DataType) {
	before := len(s)
	switch t := want.(type) {
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if c := n.child(f.Name); c != nil && !n.repeated {
				s.mark(c, f.Type)
			}
		}
		if len(s) == before {
			// Which structs are null is written in the levels of any leaf.
			s.markFirst(n)
		}
		return
	case *arrow.MapType:
	case arrow.ListLikeType:
		if n.repeated && len(n.children) == 1 {
			s.mark(n.children[0], t.Elem())
			return
		}
	}
	for _, leaf := range n.leaves(nil) {
		s[leaf] = true
	}
}

// markFirst notes the first leaf below n, or all of the map that it is in: a map is
// read whole.
func (s leafSet) markFirst(n *node) {
	for n.leaf < 0 && n.field.Type.ID() != arrow.MAP {
		n = n.children[0]
	}
	for _, leaf := range n.leaves(nil) {
		s[leaf] = true
	}
}

func (s leafSet) covers(other leafSet) bool {
	for leaf := range other {
		if !s[leaf] {
			return false
		}
	}
	return true
}

// only is a field reduced to some leaves; a map is whole or absent.
func (n *node) only(leaves leafSet) (arrow.Field, bool) {
	f := n.field
	if n.leaf >= 0 {
		return f, leaves[n.leaf]
	}
	var kept []arrow.Field
	for _, c := range n.children {
		if cf, ok := c.only(leaves); ok {
			kept = append(kept, cf)
		}
	}
	if len(kept) == 0 {
		return f, false
	}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		f.Type = arrow.StructOf(kept...)
	case *arrow.MapType:
	case *arrow.ListType:
		f.Type = arrow.ListOfField(kept[0])
	case *arrow.LargeListType:
		f.Type = arrow.LargeListOfField(kept[0])
	case *arrow.FixedSizeListType:
		f.Type = arrow.FixedSizeListOfField(t.Len(), kept[0])
	}
	return f, true
}

// checkOut refuses stream schemas that this file cannot give, before anything is
// read. The rest shows when values are converted.
func (l *layout) checkOut(ft *Footer) error {
	for _, t := range l.output {
		if t.from >= 0 && !castable(t.native, t.field.Type) {
			return inFile(ft.file, source.Errorf(source.KindInvalid, opOpen, "the file has %s where %s is expected", t.native, t.field.Type).
				WithColumn(t.field.Name).WithHint("the dataset's files disagree; read them separately with data_files"))
		}
	}
	return nil
}

// castable compares shapes: nested with nested of the same sort.
func castable(native, want arrow.DataType) bool {
	if native.ID() == arrow.NULL {
		return true
	}
	shape := func(t arrow.DataType) int {
		switch t.(type) {
		case *arrow.StructType:
			return 1
		case *arrow.MapType:
			return 2
		case arrow.ListLikeType:
			return 3
		}
		return 0
	}
	return shape(native) == shape(want)
}
