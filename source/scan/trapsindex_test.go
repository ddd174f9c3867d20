package scan

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	parquetgo "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hubflight/hubflight/source/filter"
)

// index changes the page index of c.
func (f *trapFile) index(edit func(*format.ColumnIndex, *format.OffsetIndex)) {
	var columns format.ColumnIndex
	var offsets format.OffsetIndex
	c := &f.ft.chunks[0][1]
	for s, to := range map[section]any{c.columnIndex: &columns, c.offsetIndex: &offsets} {
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), f.data[s.off:s.end()], to); err != nil {
			f.t.Fatal(err)
		}
	}
	edit(&columns, &offsets)
	for s, from := range map[*section]any{&c.columnIndex: columns, &c.offsetIndex: offsets} {
		raw, err := thrift.Marshal(new(thrift.CompactProtocol), from)
		if err != nil {
			f.t.Fatal(err)
		}
		*s = f.put(raw)
	}
}

// pageBounds makes the column index say so about page 0.
func pageBounds(low, high []byte) func(*trapFile) {
	return func(f *trapFile) {
		f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.MinValues[0], x.MaxValues[0] = low, high })
	}
}

// jsonRows are n values as JSON.
func jsonRows(n int, value func(i int) string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = value(i)
	}
	return "[" + strings.Join(out, ",") + "]"
}

// doublesOf are n doubles.
func doublesOf(n int, value func(i int) float64) arrow.Array {
	out := make([]float64, n)
	for i := range out {
		out[i] = value(i)
	}
	return doubles(out...)
}

// TestTrapsOfThePageIndex: 32 rows in pages of eight.
func TestTrapsOfThePageIndex(t *testing.T) {
	const n = 32
	i64, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	pages := []parquet.WriterProperty{parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1), parquet.WithBatchSize(8)}
	ascending := jsonRows(n, func(i int) string { return fmt.Sprint(i) })
	oneNull := jsonRows(n, func(i int) string {
		if i == 20 {
			return "null"
		}
		return fmt.Sprint(i)
	})
	nullCounts := func(page, nulls int64) func(*trapFile) {
		return func(f *trapFile) {
			f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.NullCounts[page] = nulls })
		}
	}
	both := func(edits ...func(*trapFile)) func(*trapFile) {
		return func(f *trapFile) {
			for _, edit := range edits {
				edit(f)
			}
		}
	}
	chunkNulls := func(count int64) func(*trapFile) { return func(f *trapFile) { f.nulls(0, &count) } }
	wrong := pageBounds(le64(99), le64(99))
	for _, tr := range []trap{
		{name: "a page of nulls that counts none", rows: ascending, filter: `[["c","=",3]]`,
			lie: both(func(f *trapFile) {
				f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.NullPages[0], x.NullCounts[0] = true, 8 })
			}, chunkNulls(8)), guard: both(nullCounts(0, 0), chunkNulls(0))},
		{name: "pages without the null that the chunk counts", rows: oneNull, filter: `[["c","is null"]]`, lie: both(nullCounts(2, 0), chunkNulls(0)), guard: chunkNulls(1)},
		{name: "pages with more nulls than rows", rows: oneNull, filter: `[["c","is null"]]`, lie: both(nullCounts(2, 0), chunkNulls(0)), guard: both(nullCounts(0, 9), chunkNulls(9))},
		{name: "counts of nulls are left out", rows: oneNull, filter: `[["c","is null"]]`, lie: both(nullCounts(2, 0), chunkNulls(0)),
			guard: func(f *trapFile) {
				f.nulls(0, nil)
				f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.NullCounts = nil })
			}},
		{name: "a list of another length", rows: ascending, filter: `[["c","=",3]]`, lie: wrong, guard: func(f *trapFile) {
			f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.MinValues = append(x.MinValues, le64(99)) })
		}},
		{name: "bounds of a column without an order", rows: ascending, filter: `[["c","=",3]]`, lie: wrong, guard: (*trapFile).unordered},
		{name: "bounds of another width", rows: ascending, filter: `[["c","=",3]]`, lie: wrong, guard: pageBounds(le32(99), le32(99))},
		{name: "a minimum above the maximum", rows: ascending, filter: `[["c","=",3]]`, lie: wrong, guard: pageBounds(le64(99), le64(50))},
		{name: "strings of parquet-mr before 1.8", typ: text, rows: jsonRows(n, func(i int) string { return fmt.Sprintf("%q", fmt.Sprint(i)) }), filter: `[["c","=","3"]]`,
			lie: pageBounds([]byte("x"), []byte("y")), guard: writtenBy("parquet-mr version 1.7.0 (build 1)")},
		{name: "pages that are not in the order that they claim", rows: jsonRows(n, func(i int) string { return fmt.Sprint(n - i) }), filter: `[["c","=",30]]`, skips: `[["c","=",30]]`,
			lie: func(f *trapFile) {
				f.index(func(x *format.ColumnIndex, _ *format.OffsetIndex) { x.BoundaryOrder = format.Ascending })
			}},
		{name: "shortened bounds are no values", typ: text, rows: jsonRows(n, func(int) string { return `"abcd"` }), lie: pageBounds([]byte("abc"), []byte("abc")),
			filter: `[["c","!=","abc"],["id","<",8]]`, skips: `[["c","=","abc"]]`},
		{name: "NaN beside the only other value", made: doublesOf(n, func(i int) float64 { return []float64{5, math.NaN()}[boolInt(i == 3)] }), filter: `[["c","!=",5]]`, skips: `[["c","=",7]]`},
		{name: "NaN is greater than the maximum in spark logic", made: doublesOf(n, func(i int) float64 { return []float64{5, math.NaN()}[boolInt(i == 3)] }),
			filter: `[["c",">",5]]`, logic: filter.Spark, skips: `[["c","<",5]]`},
		{name: "NaN as bounds", made: doublesOf(n, func(i int) float64 { return float64(i) }), filter: `[["c","=",3]]`, lie: pageBounds(lef64(99), lef64(99)), guard: pageBounds(lef64(math.NaN()), lef64(99))},
		{name: "a page of nulls has rows that are not in a list", filter: `[["c","not in",[3]],["c","is null"]]`, skips: `[["c","=",3]]`,
			rows: jsonRows(n, func(i int) string { return []string{fmt.Sprint(i), "null"}[boolInt(i/8 == 1)] })},
		{name: "a null beside bounds that a list excludes", rows: oneNull, filter: `[["c","in",[100,null]]]`, skips: `[["c","in",[3]]]`},
	} {
		if tr.typ == nil {
			tr.typ = i64
		}
		tr.layer, tr.with = LayerPageIndex, pages
		t.Run(tr.name, tr.run)
	}
}

