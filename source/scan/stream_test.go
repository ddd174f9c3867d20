package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

func TestEveryTypeComesBackAsItWasWritten(t *testing.T) {
	for name, batch := range map[string]arrow.RecordBatch{"flat": flatBatch(800), "nested": nestedBatch(800, 3)} {
		for _, group := range []int64{1, 100, 1 << 20} {
			for _, codec := range []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd} {
				if group == 1 && codec == compress.Codecs.Zstd {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d/%s", name, group, codec), func(t *testing.T) {
					rows := batch
					if group == 1 {
						rows = batch.NewSlice(0, 60)
					}
					data := write(t, rows, group, parquet.WithCompression(codec), parquet.WithDataPageVersion(parquet.DataPageV2))
					got, _, err := read(t, data, Task{Limit: -1})
					if err != nil {
						t.Fatal(err)
					}
					if !got.Schema().Equal(footer(t, data).Schema()) && name == "flat" {
						t.Errorf("stream schema %s, footer's %s", got.Schema(), footer(t, data).Schema())
					}
					sameRows(t, got, rows)
				})
			}
		}
	}
}

func TestSkipIsExactAtEveryRow(t *testing.T) {
	for name, batch := range map[string]arrow.RecordBatch{"flat": flatBatch(40), "nested": nestedBatch(40, 5)} {
		data := write(t, batch, 9)
		ft := footer(t, data)
		for _, f := range []string{"", `[["id",">=",7],["id","not in",[20,21,33]]]`} {
			q := Query{BatchRows: 5}
			want := batch
			if f != "" {
				q.Filters = mustFilter(t, f)
				want = pickRows(t, batch, func(i int) bool { return i >= 7 && i != 20 && i != 21 && i != 33 })
			}
			for skip := int64(0); skip <= 42; skip++ {
				for _, limit := range []int64{-1, 14} {
					got := mustRead(t, data, Task{Footer: ft, Query: q, Skip: skip, Limit: limit})
					end := want.NumRows()
					if limit >= 0 {
						end = min(end, limit)
					}
					start := min(skip, end)
					if got.NumRows() != end-start {
						t.Fatalf("%s, filter %q, skip %d, limit %d: %d rows, want %d", name, f, skip, limit, got.NumRows(), end-start)
					}
					sameRows(t, got, want.NewSlice(start, end))
				}
			}
		}
	}
}

// pickRows copies the rows that keep names, one slice at a time.
func pickRows(t testing.TB, batch arrow.RecordBatch, keep func(i int) bool) arrow.RecordBatch {
	var parts []arrow.RecordBatch
	for i := range int(batch.NumRows()) {
		if keep(i) {
			parts = append(parts, batch.NewSlice(int64(i), int64(i)+1))
		}
	}
	return joinAll(t, batch.Schema(), parts)
}

// Pruning may only leave out what cannot match: for many filters, with and
// without statistics, the rows are those of the whole file evaluated row by row.
func TestPruningNeverChangesTheRows(t *testing.T) {
	batch := flatBatch(900)
	with := write(t, batch, 75)
	without := write(t, batch, 75, parquet.WithStats(false))
	ft, bare := footer(t, with), footer(t, without)
	pruned := 0
	for _, column := range []string{"id", "i8", "i16", "i32", "u8", "u16", "u32", "u64", "f16", "f32", "f64", "s", "ls", "bin", "d32", "tms", "tz", "dec"} {
		literals := []string{"0", "5", "-3", "1000", "99999999999"}
		switch column {
		case "s", "ls", "bin":
			literals = []string{`"text 7"`, `""`, `"large 2999"`, `"zzz"`}
		case "d32":
			literals = []string{`"1970-01-01"`, `"1971-06-01"`}
		case "tms":
			literals = []string{`"1970-01-01T00:00:00"`, `"1970-01-20T00:00:00"`}
		case "tz":
			literals = []string{`"1970-01-01T00:00:00Z"`, `"1970-01-01T00:20:00Z"`}
		}
		for _, op := range []string{"=", "!=", "<", "<=", ">", ">="} {
			for _, lit := range literals {
				q := Query{Filters: mustFilter(t, fmt.Sprintf(`[[%q,%q,%s]]`, column, op, lit)), Columns: []source.Column{source.Col("id"), source.Col(column)}}
				if column == "id" {
					q.Columns = q.Columns[:1]
				}
				all := make([]int, ft.NumRowGroups())
				for i := range all {
					all[i] = i
				}
				decisions, err := q.Prune(t.Context(), ft)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range decisions {
					if !d.Keep {
						pruned++
					}
				}
				want := mustRead(t, with, Task{Footer: ft, Query: q, Groups: all, Limit: -1})
				sameRows(t, mustRead(t, with, Task{Footer: ft, Query: q, Limit: -1}), want)
				sameRows(t, mustRead(t, without, Task{Footer: bare, Query: q, Limit: -1}), want)
			}
		}
	}
	if pruned < 300 {
		t.Errorf("only %d row groups were pruned: the statistics are not used", pruned)
	}
}

