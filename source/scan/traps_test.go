package scan

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/hubflight/hubflight/source/filter"
)

// trap is one way in which what a file says beside its data makes a reader lose
// rows. Rows are {id, c}; ids count from 0.
type trap struct {
	name string
	typ  arrow.DataType
	rows string      // of c, as JSON …
	made arrow.Array // … or as it is
	per  int64       // rows of a row group; 0 is all
	with []parquet.WriterProperty
	// lie is what the file says wrongly. A reader that believes it loses rows.
	lie func(*trapFile)
	// guard is what must keep the reader from believing it; nil if nothing has to
	// be said.
	guard func(*trapFile)
	// skips is a filter that the layer answers rightly by skipping a row group, so
	// that it is known to work in this very file.
	skips  string
	layer  string
	filter string
	logic  filter.Logic
}

// trapFile is a file and its footer, which a trap changes.
type trapFile struct {
	t    testing.TB
	data []byte
	ft   *Footer
}

func (tr trap) file(t testing.TB) *trapFile {
	t.Helper()
	c := tr.made
	if c == nil {
		var err error
		if c, _, err = array.FromJSON(memory.NewGoAllocator(), tr.typ, strings.NewReader(tr.rows)); err != nil {
			t.Fatal(err)
		}
	}
	ids := array.NewInt64Builder(memory.NewGoAllocator())
	for i := range c.Len() {
		ids.Append(int64(i))
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, field("c", c.DataType())}, nil)
	n := int64(c.Len())
	data := write(t, array.NewRecordBatch(schema, []arrow.Array{ids.NewArray(), c}, n), max(tr.per, 0)+boolInt(tr.per == 0)*n, tr.with...)
	f := &trapFile{t: t, data: data, ft: footer(t, data)}
	f.ft.tail = tail{data: data} // so that nothing is too dear to be asked
	return f
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// put appends bytes to the file.
func (f *trapFile) put(b []byte) section {
	s := section{off: int64(len(f.data)), len: int64(len(b))}
	f.data = append(slices.Clone(f.data), b...)
	f.ft.tail = tail{data: f.data}
	f.ft.meta.SetSourceFileSize(int64(len(f.data)))
	return s
}

// bounds makes the statistics of c in a row group say so.
func (f *trapFile) bounds(group int, low, high []byte) {
	s := f.ft.meta.RowGroups[group].Columns[1].MetaData.Statistics
	s.MinValue, s.MaxValue = low, high
}

func (f *trapFile) nulls(group int, n *int64) {
	f.ft.meta.RowGroups[group].Columns[1].MetaData.Statistics.NullCount = n
}

// unordered takes the columns' orders away.
func (f *trapFile) unordered() { f.ft.meta.ColumnOrders = nil }

// writtenBy makes the file another program's.
func writtenBy(program string) func(*trapFile) {
	return func(f *trapFile) { *f.ft.meta.WriterVersion() = *metadata.NewAppVersion(program) }
}

