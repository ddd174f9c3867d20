package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/writer/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fromJSON is a batch of one column.
func fromJSON(t testing.TB, mem memory.Allocator, dt arrow.DataType, text string) arrow.RecordBatch {
	t.Helper()
	a, _, err := array.FromJSON(mem, dt, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	return array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil), []arrow.Array{a}, int64(a.Len()))
}

// encodeAll writes batches with an encoder and returns the finished files, read
// back.
func encodeAll(t *testing.T, e Encoding, whole bool, schema *arrow.Schema, recs ...arrow.RecordBatch) []*file.Reader {
	t.Helper()
	sp, err := spool.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	enc := newEncoder(e.with(Encoding{}), schema, sp, whole)
	var files []*file.Reader
	done := func(f encoded) error {
		if err := reread(t.Context(), f, schema); err != nil {
			return err
		}
		raw := make([]byte, f.file.Size())
		if _, err := f.file.ReadAt(raw, 0); err != nil {
			return err
		}
		r, err := file.NewParquetReader(strings.NewReader(string(raw)))
		files = append(files, r)
		return errorsJoin(err, f.file.Remove())
	}
	for _, rec := range recs {
		if err := enc.write(t.Context(), rec, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := errorsJoin(enc.finish(done), enc.abandon()); err != nil {
		t.Fatal(err)
	}
	if sp.Used() != 0 {
		t.Errorf("%d bytes stay in the spool", sp.Used())
	}
	if err := sp.Close(); err != nil {
		t.Error(err)
	}
	return files
}

func errorsJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func table(t testing.TB, f *file.Reader) arrow.Table {
	t.Helper()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Release)
	return tab
}

// numbers is a batch of n rows of 1 KiB each.
func numbers(n int) arrow.RecordBatch {
	schema := arrow.NewSchema([]arrow.Field{{Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%01000d", i*7919))
	}
	return b.NewRecordBatch()
}

func TestRowGroupsAreCutByRowsAndByBytesAndNeverEmpty(t *testing.T) {
	rec := numbers(5000)
	defer rec.Release()
	for name, c := range map[string]struct {
		e    Encoding
		want int
	}{
		"rows":          {Encoding{RowGroupRows: 1000}, 10},
		"bytes":         {Encoding{RowGroupBytes: 2 << 20}, 5},
		"neither":       {Encoding{}, 1},
		"one row each?": {Encoding{RowGroupRows: 4999}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			files := encodeAll(t, c.e, false, rec.Schema(), rec, rec)
			if len(files) != 1 || files[0].NumRows() != 10_000 {
				t.Fatalf("%d files", len(files))
			}
			if got := files[0].NumRowGroups(); got != c.want {
				t.Errorf("%d row groups, want %d", got, c.want)
			}
			for i := range files[0].NumRowGroups() {
				if files[0].MetaData().RowGroup(i).NumRows() == 0 {
					t.Errorf("row group %d is empty", i)
				}
			}
		})
	}
}

func TestAFileThatHasAllItsRowGroupsIsFollowedByAnother(t *testing.T) {
	const most, more = 1<<15 - 1, 2
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range most + more {
		b.Append(int64(i))
	}
	a := b.NewInt64Array()
	defer a.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: "i", Type: a.DataType(), Nullable: true}}, nil)
	rec := array.NewRecordBatch(schema, []arrow.Array{a}, int64(a.Len()))
	defer rec.Release()
	off := false
	e := Encoding{RowGroupRows: 1, PageIndex: &off, WriteStatistics: &Switch{}, UseDictionary: &Switch{}}
	files := encodeAll(t, e, false, schema, rec)
	if len(files) != 2 || files[0].NumRowGroups() != most || files[1].NumRowGroups() != more || files[0].NumRows()+files[1].NumRows() != most+more {
		t.Errorf("%d files", len(files))
	}

	sp, err := spool.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sp.Close() }()
	whole := newEncoder(e.with(Encoding{}), schema, sp, true)
	err = whole.write(t.Context(), rec, nil)
	if source.KindOf(err) != source.KindLimit || !strings.Contains(err.Error(), "row_group_rows") {
		t.Errorf("one file: got %v", err)
	}
	if err := whole.abandon(); err != nil {
		t.Error(err)
	}
}

// TestSlicesCountWithTheirShareOfABatch: of what the card and the sizes of row groups count.
func TestSlicesCountWithTheirShareOfABatch(t *testing.T) {
	const rows, pieces = 64_000, 16
	r := rand.New(rand.NewPCG(1, 2))
	for _, dt := range []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.FixedWidthTypes.Boolean, arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, listOfStruct, structOfList,
		arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Float32), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int8), decimal38(2), arrow.Null,
		arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true})} {
		b := array.NewBuilder(memory.DefaultAllocator, dt)
		for range rows {
			appendRandom(r, b, 0)
		}
		a := b.NewArray()
		b.Release()
		rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil), []arrow.Array{a}, rows)
		a.Release()
		var sum int64
		for i := range int64(pieces) {
			part := rec.NewSlice(i*rows/pieces, (i+1)*rows/pieces)
			sum += recordBytes(part)
			part.Release()
		}
		if whole := recordBytes(rec); sum < whole*9/10 || sum > whole*11/10 {
			t.Errorf("%s: the slices have %d bytes, the whole %d", dt, sum, whole)
		}
		rec.Release()
	}
}

