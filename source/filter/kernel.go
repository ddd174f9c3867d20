package filter

import (
	"math/big"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"

	"github.com/hubflight/hubflight/source/half"
)

// The loops of this file answer 64 rows at a time into one word, and skip words
// in which nobody asks: rows that an earlier term refused, or nulls. Inside a
// word of fixed-width values every row is computed without a branch (rows that
// nobody asks about give garbage, which the caller masks out); strings and sets,
// which cost more per row, visit the asked rows only.

type integer interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

type loop = func(dst, want []uint64, arr arrow.Array)

// intLoop chooses the loop for the width that the column is stored in.
func intLoop(t *intTest) loop {
	switch t.col.arrow.ID() {
	case arrow.BOOL:
		return boolLoop(t)
	case arrow.INT8:
		return narrowLoop[int8](t)
	case arrow.INT16:
		return narrowLoop[int16](t)
	case arrow.INT32, arrow.DATE32, arrow.TIME32, arrow.DECIMAL32:
		return narrowLoop[int32](t)
	case arrow.UINT8:
		return narrowLoop[uint8](t)
	case arrow.UINT16:
		return narrowLoop[uint16](t)
	case arrow.UINT32:
		return narrowLoop[uint32](t)
	case arrow.UINT64:
		return narrowLoop[uint64](t)
	case arrow.DECIMAL128:
		return wideLoop(t, toDecimal128)
	case arrow.DECIMAL256:
		return wideLoop(t, toDecimal256)
	default: // int64, date64, time64, timestamp, decimal64
		return narrowLoop[int64](t)
	}
}

// boolLoop decides once about false and once about true.
func boolLoop(t *intTest) loop {
	var onFalse, onTrue uint64
	if t.covers(new(big.Int), new(big.Int)) != t.negate {
		onFalse = ^uint64(0)
	}
	if t.covers(big.NewInt(1), big.NewInt(1)) != t.negate {
		onTrue = ^uint64(0)
	}
	return func(dst, _ []uint64, arr arrow.Array) {
		data := arr.Data()
		values := data.Buffers()[1].Bytes()
		for w := range dst {
			v := bitmapWord(values, data.Offset()+w*64, data.Offset()+data.Len())
			dst[w] = v&onTrue | ^v&onFalse
		}
	}
}

// narrowLoop tests integers of up to 64 bits.
func narrowLoop[T integer](t *intTest) loop {
	if t.isSet {
		set := make(map[T]struct{}, len(t.set))
		for _, v := range t.set {
			set[truncate[T](v)] = struct{}{}
		}
		return setLoop(set, t.negate)
	}
	flip := flipWord(t.negate)
	if t.empty() {
		return constLoop(flip)
	}
	// lo ≤ v ≤ hi is v−lo ≤ hi−lo in unsigned arithmetic modulo 2^64: sign
	// extension keeps differences, for signed and unsigned types alike.
	base, span := uint64(truncate[T](t.lo)), uint64(truncate[T](t.hi))-uint64(truncate[T](t.lo))
	return func(dst, want []uint64, arr arrow.Array) {
		fillRange(dst, want, arrow.GetValues[T](arr.Data(), 1), base, span, flip)
	}
}

// truncate gives the T that has v's low bits; v fits, so it is v.
func truncate[T integer](v *big.Int) T {
	if v.Sign() < 0 {
		return T(v.Int64())
	}
	return T(v.Uint64())
}

func fillRange[T integer](dst, want []uint64, values []T, base, span, flip uint64) {
	for w := range dst {
		if want[w] == 0 {
			continue
		}
		block := values[w*64 : min(w*64+64, len(values))]
		var word uint64
		for j, v := range block {
			var hit uint64
			if uint64(v)-base <= span {
				hit = 1
			}
			word |= hit << (j & 63)
		}
		dst[w] = word ^ flip
	}
}

