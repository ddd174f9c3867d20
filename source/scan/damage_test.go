package scan

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/hubflight/hubflight/source"
)

// stepOf is what a step of the decoder may take of a file of a test about damage:
// more than what an honest one of that size needs, and so little that what a page, a
// dictionary or a footer merely claims does not fit.
func stepOf(data []byte) int64 { return max(8<<20, 64*int64(len(data))) }

// peak is an allocator that remembers the most that was out at one time, and all
// that was ever asked for.
type peak struct {
	memory.Allocator
	now, most, sum atomic.Int64
}

func newPeak() *peak { return &peak{Allocator: memory.NewGoAllocator()} }

// check fails the test if more was out at one time than twice what a step may take.
func (p *peak) check(t *testing.T, data []byte) {
	t.Helper()
	if most := p.most.Load(); most > 2*stepOf(data) {
		t.Errorf("of a file of %d bytes, %d bytes were allocated at one time; at most %d", len(data), most, 2*stepOf(data))
	}
}

func (p *peak) count(n int) {
	now := p.now.Add(int64(n))
	for m := p.most.Load(); now > m && !p.most.CompareAndSwap(m, now); m = p.most.Load() {
	}
}

func (p *peak) Allocate(n int) []byte {
	p.count(n)
	p.sum.Add(int64(n))
	return p.Allocator.Allocate(n)
}

func (p *peak) Reallocate(n int, b []byte) []byte {
	p.count(n - len(b))
	p.sum.Add(int64(n))
	return p.Allocator.Reallocate(n, b)
}

func (p *peak) Free(b []byte) {
	p.count(-len(b))
	p.Allocator.Free(b)
}

// damages are what may happen to one column chunk of a file.
var damages = map[string]func(chunk []byte){
	"header": func(chunk []byte) { clear(chunk[:min(4, len(chunk))]) },
	// 20 bytes that are to be 200 MiB: not too many for a page, but for what is there.
	"claim": func(chunk []byte) {
		copy(chunk, "\x15\x00\x15\x80\x80\x80\xc8\x01\x15\x28\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00")
	},
	"huge page": func(chunk []byte) {
		copy(chunk, "\x15\x00\x15\xfe\xff\xff\xff\x0f\x15\xfe\xff\xff\xff\x0f\x2c\x15\x02\x00\x00")
	},
	"half": func(chunk []byte) { clear(chunk[len(chunk)/2:]) },
	"ones": func(chunk []byte) {
		for i := range chunk {
			chunk[i] = 0xff
		}
	},
	"last bytes": func(chunk []byte) { clear(chunk[max(0, len(chunk)-8):]) },
}

// Whatever happens to one chunk of a file, the error names the file, the row group
// and the column of that chunk, the rows before it still come, and nothing is
// allocated for what a page merely claims.
func TestADamagedChunkIsNamedByFileRowGroupAndColumn(t *testing.T) {
	for name, batch := range map[string]arrow.RecordBatch{"flat": flatBatch(300), "nested": nestedBatch(300, 5)} {
		for _, codec := range []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd} {
			for _, version := range []parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2} {
				data := write(t, batch, 100, parquet.WithCompression(codec), parquet.WithDataPageVersion(version))
				ft := footer(t, data)
				errs, all := 0, 0
				for g := range ft.NumRowGroups() {
					for leaf, c := range ft.chunks[g] {
						for at, how := range slices.Sorted(maps.Keys(damages)) {
							if (leaf+at)%ft.NumRowGroups() != g {
								continue // each column is damaged in each way, in one of the row groups
							}
							all++
							spoil := damages[how]
							damaged := append([]byte(nil), data...)
							spoil(damaged[c.off : c.off+c.len])
							rows, err := drainMeasured(t, damaged)
							if err == nil {
								continue // the bytes are the values of another table
							}
							errs++
							where := fmt.Sprintf("%s, %s, V%d, %s in row group %d, column %s", name, codec, version+1, how, g, ft.leafPath(leaf))
							if rows > int64(100*g) {
								t.Errorf("%s: %d rows came before the error", where, rows)
							}
							checkNamed(t, where, err, fmt.Sprintf("row group %d", g), ft.leafPath(leaf))
						}
					}
				}
				if errs < all/2 {
					t.Errorf("%s: only %d of %d damages were noticed", name, errs, all)
				}
			}
		}
	}
}

