package scan

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

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

// resumed is a filtered portion that is given up behind its first pieces, and taken
// up again where the consumer then was, each time with another bound on memory.
type resumed struct {
	data        []byte
	ft          *Footer
	query       Query
	begin       progress
	first, then int64 // bytes of a step
	pieces      int   // that come before it is given up
}

// run gives the ids that came, and how many pieces.
func (r resumed) run(t *testing.T) (ids []int64, pieces int) {
	t.Helper()
	at, stop := r.begin, errors.New("given up")
	for i, step := range []int64{r.first, r.then} {
		task := Task{File: testFile, Reader: &bytesReader{data: r.data}, Footer: r.ft, Query: r.query, Limit: -1, stepBytes: step}
		if err := task.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		plan, err := newLayout(r.ft, r.query, task.Out)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorker(t.Context(), &task, plan, newProspector(&task, plan))
		left := r.pieces
		if i > 0 {
			left = -1 // to the end
		}
		_, err = w.run(t.Context(), portion{rows: rows{0, r.ft.GroupRows(0)}}, at, func(p piece) error {
			defer p.batch.Release()
			if left == 0 {
				return stop
			}
			left--
			pieces++
			at = p.next
			ids = append(ids, p.batch.Column(0).(*array.Int64).Int64Values()...)
			return nil
		})
		w.close()
		if err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
		if err == nil {
			break
		}
	}
	return ids, pieces
}

func TestAWindowTakenUpAgainWithAnotherNumberOfRowsGivesEachRowOnce(t *testing.T) {
	// The filter looks at 2,000 bytes a row: of the first window of 1,024 rows a
	// small step has a quarter.
	const n, large, small = 1500, 64 << 20, 1 << 20
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String},
	}, nil))
	defer b.Release()
	var kept []int64
	for i := range int64(n) {
		b.Field(0).(*array.Int64Builder).Append(i)
		text := strings.Repeat("x", 2000)
		if i%7 == 3 || i >= 200 && i < 230 {
			text = "left out " + text
		} else {
			kept = append(kept, i)
		}
		b.Field(1).(*array.StringBuilder).Append(text)
	}
	data := write(t, b.NewRecordBatch(), n, parquet.WithCompression(compress.Codecs.Snappy), parquet.WithBatchSize(16), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(64<<10))
	r := resumed{data: data, ft: footer(t, data), query: Query{
		Columns: []source.Column{source.Col("id")}, Filters: mustFilter(t, `[["text",">=","x"]]`), BatchRows: 200, BatchBytes: 64 << 20,
	}}
	for _, from := range []progress{{take: -1}, {skip: 150, take: -1}, {skip: 30, take: 1000}} {
		want := kept[from.skip:]
		if from.take >= 0 {
			want = want[:from.take]
		}
		for _, steps := range [][2]int64{{large, small}, {small, large}} {
			r.begin, r.first, r.then = from, steps[0], steps[1]
			for all := 2; r.pieces < all; r.pieces++ {
				var got []int64
				if got, all = r.run(t); !slices.Equal(got, want) {
					t.Fatalf("%+v, given up behind %d pieces of steps of %v: %d rows, want %d", from, r.pieces, steps, len(got), len(want))
				}
			}
			if r.pieces < 5 {
				t.Errorf("only %d places to give up", r.pieces)
			}
			r.pieces = 0
		}
	}
}
