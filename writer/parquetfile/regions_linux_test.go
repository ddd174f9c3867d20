package parquetfile

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/parquet"
)

// TestRegionsAreUsedAgainUntilNobodyWantsThem: of those that are kept as many are given back as no file has wanted for a while.
func TestRegionsAreUsedAgainUntilNobodyWantsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegions(4 * maxRegion)
		take := func(n int) (out [][]byte) {
			for range n {
				memory, ok := r.take(maxRegion)
				if !ok {
					t.Fatal("there is no memory")
				}
				memory[0], memory[len(memory)-1] = 1, 1
				out = append(out, memory)
			}
			return out
		}
		give := func(all [][]byte) {
			for _, memory := range all {
				r.give(memory)
			}
		}
		kept := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.free) != want {
				t.Errorf("%d regions are kept %s, not %d", len(r.free), when, want)
			}
		}
		first := take(5)
		addresses := map[*byte]bool{}
		for _, memory := range first {
			addresses[unsafe.SliceData(memory)] = true
		}
		give(first)
		kept(4, "of five, where four may be")
		again := take(4)
		for _, memory := range again {
			if !addresses[unsafe.SliceData(memory)] {
				t.Error("memory that was given back is not used again")
			}
		}
		kept(0, "when all are in use")
		give(again)
		time.Sleep(regionsWait + time.Second) // two looks are apart by as much
		kept(4, "when they were wanted a moment ago")
		for range 2 {
			give(take(1))
			time.Sleep(regionsWait)
		}
		kept(1, "when files want one")
		time.Sleep(2 * regionsWait)
		kept(0, "when nobody has wanted one for long")
		give(take(2))
		r.Clear()
		kept(0, "when they were cleared")
		time.Sleep(2 * regionsWait) // no look is due to what is gone

		small, _ := r.take(slabSize)
		r.give(small)
		kept(0, "of another size")
		var none *Regions
		memory, _ := none.take(maxRegion)
		none.give(memory)
	})
}

type keeping struct{ io.Writer }

func (keeping) Keep([][]byte) error { return nil }

// TestFilesLeaveTheirMemoryToTheNext, also when their last pages were kept, but not before nobody has them.
func TestFilesLeaveTheirMemoryToTheNext(t *testing.T) {
	regions := NewRegions(64 << 20)
	defer regions.Clear()
	rec := shaped("texts", 20_000)
	defer rec.Release()
	written := func() *File {
		f, err := New(io.Discard, rec.Schema(), parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)))
		if err != nil {
			t.Fatal(err)
		}
		f.TakeFrom(regions)
		for f.slabs.mapped < 4*maxRegion {
			if err := f.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		return f
	}
	kept := func(want int, when string) {
		t.Helper()
		if len(regions.free) != want {
			t.Errorf("%d regions are kept %s, not %d", len(regions.free), when, want)
		}
	}
	first, second := written(), written()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	kept(3, "of a file that is written") // and what came before regions of that size is not
	third := written()
	kept(0, "while the next file has them")
	release, err := second.CloseKeeping(keeping{})
	if err != nil {
		t.Fatal(err)
	}
	kept(0, "while somebody has the pages")
	release()
	kept(3, "when nobody has them")
	third.Release()
	kept(6, "of a file that is given up")
}
