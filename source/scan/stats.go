package scan

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/hubflight/hubflight/source/filter"
)

// groupStats gives filter.Bound what the footer says about one row group.
//
// Bounds are used only where the format fixes their order: min_value and
// max_value of a column with type-defined order. The deprecated min and max,
// whose order was the writer's, are never used, nor are those of writers that
// are known to have computed them wrongly.
func (ft *Footer) groupStats(group int) func(path []string) (filter.Stats, bool) {
	return func(path []string) (filter.Stats, bool) {
		n := ft.flat(path)
		if n == nil {
			return filter.Stats{}, false
		}
		return ft.leafStats(group, n)
	}
}

// flat finds the leaf at a path through structs, or nil: of which a row has at most
// one value.
func (ft *Footer) flat(path []string) *node {
	n := ft.root(path[0])
	for _, name := range path[1:] {
		if n == nil || n.repeated {
			return nil
		}
		n = n.child(name)
	}
	if n == nil || n.leaf < 0 || ft.meta.Schema.Column(n.leaf).MaxRepetitionLevel() > 0 {
		return nil
	}
	return n
}

func (ft *Footer) leafStats(group int, n *node) (filter.Stats, bool) {
	rg := ft.meta.RowGroups[group]
	st := rg.Columns[n.leaf].MetaData.Statistics
	if st == nil || !ft.correctBounds(n.leaf, st.MinValue, st.MaxValue) {
		return filter.Stats{}, false
	}
	out := filter.Stats{Nulls: -1, Rows: rg.NumRows}
	if st.NullCount != nil && *st.NullCount >= 0 && *st.NullCount <= rg.NumRows {
		out.Nulls = *st.NullCount
	}
	cut := st.IsMinValueExact != nil && !*st.IsMinValueExact || st.IsMaxValueExact != nil && !*st.IsMaxValueExact
	whole := st.IsMinValueExact != nil && *st.IsMinValueExact && st.IsMaxValueExact != nil && *st.IsMaxValueExact
	ft.bound(&out, n, st.MinValue, st.MaxValue, cut)
	// Numbers are stored whole; byte strings may be cut, and only the flags say
	// that they are not.
	out.Exact = !cut && (whole || !ft.storedAsBytes(n.leaf))
	return out, true
}

// correctBounds reports whether the file's writer is not known to have computed
// bounds of such columns wrongly.
func (ft *Footer) correctBounds(leaf int, low, high []byte) bool {
	c := ft.meta.Schema.Column(leaf)
	encoded := metadata.EncodedStatistics{Min: low, Max: high, HasMin: low != nil, HasMax: high != nil}
	return ft.meta.WriterVersion().HasCorrectStatistics(c.PhysicalType(), c.LogicalType(), encoded, c.SortOrder())
}

// bound sets the bounds of a row group's or a page's values, as far as they can be
// trusted; nil is unknown. cut says that they may be shortened byte strings.
func (ft *Footer) bound(out *filter.Stats, n *node, low, high []byte, cut bool) {
	leaf := ft.meta.Schema.Column(n.leaf)
	if !ft.typeOrdered(n.leaf) {
		return
	}
	if _, decimal := n.field.Type.(arrow.DecimalType); decimal && cut && ft.storedAsBytes(n.leaf) {
		return // half of a number is another number
	}
	if low != nil {
		out.Min = statScalar(low, leaf, n.field.Type, false)
	}
	if high != nil {
		out.Max = statScalar(high, leaf, n.field.Type, true)
	}
	switch {
	case low != nil && out.Min == nil, high != nil && out.Max == nil:
		// One of them is not of the type: values are cut when they are read, or the
		// writer compared in an order of its own.
		out.Min, out.Max = nil, nil
	case out.Min != nil && out.Max != nil && statLess(high, low, leaf, n.field.Type):
		out.Min, out.Max = nil, nil // no order in which this makes sense
	}
}

