package column_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source/scan/column"
)

func TestShortSpansReadNoPageThatNoneOfThemTakesARowOf(t *testing.T) {
	const rows, pageRows = 1600, 16
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil))
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	o := open(t, written{pageBytes: 1, indexed: true}.write(t, rec, nil))
	f, err := o.field(&o.manifest.Fields[0], 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Leaf.Pages) != rows/pageRows {
		t.Fatalf("%d pages", len(f.Leaf.Pages))
	}
	// Eight single rows of every fourth page.
	var spans []column.Span
	var want []int64
	wanted, at := int64(0), int64(0)
	for page := 0; page < len(f.Leaf.Pages); page += 4 {
		wanted += int64(f.Leaf.Pages[page].Size)
		for k := range int64(8) {
			row := f.Leaf.Pages[page].FirstRow + 2*k
			spans = append(spans, column.Span{Skip: row - at, Take: 1})
			want = append(want, row)
			at = row + 1
		}
	}
	source := &chunkBytes{file: o.data}
	f.Leaf.Source = source
	r, err := column.NewReader(f, column.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d, err := r.Read(spans)
	if err != nil {
		t.Fatal(err)
	}
	got := array.NewInt64Data(d)
	d.Release()
	defer got.Release()
	for i, row := range want {
		if got.Value(i) != row {
			t.Fatalf("value %d is %d, not %d", i, got.Value(i), row)
		}
	}
	if source.asked > wanted {
		t.Errorf("%d bytes were asked for; the pages with rows that are taken have %d", source.asked, wanted)
	}
}
