package scan

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// converter turns what the library decoded into the stream's types. Three types
// meet in every step: the layout that the data have (what the library made of
// the Parquet type), what they mean (the file's native type) and what is wanted.
// Most of the time nothing but the label changes and the buffers are shared.
type converter struct {
	gatherer
}

// convert makes an array of type want from d, which means native. The result
// has offset 0 and a reference of its own. path is for messages.
func (c converter) convert(d arrow.ArrayData, native, want arrow.DataType, path string) (arrow.ArrayData, error) {
	if d.Offset() != 0 {
		whole := c.take(d, []run{{0, d.Len()}}, d.Len())
		defer whole.Release()
		d = whole
	}
	if d.DataType().ID() == arrow.NULL || native.ID() == arrow.NULL {
		return c.nulls(want, d.Len()), nil
	}
	switch want := want.(type) {
	case *arrow.StructType:
		return c.structs(d, native, want, path)
	case *arrow.MapType:
		return c.maps(d, native, want, path)
	case *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType:
		return c.lists(d, native, want, path)
	}
	if _, nested := d.DataType().(arrow.NestedType); nested {
		return nil, mismatch(native, want, path)
	}
	return c.leaf(d, native, want, path)
}

func mismatch(native, want arrow.DataType, path string) error {
	return source.Errorf(source.KindInvalid, opScan, "the file has %s where %s is expected", native, want).WithColumn(path)
}

// nulls is n nulls of any type. (The library's MakeArrayOfNull knows no lists and
// structs of the null type, and makes offsets without a first one.)
func (c converter) nulls(t arrow.DataType, n int) arrow.ArrayData {
	none := nothing(t)
	defer none.Release()
	return c.take(none, []run{{-1, n}}, n)
}

// nothing is no values of a type, for gatherer to take nulls of.
func nothing(t arrow.DataType) arrow.ArrayData {
	var children []arrow.ArrayData
	defer func() { releaseAll(children) }()
	switch t := t.(type) {
	case *arrow.StructType:
		for _, f := range t.Fields() {
			children = append(children, nothing(f.Type))
		}
	case arrow.ListLikeType:
		children = append(children, nothing(t.Elem()))
	}
	return array.NewData(t, 0, make([]*memory.Buffer, 3), children, 0, 0)
}

