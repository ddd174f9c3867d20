package scan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// flatSchema has a leaf of nearly every type that a Parquet file may hold.
func flatSchema() *arrow.Schema {
	null := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	return arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		null("i8", arrow.PrimitiveTypes.Int8), null("i16", arrow.PrimitiveTypes.Int16), null("i32", arrow.PrimitiveTypes.Int32),
		null("u8", arrow.PrimitiveTypes.Uint8), null("u16", arrow.PrimitiveTypes.Uint16),
		null("u32", arrow.PrimitiveTypes.Uint32), null("u64", arrow.PrimitiveTypes.Uint64),
		null("f16", arrow.FixedWidthTypes.Float16), null("f32", arrow.PrimitiveTypes.Float32), null("f64", arrow.PrimitiveTypes.Float64),
		null("b", arrow.FixedWidthTypes.Boolean), null("s", arrow.BinaryTypes.String), null("ls", arrow.BinaryTypes.LargeString),
		null("bin", arrow.BinaryTypes.Binary), null("fsb", &arrow.FixedSizeBinaryType{ByteWidth: 3}),
		null("d32", arrow.FixedWidthTypes.Date32), null("t32", arrow.FixedWidthTypes.Time32ms), null("t64", arrow.FixedWidthTypes.Time64us),
		null("tms", &arrow.TimestampType{Unit: arrow.Millisecond}), null("tns", &arrow.TimestampType{Unit: arrow.Nanosecond}),
		null("tz", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/Berlin"}),
		null("dec", &arrow.Decimal128Type{Precision: 20, Scale: 3}),
	}, nil)
}

// flatBatch is n rows; id counts from 0, every value follows from it.
func flatBatch(n int) arrow.RecordBatch {
	schema := flatSchema()
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i := range n {
		for c, f := range b.Fields() {
			if c > 0 && (i+c)%7 == 0 {
				f.AppendNull()
				continue
			}
			appendValue(f, i)
		}
	}
	return b.NewRecordBatch()
}

func appendValue(b array.Builder, i int) {
	switch b := b.(type) {
	case *array.Int64Builder:
		b.Append(int64(i))
	case *array.Int8Builder:
		b.Append(int8(i))
	case *array.Int16Builder:
		b.Append(int16(i * 31))
	case *array.Int32Builder:
		b.Append(int32(i * 1001))
	case *array.Uint8Builder:
		b.Append(uint8(i))
	case *array.Uint16Builder:
		b.Append(uint16(i * 7))
	case *array.Uint32Builder:
		b.Append(uint32(i) * 2654435761)
	case *array.Uint64Builder:
		b.Append(uint64(i) * 11400714819323198485)
	case *array.Float16Builder:
		b.Append(float16.New(float32(i%100) / 4))
	case *array.Float32Builder:
		b.Append(float32(i) / 3)
	case *array.Float64Builder:
		b.Append(math.Sqrt(float64(i)))
	case *array.BooleanBuilder:
		b.Append(i%3 == 0)
	case *array.StringBuilder:
		b.Append(fmt.Sprintf("text %d", i%50))
	case *array.LargeStringBuilder:
		b.Append(fmt.Sprintf("large %d", i))
	case *array.BinaryBuilder:
		b.Append([]byte{byte(i), byte(i >> 8)})
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte{1, byte(i), byte(i >> 8)})
	case *array.Date32Builder:
		b.Append(arrow.Date32(i - 1000))
	case *array.Time32Builder:
		b.Append(arrow.Time32(i * 1000))
	case *array.Time64Builder:
		b.Append(arrow.Time64(i * 1000))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp((i - 500) * 1_000_001))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(int64(i-100) * 1001))
	default:
		panic(fmt.Sprintf("no value for %T", b))
	}
}

// nestedSchema is the shape of chat data sets, and some worse ones.
func nestedSchema() *arrow.Schema {
	str := arrow.BinaryTypes.String
	turn := arrow.StructOf(arrow.Field{Name: "from", Type: str, Nullable: true}, arrow.Field{Name: "value", Type: str, Nullable: true})
	deep := arrow.StructOf(
		arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		arrow.Field{Name: "y", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
		arrow.Field{Name: "z", Type: arrow.StructOf(arrow.Field{Name: "q", Type: str, Nullable: true}, arrow.Field{Name: "r", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}), Nullable: true},
	)
	return arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "conversations", Type: arrow.ListOf(turn), Nullable: true},
		{Name: "deep", Type: deep, Nullable: true},
		{Name: "m", Type: arrow.MapOf(str, arrow.PrimitiveTypes.Int32), Nullable: true},
		{Name: "ll", Type: arrow.ListOf(arrow.ListOf(str)), Nullable: true},
		{Name: "fixed", Type: arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16), Nullable: true},
		{Name: "large", Type: arrow.LargeListOfField(arrow.Field{Name: "element", Type: arrow.PrimitiveTypes.Int16, Nullable: true}), Nullable: true},
	}, nil)
}

func nestedBatch(n int, seed uint64) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := array.NewRecordBuilder(memory.NewGoAllocator(), nestedSchema())
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		for _, f := range b.Fields()[1:] {
			appendRandom(f, rng)
		}
	}
	return b.NewRecordBatch()
}

func appendRandom(b array.Builder, rng *rand.Rand) {
	// The writer refuses null fixed-size lists; pyarrow's, with nulls, are in the
	// comparison with pyarrow.
	if _, fixed := b.(*array.FixedSizeListBuilder); !fixed && rng.IntN(6) == 0 {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(b.FieldBuilder(i), rng)
		}
	case *array.MapBuilder:
		b.Append(true)
		for i := range rng.IntN(4) {
			b.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint(i))
			appendRandom(b.ItemBuilder(), rng)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range 2 {
			appendRandom(b.ValueBuilder(), rng)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(b.ValueBuilder(), rng)
		}
	case *array.LargeListBuilder:
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(b.ValueBuilder(), rng)
		}
	default:
		appendValue(b, rng.IntN(1000))
	}
}

func nestedFile(t testing.TB) []byte { return write(t, nestedBatch(3000, 7), 400) }
