package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

func columnsOf(t *testing.T, text string) []source.Column {
	t.Helper()
	var out []source.Column
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func field(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func TestProjectionKeepsOrderAndNesting(t *testing.T) {
	str, num := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32
	schema := arrow.NewSchema([]arrow.Field{
		field("a", arrow.StructOf(field("b", num), field("c", str), field("d", arrow.StructOf(field("e", num), field("f", num))))),
		field("a.b", str),
		field("conversations", arrow.ListOf(arrow.StructOf(field("from", str), field("value", str)))),
		field("m", arrow.MapOf(str, arrow.StructOf(field("k", num)))),
		field("z", num),
	}, nil)
	for columns, want := range map[string]string{
		`["z","a"]`:                            "z a{b c d{e f}}",
		`["z","a.c","a.d.e"]`:                  "z a{c d{e}}",
		`["a.b"]`:                              "a.b",  // the top-level name wins
		`[["a","b"]]`:                          "a{b}", // a list is always a path
		`[["a","d","f"],["a","b"]]`:            "a{b d{f}}",
		`["conversations.value"]`:              "conversations[{value}]",
		`["conversations.value",["a","c"]]`:    "conversations[{value}] a{c}",
		`["m"]`:                                "m<>",
		`[["conversations","from"],"a.d","z"]`: "conversations[{from}] a{d{e f}} z",
	} {
		out, err := Query{Columns: columnsOf(t, columns)}.Output(schema)
		if err != nil {
			t.Errorf("%s: %v", columns, err)
			continue
		}
		if got := shapeOf(out.Fields()); got != want {
			t.Errorf("%s gives %s, want %s", columns, got, want)
		}
	}
	for columns, want := range map[string]string{
		`["y"]`:                      `there is no column "y" (column=y): the columns are a, a.b, conversations, m, z`,
		`["conversation"]`:           `did you mean "conversations"? the columns are a, `,
		`["A"]`:                      `did you mean "a"?`,
		`["conversation.valeu"]`:     `did you mean "conversations.value"? the columns are a, `,
		`["conversations.valeu"]`:    `did you mean "conversations.value"? the fields of "conversations" are from, value`,
		`[["Conversations","form"]]`: `did you mean "conversations.from"?`,
		`["a-b"]`:                    `did you mean "a.b"?`,
		`["a.x"]`:                    `the fields of "a" are b, c, d`,
		`["z.x"]`:                    `"z" has no fields`,
		`["m.k"]`:                    `"m" has no fields`,
		`["z","z"]`:                  "selected twice",
		`["a","a.c"]`:                "selected twice",
		`["a.c","a"]`:                "selected twice",
		`["a.d.e",["a","d"]]`:        "selected twice",
		`[["conversations"],["conversations","from"]]`: "selected twice",
	} {
		_, err := Query{Columns: columnsOf(t, columns)}.Output(schema)
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", columns, err, want)
		}
	}
}

// shapeOf writes names and nesting only.
func shapeOf(fields []arrow.Field) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.Name+typeShape(f.Type))
	}
	return strings.Join(parts, " ")
}

func typeShape(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.StructType:
		return "{" + shapeOf(t.Fields()) + "}"
	case *arrow.MapType:
		return "<>"
	case arrow.ListLikeType:
		return "[" + typeShape(t.Elem()) + "]"
	}
	return ""
}

