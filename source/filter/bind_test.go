package filter

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

var bindSchema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "name", Type: arrow.BinaryTypes.String},
	{Name: "score", Type: arrow.PrimitiveTypes.Float32},
	{Name: "price", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}},
	{Name: "raw", Type: arrow.BinaryTypes.LargeBinary},
	{Name: "ok", Type: arrow.FixedWidthTypes.Boolean},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32},
	{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
	{Name: "utc", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
	{Name: "clock", Type: arrow.FixedWidthTypes.Time64us},
	{Name: "took", Type: arrow.FixedWidthTypes.Duration_us},
	{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String)},
	{Name: "none", Type: arrow.Null},
	{Name: "z", Type: arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
		arrow.Field{Name: "b", Type: arrow.StructOf(arrow.Field{Name: "c", Type: arrow.BinaryTypes.StringView, Nullable: true})},
	)},
	{Name: "twice", Type: arrow.PrimitiveTypes.Int8},
	{Name: "twice", Type: arrow.PrimitiveTypes.Int8},
}, nil)

func TestBindAcceptsEveryComparablePairOfTypes(t *testing.T) {
	for _, text := range []string{
		`[["id","=",1],["id","<",1.5],["id","in",[1,2.0,{"$dec":"1.5"},{"$f":"nan"},99999999999999999999]]]`,
		`[["score",">",1],["score","=",{"$dec":"0.1"}],["score","<",{"$f":"inf"}]]`,
		`[["price","=",1],["price","<",1.5],["price","=","1.50"],["price","in",["1",2,{"$dec":"3"}]]]`,
		`[["name","=","x"],["name","<",{"$bin":"AA=="}],["name","starts_with","x"],["raw","starts_with","x"],["raw","=","x"]]`,
		`[["ok","=",true],["ok","<",true],["ok","in",[false]]]`,
		`[["day","=","2024-01-31"],["day","<",{"$date":"2024-01-31"}],["day",">",{"$ts":"2024-01-31T12:00:00"}]]`,
		`[["at","=","2024-01-31"],["at","<","2024-01-31 12:00"],["at",">",{"$date":"2024-01-31"}],["at","in",[{"$ts":"2024-01-31T12:00:00"}]]]`,
		`[["utc","=","2024-01-31T12:00Z"],["utc","<",{"$ts":"2024-01-31T12:00:00-03:30"}]]`,
		`[["clock","=","12:00:00"],["clock","<",{"$time":"12:00:00.5"}]]`,
		`[["tags","is null"],["took","is not null"],["z","is null"]]`,
		`[["none","=","x"],["none","<",1],["none","is null"]]`,
		`[[[["z","a"],"=",1],[["z","b","c"],"=","x"],[["z","b"],"is null"],[["none","x"],"is null"]]]`,
		`[["name","in",[]],["name","not in",[null]]]`,
	} {
		for _, logic := range []Logic{PyArrow, Spark} {
			if _, err := mustParse(t, text).Bind(bindSchema, logic); err != nil {
				t.Errorf("%v %s: %v", logic, text, err)
			}
		}
	}
}

