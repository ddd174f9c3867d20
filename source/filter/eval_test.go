package filter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/hubflight/hubflight/source"
)

// record puts generated columns into a record. The caller releases it.
func record(columns []*genColumn, rows int) arrow.RecordBatch {
	fields := make([]arrow.Field, len(columns))
	arrays := make([]arrow.Array, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.path[0], Type: c.top.DataType(), Nullable: true}
		arrays[i] = c.top
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(rows))
}

func TestEvalAgreesWithARowByRowEvaluator(t *testing.T) {
	const rounds, filters = 400, 8
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	kept, all := 0, 0
	for seed := range uint64(rounds) {
		g := &gen{rand.New(rand.NewPCG(1, seed)), mem}
		rows := pick(g, 0, 1, 5, 63, 64, 65, 200)
		columns := make([]*genColumn, 3)
		for i := range columns {
			columns[i] = g.column(fmt.Sprintf("c%d", i), genTypes[(int(seed)*3+i)%len(genTypes)], rows)
		}
		rec := record(columns, rows)
		for k := range filters {
			logic := pick(g, PyArrow, Spark)
			text, or := g.filter(logic, columns)
			f := mustParse(t, text)
			bound, err := f.Bind(rec.Schema(), logic)
			if err == nil && k%2 == 1 {
				err = bound.fold(f, logic, 1)
			}
			if err != nil {
				t.Fatalf("seed %d: %s: %v", seed, text, err)
			}
			got, err := bound.Eval(context.Background(), rec, mem)
			if err != nil {
				t.Fatal(err)
			}
			if got.Len() != rows || got.NullN() != 0 {
				t.Fatalf("%d answers with %d nulls for %d rows", got.Len(), got.NullN(), rows)
			}
			for i := range rows {
				want := oracleRow(logic, or, func(c int) val { return columns[c].vals[i] })
				if got.Value(i) != want {
					t.Fatalf("seed %d, %s logic, row %d of %v:\n%s\ngot %v, want %v", seed, logic, i, describe(columns, i), text, got.Value(i), want)
				}
				all++
				if want {
					kept++
				}
			}
			got.Release()
		}
		rec.Release()
		for _, c := range columns {
			c.release()
		}
	}
	// Otherwise the test would hardly test anything.
	if share := float64(kept) / float64(all); share < 0.2 || share > 0.8 {
		t.Errorf("%.0f %% of the rows were kept", 100*share)
	}
}

func describe(columns []*genColumn, row int) string {
	var out []string
	for _, c := range columns {
		out = append(out, fmt.Sprintf("%s %s=%s", strings.Join(c.path, "."), c.typ, c.leaf.ValueStr(row)))
	}
	return strings.Join(out, "; ")
}

// evalRows evaluates a filter on one column named c, given as JSON values.
func evalRows(t *testing.T, typ arrow.DataType, values, filter string, logic Logic) string {
	t.Helper()
	arr, _, err := array.FromJSON(memory.DefaultAllocator, typ, strings.NewReader(values))
	if err != nil {
		t.Fatal(err)
	}
	defer arr.Release()
	return evalArray(t, arr, filter, logic)
}

func evalArray(t *testing.T, arr arrow.Array, filter string, logic Logic) string {
	t.Helper()
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: arr.DataType(), Nullable: true}}, nil), []arrow.Array{arr}, int64(arr.Len()))
	defer rec.Release()
	b, err := mustParse(t, filter).Bind(rec.Schema(), logic)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Eval(context.Background(), rec, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Release()
	var out strings.Builder
	for i := range got.Len() {
		out.WriteByte("-+"[map[bool]int{true: 1}[got.Value(i)]])
	}
	return out.String()
}