// TestNullsOfManyColumnsAreNotedAFewRowsAtATime: they have no bytes, and what is noted of
// each stays for the next batch.
func TestNullsOfManyColumnsAreNotedAFewRowsAtATime(t *testing.T) {
	const columns, rows = 300, 1 << 18
	var fields []arrow.Field
	var nulls []arrow.Array
	for i := range columns {
		fields = append(fields, arrow.Field{Name: strconv.Itoa(i), Type: arrow.Null, Nullable: true})
		nulls = append(nulls, array.NewNull(rows))
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), nulls, rows)
	defer rec.Release()
	sp, err := spool.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sp.Close() }()
	inUse := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // some bytes
	}
	before := inUse()
	enc := newEncoder(Encoding{}.with(Encoding{}), rec.Schema(), sp, true)
	if err := enc.write(t.Context(), rec, nil); err != nil {
		t.Fatal(err)
	}
	if more := inUse() - before; more > 64<<20 {
		t.Errorf("%d bytes stay in use for nulls", more)
	}
	if err := enc.abandon(); err != nil {
		t.Error(err)
	}
}

func TestFilesAreCutNearTheirSize(t *testing.T) {
	rec := numbers(5000)
	defer rec.Release()
	const limit = 500_000
	// Without a dictionary a row is about 1000 bytes, also compressed: mostly
	// zeros, so choose no compression.
	off := &Switch{}
	e := Encoding{MaxBytesPerFile: limit, Compression: "none", UseDictionary: off, DataPageSize: 64 << 10}
	files := encodeAll(t, e, false, rec.Schema(), rec, rec)
	var rows int64
	for _, f := range files {
		rows += f.NumRows()
	}
	if rows != 10_000 || len(files) < 5 || len(files) > 25 {
		t.Errorf("%d files with %d rows", len(files), rows)
	}
	if whole := encodeAll(t, e, true, rec.Schema(), rec, rec); len(whole) != 1 {
		t.Errorf("%d files where one was asked for", len(whole))
	}
}

func TestFilesHavePageIndexStatisticsAndTheirCodec(t *testing.T) {
	rec := numbers(10)
	defer rec.Release()
	yes := []string{"i"}
	f := encodeAll(t, Encoding{Compression: "zstd", BloomColumns: yes, WriteStatistics: &Switch{Columns: yes}}, false, rec.Schema(), rec)[0]
	chunk, err := f.MetaData().RowGroup(0).ColumnChunk(0)
	if err != nil {
		t.Fatal(err)
	}
	if chunk.Compression().String() != "ZSTD" || chunk.BloomFilterOffset() == 0 || chunk.GetColumnIndexLocation() == nil || chunk.GetOffsetIndexLocation() == nil {
		t.Error("no zstd, bloom filter or page index")
	}
	for i, want := range []bool{true, false} {
		chunk, err := f.MetaData().RowGroup(0).ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := chunk.StatsSet(); err != nil || got != want {
			t.Errorf("column %d: statistics %v (%v)", i, got, err)
		}
	}
}

func TestABloomFilterIsThereForEveryLeafThatCanHaveOne(t *testing.T) {
	point := arrow.StructOf(arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "ok", Type: arrow.FixedWidthTypes.Boolean, Nullable: true})
	in := fromJSON(t, memory.DefaultAllocator, point, `[{"b":1,"ok":true},{"b":2,"ok":false}]`)
	defer in.Release()
	group := encodeAll(t, Encoding{BloomColumns: []string{"a"}}, false, in.Schema(), in)[0].MetaData().RowGroup(0)
	for i, want := range []bool{true, false} {
		chunk, err := group.ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := chunk.BloomFilterOffset() != 0; got != want {
			t.Errorf("column %s: a filter %v", chunk.PathInSchema(), got)
		}
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: point}, {Name: "a.b", Type: arrow.PrimitiveTypes.Int64}, {Name: "flag", Type: arrow.FixedWidthTypes.Boolean},
		{Name: "flags", Type: arrow.ListOf(arrow.FixedWidthTypes.Boolean)}, {Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	for column, want := range map[string]string{"flag": "booleans", "flags": "booleans", "a.ok": "booleans", "a.b": "both a.b", "a": "both a.b", "m": "not there"} {
		_, err := Encoding{BloomColumns: []string{"n", column}}.properties(schema)
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "column="+column+")") {
			t.Errorf("%s: got %v", column, err)
		}
	}
}

