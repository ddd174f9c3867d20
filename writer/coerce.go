package writer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/half"
)

// coercion turns batches of one schema into batches of another without changing a
// value: columns by name, widening freely, narrowing only where every value fits.
// What cannot be done for any value is refused when it is made; what cannot be
// done for a value, at that value. It is immutable and safe for concurrent use.
type coercion struct {
	to      *arrow.Schema
	columns []int // source column of each target column
	casts   []cast
}

// cast converts an array; the result is the caller's.
type cast func(ctx context.Context, a arrow.Array) (arrow.Array, error)

// newCoercion compares the schemas; its errors name the column.
func newCoercion(from, to *arrow.Schema) (*coercion, error) {
	c := &coercion{to: to}
	for _, f := range from.Fields() {
		if !to.HasField(f.Name) {
			return nil, invalid("stage", "the dataset has no such column; it has %s", columnNames(to)).
				WithColumn(f.Name).WithHint("drop or rename the column, or overwrite the split")
		}
	}
	for _, f := range to.Fields() {
		at := from.FieldIndices(f.Name)
		if len(at) != 1 {
			return nil, invalid("stage", "the dataset has this column and the rows do not").
				WithColumn(f.Name).WithHint("add the column (null where there is no value), or overwrite the split")
		}
		one, err := newCast(from.Field(at[0]).Type, f.Type, f.Name)
		if err != nil {
			return nil, err
		}
		c.columns = append(c.columns, at[0])
		c.casts = append(c.casts, one)
	}
	return c, nil
}

// Plain is the schema that rows of another one are written in, and what turns their
// batches into those, which the caller releases: dictionaries and views, which the wire
// does not have, become their values. Errors: those of a stage.
func Plain(from *arrow.Schema) (*arrow.Schema, func(context.Context, arrow.RecordBatch) (arrow.RecordBatch, error), error) {
	to, err := fileSchema(from, true)
	if err != nil {
		return nil, nil, err
	}
	c, err := newCoercion(from, to)
	if err != nil {
		return nil, nil, err
	}
	return to, c.apply, nil
}

// apply returns a batch of the target schema; the caller releases it.
func (c *coercion) apply(ctx context.Context, rec arrow.RecordBatch) (out arrow.RecordBatch, err error) {
	columns := make([]arrow.Array, 0, len(c.columns))
	defer func() {
		for _, a := range columns {
			a.Release()
		}
		if r := recover(); r != nil { // the casts are a library's
			out, err = nil, invalid("stage", "the rows cannot be converted: %v", r)
		}
	}()
	for i, at := range c.columns {
		a, err := c.casts[i](ctx, rec.Column(at))
		if err != nil {
			return nil, columnError(c.to.Field(i).Name, err)
		}
		columns = append(columns, a)
	}
	return array.NewRecordBatch(c.to, columns, rec.NumRows()), nil
}

func columnError(column string, err error) error {
	e := source.AsError("stage", err)
	if e.Kind == source.KindInternal || e.Kind == source.KindUnknown {
		e = invalid("stage", "a value does not fit the dataset's type: %s", err.Error())
	}
	if e.Column == "" {
		e.Column = column
	}
	return e
}

