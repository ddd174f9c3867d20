package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// halves is a column of half floats of which one is no number, one of lists of them, and
// one of structs.
func halves(t *testing.T) arrow.RecordBatch {
	t.Helper()
	b := array.NewFloat16Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]float16.Num{float16.New(1.5), float16.Inf().Negate(), float16.NaN()}, nil)
	values := b.NewArray()
	defer values.Release()
	lists := array.NewListBuilder(memory.DefaultAllocator, values.DataType())
	defer lists.Release()
	for i := range values.Len() {
		lists.Append(true)
		lists.ValueBuilder().(*array.Float16Builder).Append(values.(*array.Float16).Value(i))
	}
	nested := lists.NewArray()
	defer nested.Release()
	structs, err := array.NewStructArray([]arrow.Array{values}, []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer structs.Release()
	columns := []arrow.Array{values, nested, structs}
	var fields []arrow.Field
	for i, c := range columns {
		fields = append(fields, arrow.Field{Name: string("hls"[i]), Type: c.DataType()})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 3)
}

func TestHalfFloatsThatAreNoNumbersAreTextsInJSON(t *testing.T) {
	rec := halves(t)
	defer rec.Release()
	var out bytes.Buffer
	top := array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:2], nil), rec.Columns()[:2], 3)
	defer top.Release()
	if err := (jsonLines{&out}).Write(top); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "{\"h\":1.5,\"l\":[1.5]}\n{\"h\":\"-Inf\",\"l\":[\"-Inf\"]}\n{\"h\":\"NaN\",\"l\":[\"NaN\"]}\n"; got != want {
		t.Errorf("got %swant %s", got, want)
	}
	for _, format := range []string{"jsonl", "csv"} {
		sink, err := newRowSink(format, &out, rec.Schema())
		if err == nil {
			err = sink.Write(rec)
		}
		if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "--profile spark") {
			t.Errorf("%s: got %v", format, err)
		}
	}
}
