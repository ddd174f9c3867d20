package column_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/hubflight/hubflight/source/scan/column"
)

var codecs = []compress.Compression{
	compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Lz4Raw, compress.Codecs.Gzip, compress.Codecs.Brotli,
}

// cases is how many seeded files a test makes; HUBFLIGHT_COLUMN_CASES asks for more.
func cases(few int) int {
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_COLUMN_CASES")); err == nil {
		return n
	}
	return few
}

// randomSpans covers rows with spans that sometimes take nothing, or everything, or single rows.
func randomSpans(rng *rand.Rand, rows int64) [][]column.Span {
	var reads [][]column.Span
	for left, density := rows, rng.IntN(4); left > 0; {
		var spans []column.Span
		many := 30
		if density == 1 && rng.IntN(2) == 0 {
			many = 1000 // several windows that are thinned
		}
		for n := 1 + rng.IntN(many); n > 0 && left > 0; n-- {
			var s column.Span
			switch density {
			case 0: // everything
				s.Take = rng.Int64N(left) + 1
			case 1: // scattered
				s.Skip, s.Take = rng.Int64N(min(left, 20)+1), rng.Int64N(3)
			case 2: // big holes
				s.Skip, s.Take = rng.Int64N(left+1), rng.Int64N(min(left, 50)+1)
			default:
				s.Skip, s.Take = rng.Int64N(min(left, 40)+1), rng.Int64N(min(left, 40)+1)
			}
			s.Skip = min(s.Skip, left)
			s.Take = min(s.Take, left-s.Skip)
			left -= s.Skip + s.Take
			spans = append(spans, s)
		}
		reads = append(reads, spans)
	}
	return reads
}

// sameAsSlices reads a field by spans and compares with slices of the whole array.
func sameAsSlices(t *testing.T, f column.Field, want arrow.Array, reads [][]column.Span) {
	t.Helper()
	checked := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer checked.AssertSize(t, 0)
	r, err := column.NewReader(f, column.Options{Memory: dirty{checked}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := int64(0)
	for i, spans := range reads {
		got, err := r.Read(spans)
		if err != nil {
			t.Fatalf("read %d at row %d: %v", i, at, err)
		}
		var parts []arrow.Array
		for _, s := range spans {
			at += s.Skip
			parts = append(parts, array.NewSlice(want, at, at+s.Take))
			at += s.Take
		}
		expected, err := array.Concatenate(parts, memory.NewGoAllocator())
		if err != nil {
			t.Fatal(err)
		}
		arr := array.MakeFromData(got)
		got.Release()
		compare(t, fmt.Sprintf("read %d", i), arr, expected)
		arr.Release()
		if t.Failed() {
			return
		}
	}
}

func compare(t *testing.T, what string, got, want arrow.Array) {
	t.Helper()
	if got.Len() != want.Len() || got.NullN() != want.NullN() {
		t.Errorf("%s: %d values with %d nulls, want %d with %d", what, got.Len(), got.NullN(), want.Len(), want.NullN())
		return
	}
	if !array.ApproxEqual(got, want, array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
		t.Errorf("%s: %s differs\n got %.600v\nwant %.600v", what, got.DataType(), got, want)
	}
	deterministic(t, what, got.Data())
}

// deterministic: null slots and padding bits are zero, whatever the memory was.
func deterministic(t *testing.T, what string, d arrow.ArrayData) {
	t.Helper()
	bufs := d.Buffers()
	if v := bufs[0]; v != nil && v.Len() > 0 {
		if d.Len()%8 != 0 && v.Bytes()[v.Len()-1]>>(d.Len()%8) != 0 {
			t.Errorf("%s: validity has bits behind its end", what)
		}
		if w, ok := d.DataType().(arrow.FixedWidthDataType); ok && w.BitWidth()%8 == 0 && len(bufs) > 1 {
			for i := range d.Len() {
				if v.Bytes()[i/8]>>(i%8)&1 != 0 {
					continue
				}
				for _, b := range bufs[1].Bytes()[i*w.BitWidth()/8 : (i+1)*w.BitWidth()/8] {
					if b != 0 {
						t.Errorf("%s: null slot %d is not zero", what, i)
						return
					}
				}
			}
		}
	}
	for _, c := range d.Children() {
		deterministic(t, what, c)
	}
}

func randomWritten(rng *rand.Rand) written {
	return written{
		codec: codecs[rng.IntN(len(codecs))], version: parquet.DataPageVersion(rng.IntN(2)), dictionary: rng.IntN(2) == 0,
		pageBytes: []int64{64, 1000, 20_000, 1 << 20}[rng.IntN(4)], indexed: rng.IntN(2) == 0,
		dictLimit: []int64{0, 300}[rng.IntN(2)], decimalInts: rng.IntN(2) == 0,
	}
}

// checkFile reads a file of ours and compares with what the library makes of the same rows, written as plainly as can be: it does not
// read every combination that it writes (Brotli in V2 pages of nulls is one).
func checkFile(t *testing.T, w written, rec arrow.RecordBatch, encodings map[string]parquet.Encoding, rng *rand.Rand) {
	t.Helper()
	o := open(t, w.write(t, rec, encodings))
	plain := o // of chosen encodings: its writer makes nonsense of RLE booleans in several pages, which both must read alike
	if encodings == nil {
		plain = open(t, written{decimalInts: w.decimalInts, pageBytes: 1 << 20}.write(t, rec, nil))
	}
	for g := range o.rdr.NumRowGroups() {
		for i := range o.manifest.Fields {
			f, err := o.field(&o.manifest.Fields[i], g, rng.IntN(2) == 0)
			if err != nil {
				t.Fatal(err)
			}
			name := o.manifest.Fields[i].Field.Name
			if !column.Supported(f) {
				t.Errorf("column %s (%s) is not supported", name, f.Type)
				continue
			}
			t.Run(name, func(t *testing.T) {
				sameAsSlices(t, f, plain.whole(t, i, g), randomSpans(rng, o.rdr.MetaData().RowGroup(g).NumRows()))
			})
		}
	}
}

func TestArraysEqualThoseOfTheLibrary(t *testing.T) {
	for seed := range uint64(cases(16)) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := randomWritten(rng)
		m := &maker{rng: rng, nulls: []float64{0, 0.05, 0.5, 1}[rng.IntN(4)], runs: []float64{0, 0.9, 1}[rng.IntN(3)], most: 1 + rng.IntN(6)}
		rows := []int{1, 17, 300, 3000}[rng.IntN(4)]
		t.Run(fmt.Sprintf("seed=%d/%s/rows=%d", seed, w, rows), func(t *testing.T) {
			fields := flatFields()
			if seed%2 == 1 {
				fields, rows = nestedFields(), min(rows, 1000)
			}
			checkFile(t, w, m.batch(fields, rows), nil, rng)
		})
	}
}

func TestEveryEncodingIsReadAsTheLibraryReadsIt(t *testing.T) {
	deltas, lengths, bytes := parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray
	split := parquet.Encodings.ByteStreamSplit
	all := map[string][]parquet.Encoding{
		"i8": {deltas}, "i16": {deltas}, "i32": {deltas, split}, "i64": {deltas, split}, "u64": {deltas}, "tus": {deltas},
		"f32": {split}, "f64": {split}, "f16": {split}, "fsb": {split}, "dec38": {split}, "b": {parquet.Encodings.RLE},
		"s": {lengths, bytes}, "bin": {lengths, bytes},
	}
	for seed := range uint64(cases(5)) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := randomWritten(rng)
		w.codec = codecs[rng.IntN(len(codecs)-1)]
		encodings := map[string]parquet.Encoding{}
		var fields []arrow.Field
		for _, f := range flatFields() {
			if e := all[f.Name]; e != nil {
				encodings[f.Name] = e[rng.IntN(len(e))]
				fields = append(fields, f)
			}
		}
		m := &maker{rng: rng, nulls: []float64{0, 0.05, 0.5}[rng.IntN(3)], runs: []float64{0, 0.9, 1}[rng.IntN(3)], most: 3}
		t.Run(fmt.Sprintf("seed=%d/%s", seed, w), func(t *testing.T) {
			checkFile(t, w, m.batch(fields, 2000), encodings, rng)
		})
	}
}