func TestBindRefusesAndNamesColumnTypesAndPlace(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`[["id","=",1],["idd","=",1]]`, `[invalid] filters: term 2 of conjunction 1: there is no column "idd": did you mean "id"? the columns are: id, name, score, price, raw, ok, day, at, utc, clock, took, tags, none, z, twice, twice (column=idd)`},
		{`[["z.a","=",1]]`, `there is no column "z.a"`},
		{`[["quantity","=",1]]`, `there is no column "quantity"; the columns are: id, `},
		{`[[[["z","b","C"],"=","x"]]]`, `struct "z.b" has no field "C": did you mean "c"? its fields are: c (column=z.b.C)`},
		{`[[[["z","x"],"=",1]]]`, `struct "z" has no field "x"; its fields are: a, b (column=z.x)`},
		{`[[[["tags","x"],"=",1]]]`, `"tags" is of type list<item: utf8, nullable>; a path can only step through structs`},
		{`[["twice","=",1]]`, `2 columns are named "twice", so the name is ambiguous`},
		{`[["id","=","1"]]`, `a column of type int64 cannot be compared with the string literal "1" (column=id)`},
		{`[["id","in",[1,"1"]]]`, `a column of type int64 cannot be compared with the string literal "1"`},
		{`[["id","=",true]]`, `a column of type int64 cannot be compared with the bool literal true`},
		{`[["ok","=",1]]`, `a column of type bool cannot be compared with the integer literal 1`},
		{`[["name","=",1]]`, `a column of type utf8 cannot be compared with the integer literal 1`},
		{`[["name","=",{"$date":"2024-01-31"}]]`, `a column of type utf8 cannot be compared with the date literal 2024-01-31`},
		{`[["score","=",{"$time":"12:00:00"}]]`, `a column of type float32 cannot be compared with the time literal 12:00:00`},
		{`[["day","=",20000]]`, `a column of type date32 cannot be compared with the integer literal 20000`},
		{`[["day","=","yesterday"]]`, `"yesterday" is not a date (expected YYYY-MM-DD)`},
		{`[["day","=",{"$ts":"2024-01-31T12:00:00Z"}]]`, `the column has no time zone and 2024-01-31T12:00:00Z has an offset; write it without`},
		{`[["at","=","2024-01-31T12:00:00Z"]]`, `the column has no time zone and 2024-01-31T12:00:00Z has an offset; write it without`},
		{`[["utc","=","2024-01-31T12:00:00"]]`, `the column has a time zone and 2024-01-31T12:00:00 has no offset; write for example 2024-01-31T12:00:00Z`},
		{`[["utc","=",{"$date":"2024-01-31"}]]`, `the column has a time zone and 2024-01-31 has no offset`},
		{`[["clock","=","noon"]]`, `"noon" is not a time of day (expected hh:mm:ss[.fraction])`},
		{`[["price","=","cheap"]]`, `"cheap" is not a decimal number (expected for example 1.50)`},
		{`[["took","=",1]]`, `columns of type duration[us] can only be tested with is null and is not null`},
		{`[["tags","=","x"]]`, `columns of type list<item: utf8, nullable> can only be tested with is null and is not null`},
		{`[["id","starts_with","x"]]`, `starts_with needs a string or binary column; this one is of type int64`},
		{`[["id","<",null]]`, `null cannot be compared with "<" in pyarrow logic; use is null or is not null`},
	} {
		_, err := mustParse(t, c.in).Bind(bindSchema, PyArrow)
		if err == nil || !strings.Contains(err.Error(), c.want) || source.KindOf(err) != source.KindInvalid {
			t.Errorf("%s\ngot  %v\nwant %s", c.in, err, c.want)
		}
	}
	if _, err := mustParse(t, `[["id","=",null]]`).Bind(bindSchema, Spark); err == nil {
		t.Error("= null was accepted in spark logic")
	}
}

func TestBindListsAtMostFiftyNames(t *testing.T) {
	fields := make([]arrow.Field, 1000)
	for i := range fields {
		fields[i] = arrow.Field{Name: strings.Repeat("n", 1+i%200), Type: arrow.Null}
	}
	_, err := mustParse(t, `[["x","=",1]]`).Bind(arrow.NewSchema(fields, nil), PyArrow)
	if err == nil || len(err.Error()) > 5000 || !strings.Contains(err.Error(), "(1000 in all)") {
		t.Fatal(err)
	}
}

func TestPathsAreDistinctAndPresent(t *testing.T) {
	f := mustParse(t, `[[["id","=",1],["gone","=",2],[["z","a"],"=",1],[["id"],">",0]],[[["z","gone"],"is null"],["none","=",1],["name","=","x"]]]`)
	b, err := f.BindWithMissing(bindSchema, PyArrow)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"id"}, {"z", "a"}, {"name"}}
	if got := b.Paths(); !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if _, err := f.Bind(bindSchema, PyArrow); err == nil {
		t.Fatal("Bind accepted a missing column")
	}
}

// orOf is an OR of n conjunctions, in whose text %d stands for their numbers.
func orOf(n int, conjunction string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = strings.ReplaceAll(conjunction, "%d", strconv.Itoa(900_001+2*i))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func TestManyEqualitiesOfAColumnAreFewTests(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil)
	for text, want := range map[string]int{
		orOf(foldFrom-1, `[["a","=",%d]]`): foldFrom - 1, // each of them can be known to be absent
		orOf(foldFrom, `[["a","=",%d]]`):   1,
		orOf(maxSought, `[["a","=",%d]]`):  1,
		orOf(2_500, `[["a","=",%d]]`):      3, // each of which can still be looked up
		orOf(100, `[["a","=",%d]],[["b","=","%d"]],[["a",">",%d]],[["a","=",null]],[["a","=",%d],["b","=","x"]]`): 302,
	} {
		b, err := mustParse(t, text).Bind(schema, PyArrow)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.or) != want {
			t.Errorf("%.80s… has %d conjunctions, want %d", text, len(b.or), want)
		}
	}
}
