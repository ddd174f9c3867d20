package column

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// shape is the form of a leaf's Arrow buffers.
type shape uint8

const (
	shapeFixed  shape = iota // width bytes a value
	shapeBinary              // 32-bit offsets and bytes
	shapeBool                // a bit a value
	shapeNull                // nothing but a length
)

// layout says how the stored values of a leaf become Arrow's.
type layout struct {
	shape  shape
	stored int // bytes of a stored value; 0 for byte arrays and booleans
	width  int // bytes of a value in the array; 0 if not fixed
	// convert makes n values of width bytes from n of stored bytes; nil where they are the same.
	convert func(dst, src []byte, n int) error
	// decimal makes the final fixed values of byte arrays, which are collected as binary first.
	decimal func(dst, src []byte) error
}

// maxFixedBytes bounds FIXED_LEN_BYTE_ARRAY values, which blocks of scratch are sized by.
const maxFixedBytes = 1 << 20

// layoutOf is the layout for an Arrow type over a chunk's physical type; false if pqarrow does not make that type of it, or wrongly.
func layoutOf(t arrow.DataType, c *Chunk) (layout, bool) {
	for {
		ext, ok := t.(arrow.ExtensionType)
		if !ok {
			break
		}
		t = ext.StorageType()
	}
	if t.ID() == arrow.NULL {
		return layout{shape: shapeNull, stored: storedBytes(c)}, true
	}
	switch c.Physical {
	case parquet.Types.Boolean:
		return layout{shape: shapeBool}, t.ID() == arrow.BOOL
	case parquet.Types.Int32:
		return intLayout(t, 4)
	case parquet.Types.Int64:
		return intLayout(t, 8)
	case parquet.Types.Float:
		return layout{stored: 4, width: 4}, t.ID() == arrow.FLOAT32
	case parquet.Types.Double:
		return layout{stored: 8, width: 8}, t.ID() == arrow.FLOAT64
	case parquet.Types.Int96:
		return int96Layout(t)
	case parquet.Types.ByteArray:
		return binaryLayout(t)
	case parquet.Types.FixedLenByteArray:
		return fixedLayout(t, c.TypeLength)
	}
	return layout{}, false
}

func storedBytes(c *Chunk) int {
	switch c.Physical {
	case parquet.Types.Int32, parquet.Types.Float:
		return 4
	case parquet.Types.Int64, parquet.Types.Double:
		return 8
	case parquet.Types.Int96:
		return 12
	case parquet.Types.FixedLenByteArray:
		return c.TypeLength
	}
	return 0
}

func intLayout(t arrow.DataType, stored int) (layout, bool) {
	l := layout{stored: stored}
	switch t.ID() {
	case arrow.DECIMAL128:
		l.width, l.convert = 16, widen(stored, 2)
		return l, true
	case arrow.DECIMAL256:
		l.width, l.convert = 32, widen(stored, 4)
		return l, true
	case arrow.INT32, arrow.DATE32, arrow.TIME32, arrow.UINT32:
		l.width = 4
		return l, stored == 4
	case arrow.INT64, arrow.TIMESTAMP, arrow.TIME64, arrow.UINT64, arrow.DURATION:
		l.width = 8
		return l, stored == 8
	case arrow.INT8, arrow.UINT8:
		l.width, l.convert = 1, narrow8(stored)
		return l, true
	case arrow.INT16, arrow.UINT16:
		l.width, l.convert = 2, narrow16(stored)
		return l, true
	}
	return l, false
}

func int96Layout(t arrow.DataType) (layout, bool) {
	l := layout{stored: 12, width: 8}
	ts, ok := t.(*arrow.TimestampType)
	if !ok {
		return l, false
	}
	switch ts.Unit {
	case arrow.Nanosecond:
		l.convert = int96To(int96Nanos)
	case arrow.Microsecond:
		l.convert = int96To(int96Micros)
	default:
		return l, false
	}
	return l, true
}

func binaryLayout(t arrow.DataType) (layout, bool) {
	l := layout{shape: shapeBinary}
	switch t.ID() {
	case arrow.STRING, arrow.BINARY:
		return l, true
	case arrow.DECIMAL128:
		l.width, l.decimal = 16, bigEndian
		return l, true
	case arrow.DECIMAL256:
		l.width, l.decimal = 32, bigEndian
		return l, true
	}
	return l, false
}

func fixedLayout(t arrow.DataType, n int) (layout, bool) {
	l := layout{stored: n, width: n}
	if n <= 0 || n > maxFixedBytes {
		return l, false
	}
	switch t := t.(type) {
	case *arrow.FixedSizeBinaryType:
		return l, t.ByteWidth == n
	case *arrow.Float16Type:
		return l, n == 2
	case *arrow.Decimal128Type:
		l.width = 16
	case *arrow.Decimal256Type:
		l.width = 32
	default:
		return l, false
	}
	if n > l.width {
		return l, false
	}
	width := l.width
	l.convert = func(dst, src []byte, count int) error {
		for range count {
			if err := bigEndian(dst[:width], src[:n]); err != nil {
				return err
			}
			dst, src = dst[width:], src[n:]
		}
		return nil
	}
	return l, true
}

