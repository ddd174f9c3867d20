package column_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source/scan/column"
)

// budget is an allocator with a limit, past which it panics as a stream's does.
type budget struct {
	memory.Allocator
	used, peak atomic.Int64
	limit      int64
}

type overBudget struct{}

func (overBudget) Error() string { return "over budget" }

func (b *budget) charge(n int) {
	used := b.used.Add(int64(n))
	if used > b.limit {
		b.used.Add(-int64(n))
		panic(overBudget{})
	}
	if used > b.peak.Load() {
		b.peak.Store(used)
	}
}

func (b *budget) Allocate(n int) []byte {
	b.charge(n)
	return b.Allocator.Allocate(n)
}

func (b *budget) Reallocate(n int, p []byte) []byte {
	b.charge(n - len(p))
	return b.Allocator.Reallocate(n, p)
}

func (b *budget) Free(p []byte) {
	b.used.Add(-int64(len(p)))
	b.Allocator.Free(p)
}

// mutants are small files of every kind, to be damaged behind their footers' backs.
func mutants(t testing.TB) []*opened {
	var out []*opened
	encoded := map[string]parquet.Encoding{
		"i32": parquet.Encodings.DeltaBinaryPacked, "i64": parquet.Encodings.ByteStreamSplit, "s": parquet.Encodings.DeltaByteArray,
		"bin": parquet.Encodings.DeltaLengthByteArray, "f64": parquet.Encodings.ByteStreamSplit, "b": parquet.Encodings.RLE, "i16": parquet.Encodings.DeltaBinaryPacked,
	}
	for i := range uint64(16) {
		rng := rand.New(rand.NewPCG(i, 3))
		w := randomWritten(rng)
		w.codec, w.version, w.pageBytes = codecs[i%6], parquet.DataPageVersion(i%2), 1000
		m := &maker{rng: rng, nulls: 0.2, runs: 0.6, most: 4}
		fields, encodings := flatFields(), map[string]parquet.Encoding(nil)
		switch i % 3 {
		case 1:
			fields = nestedFields()
		case 2:
			if w.codec != codecs[5] {
				encodings = encoded
			}
		}
		out = append(out, open(t, w.write(t, m.batch(fields, 200), encodings)))
	}
	return out
}

// mutantBudget is far more than the files need. What goes past it is looked at with
// closerBudget.
const (
	mutantBudget = 64 << 20
	closerBudget = 256 << 20
)