// newCast finds the conversion between two types.
func newCast(from, to arrow.DataType, path string) (cast, error) {
	switch t := from.(type) {
	case arrow.ExtensionType:
		inner, err := newCast(t.StorageType(), to, path)
		return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
			ext, ok := a.(array.ExtensionArray)
			if !ok {
				return nil, source.Errorf(source.KindInternal, "stage", "not an extension array")
			}
			return inner(ctx, ext.Storage())
		}, err
	case *arrow.DictionaryType:
		inner, err := newCast(t.ValueType, to, path)
		return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
			plain, err := decoded(ctx, a)
			if err != nil {
				return nil, err
			}
			defer plain.Release()
			return inner(ctx, plain)
		}, err
	}
	if typeText(from) == typeText(to) && from.ID() != arrow.STRUCT && !arrow.IsNested(from.ID()) {
		if t, ok := to.(arrow.DecimalType); ok {
			return fitCast(t), nil
		}
		return same, nil
	}
	if from.ID() == arrow.NULL {
		return nullCast(to), nil
	}
	switch t := to.(type) {
	case *arrow.StructType:
		if f, ok := from.(*arrow.StructType); ok {
			return structCast(f, t, path)
		}
	case *arrow.MapType:
		if f, ok := from.(*arrow.MapType); ok {
			return mapCast(f, t, path)
		}
	case *arrow.FixedSizeListType:
		if f, ok := from.(arrow.ListLikeType); ok && from.ID() != arrow.MAP {
			return fixedListCast(f, t, path)
		}
	case *arrow.ListType, *arrow.LargeListType:
		if f, ok := from.(arrow.ListLikeType); ok && (from.ID() == arrow.LIST || from.ID() == arrow.LARGE_LIST) {
			return listCast(f, to.(arrow.ListLikeType), path)
		}
		if f, ok := from.(*arrow.FixedSizeListType); ok {
			return unfixedListCast(f, to.(arrow.ListLikeType), path)
		}
	default:
		if arrow.IsFloating(from.ID()) && to.ID() == arrow.FLOAT16 {
			return halfCast, nil
		}
		if from.ID() == arrow.FLOAT16 && arrow.IsFloating(to.ID()) {
			return widerCast(to), nil
		}
		if isWhole(from.ID()) && isWhole(to.ID()) && (arrow.IsDecimal(from.ID()) || arrow.IsDecimal(to.ID())) {
			return decimalCast(from, to), nil
		}
		if from.ID() == arrow.FIXED_SIZE_BINARY && isBytes(to.ID()) && to.ID() != arrow.FIXED_SIZE_BINARY {
			return unfixedCast(to), nil
		}
		if leafCastable(from, to) && compute.CanCast(from, to) {
			return leafCast(from, to), nil
		}
	}
	return nil, invalid("stage", "%s cannot be written as the dataset's %s", from, to).WithColumn(path).
		WithHint("cast the column, or overwrite the split")
}

func same(_ context.Context, a arrow.Array) (arrow.Array, error) {
	a.Retain()
	return a, nil
}

// decoded gives each row of a dictionary-encoded array its value.
func decoded(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	d, ok := a.(*array.Dictionary)
	if !ok {
		return nil, source.Errorf(source.KindInternal, "stage", "%s is not dictionary-encoded", a.DataType())
	}
	values := d.Dictionary()
	if id := values.DataType().ID(); id == arrow.STRING_VIEW || id == arrow.BINARY_VIEW { // the library takes no views
		return compute.CastArray(ctx, a, compute.SafeCastOptions(values.DataType()))
	}
	return compute.TakeArray(ctx, values, d.Indices())
}

// leafCastable lists the conversions that keep a value what it is.
func leafCastable(from, to arrow.DataType) bool {
	f, t := from.ID(), to.ID()
	switch {
	case arrow.IsInteger(f):
		return arrow.IsInteger(t) || arrow.IsFloating(t)
	case arrow.IsFloating(f):
		return arrow.IsFloating(t)
	case isText(f):
		return isText(t)
	case f == arrow.FIXED_SIZE_BINARY && t == arrow.FIXED_SIZE_BINARY:
		return false // of another length: none is what it was
	case isBytes(f):
		return isBytes(t)
	}
	switch a := from.(type) {
	case *arrow.TimestampType:
		b, ok := to.(*arrow.TimestampType)
		// A time of day somewhere and an instant are not the same thing.
		return ok && (a.TimeZone == "") == (b.TimeZone == "")
	case *arrow.Time32Type, *arrow.Time64Type:
		return t == arrow.TIME32 || t == arrow.TIME64
	case *arrow.Date32Type, *arrow.Date64Type:
		return t == arrow.DATE32 || t == arrow.DATE64
	}
	return false
}

func isText(id arrow.Type) bool {
	return id == arrow.STRING || id == arrow.LARGE_STRING || id == arrow.STRING_VIEW
}

func isBytes(id arrow.Type) bool {
	return id == arrow.BINARY || id == arrow.LARGE_BINARY || id == arrow.BINARY_VIEW || id == arrow.FIXED_SIZE_BINARY
}

// leafCast is the library's checked cast; float narrowing and int to float, which
// the library rounds in silence, are checked by casting back.
func leafCast(from, to arrow.DataType) cast {
	options := compute.SafeCastOptions(to)
	lossy := arrow.IsFloating(to.ID()) && (arrow.IsInteger(from.ID()) || arrow.IsFloating(from.ID()) && bitWidth(from) > bitWidth(to))
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		out, err := compute.CastArray(ctx, a, options)
		if err != nil || !lossy {
			return out, err
		}
		back, err := compute.CastArray(ctx, out, compute.UnsafeCastOptions(from))
		if err != nil {
			out.Release()
			return nil, err
		}
		defer back.Release()
		if !array.ApproxEqual(a, back, array.WithAbsTolerance(0), array.WithNaNsEqual(true)) {
			out.Release()
			return nil, fmt.Errorf("a value is not exact as %s", to)
		}
		return out, nil
	}
}