// widen sign-extends integers to little-endian decimals of words 64-bit words.
func widen(stored, words int) func(dst, src []byte, n int) error {
	return func(dst, src []byte, n int) error {
		for i := range n {
			var v int64
			if stored == 4 {
				v = int64(int32(binary.LittleEndian.Uint32(src[4*i:])))
			} else {
				v = int64(binary.LittleEndian.Uint64(src[8*i:]))
			}
			binary.LittleEndian.PutUint64(dst, uint64(v))
			for w := 1; w < words; w++ {
				binary.LittleEndian.PutUint64(dst[8*w:], uint64(v>>63))
			}
			dst = dst[8*words:]
		}
		return nil
	}
}

// narrow8 keeps the lowest byte, as pqarrow does: a value outside the annotated width is the writer's mistake.
func narrow8(stored int) func(dst, src []byte, n int) error {
	return func(dst, src []byte, n int) error {
		dst = dst[:n]
		for i := range dst {
			dst[i] = src[i*stored]
		}
		return nil
	}
}

func narrow16(stored int) func(dst, src []byte, n int) error {
	return func(dst, src []byte, n int) error {
		for i := range n {
			binary.LittleEndian.PutUint16(dst[2*i:], binary.LittleEndian.Uint16(src[i*stored:]))
		}
		return nil
	}
}

var errDecimalLength = errors.New("a decimal has no bytes, or more than its type")

// bigEndian makes a little-endian two's complement number of len(dst) bytes from a big-endian one.
func bigEndian(dst, src []byte) error {
	if len(src) == 0 || len(src) > len(dst) {
		return errDecimalLength
	}
	sign := byte(int8(src[0]) >> 7)
	n := len(src)
	for i := range n {
		dst[i] = src[n-1-i]
	}
	for i := n; i < len(dst); i++ {
		dst[i] = sign
	}
	return nil
}

const (
	julianEpoch  = 2440588 // the Julian day of 1970-01-01
	nanosPerDay  = 86_400_000_000_000
	microsPerDay = 86_400_000_000
)

func int96To(one func(nanos, days int64) (int64, error)) func(dst, src []byte, n int) error {
	return func(dst, src []byte, n int) error {
		for i := range n {
			v, err := one(int64(binary.LittleEndian.Uint64(src[12*i:])), int64(binary.LittleEndian.Uint32(src[12*i+8:]))-julianEpoch)
			if err != nil {
				return err
			}
			binary.LittleEndian.PutUint64(dst[8*i:], uint64(v))
		}
		return nil
	}
}

func int96Nanos(nanos, days int64) (int64, error) {
	if uint64(nanos) >= nanosPerDay {
		return 0, errors.New("an INT96 timestamp's time of day is out of range")
	}
	return addDays(nanos, days, nanosPerDay, ErrNanoseconds)
}

// int96Micros rounds down.
func int96Micros(nanos, days int64) (int64, error) {
	micros := nanos / 1000
	if nanos%1000 < 0 {
		micros--
	}
	return addDays(micros, days, microsPerDay, errMicroseconds)
}

// ErrNanoseconds marks an INT96 timestamp before 1677 or behind 2262, where nanoseconds end.
var (
	ErrNanoseconds  = errors.New("an INT96 timestamp is outside the range of nanoseconds")
	errMicroseconds = errors.New("an INT96 timestamp is outside the range of microseconds")
)

// addDays is of + days × perDay, for |of| < 2^63 − perDay, or the error beyond.
func addDays(of, days, perDay int64, beyond error) (int64, error) {
	if days < 0 && of > 0 {
		// The first representable day begins before the range does.
		days, of = days+1, of-perDay
	}
	out := &Error{Kind: Unsupported, Err: beyond}
	if days > math.MaxInt64/perDay || days < math.MinInt64/perDay {
		return 0, out
	}
	base := days * perDay
	if of > 0 && base > math.MaxInt64-of || of < 0 && base < math.MinInt64-of {
		return 0, out
	}
	return base + of, nil
}

// codecKnown says whether pages of a codec can be inflated.
func codecKnown(c compress.Compression) bool {
	switch c {
	case compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Brotli,
		compress.Codecs.Zstd, compress.Codecs.Lz4Raw:
		return true
	}
	return false
}

func isInt(c *Chunk) bool {
	return c.Physical == parquet.Types.Int32 || c.Physical == parquet.Types.Int64
}

func isBoolean(c *Chunk) bool { return c.Physical == parquet.Types.Boolean }

func isFixedArray(c *Chunk) bool { return c.Physical == parquet.Types.FixedLenByteArray }