func TestFilterReadsOnlyWhatItNeeds(t *testing.T) {
	data := write(t, flatBatch(3000), 500)
	q := Query{Columns: []source.Column{source.Col("i32")}, Filters: mustFilter(t, `[["id","=",1234]]`)}
	ft := footer(t, data)
	decisions, err := q.Prune(t.Context(), ft)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range decisions {
		if d.Keep != (i == 2) || d.Rows != 500 || !d.Keep && d.Layer != LayerStatistics {
			t.Errorf("decision %+v", d)
		}
		if want := ft.chunks[i][0].len + ft.chunks[i][3].len; d.Bytes != want {
			t.Errorf("group %d: %d bytes, want %d", i, d.Bytes, want)
		}
	}
	got := mustRead(t, data, Task{Query: q, Limit: -1})
	if got.NumRows() != 1 || got.Column(0).(*array.Int32).Value(0) != 1234*1001 {
		t.Errorf("got %v", got)
	}
}

func TestRowsOnlyCountsWithoutColumns(t *testing.T) {
	data := write(t, flatBatch(3000), 500)
	for f, want := range map[string]int64{"": 3000, `[["id","<",777]]`: 777} {
		q := Query{RowsOnly: true}
		if f != "" {
			q.Filters = mustFilter(t, f)
		}
		got := mustRead(t, data, Task{Query: q, Limit: -1})
		if got.NumRows() != want || got.NumCols() != 0 {
			t.Errorf("filter %q: %d rows of %d columns, want %d of none", f, got.NumRows(), got.NumCols(), want)
		}
	}
}