func TestFeaturesAreKeptAndForeignMetadataIsNot(t *testing.T) {
	features := `{"info":{"features":{"i":{"dtype":"int64"},"gone":{}}}}`
	meta := arrow.MetadataFrom(map[string]string{"huggingface": features, "hubflight": "{}", "pandas": "{}", "mine": "x"})
	rec := numbers(1)
	defer rec.Release()
	in := arrow.NewSchema(rec.Schema().Fields(), &meta)
	for keep, want := range map[bool]string{true: `{"info":{"features":{"i":{"dtype":"int64"}}}}`, false: ""} {
		schema, err := fileSchema(in, keep)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := schema.Metadata().GetValue("huggingface")
		if got != want || schema.Metadata().FindKey("pandas") >= 0 || schema.Metadata().FindKey("hubflight") >= 0 || schema.Metadata().FindKey("mine") < 0 {
			t.Errorf("keep %v: %s", keep, schema.Metadata())
		}
		out := array.NewRecordBatch(schema, rec.Columns(), rec.NumRows())
		f := encodeAll(t, Encoding{}, false, schema, out)[0]
		out.Release()
		kv := f.MetaData().KeyValueMetadata().FindValue("huggingface")
		if keep && (kv == nil || *kv != want) || !keep && kv != nil {
			t.Errorf("keep %v: the footer has %v", keep, kv)
		}
	}
}