// The table of wire.md §6, line by line.
func TestTheTwoLogics(t *testing.T) {
	i64, str := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	for _, c := range []struct {
		name           string
		typ            arrow.DataType
		values, filter string
		pyarrow, spark string
	}{
		{"= drops null", i64, `[1,2,null]`, `[["c","=",1]]`, "+--", "+--"},
		{"!= drops null", i64, `[1,2,null]`, `[["c","!=",1]]`, "-+-", "-+-"},
		{"in drops null", i64, `[1,2,null]`, `[["c","in",[1]]]`, "+--", "+--"},
		{"in with null keeps it in pyarrow", i64, `[1,2,null]`, `[["c","in",[1,null]]]`, "+-+", "+--"},
		{"not in keeps null in pyarrow", i64, `[1,2,null]`, `[["c","not in",[1]]]`, "-++", "-+-"},
		{"not in with null drops it, and everything in spark", i64, `[1,2,null]`, `[["c","not in",[1,null]]]`, "-+-", "---"},
		{"in nothing", str, `["a",null]`, `[["c","in",[]]]`, "--", "--"},
		{"not in nothing", str, `["a",null]`, `[["c","not in",[]]]`, "++", "+-"},
		{"in null only", str, `["a",null]`, `[["c","in",[null]]]`, "-+", "--"},
		{"is null", str, `["a",null]`, `[["c","is null"]]`, "-+", "-+"},
		{"is not null", str, `["a",null]`, `[["c","is not null"]]`, "+-", "+-"},
		{"starts_with drops null", str, `["abc","b","",null]`, `[["c","starts_with","a"]]`, "+---", "+---"},
		{"strings are bytewise", str, `["Z","a","b","é"]`, `[["c",">","a"]]`, "--++", "--++"},
		{"0.5 between integers", i64, `[0,1]`, `[["c",">=",0.5]]`, "-+", "-+"},
		{"2^53+1 is no double", i64, `["9007199254740992","9007199254740993"]`, `[["c","=",9007199254740992.0]]`, "+-", "+-"},
		{"-1 is no unsigned number", arrow.PrimitiveTypes.Uint8, `[0,255]`, `[["c",">",-1]]`, "++", "++"},
		{"0.99 is no float32", arrow.PrimitiveTypes.Float32, `[0.99]`, `[["c","=",0.99]]`, "-", "-"},
		{"but lies just below one", arrow.PrimitiveTypes.Float32, `[0.99]`, `[["c",">=",0.99]]`, "+", "+"},
		{"zeros are equal", arrow.PrimitiveTypes.Float64, `[0.0,-0.0]`, `[["c","in",[{"$f":"-0.0"}]]]`, "++", "++"},
		{"decimals against integers", &arrow.Decimal128Type{Precision: 5, Scale: 2}, `["1.50","2.00"]`, `[["c","=",2]]`, "-+", "-+"},
		{"decimals against doubles", &arrow.Decimal128Type{Precision: 5, Scale: 2}, `["1.50","2.00"]`, `[["c","=",1.5]]`, "+-", "+-"},
		{"a decimal takes a double as it is written", &arrow.Decimal128Type{Precision: 5, Scale: 2}, `["19.98","19.99","20.00"]`, `[["c","=",19.99]]`, "-+-", "-+-"},
		{"also at the edge of a range", &arrow.Decimal128Type{Precision: 5, Scale: 2}, `["19.98","19.99","20.00"]`, `[["c","<",19.99]]`, "+--", "+--"},
		{"and in a list", &arrow.Decimal128Type{Precision: 5, Scale: 2}, `["19.98","19.99","20.00"]`, `[["c","in",[19.99,20.0]]]`, "-++", "-++"},
		{"false is less than true", arrow.FixedWidthTypes.Boolean, `[false,true,null]`, `[["c","<",true]]`, "+--", "+--"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for logic, want := range map[Logic]string{PyArrow: c.pyarrow, Spark: c.spark} {
				if got := evalRows(t, c.typ, c.values, c.filter, logic); got != want {
					t.Errorf("%s: got %s, want %s", logic, got, want)
				}
			}
		})
	}
}

func TestNaN(t *testing.T) {
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]float64{1, nan(), inf()}, nil)
	arr := b.NewArray()
	defer arr.Release()
	for _, c := range []struct{ filter, pyarrow, spark string }{
		{`[["c","=",{"$f":"nan"}]]`, "---", "-+-"},
		{`[["c","!=",{"$f":"nan"}]]`, "+++", "+-+"},
		{`[["c","<",{"$f":"nan"}]]`, "---", "+-+"},
		{`[["c","<=",{"$f":"nan"}]]`, "---", "+++"},
		{`[["c",">",{"$f":"nan"}]]`, "---", "---"},
		{`[["c",">=",{"$f":"nan"}]]`, "---", "-+-"},
		{`[["c",">",5]]`, "--+", "-++"},
		{`[["c","!=",1]]`, "-++", "-++"},
		{`[["c","<",{"$f":"inf"}]]`, "+--", "+--"},
		{`[["c",">",{"$f":"inf"}]]`, "---", "-+-"},
		{`[["c","in",[{"$f":"nan"},1]]]`, "+--", "++-"},
		{`[["c","not in",[{"$f":"nan"},1]]]`, "-++", "--+"},
	} {
		for logic, want := range map[Logic]string{PyArrow: c.pyarrow, Spark: c.spark} {
			if got := evalArray(t, arr, c.filter, logic); got != want {
				t.Errorf("%s %s: got %s, want %s", logic, c.filter, got, want)
			}
		}
	}
}

