package scan

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source"
)

// suddenlyLarge is rows of a few bytes, then some of sizes bytes, then small ones.
func suddenlyLarge(small, large, size int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "images", Type: arrow.ListOf(arrow.BinaryTypes.Binary), Nullable: true},
	}, nil))
	defer b.Release()
	images := b.Field(2).(*array.ListBuilder)
	for i := range 2*small + large {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		text, image := fmt.Sprint("row ", i), []byte{byte(i)}
		if i >= small && i < small+large {
			text, image = strings.Repeat(text+" ", size/len(text)), bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
		}
		b.Field(1).(*array.StringBuilder).Append(text)
		images.Append(true)
		images.ValueBuilder().(*array.BinaryBuilder).Append(image)
	}
	return b.NewRecordBatch()
}

func TestAStepThatDoesNotFitIntoMemoryIsHalvedDownToOneRow(t *testing.T) {
	rec := suddenlyLarge(3000, 400, 30_000)
	data := write(t, rec, 10_000, parquet.WithBatchSize(16), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(256<<10))
	for name, c := range map[string]struct {
		filter string
		keep   func(i int) bool
	}{
		"without a filter":           {"", func(int) bool { return true }},
		"filter on a small column":   {`[["id","<",3400]]`, func(i int) bool { return i < 3400 }},
		"filter on the large column": {`[["text",">","row 2"]]`, func(i int) bool { return fmt.Sprint("row ", i) > "row 2" }},
		"filter with gaps":           {`[["id","not in",[3000,3002,3004,3006,3008,3010]]]`, func(i int) bool { return i < 3000 || i > 3010 || i%2 == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			q := Query{BatchRows: 5000}
			want := pickRows(t, rec, c.keep)
			if c.filter != "" {
				q.Filters = mustFilter(t, c.filter)
			}
			for _, part := range []struct{ skip, end int64 }{{0, want.NumRows()}, {3007, 3111}} {
				end := min(part.end, want.NumRows())
				task := Task{Query: q, Skip: part.skip, Limit: part.end, stepBytes: 4 << 20}
				sameRows(t, mustRead(t, data, task), want.NewSlice(min(part.skip, end), end))
			}
		})
	}
}

func TestARowThatDoesNotFitIntoMemoryIsAnError(t *testing.T) {
	// One by one, or because they share a page.
	for _, rec := range []arrow.RecordBatch{suddenlyLarge(100, 1, 3<<20), suddenlyLarge(3000, 300, 30_000)} {
		tooLarge(t, write(t, rec, 5000))
	}
}

func tooLarge(t *testing.T, data []byte) {
	t.Helper()
	for _, f := range []string{"", `[["text","!=","x"]]`, `[["id",">=",0]]`} {
		q := Query{}
		if f != "" {
			q.Filters = mustFilter(t, f)
		}
		_, _, err := read(t, data, Task{Query: q, Limit: -1, stepBytes: 4 << 20})
		if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "4 MiB at once") {
			t.Errorf("filter %q: %v", f, err)
		}
	}
}
