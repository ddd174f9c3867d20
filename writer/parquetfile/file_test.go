package parquetfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	arrowparquet "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/parquet-go/parquet-go"
)

// cases is how many tables are made: few in CI, many at night.
func cases(t *testing.T, few int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_ENCODER_CASES")); err == nil {
		return n
	}
	return few
}

// readBack reads a file with the Arrow library, as the text of its values.
func readBack(t *testing.T, raw []byte) [][]string {
	t.Helper()
	pf, err := file.NewParquetReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Release()
	out := make([][]string, tab.NumCols())
	for i := range out {
		for _, a := range tab.Column(i).Data().Chunks() {
			out[i] = append(out[i], shown(a)...)
		}
	}
	return out
}

// shown are the values of an array, each as one text.
func shown(a arrow.Array) []string {
	out := make([]string, a.Len())
	for i := range out {
		if a.IsNull(i) {
			out[i] = "null"
			continue
		}
		switch a := a.(type) {
		case *array.Float64: // JSON has no NaN
			out[i] = fmt.Sprint(a.Value(i))
		case *array.Float32:
			out[i] = fmt.Sprint(a.Value(i))
		case *array.Float16:
			out[i] = fmt.Sprint(a.Value(i).Float32())
		case *array.Struct:
			for f := range a.NumField() {
				part := array.NewSlice(a.Field(f), int64(i), int64(i)+1)
				out[i] += "{" + shown(part)[0] + "}"
				part.Release()
			}
		case array.ListLike:
			lo, hi := a.ValueOffsets(i)
			part := array.NewSlice(a.ListValues(), lo, hi)
			out[i] = fmt.Sprint(shown(part))
			part.Release()
		case *array.Time32:
			out[i] = a.Value(i).FormattedString(a.DataType().(*arrow.Time32Type).Unit)
			if len(out[i]) == len("00:00:00") {
				out[i] += ".000"
			}
		default:
			raw, err := json.Marshal(a.GetOneForMarshal(i))
			if err != nil {
				panic(err)
			}
			out[i] = string(raw)
		}
	}
	return out
}

func TestWhatIsWrittenIsReadBackWhateverTheTypeAndThePages(t *testing.T) {
	for seed := range uint64(cases(t, 30)) { //nolint:gosec // few
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			types := []arrow.DataType{leafTypes[int(seed)%len(leafTypes)], someType(r, 3), someType(r, 2)} //nolint:gosec // as above
			rec := someTable(t, r, 1+r.IntN(1500), types...)
			props := someProperties(r)
			raw := written(t, rec, props, 1+r.Int64N(1200), func() int64 { return 1 + r.Int64N(400) })
			got := readBack(t, raw)
			for i, column := range rec.Columns() {
				want := shown(column)
				if len(got[i]) != len(want) {
					t.Fatalf("column %d, %s: %d rows, want %d", i, types[i], len(got[i]), len(want))
				}
				for row := range want {
					if got[i][row] != want[row] {
						t.Fatalf("column %d, %s, row %d: got %.200s, want %.200s", i, types[i], row, got[i][row], want[row])
					}
				}
			}
			if props.Compression() != compress.Codecs.Lz4Raw { // which the library that reads single pages gets wrong
				checkPages(t, raw, props)
			}
		})
	}
}

// checkPages reads every page with the other library and compares it with what the indexes and the statistics say.
func checkPages(t *testing.T, raw []byte, props *arrowparquet.WriterProperties) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range f.RowGroups() {
		for _, chunk := range group.ColumnChunks() {
			columns, columnErr := chunk.ColumnIndex()
			if columnErr != nil || columns.NumPages() == 0 {
				columns = nil
			}
			offsets, offsetErr := chunk.OffsetIndex()
			if offsetErr != nil || offsets.NumPages() == 0 {
				offsets = nil
			}
			if (offsets != nil) != props.PageIndexEnabled() || columns != nil && (offsets == nil || !props.StatisticsEnabled()) {
				t.Fatalf("column %d has an offset index: %v, a column index: %v", chunk.Column(), offsets != nil, columns != nil)
			}
			if err := checkChunk(chunk, columns, offsets); err != nil {
				t.Fatalf("column %d, %s: %v", chunk.Column(), chunk.Type(), err)
			}
		}
	}
}