func TestAFileWithoutRowsHasNoRowGroup(t *testing.T) {
	rec := numbers(0)
	defer rec.Release()
	sp, err := spool.Open(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sp.Close() }()
	enc := newEncoder(Encoding{}.with(Encoding{}), rec.Schema(), sp, false)
	err = enc.empty(t.Context(), func(f encoded) error {
		defer func() { _ = f.file.Remove() }()
		raw := make([]byte, f.file.Size())
		if _, err := f.file.ReadAt(raw, 0); err != nil {
			return err
		}
		r, err := file.NewParquetReader(strings.NewReader(string(raw)))
		if err == nil && (r.NumRowGroups() != 0 || r.NumRows() != 0) {
			t.Errorf("%d row groups", r.NumRowGroups())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	listOfStruct = arrow.ListOf(arrow.StructOf(arrow.Field{Name: "from", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "value", Type: arrow.PrimitiveTypes.Int16, Nullable: true}))
	structOfList = arrow.LargeListOf(arrow.StructOf(arrow.Field{Name: "value", Type: arrow.PrimitiveTypes.Uint8, Nullable: true}, arrow.Field{Name: "from", Type: arrow.BinaryTypes.LargeString, Nullable: true}))
)

func decimal38(scale int32) arrow.DataType {
	return &arrow.Decimal128Type{Precision: 38, Scale: scale}
}

func TestAnAppendIsCoercedWithoutChangingAValue(t *testing.T) {
	for name, c := range map[string]struct {
		from, to arrow.DataType
		in, want string // want "" = refused
	}{
		"narrower int that fits":    {arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Uint8, `[1,255,null]`, `[1,255,null]`},
		"narrower int that doesn't": {arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Uint8, `[256]`, ""},
		"a negative for unsigned":   {arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint32, `[-1]`, ""},
		"float that is exact":       {arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32, `[0.5,null]`, `[0.5,null]`},
		"float that is not":         {arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32, `[0.1]`, ""},
		"half float":                {arrow.PrimitiveTypes.Float32, arrow.FixedWidthTypes.Float16, `[0.5]`, `[0.5]`},
		"int as float, exact":       {arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, `[9007199254740992]`, `[9007199254740992]`},
		"int as float, not exact":   {arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, `[9007199254740993]`, ""},
		"decimal as uint64":         {&arrow.Decimal128Type{Precision: 20}, arrow.PrimitiveTypes.Uint64, `["18446744073709551615"]`, `[18446744073709551615]`},
		"decimal as int16":          {&arrow.Decimal128Type{Precision: 9, Scale: 2}, arrow.PrimitiveTypes.Int16, `["52.00","-75.00",null]`, `[52,-75,null]`},
		"the largest int16":         {decimal38(0), arrow.PrimitiveTypes.Int16, `["32767","-32768"]`, `[32767,-32768]`},
		"decimal out of int16":      {decimal38(0), arrow.PrimitiveTypes.Int16, `["-32769"]`, ""},
		"wide decimal as uint16":    {&arrow.Decimal256Type{Precision: 76, Scale: 70}, arrow.PrimitiveTypes.Uint16, `["65535"]`, `[65535]`},
		"negative for uint64":       {decimal38(0), arrow.PrimitiveTypes.Uint64, `["-1"]`, ""},
		"decimal with a fraction":   {&arrow.Decimal128Type{Precision: 20, Scale: 1}, arrow.PrimitiveTypes.Int64, `["1.5"]`, ""},
		"int as a narrow decimal":   {arrow.PrimitiveTypes.Int64, &arrow.Decimal128Type{Precision: 5, Scale: 2}, `[1,-3,null,999]`, `["1.00","-3.00",null,"999.00"]`},
		"int out of its precision":  {arrow.PrimitiveTypes.Int64, &arrow.Decimal128Type{Precision: 5, Scale: 2}, `[1,-1000]`, ""},
		"the largest uint64":        {arrow.PrimitiveTypes.Uint64, &arrow.Decimal256Type{Precision: 76, Scale: 56}, `[18446744073709551615]`, `["18446744073709551615"]`},
		"an int of too many zeros":  {arrow.PrimitiveTypes.Int8, &arrow.Decimal256Type{Precision: 76, Scale: 75}, `[9,10]`, ""},
		"decimal of more digits":    {decimal38(0), decimal38(2), `["-999999999999999999999999999999999999",null]`, `["-999999999999999999999999999999999999.00",null]`},
		"more than 128 bits":        {decimal38(0), decimal38(2), `["99999999999999999999999999999999999999"]`, ""},
		"more than 256 bits":        {&arrow.Decimal256Type{Precision: 76}, &arrow.Decimal256Type{Precision: 76, Scale: 40}, `["9999999999999999999999999999999999999999999999999999999999999999999999999999"]`, ""},
		"decimal of fewer digits":   {decimal38(20), &arrow.Decimal256Type{Precision: 40, Scale: 1}, `["-1.5"]`, `["-1.5"]`},
		"decimal that is not exact": {decimal38(2), decimal38(1), `["1.25"]`, ""},
		"bytes of another length":   {&arrow.FixedSizeBinaryType{ByteWidth: 3}, &arrow.FixedSizeBinaryType{ByteWidth: 2}, `["AAAA"]`, ""},
		"strings":                   {arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, `["a",null]`, `["a",null]`},
		"µs as ns":                  {&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, `["2024-01-31T12:00:00.000001Z"]`, `["2024-01-31T12:00:00.000001Z"]`},
		"µs as ms, not exact":       {&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Millisecond}, `["2024-01-31 12:00:00.000001"]`, ""},
		"a zone for none":           {&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, `["2024-01-31 12:00:00"]`, ""},
		"seconds of a day":          {arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, `["12:00:01",null]`, `["12:00:01",null]`},
		"lists of such seconds":     {arrow.ListOf(arrow.FixedWidthTypes.Time32s), arrow.ListOf(arrow.FixedWidthTypes.Time32ms), `[["12:00:01"],null]`, `[["12:00:01"],null]`},
		"text for a number":         {arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64, `["1"]`, ""},
		"float for an int":          {arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Int64, `[1]`, ""},
		"nulls for anything":        {arrow.Null, arrow.BinaryTypes.String, `[null,null]`, `[null,null]`},
		"nulls for lists":           {arrow.Null, listOfStruct, `[null,null]`, `[null,null]`},
		"nulls for fixed lists":     {arrow.Null, arrow.FixedSizeListOf(2, arrow.LargeListOf(arrow.BinaryTypes.String)), `[null,null]`, `[null,null]`},
		"nulls for structs":         {arrow.Null, arrow.StructOf(arrow.Field{Name: "x", Type: structOfList, Nullable: true}), `[null,null]`, `[null,null]`},
		"nulls for maps":            {arrow.Null, arrow.MapOf(arrow.BinaryTypes.String, decimal38(0)), `[null]`, `[null]`},
		"lists of nulls":            {arrow.ListOf(arrow.Null), structOfList, `[[null],[],null]`, `[[null],[],null]`},
		"lists of structs by name":  {listOfStruct, structOfList, `[[{"from":"a","value":1},null],null,[]]`, `[[{"from":"a","value":1},null],null,[]]`},
		"a fixed size that fits":    {arrow.ListOf(arrow.PrimitiveTypes.Float64), arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32), `[[1,2],null,[3,null]]`, `[[1,2],null,[3,null]]`},
		"a fixed size that doesn't": {arrow.ListOf(arrow.PrimitiveTypes.Float64), arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32), `[[1]]`, ""},
		"a fixed size as a list":    {arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32), arrow.LargeListOf(arrow.PrimitiveTypes.Int64), `[[1,2],null]`, `[[1,2],null]`},
		"maps":                      {arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), `[[{"key":"a","value":1}],null]`, `[[{"key":"a","value":1}],null]`},
		"a dictionary":              {&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, arrow.BinaryTypes.String, `["a","b","a",null]`, `["a","b","a",null]`},
	} {
		t.Run(name, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			defer mem.AssertSize(t, 0)
			ctx := compute.WithAllocator(t.Context(), mem)
			in := fromJSON(t, mem, c.from, c.in)
			defer in.Release()
			to, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: c.to}}, nil), true)
			if err != nil {
				t.Fatal(err)
			}
			co, err := newCoercion(in.Schema(), to)
			var got arrow.RecordBatch
			if err == nil {
				got, err = co.apply(ctx, in)
			}
			if c.want == "" {
				if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "column=a") {
					t.Fatalf("got %v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer got.Release()
			want := fromJSON(t, mem, to.Field(0).Type, c.want)
			defer want.Release()
			if !array.Equal(got.Column(0), want.Column(0)) {
				t.Errorf("got %v, want %v", got.Column(0), want.Column(0))
			}
			// What was coerced can be written, and reads back the same.
			tab := table(t, encodeAll(t, Encoding{}, false, to, got)[0])
			back := tab.Column(0).Data().Chunk(0)
			for i := range back.Len() {
				if got, want := show(back, i), show(want.Column(0), i); got != want {
					t.Errorf("row %d: read back %s, want %s", i, got, want)
				}
			}
		})
	}
}