// setLoop looks values up in a hash set.
func setLoop[T interface {
	comparable
	arrow.FixedWidthType
}](set map[T]struct{}, negate bool) loop {
	flip := flipWord(negate)
	if len(set) == 0 {
		return constLoop(flip)
	}
	return func(dst, want []uint64, arr arrow.Array) {
		values := arrow.GetValues[T](arr.Data(), 1)
		for w, asked := range want {
			var word uint64
			for ; asked != 0; asked &= asked - 1 {
				j := bits.TrailingZeros64(asked)
				if _, ok := set[values[w*64+j]]; ok {
					word |= 1 << j
				}
			}
			dst[w] = word ^ flip
		}
	}
}

// wideLoop tests decimals of 128 and 256 bits.
func wideLoop[T interface {
	decimal128.Num | decimal256.Num
	comparable
	Cmp(T) int
}](t *intTest, from func(*big.Int) T) loop {
	if t.isSet {
		set := make(map[T]struct{}, len(t.set))
		for _, v := range t.set {
			set[from(v)] = struct{}{}
		}
		return setLoop(set, t.negate)
	}
	flip := flipWord(t.negate)
	if t.empty() {
		return constLoop(flip)
	}
	lo, hi := from(t.lo), from(t.hi)
	return func(dst, want []uint64, arr arrow.Array) {
		values := arrow.GetValues[T](arr.Data(), 1)
		for w, asked := range want {
			var word uint64
			for ; asked != 0; asked &= asked - 1 {
				j := bits.TrailingZeros64(asked)
				if v := values[w*64+j]; v.Cmp(lo) >= 0 && v.Cmp(hi) <= 0 {
					word |= 1 << j
				}
			}
			dst[w] = word ^ flip
		}
	}
}

// toDecimal128 is decimal128.FromBigInt without its panic on the smallest value,
// which is where an open interval of stored values begins.
func toDecimal128(v *big.Int) decimal128.Num {
	w := lowWords(v)
	return decimal128.New(int64(w[1]), w[0])
}

func toDecimal256(v *big.Int) decimal256.Num {
	w := lowWords(v)
	return decimal256.New(w[3], w[2], w[1], w[0])
}

// lowWords returns the low 256 bits of v in two's complement, lowest word first.
func lowWords(v *big.Int) (words [4]uint64) {
	rest := new(big.Int).Set(v)
	low := new(big.Int)
	mask := new(big.Int).SetUint64(^uint64(0))
	for i := range words {
		words[i] = low.And(rest, mask).Uint64()
		rest.Rsh(rest, 64) // arithmetic: a negative number stays negative
	}
	return words
}

// floatLoop chooses the loop for the width that the column is stored in. Narrow
// floats are widened, which is exact.
func floatLoop(c columnType, t *floatTest) loop {
	switch c.arrow.ID() {
	case arrow.FLOAT16:
		return func(dst, want []uint64, arr arrow.Array) {
			fillFloat16(dst, want, arrow.GetValues[float16.Num](arr.Data(), 1), t)
		}
	case arrow.FLOAT32:
		return wideningLoop[float32](t)
	default:
		return wideningLoop[float64](t)
	}
}

func wideningLoop[T float32 | float64](t *floatTest) loop {
	if t.isSet {
		return func(dst, want []uint64, arr arrow.Array) {
			fillFloatSet(dst, want, arrow.GetValues[T](arr.Data(), 1), t)
		}
	}
	return func(dst, want []uint64, arr arrow.Array) {
		fillFloatRange(dst, want, arrow.GetValues[T](arr.Data(), 1), t)
	}
}

func fillFloatRange[T float32 | float64](dst, want []uint64, values []T, t *floatTest) {
	lo, hi, flip := t.lo, t.hi, flipWord(t.negate)
	for w := range dst {
		if want[w] == 0 {
			continue
		}
		block := values[w*64 : min(w*64+64, len(values))]
		var word, nans uint64
		for j, v := range block {
			x := float64(v)
			var above, below, nan uint64
			if x >= lo {
				above = 1
			}
			if x <= hi {
				below = 1
			}
			if x != x {
				nan = 1
			}
			word |= above & below << (j & 63)
			nans |= nan << (j & 63)
		}
		if t.nan {
			word |= nans
		}
		dst[w] = word ^ flip
	}
}