func (ft *Footer) leafPath(leaf int) string { return ft.meta.Schema.Column(leaf).Path() }

// checkNamed wants an error of a damaged file that says where the damage is.
func checkNamed(t *testing.T, where string, err error, group, column string) {
	t.Helper()
	var e *source.Error
	if !errors.As(err, &e) || e.Kind != source.KindCorrupt && e.Kind != source.KindUnsupported {
		t.Errorf("%s: %v", where, err)
		return
	}
	// What there is not enough memory for is said of the whole column.
	whole := e.Kind == source.KindUnsupported && strings.HasPrefix(column, e.Column+".")
	if e.Path != testFile.Path || e.Column != column && !whole || !strings.Contains(e.Msg, group) {
		t.Errorf("%s: the error does not say where: %v", where, err)
	}
}

// drainMeasured reads a file and fails the test if that takes more memory at one
// time than twice what a step of the decoder may have.
func drainMeasured(t *testing.T, data []byte) (int64, error) {
	t.Helper()
	mem, rows := newPeak(), int64(0)
	err := drainInto(t.Context(), t, data, Task{Memory: mem, Workers: 1}, func(b arrow.RecordBatch) {
		rows += b.NumRows()
		touch(b)
	})
	mem.check(t, data)
	return rows, err
}

// footerWords are those of errors that concern the whole file.
var footerWords = regexp.MustCompile("footer|schema|magic|too short|compression .* cannot be read")

// What the published damaged files have wrong, and where: "" is what has no place
// in a column or a row group.
func TestDamagedCorpusFilesAreNamedByFileRowGroupAndColumn(t *testing.T) {
	if _, err := os.Stat(corpora); err != nil {
		t.Skipf("the corpora are not beside the repository: %v", err)
	}
	for path, want := range map[string]struct{ group, column, text string }{
		"parquet-bad/ARROW-GH-41317.parquet":                     {"row group 0", "timestamp_us_no_tz", "the chunk ends too early"},
		"parquet-bad/ARROW-GH-41321.parquet":                     {"row group 0", "int64", "254 bits"},
		"parquet-bad/ARROW-GH-45185.parquet":                     {"row group 0", "x.list.element", "the middle of a row"},
		"parquet-bad/ARROW-GH-47662.parquet":                     {"row group 0", "flba_field", "end too early"},
		"parquet-bad/ARROW-RS-GH-6229-LEVELS.parquet":            {"row group 0", "outer.list.item.c", "more than the chunk's 1 values"},
		"parquet/datapage_v1-corrupt-checksum.parquet":           {"row group 0", "a", "checksum"},
		"parquet/rle-dict-uncompressed-corrupt-checksum.parquet": {"row group 0", "long_field", "checksum"},
		"parquet/nation.dict-malformed.parquet":                  {"row group 0", "name", "28 bytes of data, but 13 are left"},
		"parquet/large_string_map.brotli.parquet":                {"row group 0", "arr.key_value.key", "1073741828 bytes"},
	} {
		data, err := os.ReadFile(filepath.Join(corpora, path))
		if err != nil {
			t.Fatal(err)
		}
		_, err = drainMeasured(t, data)
		checkNamed(t, path, err, want.group, want.column)
		if err != nil && !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", path, err)
		}
	}
	files, err := filepath.Glob(corpora + "/parquet-fuzzed/*")
	if err != nil || len(files) < 80 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = drainMeasured(t, data)
		if err == nil {
			continue
		}
		var e *source.Error
		if !errors.As(err, &e) || e.Path != testFile.Path {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		// An error about the footer has no row group; one about a chunk has both.
		if !footerWords.MatchString(e.Msg) && !strings.Contains(e.Msg, "row group") {
			t.Errorf("%s: no row group: %v", filepath.Base(path), err)
		}
		if strings.Contains(e.Msg, "page") && e.Column == "" {
			t.Errorf("%s: no column: %v", filepath.Base(path), err)
		}
	}
}
