package filter

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func TestLowWordsAreTwosComplement(t *testing.T) {
	least := new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 127))
	if got := toDecimal128(least); got.BigInt().Cmp(least) != 0 {
		t.Errorf("128 bits: %v", got.BigInt())
	}
	least.Neg(new(big.Int).Lsh(big.NewInt(1), 255))
	if got := toDecimal256(least); got.BigInt().Cmp(least) != 0 {
		t.Errorf("256 bits: %v", got.BigInt())
	}
	for _, v := range []int64{0, 1, -1, 1 << 62, -1 << 62} {
		n := big.NewInt(v)
		if toDecimal128(n).BigInt().Cmp(n) != 0 || toDecimal256(n).BigInt().Cmp(n) != 0 {
			t.Errorf("%d", v)
		}
	}
}

func TestBitmapWordReadsAnyOffsetOfAShortBitmap(t *testing.T) {
	g := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		bitmap := make([]byte, 1+g.IntN(20))
		for i := range bitmap {
			bitmap[i] = byte(g.Uint32())
		}
		bits := len(bitmap) * 8
		at := g.IntN(bits)
		end := at + 1 + g.IntN(bits-at)
		got := bitmapWord(bitmap, at, end)
		for i := at; i < end && i < at+64; i++ {
			if want := bitmap[i/8]>>(i%8)&1 == 1; got>>(i-at)&1 == 1 != want {
				t.Fatalf("bit %d of %x from %d to %d", i, bitmap, at, end)
			}
		}
	}
}

// BenchmarkEval runs one term over a batch as scan makes them (65,536 rows, one
// in ten null). B/s counts the column's values.
func BenchmarkEval(b *testing.B) {
	const rows = 65536
	langs := []string{"en", "zh-cn", "de", "fr", "en-us", "es"}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint(i*7))
	}
	below := func(n int) func(g *rand.Rand) string {
		return func(g *rand.Rand) string { return fmt.Sprint(g.IntN(n)) }
	}
	over := func(least float64) func(v string) bool {
		return func(v string) bool { n, err := strconv.ParseFloat(v, 64); return err == nil && n > least }
	}
	oneOf := func(g *rand.Rand) string { return langs[g.IntN(len(langs))] }
	for _, c := range []struct {
		name, filter string
		typ          arrow.DataType
		value        func(g *rand.Rand) string
		keeps        func(v string) bool
	}{
		{"type=int64/op=range", `[["c",">",500]]`, arrow.PrimitiveTypes.Int64, below(1000), over(500)},
		{"type=int32/op=range", `[["c",">",500]]`, arrow.PrimitiveTypes.Int32, below(1000), over(500)},
		{"type=int64/op=in-1000", `[["c","in",[` + strings.Join(many, ",") + `]]]`, arrow.PrimitiveTypes.Int64, below(7000), func(v string) bool { return slices.Contains(many, v) }},
		{"type=float64/op=range", `[["c",">",0.5]]`, arrow.PrimitiveTypes.Float64, func(g *rand.Rand) string { return fmt.Sprint(g.Float64()) }, over(0.5)},
		{"type=float32/op=range", `[["c",">",0.5]]`, arrow.PrimitiveTypes.Float32, func(g *rand.Rand) string { return fmt.Sprint(g.Float32()) }, over(0.5)},
		{"type=decimal128/op=range", `[["c",">","5.00"]]`, &arrow.Decimal128Type{Precision: 10, Scale: 2}, func(g *rand.Rand) string { return fmt.Sprint(g.IntN(10)) + ".50" }, over(5)},
		{
			"type=timestamp/op=range", `[["c",">","1970-01-01T00:00:00.000500"]]`, &arrow.TimestampType{Unit: arrow.Microsecond},
			func(g *rand.Rand) string { return fmt.Sprintf("1970-01-01T00:00:00.%06d", g.IntN(1000)) }, func(v string) bool { return v > "1970-01-01T00:00:00.000500" },
		},
		{"type=bool/op=equal", `[["c","=",true]]`, arrow.FixedWidthTypes.Boolean, func(g *rand.Rand) string { return fmt.Sprint(g.IntN(2) == 1) }, func(v string) bool { return v == "true" }},
		{"type=string/op=equal", `[["c","=","zh-cn"]]`, arrow.BinaryTypes.String, oneOf, func(v string) bool { return v == "zh-cn" }},
		{"type=string/op=range", `[["c",">","en"]]`, arrow.BinaryTypes.String, oneOf, func(v string) bool { return v > "en" }},
		{"type=string/op=in-3", `[["c","in",["zh-cn","de","fr"]]]`, arrow.BinaryTypes.String, oneOf, func(v string) bool { return v == "zh-cn" || v == "de" || v == "fr" }},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := rand.New(rand.NewPCG(4, 4))
			builder := array.NewBuilder(memory.DefaultAllocator, c.typ)
			defer builder.Release()
			want := 0
			for range rows {
				if g.IntN(10) == 0 {
					builder.AppendNull()
					continue
				}
				v := c.value(g)
				if err := builder.AppendValueFromString(v); err != nil {
					b.Fatal(err)
				}
				if c.keeps(v) {
					want++
				}
			}
			arr := builder.NewArray()
			defer arr.Release()
			benchmarkTerm(b, arr, c.filter, want)
		})
	}
}

func benchmarkTerm(b *testing.B, arr arrow.Array, filter string, want int) {
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: arr.DataType(), Nullable: true}}, nil), []arrow.Array{arr}, int64(arr.Len()))
	defer rec.Release()
	bound, err := mustParse(b, filter).Bind(rec.Schema(), PyArrow)
	if err != nil {
		b.Fatal(err)
	}
	bytes := 0
	for _, buf := range arr.Data().Buffers()[1:] {
		bytes += buf.Len()
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		got, err := bound.Eval(context.Background(), rec, memory.DefaultAllocator)
		if err != nil {
			b.Fatal(err)
		}
		if kept := bitutil.CountSetBits(got.Data().Buffers()[1].Bytes(), 0, got.Len()); kept != want {
			b.Fatalf("%d rows are kept, want %d", kept, want)
		}
		got.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(arr.Len()), "ns/row")
}