// TestTheSmallestHalfFloatsAreComparedAsWhatTheyAre: 2^-24, 1023 of it, and 2^-14, from
// which on the library is right.
func TestTheSmallestHalfFloatsAreComparedAsWhatTheyAre(t *testing.T) {
	b := array.NewFloat16Builder(memory.DefaultAllocator)
	defer b.Release()
	for _, bits := range []uint16{1, 0x3ff, 0x400, 0x83ff} {
		b.Append(float16.FromBits(bits))
	}
	arr := b.NewArray()
	defer arr.Release()
	for filter, want := range map[string]string{
		`[["c",">",1e-5]]`: "-++-", `[["c",">",0]]`: "+++-", `[["c","=",5.9604644775390625e-8]]`: "+---", `[["c","<",-1e-5]]`: "---+",
	} {
		if got := evalArray(t, arr, filter, PyArrow); got != want {
			t.Errorf("%s: got %s, want %s", filter, got, want)
		}
	}
	low, ok := statFloat(scalar.NewFloat16Scalar(float16.FromBits(0x3ff)))
	if !ok || low != 0x3ff*0x1p-24 {
		t.Errorf("a bound is %v (%v)", low, ok)
	}
}

func TestAMissingColumnIsNullInEveryRow(t *testing.T) {
	arr, _, err := array.FromJSON(memory.DefaultAllocator, arrow.PrimitiveTypes.Int8, strings.NewReader(`[1,2]`))
	if err != nil {
		t.Fatal(err)
	}
	defer arr.Release()
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: arr.DataType()}}, nil), []arrow.Array{arr}, 2)
	defer rec.Release()
	for filter, want := range map[string]bool{
		`[["x","=","a"]]`: false, `[["x","is null"]]`: true, `[["x","not in",[1]]]`: true, `[[["x","is not null"]],[["x","in",[null]]]]`: true,
	} {
		b, err := mustParse(t, filter).BindWithMissing(rec.Schema(), PyArrow)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Eval(context.Background(), rec, memory.DefaultAllocator)
		if err != nil || got.Value(0) != want || got.Value(1) != want {
			t.Errorf("%s: %v %v", filter, got, err)
		}
		got.Release()
		if may := b.MayMatch(nil); may != want {
			t.Errorf("%s: may match is %v", filter, may)
		}
	}
}

func TestEvalRefusesARecordOfAnotherSchema(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: &arrow.TimestampType{Unit: arrow.Microsecond}}}, nil)
	b, err := mustParse(t, `[["c","=","2024-01-01"]]`).Bind(schema, Spark)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []arrow.DataType{&arrow.TimestampType{Unit: arrow.Nanosecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, arrow.PrimitiveTypes.Int64} {
		arr := array.MakeArrayOfNull(memory.DefaultAllocator, typ, 1)
		rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: typ}}, nil), []arrow.Array{arr}, 1)
		if _, err := b.Eval(context.Background(), rec, memory.DefaultAllocator); source.KindOf(err) != source.KindInternal {
			t.Errorf("%s: %v", typ, err)
		}
		rec.Release()
		arr.Release()
	}
	empty := array.NewRecordBatch(arrow.NewSchema(nil, nil), nil, 1)
	defer empty.Release()
	if _, err := b.Eval(context.Background(), empty, memory.DefaultAllocator); source.KindOf(err) != source.KindInternal {
		t.Error(err)
	}
}

func TestEvalStopsWhenCancelled(t *testing.T) {
	arr := array.MakeArrayOfNull(memory.DefaultAllocator, arrow.PrimitiveTypes.Int64, 10)
	defer arr.Release()
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: arr.DataType()}}, nil), []arrow.Array{arr}, 10)
	defer rec.Release()
	b, err := mustParse(t, `[["c","=",1]]`).Bind(rec.Schema(), PyArrow)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Eval(ctx, rec, memory.DefaultAllocator); source.KindOf(err) != source.KindCanceled || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func nan() float64 { return math.NaN() }

func inf() float64 { return math.Inf(1) }
