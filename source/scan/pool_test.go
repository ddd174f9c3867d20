package scan

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hubflight/hubflight/source/scan/scantest"
)

func TestPoolHandsOutZeroedMemoryOfTheSizeAskedFor(t *testing.T) {
	p := NewPool()
	for _, n := range []int{0, 1, 255, 256, 257, 320, 321, 4095, 4096, 4097, 1 << 20, 1<<20 + 1} {
		for range 3 {
			b := p.Allocate(n)
			if len(b) != n {
				t.Fatalf("asked for %d bytes, got %d", n, len(b))
			}
			if !bytes.Equal(b, make([]byte, n)) {
				t.Fatalf("%d bytes are not zero", n)
			}
			for i := range b {
				b[i] = 0xDB
			}
			p.Free(b)
		}
	}
}

func TestPoolReallocateKeepsTheBytesAndZeroesTheRest(t *testing.T) {
	p := NewPool()
	for _, from := range []int{0, 1, 300, 5000, 70000} {
		for _, to := range []int{0, 1, 299, 301, 4999, 5001, 70001} {
			dirty := p.Allocate(to)
			for i := range dirty {
				dirty[i] = 0xDB
			}
			p.Free(dirty)
			b := p.Allocate(from)
			for i := range b {
				b[i] = byte(i)
			}
			want := make([]byte, to)
			copy(want, b)
			got := p.Reallocate(to, b)
			if !bytes.Equal(got, want) {
				t.Fatalf("from %d to %d bytes: contents differ", from, to)
			}
			p.Free(got)
		}
	}
}

func TestPoolKeepsNoMoreThanItsLimit(t *testing.T) {
	p := newPoolOf(1 << 20)
	var blocks [][]byte
	for range 100 {
		blocks = append(blocks, p.Allocate(100_000))
	}
	for _, b := range blocks {
		p.Free(b)
	}
	if kept := p.kept; kept > 1<<20 || kept < 1<<19 {
		t.Errorf("%d bytes are kept; the limit is 1 MiB", kept)
	}
}

func TestPoolSizeClassesWasteAtMostAQuarter(t *testing.T) {
	for n := 257; n < 1<<22; n += 97 {
		class, block := sizeClass(n)
		if block < n || block > n+n/4+64 {
			t.Fatalf("%d bytes go to a block of %d", n, block)
		}
		if again, same := sizeClass(block); again != class || same != block {
			t.Fatalf("a block of %d bytes is of class %d, not %d", block, again, class)
		}
	}
}

func TestMeterStopsAtItsLimit(t *testing.T) {
	m := &meter{mem: NewPool(), limit: 1 << 20}
	b := m.Allocate(1 << 19)
	func() {
		defer func() {
			if _, ok := recover().(overBudget); !ok {
				t.Error("an allocation beyond the limit did not stop")
			}
		}()
		m.Allocate(1<<19 + 1)
	}()
	m.Free(b)
	m.Free(m.Allocate(1 << 20))
	if used := m.used.Load(); used != 0 {
		t.Errorf("%d bytes are counted as used", used)
	}
}

// Memory that is used again must not show in results: everything that can be
// read is read once into fresh and once into poisoned, recycled memory.
func TestRecycledMemoryNeverShows(t *testing.T) {
	files := map[string][]byte{"nested": write(t, nestedBatch(1000, 7), 200), "flat": write(t, flatBatch(1000), 300)}
	paths, err := filepath.Glob(corpora + "/parquet/*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Log("the corpora are not beside the repository: only generated files are read")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 64<<10 {
			files[filepath.Base(path)] = data
		}
	}
	dirty := scantest.NewPoison(NewPool())
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			for _, profile := range []Profile{Native, Spark} {
				q := Query{Profile: profile, BatchRows: 100}
				want, _, err := readInto(t, data, Task{Query: q, Limit: -1})
				if err != nil {
					t.Skip(err)
				}
				for range 2 {
					got, _, err := readInto(t, data, Task{Query: q, Limit: -1, Memory: dirty})
					if err != nil {
						t.Fatal(err)
					}
					sameRowsNaN(t, got, want)
				}
			}
		})
	}
}