// TestASliceOfBytesOfOneLengthIsCopied: the library panics on it where nobody can recover.
func TestASliceOfBytesOfOneLengthIsCopied(t *testing.T) {
	in := fromJSON(t, memory.DefaultAllocator, &arrow.FixedSizeBinaryType{ByteWidth: 2}, `["YWE=","YmI=","Y2M="]`)
	defer in.Release()
	part := in.NewSlice(1, 3)
	defer part.Release()
	for _, dt := range []arrow.DataType{arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary} {
		c, err := newCoercion(in.Schema(), arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.apply(t.Context(), part)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Release()
		want := fromJSON(t, memory.DefaultAllocator, dt, `["YmI=","Y2M="]`)
		defer want.Release()
		if !array.Equal(got.Column(0), want.Column(0)) {
			t.Errorf("%s: got %v", dt, got.Column(0))
		}
	}
}

// TestTheSmallestHalfFloatsAreCoercedAsWhatTheyAre: the library takes those below 2^-14
// for others.
func TestTheSmallestHalfFloatsAreCoercedAsWhatTheyAre(t *testing.T) {
	b := array.NewFloat16Builder(memory.DefaultAllocator)
	defer b.Release()
	for _, bits := range []uint16{1, 0x3ff, 0x8150, 0, 0x400, 0x3c00} {
		b.Append(float16.FromBits(bits))
	}
	b.AppendNull()
	halves := b.NewFloat16Array()
	defer halves.Release()
	for _, dt := range []arrow.DataType{arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64} {
		wider, err := newCast(halves.DataType(), dt, "a")
		if err != nil {
			t.Fatal(err)
		}
		wide, err := wider(t.Context(), halves)
		if err != nil {
			t.Fatal(err)
		}
		defer wide.Release()
		for i, want := range []float64{0x1p-24, 0x3ff * 0x1p-24, -0x150 * 0x1p-24, 0, 0x1p-14, 1} {
			if got, err := strconv.ParseFloat(wide.ValueStr(i), 64); err != nil || math.Abs(got-want) > math.Abs(want)/1e6 {
				t.Errorf("%s: %v instead of %v (%v)", dt, got, want, err)
			}
		}
		narrower, err := newCast(dt, halves.DataType(), "a")
		if err != nil {
			t.Fatal(err)
		}
		back, err := narrower(t.Context(), wide)
		if err != nil {
			t.Fatal(err)
		}
		defer back.Release()
		if !array.Equal(back, halves) {
			t.Errorf("%s: got %v back", dt, back)
		}
	}
}

// TestADecimalOfMoreDigitsThanItsTypeIsRefused: a message may have one, and of what a file
// has room for only the last digits would be left.
func TestADecimalOfMoreDigitsThanItsTypeIsRefused(t *testing.T) {
	narrow, wide := &arrow.Decimal128Type{Precision: 3, Scale: 1}, &arrow.Decimal256Type{Precision: 3, Scale: 1}
	for i, values := range [][]int64{{999, -999}, {1, 1000}, {-1000}, {70_000}} {
		b, w := array.NewDecimal128Builder(memory.DefaultAllocator, narrow), array.NewDecimal256Builder(memory.DefaultAllocator, wide)
		for _, v := range values {
			b.Append(decimal128.FromI64(v))
			w.Append(decimal256.FromI64(v))
		}
		b.AppendNull()
		for _, a := range []arrow.Array{b.NewArray(), w.NewArray()} {
			for _, to := range []arrow.DataType{a.DataType(), &arrow.Decimal128Type{Precision: 4, Scale: 1}, &arrow.Decimal256Type{Precision: 3, Scale: 1}} {
				convert, err := newCast(a.DataType(), to, "a")
				if err != nil {
					t.Fatal(err)
				}
				out, err := convert(t.Context(), a)
				if refused := i > 0 && to.(arrow.DecimalType).GetPrecision() == 3 || i == 3; (err != nil) != refused {
					t.Errorf("%v as %s: %v", values, to, err)
				}
				if out != nil {
					out.Release()
				}
			}
			a.Release()
		}
		b.Release()
		w.Release()
	}
}

func TestASliceIsCoercedAtItsOffset(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	in := fromJSON(t, mem, listOfStruct, `[[{"from":"a","value":1}],null,[{"from":"b","value":2},{"from":"c","value":3}],[]]`)
	defer in.Release()
	part := in.NewSlice(1, 4)
	defer part.Release()
	to, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: structOfList}}, nil), true)
	if err != nil {
		t.Fatal(err)
	}
	co, err := newCoercion(in.Schema(), to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := co.apply(compute.WithAllocator(t.Context(), mem), part)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Release()
	want := fromJSON(t, mem, to.Field(0).Type, `[null,[{"from":"b","value":2},{"from":"c","value":3}],[]]`)
	defer want.Release()
	if !array.Equal(got.Column(0), want.Column(0)) {
		t.Errorf("got %v", got.Column(0))
	}
}