func fillFloatSet[T float32 | float64](dst, want []uint64, values []T, t *floatTest) {
	flip := flipWord(t.negate)
	for w, asked := range want {
		var word uint64
		for ; asked != 0; asked &= asked - 1 {
			j := bits.TrailingZeros64(asked)
			if t.inside(float64(values[w*64+j])) {
				word |= 1 << j
			}
		}
		dst[w] = word ^ flip
	}
}

func fillFloat16(dst, want []uint64, values []float16.Num, t *floatTest) {
	flip := flipWord(t.negate)
	for w, asked := range want {
		var word uint64
		for ; asked != 0; asked &= asked - 1 {
			j := bits.TrailingZeros64(asked)
			if t.inside(float64(half.Float32(values[w*64+j]))) {
				word |= 1 << j
			}
		}
		dst[w] = word ^ flip
	}
}

// inside tests one value, before negation.
func (t *floatTest) inside(x float64) bool {
	if x != x {
		return t.nan
	}
	if t.isSet {
		_, ok := t.set[x]
		return ok
	}
	return t.lo <= x && x <= t.hi
}

// fillBytes chooses the loop for the layout of strings and binaries.
func fillBytes(dst, want []uint64, arr arrow.Array, t *bytesTest) {
	switch arr := arr.(type) {
	case *array.String, *array.Binary:
		fillVariable(dst, want, arrow.GetOffsets[int32](arr.Data(), 1), valueBytes(arr), t)
	case *array.LargeString, *array.LargeBinary:
		fillVariable(dst, want, arrow.GetOffsets[int64](arr.Data(), 1), valueBytes(arr), t)
	case *array.FixedSizeBinary:
		fillEach(dst, want, arr.Value, t)
	case *array.BinaryView:
		fillEach(dst, want, arr.Value, t)
	case *array.StringView:
		fillEach(dst, want, func(i int) []byte { return []byte(arr.Value(i)) }, t)
	}
}

func valueBytes(arr arrow.Array) []byte {
	if buf := arr.Data().Buffers()[2]; buf != nil {
		return buf.Bytes()
	}
	return nil // all values are empty
}

func fillVariable[O int32 | int64](dst, want []uint64, offsets []O, data []byte, t *bytesTest) {
	if t.op == Eq || t.op == Ne {
		fillEqual(dst, want, offsets, data, t)
		return
	}
	for w, asked := range want {
		var word uint64
		for ; asked != 0; asked &= asked - 1 {
			j := bits.TrailingZeros64(asked)
			i := w*64 + j
			if t.match(data[offsets[i]:offsets[i+1]]) {
				word |= 1 << j
			}
		}
		dst[w] = word
	}
}

// fillEqual compares lengths first: of strings that differ, most differ there.
func fillEqual[O int32 | int64](dst, want []uint64, offsets []O, data []byte, t *bytesTest) {
	operand, size, flip := t.operand, O(len(t.operand)), flipWord(t.op == Ne)
	for w, asked := range want {
		var word uint64
		for ; asked != 0; asked &= asked - 1 {
			j := bits.TrailingZeros64(asked)
			start, end := offsets[w*64+j], offsets[w*64+j+1]
			if end-start == size && string(data[start:end]) == operand {
				word |= 1 << j
			}
		}
		dst[w] = word ^ flip
	}
}

func fillEach(dst, want []uint64, at func(int) []byte, t *bytesTest) {
	for w, asked := range want {
		var word uint64
		for ; asked != 0; asked &= asked - 1 {
			j := bits.TrailingZeros64(asked)
			if t.match(at(w*64 + j)) {
				word |= 1 << j
			}
		}
		dst[w] = word
	}
}

// constLoop gives every row the same answer.
func constLoop(word uint64) loop {
	return func(dst, _ []uint64, _ arrow.Array) {
		for w := range dst {
			dst[w] = word
		}
	}
}

func flipWord(negate bool) uint64 {
	if negate {
		return ^uint64(0)
	}
	return 0
}
