package parquetfile

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// settings are a column's properties.
type settings struct {
	limit int // of a dictionary, in bytes
	stats bool
}

const (
	// triedValues is how many values a dictionary gets to show that it pays, and triedShare, in quarters, how many of them may be new.
	triedValues = 32 << 10
	triedShare  = 3
	// uniqueValues is after how many values a dictionary is given up if none has come twice.
	uniqueValues = 8 << 10
)

// repeats reports whether values come often enough to be numbered: of so many tried there are so many different ones. After
// twice triedValues that is settled.
func repeats(different, tried int) bool {
	switch {
	case different == tried:
		return tried < uniqueValues
	case tried < triedValues || tried >= 2*triedValues:
		return true
	}
	return different*4 <= tried*triedShare
}

// levelRoom is left free before PLAIN values: the levels of their page go there, so that the values need not be moved behind them.
const levelRoom = 4 << 10

// behind puts values, which have levelRoom before them, behind levels. It returns the page, which is good until the next value, and the room
// for the values of the next page.
func behind(levels, values []byte) (page, next []byte) {
	if len(levels) > levelRoom {
		return append(levels, values[levelRoom:]...), values[:levelRoom]
	}
	page = values[levelRoom-len(levels):]
	copy(page, levels)
	return page, values[:levelRoom]
}

// doubled makes room for n bytes more. Appending by itself takes a quarter more at a time, which for a page is five times its size in memory that
// is cleared, copied to and given up.
func doubled(dst []byte, n int) []byte {
	if n <= cap(dst)-len(dst) {
		return dst
	}
	return slices.Grow(dst, max(n, cap(dst)))
}

// newValues picks the encoder of a leaf.
func newValues(column *schema.Column, dt arrow.DataType, s settings) (values, error) {
	switch column.PhysicalType() {
	case parquet.Types.Boolean:
		return &bools{settings: s}, nil
	case parquet.Types.Int32:
		raw, ok := raw32(dt)
		if !ok {
			break
		}
		if column.SortOrder() == schema.SortUNSIGNED {
			return newNumbers(s, 4, raw, ordered[uint32, uint32]), nil
		}
		return newNumbers(s, 4, raw, ordered[uint32, int32]), nil
	case parquet.Types.Int64:
		if !is64(dt) {
			break
		}
		if column.SortOrder() == schema.SortUNSIGNED {
			return newNumbers(s, 8, view[uint64], ordered[uint64, uint64]), nil
		}
		return newNumbers(s, 8, view[uint64], ordered[uint64, int64]), nil
	case parquet.Types.Float:
		return newNumbers(s, 4, view[uint32], floating[uint32, float32]), nil
	case parquet.Types.Double:
		return newNumbers(s, 8, view[uint64], floating[uint64, float64]), nil
	case parquet.Types.ByteArray, parquet.Types.FixedLenByteArray:
		return newTexts(column, dt, s)
	}
	return nil, fmt.Errorf("%s cannot be written as %s", dt, column.PhysicalType())
}

// is64 are the types whose buffers are what is written.
func is64(dt arrow.DataType) bool {
	switch dt.ID() {
	case arrow.INT64, arrow.UINT64, arrow.TIME64:
		return true
	case arrow.TIMESTAMP:
		return dt.(*arrow.TimestampType).Unit != arrow.Second
	}
	return false
}

// raw32 gives the values of an array as they are written.
func raw32(dt arrow.DataType) (func(a arrow.ArrayData, scratch *[]uint32) []uint32, bool) {
	switch dt.ID() {
	case arrow.INT32, arrow.UINT32, arrow.DATE32:
		return view[uint32], true
	case arrow.INT8:
		return widened[int8], true
	case arrow.UINT8:
		return widened[uint8], true
	case arrow.INT16:
		return widened[int16], true
	case arrow.UINT16:
		return widened[uint16], true
	case arrow.NULL:
		return func(arrow.ArrayData, *[]uint32) []uint32 { return nil }, true
	case arrow.TIME32:
		if dt.(*arrow.Time32Type).Unit != arrow.Second {
			return view[uint32], true
		}
		return func(a arrow.ArrayData, scratch *[]uint32) []uint32 { // Parquet has no seconds
			*scratch = (*scratch)[:0]
			for _, v := range view[uint32](a, nil) {
				*scratch = append(*scratch, v*1000)
			}
			return *scratch
		}, true
	}
	return nil, false
}

// view is an array's values without a copy.
func view[T uint8 | int8 | uint16 | int16 | uint32 | uint64](a arrow.ArrayData, _ *[]T) []T {
	if a.Len() == 0 || a.Buffers()[1] == nil {
		return nil
	}
	return arrow.GetData[T](a.Buffers()[1].Bytes())[a.Offset() : a.Offset()+a.Len()]
}

// widened extends the sign, or the zeros, of smaller numbers.
func widened[N uint8 | int8 | uint16 | int16](a arrow.ArrayData, scratch *[]uint32) []uint32 {
	*scratch = (*scratch)[:0]
	for _, v := range view[N](a, nil) {
		*scratch = append(*scratch, uint32(v)) //nolint:gosec // the two's complement is meant
	}
	return *scratch
}