func TestQueriesThatMakeNoSenseAreRefused(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{field("a", arrow.PrimitiveTypes.Int32)}, nil)
	for name, q := range map[string]Query{
		"no columns":             {Columns: []source.Column{}},
		"rows only with columns": {RowsOnly: true, Columns: []source.Column{source.Col("a")}},
		"negative batch":         {BatchRows: -1},
		"unknown filter column":  {Filters: mustFilter(t, `[["b","=",1]]`)},
		"wrong literal":          {Filters: mustFilter(t, `[["a","=","x"]]`)},
		"empty name":             {Columns: []source.Column{{}}},
	} {
		if _, err := q.Output(schema); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out, err := (Query{RowsOnly: true, Columns: []source.Column{}}).Output(schema); err != nil || out.NumFields() != 0 {
		t.Errorf("rows only: %v %v", out, err)
	}
	double := arrow.NewSchema([]arrow.Field{field("a", arrow.PrimitiveTypes.Int32), field("a", arrow.BinaryTypes.String), field("b", arrow.PrimitiveTypes.Int32)}, nil)
	if _, err := (Query{}).Output(double); source.KindOf(err) != source.KindUnsupported {
		t.Errorf("two columns of one name: %v", err)
	}
	if _, err := (Query{Columns: []source.Column{source.Col("b")}}).Output(double); err != nil {
		t.Errorf("the other column: %v", err)
	}
}

func TestSparkProfileMapsEveryType(t *testing.T) {
	ts := func(u arrow.TimeUnit, z string) arrow.DataType { return &arrow.TimestampType{Unit: u, TimeZone: z} }
	for _, c := range []struct{ native, want arrow.DataType }{
		{arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Int16},
		{arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Int32},
		{arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Int64},
		{arrow.PrimitiveTypes.Uint64, &arrow.Decimal128Type{Precision: 20}},
		{arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32},
		{arrow.BinaryTypes.LargeString, arrow.BinaryTypes.String},
		{arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.Binary},
		{&arrow.FixedSizeBinaryType{ByteWidth: 4}, arrow.BinaryTypes.Binary},
		{arrow.FixedWidthTypes.Date64, arrow.FixedWidthTypes.Date32},
		{arrow.FixedWidthTypes.Time32s, arrow.PrimitiveTypes.Int64},
		{arrow.FixedWidthTypes.Time64us, arrow.PrimitiveTypes.Int64},
		{ts(arrow.Nanosecond, ""), ts(arrow.Microsecond, "")},
		{ts(arrow.Second, "Europe/Berlin"), ts(arrow.Microsecond, "UTC")},
		{arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.Duration_us},
		{&arrow.Decimal256Type{Precision: 38, Scale: 2}, &arrow.Decimal128Type{Precision: 38, Scale: 2}},
		{&arrow.Decimal256Type{Precision: 39, Scale: 2}, arrow.BinaryTypes.String},
		{arrow.LargeListOf(arrow.PrimitiveTypes.Uint8), arrow.ListOfField(field("element", arrow.PrimitiveTypes.Int16))},
		{arrow.FixedSizeListOf(3, arrow.FixedWidthTypes.Float16), arrow.ListOfField(field("element", arrow.PrimitiveTypes.Float32))},
		{arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Uint32}), arrow.StructOf(field("x", arrow.PrimitiveTypes.Int64))},
		{arrow.Null, arrow.Null},
		{arrow.BinaryTypes.String, arrow.BinaryTypes.String},
	} {
		out, err := Query{Profile: Spark}.Output(arrow.NewSchema([]arrow.Field{{Name: "c", Type: c.native}}, nil))
		if err != nil {
			t.Errorf("%s: %v", c.native, err)
			continue
		}
		if got := out.Field(0); !arrow.TypeEqual(got.Type, c.want) || !got.Nullable {
			t.Errorf("%s gives %s (nullable %v), want %s", c.native, got.Type, got.Nullable, c.want)
		}
	}
	bad := arrow.NewSchema([]arrow.Field{field("a", arrow.ListOf(arrow.StructOf(field("i", arrow.FixedWidthTypes.MonthDayNanoInterval))))}, nil)
	_, err := Query{Profile: Spark}.Output(bad)
	if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "column=a.element.i") {
		t.Errorf("an interval: %v", err)
	}
	caseless := arrow.NewSchema([]arrow.Field{field("a", arrow.Null), field("A", arrow.Null)}, nil)
	if _, err := (Query{Profile: Spark}).Output(caseless); source.KindOf(err) != source.KindInvalid {
		t.Errorf("a and A: %v", err)
	}
	if _, err := (Query{Profile: Spark, Columns: []source.Column{source.Col("A")}}).Output(caseless); err != nil {
		t.Errorf("only A: %v", err)
	}
}