func TestADictionaryOfAnyTypeIsDecodedAtItsOffset(t *testing.T) {
	for values, dt := range map[string]arrow.DataType{
		`["a","b",null]`:       arrow.BinaryTypes.StringView,
		`[true,false,null]`:    arrow.FixedWidthTypes.Boolean,
		`[[1],[2,null],null]`:  arrow.ListOf(arrow.PrimitiveTypes.Int64),
		`[[1,2],[3,4],null]`:   arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int8),
		`[null,null,null]`:     arrow.Null,
		`[{"x":1},{"x":2},{}]`: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}),
		`["1.50","2.25",null]`: decimal38(2),
	} {
		t.Run(dt.String(), func(t *testing.T) {
			plain := fromJSON(t, memory.DefaultAllocator, dt, values)
			defer plain.Release()
			at := fromJSON(t, memory.DefaultAllocator, arrow.PrimitiveTypes.Uint8, `[0,1,null,2,1,0]`)
			defer at.Release()
			whole := array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: dt}, at.Column(0), plain.Column(0))
			defer whole.Release()
			part := array.NewSlice(whole, 1, 6)
			defer part.Release()
			in := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: whole.DataType()}}, nil), []arrow.Array{part}, 5)
			defer in.Release()
			_, convert, err := Plain(in.Schema())
			if err != nil {
				t.Fatal(err)
			}
			got, err := convert(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Release()
			for i, want := range []int{1, -1, 2, 1, 0} {
				text := "null"
				if want >= 0 {
					text = show(plain.Column(0), want)
				}
				if s := show(got.Column(0), i); s != text {
					t.Errorf("row %d: got %s, want %s", i, s, text)
				}
			}
		})
	}
}

func TestColumnsAreMatchedByNameOrRefusedByName(t *testing.T) {
	schema := func(names ...string) *arrow.Schema {
		var fields []arrow.Field
		for _, n := range names {
			fields = append(fields, arrow.Field{Name: n, Type: arrow.PrimitiveTypes.Int64, Nullable: true})
		}
		return arrow.NewSchema(fields, nil)
	}
	if c, err := newCoercion(schema("b", "a"), schema("a", "b")); err != nil || c.columns[0] != 1 {
		t.Errorf("got %v, %v", c, err)
	}
	for column, from := range map[string]*arrow.Schema{"b": schema("a"), "x": schema("a", "b", "x")} {
		if _, err := newCoercion(from, schema("a", "b")); source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "column="+column) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := fileSchema(schema("a", "a"), true); source.KindOf(err) != source.KindInvalid {
		t.Errorf("two columns of one name: %v", err)
	}
}

// TestTwoFieldsOfAStructWithOneNameAreRefusedByPath, however deep: they are matched by
// name, so that both would get the values of the first.
func TestTwoFieldsOfAStructWithOneNameAreRefusedByPath(t *testing.T) {
	twice := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "y", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "x", Type: arrow.BinaryTypes.String})
	for column, dt := range map[string]arrow.DataType{
		"a.x":           twice,
		"a.element.x":   arrow.LargeListOf(twice),
		"a.value.x":     arrow.MapOf(arrow.BinaryTypes.String, twice),
		"a.s.element.x": arrow.StructOf(arrow.Field{Name: "s", Type: arrow.FixedSizeListOf(2, twice)}),
	} {
		_, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt}}, nil), true)
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "column="+column+")") || !strings.Contains(err.Error(), "rename") {
			t.Errorf("%s: got %v", dt, err)
		}
	}
	// The same name at two places is none twice.
	inner := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64})
	if _, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.StructOf(arrow.Field{Name: "x", Type: inner})}}, nil), true); err != nil {
		t.Error(err)
	}
}

// TestWhatNoValueOfATypeCanBeIsRefusedBeforeRowsAreSent: begin compares types and has
// no rows.
func TestWhatNoValueOfATypeCanBeIsRefusedBeforeRowsAreSent(t *testing.T) {
	schema := func(dt arrow.DataType) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil)
	}
	_, err := newCoercion(schema(&arrow.FixedSizeBinaryType{ByteWidth: 3}), schema(&arrow.FixedSizeBinaryType{ByteWidth: 2}))
	if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "fixed_size_binary[3]") || !strings.Contains(err.Error(), "fixed_size_binary[2]") {
		t.Errorf("got %v", err)
	}
}

