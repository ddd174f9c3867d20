package parquetfile

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// BenchmarkWrite has the Arrow library's own writer for comparison. What each
// writes is read back once, and has the same size every time.
func BenchmarkWrite(b *testing.B) {
	const rows = 50_000
	for _, shape := range []string{"ids", "numbers", "words", "texts", "chat"} {
		rec := shaped(shape, rows)
		props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithPageIndexEnabled(true), parquet.WithVersion(parquet.V2_LATEST))
		var size int64
		for _, c := range rec.Columns() {
			size += int64(c.Data().SizeInBytes()) //nolint:gosec // far below
		}
		for writer, write := range map[string]func(io.Writer, arrow.RecordBatch, *parquet.WriterProperties) error{"own": writeOwn, "pqarrow": writeLibrary} {
			b.Run(fmt.Sprintf("shape=%s/rows=%d/writer=%s", shape, rows, writer), func(b *testing.B) {
				var once bytes.Buffer
				if err := write(&once, rec, props); err != nil {
					b.Fatal(err)
				}
				sameAsRead(b, once.Bytes(), rec)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					var n counter
					if err := write(&n, rec, props); err != nil || int(n) != once.Len() {
						b.Fatalf("%d bytes, want %d: %v", n, once.Len(), err)
					}
				}
			})
		}
		rec.Release()
	}
}

// counter is a writer that only counts.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func sameAsRead(b testing.TB, raw []byte, want arrow.RecordBatch) {
	b.Helper()
	table, err := pqarrow.ReadTable(b.Context(), bytes.NewReader(raw), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		b.Fatal(err)
	}
	defer table.Release()
	got, err := array.Concatenate(table.Column(0).Data().Chunks(), memory.DefaultAllocator)
	if err != nil {
		b.Fatal(err)
	}
	defer got.Release()
	if !array.Equal(got, want.Column(0)) {
		b.Fatal("other rows are read back")
	}
}

func writeOwn(w io.Writer, rec arrow.RecordBatch, props *parquet.WriterProperties) error {
	f, err := New(w, rec.Schema(), props)
	if err != nil {
		return err
	}
	if err := f.Write(rec); err != nil {
		return err
	}
	return f.Close()
}

func writeLibrary(w io.Writer, rec arrow.RecordBatch, props *parquet.WriterProperties) error {
	f, err := pqarrow.NewFileWriter(rec.Schema(), w, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return err
	}
	if err := f.WriteBuffered(rec); err != nil {
		return err
	}
	return f.Close()
}

// shaped is a batch of one kind of column.
func shaped(shape string, rows int) arrow.RecordBatch {
	r := rand.New(rand.NewPCG(1, 1))
	turn := arrow.StructOf(arrow.Field{Name: "from", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.String, Nullable: true})
	dt := map[string]arrow.DataType{"ids": arrow.PrimitiveTypes.Int64, "numbers": arrow.PrimitiveTypes.Int64, "words": arrow.BinaryTypes.String, "texts": arrow.BinaryTypes.String, "chat": arrow.ListOf(turn)}[shape]
	text := func() string {
		out := ""
		for range 5 + r.IntN(30) {
			out += fmt.Sprintf("word%d ", r.IntN(3000))
		}
		return out
	}
	build := array.NewBuilder(memory.DefaultAllocator, dt)
	defer build.Release()
	for i := range rows {
		switch b := build.(type) {
		case *array.Int64Builder:
			if shape == "ids" {
				b.Append(int64(i))
			} else {
				b.Append(r.Int64N(5000))
			}
		case *array.StringBuilder:
			if shape == "words" {
				b.Append(fmt.Sprintf("N%d", r.IntN(4000)))
			} else {
				b.Append(text())
			}
		case *array.ListBuilder:
			b.Append(true)
			turns := b.ValueBuilder().(*array.StructBuilder)
			for i := range 2 {
				turns.Append(true)
				turns.FieldBuilder(0).(*array.StringBuilder).Append([]string{"human", "gpt"}[i])
				turns.FieldBuilder(1).(*array.StringBuilder).Append(text())
			}
		}
	}
	a := build.NewArray()
	defer a.Release()
	return array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil), []arrow.Array{a}, int64(rows))
}
