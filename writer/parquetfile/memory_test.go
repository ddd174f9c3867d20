package parquetfile

import (
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/apache/arrow-go/v18/parquet"
)

// TestAFileHoldsItsOpenGroupAndNoMore, however many groups it has: the pages of a group are in memory that the next one uses again.
func TestAFileHoldsItsOpenGroupAndNoMore(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is live, not what is not collected yet
	rec := shaped("texts", 20_000)
	defer rec.Release()
	props := parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)) // nor compressed: a group takes what its rows do
	f, err := New(io.Discard, rec.Schema(), props)
	if err != nil {
		t.Fatal(err)
	}
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + uint64(f.slabs.mapped) //nolint:gosec // bytes of memory
	}
	before, peak := live(), uint64(0)
	var group int64
	for range 8 {
		for range 5 {
			if err := f.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		group = max(group, f.Buffered())
		peak = max(peak, live())
		if err := f.EndGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	took, most := int64(peak)-int64(before), group*5/4+8<<20 //nolint:gosec // a heap is smaller than 8 EiB
	t.Logf("%d KiB for groups of %d KiB", took>>10, group>>10)
	if group < 4<<20 || took > most {
		t.Errorf("%d bytes above what was there before; the open group has %d", took, group)
	}
}

// TestAFileThatIsReleasedHasNoMemoryAndTakesNoRows, whether it is complete or not.
func TestAFileThatIsReleasedHasNoMemoryAndTakesNoRows(t *testing.T) {
	rec := shaped("texts", 20_000)
	defer rec.Release()
	for name, end := range map[string]func(*File) error{
		"complete": (*File).Close,
		"given up": func(f *File) error { f.Release(); return nil },
	} {
		f, err := New(io.Discard, rec.Schema(), parquet.NewWriterProperties())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(rec); err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS == "linux" && f.slabs.mapped < 1<<20 {
			t.Fatalf("%s: pages of %d bytes wait in %d", name, f.Buffered(), f.slabs.mapped)
		}
		if err := end(f); err != nil {
			t.Fatal(err)
		}
		f.Release()
		if f.slabs.mapped != 0 || f.slabs.regions != nil || f.slabs.free != nil || f.Buffered() != 0 {
			t.Errorf("%s: %d bytes are left", name, f.slabs.mapped)
		}
		if err := f.Write(rec); !errors.Is(err, errReleased) {
			t.Errorf("%s: rows are taken: %v", name, err)
		}
	}
}
