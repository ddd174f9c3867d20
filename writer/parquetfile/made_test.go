package parquetfile

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// leafTypes are all that the writer lets through, once.
var leafTypes = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
	arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
	arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
	arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary,
	&arrow.FixedSizeBinaryType{ByteWidth: 3}, arrow.FixedWidthTypes.Date32,
	arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
	&arrow.TimestampType{Unit: arrow.Millisecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Nanosecond},
	&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 38, Scale: 10}, &arrow.Decimal256Type{Precision: 50, Scale: 3},
	arrow.Null,
}

// someType is a leaf, or something nested up to the given depth.
func someType(r *rand.Rand, depth int) arrow.DataType {
	if depth == 0 || r.IntN(3) == 0 {
		return leafTypes[r.IntN(len(leafTypes))]
	}
	item := arrow.Field{Name: "element", Type: someType(r, depth-1), Nullable: true}
	switch r.IntN(5) {
	case 0:
		return arrow.LargeListOfField(item)
	case 1:
		return arrow.FixedSizeListOfField(int32(1+r.IntN(3)), item)
	case 2:
		key := arrow.BinaryTypes.String
		return arrow.MapOf(key, item.Type)
	case 3:
		fields := []arrow.Field{{Name: "x", Type: item.Type, Nullable: true}, {Name: "y", Type: someType(r, depth-1), Nullable: true}}
		return arrow.StructOf(fields...)
	}
	return arrow.ListOfField(item)
}

// maker makes values of one column: how many of them differ, how many are null, how long they are.
type maker struct {
	*rand.Rand
	distinct int
	nulls    float64
	long     int
}

func someMaker(r *rand.Rand) maker {
	return maker{r, []int{1, 2, 9, 300, 1 << 40}[r.IntN(5)], []float64{0, 0, 0.2, 0.9, 1}[r.IntN(5)], []int{1, 12, 40, 3000}[r.IntN(4)]}
}

func (m maker) append(b array.Builder, mayBeNull bool) {
	if mayBeNull && m.Float64() < m.nulls {
		b.AppendNull()
		return
	}
	x := m.Uint64N(uint64(m.distinct)) * 0x9e3779b97f4a7c15 //nolint:gosec // positive
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			m.append(b.FieldBuilder(i), true)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range m.IntN(4) {
			m.append(b.KeyBuilder(), false)
			m.append(b.ItemBuilder(), true)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			m.append(b.ValueBuilder(), true)
		}
	case array.ListLikeBuilder:
		b.Append(true)
		for range m.IntN(5) {
			m.append(b.ValueBuilder(), true)
		}
	default:
		m.leaf(b, x)
	}
}

func (m maker) leaf(b array.Builder, x uint64) {
	text := []byte(strings.Repeat(fmt.Sprintf("%x", x), 1+m.long/16))
	text = text[:int(x>>7)%(len(text)+1)]
	f := math.Float64frombits(x)
	if x%3 > 0 { // zeros of both signs, NaN, infinities, ordinary numbers
		f = []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), -1.5, 2.25, 1e300}[x>>8%8]
	}
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(x>>9%2 == 0)
	case *array.Int8Builder:
		b.Append(int8(x >> 8))
	case *array.Int16Builder:
		b.Append(int16(x >> 8))
	case *array.Int32Builder:
		b.Append(int32(x >> 8))
	case *array.Int64Builder:
		b.Append(int64(x))
	case *array.Uint8Builder:
		b.Append(uint8(x >> 8))
	case *array.Uint16Builder:
		b.Append(uint16(x >> 8))
	case *array.Uint32Builder:
		b.Append(uint32(x >> 8))
	case *array.Uint64Builder:
		b.Append(x)
	case *array.Float16Builder:
		b.Append(float16.New(float32(f)))
	case *array.Float32Builder:
		b.Append(float32(f))
	case *array.Float64Builder:
		b.Append(f)
	case *array.StringBuilder:
		b.Append(string(text))
	case *array.LargeStringBuilder:
		b.Append(string(text))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte{byte(x), byte(x >> 8), byte(x >> 16)})
	case *array.BinaryBuilder:
		b.Append(text)
	case *array.Date32Builder:
		b.Append(arrow.Date32(int16(x >> 8)))
	case *array.Time32Builder:
		b.Append(arrow.Time32(x >> 8 % 86_400))
	case *array.Time64Builder:
		b.Append(arrow.Time64(x >> 8 % 86_400_000_000))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(int64(x>>24) - 1<<38))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(int64(x) % 1_000_000_000))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(new(big.Int).Mul(big.NewInt(int64(x)), big.NewInt(1_000_000_007))))
	default:
		panic(fmt.Sprintf("%T", b))
	}
}