func TestFieldMetadataIsDroppedExceptExtensions(t *testing.T) {
	meta := arrow.NewMetadata([]string{"PARQUET:field_id", extensionName, physicalKey}, []string{"1", "arrow.json", physicalInt96})
	schemaMeta := arrow.NewMetadata([]string{"huggingface"}, []string{`{"info":{}}`})
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String, Metadata: meta}}, &schemaMeta)
	out, err := Query{}.Output(schema)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Field(0).Metadata.String(); got != `["ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""]` {
		t.Errorf("native: %s", got)
	}
	if v, ok := out.Metadata().GetValue("huggingface"); !ok || v != `{"info":{}}` {
		t.Errorf("schema metadata %s", out.Metadata())
	}
	if out, err = (Query{Profile: Spark}).Output(schema); err != nil || out.Field(0).HasMetadata() {
		t.Errorf("spark: %v %v", out, err)
	}
}

func TestParseProfile(t *testing.T) {
	for _, p := range []Profile{Native, Spark} {
		if got, err := ParseProfile(p.String()); err != nil || got != p {
			t.Errorf("%s: %v %v", p, got, err)
		}
	}
	if _, err := ParseProfile("Spark"); source.KindOf(err) != source.KindInvalid {
		t.Errorf("%v", err)
	}
}

func TestUnifyWidensOnlyWhatStaysExact(t *testing.T) {
	p := arrow.PrimitiveTypes
	for _, c := range []struct{ a, b, want arrow.DataType }{
		{arrow.Null, p.Int32, p.Int32},
		{p.Int8, p.Int64, p.Int64},
		{p.Uint8, p.Int8, p.Int16},
		{p.Uint32, p.Int8, p.Int64},
		{p.Uint8, p.Uint64, p.Uint64},
		{p.Uint64, p.Int8, nil},
		{p.Float32, p.Float64, p.Float64},
		{p.Int32, p.Float64, p.Float64},
		{p.Int32, p.Float32, p.Float64},
		{p.Int16, p.Float32, p.Float32},
		{p.Int64, p.Float64, nil},
		{p.Int32, arrow.BinaryTypes.String, nil},
		{arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeString},
		{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, nil},
		{&arrow.Decimal128Type{Precision: 5, Scale: 2}, &arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 9, Scale: 2}},
		{&arrow.Decimal128Type{Precision: 5, Scale: 2}, &arrow.Decimal128Type{Precision: 9, Scale: 3}, nil},
		{arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.Timestamp_ns, nil},
		{arrow.FixedWidthTypes.Date32, p.Int32, nil},
		{arrow.ListOf(p.Int8), arrow.LargeListOf(p.Int32), arrow.LargeListOf(p.Int32)},
		{arrow.ListOf(p.Int8), arrow.Null, arrow.ListOf(p.Int8)},
		{arrow.FixedSizeListOf(2, p.Int8), arrow.FixedSizeListOf(3, p.Int8), arrow.ListOf(p.Int8)},
		{arrow.MapOf(arrow.BinaryTypes.String, p.Int8), arrow.MapOf(arrow.BinaryTypes.String, p.Int16), arrow.MapOf(arrow.BinaryTypes.String, p.Int16)},
		{arrow.MapOf(arrow.BinaryTypes.String, p.Int8), arrow.ListOf(p.Int8), nil},
		{arrow.StructOf(field("x", p.Int8)), arrow.StructOf(field("y", p.Int8), field("x", p.Int32)), arrow.StructOf(field("x", p.Int32), field("y", p.Int8))},
		{arrow.StructOf(field("x", p.Int8)), arrow.StructOf(field("x", arrow.BinaryTypes.String)), nil},
	} {
		for _, pair := range [][2]arrow.DataType{{c.a, c.b}, {c.b, c.a}} {
			if _, isStruct := c.a.(*arrow.StructType); isStruct && pair[0] != c.a {
				continue // the order of fields follows the first file
			}
			out, err := Query{}.Unify([]NamedSchema{
				{"one.parquet", arrow.NewSchema([]arrow.Field{field("c", pair[0])}, nil)},
				{"two.parquet", arrow.NewSchema([]arrow.Field{field("c", pair[1])}, nil)},
			})
			if c.want == nil {
				text := ""
				if err != nil {
					text = err.Error()
				}
				if source.KindOf(err) != source.KindInvalid || !strings.Contains(text, "one.parquet") || !strings.Contains(text, "two.parquet") || !strings.Contains(text, "column=c") {
					t.Errorf("%s and %s: %v, %v", pair[0], pair[1], out, err)
				}
				continue
			}
			if err != nil || !arrow.TypeEqual(out.Field(0).Type, c.want) {
				t.Errorf("%s and %s: %v, %v; want %s", pair[0], pair[1], out, err, c.want)
			}
		}
	}
}