// halfCast narrows to half floats, which the library cannot.
func halfCast(ctx context.Context, a arrow.Array) (arrow.Array, error) {
	b := array.NewFloat16Builder(compute.GetAllocator(ctx))
	defer b.Release()
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		var v float64
		switch f := a.(type) {
		case *array.Float32:
			v = float64(f.Value(i))
		case *array.Float64:
			v = f.Value(i)
		default:
			return nil, source.Errorf(source.KindInternal, "stage", "%s is not a float array", a.DataType())
		}
		h, same := half.Exactly(v)
		if !same {
			return nil, fmt.Errorf("the value %v is not exact as a half float", v)
		}
		b.Append(h)
	}
	return b.NewArray(), nil
}

// widerCast widens half floats, of which the library takes the smallest for other
// numbers.
func widerCast(to arrow.DataType) cast {
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		halves, ok := a.(*array.Float16)
		if !ok {
			return nil, source.Errorf(source.KindInternal, "stage", "%s is no array of half floats", a.DataType())
		}
		b := array.NewBuilder(compute.GetAllocator(ctx), to)
		defer b.Release()
		b.Reserve(a.Len())
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
				continue
			}
			v := half.Float32(halves.Value(i))
			switch b := b.(type) {
			case *array.Float32Builder:
				b.Append(v)
			case *array.Float64Builder:
				b.Append(float64(v))
			}
		}
		return b.NewArray(), nil
	}
}

// nullCast makes any type of a column that has no value: a batch of rows without one
// comes without its type, too.
func nullCast(to arrow.DataType) cast {
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		if err := slots(a.Len(), to); err != nil {
			return nil, err
		}
		return array.MakeArrayOfNull(compute.GetAllocator(ctx), to, a.Len()), nil
	}
}

// fitCast lets decimals pass that have no more digits than their type: what decodes a
// message does not look, and a file has no room for more.
func fitCast(to arrow.DecimalType) cast {
	prec := int(to.GetPrecision())
	return func(_ context.Context, a arrow.Array) (arrow.Array, error) {
		fits := func(int) bool { return true }
		switch d := a.(type) {
		case *array.Decimal128:
			high := decimal128.GetScaleMultiplier(prec)
			low := high.Negate()
			fits = func(i int) bool { v := d.Value(i); return low.Less(v) && v.Less(high) }
		case *array.Decimal256:
			high := decimal256.GetScaleMultiplier(prec)
			low := high.Negate()
			fits = func(i int) bool { v := d.Value(i); return low.Less(v) && v.Less(high) }
		}
		for i := range a.Len() {
			if !fits(i) && a.IsValid(i) {
				return nil, fmt.Errorf("a value has more digits than %s", to)
			}
		}
		a.Retain()
		return a, nil
	}
}

// isWhole: decimals are whole numbers with a point.
func isWhole(id arrow.Type) bool { return arrow.IsDecimal(id) || arrow.IsInteger(id) }

// decimalCast is ours because the library's asks of a type to have room for every
// integer, instead of for those that are there; because it makes other numbers of decimals
// that become integers of 16 bits; and because it panics on a value that leaves its 128 or
// 256 bits, in a goroutine of its own: that ends the process.
func decimalCast(from, to arrow.DataType) cast {
	shift := scaleOf(to) - scaleOf(from)
	factor := powerOf10(max(shift, -shift))
	low, high := wholeRange(to)
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		at, err := wholeNumbers(a)
		if err != nil {
			return nil, err
		}
		b := array.NewBuilder(compute.GetAllocator(ctx), to)
		defer b.Release()
		b.Reserve(a.Len())
		var v, rest big.Int
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
				continue
			}
			at(i, &v)
			if shift >= 0 {
				v.Mul(&v, factor)
			} else if v.QuoRem(&v, factor, &rest); rest.Sign() != 0 {
				return nil, fmt.Errorf("the value %s is not exact as %s", a.ValueStr(i), to)
			}
			if v.Cmp(low) < 0 || v.Cmp(high) > 0 {
				return nil, fmt.Errorf("the value %s is too large for %s", a.ValueStr(i), to)
			}
			if err := appendWhole(b, &v); err != nil {
				return nil, err
			}
		}
		return b.NewArray(), nil
	}
}

