package scantest

import (
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"

	"github.com/hubflight/hubflight/source/half"
)

// class says with what a value can be compared.
type class uint8

const (
	classNone    class = iota // only with null
	classBool                 // false < true
	classNumber               // integers, floats, decimals
	classDecimal              // numbers whose column is a decimal
	classText                 // bytes, compared as such
	classDay                  // dates: midnights of no zone
	classInstant              // timestamps of no zone, in nanoseconds
	classZoned                // timestamps with one
	classClock                // times of a day
)

// Value is one cell or literal: null, a text, or a number. Times are numbers of
// nanoseconds, truths are 0 and 1.
type Value struct {
	Null bool
	text string
	num  *big.Rat // nil for texts, NaN and the infinities
	odd  float64  // NaN or an infinity
}

func number(r *big.Rat) Value { return Value{num: r} }

func whole(n int64) Value { return number(new(big.Rat).SetInt64(n)) }

func float(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{odd: f}
	}
	return number(new(big.Rat).SetFloat64(f))
}

func (v Value) nan() bool { return math.IsNaN(v.odd) }

// NaN says whether it is one.
func (v Value) NaN() bool { return !v.Null && v.nan() }

// Zero says whether it is the number 0, of either sign.
func (v Value) Zero() bool { return v.num != nil && v.num.Sign() == 0 }

// rank orders what is no number: −∞, numbers, ∞, NaN.
func (v Value) rank() int {
	switch {
	case v.num != nil:
		return 0
	case v.nan():
		return 2
	case v.odd < 0:
		return -1
	case v.odd > 0:
		return 1
	}
	return 0
}

// classOf is the class of a column.
func classOf(t arrow.DataType) class {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return classBool
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return classZoned
		}
		return classInstant
	case *arrow.Date32Type, *arrow.Date64Type:
		return classDay
	case *arrow.Time32Type, *arrow.Time64Type:
		return classClock
	case arrow.DecimalType:
		return classDecimal
	case *arrow.StringType, *arrow.LargeStringType, *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return classText
	}
	if arrow.IsInteger(t.ID()) || arrow.IsFloating(t.ID()) {
		return classNumber
	}
	return classNone
}

// cell is the value of row i of a column that can be compared. What cannot be is
// only null or not.
func cell(a arrow.Array, i int) Value {
	if a.IsNull(i) || a.DataType().ID() == arrow.NULL {
		return Value{Null: true}
	}
	switch a := a.(type) {
	case *array.Boolean:
		if a.Value(i) {
			return whole(1)
		}
		return whole(0)
	case *array.Uint64:
		return number(new(big.Rat).SetUint64(a.Value(i)))
	case *array.Float16:
		return halfOf(a.Value(i))
	case *array.Float32:
		return float(float64(a.Value(i)))
	case *array.Float64:
		return float(a.Value(i))
	case *array.String:
		return Value{text: a.Value(i)}
	case *array.LargeString:
		return Value{text: a.Value(i)}
	case *array.Binary:
		return Value{text: string(a.Value(i))}
	case *array.LargeBinary:
		return Value{text: string(a.Value(i))}
	case *array.FixedSizeBinary:
		return Value{text: string(a.Value(i))}
	case *array.Decimal128:
		return scaled(a.Value(i).BigInt(), a.DataType().(arrow.DecimalType).GetScale())
	case *array.Decimal256:
		return scaled(a.Value(i).BigInt(), a.DataType().(arrow.DecimalType).GetScale())
	}
	n, unit, ok := integer(a, i)
	if !ok {
		return Value{}
	}
	r := new(big.Rat).SetInt64(n)
	return number(r.Mul(r, new(big.Rat).SetInt64(unit)))
}

func halfOf(v float16.Num) Value { return float(float64(half.Float32(v))) }

func scaled(v *big.Int, scale int32) Value {
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	return number(new(big.Rat).SetFrac(v, ten))
}

// integer is a cell that is stored as one, and its unit in nanoseconds (1 for
// plain numbers).
func integer(a arrow.Array, i int) (n, unit int64, ok bool) {
	switch a := a.(type) {
	case *array.Int8:
		return int64(a.Value(i)), 1, true
	case *array.Int16:
		return int64(a.Value(i)), 1, true
	case *array.Int32:
		return int64(a.Value(i)), 1, true
	case *array.Int64:
		return a.Value(i), 1, true
	case *array.Uint8:
		return int64(a.Value(i)), 1, true
	case *array.Uint16:
		return int64(a.Value(i)), 1, true
	case *array.Uint32:
		return int64(a.Value(i)), 1, true
	case *array.Date32:
		return int64(a.Value(i)), 86_400e9, true
	case *array.Date64:
		return int64(a.Value(i)), 1e6, true
	case *array.Timestamp:
		return int64(a.Value(i)), unitOf(a.DataType()), true
	case *array.Time32:
		return int64(a.Value(i)), unitOf(a.DataType()), true
	case *array.Time64:
		return int64(a.Value(i)), unitOf(a.DataType()), true
	}
	return 0, 0, false
}

func unitOf(t arrow.DataType) int64 {
	return int64(t.(arrow.TemporalWithUnit).TimeUnit().Multiplier())
}

// columnAt finds a path's leaf; a null struct makes its fields null.
func columnAt(batch arrow.RecordBatch, path []string) (arrow.DataType, func(i int) Value, error) {
	at := batch.Schema().FieldIndices(path[0])
	if len(at) != 1 {
		return nil, nil, fmt.Errorf("%d columns named %q", len(at), path[0])
	}
	a := batch.Column(at[0])
	var above []arrow.Array
	for _, name := range path[1:] {
		s, ok := a.(*array.Struct)
		if !ok {
			return nil, nil, fmt.Errorf("no struct above %q", name)
		}
		k, ok := s.DataType().(*arrow.StructType).FieldIdx(name)
		if !ok {
			return nil, nil, fmt.Errorf("no field %q", name)
		}
		above, a = append(above, a), s.Field(k)
	}
	return a.DataType(), func(i int) Value {
		for _, s := range above {
			if s.IsNull(i) {
				return Value{Null: true}
			}
		}
		return cell(a, i)
	}, nil
}