func (ft *Footer) storedAsBytes(leaf int) bool {
	t := ft.meta.Schema.Column(leaf).PhysicalType()
	return t == parquet.Types.ByteArray || t == parquet.Types.FixedLenByteArray
}

// typeOrdered reports whether the column's bounds follow its type's own order.
func (ft *Footer) typeOrdered(leaf int) bool {
	orders := ft.meta.ColumnOrders
	return leaf < len(orders) && orders[leaf] != nil && orders[leaf].TYPE_ORDER != nil
}

// statScalar decodes a bound into a scalar of the column's native type, or nil
// if it cannot be trusted to bound anything. upper says which of the two it is:
// a zero is widened to the zero of the other sign, because writers mix them up.
func statScalar(b []byte, leaf *schema.Column, t arrow.DataType, upper bool) scalar.Scalar {
	if len(b) == 0 && leaf.PhysicalType() != parquet.Types.ByteArray {
		return nil
	}
	switch t := t.(type) {
	case *arrow.BooleanType:
		if len(b) != 1 || b[0] > 1 {
			return nil
		}
		return scalar.NewBooleanScalar(b[0] == 1)
	case *arrow.Float32Type:
		if len(b) != 4 {
			return nil
		}
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		if v, ok := statFloat(v, upper); ok {
			return scalar.NewFloat32Scalar(float32(v))
		}
		return nil
	case *arrow.Float64Type:
		if len(b) != 8 {
			return nil
		}
		if v, ok := statFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), upper); ok {
			return scalar.NewFloat64Scalar(v)
		}
		return nil
	case *arrow.Float16Type:
		if len(b) != 2 {
			return nil
		}
		v := float64(float16.FromBits(binary.LittleEndian.Uint16(b)).Float32())
		if v, ok := statFloat(v, upper); ok {
			return scalar.NewFloat16Scalar(float16.New(float32(v)))
		}
		return nil
	case *arrow.StringType:
		return scalar.NewStringScalarFromBuffer(memory.NewBufferBytes(b))
	case *arrow.LargeStringType:
		return scalar.NewLargeStringScalarFromBuffer(memory.NewBufferBytes(b))
	case *arrow.BinaryType:
		return scalar.NewBinaryScalar(memory.NewBufferBytes(b), t)
	case *arrow.LargeBinaryType:
		return scalar.NewLargeBinaryScalar(memory.NewBufferBytes(b))
	case *arrow.FixedSizeBinaryType:
		if leaf.SortOrder() != schema.SortUNSIGNED || len(b) != t.ByteWidth {
			return nil
		}
		return scalar.NewFixedSizeBinaryScalar(memory.NewBufferBytes(b), t)
	case *arrow.Decimal128Type:
		if v, ok := statDecimal(b, leaf); ok && v.BitLen() < 128 {
			return scalar.NewDecimal128Scalar(decimal128.FromBigInt(v), t)
		}
		return nil
	case *arrow.Decimal256Type:
		if v, ok := statDecimal(b, leaf); ok && v.BitLen() < 256 {
			return scalar.NewDecimal256Scalar(decimal256.FromBigInt(v), t)
		}
		return nil
	}
	return statIntScalar(b, leaf, t)
}

func statFloat(v float64, upper bool) (float64, bool) {
	switch {
	case math.IsNaN(v):
		return 0, false
	case v == 0 && upper:
		return 0, true
	case v == 0:
		return math.Copysign(0, -1), true
	}
	return v, true
}

// statDecimal reads a decimal's unscaled value: little-endian integers, or
// big-endian two's complement bytes.
func statDecimal(b []byte, leaf *schema.Column) (*big.Int, bool) {
	switch leaf.PhysicalType() {
	case parquet.Types.Int32, parquet.Types.Int64:
		v, ok := statInt(b, leaf)
		return big.NewInt(v), ok
	}
	if len(b) == 0 || len(b) > 32 || leaf.PhysicalType() == parquet.Types.FixedLenByteArray && len(b) != leaf.TypeLength() {
		return nil, false
	}
	v := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return v, true
}

