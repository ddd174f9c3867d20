package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
)

// opened opens a file of these bytes as put does.
func opened(t *testing.T, name string, raw []byte) (*rowFile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return openRows(t.Context(), path)
}

// rowsText is the columns and rows of a file as text.
func rowsText(t *testing.T, in *rowFile) string {
	t.Helper()
	out := bytes.NewBufferString(columnsText(in.schema) + "\n")
	for rec, err := range in.rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := array.RecordToJSON(rec, out); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestJSONIsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeff{\"a\":1}\r\n\r\n{\"a\":null}\r\n":           "a int64\n{\"a\":1}\n{\"a\":null}\n",
		`{"a":9007199254740993} {"b":-9223372036854775808}`: "a int64, b int64\n{\"a\":9007199254740993,\"b\":null}\n{\"a\":null,\"b\":-9223372036854775808}\n",
		`{"a":1} {"a":2.5} {"a":9007199254740992}`:          "a float64\n{\"a\":1}\n{\"a\":2.5}\n{\"a\":9007199254740992}\n",
		`{"a":100000000000000000000} {"a":1}`:               "a float64\n{\"a\":100000000000000000000}\n{\"a\":1}\n",
		`{"a":"\u00e9\ud83d\ude00 é😀"}`:                     "a utf8\n{\"a\":\"é😀 é😀\"}\n",
	} {
		in, err := opened(t, "a.jsonl", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := rowsText(t, in); got != want {
			t.Errorf("%s: got\n%swant\n%s", text, got, want)
		}
	}
}

func TestWhatIsWrongInAJSONFileIsToldWithItsRow(t *testing.T) {
	for text, want := range map[string]string{
		"{\"a\":\"x\"}\n{\"a\":\"M\xfcller\"}":             "a.jsonl: row 2 is not UTF-8: save the file in UTF-8",
		`{"a":1} {"a":12345678901234567890}`:               "a.jsonl: row 2: a: 12345678901234567890 is larger than 64 bits hold: write it as a string",
		`{"a":9007199254740993} {"a":1} {"a":1.5}`:         "a.jsonl: row 3: a: a value is float, and 9007199254740993 before, which a float does not hold",
		`{"a":{"b":[1.5]}} {"a":{"b":[9007199254740993]}}`: "a.jsonl: row 2: a: b: a value is 9007199254740993, which a float does not hold, and float before",
	} {
		_, err := opened(t, "a.jsonl", []byte(text))
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestBatchesAreOfBoundedBytes: 8192 rows of a megabyte each would be memory that no
// machine has, and more than an array of strings can hold.
func TestBatchesAreOfBoundedBytes(t *testing.T) {
	const rows, each = 40, 1 << 20
	long := strings.Repeat("x", each)
	files := map[string]func(out *bytes.Buffer) error{
		"long.csv": func(out *bytes.Buffer) error {
			out.WriteString("k,v\n")
			for i := range rows {
				fmt.Fprintf(out, "%d,%s\n", i, long)
			}
			return nil
		},
		"long.jsonl": func(out *bytes.Buffer) error {
			for i := range rows {
				fmt.Fprintf(out, `{"k":%d,"v":%q}`+"\n", i, long)
			}
			return nil
		},
		"long.parquet": func(out *bytes.Buffer) error {
			b := array.NewStringBuilder(memory.DefaultAllocator)
			defer b.Release()
			for i := range rows {
				b.Append(fmt.Sprint(i, long))
			}
			values := b.NewArray()
			defer values.Release()
			schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: values.DataType()}}, nil)
			rec := array.NewRecordBatch(schema, []arrow.Array{values}, rows)
			defer rec.Release()
			w, err := pqarrow.NewFileWriter(schema, out, parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(30)), pqarrow.DefaultWriterProps())
			if err != nil {
				return err
			}
			if err := w.Write(rec); err != nil {
				return err
			}
			return w.Close()
		},
	}
	for name, write := range files {
		t.Run(name, func(t *testing.T) {
			var raw bytes.Buffer
			if err := write(&raw); err != nil {
				t.Fatal(err)
			}
			in, err := opened(t, name, raw.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			read := int64(0)
			for rec, err := range in.rows(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if bytes := rec.NumRows() * each; bytes > 2*putBatchBytes {
					t.Errorf("a batch has %s of %d bytes", count(int(rec.NumRows()), "row"), each)
				}
				read += rec.NumRows()
			}
			if read != rows {
				t.Errorf("%d rows were read, want %d", read, rows)
			}
		})
	}
}

// cutting is a context that ends while a file is looked at: before the second read of it.
type cutting struct {
	context.Context
	reads int
}

func (c *cutting) Err() error {
	if c.reads++; c.reads > 1 {
		return context.Canceled
	}
	return nil
}

func TestLookingAtALongFileEndsWhenItsUserDoesNotWait(t *testing.T) {
	for name, row := range map[string]string{"a.csv": "a\n", "a.jsonl": `{"a":1}` + "\n"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.Repeat(row, 2<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx := &cutting{Context: t.Context()}
		if _, err := openRows(ctx, path); source.KindOf(err) != source.KindCanceled || ctx.reads > 4 {
			t.Errorf("%s: %v, after %d reads", name, err, ctx.reads)
		}
	}
}

// TestADamagedParquetFileIsAnError: the library panics on some, also after it has begun.
func TestADamagedParquetFileIsAnError(t *testing.T) {
	whole := numbers(0, 300, "")
	refused := 0
	for at := 4; at < 200; at++ {
		for _, value := range []byte{0x00, 0x7f, 0xff} {
			raw := bytes.Clone(whole)
			raw[at] = value
			in, err := opened(t, "a.parquet", raw)
			if err != nil {
				t.Fatalf("byte %d: the footer is whole: %v", at, err)
			}
			for _, err := range in.rows(t.Context()) {
				if err != nil {
					refused++
					if !strings.Contains(err.Error(), "a.parquet") {
						t.Errorf("byte %d: the error names no file: %v", at, err)
					}
				}
			}
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}
