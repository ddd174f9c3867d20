package scan

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source/half"
)

// leaf converts one leaf. Layouts that agree are relabelled; the rest are the
// widenings of Unify and the mappings of the spark profile, none of which loses
// anything silently except finer-than-µs times, which are rounded down.
func (c converter) leaf(d arrow.ArrayData, native, want arrow.DataType, path string) (arrow.ArrayData, error) {
	have := d.DataType()
	switch t := want.(type) {
	case *arrow.StringType, *arrow.BinaryType:
		switch h := have.(type) {
		case *arrow.StringType, *arrow.BinaryType:
			return relabel(d, want), nil
		case *arrow.FixedSizeBinaryType:
			return c.fixedToBinary(d, h.ByteWidth, want), nil
		case *arrow.Decimal256Type:
			return c.decimalText(d, h), nil
		}
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		if have.ID() == arrow.STRING || have.ID() == arrow.BINARY {
			offsets := c.wideOffsets(d)
			defer offsets.Release()
			return array.NewData(want, d.Len(), []*memory.Buffer{d.Buffers()[0], offsets, d.Buffers()[2]}, nil, d.NullN(), 0), nil
		}
	case *arrow.TimestampType:
		if from, ok := have.(*arrow.TimestampType); ok {
			return c.rescale(d, want, from.Unit, t.Unit, path)
		}
	case *arrow.DurationType:
		if from, ok := native.(*arrow.DurationType); ok && have.ID() == arrow.INT64 {
			return c.rescale(d, want, from.Unit, t.Unit, path)
		}
	case *arrow.Int64Type:
		switch h := have.(type) {
		case *arrow.Time32Type:
			return c.timeNanos(d, h.Unit), nil
		case *arrow.Time64Type:
			return c.rescale(d, want, h.Unit, arrow.Nanosecond, path)
		}
	case *arrow.Decimal128Type:
		return c.toDecimal128(d, native, t, path)
	case *arrow.Decimal256Type:
		return c.toDecimal256(d, native, t, path)
	}
	if arrow.TypeEqual(have, want) {
		return relabel(d, want), nil
	}
	if out := c.number(d, want); out != nil {
		return out, nil
	}
	return nil, mismatch(native, want, path)
}

// fresh makes an array of fixed-width values beside d's validity.
func (c converter) fresh(d arrow.ArrayData, want arrow.DataType, width int) (arrow.ArrayData, []byte) {
	buf := c.alloc(d.Len() * width)
	defer buf.Release()
	return array.NewData(want, d.Len(), []*memory.Buffer{d.Buffers()[0], buf}, nil, d.NullN(), 0), buf.Bytes()
}

func values[T arrow.FixedWidthType](d arrow.ArrayData) []T {
	if bufferLen(d.Buffers(), 1) == 0 {
		return nil
	}
	return arrow.GetData[T](d.Buffers()[1].Bytes())[:d.Len()]
}

type realNumber interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// number does the exact widenings; nil if it knows none.
func (c converter) number(d arrow.ArrayData, want arrow.DataType) arrow.ArrayData {
	if w := widen(d.DataType(), want); w == nil || !arrow.TypeEqual(w, want) {
		return nil
	}
	switch d.DataType().ID() {
	case arrow.INT8:
		return numberFrom[int8](c, d, want)
	case arrow.INT16:
		return numberFrom[int16](c, d, want)
	case arrow.INT32:
		return numberFrom[int32](c, d, want)
	case arrow.INT64:
		return numberFrom[int64](c, d, want)
	case arrow.UINT8:
		return numberFrom[uint8](c, d, want)
	case arrow.UINT16:
		return numberFrom[uint16](c, d, want)
	case arrow.UINT32:
		return numberFrom[uint32](c, d, want)
	case arrow.UINT64:
		return numberFrom[uint64](c, d, want)
	case arrow.FLOAT32:
		return numberFrom[float32](c, d, want)
	case arrow.FLOAT16:
		return halves(c, d, want)
	}
	return nil
}

func numberFrom[F realNumber](c converter, d arrow.ArrayData, want arrow.DataType) arrow.ArrayData {
	src := values[F](d)
	switch want.ID() {
	case arrow.INT16:
		return numberTo[F, int16](c, d, src, want, 2)
	case arrow.INT32:
		return numberTo[F, int32](c, d, src, want, 4)
	case arrow.INT64:
		return numberTo[F, int64](c, d, src, want, 8)
	case arrow.UINT16:
		return numberTo[F, uint16](c, d, src, want, 2)
	case arrow.UINT32:
		return numberTo[F, uint32](c, d, src, want, 4)
	case arrow.UINT64:
		return numberTo[F, uint64](c, d, src, want, 8)
	case arrow.FLOAT32:
		return numberTo[F, float32](c, d, src, want, 4)
	case arrow.FLOAT64:
		return numberTo[F, float64](c, d, src, want, 8)
	case arrow.FLOAT16:
		out, raw := c.fresh(d, want, 2)
		dst := arrow.GetData[float16.Num](raw)
		for i, v := range src {
			dst[i] = float16.New(float32(v))
		}
		return out
	}
	return nil
}

func numberTo[F, T realNumber](c converter, d arrow.ArrayData, src []F, want arrow.DataType, width int) arrow.ArrayData {
	out, raw := c.fresh(d, want, width)
	dst := arrow.GetData[T](raw)
	for i, v := range src {
		dst[i] = T(v)
	}
	return out
}