// TestTrapsOfOffsetIndexes: one that leaves a page out would make its rows
// disappear, and one that leads elsewhere would read anything.
func TestTrapsOfOffsetIndexes(t *testing.T) {
	tr := trap{typ: arrow.PrimitiveTypes.Int64, rows: jsonRows(32, func(i int) string { return fmt.Sprint(i) }),
		with: []parquet.WriterProperty{parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1), parquet.WithBatchSize(8)}}
	q := Query{Filters: mustFilter(t, `[["c","=",3]]`)}
	drop := func(i int) func(*format.ColumnIndex, *format.OffsetIndex) {
		return func(x *format.ColumnIndex, o *format.OffsetIndex) {
			o.PageLocations = append(o.PageLocations[:i:i], o.PageLocations[i+1:]...)
			x.NullPages = append(x.NullPages[:i:i], x.NullPages[i+1:]...)
			x.MinValues = append(x.MinValues[:i:i], x.MinValues[i+1:]...)
			x.MaxValues = append(x.MaxValues[:i:i], x.MaxValues[i+1:]...)
			x.NullCounts = append(x.NullCounts[:i:i], x.NullCounts[i+1:]...)
		}
	}
	at := func(edit func(p []format.PageLocation)) func(*format.ColumnIndex, *format.OffsetIndex) {
		return func(_ *format.ColumnIndex, o *format.OffsetIndex) { edit(o.PageLocations) }
	}
	for name, edit := range map[string]func(*format.ColumnIndex, *format.OffsetIndex){
		"the first page is left out": drop(0),
		"a page is left out":         drop(1),
		"the last page is left out":  drop(3),
		"no page at all": func(x *format.ColumnIndex, o *format.OffsetIndex) {
			*x, *o = format.ColumnIndex{}, format.OffsetIndex{}
		},
		"the first page begins behind the first":   at(func(p []format.PageLocation) { p[0].FirstRowIndex = 1 }),
		"the first page lies before the data":      at(func(p []format.PageLocation) { p[0].Offset-- }),
		"the first page lies behind where it does": at(func(p []format.PageLocation) { p[0].Offset += minPageBytes; p[0].CompressedPageSize -= minPageBytes }),
		"two pages overlap":                        at(func(p []format.PageLocation) { p[1].Offset--; p[1].CompressedPageSize++ }),
		"a gap between pages":                      at(func(p []format.PageLocation) { p[1].CompressedPageSize-- }),
		"a page beyond the chunk":                  at(func(p []format.PageLocation) { p[3].CompressedPageSize++ }),
		"a page of no bytes":                       at(func(p []format.PageLocation) { p[1].CompressedPageSize = 0 }),
		"a page of no bytes and some rows": func(x *format.ColumnIndex, o *format.OffsetIndex) {
			p := o.PageLocations[1]
			p.CompressedPageSize, p.FirstRowIndex = 0, 4
			o.PageLocations = slices.Insert(o.PageLocations, 1, p)
			x.NullPages, x.NullCounts = slices.Insert(x.NullPages, 1, false), slices.Insert(x.NullCounts, 1, 0)
			x.MinValues, x.MaxValues = slices.Insert(x.MinValues, 1, le64(0)), slices.Insert(x.MaxValues, 1, le64(31))
		},
		"a page of negative size":   at(func(p []format.PageLocation) { p[1].CompressedPageSize = -1 }),
		"rows that go back":         at(func(p []format.PageLocation) { p[2].FirstRowIndex = 7 }),
		"two pages of the same row": at(func(p []format.PageLocation) { p[2].FirstRowIndex = 8 }),
		"rows beyond the row group": at(func(p []format.PageLocation) { p[3].FirstRowIndex = 32 }),
	} {
		t.Run(name, func(t *testing.T) {
			f := tr.file(t)
			if !f.skipped(q, LayerPageIndex) {
				t.Fatal("the page index skips nothing as it was written")
			}
			f.index(edit)
			if f.skipped(q, LayerPageIndex) {
				t.Error("the page index is believed")
			}
			for i := range int64(32) {
				if err := f.lost(Query{Filters: mustFilter(t, fmt.Sprintf(`[["c","=",%d]]`, i))}, []int64{i}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// bloom makes an empty bloom filter of n bytes that of c. Its header says length,
// and which algorithm, hash and compression it has: 1 is the one that there is.
func (f *trapFile) bloom(n int, length int64, algorithm, hash, compression byte) {
	c := &compact{}
	c.field(1, thriftI32).zigzag(length)
	for _, choice := range []byte{algorithm, hash, compression} {
		c.field(1, thriftStruct).field(choice, thriftStruct)
		c.Write([]byte{thriftStop, thriftStop})
	}
	c.WriteByte(thriftStop)
	c.Write(make([]byte, n))
	f.ft.chunks[0][1].bloom = f.put(c.Bytes())
	f.put(make([]byte, 2*bloomHeader)) // a filter is asked if so much is at hand
}

func TestTrapsOfBloomFilters(t *testing.T) {
	with := []parquet.WriterProperty{parquet.WithBloomFilterEnabledFor("c", true), parquet.WithDictionaryDefault(false)}
	empty := func(n int, length int64, choices ...byte) func(*trapFile) {
		return func(f *trapFile) { f.bloom(n, length, choices[0], choices[1], choices[2]) }
	}
	believed := empty(bloomBlock, bloomBlock, 1, 1, 1)
	i64, f64 := arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64
	nanos := &arrow.TimestampType{Unit: arrow.Nanosecond}
	for _, tr := range []trap{
		{name: "an unknown algorithm", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, bloomBlock, 2, 1, 1)},
		{name: "an unknown hash", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, bloomBlock, 1, 2, 1)},
		{name: "an unknown compression", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, bloomBlock, 1, 1, 2)},
		{name: "half a block", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, bloomBlock+16, 1, 1, 1)},
		{name: "no block", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, 0, 1, 1, 1)},
		{name: "a negative length", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, -bloomBlock, 1, 1, 1)},
		{name: "longer than the file", typ: i64, rows: `[1,9]`, filter: `[["c","=",9]]`, lie: believed, guard: empty(bloomBlock, 1<<20, 1, 1, 1)},
		{name: "zero has two forms", made: doubles(math.Copysign(0, -1), 3), filter: `[["c","=",0.0]]`, skips: `[["c","=",1.5]]`},
		{name: "zero in a list has two forms", made: doubles(math.Copysign(0, -1), 3), filter: `[["c","in",[0.0,1.5]]]`, skips: `[["c","in",[1.5,2.5]]]`},
		{name: "NaN has many forms", made: doubles(math.Float64frombits(0x7ff8000000000007), 3), filter: `[["c","=",{"$f":"nan"}]]`, logic: filter.Spark, skips: `[["c","=",1.5]]`},
		{name: "a null that a list holds", typ: i64, rows: `[1,null]`, filter: `[["c","in",[7,null]]]`, skips: `[["c","=",7]]`},
		{name: "not in looks for nothing", typ: i64, rows: `[1,9]`, filter: `[["c","not in",[7]]]`, skips: `[["c","in",[7]]]`},
		{name: "one value of a list is there", typ: i64, rows: `[1,9]`, filter: `[["c","in",[7,9]]]`, skips: `[["c","in",[7,8]]]`},
		{name: "one conjunction of two", typ: i64, rows: `[1,9]`, filter: `[[["c","=",7]],[["c","=",9]]]`, skips: `[[["c","=",7]],[["c","=",8]]]`},
		{name: "a range beside a value", typ: i64, rows: `[1,9]`, filter: `[[["c",">",5]],[["c","=",7]]]`, skips: `[["c","=",7]]`},
		{name: "a range of doubles beside a value", made: doubles(1, 9), filter: `[[["c",">",5.5]],[["c","=",7.5]]]`, skips: `[["c","=",7.5]]`},
		{name: "a range of strings beside a value", typ: arrow.BinaryTypes.String, rows: `["a","x"]`, filter: `[[["c",">","m"]],[["c","=","q"]]]`, skips: `[["c","=","q"]]`},
		{name: "a null that a list holds, beside a value", typ: i64, rows: `[1,null]`, filter: `[[["c","in",[7,null]]],[["c","=",7]]]`, skips: `[["c","=",7]]`},
		{name: "more values than are looked up, beside one", typ: i64, rows: `[1,9]`, filter: fmt.Sprintf(`[[["c","in",%s]],[["c","=",7]]]`, jsonRows(1001, func(i int) string { return fmt.Sprint(9 + 2*i) })), skips: `[["c","=",7]]`},
		{name: "an integer beside a float", typ: i64, rows: `[1,9]`, filter: `[["c","=",9.0]]`, skips: `[["c","=",7.0]]`},
		{name: "a number that float32 does not hold", typ: arrow.PrimitiveTypes.Float32, rows: `[0.5,0.25]`, filter: `[["c","in",[0.1,0.5]]]`, skips: `[["c","=",0.75]]`},
		{name: "unsigned numbers above the signed range", typ: arrow.PrimitiveTypes.Uint32, rows: `[1,3000000000]`, filter: `[["c","=",3000000000]]`, skips: `[["c","=",7]]`},
		{name: "unsigned 64 bits as decimals", typ: arrow.PrimitiveTypes.Uint64, rows: `[1,18446744073709551615]`, filter: `[["c","=",18446744073709551615]]`, logic: filter.Spark, skips: `[["c","=",7]]`},
		{name: "negative decimals", typ: &arrow.Decimal128Type{Precision: 20, Scale: 2}, rows: `["-1.50","2"]`, filter: `[["c","=",{"$dec":"-1.5"}]]`, skips: `[["c","=",7]]`},
		{name: "nanoseconds asked for in microseconds", typ: nanos, rows: `["1970-01-01T00:00:00.000001500"]`, logic: filter.Spark, filter: `[["c","=",{"$ts":"1970-01-01T00:00:00.000001"}]]`,
			lie: func(*trapFile) {}, skips: `[["c","=",{"$ts":"1970-01-01T00:00:00.000002"}]]`, layer: LayerStatistics},
	} {
		if tr.typ == nil {
			tr.typ = f64
		}
		if tr.layer == "" {
			tr.layer = LayerBloom
		}
		tr.with = with
		t.Run(tr.name, tr.run)
	}
	trap{name: "the filter of another column", typ: i64, rows: `[7,9]`, filter: `[[["id","=",7]],[["c","=",7]]]`, skips: `[["id","=",7]]`, layer: LayerBloom,
		with: []parquet.WriterProperty{parquet.WithBloomFilterEnabledFor("id", true), parquet.WithDictionaryDefault(false)}}.run(t)
}