func statInt(b []byte, leaf *schema.Column) (int64, bool) {
	switch {
	case leaf.PhysicalType() == parquet.Types.Int32 && len(b) == 4:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case leaf.PhysicalType() == parquet.Types.Int64 && len(b) == 8:
		return int64(binary.LittleEndian.Uint64(b)), true
	}
	return 0, false
}

// statIntScalar handles what Parquet stores as an integer. A bound that the
// narrower Arrow type cannot hold means that values are cut when they are read,
// so that nothing is known about them.
func statIntScalar(b []byte, leaf *schema.Column, t arrow.DataType) scalar.Scalar {
	v, ok := statInt(b, leaf)
	if !ok {
		return nil
	}
	fits := func(low, high int64) bool { return v >= low && v <= high }
	switch t := t.(type) {
	case *arrow.Int8Type:
		if fits(math.MinInt8, math.MaxInt8) {
			return scalar.NewInt8Scalar(int8(v))
		}
	case *arrow.Int16Type:
		if fits(math.MinInt16, math.MaxInt16) {
			return scalar.NewInt16Scalar(int16(v))
		}
	case *arrow.Int32Type:
		return scalar.NewInt32Scalar(int32(v))
	case *arrow.Int64Type:
		return scalar.NewInt64Scalar(v)
	case *arrow.Uint8Type:
		if fits(0, math.MaxUint8) {
			return scalar.NewUint8Scalar(uint8(v))
		}
	case *arrow.Uint16Type:
		if fits(0, math.MaxUint16) {
			return scalar.NewUint16Scalar(uint16(v))
		}
	case *arrow.Uint32Type:
		return scalar.NewUint32Scalar(uint32(v))
	case *arrow.Uint64Type:
		return scalar.NewUint64Scalar(uint64(v))
	case *arrow.Date32Type:
		return scalar.NewDate32Scalar(arrow.Date32(v))
	case *arrow.Time32Type:
		return scalar.NewTime32Scalar(arrow.Time32(v), t)
	case *arrow.Time64Type:
		return scalar.NewTime64Scalar(arrow.Time64(v), t)
	case *arrow.TimestampType:
		return scalar.NewTimestampScalar(arrow.Timestamp(v), t)
	case *arrow.DurationType:
		return scalar.NewDurationScalar(arrow.Duration(v), t)
	}
	return nil
}

// statLess compares two bounds in the type's order.
func statLess(a, b []byte, leaf *schema.Column, t arrow.DataType) bool {
	switch leaf.PhysicalType() {
	case parquet.Types.Float:
		return math.Float32frombits(binary.LittleEndian.Uint32(a)) < math.Float32frombits(binary.LittleEndian.Uint32(b))
	case parquet.Types.Double:
		return math.Float64frombits(binary.LittleEndian.Uint64(a)) < math.Float64frombits(binary.LittleEndian.Uint64(b))
	case parquet.Types.Int32, parquet.Types.Int64:
		va, _ := statInt(a, leaf)
		vb, _ := statInt(b, leaf)
		if arrow.IsUnsignedInteger(t.ID()) {
			if leaf.PhysicalType() == parquet.Types.Int32 {
				return uint32(va) < uint32(vb)
			}
			return uint64(va) < uint64(vb)
		}
		return va < vb
	}
	switch t.(type) {
	case *arrow.Decimal128Type, *arrow.Decimal256Type:
		va, okA := statDecimal(a, leaf)
		vb, okB := statDecimal(b, leaf)
		return okA && okB && va.Cmp(vb) < 0
	case *arrow.Float16Type:
		fa, fb := float16.FromBits(binary.LittleEndian.Uint16(a)), float16.FromBits(binary.LittleEndian.Uint16(b))
		return fa.Less(fb)
	}
	return string(a) < string(b)
}
