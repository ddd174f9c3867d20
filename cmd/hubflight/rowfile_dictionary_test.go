package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
)

// categories is a batch as pandas makes it of categorical columns, and its rows as text.
func categories(t *testing.T) (arrow.RecordBatch, string) {
	t.Helper()
	mem := memory.DefaultAllocator
	of := func(dt arrow.DataType, text string) arrow.Array {
		a, _, err := array.FromJSON(mem, dt, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	column := func(values arrow.Array) arrow.Array {
		defer values.Release()
		at := of(arrow.PrimitiveTypes.Int8, `[1,0,null,1]`)
		defer at.Release()
		return array.NewDictionaryArray(&arrow.DictionaryType{IndexType: at.DataType(), ValueType: values.DataType()}, at, values)
	}
	columns := []arrow.Array{column(of(arrow.BinaryTypes.String, `["red","blue"]`)), column(of(arrow.PrimitiveTypes.Int64, `[10,20]`)), of(arrow.PrimitiveTypes.Int64, `[1,2,3,4]`)}
	var fields []arrow.Field
	for i, a := range columns {
		defer a.Release()
		fields = append(fields, arrow.Field{Name: string(rune('a' + i)), Type: a.DataType(), Nullable: true})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 4), `{"a":"blue","b":20,"c":1}
{"a":"red","b":10,"c":2}
{"a":null,"b":null,"c":3}
{"a":"blue","b":20,"c":4}
`
}

// TestCategoriesAreReadAsTheirValues: the wire takes no dictionaries, and who has a file
// on the command line cannot decode it.
func TestCategoriesAreReadAsTheirValues(t *testing.T) {
	rec, want := categories(t)
	defer rec.Release()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"x.parquet": func(out *bytes.Buffer) error {
			w, err := pqarrow.NewFileWriter(rec.Schema(), out, parquet.NewWriterProperties(), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
			if err != nil {
				return err
			}
			if err := w.Write(rec); err != nil {
				return err
			}
			return w.Close()
		},
		"x.arrow": func(out *bytes.Buffer) error {
			w, err := ipc.NewFileWriter(out, ipc.WithSchema(rec.Schema()))
			if err != nil {
				return err
			}
			if err := w.Write(rec); err != nil {
				return err
			}
			return w.Close()
		},
		"x.arrows": func(out *bytes.Buffer) error {
			w := ipc.NewWriter(out, ipc.WithSchema(rec.Schema()))
			if err := w.Write(rec); err != nil {
				return err
			}
			return w.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			if err := write(&raw); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, raw.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			in, err := openRows(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if got := columnsText(in.schema); got != "a utf8, b int64, c int64" {
				t.Errorf("the columns are %s", got)
			}
			var got bytes.Buffer
			for rows, err := range in.rows(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if err := array.RecordToJSON(rows, &got); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func TestAColumnThatCannotBeWrittenIsRefusedWithItsFile(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "d", Type: arrow.FixedWidthTypes.Duration_us}}, nil)
	var raw bytes.Buffer
	w := ipc.NewWriter(&raw, ipc.WithSchema(schema))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "odd.arrow")
	if err := os.WriteFile(path, raw.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openRows(t.Context(), path)
	if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "put:") || !strings.Contains(err.Error(), "odd.arrow") || !strings.Contains(err.Error(), "column=d") {
		t.Errorf("got %v", err)
	}
}
