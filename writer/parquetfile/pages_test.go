package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	arrowparquet "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// column is a batch of one column whose i-th value is appended by the given function.
func column(t *testing.T, dt arrow.DataType, rows int, add func(b array.Builder, i int)) arrow.RecordBatch {
	t.Helper()
	b := array.NewBuilder(memory.DefaultAllocator, dt)
	defer b.Release()
	for i := range rows {
		add(b, i)
	}
	a := b.NewArray()
	defer a.Release()
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil), []arrow.Array{a}, int64(rows))
	t.Cleanup(rec.Release)
	return rec
}

// indexOf is the column index of the only chunk, without pages if there is none.
func indexOf(t *testing.T, raw []byte) parquet.ColumnIndex {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.RowGroups()[0].ColumnChunks()[0].ColumnIndex()
	if errors.Is(err, parquet.ErrMissingColumnIndex) {
		return parquet.NewColumnIndex(parquet.ByteArray, &format.ColumnIndex{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func whole() int64 { return 1 << 40 }

func TestPagesEndAtTheSameRowsHoweverTheyCame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	rec := column(t, arrow.PrimitiveTypes.Int32, 60_000, func(b array.Builder, i int) { b.(*array.Int32Builder).Append(int32(i)) })
	for name, size := range map[string]int64{"by=bytes": 20_000, "by=rows": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			props := arrowparquet.NewWriterProperties(arrowparquet.WithDictionaryDefault(false), arrowparquet.WithDataPageSize(size), arrowparquet.WithPageIndexEnabled(true))
			want := written(t, rec, props, 60_000, whole)
			if got := written(t, rec, props, 60_000, func() int64 { return 1 + r.Int64N(1500) }); !bytes.Equal(got, want) {
				t.Error("the files differ")
			}
			if n := indexOf(t, want).NumPages(); n != map[string]int{"by=bytes": 12, "by=rows": 3}[name] {
				t.Errorf("%d pages", n)
			}
		})
	}
}

func TestEveryPageOfADictionaryKnowsItsOwnBounds(t *testing.T) {
	rec := column(t, arrow.BinaryTypes.String, 3*pageRows, func(b array.Builder, i int) {
		b.(*array.StringBuilder).Append(fmt.Sprintf("%c%d", 'c'-i/pageRows%2, i%5))
	})
	found := indexOf(t, written(t, rec, arrowparquet.NewWriterProperties(arrowparquet.WithPageIndexEnabled(true)), rec.NumRows(), whole))
	if found.NumPages() != 3 {
		t.Fatalf("%d pages are known", found.NumPages())
	}
	for i, want := range []string{"c0 c4", "b0 b4", "c0 c4"} {
		if got := fmt.Sprintf("%s %s", found.MinValue(i).ByteArray(), found.MaxValue(i).ByteArray()); got != want {
			t.Errorf("page %d: got %s, want %s", i, got, want)
		}
	}
}

func TestNaNIsInNoStatisticsAndAZeroIsBoth(t *testing.T) {
	nan, minus := math.NaN(), math.Copysign(0, -1)
	for name, c := range map[string]struct {
		values []float64
		want   string
	}{
		"only NaN":      {[]float64{nan, nan}, "none"},
		"NaN first":     {[]float64{nan, 2, 1}, "1 2"},
		"+0":            {[]float64{0, nan}, "-0 0"},
		"-0":            {[]float64{minus}, "-0 0"},
		"infinities":    {[]float64{math.Inf(1), nan, math.Inf(1)}, "+Inf +Inf"},
		"less infinity": {[]float64{math.Inf(-1)}, "-Inf -Inf"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := column(t, arrow.PrimitiveTypes.Float64, len(c.values), func(b array.Builder, i int) { b.(*array.Float64Builder).Append(c.values[i]) })
			found := indexOf(t, written(t, rec, arrowparquet.NewWriterProperties(arrowparquet.WithPageIndexEnabled(true)), 10, whole))
			got := "none"
			if found.NumPages() > 0 {
				got = fmt.Sprint(found.MinValue(0).Double(), found.MaxValue(0).Double())
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// dataEncodings are those of the only chunk's data pages, in order of their names.
func dataEncodings(t *testing.T, raw []byte) string {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	chunk, err := f.MetaData().RowGroup(0).ColumnChunk(0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, s := range chunk.EncodingStats() {
		if s.PageType.String() == "DATA_PAGE" {
			found = append(found, s.Encoding.String())
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestADictionaryHasToPay(t *testing.T) {
	const plain, numbered, both = "PLAIN", "RLE_DICTIONARY", "PLAIN RLE_DICTIONARY"
	firstTwice := func(i int) int { return max(i-1, 0) }
	for name, c := range map[string]struct {
		rows  int
		value func(i int) int
		want  string
	}{
		"few values, each once":     {uniqueValues - 1, func(i int) int { return i }, numbered},
		"many values, each once":    {uniqueValues, func(i int) int { return i }, plain},
		"many values, one twice":    {2 * uniqueValues, firstTwice, numbered},
		"more values, one twice":    {2 * triedValues, firstTwice, both},
		"more values, many twice":   {2 * triedValues, func(i int) int { return i * 7 / 10 }, numbered},
		"each once but first often": {2 * triedValues, func(i int) int { return max(i-triedValues, 0) }, numbered},
	} {
		for kind, dt := range map[string]arrow.DataType{"numbers": arrow.PrimitiveTypes.Int64, "texts": arrow.BinaryTypes.String} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				rec := column(t, dt, c.rows, func(b array.Builder, i int) {
					switch b := b.(type) {
					case *array.Int64Builder:
						b.Append(int64(c.value(i)) << 32)
					case *array.StringBuilder:
						b.Append(fmt.Sprint(c.value(i)))
					}
				})
				raw := written(t, rec, arrowparquet.NewWriterProperties(), rec.NumRows(), func() int64 { return 777 })
				if got := dataEncodings(t, raw); got != c.want {
					t.Errorf("the pages are %s, want %s", got, c.want)
				}
				sameAsRead(t, raw, rec)
			})
		}
	}
}
