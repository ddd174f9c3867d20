package writer

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// physical turns batches into what the Parquet library writes rightly. It gets two
// things wrong: of a slice of a fixed-size list it writes the first rows again, and
// it refuses lists that are null but have elements behind them, as fixed-size lists
// that are null always do. Parquet has one kind of list only, so both are written
// as plain lists without such elements; the file's ARROW:schema says what they were.
type physical struct {
	schema *arrow.Schema
	casts  []cast // nil where a column stays as it is
}

func newPhysical(schema *arrow.Schema) *physical {
	p := &physical{}
	fields := make([]arrow.Field, schema.NumFields())
	for i, f := range schema.Fields() {
		dt, c := physicalType(f.Type)
		fields[i] = arrow.Field{Name: f.Name, Type: dt, Nullable: true}
		p.casts = append(p.casts, c)
	}
	meta := schema.Metadata()
	p.schema = arrow.NewSchema(fields, &meta)
	return p
}

// apply converts a batch; the result is the caller's.
func (p *physical) apply(ctx context.Context, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, 0, len(p.casts))
	defer func() {
		for _, a := range columns {
			a.Release()
		}
	}()
	for i, c := range p.casts {
		if c == nil {
			c = same
		}
		a, err := c(ctx, rec.Column(i))
		if err != nil {
			return nil, columnError(p.schema.Field(i).Name, err)
		}
		columns = append(columns, a)
	}
	return array.NewRecordBatch(p.schema, columns, rec.NumRows()), nil
}

// physicalType returns the type that is written and the conversion to it, nil if
// there is none.
func physicalType(dt arrow.DataType) (arrow.DataType, cast) {
	switch t := dt.(type) {
	case *arrow.StructType:
		return physicalStruct(t)
	case *arrow.MapType:
		return physicalMap(t)
	case *arrow.ListType:
		item, c := physicalField(t.ElemField())
		to := arrow.ListOfField(item)
		return to, listsOf(to, c)
	case *arrow.LargeListType:
		item, c := physicalField(t.ElemField())
		to := arrow.LargeListOfField(item)
		return to, listsOf(to, c)
	case *arrow.FixedSizeListType:
		item, c := physicalField(t.ElemField())
		to := arrow.ListOfField(item)
		return to, unfixed(int64(t.Len()), to, c)
	}
	return dt, nil
}

func physicalField(f arrow.Field) (arrow.Field, cast) {
	dt, c := physicalType(f.Type)
	f.Type = dt
	return f, c
}

// orSame is a cast that is there.
func orSame(c cast) cast {
	if c == nil {
		return same
	}
	return c
}

func physicalStruct(t *arrow.StructType) (arrow.DataType, cast) {
	fields := make([]arrow.Field, t.NumFields())
	casts := make([]cast, t.NumFields())
	at := make([]int, t.NumFields())
	needed := false
	for i, f := range t.Fields() {
		var c cast
		fields[i], c = physicalField(f)
		needed = needed || c != nil
		casts[i], at[i] = orSame(c), i
	}
	if !needed {
		return t, nil
	}
	to := arrow.StructOf(fields...)
	return to, func(ctx context.Context, a arrow.Array) (arrow.Array, error) { return rebuild(ctx, a, to, at, casts) }
}

func physicalMap(t *arrow.MapType) (arrow.DataType, cast) {
	key, keyCast := physicalType(t.KeyType())
	item, itemCast := physicalType(t.ItemType())
	to := arrow.MapOf(key, item)
	entries := func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		return rebuild(ctx, a, to.Elem(), []int{0, 1}, []cast{orSame(keyCast), orSame(itemCast)})
	}
	return to, listsOf(to, entries)
}

// listsOf converts the elements and leaves out those behind a null.
func listsOf(to arrow.DataType, elem cast) cast {
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		out, err := rebuild(ctx, a, to, []int{0}, []cast{orSame(elem)})
		if err != nil {
			return nil, err
		}
		lists, ok := out.(listRange)
		if !ok || !hidesElements(lists) {
			return out, nil
		}
		defer out.Release()
		return compacted(ctx, lists, to, lists.ListValues(), lists.ValueOffsets)
	}
}

func hidesElements(lists listRange) bool {
	if lists.NullN() == 0 {
		return false
	}
	for i := range lists.Len() {
		if start, end := lists.ValueOffsets(i); start != end && lists.IsNull(i) {
			return true
		}
	}
	return false
}

// unfixed writes fixed-size lists as plain ones.
func unfixed(n int64, to *arrow.ListType, elem cast) cast {
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		values := array.MakeFromData(a.Data().Children()[0])
		defer values.Release()
		out, err := orSame(elem)(ctx, values)
		if err != nil {
			return nil, err
		}
		defer out.Release()
		first := int64(a.Data().Offset())
		return compacted(ctx, a, to, out, func(i int) (int64, int64) { return (first + int64(i)) * n, (first + int64(i) + 1) * n })
	}
}

// compacted makes lists that hold the elements of the rows that are not null, one
// after the other.
func compacted(ctx context.Context, a arrow.Array, to arrow.DataType, values arrow.Array, at func(i int) (start, end int64)) (arrow.Array, error) {
	mem := compute.GetAllocator(ctx)
	take := array.NewInt64Builder(mem)
	defer take.Release()
	offsets := make([]int64, 1, a.Len()+1)
	for i := range a.Len() {
		if a.IsValid(i) {
			start, end := at(i)
			for j := start; j < end; j++ {
				take.Append(j)
			}
		}
		offsets = append(offsets, int64(take.Len()))
	}
	indices := take.NewInt64Array()
	defer indices.Release()
	kept, err := compute.TakeArray(ctx, values, indices)
	if err != nil {
		return nil, err
	}
	defer kept.Release()
	ends := offsetBuffer(mem, offsets, to.ID() == arrow.LARGE_LIST)
	defer ends.Release()
	valid := validity(mem, a)
	defer release(valid)
	data := array.NewData(to, a.Len(), []*memory.Buffer{valid, ends}, []arrow.ArrayData{kept.Data()}, a.NullN(), 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// offsetBuffer writes list offsets in the width of their type. The values of one
// batch are far below 2 GiB.
func offsetBuffer(mem memory.Allocator, offsets []int64, wide bool) *memory.Buffer {
	buf := memory.NewResizableBuffer(mem)
	if wide {
		buf.Resize(arrow.Int64Traits.BytesRequired(len(offsets)))
		copy(arrow.Int64Traits.CastFromBytes(buf.Bytes()), offsets)
		return buf
	}
	buf.Resize(arrow.Int32Traits.BytesRequired(len(offsets)))
	narrow := arrow.Int32Traits.CastFromBytes(buf.Bytes())
	for i, o := range offsets {
		narrow[i] = int32(o) // as above
	}
	return buf
}