func checkChunk(chunk parquet.ColumnChunk, columns parquet.ColumnIndex, offsets parquet.OffsetIndex) error {
	pages := chunk.Pages()
	defer func() { _ = pages.Close() }()
	rows, n := int64(0), 0
	for ; ; n++ {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		values := make([]parquet.Value, page.NumValues())
		if got, err := page.Values().ReadValues(values); got != len(values) || err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("page %d: %d of %d values, %w", n, got, len(values), err)
		}
		if offsets != nil && offsets.FirstRowIndex(n) != rows {
			return fmt.Errorf("page %d begins with row %d, not %d", n, rows, offsets.FirstRowIndex(n))
		}
		if values[0].RepetitionLevel() != 0 {
			return fmt.Errorf("page %d begins within a row", n)
		}
		rows += page.NumRows()
		if err := checkBounds(chunk.Type(), values, columns, n); err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
		parquet.Release(page)
	}
	if offsets != nil && offsets.NumPages() != n || columns != nil && columns.NumPages() != n {
		return fmt.Errorf("%d pages, not as many as in the index", n)
	}
	return nil
}

func checkBounds(kind parquet.Type, values []parquet.Value, columns parquet.ColumnIndex, n int) error {
	if columns == nil {
		return nil
	}
	var low, high parquet.Value
	nulls, comparable := int64(0), 0
	for _, v := range values {
		switch {
		case v.IsNull():
			nulls++
			continue
		case v.Kind() == parquet.Double && v.Double() != v.Double(), v.Kind() == parquet.Float && v.Float() != v.Float():
			continue
		}
		if comparable++; comparable == 1 {
			low, high = v, v
		}
		if kind.Compare(v, low) < 0 {
			low = v
		}
		if kind.Compare(v, high) > 0 {
			high = v
		}
	}
	if columns.NullCount(n) != nulls || columns.NullPage(n) != (nulls == int64(len(values))) {
		return fmt.Errorf("%d nulls of %d, but the index says %d", nulls, len(values), columns.NullCount(n))
	}
	if text := kind.String(); kind.Kind() == parquet.FixedLenByteArray && (strings.HasPrefix(text, "DECIMAL") || kind.Length() == 2) {
		return nil // which that library does not order
	}
	if comparable > 0 && (kind.Compare(low, columns.MinValue(n)) != 0 || kind.Compare(high, columns.MaxValue(n)) != 0) {
		return fmt.Errorf("values from %v to %v, but the index says %v to %v", low, high, columns.MinValue(n), columns.MaxValue(n))
	}
	return nil
}

func TestAFileDoesNotDependOnHowItsRowsCame(t *testing.T) {
	for seed := range uint64(cases(t, 6)) { //nolint:gosec // few
		r := rand.New(rand.NewPCG(seed, 2))
		types := []arrow.DataType{leafTypes[r.IntN(len(leafTypes))], leafTypes[r.IntN(len(leafTypes))], someType(r, 2)}
		rec := someTable(t, r, 1+r.IntN(4000), types...)
		props := someProperties(r)
		whole := written(t, rec, props, 3000, func() int64 { return 1 << 40 })
		for range 3 {
			if parts := written(t, rec, props, 3000, func() int64 { return 1 + r.Int64N(1500) }); !bytes.Equal(parts, whole) {
				t.Fatalf("seed %d, %v: %d bytes in parts, %d as a whole", seed, types, len(parts), len(whole))
			}
		}
	}
}

func TestWhatLiesBehindNullsIsNotWritten(t *testing.T) {
	for seed := range uint64(cases(t, 20)) { //nolint:gosec // few
		r := rand.New(rand.NewPCG(seed, 4))
		dt := someType(r, 3)
		plain := someTable(t, r, 200, dt)
		data := hidden(r, plain.Column(0).Data())
		column := array.MakeFromData(data)
		data.Release()
		rec := array.NewRecordBatch(plain.Schema(), []arrow.Array{column}, plain.NumRows())
		column.Release()
		got := readBack(t, written(t, rec, someProperties(r), 150, func() int64 { return 1 + r.Int64N(90) }))[0]
		for row, want := range shown(rec.Column(0)) {
			if got[row] != want {
				t.Fatalf("seed %d, %s, row %d: got %.200s, want %.200s", seed, dt, row, got[row], want)
			}
		}
		rec.Release()
	}
}