func scaleOf(dt arrow.DataType) int32 {
	if d, ok := dt.(arrow.DecimalType); ok {
		return d.GetScale()
	}
	return 0
}

func powerOf10(n int32) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// wholeRange is what a type has room for, of decimals without their point.
func wholeRange(dt arrow.DataType) (low, high *big.Int) {
	limit := new(big.Int).Lsh(big.NewInt(1), uint(bitWidth(dt))) //nolint:gosec // at most 256
	switch d, ok := dt.(arrow.DecimalType); {
	case ok:
		limit = powerOf10(d.GetPrecision())
		low = new(big.Int).Sub(big.NewInt(1), limit)
	case arrow.IsUnsignedInteger(dt.ID()):
		low = new(big.Int)
	default:
		limit.Rsh(limit, 1)
		low = new(big.Int).Neg(limit)
	}
	return low, limit.Sub(limit, big.NewInt(1))
}

// appendWhole appends a number that is in the range of the builder's type.
func appendWhole(b array.Builder, v *big.Int) error {
	switch b := b.(type) {
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(v))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(v))
	case *array.Int8Builder:
		b.Append(int8(v.Int64()))
	case *array.Int16Builder:
		b.Append(int16(v.Int64()))
	case *array.Int32Builder:
		b.Append(int32(v.Int64()))
	case *array.Int64Builder:
		b.Append(v.Int64())
	case *array.Uint8Builder:
		b.Append(uint8(v.Uint64()))
	case *array.Uint16Builder:
		b.Append(uint16(v.Uint64()))
	case *array.Uint32Builder:
		b.Append(uint32(v.Uint64()))
	case *array.Uint64Builder:
		b.Append(v.Uint64())
	default:
		return source.Errorf(source.KindInternal, "stage", "%s is no type of whole numbers", b.Type())
	}
	return nil
}

// wholeNumbers gives the values of integers, and of decimals without their point.
func wholeNumbers(a arrow.Array) (func(i int, v *big.Int), error) {
	switch a := a.(type) {
	case *array.Decimal128:
		return func(i int, v *big.Int) { v.Set(a.Value(i).BigInt()) }, nil
	case *array.Decimal256:
		return func(i int, v *big.Int) { v.Set(a.Value(i).BigInt()) }, nil
	case *array.Int8:
		return signed(a), nil
	case *array.Int16:
		return signed(a), nil
	case *array.Int32:
		return signed(a), nil
	case *array.Int64:
		return signed(a), nil
	case *array.Uint8:
		return unsigned(a), nil
	case *array.Uint16:
		return unsigned(a), nil
	case *array.Uint32:
		return unsigned(a), nil
	case *array.Uint64:
		return unsigned(a), nil
	}
	return nil, source.Errorf(source.KindInternal, "stage", "%s is no array of whole numbers", a.DataType())
}

func signed[T int8 | int16 | int32 | int64](a interface{ Value(i int) T }) func(int, *big.Int) {
	return func(i int, v *big.Int) { v.SetInt64(int64(a.Value(i))) }
}

func unsigned[T uint8 | uint16 | uint32 | uint64](a interface{ Value(i int) T }) func(int, *big.Int) {
	return func(i int, v *big.Int) { v.SetUint64(uint64(a.Value(i))) }
}

// unfixedCast copies bytes of a fixed length. The library panics on a slice without
// nulls, in a goroutine of its own.
func unfixedCast(to arrow.DataType) cast {
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		fixed, ok := a.(*array.FixedSizeBinary)
		if !ok {
			return nil, source.Errorf(source.KindInternal, "stage", "%s is no array of bytes of one length", a.DataType())
		}
		width := fixed.DataType().(*arrow.FixedSizeBinaryType).ByteWidth
		b := array.NewBinaryBuilder(compute.GetAllocator(ctx), to.(arrow.BinaryDataType))
		defer b.Release()
		b.Reserve(a.Len())
		b.ReserveData(a.Len() * width)
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
				continue
			}
			b.Append(fixed.Value(i))
		}
		return b.NewArray(), nil
	}
}

func bitWidth(dt arrow.DataType) int {
	if w, ok := dt.(arrow.FixedWidthDataType); ok {
		return w.BitWidth()
	}
	return 0
}