func halves(c converter, d arrow.ArrayData, want arrow.DataType) arrow.ArrayData {
	src := values[float16.Num](d)
	if want.ID() == arrow.FLOAT64 {
		out, raw := c.fresh(d, want, 8)
		dst := arrow.GetData[float64](raw)
		for i, v := range src {
			dst[i] = float64(half.Float32(v))
		}
		return out
	}
	out, raw := c.fresh(d, want, 4)
	dst := arrow.GetData[float32](raw)
	for i, v := range src {
		dst[i] = half.Float32(v)
	}
	return out
}

// rescale changes the unit of 64-bit times: coarser ones by floor, finer ones
// checked, because a value out of range has no other honest answer.
func (c converter) rescale(d arrow.ArrayData, want arrow.DataType, from, to arrow.TimeUnit, path string) (arrow.ArrayData, error) {
	if from == to {
		return relabel(d, want), nil
	}
	src := values[int64](d)
	out, raw := c.fresh(d, want, 8)
	dst := arrow.GetData[int64](raw)
	a, b := int64(from.Multiplier()), int64(to.Multiplier()) // nanoseconds each
	if a < b {
		div := b / a
		for i, v := range src {
			q := v / div
			if v%div < 0 {
				q--
			}
			dst[i] = q
		}
		return out, nil
	}
	mul := a / b
	valid := validBits(d)
	for i, v := range src {
		if v > math.MaxInt64/mul || v < math.MinInt64/mul {
			if valid != nil && !bitIsSet(valid, i) {
				continue
			}
			out.Release()
			return nil, valueError(path, "value %d in %s does not fit %s", v, from, want)
		}
		dst[i] = v * mul
	}
	return out, nil
}

func validBits(d arrow.ArrayData) []byte {
	if b := d.Buffers()[0]; b != nil && b.Len() > 0 {
		return b.Bytes()
	}
	return nil
}

func (c converter) timeNanos(d arrow.ArrayData, unit arrow.TimeUnit) arrow.ArrayData {
	out, raw := c.fresh(d, arrow.PrimitiveTypes.Int64, 8)
	dst := arrow.GetData[int64](raw)
	for i, v := range values[int32](d) {
		dst[i] = int64(v) * int64(unit.Multiplier())
	}
	return out
}

func (c converter) fixedToBinary(d arrow.ArrayData, width int, want arrow.DataType) arrow.ArrayData {
	offsets := c.alloc((d.Len() + 1) * 4)
	defer offsets.Release()
	dst := arrow.GetData[int32](offsets.Bytes())
	for i := range dst {
		dst[i] = int32(i * width)
	}
	return array.NewData(want, d.Len(), []*memory.Buffer{d.Buffers()[0], offsets, d.Buffers()[1]}, nil, d.NullN(), 0)
}

// decimalText writes decimals that no 128-bit type holds.
func (c converter) decimalText(d arrow.ArrayData, t *arrow.Decimal256Type) arrow.ArrayData {
	b := array.NewStringBuilder(c.mem)
	defer b.Release()
	valid := validBits(d)
	for i, v := range values[decimal256.Num](d) {
		if valid != nil && !bitIsSet(valid, i) {
			b.AppendNull()
			continue
		}
		b.Append(v.ToString(t.Scale))
	}
	arr := b.NewArray()
	defer arr.Release()
	out := arr.Data()
	out.Retain()
	return out
}

func (c converter) toDecimal128(d arrow.ArrayData, native arrow.DataType, want *arrow.Decimal128Type, path string) (arrow.ArrayData, error) {
	switch have := d.DataType().(type) {
	case *arrow.Decimal128Type:
		if have.Scale == want.Scale && have.Precision <= want.Precision {
			return relabel(d, want), nil
		}
	case *arrow.Uint64Type:
		if want.Scale == 0 {
			out, raw := c.fresh(d, want, 16)
			dst := arrow.GetData[decimal128.Num](raw)
			for i, v := range values[uint64](d) {
				dst[i] = decimal128.FromU64(v)
			}
			return out, nil
		}
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type:
		// A narrower file of a dataset whose column is uint64.
		wide := c.number(d, arrow.PrimitiveTypes.Uint64)
		defer wide.Release()
		return c.toDecimal128(wide, native, want, path)
	case *arrow.Decimal256Type:
		if have.Scale == want.Scale {
			return c.narrowDecimal(d, want, path)
		}
	}
	return nil, mismatch(native, want, path)
}

// narrowDecimal keeps the low half of decimals whose precision says that it is
// all there is.
func (c converter) narrowDecimal(d arrow.ArrayData, want *arrow.Decimal128Type, path string) (arrow.ArrayData, error) {
	out, raw := c.fresh(d, want, 16)
	dst := arrow.GetData[decimal128.Num](raw)
	valid := validBits(d)
	for i, v := range values[decimal256.Num](d) {
		if valid != nil && !bitIsSet(valid, i) {
			continue
		}
		if !v.FitsInPrecision(want.Precision) {
			out.Release()
			return nil, valueError(path, "decimal %s does not fit %s", v.ToString(want.Scale), want)
		}
		words := v.Array()
		dst[i] = decimal128.New(int64(words[1]), words[0])
	}
	return out, nil
}

func (c converter) toDecimal256(d arrow.ArrayData, native arrow.DataType, want *arrow.Decimal256Type, path string) (arrow.ArrayData, error) {
	switch have := d.DataType().(type) {
	case *arrow.Decimal256Type:
		if have.Scale == want.Scale && have.Precision <= want.Precision {
			return relabel(d, want), nil
		}
	case *arrow.Decimal128Type:
		if have.Scale == want.Scale {
			out, raw := c.fresh(d, want, 32)
			dst := arrow.GetData[decimal256.Num](raw)
			for i, v := range values[decimal128.Num](d) {
				dst[i] = decimal256.FromDecimal128(v)
			}
			return out, nil
		}
	}
	return nil, mismatch(native, want, path)
}