// readAll reads every field of damaged bytes. The result may be anything but a panic, more memory than allowed, or a wrong length.
func (o *opened) readAll(t *testing.T, data []byte, indexed bool, spans []column.Span) {
	t.Helper()
	scratch := column.NewScratch()
	defer scratch.Close()
	for i := range o.manifest.Fields {
		f, err := o.field(&o.manifest.Fields[i], 0, indexed)
		if err != nil {
			t.Fatal(err)
		}
		damage(&f, data)
		began := time.Now()
		for _, limit := range []int64{mutantBudget, closerBudget} {
			mem := &budget{Allocator: memory.NewGoAllocator(), limit: limit}
			over := o.readField(t, f, column.Options{Memory: dirty{mem}, MaxPageBytes: 8 << 20, Scratch: scratch}, spans)
			if used := mem.used.Load(); used != 0 {
				t.Fatalf("%s: %d bytes are not given back", f.Type, used)
			}
			if !over {
				break
			}
			// A value that long may really be in the file, many times over. A claim of a
			// page that nothing stands behind would want still more.
			if t.Logf("%s: %d bytes are not enough", f.Type, limit); limit == closerBudget {
				t.Fatalf("%s: a file of %d bytes wants more than %d", f.Type, len(data), limit)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Fatalf("%s: took %v", f.Type, took)
		}
	}
}

func damage(f *column.Field, data []byte) {
	if f.Leaf != nil {
		f.Leaf.Source = &chunkBytes{file: data}
	}
	for i := range f.Children {
		damage(&f.Children[i], data)
	}
}

// readField says whether the budget was not enough.
func (o *opened) readField(t *testing.T, f column.Field, options column.Options, spans []column.Span) bool {
	t.Helper()
	r, err := column.NewReader(f, options)
	if err != nil {
		return false
	}
	defer r.Close()
	for range 2 {
		if dict, ok, err := r.Dictionary(); err == nil && ok {
			dict.Release()
		}
		out, err := r.Read(spans)
		var typed *column.Error
		switch {
		case err == nil:
			want := int64(0)
			for _, s := range spans {
				want += s.Take
			}
			if int64(out.Len()) != want {
				t.Fatalf("%s: %d values, want %d", f.Type, out.Len(), want)
			}
			walk(t, out)
			out.Release()
		case errors.As(err, new(overBudget)):
			return true
		case errors.As(err, &typed):
			return false
		default:
			t.Fatalf("%s: %v (%T)", f.Type, err, err)
		}
	}
	return false
}

// walk touches what an array promises: offsets that rise within their data, and children as long as their lists.
func walk(t *testing.T, d arrow.ArrayData) {
	t.Helper()
	switch dt := d.DataType().(type) {
	case *arrow.StringType, *arrow.BinaryType, *arrow.ListType, *arrow.MapType:
		offsets := arrow.GetData[int32](d.Buffers()[1].Bytes())
		if len(offsets) != d.Len()+1 || offsets[0] != 0 {
			t.Fatalf("%s: %d offsets for %d values", dt, len(offsets), d.Len())
		}
		for i := range d.Len() {
			if offsets[i] > offsets[i+1] {
				t.Fatalf("%s: offsets fall", dt)
			}
		}
		var end int
		if len(d.Children()) > 0 {
			end = d.Children()[0].Len()
		} else {
			end = d.Buffers()[2].Len()
		}
		if int(offsets[d.Len()]) > end {
			t.Fatalf("%s: offsets up to %d in %d", dt, offsets[d.Len()], end)
		}
	case arrow.FixedWidthDataType:
		if have := d.Buffers()[1].Len(); have < (d.Len()*dt.BitWidth()+7)/8 {
			t.Fatalf("%s: %d bytes for %d values", dt, have, d.Len())
		}
	}
	for _, c := range d.Children() {
		walk(t, c)
	}
}

var mutantSpans = []column.Span{{Take: 40}, {Skip: 20, Take: 1}, {Skip: 3, Take: 30}, {Skip: 6}}

// HUBFLIGHT_MUTATIONS is the number of tries, and HUBFLIGHT_MUTATION_FIRST the first of them.
func TestDamagedChunksAreErrorsOrArrays(t *testing.T) {
	files := mutants(t)
	n, first := 120, 0
	for name, v := range map[string]*int{"HUBFLIGHT_MUTATIONS": &n, "HUBFLIGHT_MUTATION_FIRST": &first} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *v, err = strconv.Atoi(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for i := first; i < first+n; i++ {
		rng := rand.New(rand.NewPCG(uint64(i), 4))
		o := files[i%len(files)]
		data := bytes.Clone(o.data)
		for range 1 + rng.IntN(8) {
			at := rng.IntN(len(data))
			switch rng.IntN(3) {
			case 0:
				data[at] ^= 1 << rng.IntN(8)
			case 1:
				data[at] = byte(rng.IntN(256))
			default:
				copy(data[at:], []byte{0xff, 0xff, 0xff, 0xff, 0x7f}[:1+rng.IntN(5)])
			}
		}
		indexed := rng.IntN(2) == 0
		t.Run(fmt.Sprint(i), func(t *testing.T) { o.readAll(t, data, indexed, mutantSpans) })
	}
}

func FuzzChunk(f *testing.F) {
	files := mutants(f)
	for i := range files {
		f.Add(uint8(i), uint16(100*i), []byte{1})
		f.Add(uint8(i), uint16(37*i), []byte{0xff, 0xff, 0xff, 0xff})
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, flips []byte) {
		o := files[int(which)%len(files)]
		data := bytes.Clone(o.data)
		for i, b := range flips {
			data[(int(at)+i)%len(data)] ^= b
		}
		o.readAll(t, data, (which^uint8(at))&1 == 0, mutantSpans)
	})
}
