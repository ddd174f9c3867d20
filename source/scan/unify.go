package scan

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// NamedSchema is a file's schema and what to call the file in messages.
type NamedSchema struct {
	File   string
	Schema *arrow.Schema
}

// Unify makes one schema of several files' schemas, by field name: fields in the
// order in which they first appear; null gives way to any type; integers and
// floats widen as long as every value stays exact; what a file lacks is null
// there. Anything else is KindInvalid, naming both files and the column, if the query
// reads the column; a column that it leaves alone keeps its first type, which stands
// for nothing. The metadata of the first file is kept.
func (q Query) Unify(files []NamedSchema) (*arrow.Schema, error) {
	if len(files) == 0 {
		return arrow.NewSchema(nil, nil), nil
	}
	meta := files[0].Schema.Metadata()
	fields := files[0].Schema.Fields()
	u := unifier{origin: make(map[string]string), reads: q.reads()}
	if err := u.unique(fields); err != nil && len(files) > 1 {
		return nil, err
	}
	u.note("", fields, files[0].File)
	for _, f := range files[1:] {
		if f.Schema == files[0].Schema {
			continue
		}
		if err := u.unique(f.Schema.Fields()); err != nil {
			return nil, err
		}
		var err error
		if fields, err = u.fields(fields, f.Schema.Fields(), nil, "", f.File); err != nil {
			return nil, err
		}
	}
	return arrow.NewSchema(fields, &meta), nil
}

// reads tells of a path whether the query reads what is at it, below it or above it.
// List elements have no name in the path.
func (q Query) reads() func(path []string) bool {
	if q.Columns == nil && !q.RowsOnly {
		return func([]string) bool { return true }
	}
	paths := make(map[string][][]string) // by their first names
	add := func(path []string) { paths[path[0]] = append(paths[path[0]], path) }
	columns := q.Columns
	if q.Filters != nil {
		columns = slices.Concat(columns, q.Filters.Columns())
	}
	for _, c := range columns {
		if c.IsPath() {
			add(c.Path)
		} else { // a top-level name or a dotted path, which a schema decides
			add([]string{c.Name})
			add(strings.Split(c.Name, "."))
		}
	}
	return func(path []string) bool {
		return slices.ContainsFunc(paths[path[0]], func(read []string) bool {
			n := min(len(read), len(path))
			return slices.Equal(read[:n], path[:n])
		})
	}
}

// unifier remembers which file a column's type comes from.
type unifier struct {
	origin map[string]string
	reads  func(path []string) bool
}

// unique is checkUnique for the columns that are read.
func (u unifier) unique(fields []arrow.Field) error {
	var read []arrow.Field
	for _, f := range fields {
		if u.reads([]string{f.Name}) {
			read = append(read, f)
		}
	}
	return checkUnique(read, "")
}

func (u unifier) note(path string, fields []arrow.Field, file string) {
	for _, f := range fields {
		p := joinPath(path, f.Name)
		u.origin[p] = file
		if st, ok := f.Type.(*arrow.StructType); ok {
			u.note(p, st.Fields(), file)
		}
	}
}