// TestBatchesAreWrittenRightInSlices: row groups and files end anywhere in a
// batch, and the library has to get slices of every type right.
func TestBatchesAreWrittenRightInSlices(t *testing.T) {
	mem := memory.DefaultAllocator
	point := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "v", Type: arrow.FixedSizeListOf(2, arrow.BinaryTypes.String), Nullable: true})
	for name, dt := range map[string]arrow.DataType{
		"bool": arrow.FixedWidthTypes.Boolean, "string": arrow.BinaryTypes.String, "large string": arrow.BinaryTypes.LargeString,
		"fixed binary": &arrow.FixedSizeBinaryType{ByteWidth: 3}, "decimal": &arrow.Decimal128Type{Precision: 9, Scale: 2}, "null": arrow.Null,
		"half": arrow.FixedWidthTypes.Float16, "date": arrow.FixedWidthTypes.Date32, "uint64": arrow.PrimitiveTypes.Uint64,
		"fixed list": arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Float64), "list": arrow.ListOf(arrow.PrimitiveTypes.Int64),
		"list of structs": arrow.ListOf(point), "struct": point, "large list": arrow.LargeListOf(arrow.BinaryTypes.String),
		"fixed list of lists": arrow.FixedSizeListOf(2, arrow.ListOf(arrow.PrimitiveTypes.Int8)), "map": arrow.MapOf(arrow.BinaryTypes.String, point),
		"list of fixed lists": arrow.ListOf(arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16)),
	} {
		t.Run(name, func(t *testing.T) {
			given, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt}}, nil), true)
			if err != nil {
				t.Fatal(err)
			}
			const n = 100
			b := array.NewBuilder(mem, given.Field(0).Type)
			defer b.Release()
			r := rand.New(rand.NewPCG(1, 2))
			for range n + 7 {
				appendRandom(r, b, 0)
			}
			a := b.NewArray()
			defer a.Release()
			part := array.NewSlice(a, 7, n+7)
			defer part.Release()
			rec := array.NewRecordBatch(given, []arrow.Array{part}, n)
			defer rec.Release()

			sp, err := spool.Open(t.TempDir(), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sp.Close() }()
			enc := newEncoder(Encoding{RowGroupRows: 13}.with(Encoding{}), given, sp, true)
			enc.step = 1
			var got []string
			done := func(f encoded) error {
				defer func() { _ = f.file.Remove() }()
				raw := make([]byte, f.file.Size())
				if _, err := f.file.ReadAt(raw, 0); err != nil {
					return err
				}
				pf, err := file.NewParquetReader(strings.NewReader(string(raw)))
				if err != nil {
					return err
				}
				for _, chunk := range table(t, pf).Column(0).Data().Chunks() {
					for i := range chunk.Len() {
						got = append(got, show(chunk, i))
					}
				}
				return nil
			}
			if err := errorsJoin(enc.write(t.Context(), rec, done), enc.finish(done)); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if want := show(part, i); i >= len(got) || got[i] != want {
					t.Fatalf("row %d of %d: got %v, want %s", i, len(got), got[min(i, len(got)-1)], want)
				}
			}
		})
	}
}

func show(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	raw, err := json.Marshal(a.GetOneForMarshal(i))
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// appendRandom appends a value, or null one time in four. Keys of maps are never
// null.
func appendRandom(r *rand.Rand, b array.Builder, depth int) {
	if r.IntN(4) == 0 && depth >= 0 {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(r, b.FieldBuilder(i), depth+1)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range r.IntN(3) {
			appendRandom(r, b.KeyBuilder(), -1)
			appendRandom(r, b.ItemBuilder(), depth+1)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			appendRandom(r, b.ValueBuilder(), depth+1)
		}
	case array.ListLikeBuilder:
		b.Append(true)
		for range r.IntN(4) {
			appendRandom(r, b.ValueBuilder(), depth+1)
		}
	case *array.NullBuilder:
		b.AppendNull()
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte{byte(r.IntN(256)), 1, 2})
	case *array.BooleanBuilder:
		b.Append(r.IntN(2) == 0)
	default:
		if err := b.AppendValueFromString(strconv.Itoa(r.IntN(100))); err != nil {
			if err := b.AppendValueFromString("2024-01-31"); err != nil {
				panic(err)
			}
		}
	}
}

func TestAFixedSizeListKeepsItsTypeForArrowReaders(t *testing.T) {
	mem := memory.DefaultAllocator
	rec := fromJSON(t, mem, arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32), `[[1,2],null,[3,4]]`)
	defer rec.Release()
	given, err := fileSchema(rec.Schema(), true)
	if err != nil {
		t.Fatal(err)
	}
	co, err := newCoercion(rec.Schema(), given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := co.apply(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Release()
	f := encodeAll(t, Encoding{}, false, given, got)[0]
	if got := table(t, f).Schema().Field(0).Type; typeText(got) != "list[2]<float32>" && typeText(got) != "list<float32>" {
		t.Errorf("got %s", got)
	}
	stored := f.MetaData().KeyValueMetadata().FindValue("ARROW:schema")
	if stored == nil {
		t.Fatal("no ARROW:schema")
	}
	if s, err := DecodeSchema(*stored); err != nil || typeText(s.Field(0).Type) != "list[2]<float32>" {
		t.Errorf("ARROW:schema says %v (%v)", s, err)
	}
}

func TestTypesThatParquetDoesNotHaveAreRefusedByPath(t *testing.T) {
	for _, dt := range []arrow.DataType{arrow.FixedWidthTypes.Duration_s, &arrow.FixedSizeBinaryType{ByteWidth: 0}, arrow.MapOf(arrow.Null, arrow.PrimitiveTypes.Int64)} {
		in := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "d", Type: dt})}}, nil)
		if _, err := fileSchema(in, true); source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "column=s.d") {
			t.Errorf("%s: got %v", dt, err)
		}
	}
}