func TestNamingAllOfThousandsOfColumnsTakesLittleMemory(t *testing.T) {
	fields := make([]arrow.Field, 5000) // datasets of gene expression have tens of thousands
	q := Query{Filters: mustFilter(t, `[["some_longer_name_4999","=",1]]`)}
	for i := range fields {
		fields[i] = field(fmt.Sprintf("some_longer_name_%d", i), arrow.PrimitiveTypes.Int32)
		q.Columns = append(q.Columns, source.Col(fields[i].Name))
	}
	schema := arrow.NewSchema(fields, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := q.Output(schema); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 50 {
		t.Errorf("%d MiB were allocated for a schema of 5000 fields", mib)
	}
}

func TestUnifyAddsMissingColumnsAsNullable(t *testing.T) {
	a := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int8}}, nil)
	b := arrow.NewSchema([]arrow.Field{{Name: "y", Type: arrow.PrimitiveTypes.Int8}, {Name: "x", Type: arrow.PrimitiveTypes.Int8}}, nil)
	out, err := Query{}.Unify([]NamedSchema{{"a", a}, {"b", b}, {"c", a}})
	if err != nil {
		t.Fatal(err)
	}
	if shapeOf(out.Fields()) != "x y" || out.Field(0).Nullable || !out.Field(1).Nullable {
		t.Errorf("%s", out)
	}
	if out, err = (Query{}).Unify([]NamedSchema{{"b", b}, {"a", a}}); err != nil || !out.Field(0).Nullable {
		t.Errorf("%s, %v", out, err)
	}
}