// mover counts the bytes that its user had moved to larger blocks.
type mover struct {
	memory.Allocator
	moved int
}

func (m *mover) Reallocate(n int, b []byte) []byte {
	m.moved += len(b)
	return m.Allocator.Reallocate(n, b)
}

func TestArraysAreMadeInOnePieceOnceTheSizeOfTheOneBeforeIsKnown(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	texts := func(b *array.StringBuilder) { b.Append(strings.Repeat("x", 50+rng.IntN(900))) }
	schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}, {Name: "turns", Type: arrow.ListOf(arrow.BinaryTypes.String)}}, nil)
	builder := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer builder.Release()
	const rows, batch = 8192, 1024
	for range rows {
		texts(builder.Field(0).(*array.StringBuilder))
		list := builder.Field(1).(*array.ListBuilder)
		list.Append(true)
		for range rng.IntN(9) {
			texts(list.ValueBuilder().(*array.StringBuilder))
		}
	}
	rec := builder.NewRecordBatch()
	defer rec.Release()
	o := open(t, written{codec: compress.Codecs.Zstd, pageBytes: 1 << 20}.write(t, rec, nil))
	for i := range o.manifest.Fields {
		f, err := o.field(&o.manifest.Fields[i], 0, false)
		if err != nil {
			t.Fatal(err)
		}
		mem := &mover{Allocator: memory.NewGoAllocator()}
		r, err := column.NewReader(f, column.Options{Memory: mem})
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < rows; at += batch {
			before := mem.moved
			d, err := r.Read([]column.Span{{Take: batch}})
			if err != nil {
				t.Fatal(err)
			}
			size := int(arrayBytes(d))
			d.Release()
			// The offsets of lists are asked for by levels, of which there are more than lists.
			if moved := mem.moved - before; at > 0 && moved > size/100 {
				t.Errorf("%s, rows from %d: %d bytes of %d were moved", o.manifest.Fields[i].Field.Name, at, moved, size)
			}
		}
		r.Close()
	}
}
