package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bytesReader is a source.Reader over bytes that counts its reads.
type bytesReader struct {
	data   []byte
	mu     sync.Mutex
	reads  int
	closed int
	fail   func(off, n int64) error
}

func (r *bytesReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	r.reads++
	r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(off, int64(len(p))); err != nil {
			return err
		}
	}
	if off < 0 || off+int64(len(p)) > int64(len(r.data)) {
		return fmt.Errorf("read of %d bytes at %d outside %d", len(p), off, len(r.data))
	}
	copy(p, r.data[off:])
	return nil
}

func (r *bytesReader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads
}

func (r *bytesReader) Size() int64 { return int64(len(r.data)) }

func (r *bytesReader) Close() error { r.closed++; return nil }

var testFile = source.File{At: source.Snapshot{Name: "org/set", Commit: "0123456789abcdef"}, Path: "data/a.parquet"}

// write makes a Parquet file of one batch, rowGroup rows a group.
func write(t testing.TB, rec arrow.RecordBatch, rowGroup int64, opts ...parquet.WriterProperty) []byte {
	t.Helper()
	var buf bytes.Buffer
	// The library's own bloom filters have 1 MiB, for however few values.
	opts = append([]parquet.WriterProperty{
		parquet.WithMaxRowGroupLength(rowGroup), parquet.WithStats(true), parquet.WithMaxBloomFilterBytes(4 * wholeBloom),
	}, opts...)
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(opts...),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	// Row group by row group, each from a batch of its own: the writer takes the
	// wrong values of a fixed-size list whose batch is a slice.
	for at := int64(0); at < rec.NumRows(); at += rowGroup {
		part := joinAll(t, rec.Schema(), []arrow.RecordBatch{rec.NewSlice(at, min(at+rowGroup, rec.NumRows()))})
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func footer(t testing.TB, data []byte) *Footer {
	t.Helper()
	ft, err := ReadFooter(context.Background(), &bytesReader{data: data}, testFile)
	if err != nil {
		t.Fatal(err)
	}
	return ft
}

// read collects a task's rows in one batch. Memory must balance afterwards.
func read(t testing.TB, data []byte, task Task) (arrow.RecordBatch, []arrow.RecordBatch, error) {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	task.Memory = mem
	whole, batches, err := readInto(t, data, task)
	balanced(t, mem)
	return whole, batches, err
}

// readInto is read without the check, in memory that the task names.
func readInto(t testing.TB, data []byte, task Task) (arrow.RecordBatch, []arrow.RecordBatch, error) {
	t.Helper()
	task.File = testFile
	if task.Reader == nil {
		task.Reader = &bytesReader{data: data}
	}
	if task.Footer == nil {
		ft, err := ReadFooter(context.Background(), task.Reader, testFile)
		if err != nil {
			return nil, nil, err
		}
		task.Footer = ft
	}
	s, err := Open(context.Background(), task)
	if err != nil {
		return nil, nil, err
	}
	var batches []arrow.RecordBatch
	for {
		b, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			for _, b := range batches {
				b.Release()
			}
			if e := s.Close(); e != nil {
				t.Error(e)
			}
			return nil, nil, err
		}
		if !b.Schema().Equal(s.Schema()) {
			t.Fatalf("batch schema %s, stream schema %s", b.Schema(), s.Schema())
		}
		batches = append(batches, b)
	}
	schema := s.Schema()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole := joinAll(t, schema, batches)
	copies := make([]arrow.RecordBatch, len(batches))
	for i, b := range batches {
		copies[i] = joinAll(t, schema, []arrow.RecordBatch{b})
		b.Release()
	}
	return whole, copies, nil
}

// joinAll copies batches into one, in memory of the test's own.
func joinAll(t testing.TB, schema *arrow.Schema, batches []arrow.RecordBatch) arrow.RecordBatch {
	t.Helper()
	n := int64(0)
	for _, b := range batches {
		n += b.NumRows()
	}
	cols := make([]arrow.Array, schema.NumFields())
	for i := range cols {
		parts := []arrow.Array{array.MakeArrayOfNull(memory.DefaultAllocator, schema.Field(i).Type, 0)}
		for _, b := range batches {
			parts = append(parts, b.Column(i))
		}
		col, err := array.Concatenate(parts, memory.NewGoAllocator())
		if err != nil {
			t.Fatal(err)
		}
		cols[i] = col
	}
	return array.NewRecordBatch(schema, cols, n)
}

// balanced waits until everything allocated is freed: the library keeps some
// scratch buffers in a sync.Pool, which the collector empties.
func balanced(t testing.TB, mem *memory.CheckedAllocator) {
	t.Helper()
	for range 100 {
		if mem.CurrentAlloc() == 0 {
			return
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d bytes were not released", mem.CurrentAlloc())
}

// mustRead reads without counting memory, which takes many collections.
func mustRead(t testing.TB, data []byte, task Task) arrow.RecordBatch {
	t.Helper()
	whole, _, err := readInto(t, data, task)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

func mustFilter(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sameRows(t testing.TB, got, want arrow.RecordBatch) {
	t.Helper()
	if got.NumRows() != want.NumRows() || got.NumCols() != want.NumCols() {
		t.Fatalf("got %d rows of %d columns, want %d of %d", got.NumRows(), got.NumCols(), want.NumRows(), want.NumCols())
	}
	for i := range int(want.NumCols()) {
		if !array.Equal(got.Column(i), want.Column(i)) {
			t.Fatalf("column %s differs:\n got %v\nwant %v", want.ColumnName(i), got.Column(i), want.Column(i))
		}
	}
}

// sameRowsNaN is sameRows where one NaN is as good as another.
func sameRowsNaN(t testing.TB, got, want arrow.RecordBatch) {
	t.Helper()
	if got.NumRows() != want.NumRows() || got.NumCols() != want.NumCols() {
		t.Fatalf("got %d rows of %d columns, want %d of %d", got.NumRows(), got.NumCols(), want.NumRows(), want.NumCols())
	}
	for i := range int(want.NumCols()) {
		if !array.ApproxEqual(got.Column(i), want.Column(i), array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
			t.Fatalf("column %s differs:\n got %v\nwant %v", want.ColumnName(i), got.Column(i), want.Column(i))
		}
	}
}

func newChecked() *memory.CheckedAllocator {
	return memory.NewCheckedAllocator(memory.NewGoAllocator())
}
