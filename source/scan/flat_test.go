package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// longRows are rows of four kilobytes: in a dictionary of sixteen strings, plain
// and compressible, and nested.
func longRows(n int) arrow.RecordBatch {
	str := arrow.BinaryTypes.String
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "label", Type: str, Nullable: true}, {Name: "text", Type: str, Nullable: true},
		{Name: "turns", Type: arrow.ListOf(arrow.StructOf(field("role", str), field("value", str))), Nullable: true},
		{Name: "scores", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	turns := b.Field(3).(*array.ListBuilder)
	turn := turns.ValueBuilder().(*array.StructBuilder)
	scores := b.Field(4).(*array.ListBuilder)
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(strings.Repeat(string(rune('a'+i%16)), 2000))
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("%d %s", i, strings.Repeat("word ", 200)))
		turns.Append(true)
		for k := range i % 4 {
			turn.Append(true)
			turn.FieldBuilder(0).(*array.StringBuilder).Append([]string{"user", "assistant"}[k%2])
			turn.FieldBuilder(1).(*array.StringBuilder).Append(strings.Repeat("said ", 100))
		}
		scores.Append(true)
		for k := range i % 60 {
			scores.ValueBuilder().(*array.Float64Builder).Append(float64(k))
		}
	}
	return b.NewRecordBatch()
}

// oneRowGroup writes a batch so often into one row group that it is size bytes of
// Arrow, and returns the file and its rows.
func oneRowGroup(t *testing.T, batch arrow.RecordBatch, size int64) (data []byte, rows int64) {
	t.Helper()
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithMaxRowGroupLength(1<<40),
		parquet.WithDictionaryDefault(false), parquet.WithDictionaryFor("label", true), parquet.WithDictionaryFor("turns.list.element.role", true))
	w, err := pqarrow.NewFileWriter(batch.Schema(), &out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	w.NewBufferedRowGroup()
	one := batchBytes(batch, 0, batch.NumRows())
	for done := int64(0); done < size; done += one {
		if err := w.WriteBuffered(batch); err != nil {
			t.Fatal(err)
		}
		rows += batch.NumRows()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), rows
}

// What a stream takes is what it said before it began, and that is bounded by
// windows, pages and batches, not by the row group: a quarter of a gibibyte of
// Arrow in one row group in CI, HUBFLIGHT_ROWGROUP_MIB in the nightly run.
func TestMemoryIsFlatInTheSizeOfTheRowGroup(t *testing.T) {
	const bound = 32 << 20
	large := int64(256 << 20)
	if text := os.Getenv("HUBFLIGHT_ROWGROUP_MIB"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		large = n << 20
	}
	batch := longRows(2000)
	for _, filtered := range []bool{false, true} {
		most, holds := peakOf(t, batch, large, filtered)
		t.Logf("filtered %v: %d KiB at most of %d MiB; the stream says %d KiB", filtered, most>>10, large>>20, holds>>10)
		if holds > bound {
			t.Errorf("filtered %v: the stream wants %d bytes for a row group of %d", filtered, holds, large)
		}
		if most > holds*5/4 { // an estimate
			t.Errorf("filtered %v: %d bytes are taken; the stream said %d", filtered, most, holds)
		}
	}
}

// peakOf streams a file of one row group and returns the most that was allocated
// at one time, and what the stream had said.
func peakOf(t *testing.T, batch arrow.RecordBatch, size int64, filtered bool) (most, holds int64) {
	t.Helper()
	data, rows := oneRowGroup(t, batch, size)
	q := Query{}
	if filtered { // half of the rows, in runs
		q.Filters = mustFilter(t, `[["id","<",500],["id",">=",0]]`)
		rows = rows / batch.NumRows() * 500
	}
	mem := &peak{Allocator: NewPool()}
	ft := footer(t, data)
	if ft.NumRowGroups() != 1 {
		t.Fatalf("%d row groups", ft.NumRowGroups())
	}
	s, err := Open(t.Context(), Task{File: testFile, Reader: &bytesReader{data: data}, Footer: ft, Query: q, Limit: -1, Memory: mem})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		var b arrow.RecordBatch
		if b, err = s.Next(t.Context()); err == nil {
			rows -= b.NumRows()
			b.Release()
		}
	}
	if !errors.Is(err, io.EOF) || rows != 0 {
		t.Errorf("%d rows are missing: %v", rows, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mem.most.Load(), s.Holds()
}
