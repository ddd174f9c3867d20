package scan

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

// layout says, for one file, which leaves are read and what becomes of them.
// Fields are matched by name between the stream's schema and the file's.
type layout struct {
	out    *arrow.Schema
	fields []int        // top-level fields that are decoded
	leaves map[int]bool // what is decoded of them
	order  []int        // the same, in order

	micros map[int]bool // of fields: flat INT96 columns that are wanted as µs

	output []target // one per field of out
	bound  *filter.Bound
	tested []target // the fields that the filter reads
	schema *arrow.Schema
}

// target makes one column of an output, or of what the filter looks at.
type target struct {
	from   int // index into layout.fields, −1: the file lacks it
	field  arrow.Field
	native arrow.DataType
}

func newLayout(ft *Footer, q Query, out *arrow.Schema) (*layout, error) {
	l := &layout{out: out, leaves: make(map[int]bool)}
	used := make(map[int]bool)
	for _, f := range out.Fields() {
		if at := ft.rootIndex(f.Name); at >= 0 {
			l.mark(ft.roots[at], f.Type)
			used[at] = true
		}
	}
	tested := make(map[int]bool) // leaves of the filter
	if q.Filters != nil {
		native, err := q.filterSchema(ft.schema)
		if err != nil {
			return nil, inFile(ft.file, err)
		}
		if l.bound, err = q.Filters.BindWithMissing(native, q.Logic); err != nil {
			return nil, inFile(ft.file, err)
		}
		for _, path := range l.bound.Paths() {
			for _, leaf := range ft.leavesAt(path) {
				tested[leaf], l.leaves[leaf] = true, true
			}
			used[ft.rootIndex(path[0])] = true
		}
	}
	for at := range ft.roots {
		if used[at] {
			l.fields = append(l.fields, at)
		}
	}
	for leaf := range l.leaves {
		l.order = append(l.order, leaf)
	}
	slices.Sort(l.order)
	for _, f := range out.Fields() {
		l.output = append(l.output, l.target(ft, f))
	}
	if err := l.planTest(ft, q, tested); err != nil {
		return nil, err
	}
	l.planMicros(ft)
	return l, nil
}

// planMicros finds the INT96 columns of which everybody wants microseconds.
func (l *layout) planMicros(ft *Footer) {
	l.micros = make(map[int]bool)
	for at, root := range l.fields {
		if n := ft.roots[root]; n.leaf >= 0 && isInt96(n.field) {
			l.micros[root] = true
			for _, t := range slices.Concat(l.output, l.tested) {
				if t.from == at && !arrow.TypeEqual(t.field.Type, arrow.FixedWidthTypes.Timestamp_us) {
					l.micros[root] = false
				}
			}
		}
	}
}

// planTest lays out the record that the filter evaluates: only the leaves it
// reads, in the types it is bound to.
func (l *layout) planTest(ft *Footer, q Query, tested map[int]bool) error {
	if l.bound == nil {
		return nil
	}
	var fields []arrow.Field
	for _, at := range l.fields {
		f, ok := ft.roots[at].only(tested)
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
		l.tested = append(l.tested, l.target(ft, f))
	}
	l.schema = arrow.NewSchema(fields, nil)
	return nil
}

func (l *layout) target(ft *Footer, f arrow.Field) target {
	at := ft.rootIndex(f.Name)
	t := target{from: slices.Index(l.fields, at), field: f}
	if t.from >= 0 {
		t.native = ft.roots[at].field.Type
	}
	return t
}

func (ft *Footer) rootIndex(name string) int {
	return slices.IndexFunc(ft.roots, func(n *node) bool { return n.field.Name == name })
}

// mark notes the leaves of n that want needs.
func (l *layout) mark(n *node, want arrow.DataType) {
	before := len(l.leaves)
	switch t := want.(type) {
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if c := n.child(f.Name); c != nil && !n.repeated {
				l.mark(c, f.Type)
			}
		}
		if len(l.leaves) == before && !l.any(n) {
			// Which structs are null is written in the levels of any leaf.
			l.leaves[n.leaves(nil)[0]] = true
		}
		return
	case *arrow.MapType:
	case arrow.ListLikeType:
		if n.repeated && len(n.children) == 1 {
			l.mark(n.children[0], t.Elem())
			return
		}
	}
	for _, leaf := range n.leaves(nil) {
		l.leaves[leaf] = true
	}
}

func (l *layout) any(n *node) bool {
	return slices.ContainsFunc(n.leaves(nil), func(leaf int) bool { return l.leaves[leaf] })
}

// only is a field reduced to some leaves; a map is whole or absent.
func (n *node) only(leaves map[int]bool) (arrow.Field, bool) {
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
