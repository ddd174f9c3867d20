package scantest

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
)

// Same says whether a cell is that of another array, to the bit; every NaN is as
// good as any other. Structs are compared by the fields that got has, so that a
// projection can be compared with the whole.
func Same(got arrow.Array, g int, want arrow.Array, w int) bool {
	if got.IsNull(g) || want.IsNull(w) {
		return got.IsNull(g) == want.IsNull(w)
	}
	switch a := got.(type) {
	case *array.Struct:
		b, ok := want.(*array.Struct)
		return ok && sameFields(a, g, b, w)
	case *array.Map:
		b, ok := want.(*array.Map)
		return ok && sameLists(a, g, b, w, func(i, j int) bool {
			return Same(a.Keys(), i, b.Keys(), j) && Same(a.Items(), i, b.Items(), j)
		})
	case array.ListLike:
		b, ok := want.(array.ListLike)
		return ok && sameLists(a, g, b, w, func(i, j int) bool { return Same(a.ListValues(), i, b.ListValues(), j) })
	case *array.Float64:
		b, ok := want.(*array.Float64)
		return ok && (math.Float64bits(a.Value(g)) == math.Float64bits(b.Value(w)) || math.IsNaN(a.Value(g)) && math.IsNaN(b.Value(w)))
	case *array.Float32:
		b, ok := want.(*array.Float32)
		return ok && (math.Float32bits(a.Value(g)) == math.Float32bits(b.Value(w)) || a.Value(g) != a.Value(g) && b.Value(w) != b.Value(w))
	case *array.Float16:
		b, ok := want.(*array.Float16)
		return ok && (a.Value(g) == b.Value(w) || a.Value(g).IsNaN() && b.Value(w).IsNaN())
	case *array.Boolean:
		b, ok := want.(*array.Boolean)
		return ok && a.Value(g) == b.Value(w)
	case *array.Null:
		return true
	}
	a, okA := raw(got, g)
	b, okB := raw(want, w)
	return okA && okB && bytes.Equal(a, b)
}

func sameFields(a *array.Struct, g int, b *array.Struct, w int) bool {
	have := b.DataType().(*arrow.StructType)
	for k, f := range a.DataType().(*arrow.StructType).Fields() {
		at, ok := have.FieldIdx(f.Name)
		if !ok || !Same(a.Field(k), g, b.Field(at), w) {
			return false
		}
	}
	return true
}

func sameLists(a array.ListLike, g int, b array.ListLike, w int, same func(i, j int) bool) bool {
	from, to := a.ValueOffsets(g)
	at, end := b.ValueOffsets(w)
	if to-from != end-at {
		return false
	}
	for k := range to - from {
		if !same(int(from+k), int(at+k)) {
			return false
		}
	}
	return true
}

// raw is a cell's bytes, for types of which bytes are all that matters.
func raw(a arrow.Array, i int) ([]byte, bool) {
	switch a := a.(type) {
	case *array.String:
		return []byte(a.Value(i)), true
	case *array.LargeString:
		return []byte(a.Value(i)), true
	case *array.Binary:
		return a.Value(i), true
	case *array.LargeBinary:
		return a.Value(i), true
	}
	t, ok := a.DataType().(arrow.FixedWidthDataType)
	if !ok || len(a.Data().Buffers()) < 2 || a.Data().Buffers()[1] == nil {
		return nil, false
	}
	n := t.BitWidth() / 8
	at := (a.Data().Offset() + i) * n
	return a.Data().Buffers()[1].Bytes()[at : at+n], true
}

// Selected is the shape that a projection gives a schema's types, written down:
// names of structs' fields, and types. Names of list elements and of a map's
// entries do not matter.
func Selected(schema *arrow.Schema, columns []source.Column) (string, error) {
	if columns == nil {
		return Shape(schema), nil
	}
	var order []string
	paths := map[string][][]string{}
	for _, c := range columns {
		path := c.Path
		if !c.IsPath() {
			path = []string{c.Name}
			if len(schema.FieldIndices(c.Name)) == 0 {
				path = strings.Split(c.Name, ".")
			}
		}
		if paths[path[0]] == nil {
			order = append(order, path[0])
		}
		paths[path[0]] = append(paths[path[0]], path[1:])
	}
	var parts []string
	for _, name := range order {
		at := schema.FieldIndices(name)
		if len(at) != 1 {
			return "", fmt.Errorf("%w: no column %q", ErrRefused, name)
		}
		f := schema.Field(at[0])
		parts = append(parts, shapeOfField(f, shape(f.Type, paths[name])))
	}
	return strings.Join(parts, ", "), nil
}

// Shape is Selected of all columns.
func Shape(schema *arrow.Schema) string {
	var parts []string
	for _, f := range schema.Fields() {
		parts = append(parts, shapeOfField(f, shape(f.Type, [][]string{{}})))
	}
	return strings.Join(parts, ", ")
}

func shapeOfField(f arrow.Field, t string) string {
	if !f.Nullable {
		t += " not null"
	}
	return f.Name + ": " + t
}

// shape writes a type reduced to paths below it; an empty path is all of it.
func shape(t arrow.DataType, paths [][]string) string {
	switch t := t.(type) {
	case *arrow.StructType:
		var parts []string
		for _, f := range t.Fields() {
			var below [][]string
			for _, p := range paths {
				if len(p) == 0 {
					below = append(below, p)
				} else if p[0] == f.Name {
					below = append(below, p[1:])
				}
			}
			if below != nil {
				parts = append(parts, f.Name+": "+shape(f.Type, below))
			}
		}
		return "struct<" + strings.Join(parts, ", ") + ">"
	case *arrow.MapType:
		all := [][]string{{}}
		return "map<" + shape(t.KeyType(), all) + ", " + shape(t.ItemType(), all) + ">"
	case *arrow.FixedSizeListType:
		return fmt.Sprintf("fixed_size_list<%s>[%d]", shape(t.Elem(), paths), t.Len())
	case *arrow.LargeListType:
		return "large_list<" + shape(t.Elem(), paths) + ">"
	case *arrow.ListType:
		return "list<" + shape(t.Elem(), paths) + ">"
	}
	return t.String()
}

// Text writes a cell for messages. Arrow's own writing of nested cells walks
// arrays that may be the very thing that is wrong.
func Text(a arrow.Array, i int) string {
	if i < 0 || i >= a.Len() {
		return fmt.Sprintf("outside an array of %d", a.Len())
	}
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Struct:
		var parts []string
		for k, f := range a.DataType().(*arrow.StructType).Fields() {
			parts = append(parts, f.Name+":"+Text(a.Field(k), i))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case *array.Map:
		return listText(a, i, func(j int) string { return Text(a.Keys(), j) + ":" + Text(a.Items(), j) })
	case array.ListLike:
		return listText(a, i, func(j int) string { return Text(a.ListValues(), j) })
	}
	return a.ValueStr(i)
}

func listText(a array.ListLike, i int, element func(j int) string) string {
	from, to := a.ValueOffsets(i)
	var parts []string
	for j := from; j < to; j++ {
		parts = append(parts, element(int(j)))
	}
	return "[" + strings.Join(parts, " ") + "]"
}