func le32(v int32) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }
func le64(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
func lef64(v float64) []byte {
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
}

func lef32(v float32) []byte {
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
}

// pairs are values of two bytes each.
func pairs(values ...string) arrow.Array {
	b := array.NewFixedSizeBinaryBuilder(memory.NewGoAllocator(), &arrow.FixedSizeBinaryType{ByteWidth: 2})
	for _, v := range values {
		b.Append([]byte(v))
	}
	return b.NewArray()
}

func doubles(values ...float64) arrow.Array {
	b := array.NewFloat64Builder(memory.NewGoAllocator())
	b.AppendValues(values, nil)
	return b.NewArray()
}

// lost says which wanted rows the layers leave out, each alone and all together.
func (f *trapFile) lost(q Query, wanted []int64) error {
	for off := range offAll + 1 {
		q.off = off
		if err := checkSpans(f.ft, prospects(f.t, &bytesReader{data: f.data}, f.ft, q), wanted, map[string]int{}); err != nil {
			return err
		}
	}
	return nil
}

// skipped reports whether a layer alone leaves out rows.
func (f *trapFile) skipped(q Query, layer string) bool {
	q.off = offAll &^ map[string]layerSet{
		LayerStatistics: offStatistics, LayerBloom: offBloom, LayerDictionary: offDictionary, LayerPageIndex: offPageIndex,
	}[layer]
	return slices.ContainsFunc(prospects(f.t, &bytesReader{data: f.data}, f.ft, q), func(c *prospect) bool { return c.layer != "" || c.partial() })
}

func (tr trap) run(t *testing.T) {
	query := func(text string) Query {
		return Query{Filters: mustFilter(t, text), Logic: tr.logic, Profile: Profile(tr.logic)}
	}
	f := tr.file(t)
	q := query(tr.filter)
	wanted := wantedIDs(t, f.data, f.ft, q)
	if len(wanted) == 0 {
		t.Fatal("nobody wants a row, so none can be lost")
	}
	if tr.lie != nil {
		tr.lie(f)
	}
	if tr.guard != nil {
		if f.lost(q, wanted) == nil {
			t.Error("the trap is not set: the lie costs no row even if it is believed")
		}
		tr.guard(f)
	}
	if err := f.lost(q, wanted); err != nil {
		t.Error(err)
	}
	// Not only the candidates: the rows themselves.
	q.Columns = nil
	q.off = 0
	if got := mustRead(t, f.data, Task{Footer: f.ft, Query: q, Limit: -1}); got.NumRows() != int64(len(wanted)) {
		t.Errorf("%d rows, want %d", got.NumRows(), len(wanted))
	}
	if tr.skips == "" {
		if tr.guard == nil {
			t.Error("nothing shows that the layer works here")
		}
		return
	}
	if !f.skipped(query(tr.skips), tr.layer) {
		t.Errorf("%s does not make the layer %q skip anything, as %s would", f.ft.file.Path, tr.layer, tr.skips)
	}
}

// TestTrapsOfStatistics: what footers say about row groups and must not be taken at
// its word.
func TestTrapsOfStatistics(t *testing.T) {
	i32, i64, f64, text := arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String
	dec, nanos := &arrow.Decimal128Type{Precision: 20}, &arrow.TimestampType{Unit: arrow.Nanosecond}
	one := func(b []byte) func(*trapFile) { return func(f *trapFile) { f.bounds(0, b, b) } }
	between := func(low, high []byte) func(*trapFile) {
		return func(f *trapFile) { f.bounds(0, low, high) }
	}
	count := func(n int64) func(*trapFile) { return func(f *trapFile) { f.nulls(0, &n) } }
	all := func(edits ...func(*trapFile)) func(*trapFile) {
		return func(f *trapFile) {
			for _, edit := range edits {
				edit(f)
			}
		}
	}
	deprecated := func(f *trapFile) {
		s := f.ft.meta.RowGroups[0].Columns[1].MetaData.Statistics
		s.Min, s.Max, s.MinValue, s.MaxValue = s.MinValue, s.MaxValue, nil, nil
	}
	exact := func(is *bool) func(*trapFile) {
		return func(f *trapFile) {
			s := f.ft.meta.RowGroups[0].Columns[1].MetaData.Statistics
			s.IsMinValueExact, s.IsMaxValueExact = is, is
		}
	}
	yes, no := true, false
	fixed := func(v int64) []byte { // a decimal of precision 20 in its 9 bytes
		return append([]byte{byte(v >> 63)}, binary.BigEndian.AppendUint64(nil, uint64(v))...)
	}
	strct := arrow.StructOf(field("x", i32))
	for _, tr := range []trap{
		{name: "the deprecated min and max of numbers", typ: i32, rows: `[1,9]`, lie: one(le32(5)), guard: deprecated, filter: `[["c","=",9]]`},
		{name: "the deprecated min and max of strings, in signed order", typ: text, rows: `["z","é"]`, lie: one([]byte("é")), guard: deprecated, filter: `[["c","=","z"]]`},
		{name: "bounds of a column without an order", typ: i32, rows: `[1,9]`, lie: one(le32(5)), guard: (*trapFile).unordered, filter: `[["c","=",9]]`},
		{name: "unsigned numbers in signed order", typ: arrow.PrimitiveTypes.Uint32, rows: `[1,3000000000]`,
			lie: one(le32(1)), guard: func(f *trapFile) { f.bounds(0, le32(-1294967296), le32(1)) }, filter: `[["c",">",5]]`},
		{name: "decimals in the order of their bytes", typ: dec, rows: `["-1","2"]`,
			lie: one(fixed(2)), guard: func(f *trapFile) { f.bounds(0, fixed(2), fixed(-1)) }, filter: `[["c","<",0]]`},
		{name: "a bound of another width", typ: i64, rows: `[1,9]`, lie: one(le64(5)), guard: func(f *trapFile) { f.bounds(0, le32(5), le32(5)) }, filter: `[["c","=",9]]`},
		{name: "a bound that the narrow type cannot hold", typ: arrow.PrimitiveTypes.Int8, rows: `[45]`,
			lie: one(le32(5)), guard: one(le32(300)), filter: `[["c","=",45]]`},
		{name: "bounds the wrong way round", typ: i32, rows: `[1,5,9]`, lie: one(le32(7)), guard: between(le32(9), le32(1)), filter: `[["c","=",5]]`},
		{name: "bounds of 64 bits the wrong way round", typ: i64, rows: `[-1,5,9]`, lie: one(le64(7)), guard: between(le64(9), le64(-1)), filter: `[["c","=",5]]`},
		{name: "unsigned bounds the wrong way round", typ: arrow.PrimitiveTypes.Uint32, rows: `[1,5,3000000000]`, lie: one(le32(7)), guard: between(le32(-1294967296), le32(1)), filter: `[["c","=",5]]`},
		{name: "unsigned bounds of 64 bits the wrong way round", typ: arrow.PrimitiveTypes.Uint64, rows: `[1,5,18446744073709551615]`, lie: one(le64(7)), guard: between(le64(-1), le64(1)), filter: `[["c","=",5]]`},
		{name: "bounds of doubles the wrong way round", typ: f64, rows: `[1,5,9]`, lie: one(lef64(7)), guard: between(lef64(9), lef64(1)), filter: `[["c","=",5]]`},
		{name: "bounds of floats the wrong way round", typ: arrow.PrimitiveTypes.Float32, rows: `[1,5,9]`, lie: one(lef32(7)), guard: between(lef32(9), lef32(1)), filter: `[["c","=",5]]`},
		{name: "bounds of strings the wrong way round", typ: text, rows: `["a","m","z"]`, lie: one([]byte("x")), guard: between([]byte("z"), []byte("a")), filter: `[["c","=","m"]]`},
		{name: "bounds of decimals the wrong way round", typ: dec, rows: `["-1","5","9"]`, lie: one(fixed(7)), guard: between(fixed(9), fixed(-1)), filter: `[["c","=",5]]`},
		{name: "bounds that 16 bits cannot hold", typ: arrow.PrimitiveTypes.Int16, rows: `[1,9]`, lie: one(le32(5)), guard: between(le32(70_001), le32(70_009)), filter: `[["c","=",9]]`},
		{name: "a negative bound that 8 bits cannot hold", typ: arrow.PrimitiveTypes.Int8, rows: `[1,9]`, lie: one(le32(5)), guard: between(le32(-156), le32(100)), filter: `[["c","=",1]]`},
		{name: "bounds that 8 unsigned bits cannot hold", typ: arrow.PrimitiveTypes.Uint8, rows: `[1,9]`, lie: one(le32(5)), guard: between(le32(300), le32(400)), filter: `[["c","=",9]]`},
		{name: "bounds that 16 unsigned bits cannot hold", typ: arrow.PrimitiveTypes.Uint16, rows: `[1,9]`, lie: one(le32(5)), guard: between(le32(70_001), le32(70_009)), filter: `[["c","=",9]]`},
		{name: "booleans that are neither", typ: arrow.FixedWidthTypes.Boolean, rows: `[true,true]`, lie: one([]byte{0}), guard: one([]byte{2}), filter: `[["c","=",true]]`},
		{name: "booleans of no bytes", typ: arrow.FixedWidthTypes.Boolean, rows: `[true,true]`, lie: one([]byte{0}), guard: one([]byte{}), filter: `[["c","=",true]]`},
		{name: "booleans of two bytes", typ: arrow.FixedWidthTypes.Boolean, rows: `[true,true]`, lie: one([]byte{0}), guard: one([]byte{0, 0}), filter: `[["c","=",true]]`},
		{name: "doubles of seven bytes", typ: f64, rows: `[1,9]`, lie: one(lef64(5)), guard: one(lef64(5)[:7]), filter: `[["c","=",9]]`},
		{name: "doubles of nine bytes", typ: f64, rows: `[1,9]`, lie: one(lef64(5)), guard: one(append(lef64(5), 0)), filter: `[["c","=",9]]`},
		{name: "floats of three bytes", typ: arrow.PrimitiveTypes.Float32, rows: `[1,9]`, lie: one(lef32(5)), guard: one(lef32(5)[:3]), filter: `[["c","=",9]]`},
		{name: "floats of five bytes", typ: arrow.PrimitiveTypes.Float32, rows: `[1,9]`, lie: one(lef32(5)), guard: one(append(lef32(5), 0)), filter: `[["c","=",9]]`},
		{name: "halves of one byte", typ: arrow.FixedWidthTypes.Float16, rows: `[1,9]`, lie: one([]byte{0, 0x45}), guard: one([]byte{0}), filter: `[["c","=",9]]`},
		{name: "halves of three bytes", typ: arrow.FixedWidthTypes.Float16, rows: `[1,9]`, lie: one([]byte{0, 0x45}), guard: one([]byte{0, 0x45, 0}), filter: `[["c","=",9]]`},
		{name: "NaN as a minimum of floats", typ: arrow.PrimitiveTypes.Float32, rows: `[-9,-1]`, lie: one(lef32(-5)), guard: between(lef32(float32(math.NaN())), lef32(5)), filter: `[["c","=",-9]]`},
		{name: "NaN as a minimum of halves", typ: arrow.FixedWidthTypes.Float16, rows: `[-9,-1]`, lie: one([]byte{0, 0xc5}), guard: between([]byte{0, 0x7e}, []byte{0, 0x45}), filter: `[["c","=",-9]]`},
		{name: "bytes of another width", typ: &arrow.FixedSizeBinaryType{ByteWidth: 2}, made: pairs("aa", "zz"), lie: one([]byte("mm")), guard: one([]byte("m")), filter: `[["c","=","zz"]]`},
		{name: "NaN as a minimum", typ: f64, rows: `[1,9]`, lie: one(lef64(5)), guard: func(f *trapFile) { f.bounds(0, lef64(math.NaN()), lef64(5)) }, filter: `[["c","=",9]]`},
		{name: "NaN as a maximum", typ: f64, rows: `[1,9]`, lie: one(lef64(5)), guard: func(f *trapFile) { f.bounds(0, lef64(5), lef64(math.NaN())) }, filter: `[["c","=",1]]`},
		{name: "NaN beside the only other value, and !=", made: doubles(math.NaN(), 5), filter: `[["c","!=",5]]`, skips: `[["c","=",7]]`},
		{name: "NaN beside the only other value, and not in", made: doubles(math.NaN(), 5), filter: `[["c","not in",[5]]]`, skips: `[["c","in",[7]]]`},
		{name: "NaN is greater than the maximum in spark logic", made: doubles(math.NaN(), 5), filter: `[["c",">",5]]`, logic: filter.Spark, skips: `[["c","<",5]]`},
		{name: "NaN equals NaN in spark logic", made: doubles(math.NaN(), 5), filter: `[["c","=",{"$f":"nan"}]]`, logic: filter.Spark, skips: `[["c","=",7]]`},
		{name: "nothing but NaN has no bounds", made: doubles(math.NaN(), math.NaN()), filter: `[["c","!=",5]]`, lie: count(2), guard: count(0)},
		{name: "a minimum of 0.0 where there is -0.0", made: doubles(math.Copysign(0, -1), 3), lie: func(f *trapFile) { f.bounds(0, lef64(0), lef64(3)) },
			filter: `[["c","in",[{"$f":"-0.0"}]]]`, skips: `[["c","<",{"$f":"-0.0"}]]`},
		{name: "a maximum of -0.0 where there is 0.0", made: doubles(-3, 0), lie: func(f *trapFile) { f.bounds(0, lef64(-3), lef64(math.Copysign(0, -1))) },
			filter: `[["c",">=",0.0]]`, skips: `[["c",">",0.0]]`},
		{name: "shortened bounds are no values", typ: text, rows: `["abcd","abcd"]`, lie: all(one([]byte("abc")), exact(&yes)), guard: exact(&no), filter: `[["c","!=","abc"]]`},
		{name: "bounds that may be shortened are no values", typ: text, rows: `["abcd","abcd"]`, lie: all(one([]byte("abc")), exact(&yes)), guard: exact(nil), filter: `[["c","not in",["abc"]]]`},
		{name: "a decimal of too few bytes", typ: dec, rows: `["256","512"]`, lie: one(fixed(1)), guard: one([]byte{1}), filter: `[["c",">",200]]`},
		{name: "a missing count of nulls", typ: i32, rows: `[1,null]`, lie: count(0), guard: func(f *trapFile) { f.nulls(0, nil) }, filter: `[["c","is null"]]`},
		{name: "a negative count of nulls", typ: i32, rows: `[1,null]`, lie: count(0), guard: count(-1), filter: `[["c","is null"]]`},
		{name: "more nulls than rows", typ: i32, rows: `[1,2]`, lie: all(one(nil), count(2)), guard: count(3), filter: `[["c","=",1]]`},
		{name: "nulls are not in a list", typ: i32, rows: `[5,null]`, filter: `[["c","not in",[5]]]`, skips: `[["c","not in",[5,null]]]`},
		{name: "nothing but nulls is not in a list", typ: i32, rows: `[null,null]`, filter: `[["c","not in",[5]]]`, skips: `[["c","!=",5]]`},
		{name: "a null that a list holds", typ: i32, rows: `[5,null]`, filter: `[["c","in",[7,null]]]`, skips: `[["c","in",[7]]]`},
		{name: "a null struct makes its fields null", typ: strct, rows: `[{"x":1},null]`, filter: `[[[["c","x"],"is null"]]]`, skips: `[[[["c","x"],"=",7]]]`},
		{name: "strings of parquet-mr before 1.8", typ: text, rows: `["a","b"]`, lie: func(f *trapFile) { f.bounds(0, []byte("b"), []byte("c")) },
			guard: writtenBy("parquet-mr version 1.7.0 (build 1)"), filter: `[["c","=","a"]]`},
		{name: "unsigned numbers of parquet-mr before 1.10", typ: arrow.PrimitiveTypes.Uint32, rows: `[1,7]`, lie: func(f *trapFile) { f.bounds(0, le32(2), le32(7)) },
			guard: writtenBy("parquet-mr version 1.9.0 (build 1)"), filter: `[["c","=",1]]`},
		{name: "strings of parquet-cpp before 1.3", typ: text, rows: `["a","b"]`, lie: func(f *trapFile) { f.bounds(0, []byte("b"), []byte("c")) },
			guard: writtenBy("parquet-cpp version 1.2.0"), filter: `[["c","=","a"]]`},
		{name: "decimals of parquet-cpp-arrow before 4", typ: dec, rows: `["1","2"]`, lie: one(fixed(2)),
			guard: writtenBy("parquet-cpp-arrow version 3.0.0"), filter: `[["c","=",1]]`},
		{name: "a list of more than fifty values", typ: i32, rows: `[1,100]`, per: 1, skips: `[["c","=",7]]`,
			filter: `[["c","in",[2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,100]]]`},
		{name: "nanoseconds that are cut to microseconds", typ: nanos, rows: `["1970-01-01T00:00:00.000001500","1970-01-01T00:00:00.000001999"]`,
			logic: filter.Spark, filter: `[["c","=",{"$ts":"1970-01-01T00:00:00.000001"}]]`, skips: `[["c","=",{"$ts":"1970-01-01T00:00:00.000002"}]]`},
		{name: "times before 1970 are cut downwards", typ: nanos, rows: `["1969-12-31T23:59:59.999999999"]`,
			logic: filter.Spark, filter: `[["c","=",{"$ts":"1969-12-31T23:59:59.999999"}]]`, skips: `[["c",">=",{"$ts":"1970-01-01T00:00:00"}]]`},
		{name: "numbers beyond the signed range as decimals", typ: arrow.PrimitiveTypes.Uint64, rows: `[9223372036854775808,18446744073709551615]`,
			logic: filter.Spark, filter: `[["c",">",9223372036854775807]]`, skips: `[["c","<",7]]`},
		{name: "an integer that no double holds", typ: i64, rows: `[9007199254740993]`, filter: `[["c",">",9007199254740992.0]]`, skips: `[["c","=",9007199254740992.0]]`},
	} {
		tr.layer = LayerStatistics
		t.Run(tr.name, tr.run)
	}
}

// INT96 has no order, whatever a writer says.
func TestTrapBoundsOfInt96(t *testing.T) {
	const day = 24 * 3600 * 1_000_000
	f := &trapFile{t: t, data: int96File(t, []int64{day, 10 * day}, []bool{true, true})}
	f.ft = footer(t, f.data)
	q := Query{Filters: mustFilter(t, `[["at",">",{"$ts":"1970-01-05T00:00:00Z"}]]`), Logic: filter.Spark, Profile: Spark}
	for _, low := range [][]byte{make([]byte, 12), le64(0)} {
		ids := *f.ft.meta.RowGroups[0].Columns[0].MetaData.Statistics // the writer makes none of timestamps
		f.ft.meta.RowGroups[0].Columns[1].MetaData.Statistics = &ids
		f.bounds(0, low, low)
		if s, _ := f.ft.leafStats(0, f.ft.flat([]string{"at"})); s.Min != nil || s.Max != nil {
			t.Errorf("bounds of %d bytes are believed: %+v", len(low), s)
		}
		if err := f.lost(q, []int64{1}); err != nil {
			t.Error(err)
		}
	}
}
