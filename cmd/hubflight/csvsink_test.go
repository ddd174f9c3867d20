package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// csvText is what cat writes of a column, which is given as JSON, and of another one
// beside it if key is set.
func csvText(t *testing.T, dt arrow.DataType, rows string, key bool) string {
	t.Helper()
	values, _, err := array.FromJSON(memory.DefaultAllocator, dt, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	defer values.Release()
	fields, columns := []arrow.Field{{Name: "v", Type: dt, Nullable: true}}, []arrow.Array{values}
	if key {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		defer b.Release()
		for i := range values.Len() {
			b.Append(int64(i))
		}
		keys := b.NewInt64Array()
		defer keys.Release()
		fields, columns = append(fields, arrow.Field{Name: "k", Type: keys.DataType()}), append(columns, keys)
	}
	schema := arrow.NewSchema(fields, nil)
	rec := array.NewRecordBatch(schema, columns, int64(values.Len()))
	defer rec.Release()
	var out bytes.Buffer
	sink, err := newRowSink("csv", &out, schema)
	if err != nil {
		t.Fatal(err)
	}
	if rec.NumRows() > 0 {
		if err := sink.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEveryTypeHasATextInCSV(t *testing.T) {
	point := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "y", Type: arrow.BinaryTypes.String, Nullable: true})
	for _, c := range []struct {
		dt         arrow.DataType
		rows, want string
	}{
		{arrow.FixedWidthTypes.Time32s, `["01:02:03",null]`, "01:02:03,0\n,1\n"},
		{arrow.FixedWidthTypes.Time64ns, `["01:02:03.000000004",null]`, "01:02:03.000000004,0\n,1\n"},
		{arrow.FixedWidthTypes.Duration_ms, `["5ms",null]`, "5ms,0\n,1\n"},
		{point, `[{"x":1,"y":"a, \"b\""},{"x":null,"y":null},null]`, `"{""x"":1,""y"":""a, \""b\""""}",0` + "\n" + `"{""x"":null,""y"":null}",1` + "\n,2\n"},
		{arrow.ListOf(arrow.BinaryTypes.String), `[["a","b,c"],[""],[],[null],null]`, `"[""a"",""b,c""]",0` + "\n" + `"[""""]",1` + "\n[],2\n[null],3\n,4\n"},
		{arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32), `[[1.5,null],null]`, `"[1.5,null]",0` + "\n,1\n"},
		{arrow.ListOf(point), `[[{"x":1,"y":"a"},null]]`, `"[{""x"":1,""y"":""a""},null]",0` + "\n"},
		{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), `[[{"key":"a","value":1}],null]`, `"[{""key"":""a"",""value"":1}]",0` + "\n,1\n"},
		{arrow.FixedWidthTypes.Date32, `["2020-01-02",null]`, "2020-01-02,0\n,1\n"},
		{arrow.Null, `[null]`, ",0\n"},
	} {
		if got, want := csvText(t, c.dt, c.rows, true), "v,k\n"+c.want; got != want {
			t.Errorf("%s: got\n%swant\n%s", c.dt, got, want)
		}
	}
}

// Readers of CSV pass over empty lines.
func TestARowOfOneEmptyCellIsALineOfCSV(t *testing.T) {
	got := csvText(t, arrow.BinaryTypes.String, `[null,"a\n\nb","",null,"\n","say \"\"\n\n\"",null]`, false)
	want := "v\n\"\"\n\"a\n\nb\"\n\"\"\n\"\"\n\"\n\"\n\"say \"\"\"\"\n\n\"\"\"\n\"\"\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCSVWithoutRowsHasAHeader(t *testing.T) {
	for _, dt := range []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.FixedWidthTypes.Time32s, arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64})} {
		if got := csvText(t, dt, `[]`, true); got != "v,k\n" {
			t.Errorf("%s: got %q", dt, got)
		}
	}
}