// structCast matches children by name.
func structCast(from, to *arrow.StructType, path string) (cast, error) {
	if from.NumFields() != to.NumFields() {
		return nil, invalid("stage", "%s cannot be written as the dataset's %s: the fields differ", from, to).WithColumn(path)
	}
	at := make([]int, to.NumFields())
	casts := make([]cast, to.NumFields())
	for i, f := range to.Fields() {
		j, ok := from.FieldIdx(f.Name)
		if !ok {
			return nil, invalid("stage", "the dataset has this field and the rows do not").WithColumn(path + "." + f.Name)
		}
		var err error
		if casts[i], err = newCast(from.Field(j).Type, f.Type, path+"."+f.Name); err != nil {
			return nil, err
		}
		at[i] = j
	}
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		return rebuild(ctx, a, to, at, casts)
	}, nil
}

// rebuild makes an array of another type from the same validity and offsets and
// converted children. The children are converted whole, so that the offset of a
// slice stays right.
func rebuild(ctx context.Context, a arrow.Array, to arrow.DataType, at []int, casts []cast) (arrow.Array, error) {
	data := a.Data()
	children := make([]arrow.ArrayData, len(at))
	defer func() {
		for _, c := range children {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, j := range at {
		child := array.MakeFromData(data.Children()[j])
		out, err := casts[i](ctx, child)
		child.Release()
		if err != nil {
			return nil, err
		}
		children[i] = out.Data()
		children[i].Retain()
		out.Release()
	}
	made := array.NewData(to, data.Len(), data.Buffers(), children, data.NullN(), data.Offset())
	defer made.Release()
	return array.MakeFromData(made), nil
}

// mapCast converts keys and values by position: their names differ between
// writers.
func mapCast(from, to *arrow.MapType, path string) (cast, error) {
	key, err := newCast(from.KeyType(), to.KeyType(), path+".key")
	if err != nil {
		return nil, err
	}
	item, err := newCast(from.ItemType(), to.ItemType(), path+".value")
	if err != nil {
		return nil, err
	}
	entries := func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		return rebuild(ctx, a, to.Elem(), []int{0, 1}, []cast{key, item})
	}
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		return rebuild(ctx, a, to, []int{0}, []cast{entries})
	}, nil
}

// listCast converts the elements, then the width of the offsets.
func listCast(from, to arrow.ListLikeType, path string) (cast, error) {
	elem, err := newCast(from.Elem(), to.Elem(), path+".element")
	if err != nil {
		return nil, err
	}
	var middle arrow.DataType = arrow.ListOfField(to.ElemField())
	if from.ID() == arrow.LARGE_LIST {
		middle = arrow.LargeListOfField(to.ElemField())
	}
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		out, err := rebuild(ctx, a, middle, []int{0}, []cast{elem})
		if err != nil || from.ID() == to.ID() {
			return out, err
		}
		defer out.Release()
		return compute.CastArray(ctx, out, compute.SafeCastOptions(to))
	}, nil
}

// listRange is what list arrays of either offset width and of fixed size can say.
type listRange interface {
	arrow.Array
	ListValues() arrow.Array
	ValueOffsets(i int) (start, end int64)
}

// fixedListCast checks that every list has the length, and lays the elements out
// with room for the lists that are null.
func fixedListCast(from arrow.ListLikeType, to *arrow.FixedSizeListType, path string) (cast, error) {
	elem, err := newCast(from.Elem(), to.Elem(), path+".element")
	if err != nil {
		return nil, err
	}
	if f, ok := from.(*arrow.FixedSizeListType); ok && typeText(f) == typeText(to) {
		return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
			return rebuild(ctx, a, to, []int{0}, []cast{elem})
		}, nil
	}
	n := int64(to.Len())
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		if err := slots(a.NullN(), to); err != nil {
			return nil, err
		}
		lists, ok := a.(listRange)
		if !ok {
			return nil, source.Errorf(source.KindInternal, "stage", "not a list array")
		}
		take := array.NewInt64Builder(compute.GetAllocator(ctx))
		defer take.Release()
		take.Reserve(min(a.Len()*int(n), lists.ListValues().Len()+a.NullN()*int(n)))
		for i := range a.Len() {
			if a.IsNull(i) {
				for range n {
					take.AppendNull()
				}
				continue
			}
			start, end := lists.ValueOffsets(i)
			if end-start != n {
				return nil, fmt.Errorf("a list has %d elements; the dataset's have %d", end-start, n)
			}
			for j := start; j < end; j++ {
				take.Append(j)
			}
		}
		indices := take.NewInt64Array()
		defer indices.Release()
		values, err := compute.TakeArray(ctx, lists.ListValues(), indices)
		if err != nil {
			return nil, err
		}
		defer values.Release()
		values2, err := elem(ctx, values)
		if err != nil {
			return nil, err
		}
		defer values2.Release()
		valid := validity(compute.GetAllocator(ctx), a)
		defer release(valid)
		data := array.NewData(to, a.Len(), []*memory.Buffer{valid}, []arrow.ArrayData{values2.Data()}, a.NullN(), 0)
		defer data.Release()
		return array.MakeFromData(data), nil
	}, nil
}