func (c converter) structs(d arrow.ArrayData, native, want arrow.DataType, path string) (arrow.ArrayData, error) {
	have, isStruct := d.DataType().(*arrow.StructType)
	meant, isMeant := native.(*arrow.StructType)
	if !isStruct || !isMeant {
		return nil, mismatch(native, want, path)
	}
	fields := want.(*arrow.StructType).Fields()
	children := make([]arrow.ArrayData, 0, len(fields))
	defer func() { releaseAll(children) }()
	for _, f := range fields {
		child, err := c.structChild(d, have, meant, f, path+"."+f.Name)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	return array.NewData(want, d.Len(), d.Buffers()[:1], children, d.NullN(), 0), nil
}

func (c converter) structChild(d arrow.ArrayData, have, meant *arrow.StructType, f arrow.Field, path string) (arrow.ArrayData, error) {
	at, ok := have.FieldIdx(f.Name)
	if !ok {
		return c.nulls(f.Type, d.Len()), nil
	}
	native, _ := meant.FieldByName(f.Name)
	child := d.Children()[at]
	if child.Len() != d.Len() {
		child = array.NewSliceData(child, 0, int64(d.Len()))
		defer child.Release()
	}
	if !hasRoom(f.Type) || d.NullN() == 0 || child.NullN() > 0 || child.Offset() != 0 {
		return c.convert(child, native.Type, f.Type, path)
	}
	// A child that is never null is nothing where its struct is null.
	child = withValidity(child, d.Buffers()[0], d.NullN())
	defer child.Release()
	out, err := c.convert(child, native.Type, f.Type, path)
	if err != nil {
		return nil, err
	}
	defer out.Release()
	return withValidity(out, nil, 0), nil
}

// hasRoom reports whether a type is or may hold a fixed-size list, which takes room in
// null structs, too.
func hasRoom(t arrow.DataType) bool {
	return t.ID() == arrow.FIXED_SIZE_LIST || t.ID() == arrow.STRUCT
}

// withValidity shares d's values with other nulls.
func withValidity(d arrow.ArrayData, validity *memory.Buffer, nulls int) arrow.ArrayData {
	bufs := slices.Clone(d.Buffers())
	bufs[0] = validity
	return array.NewData(d.DataType(), d.Len(), bufs, d.Children(), nulls, d.Offset())
}

func (c converter) maps(d arrow.ArrayData, native, want arrow.DataType, path string) (arrow.ArrayData, error) {
	_, isMap := d.DataType().(*arrow.MapType)
	meant, isMeant := native.(*arrow.MapType)
	if !isMap || !isMeant {
		return nil, mismatch(native, want, path)
	}
	to := want.(*arrow.MapType)
	entries := d.Children()[0]
	var children []arrow.ArrayData
	defer func() { releaseAll(children) }()
	for i, types := range [][2]arrow.DataType{{meant.KeyType(), to.KeyType()}, {meant.ItemType(), to.ItemType()}} {
		child := array.NewSliceData(entries.Children()[i], int64(entries.Offset()), int64(entries.Offset()+entries.Len()))
		out, err := c.convert(child, types[0], types[1], path+[]string{".key", ".value"}[i])
		child.Release()
		if err != nil {
			return nil, err
		}
		children = append(children, out)
	}
	entry := array.NewData(to.Elem(), entries.Len(), []*memory.Buffer{nil}, children, 0, 0)
	defer entry.Release()
	return array.NewData(want, d.Len(), d.Buffers()[:2], []arrow.ArrayData{entry}, d.NullN(), 0), nil
}

// lists handles what the library always reads as list, whatever list type the
// file means or the stream wants.
func (c converter) lists(d arrow.ArrayData, native, want arrow.DataType, path string) (arrow.ArrayData, error) {
	meant, ok := native.(arrow.ListLikeType)
	if _, isMap := native.(*arrow.MapType); !ok || isMap || d.DataType().ID() != arrow.LIST {
		return nil, mismatch(native, want, path)
	}
	elem, err := c.convert(d.Children()[0], meant.Elem(), want.(arrow.ListLikeType).Elem(), path+".element")
	if err != nil {
		return nil, err
	}
	defer elem.Release()
	switch t := want.(type) {
	case *arrow.FixedSizeListType:
		return c.fixedSizeList(d, elem, t, path)
	case *arrow.LargeListType:
		offsets := c.wideOffsets(d)
		defer offsets.Release()
		return array.NewData(want, d.Len(), []*memory.Buffer{d.Buffers()[0], offsets}, []arrow.ArrayData{elem}, d.NullN(), 0), nil
	}
	return array.NewData(want, d.Len(), d.Buffers()[:2], []arrow.ArrayData{elem}, d.NullN(), 0), nil
}

// fixedSizeList gives null lists the room that the fixed layout wants.
func (c converter) fixedSizeList(d, elem arrow.ArrayData, want *arrow.FixedSizeListType, path string) (arrow.ArrayData, error) {
	size := int(want.Len())
	offsets := offsetsOf[int32](d)
	bits := d.Buffers()[0]
	var runs []run
	for i := range d.Len() {
		n := int(offsets[i+1] - offsets[i])
		null := bits != nil && bits.Len() > 0 && !bitIsSet(bits.Bytes(), i)
		switch {
		case null:
			runs = append(runs, run{-1, size})
			continue
		case n != size:
			return nil, source.Errorf(source.KindCorrupt, opScan, "a list of %d elements in a fixed-size list of %d", n, size).WithColumn(path)
		}
		if k := len(runs); k > 0 && runs[k-1].off >= 0 && runs[k-1].off+runs[k-1].n == int(offsets[i]) {
			runs[k-1].n += n
		} else {
			runs = append(runs, run{int(offsets[i]), n})
		}
	}
	child := c.take(elem, runs, d.Len()*size)
	defer child.Release()
	return array.NewData(want, d.Len(), d.Buffers()[:1], []arrow.ArrayData{child}, d.NullN(), 0), nil
}

func (c converter) wideOffsets(d arrow.ArrayData) *memory.Buffer {
	src := offsetsOf[int32](d)
	out := c.alloc((d.Len() + 1) * 8)
	dst := arrow.GetData[int64](out.Bytes())
	for i := range dst {
		if i < len(src) {
			dst[i] = int64(src[i])
		}
	}
	return out
}

func bitIsSet(bits []byte, i int) bool { return bits[i/8]&(1<<(i%8)) != 0 }

func releaseAll(ds []arrow.ArrayData) {
	for _, d := range ds {
		d.Release()
	}
}

// relabel shares d's buffers under another type of the same layout.
func relabel(d arrow.ArrayData, t arrow.DataType) arrow.ArrayData {
	return array.NewData(t, d.Len(), d.Buffers(), d.Children(), d.NullN(), 0)
}

func valueError(path string, format string, args ...any) error {
	return source.Errorf(source.KindInvalid, opScan, "%s", fmt.Sprintf(format, args...)).WithColumn(path)
}