// A filter holds what is stored. Where integers are stored in more bits than they
// are read in, that is not what is compared; what shows that they are not is both of
// their bounds.
func TestTrapBloomFilterOfIntegersThatAreCut(t *testing.T) {
	schema := parquetgo.NewSchema("row", parquetgo.Group{"id": parquetgo.Int(64), "z": parquetgo.Int(8)})
	var out bytes.Buffer
	w := parquetgo.NewWriter(&out, schema, parquetgo.BloomFilters(parquetgo.SplitBlockFilter(10, "z")))
	row := parquetgo.Row{parquetgo.Int64Value(0).Level(0, 0, 0), parquetgo.Int32Value(300).Level(0, 0, 1)}
	if _, err := w.WriteRows([]parquetgo.Row{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := &trapFile{t: t, data: out.Bytes(), ft: footer(t, out.Bytes())}
	f.ft.tail = tail{data: f.data}
	q := Query{Filters: mustFilter(t, `[["z","=",44]]`)}
	if wanted := wantedIDs(t, f.data, f.ft, q); !slices.Equal(wanted, []int64{0}) {
		t.Fatalf("rows %v have the value that is read", wanted)
	}
	if f.bounds(0, le32(44), le32(44)); f.lost(q, []int64{0}) == nil {
		t.Error("the trap is not set: the filter costs no row even if it is believed")
	}
	for _, b := range [][2][]byte{{le32(300), le32(300)}, {nil, nil}, {le32(44), nil}, {nil, le32(44)}, {le32(45), le32(44)}} {
		f.bounds(0, b[0], b[1])
		if err := f.lost(q, []int64{0}); err != nil {
			t.Errorf("bounds %v: %v", b, err)
		}
	}
}

// decimalsFile has a decimal of varying length, as parquet-go writes it, with a
// bloom filter.
func decimalsFile(t *testing.T, values ...[]byte) *trapFile {
	t.Helper()
	schema := parquetgo.NewSchema("row", parquetgo.Group{"id": parquetgo.Int(64), "z": parquetgo.Decimal(0, 20, parquetgo.ByteArrayType)})
	var out bytes.Buffer
	w := parquetgo.NewWriter(&out, schema, parquetgo.BloomFilters(parquetgo.SplitBlockFilter(10, "z")))
	for i, raw := range values {
		row := parquetgo.Row{parquetgo.Int64Value(int64(i)).Level(0, 0, 0), parquetgo.ByteArrayValue(raw).Level(0, 0, 1)}
		if _, err := w.WriteRows([]parquetgo.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := &trapFile{t: t, data: out.Bytes(), ft: footer(t, out.Bytes())}
	f.ft.tail = tail{data: f.data}
	return f
}

// A decimal of varying length has several encodings: a filter that was made of one
// says nothing about another.
func TestTrapBloomFilterOfDecimalsOfVaryingLength(t *testing.T) {
	f := decimalsFile(t, []byte{0, 0, 7}, []byte{0, 9})
	if f.ft.chunks[0][1].bloom.len == 0 {
		t.Fatal("the file has no bloom filter")
	}
	if err := f.lost(Query{Filters: mustFilter(t, `[["z","=",7]]`)}, []int64{0}); err != nil {
		t.Error(err)
	}
}

// Half of a number is another number.
func TestTrapShortenedDecimals(t *testing.T) {
	f := decimalsFile(t, []byte{1, 0}, []byte{1, 7})
	st := *f.ft.meta.RowGroups[0].Columns[0].MetaData.Statistics
	f.ft.meta.RowGroups[0].Columns[1].MetaData.Statistics = &st
	f.bounds(0, []byte{1}, []byte{1})
	q, wanted := Query{Filters: mustFilter(t, `[["z",">",200]]`)}, []int64{0, 1}
	whole := true
	if st.IsMinValueExact, st.IsMaxValueExact = &whole, &whole; f.lost(q, wanted) == nil {
		t.Error("the trap is not set: the bounds cost no row even if they are believed")
	}
	cut := false
	for _, flags := range [][2]*bool{{&cut, &cut}, {&cut, &whole}, {&whole, &cut}, {&cut, nil}, {nil, &cut}} {
		if st.IsMinValueExact, st.IsMaxValueExact = flags[0], flags[1]; f.lost(q, wanted) != nil {
			t.Errorf("bounds that are said to be cut are believed: %+v", st)
		}
	}
}

// onlyDictionaries makes the encoding statistics of c say that all data pages take
// their values from the dictionary.
func (f *trapFile) onlyDictionaries() {
	m := f.ft.meta.RowGroups[0].Columns[1].MetaData
	kept := m.EncodingStats[:0:0]
	for _, s := range m.EncodingStats {
		if s.PageType != 0 && s.PageType != 3 || s.Encoding != 0 {
			kept = append(kept, s)
		}
	}
	m.EncodingStats = kept
}

func TestTrapsOfDictionaries(t *testing.T) {
	const n = 64
	text := arrow.BinaryTypes.String
	small := []parquet.WriterProperty{parquet.WithDataPageSize(64), parquet.WithBatchSize(8)}
	limited := append(small, parquet.WithDictionaryPageSizeLimit(500))
	fellBack := jsonRows(n, func(i int) string { return fmt.Sprintf(`"value %02d"`, i) })
	few := jsonRows(n, func(i int) string { return fmt.Sprintf(`"a value of some length, number %d"`, i%4) })
	fewAndNull := jsonRows(n, func(i int) string {
		return []string{fmt.Sprintf(`"a value of some length, number %d"`, i%4), "null"}[boolInt(i%8 == 0)]
	})
	withPlain := func(change func(*trapFile)) func(*trapFile) {
		return func(f *trapFile) { // as its writer said, but for the change
			f.ft.meta.RowGroups[0].Columns[1].MetaData.EncodingStats = footer(f.t, f.data).meta.RowGroups[0].Columns[1].MetaData.EncodingStats
			change(f)
		}
	}
	nothing := func(*trapFile) {}
	for _, tr := range []trap{
		{name: "a writer that gave its dictionary up", rows: fellBack, filter: `[["c","=","value 60"]]`, lie: (*trapFile).onlyDictionaries, guard: withPlain(nothing)},
		{name: "encodings that nobody counted", rows: fellBack, filter: `[["c","=","value 60"]]`, lie: (*trapFile).onlyDictionaries,
			guard: func(f *trapFile) { f.ft.meta.RowGroups[0].Columns[1].MetaData.EncodingStats = nil }},
		{name: "a negative count of pages", rows: fellBack, filter: `[["c","=","value 60"]]`, lie: (*trapFile).onlyDictionaries,
			guard: withPlain(func(f *trapFile) {
				for _, s := range f.ft.meta.RowGroups[0].Columns[1].MetaData.EncodingStats {
					s.Count = -s.Count
				}
			})},
		{name: "a count of no pages", rows: fellBack, filter: `[["c","=","value 60"]]`, lie: (*trapFile).onlyDictionaries,
			guard: func(f *trapFile) {
				for _, s := range f.ft.meta.RowGroups[0].Columns[1].MetaData.EncodingStats {
					s.Count = 0
				}
			}},
		{name: "a null that a list holds, beside a value", rows: fewAndNull, filter: `[[["c","in",["x",null]]],[["c","=","y"]]]`, skips: `[["c","=","y"]]`},
		{name: "a null that a list holds", rows: fewAndNull, filter: `[["c","in",["x",null]]]`, skips: `[["c","in",["x"]]]`},
		{name: "nulls are not in a list", rows: fewAndNull, filter: `[["c","not in",["a value of some length, number 0","a value of some length, number 1","a value of some length, number 2","a value of some length, number 3"]]]`, skips: `[["c","=","x"]]`},
		{name: "!= is about values", rows: few, filter: `[["c","!=","a value of some length, number 0"]]`, skips: `[["c","in",["x","y"]]]`},
		{name: "two terms that no one value satisfies", rows: few, filter: `[[["c",">","a value of some length, number 0"],["c","<","a value of some length, number 2"]],[["c","=","x"]]]`, skips: `[["c",">","a value of some length, number 1"],["c","<","a value of some length, number 2"]]`},
		{name: "NaN is an entry", made: doublesOf(n, func(i int) float64 { return []float64{5, math.NaN()}[i%2] }), filter: `[["c","!=",5]]`, skips: `[["c","=",7]]`},
		{name: "-0.0 is an entry", made: doublesOf(n, func(i int) float64 { return []float64{5, math.Copysign(0, -1)}[i%2] }), filter: `[["c","=",0.0]]`, skips: `[["c","=",1.5]]`},
	} {
		if tr.typ == nil {
			tr.typ = text
		}
		if tr.layer, tr.with = LayerDictionary, small; tr.rows == fellBack {
			tr.with = limited
		}
		t.Run(tr.name, tr.run)
	}
}
