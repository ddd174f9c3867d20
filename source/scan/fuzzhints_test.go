package scan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source/scan/column"
)

// Indexes, bloom filters and dictionaries are hints from a foreign file: whatever
// they hold, they are understood or left out of account, and cost little.

// frugal runs what must not take much more memory than it is given. The runtime counts small objects when a processor's cache is full,
// whoever filled it: once more is no proof, three times is.
func frugal(t *testing.T, given int, run func()) {
	t.Helper()
	most := int64(100*given + 256<<10) // a page or a bound has 24 bytes and may be said in one
	var took int64
	for range 3 {
		before := allocated()
		run()
		if took = allocated() - before; took <= most {
			return
		}
	}
	t.Errorf("%d bytes were allocated for %d, at most %d", took, given, most)
}

// hinted is a file with a page index and a bloom filter.
func hinted(t testing.TB) *trapFile {
	return trap{
		typ: arrow.PrimitiveTypes.Int64, rows: jsonRows(64, func(i int) string { return fmt.Sprint(i * 3) }),
		with: []parquet.WriterProperty{
			parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1), parquet.WithBatchSize(8),
			parquet.WithBloomFilterEnabledFor("c", true),
		},
	}.file(t)
}

func (f *trapFile) section(s section) []byte { return slices.Clone(f.data[s.off:s.end()]) }

func FuzzOffsetIndex(f *testing.F) {
	file := hinted(f)
	place := file.ft.chunks[0][1]
	f.Add(file.section(place.offsetIndex))
	f.Add([]byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f}) // a list of 2³² pages
	f.Add([]byte{0x19, 0x1c, 0x16, 0x08, 0x15, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x16, 0x00, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		frugal(t, len(data), func() {
			pages, err := readOffsetIndex(data)
			if err != nil || checkOffsetIndex(pages, place, 64) != nil {
				return
			}
			at, rows := place.data, int64(0)
			for i, p := range pages {
				if p.Off != at || p.FirstRow != rows || p.Size < minPageBytes {
					t.Fatalf("page %d at %d from row %d; the one before ends at %d and row %d", i, p.Off, p.FirstRow, at, rows)
				}
				at, rows = at+int64(p.Size), rows+pageRows(pages, i, 64)
			}
			if at != place.off+place.len || rows != 64 {
				t.Fatalf("the pages end at %d and row %d", at, rows)
			}
		})
	})
}

func FuzzColumnIndex(f *testing.F) {
	file := hinted(f)
	place := file.ft.chunks[0][1]
	pages := file.pages()
	f.Add(file.section(place.columnIndex), uint16(len(pages)))
	f.Add([]byte{0x19, 0xf1, 0xff, 0xff, 0x03}, uint16(0xffff))              // a list of booleans that are not there
	f.Add([]byte{0x29, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}, uint16(1)) // a bound of 2⁴⁰ bytes
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		frugal(t, len(data), func() {
			x, err := readColumnIndex(data, int(n))
			if err != nil {
				return
			}
			if len(x.allNull) != int(n) || len(x.min) != int(n) || len(x.max) != int(n) || x.nulls != nil && len(x.nulls) != int(n) {
				t.Fatalf("%d, %d, %d and %d entries for %d pages", len(x.allNull), len(x.min), len(x.max), len(x.nulls), n)
			}
			if int(n) != len(pages) || x.check(pages, 64, -1) != nil {
				return
			}
			// What is understood can be used, whatever its bounds are.
			node := file.ft.flat([]string{"c"})
			p := &prospector{ft: file.ft}
			for i := range pages {
				if s := p.pageStat(node, x, i, pageRows(pages, i, 64)); s.Nulls > s.Rows {
					t.Fatalf("page %d: %+v", i, s)
				}
			}
		})
	})
}

func FuzzBloomFilter(f *testing.F) {
	file := hinted(f)
	place := file.ft.chunks[0][1].bloom
	f.Add(file.section(place), uint64(0x9e3779b97f4a7c15))
	f.Add([]byte{0x15, 0x40, 0x1c, 0x1c, 0x00, 0x00, 0x1c, 0x1c, 0x00, 0x00, 0x1c, 0x1c, 0x00, 0x00, 0x00}, uint64(1)) // a header and nothing else
	f.Add([]byte{0x15, 0xc0, 0xff, 0xff, 0xff, 0x0f, 0x1c, 0x1c, 0x00, 0x00, 0x1c, 0x1c, 0x00, 0x00, 0x1c, 0x1c, 0x00, 0x00, 0x00}, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, data []byte, hash uint64) {
		s := section{off: 4, len: int64(len(data))}
		if guess, ok := guessBloom(s); ok && (guess.blocks.off < s.off || guess.blocks.end() != s.end()) {
			t.Fatalf("guessed %+v in %+v", guess, s)
		}
		frugal(t, len(data), func() {
			size := s.end()
			filter, err := readBloomHeader(data[:min(len(data), bloomHeader)], s, size)
			if err != nil {
				return
			}
			block := filter.block(hash)
			if block.len != bloomBlock || block.off < filter.blocks.off || block.end() > filter.blocks.end() || block.end() > size || (block.off-filter.blocks.off)%bloomBlock != 0 {
				t.Fatalf("block %+v of %+v in a file of %d bytes", block, filter, size)
			}
			bloomHas(data[block.off-s.off:][:bloomBlock], hash)
		})
	})
}

// FuzzDictionaryPredicate puts any bytes where a dictionary page was.
func FuzzDictionaryPredicate(f *testing.F) {
	file := trap{
		typ: arrow.BinaryTypes.String, rows: jsonRows(64, func(i int) string { return fmt.Sprintf(`"a value of some length, number %d"`, i%4) }),
		with: []parquet.WriterProperty{parquet.WithDataPageSize(64), parquet.WithBatchSize(8)},
	}.file(f)
	place := file.ft.chunks[0][1]
	page := section{place.off, place.data - place.off}
	q := Query{Filters: mustFilter(f, `[["c","=","x"]]`), off: offAll &^ offDictionary}
	if !file.skipped(q, LayerDictionary) {
		f.Fatal("the dictionary is not asked")
	}
	f.Add(file.section(page))
	f.Add(slices.Concat([]byte{0x15, 0x04, 0x15, 0xfe, 0xff, 0xff, 0x0f, 0x15, 0xfe, 0xff, 0xff, 0x0f, 0x4c, 0x15, 0x02, 0x15, 0x00, 0x00, 0x00}, make([]byte, page.len)))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		damaged := &trapFile{t: t, data: slices.Clone(file.data), ft: file.ft}
		copy(damaged.data[page.off:page.end()], bytes)
		ft := *file.ft
		ft.tail = tail{data: damaged.data}
		damaged.ft = &ft
		before := allocated()
		found := prospects(t, &bytesReader{data: damaged.data}, &ft, q)
		if took := allocated() - before; took > 20*maxDictionary {
			t.Errorf("%d bytes were allocated", took)
		}
		if len(found) != 1 || found[0].layer != "" && found[0].layer != LayerDictionary {
			t.Errorf("%+v", found)
		}
	})
}

// pages are those of c as its offset index tells them.
func (f *trapFile) pages() []column.Page {
	raw, err := readOffsetIndex(f.section(f.ft.chunks[0][1].offsetIndex))
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}