func TestBatchesAreEarlyAndBounded(t *testing.T) {
	data := write(t, flatBatch(40_000), 20_000)
	_, batches, err := read(t, data, Task{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range batches {
		size := batchBytes(b, 0, b.NumRows())
		if i == 0 && b.NumRows() > firstRows {
			t.Errorf("the first batch has %d rows", b.NumRows())
		}
		if size >= 4<<20 || b.NumRows() > defaultBatchRows {
			t.Errorf("batch %d has %d rows and %d bytes", i, b.NumRows(), size)
		}
		if i > 0 && i < len(batches)-1 && size < defaultBatchBytes/4 {
			t.Errorf("batch %d has only %d bytes", i, size)
		}
	}
	_, batches, err = read(t, data, Task{Query: Query{BatchRows: 37}, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range batches {
		if b.NumRows() > 37 {
			t.Errorf("batch %d has %d rows", i, b.NumRows())
		}
	}
}

func TestTinyRowGroupsAreJoined(t *testing.T) {
	data := write(t, nestedBatch(1500, 1), 10)
	_, batches, err := read(t, data, Task{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) > 10 {
		t.Errorf("%d batches for 150 row groups of 10 rows", len(batches))
	}
}

func TestLargeValuesAreCutIntoRowsThatFit(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i := range 40 {
		b.Field(0).(*array.BinaryBuilder).Append(make([]byte, 700_000+i))
	}
	b.Field(0).(*array.BinaryBuilder).Append(make([]byte, 5<<20))
	data := write(t, b.NewRecordBatch(), 1000)
	_, batches, err := read(t, data, Task{Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for i, batch := range batches {
		rows += batch.NumRows()
		if size := batchBytes(batch, 0, batch.NumRows()); size >= 4<<20 && batch.NumRows() > 1 {
			t.Errorf("batch %d has %d rows and %d bytes", i, batch.NumRows(), size)
		}
	}
	if rows != 41 {
		t.Errorf("%d rows", rows)
	}
}

func TestStreamSchemaMayHoldMoreThanTheFile(t *testing.T) {
	batch := flatBatch(300)
	data := write(t, batch, 100)
	out := arrow.NewSchema([]arrow.Field{
		{Name: "missing", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
		{Name: "i8", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "u32", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "dec", Type: &arrow.Decimal256Type{Precision: 50, Scale: 3}, Nullable: true},
	}, nil)
	got := mustRead(t, data, Task{Out: out, Limit: -1})
	if got.Column(0).NullN() != 300 {
		t.Errorf("the missing column has %d nulls", got.Column(0).NullN())
	}
	for i, name := range []string{"i8", "u32", "s", "dec"} {
		at := batch.Schema().FieldIndices(name)[0]
		for row := range 300 {
			if g, w := got.Column(i+1).ValueStr(row), batch.Column(at).ValueStr(row); g != w {
				t.Fatalf("%s, row %d: %s, want %s", name, row, g, w)
			}
		}
	}
	wrong := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.PrimitiveTypes.Int32, Nullable: true}}, nil)
	if _, _, err := read(t, data, Task{Out: wrong, Limit: -1}); source.KindOf(err) != source.KindInvalid {
		t.Errorf("a string column as int32: %v", err)
	}
}

// What a file lacks is written by the encoder of streams like everything else: in
// every nesting of types, and where the lists that it would be in are all empty.
func TestWhatAFileLacksIsNullWhateverItsType(t *testing.T) {
	row := arrow.StructOf(field("have", arrow.PrimitiveTypes.Int8))
	empty := array.NewListBuilderWithField(memory.DefaultAllocator, field("element", row))
	defer empty.Release()
	for range 5 {
		empty.Append(true)
	}
	lists := empty.NewListArray()
	defer lists.Release()
	batch := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{field("lists", lists.DataType())}, nil), []arrow.Array{lists}, 5)
	defer batch.Release()
	data := write(t, batch, 5)
	types := []arrow.DataType{arrow.Null, arrow.FixedWidthTypes.Boolean, arrow.BinaryTypes.LargeString, &arrow.Decimal256Type{Precision: 50}}
	for range 2 {
		for _, typ := range types {
			types = append(types, arrow.ListOf(typ), arrow.LargeListOf(typ), arrow.FixedSizeListOf(2, typ), arrow.MapOf(arrow.BinaryTypes.String, typ), arrow.StructOf(field("inner", typ)))
		}
	}
	for _, typ := range types {
		out := arrow.NewSchema([]arrow.Field{field("lacked", typ), field("lists", arrow.ListOf(arrow.StructOf(field("have", arrow.PrimitiveTypes.Int8), field("lacked", typ))))}, nil)
		got, err := readBatches(data, Task{Footer: footer(t, data), Out: out, Limit: -1})
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %d batches, %v", typ, len(got), err)
		}
		if got[0].NumRows() != 5 || got[0].Column(0).NullN() != 5 || got[0].Column(1).NullN() != 0 {
			t.Errorf("%s: %v", typ, got[0])
		}
		if err := ipc.NewWriter(io.Discard, ipc.WithSchema(out)).Write(got[0]); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		releaseBatches(got)
	}
}

func TestAStructOfWhichAFileHasOnlyAMapIsNullWhereItIsThere(t *testing.T) {
	within := func(f arrow.Field) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{field("st", arrow.StructOf(field("x", arrow.PrimitiveTypes.Int8), field("inner", arrow.StructOf(f))))}, nil)
	}
	have := within(field("m", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int8)))
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, have, strings.NewReader(
		`[{"st":null},{"st":{"inner":null}},{"st":{"inner":{"m":null}}},{"st":{"inner":{"m":[{"key":"a","value":1},{"key":"b","value":2}]}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Release()
	got := mustRead(t, write(t, batch, 5), Task{Out: within(field("lacked", arrow.BinaryTypes.String)), Limit: -1})
	st := got.Column(0).(*array.Struct)
	inner := st.Field(1)
	for row, want := range [][2]bool{{false, false}, {true, false}, {true, true}, {true, true}} {
		if st.IsValid(row) != want[0] || st.IsValid(row) && inner.IsValid(row) != want[1] {
			t.Errorf("row %d: %s", row, st.ValueStr(row))
		}
	}
}

func TestAFixedSizeListThatIsNeverNullHasRoomInANullStruct(t *testing.T) {
	within := func(pair arrow.DataType) *arrow.Schema {
		inner := arrow.Field{Name: "inner", Type: arrow.StructOf(arrow.Field{Name: "pair", Type: pair})}
		return arrow.NewSchema([]arrow.Field{field("st", arrow.StructOf(inner))}, nil)
	}
	// The file has lists of two: no writer takes the fixed-size ones.
	batch, _, err := array.RecordFromJSON(memory.DefaultAllocator, within(arrow.ListOf(arrow.PrimitiveTypes.Int8)), strings.NewReader(
		`[{"st":null},{"st":{"inner":{"pair":[1,2]}}},{"st":null},{"st":{"inner":{"pair":[3,null]}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Release()
	got := mustRead(t, write(t, batch, 4), Task{Out: within(arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int8)), Limit: -1})
	for row, want := range []string{array.NullValueStr, `{"inner":{"pair":[1,2]}}`, array.NullValueStr, `{"inner":{"pair":[3,null]}}`} {
		if have := got.Column(0).ValueStr(row); have != want {
			t.Errorf("row %d: %s, want %s", row, have, want)
		}
	}
	inner := got.Column(0).(*array.Struct).Field(0).(*array.Struct)
	if inner.NullN() != 0 || inner.Field(0).NullN() != 0 {
		t.Errorf("%d and %d nulls where there can be none", inner.NullN(), inner.Field(0).NullN())
	}
}

func TestColumnsThatAFileLacksCountInAStepAndInWhatAStreamHolds(t *testing.T) {
	const columns, rowsOfIt = 4000, 20_000
	data := write(t, flatBatch(rowsOfIt), rowsOfIt)
	lacked := map[string][]arrow.Field{}
	for i := range columns {
		lacked["columns"] = append(lacked["columns"], field(fmt.Sprintf("n%d", i), arrow.BinaryTypes.LargeString))
	}
	lacked["a struct"] = []arrow.Field{field("lacked", arrow.StructOf(lacked["columns"]...))}
	lacked["a fixed list"] = []arrow.Field{field("lacked", arrow.FixedSizeListOf(columns, arrow.PrimitiveTypes.Int64))}
	for name, more := range lacked {
		out := arrow.NewSchema(append([]arrow.Field{footer(t, data).Schema().Field(0)}, more...), nil)
		mem := &peak{Allocator: NewPool()}
		s, err := Open(t.Context(), Task{
			File: testFile, Reader: &bytesReader{data: data}, Footer: footer(t, data), Out: out, Limit: -1, Memory: mem, Workers: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			b, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if size := batchBytes(b, 0, b.NumRows()); size > defaultBatchBytes*9/8 {
				t.Errorf("%s: a batch of %d bytes", name, size)
			}
			b.Release()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if most := mem.most.Load(); most > 8*defaultBatchBytes || most > s.Holds() {
			t.Errorf("%s: %d bytes were allocated; the stream says %d", name, most, s.Holds())
		}
		if name != "a fixed list" && s.Holds() < columns*arrayBytes {
			t.Errorf("%s: the stream says %d bytes, and a batch has %d arrays", name, s.Holds(), columns)
		}
	}
}

func TestNullsOfAnyTypeHaveAWidth(t *testing.T) {
	large := arrow.BinaryTypes.LargeString
	for _, c := range []struct {
		native, want arrow.DataType
		bits         int64
	}{
		{large, large, 0},
		{arrow.Null, large, 65},
		{arrow.StructOf(field("a", large)), arrow.StructOf(field("a", large), field("b", arrow.PrimitiveTypes.Int8)), 9},
		{arrow.ListOf(arrow.StructOf(field("a", large))), arrow.ListOf(arrow.StructOf(field("b", arrow.BinaryTypes.String))), 33},
		{arrow.Null, arrow.ListOf(large), 33},
		{arrow.Null, arrow.FixedSizeListOf(3, arrow.FixedWidthTypes.Boolean), 7},
		{arrow.Null, arrow.FixedSizeListOf(1<<31-1, arrow.FixedSizeListOf(1<<31-1, large)), maxBits},
		{arrow.Null, &arrow.FixedSizeBinaryType{ByteWidth: 1<<31 - 1}, 8*(1<<31-1) + 1},
	} {
		if got := lackedBits(c.native, c.want); got != c.bits {
			t.Errorf("%s as %s: %d bits, want %d", c.native, c.want, got, c.bits)
		}
	}
}

func TestFilterOnAMissingColumnSeesNulls(t *testing.T) {
	data := write(t, flatBatch(100), 10)
	out := footer(t, data).Schema()
	for f, want := range map[string]int64{`[["gone","is null"]]`: 100, `[["gone","=",1]]`: 0, `[["gone","not in",["x"]]]`: 100} {
		got := mustRead(t, data, Task{Out: out, Query: Query{Filters: mustFilter(t, f)}, Limit: -1})
		if got.NumRows() != want {
			t.Errorf("%s: %d rows, want %d", f, got.NumRows(), want)
		}
	}
}

func TestNestedFiltersAndProjectionsTogether(t *testing.T) {
	batch := nestedBatch(500, 9)
	data := write(t, batch, 60)
	deep := batch.Column(2).(*array.Struct)
	x := deep.Field(0).(*array.Int32)
	q := Query{
		Columns: []source.Column{{Path: []string{"deep", "z", "q"}}, source.Col("conversations.value"), source.Col("id")},
		Filters: mustFilter(t, `[[[["deep","x"],">",300000]]]`),
	}
	got := mustRead(t, data, Task{Query: q, Limit: -1})
	want := pickRows(t, batch, func(i int) bool { return !deep.IsNull(i) && !x.IsNull(i) && x.Value(i) > 300000 })
	if got.NumRows() != want.NumRows() || got.NumRows() == 0 {
		t.Fatalf("%d rows, want %d", got.NumRows(), want.NumRows())
	}
	if s := got.Schema().String(); s != footerOutput(t, data, q) {
		t.Errorf("schema %s", s)
	}
	for row := range int(got.NumRows()) {
		if g, w := got.Column(2).ValueStr(row), want.Column(0).ValueStr(row); g != w {
			t.Fatalf("row %d: id %s, want %s", row, g, w)
		}
		z := want.Column(2).(*array.Struct).Field(2).(*array.Struct)
		gz := got.Column(0).(*array.Struct).Field(0).(*array.Struct)
		if g, w := gz.Field(0).ValueStr(row), z.Field(0).ValueStr(row); g != w {
			t.Fatalf("row %d: deep.z.q %s, want %s", row, g, w)
		}
	}
}

func footerOutput(t *testing.T, data []byte, q Query) string {
	t.Helper()
	s, err := q.Output(footer(t, data).Schema())
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func TestRowGroupsAskedForAreReadInOrder(t *testing.T) {
	batch := flatBatch(100)
	data := write(t, batch, 10)
	got := mustRead(t, data, Task{Groups: []int{2, 5}, Limit: -1})
	sameRows(t, got, pickRows(t, batch, func(i int) bool { return i/10 == 2 || i/10 == 5 }))
	for _, groups := range [][]int{{5, 2}, {-1}, {10}, {1, 1}} {
		if _, _, err := read(t, data, Task{Groups: groups, Limit: -1}); source.KindOf(err) != source.KindInvalid {
			t.Errorf("groups %v: %v", groups, err)
		}
	}
}

func TestClosingEarlyStopsTheDecoderAndReleasesEverything(t *testing.T) {
	data := write(t, flatBatch(60_000), 10_000)
	for _, batches := range []int{0, 1, 3} {
		mem := newChecked()
		r := &bytesReader{data: data}
		s, err := Open(context.Background(), Task{File: testFile, Reader: r, Footer: footer(t, data), Memory: mem, Limit: -1})
		if err != nil {
			t.Fatal(err)
		}
		for range batches {
			b, err := s.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(context.Background()); source.KindOf(err) != source.KindCanceled {
			t.Errorf("a batch after Close: %v", err)
		}
		if err := s.Close(); err != nil || r.closed != 1 {
			t.Errorf("second Close: %v; the reader was closed %d times", err, r.closed)
		}
		balanced(t, mem)
	}
}

func TestCancellingTheContextEndsTheStream(t *testing.T) {
	data := write(t, flatBatch(60_000), 1000)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Open(ctx, Task{File: testFile, Reader: &bytesReader{data: data}, Footer: footer(t, data), Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	cancel()
	for {
		b, err := s.Next(context.Background())
		if err != nil {
			if source.KindOf(err) != source.KindCanceled {
				t.Errorf("%v", err)
			}
			return
		}
		b.Release()
	}
}

func TestACancelledConsumerGetsNoMoreBatchesThanItAskedFor(t *testing.T) {
	batch := flatBatch(20_000)
	data := write(t, batch, 20_000)
	s, err := Open(t.Context(), Task{
		File: testFile, Reader: &bytesReader{data: data}, Footer: footer(t, data), Query: Query{BatchRows: 5000}, Limit: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := int64(0)
	for {
		b, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows += b.NumRows()
		b.Release()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Next(ctx); source.KindOf(err) != source.KindCanceled {
			t.Fatalf("after %d rows: %v", rows, err)
		}
	}
	if rows != 20_000 {
		t.Errorf("%d rows in all", rows) // another context goes on
	}
}

func TestAConsumerThatWaitsBoundsWhatIsDecodedAhead(t *testing.T) {
	const batch = 256 << 10
	data := write(t, flatBatch(100_000), 5000) // many times what may be held
	mem := newChecked()
	s, err := Open(t.Context(), Task{
		File: testFile, Reader: &bytesReader{data: data}, Footer: footer(t, data), Memory: mem, Query: Query{BatchBytes: batch}, Limit: -1, Spare: semaphore.NewWeighted(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Next(t.Context()) // which starts the decoding
	if err != nil {
		t.Fatal(err)
	}
	// It has come to its end for now when the queue is full and nothing changes.
	held, quiet := 0, 0
	for end := time.Now().Add(20 * time.Second); quiet < 20 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		quiet++
		if now := mem.CurrentAlloc(); now != held || now < aheadBatches*batch {
			held, quiet = now, 0
		}
	}
	if held < aheadBatches*batch || int64(held) > min(s.Holds(), 10*batch) {
		t.Errorf("%d bytes are held for a consumer that does not read; the stream says %d", held, s.Holds())
	}
	first.Release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	balanced(t, mem)
}

func TestAFailingReadKeepsItsKindAndNamesTheFile(t *testing.T) {
	data := write(t, nestedBatch(2000, 2), 500)
	ft := footer(t, data)
	for _, after := range []int{0, 1, 3} {
		r := &bytesReader{data: data}
		r.fail = func(off, n int64) error {
			if r.count() > after {
				return source.Errorf(source.KindUpstream, "read", "the origin is gone")
			}
			return nil
		}
		s, err := Open(context.Background(), Task{File: testFile, Reader: r, Footer: ft, Limit: -1})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			var b arrow.RecordBatch
			if b, err = s.Next(context.Background()); err == nil {
				b.Release()
			}
		}
		var e *source.Error
		if !errors.As(err, &e) || e.Kind != source.KindUpstream || e.Path != testFile.Path {
			t.Errorf("%v", err)
		}
		if _, again := s.Next(context.Background()); !errors.Is(again, err) {
			t.Errorf("then: %v", again)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnotherFileThanTheFooterSaysIsChanged(t *testing.T) {
	data := write(t, flatBatch(10), 10)
	r := &bytesReader{data: append([]byte("x"), data...)}
	_, err := Open(context.Background(), Task{File: testFile, Reader: r, Footer: footer(t, data), Limit: -1})
	if source.KindOf(err) != source.KindChanged || r.closed != 1 {
		t.Errorf("%v; the reader was closed %d times", err, r.closed)
	}
}

func TestAnEmptyFileGivesItsSchemaAndNoRows(t *testing.T) {
	data := write(t, flatBatch(0), 10)
	s, err := Open(context.Background(), Task{File: testFile, Reader: &bytesReader{data: data}, Footer: footer(t, data), Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if n := s.Schema().NumFields(); n != flatSchema().NumFields() {
		t.Errorf("%d fields", n)
	}
	if _, err := s.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestSparkLogicTestsTheMappedValues(t *testing.T) {
	data := write(t, flatBatch(500), 50)
	// tns counts 1,000,001 ns steps from −500; in microseconds, rounded down, row
	// 500 is exactly 0 and its neighbours are 1000 µs away.
	q := Query{Profile: Spark, Logic: filter.Spark, Columns: []source.Column{source.Col("id")}, Filters: mustFilter(t, `[["tns","=","1969-12-31T23:59:59.998999"]]`)}
	got := mustRead(t, data, Task{Query: q, Limit: -1})
	if got.NumRows() != 1 || got.Column(0).(*array.Int64).Value(0) != 499 {
		t.Errorf("got %v", got)
	}
}

func TestOneFooterServesManyStreamsAtOnce(t *testing.T) {
	batch := nestedBatch(800, 4)
	data := write(t, batch, 100)
	ft, pool := footer(t, data), NewPool()
	done := make(chan error)
	for i := range 6 {
		go func() {
			q := Query{Profile: Profile(i % 2), Filters: mustFilter(t, `[["id","<",777]]`)}
			s, err := Open(context.Background(), Task{File: testFile, Reader: &bytesReader{data: data}, Footer: ft, Memory: pool, Query: q, Limit: -1})
			rows := int64(0)
			for err == nil {
				var b arrow.RecordBatch
				if b, err = s.Next(context.Background()); err == nil {
					rows += b.NumRows()
					b.Release()
				}
			}
			if errors.Is(err, io.EOF) && rows == 777 {
				err = s.Close()
			}
			done <- err
		}()
	}
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsReadBeforeTheFirstNext(t *testing.T) {
	data := write(t, flatBatch(100), 50)
	r := &bytesReader{data: data}
	s, err := Open(t.Context(), Task{Reader: r, Footer: footer(t, data), Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // a decoder that runs would have read by now
	if r.reads != 0 {
		t.Errorf("%d reads before the first Next", r.reads)
	}
	if err := s.Close(); err != nil || r.closed != 1 {
		t.Errorf("closing an unused stream: %v, reader closed %d times", err, r.closed)
	}
	if _, err := s.Next(t.Context()); source.KindOf(err) != source.KindCanceled {
		t.Errorf("Next after Close: %v", err)
	}
}