const (
	// maxSlots bounds the room that one conversion makes for values which need not be in
	// the rows: that of null, as a list of a fixed size, is that of all its elements.
	maxSlots = 16 << 20
	// maxSlot is what a value alone may take: as much as a message.
	maxSlot = 64 << 20
	// plainSlot is what a number takes, of which no batch has too many.
	plainSlot = 32
)

// errSlots is the cause of the error of rows that would take more. Fewer of them at a
// time may not.
var errSlots = errors.New("too much room for nothing")

// slots is an error if n values of a type, whatever they are, take too much.
func slots(n int, dt arrow.DataType) error {
	each := slotBytes(dt)
	if each <= plainSlot || int64(n) <= maxSlots/each || n == 1 && each <= maxSlot {
		return nil
	}
	return &source.Error{Op: "stage", Kind: source.KindLimit, Err: errSlots,
		Msg: fmt.Sprintf("%d values of %s take more than %d bytes, whether they are null or not", n, dt, maxSlots)}
}

// slotBytes is what a value takes that is null, at most maxSlot + 1.
func slotBytes(dt arrow.DataType) int64 {
	n := int64(8)
	switch t := dt.(type) {
	case *arrow.FixedSizeListType:
		n = int64(t.Len()) * slotBytes(t.Elem())
	case *arrow.StructType:
		for _, f := range t.Fields() {
			n += slotBytes(f.Type)
		}
	case arrow.FixedWidthDataType:
		n = int64(t.Bytes())
	}
	return min(max(n, 1), maxSlot+1)
}

// unfixedListCast writes the offsets that a fixed size leaves out.
func unfixedListCast(from *arrow.FixedSizeListType, to arrow.ListLikeType, path string) (cast, error) {
	elem, err := newCast(from.Elem(), to.Elem(), path+".element")
	if err != nil {
		return nil, err
	}
	plain := arrow.ListOfField(to.ElemField())
	return func(ctx context.Context, a arrow.Array) (arrow.Array, error) {
		values := array.MakeFromData(a.Data().Children()[0])
		defer values.Release()
		out, err := elem(ctx, values)
		if err != nil {
			return nil, err
		}
		defer out.Release()
		n, first := int64(from.Len()), int64(a.Data().Offset())
		if (first+int64(a.Len()))*n > math.MaxInt32 {
			return nil, fmt.Errorf("the lists are too long together")
		}
		mem := compute.GetAllocator(ctx)
		offsets := memory.NewResizableBuffer(mem)
		defer offsets.Release()
		offsets.Resize(arrow.Int32Traits.BytesRequired(a.Len() + 1))
		raw := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
		for i := range raw {
			raw[i] = int32((first + int64(i)) * n) // bounded above
		}
		valid := validity(mem, a)
		defer release(valid)
		data := array.NewData(plain, a.Len(), []*memory.Buffer{valid, offsets}, []arrow.ArrayData{out.Data()}, a.NullN(), 0)
		defer data.Release()
		list := array.MakeFromData(data)
		if to.ID() == arrow.LIST {
			return list, nil
		}
		defer list.Release()
		return compute.CastArray(ctx, list, compute.SafeCastOptions(to))
	}, nil
}

// validity copies an array's validity to offset 0; nil if nothing is null.
func validity(mem memory.Allocator, a arrow.Array) *memory.Buffer {
	if a.NullN() == 0 {
		return nil
	}
	buf := memory.NewResizableBuffer(mem)
	buf.Resize(int(bitutil.BytesForBits(int64(a.Len()))))
	bits := buf.Bytes()
	clear(bits)
	for i := range a.Len() {
		if a.IsValid(i) {
			bitutil.SetBit(bits, i)
		}
	}
	return buf
}

func release(b *memory.Buffer) {
	if b != nil {
		b.Release()
	}
}