func TestNaNAndInfinitySurviveNarrowing(t *testing.T) {
	mem := memory.DefaultAllocator
	b := array.NewFloat64Builder(mem)
	defer b.Release()
	b.AppendValues([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}, nil)
	a := b.NewFloat64Array()
	defer a.Release()
	out, err := leafCast(arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32)(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Release()
	got := out.(*array.Float32).Float32Values()
	if !math.IsNaN(float64(got[0])) || !math.IsInf(float64(got[1]), 1) || !math.IsInf(float64(got[2]), -1) || !math.Signbit(float64(got[3])) {
		t.Errorf("got %v", got)
	}
}

// TestAFileOfEveryTypeHasTheSchemaItWasStagedWith: appends that began together compare
// theirs with that of the first one's file.
func TestAFileOfEveryTypeHasTheSchemaItWasStagedWith(t *testing.T) {
	plain := []arrow.DataType{arrow.Null, arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString,
		arrow.BinaryTypes.StringView, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.BinaryView,
		&arrow.FixedSizeBinaryType{ByteWidth: 3}, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64, arrow.FixedWidthTypes.Time32s,
		arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns, arrow.FixedWidthTypes.Timestamp_s,
		arrow.FixedWidthTypes.Timestamp_ms, &arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Berlin"},
		&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 38, Scale: 0}, &arrow.Decimal256Type{Precision: 50, Scale: 5},
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}}
	types := slices.Clone(plain)
	for _, dt := range plain {
		if dt.ID() == arrow.NULL {
			continue // no list of them can be made here
		}
		types = append(types, arrow.ListOf(dt), arrow.LargeListOf(dt), arrow.FixedSizeListOf(2, dt), arrow.MapOf(arrow.BinaryTypes.String, dt),
			arrow.StructOf(arrow.Field{Name: "x", Type: dt, Nullable: true}))
	}
	for _, dt := range types {
		given := arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil)
		schema, err := fileSchema(given, true)
		if err != nil {
			t.Errorf("%s: %v", dt, err)
			continue
		}
		column := array.MakeArrayOfNull(memory.DefaultAllocator, schema.Field(0).Type, 1)
		rec := array.NewRecordBatch(schema, []arrow.Array{column}, 1)
		column.Release()
		sp, err := spool.Open(t.TempDir(), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		enc := newEncoder(Encoding{}.with(Encoding{}), schema, sp, true)
		done := func(f encoded) error {
			footer, err := scan.ReadFooter(t.Context(), spoolReader{f.file}, source.File{Path: "a.parquet", Size: f.file.Size()})
			if err == nil {
				var read *arrow.Schema
				if read, err = fileSchema(footer.Schema(), true); err == nil && schemaHash(read) != schemaHash(schema) {
					t.Errorf("%s is read as %s", schema.Field(0).Type, read.Field(0).Type)
				}
			}
			return errorsJoin(err, f.file.Remove())
		}
		if err := errorsJoin(enc.write(t.Context(), rec, done), enc.finish(done), enc.abandon(), sp.Close()); err != nil {
			t.Errorf("%s: %v", dt, err)
		}
		rec.Release()
	}
}

func TestASchemaSurvivesBase64(t *testing.T) {
	rec := numbers(0)
	defer rec.Release()
	text, err := EncodeSchema(rec.Schema())
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeSchema(text)
	if err != nil || !back.Equal(rec.Schema()) {
		t.Errorf("got %v, %v", back, err)
	}
	for _, bad := range []string{"", "!", "AAAA", strings.Repeat("/", 400)} {
		if _, err := DecodeSchema(bad); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, codec := range []string{"snappy", "zstd"} {
		const rows = 10_000
		b.Run(fmt.Sprintf("codec=%s/rows=%d", codec, rows), func(b *testing.B) {
			rec := numbers(rows)
			defer rec.Release()
			sp, err := spool.Open(b.TempDir(), 1<<40)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = sp.Close() }()
			files, size, seen := 0, int64(0), false
			done := func(f encoded) error {
				if !seen { // once: it is more work than writing
					if err := reread(b.Context(), f, rec.Schema()); err != nil {
						return err
					}
					size, seen = f.file.Size(), true
				}
				files++
				if f.rows != rows || f.file.Size() != size {
					return fmt.Errorf("%d rows in %d bytes, want %d in %d", f.rows, f.file.Size(), rows, size)
				}
				return f.file.Remove()
			}
			encode := func() error {
				enc := newEncoder(Encoding{Compression: codec}.with(Encoding{}), rec.Schema(), sp, false)
				return errorsJoin(enc.write(b.Context(), rec, done), enc.finish(done))
			}
			if err := encode(); err != nil || files != 1 {
				b.Fatalf("%d files, %v", files, err)
			}
			b.SetBytes(recordBytes(rec))
			b.ReportAllocs()
			for b.Loop() {
				if err := encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