// someTable is a batch of rows that lie behind others in their buffers, so that every offset is other than 0.
func someTable(t testing.TB, r *rand.Rand, rows int, types ...arrow.DataType) arrow.RecordBatch {
	t.Helper()
	const before = 3
	var fields []arrow.Field
	var columns []arrow.Array
	for i, dt := range types {
		b := array.NewBuilder(memory.DefaultAllocator, dt)
		m := someMaker(r)
		for range rows + before {
			m.append(b, true)
		}
		a := b.NewArray()
		b.Release()
		columns = append(columns, array.NewSlice(a, before, int64(rows+before)))
		a.Release()
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: dt, Nullable: true})
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(rows))
	for _, a := range columns {
		a.Release()
	}
	t.Cleanup(rec.Release)
	return rec
}

// someProperties vary what decides over pages: their size, the dictionary's limit, the codec.
func someProperties(r *rand.Rand) *parquet.WriterProperties {
	codecs := []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Lz4Raw, compress.Codecs.Uncompressed, compress.Codecs.Gzip, compress.Codecs.Brotli}
	return parquet.NewWriterProperties(
		parquet.WithCompression(codecs[r.IntN(len(codecs))]), parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithDataPageSize([]int64{100, 5000, 1 << 20}[r.IntN(3)]), parquet.WithDictionaryPageSizeLimit([]int64{50, 4000, 1 << 20}[r.IntN(3)]),
		parquet.WithDictionaryDefault(r.IntN(4) > 0), parquet.WithPageIndexEnabled(r.IntN(4) > 0), parquet.WithStats(r.IntN(5) > 0),
	)
}

// written writes a table, cut into batches by the given function and into groups of the given rows.
func written(t testing.TB, rec arrow.RecordBatch, props *parquet.WriterProperties, group int64, batch func() int64) []byte {
	t.Helper()
	var out bytes.Buffer
	f, err := New(&out, rec.Schema(), props)
	if err != nil {
		t.Fatal(err)
	}
	for at, inGroup := int64(0), int64(0); at < rec.NumRows(); {
		n := min(batch(), rec.NumRows()-at, group-inGroup)
		part := rec.NewSlice(at, at+n)
		if err := f.Write(part); err != nil {
			t.Fatal(err)
		}
		part.Release()
		at += n
		if inGroup += n; inGroup == group {
			inGroup = 0
			if err := f.EndGroup(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// hidden makes some slots null at every level, and leaves what is in them: texts, elements, fields.
func hidden(r *rand.Rand, d arrow.ArrayData) arrow.ArrayData {
	buffers := append([]*memory.Buffer(nil), d.Buffers()...)
	var children []arrow.ArrayData
	for _, child := range d.Children() {
		if d.DataType().ID() != arrow.MAP { // its keys cannot be null
			child = hidden(r, child)
			defer child.Release()
		}
		children = append(children, child)
	}
	nulls := d.NullN()
	if d.DataType().ID() != arrow.NULL {
		bits := make([]byte, (d.Offset()+d.Len())/8+1)
		for i := range bits {
			bits[i] = byte(r.Uint32()) //nolint:gosec // random
		}
		buffers[0], nulls = memory.NewBufferBytes(bits), array.UnknownNullCount
	}
	return array.NewData(d.DataType(), d.Len(), buffers, children, nulls, d.Offset())
}