func joinPath(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

func (u unifier) fields(a, b []arrow.Field, at []string, path, file string) ([]arrow.Field, error) {
	out := make([]arrow.Field, 0, len(a))
	inB := make(map[string]arrow.Field, len(b))
	for _, f := range b {
		inB[f.Name] = f
	}
	seen := make(map[string]bool, len(a))
	for _, f := range a {
		seen[f.Name] = true
		other, ok := inB[f.Name]
		if !ok {
			f.Nullable = true
			out = append(out, f)
			continue
		}
		merged, err := u.field(f, other, slices.Concat(at, []string{f.Name}), joinPath(path, f.Name), file)
		if err != nil {
			return nil, err
		}
		out = append(out, merged)
	}
	for _, f := range b {
		if !seen[f.Name] {
			f.Nullable = true
			u.note(path, []arrow.Field{f}, file)
			out = append(out, f)
		}
	}
	return out, nil
}

// field unifies what is at a path; path is its name in errors, at how a column names it.
func (u unifier) field(a, b arrow.Field, at []string, path, file string) (arrow.Field, error) {
	out := a
	out.Nullable = a.Nullable || b.Nullable
	if arrow.TypeEqual(a.Type, b.Type, arrow.CheckMetadata()) && a.Metadata.Equal(b.Metadata) {
		return out, nil
	}
	switch {
	case a.Type.ID() == arrow.NULL:
		out.Type, out.Metadata = b.Type, b.Metadata
		u.origin[path] = file
		return out, nil
	case b.Type.ID() == arrow.NULL:
		return out, nil
	}
	if isInt96(a) != isInt96(b) {
		return out, u.conflict(a, b, at, path, file)
	}
	if !a.Metadata.Equal(b.Metadata) {
		out.Metadata = arrow.Metadata{} // not the same extension everywhere
		if isInt96(a) {
			out.Metadata = arrow.NewMetadata([]string{physicalKey}, []string{physicalInt96})
		}
	}
	t, err := u.types(a, b, at, path, file)
	out.Type = t
	return out, err
}

func (u unifier) types(a, b arrow.Field, at []string, path, file string) (arrow.DataType, error) {
	switch ta := a.Type.(type) {
	case *arrow.StructType:
		if tb, ok := b.Type.(*arrow.StructType); ok {
			fields, err := u.fields(ta.Fields(), tb.Fields(), at, path, file)
			if err != nil {
				return nil, err
			}
			return arrow.StructOf(fields...), nil
		}
	case *arrow.MapType:
		if tb, ok := b.Type.(*arrow.MapType); ok {
			key, err := u.field(ta.KeyField(), tb.KeyField(), at, path+".key", file)
			if err != nil {
				return nil, err
			}
			item, err := u.field(ta.ItemField(), tb.ItemField(), at, path+".value", file)
			if err != nil {
				return nil, err
			}
			return arrow.MapOfFields(key, item), nil
		}
	case arrow.ListLikeType:
		tb, ok := b.Type.(arrow.ListLikeType)
		if _, isMap := b.Type.(*arrow.MapType); !ok || isMap {
			break
		}
		elem, err := u.field(ta.ElemField(), tb.ElemField(), at, path+".element", file)
		if err != nil {
			return nil, err
		}
		return listOf(a.Type, b.Type, elem), nil
	default:
		if arrow.TypeEqual(a.Type, b.Type) {
			return a.Type, nil
		}
		if t := widen(a.Type, b.Type); t != nil {
			return t, nil
		}
	}
	return a.Type, u.conflict(a, b, at, path, file)
}

// conflict is nil if nobody reads the column.
func (u unifier) conflict(a, b arrow.Field, at []string, path, file string) error {
	if !u.reads(at) {
		return nil
	}
	first := u.origin[path]
	return source.Errorf(source.KindInvalid, opPlan, "column %q is %s in %s and %s in %s", path, a.Type, first, b.Type, file).
		WithColumn(path).WithHint("read the files separately with data_files, or leave this column out: name others in columns and filters")
}

// listOf is the list type that both lists can be read as.
func listOf(a, b arrow.DataType, elem arrow.Field) arrow.DataType {
	fa, aFixed := a.(*arrow.FixedSizeListType)
	fb, bFixed := b.(*arrow.FixedSizeListType)
	switch {
	case aFixed && bFixed && fa.Len() == fb.Len():
		return arrow.FixedSizeListOfField(fa.Len(), elem)
	case a.ID() == arrow.LARGE_LIST || b.ID() == arrow.LARGE_LIST:
		return arrow.LargeListOfField(elem)
	}
	return arrow.ListOfField(elem)
}

// widen returns the narrowest type that holds every value of both exactly, or
// nil if there is none.
func widen(a, b arrow.DataType) arrow.DataType {
	if a.ID() > b.ID() {
		a, b = b, a
	}
	ia, aInt := intShape(a)
	ib, bInt := intShape(b)
	switch {
	case aInt && bInt:
		return widenInts(ia, ib)
	case arrow.IsFloating(a.ID()) && arrow.IsFloating(b.ID()):
		return b // ids are in order of width
	case aInt && arrow.IsFloating(b.ID()):
		return widenIntFloat(ia, b)
	}
	switch at := a.(type) {
	case *arrow.StringType:
		if b.ID() == arrow.LARGE_STRING {
			return b
		}
	case *arrow.BinaryType:
		if b.ID() == arrow.LARGE_BINARY {
			return b
		}
	case *arrow.Decimal128Type:
		if bt, ok := b.(*arrow.Decimal128Type); ok && at.Scale == bt.Scale {
			return &arrow.Decimal128Type{Precision: max(at.Precision, bt.Precision), Scale: at.Scale}
		}
		if bt, ok := b.(*arrow.Decimal256Type); ok && at.Scale == bt.Scale {
			return &arrow.Decimal256Type{Precision: max(at.Precision, bt.Precision), Scale: at.Scale}
		}
	case *arrow.Decimal256Type:
		if bt, ok := b.(*arrow.Decimal256Type); ok && at.Scale == bt.Scale {
			return &arrow.Decimal256Type{Precision: max(at.Precision, bt.Precision), Scale: at.Scale}
		}
	}
	return nil
}

type intForm struct {
	bits   int
	signed bool
}

func intShape(t arrow.DataType) (intForm, bool) {
	if !arrow.IsInteger(t.ID()) {
		return intForm{}, false
	}
	return intForm{t.(arrow.FixedWidthDataType).BitWidth(), arrow.IsSignedInteger(t.ID())}, true
}

func widenInts(a, b intForm) arrow.DataType {
	signed := a.signed || b.signed
	need := func(f intForm) int {
		if signed && !f.signed {
			return 2 * f.bits
		}
		return f.bits
	}
	bits := max(need(a), need(b))
	types := map[intForm]arrow.DataType{
		{8, true}: arrow.PrimitiveTypes.Int8, {16, true}: arrow.PrimitiveTypes.Int16,
		{32, true}: arrow.PrimitiveTypes.Int32, {64, true}: arrow.PrimitiveTypes.Int64,
		{8, false}: arrow.PrimitiveTypes.Uint8, {16, false}: arrow.PrimitiveTypes.Uint16,
		{32, false}: arrow.PrimitiveTypes.Uint32, {64, false}: arrow.PrimitiveTypes.Uint64,
	}
	if t, ok := types[intForm{bits, signed}]; ok {
		return t
	}
	return nil
}

// widenIntFloat gives a float whose mantissa holds the integers.
func widenIntFloat(a intForm, b arrow.DataType) arrow.DataType {
	switch {
	case a.bits <= 8:
		return b // 11 bits of mantissa and more
	case a.bits <= 16 && b.ID() != arrow.FLOAT64:
		return arrow.PrimitiveTypes.Float32
	case a.bits <= 32:
		return arrow.PrimitiveTypes.Float64
	}
	return nil
}