func TestUnifyRefusesOnlyWhatIsRead(t *testing.T) {
	p := arrow.PrimitiveTypes
	schema := func(odd arrow.DataType) *arrow.Schema {
		fields := []arrow.Field{
			{Name: "id", Type: p.Int64}, {Name: "t", Type: odd},
			{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "x", Type: p.Int64}, arrow.Field{Name: "y", Type: odd})},
			{Name: "l", Type: arrow.ListOf(arrow.StructOf(arrow.Field{Name: "x", Type: p.Int64}, arrow.Field{Name: "y", Type: odd}))},
			{Name: "m", Type: arrow.MapOf(arrow.BinaryTypes.String, odd)},
			{Name: "s.z", Type: p.Int64}, {Name: "two", Type: p.Int64}, {Name: "two", Type: odd},
		}
		return arrow.NewSchema(fields, nil)
	}
	files := []NamedSchema{{"one", schema(p.Int64)}, {"two", schema(arrow.BinaryTypes.String)}, {"three", schema(p.Float64)}}
	for _, c := range []struct {
		columns, filters, conflict string
	}{
		{`["id"]`, "", ""}, {`["s.x"]`, "", ""}, {`["l.x"]`, "", ""}, {`["s.z"]`, "", ""},
		{`["id",["s","x"],"l.x"]`, `[["id","=",1]]`, ""}, {`["id"]`, `[[[["s","x"],"=",1]]]`, ""},
		{`["t"]`, "", "t"}, {`["id","t"]`, "", "t"}, {`["m"]`, "", "m.value"}, {`["two"]`, "", "two"}, {`null`, "", "two"},
		{`["s"]`, "", "s.y"}, {`["s.y"]`, "", "s.y"}, {`["l"]`, "", "l.element.y"},
		{`["id"]`, `[["t","is null"]]`, "t"}, {`["id"]`, `[[[["s","y"],"=",1]]]`, "s.y"},
	} {
		q := Query{Columns: columnsOf(t, c.columns)}
		if c.filters != "" {
			q.Filters = mustFilter(t, c.filters)
		}
		whole, err := q.Unify(files)
		if c.conflict == "" {
			if err == nil {
				_, err = q.Output(whole)
			}
			if err != nil {
				t.Errorf("%s %s: %v", c.columns, c.filters, err)
			}
		} else if err == nil || source.AsError("", err).Column != c.conflict {
			t.Errorf("%s %s: got %v, want an error about %s", c.columns, c.filters, err, c.conflict)
		}
	}
	if _, err := (Query{RowsOnly: true}).Unify(files); err != nil {
		t.Error(err)
	}
}

func TestPruneDecidesByStatisticsAndCountsBytes(t *testing.T) {
	data := write(t, flatBatch(1000), 100)
	ft := footer(t, data)
	for f, want := range map[string]string{
		`[["id","=",250]]`:                    "2",
		`[["id","<",200]]`:                    "01",
		`[["id",">=",900],["id","!=",5]]`:     "9",
		`[[["id","=",0]],[["id","=",999]]]`:   "09",
		`[["id","is null"]]`:                  "",
		`[["id","in",[5,500,5000]]]`:          "05",
		`[["gone","is null"]]`:                "0123456789",
		`[["gone","=",1]]`:                    "",
		`[["s","=","nothing"]]`:               "",
		`[["id","not in",[1]]]`:               "0123456789",
		`[["f64",">",31.0]]`:                  "9",
		`[["dec","<",{"$dec":"-0.05"}]]`:      "0",
		`[["tms",">","1970-01-06T18:00:00"]]`: "9",
	} {
		decisions, err := Query{Filters: mustFilter(t, f)}.Prune(t.Context(), ft)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		got := ""
		for _, d := range decisions {
			if d.Keep {
				got += string(rune('0' + d.Group))
			}
		}
		if got != want {
			t.Errorf("%s keeps %q, want %q", f, got, want)
		}
	}
	if d, err := (Query{RowsOnly: true}).Prune(t.Context(), ft); err != nil || d[0].Bytes != 0 {
		t.Errorf("rows only reads %v bytes, %v", d[0].Bytes, err)
	}
	q := Query{Filters: mustFilter(t, `[["id","=","x"]]`)}
	if _, err := q.Prune(t.Context(), ft); source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), testFile.Path) {
		t.Errorf("%v", err)
	}
}

func TestFilterLogicIsValidated(t *testing.T) {
	if err := (Query{Logic: filter.Spark + 1}).Validate(); source.KindOf(err) != source.KindInvalid {
		t.Errorf("%v", err)
	}
}

func TestACancelledCallPrunesNoFurther(t *testing.T) {
	ft := footer(t, write(t, flatBatch(1000), 100))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, q := range []Query{{}, {Filters: mustFilter(t, `[["id","=",1]]`)}} {
		if _, err := q.Prune(ctx, ft); source.KindOf(err) != source.KindCanceled {
			t.Errorf("got %v, want [canceled]", err)
		}
	}
}
