package scan

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/parquet-go/parquet-go"
)

// chatRow is a row of the shape that matters most, as parquet-go writes it.
type chatRow struct {
	ID            int64     `parquet:"id"`
	Conversations []turn    `parquet:"conversations,list"`
	Label         *string   `parquet:"label,optional,dict"`
	Score         float64   `parquet:"score,split"`
	At            time.Time `parquet:"at,timestamp(microsecond)"`
}

type turn struct {
	From  string `parquet:"from,dict"`
	Value string `parquet:"value"`
}

// TestFilesOfParquetGoAreReadAsTheyWereWritten: another writer of the Go world,
// with its own page sizes, encodings and always a page index.
func TestFilesOfParquetGoAreReadAsTheyWereWritten(t *testing.T) {
	rows := make([]chatRow, 1000)
	for i := range rows {
		rows[i] = chatRow{ID: int64(i), Score: float64(i) / 8, At: time.UnixMicro(1_700_000_000_000_000 + int64(i)).UTC()}
		for k := range i % 4 {
			rows[i].Conversations = append(rows[i].Conversations, turn{From: []string{"human", "gpt"}[k%2], Value: fmt.Sprintf("text %d of row %d", k, i)})
		}
		if i%7 != 0 {
			label := fmt.Sprintf("label %d", i%5)
			rows[i].Label = &label
		}
	}
	for name, options := range map[string][]parquet.WriterOption{
		"snappy, V1 pages": {parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1)},
		"zstd, V2 pages":   {parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(2)},
		"small pages":      {parquet.PageBufferSize(512)},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			w := parquet.NewGenericWriter[chatRow](&file, append(options, parquet.MaxRowsPerRowGroup(300))...)
			if _, err := w.Write(rows); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			sameChat(t, file.Bytes(), Query{}, rows)
			sameChat(t, file.Bytes(), Query{Filters: mustFilter(t, `[["id",">=",450],["label","=","label 3"]]`)}, wanted(rows))
		})
	}
}

func wanted(rows []chatRow) []chatRow {
	var out []chatRow
	for _, r := range rows {
		if r.ID >= 450 && r.Label != nil && *r.Label == "label 3" {
			out = append(out, r)
		}
	}
	return out
}

func sameChat(t *testing.T, data []byte, q Query, want []chatRow) {
	t.Helper()
	got := mustRead(t, data, Task{Query: q, Limit: -1})
	if got.NumRows() != int64(len(want)) {
		t.Fatalf("%d rows, want %d", got.NumRows(), len(want))
	}
	column := func(name string) int { return got.Schema().FieldIndices(name)[0] }
	ids := got.Column(column("id")).(*array.Int64)
	scores := got.Column(column("score")).(*array.Float64)
	labels := got.Column(column("label")).(*array.String)
	times := got.Column(column("at")).(*array.Timestamp)
	lists := got.Column(column("conversations")).(*array.List)
	turns := lists.ListValues().(*array.Struct)
	from, value := turns.Field(0).(*array.String), turns.Field(1).(*array.String)
	for i, row := range want {
		if ids.Value(i) != row.ID || scores.Value(i) != row.Score || int64(times.Value(i)) != row.At.UnixMicro() {
			t.Fatalf("row %d: id %d, score %v, at %d; want %+v", i, ids.Value(i), scores.Value(i), times.Value(i), row)
		}
		if labels.IsNull(i) != (row.Label == nil) || (row.Label != nil && labels.Value(i) != *row.Label) {
			t.Fatalf("row %d: label %q", i, labels.Value(i))
		}
		start, end := lists.ValueOffsets(i)
		if int(end-start) != len(row.Conversations) {
			t.Fatalf("row %d: %d turns, want %d", i, end-start, len(row.Conversations))
		}
		for k, turn := range row.Conversations {
			if at := int(start) + k; from.Value(at) != turn.From || value.Value(at) != turn.Value {
				t.Fatalf("row %d, turn %d: %q %q, want %+v", i, k, from.Value(at), value.Value(at), turn)
			}
		}
	}
}
