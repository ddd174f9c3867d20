package scan

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// pattern is a file whose byte at off is known.
func pattern(off int64) byte { return byte(off*7 + off>>8) }

func TestChunksAreReadTogetherOrThroughWindows(t *testing.T) {
	mib := int64(1 << 20)
	for name, c := range map[string]struct {
		chunks []chunk
		reads  int // at most
		whole  bool
	}{
		"neighbours in one read":    {[]chunk{{off: 4, len: 1000}, {off: 1004, len: 5000}, {off: 7000, len: 10}}, 1, true},
		"out of order":              {[]chunk{{off: 1100, len: 10}, {off: 4, len: 1000}}, 1, true},
		"far apart":                 {[]chunk{{off: 4, len: 1000}, {off: 2 * mib, len: 1000}}, 2, true},
		"overlapping":               {[]chunk{{off: 4, len: 1000}, {off: 500, len: 100}}, 1, true},
		"a large group in windows":  {[]chunk{{off: 4, len: 150 * mib}, {off: 4 + 150*mib, len: 150 * mib}}, 1 << 30, false},
		"nothing of an empty chunk": {[]chunk{{off: 0, len: 0}, {off: 4, len: 10}}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
			reads, largest := 0, 0
			r := &chunkReader{read: func(p []byte, off int64) error {
				reads++
				largest = max(largest, len(p))
				for i := range p {
					p[i] = pattern(off + int64(i))
				}
				return nil
			}, size: 400 * mib, mem: mem, spans: librarySpans(c.chunks)}
			if whole := r.spans[0].window == 0; whole != c.whole {
				t.Errorf("in memory: %v", whole)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			for _, ch := range c.chunks {
				for range 20 {
					if ch.len == 0 {
						continue
					}
					off := ch.off + rng.Int64N(ch.len)
					p := make([]byte, 1+rng.Int64N(min(ch.off+ch.len-off, 70_000)))
					n, err := r.ReadAt(p, off)
					if err != nil || n != len(p) || p[0] != pattern(off) || p[n-1] != pattern(off+int64(n)-1) {
						t.Fatalf("%d bytes at %d: %d, %v", len(p), off, n, err)
					}
				}
			}
			if reads > c.reads || largest > maxLibraryWindow && !c.whole {
				t.Errorf("%d reads, the largest of %d bytes", reads, largest)
			}
			r.close()
			mem.AssertSize(t, 0)
		})
	}
}

func TestChunkReaderEndsWithTheFile(t *testing.T) {
	r := &chunkReader{read: func(p []byte, off int64) error { return nil }, size: 100, mem: memory.NewGoAllocator(), spans: librarySpans([]chunk{{off: 4, len: 50}})}
	if n, err := r.ReadAt(make([]byte, 50), 80); n != 20 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 101); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestLargeValuesAreReadAroundTheWindow(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	var direct int
	var asked []byte
	r := &chunkReader{read: func(p []byte, off int64) error {
		for i := range p {
			p[i] = pattern(off + int64(i))
		}
		if &p[0] == &asked[0] {
			direct++
		}
		return nil
	}, size: 80 << 20, mem: mem, spans: ownSpans([]chunk{{off: 4, len: 20 << 20}}, false)}
	defer r.close()
	c := chunkSource{r, r.spans[0]}
	for _, s := range []struct {
		off, n int64
		direct int // reads so far into the caller's memory
	}{{4, 100, 0}, {104, 100_000, 0}, {500_000, 1 << 20, 0}, {5 << 20, 3 << 20, 1}, {8 << 20, 10, 1}, {9<<20 + 100, minWindow, 2}} {
		p := make([]byte, s.n)
		asked = p
		if err := c.ReadInto(s.off, p); err != nil {
			t.Fatal(err)
		}
		for i := range p {
			if p[i] != pattern(s.off+int64(i)) {
				t.Fatalf("byte %d of %d at %d differs", i, s.n, s.off)
			}
		}
		if direct != s.direct {
			t.Errorf("%d bytes at %d: %d reads around the window, want %d", s.n, s.off, direct, s.direct)
		}
	}
	for _, off := range []int64{3, 20<<20 - 10} {
		if c.ReadInto(off, make([]byte, 100)) == nil {
			t.Errorf("bytes at %d are outside the chunk", off)
		}
	}
}

func TestASparseWindowIsNotReadBehindWhatWasAnnounced(t *testing.T) {
	const page = 10_000
	var ends []int64
	r := &chunkReader{read: func(p []byte, off int64) error {
		ends = append(ends, off+int64(len(p)))
		return nil
	}, size: 1 << 20, mem: memory.NewGoAllocator(), spans: ownSpans([]chunk{{off: 4, len: 900_000}}, true)}
	defer r.close()
	r.spans[0].until = 4 + 20*page
	buffer := make([]byte, page)
	for i := range int64(20) {
		if _, err := r.ReadAt(buffer, 4+i*page); err != nil {
			t.Fatal(err)
		}
	}
	if most := slices.Max(ends); most != 4+20*page || len(ends) > 12 {
		t.Errorf("%d reads up to %d, want few up to %d", len(ends), most, 4+20*page)
	}
	if _, err := r.ReadAt(buffer, 4+20*page); err != nil || slices.Max(ends) < 4+21*page {
		t.Errorf("what is needed behind it is not read: %v, %v", ends, err)
	}
}
