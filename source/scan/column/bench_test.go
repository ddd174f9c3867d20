//go:build unix

package column_test

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/source/scan/column"
)

// recycler gives blocks out again as they came back, by powers of two, not cleared.
type recycler struct{ free [48][][]byte }

func (r *recycler) Allocate(n int) []byte {
	class := bits.Len(uint(max(n, 64) - 1))
	if list := r.free[class]; len(list) > 0 {
		b := list[len(list)-1]
		r.free[class] = list[:len(list)-1]
		return b[:n]
	}
	return make([]byte, n, 1<<class)
}

func (r *recycler) Reallocate(n int, b []byte) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	out := r.Allocate(n)
	copy(out, b)
	r.Free(b)
	return out
}

func (r *recycler) Free(b []byte) {
	if c := cap(b); c >= 64 && c&(c-1) == 0 {
		r.free[bits.Len(uint(c-1))] = append(r.free[bits.Len(uint(c-1))], b[:0])
	}
}

// memoryBytes is a Source without copies, as a window over a mapped file would be.
type memoryBytes []byte

func (m memoryBytes) Bytes(off int64, n int) ([]byte, error) { return m[off : off+int64(n)], nil }

func inMemory(f *column.Field, data []byte) {
	if f.Leaf != nil {
		f.Leaf.Source = memoryBytes(data)
	}
	for i := range f.Children {
		inMemory(&f.Children[i], data)
	}
}

// ours reads all fields of a file by spans, batch rows at a time.
func (o *opened) ours(b *testing.B, mem memory.Allocator, scratch *column.Scratch, batch int64, indexed bool, each []column.Span) (rows, size int64) {
	for g := range o.rdr.NumRowGroups() {
		total := o.rdr.MetaData().RowGroup(g).NumRows()
		for i := range o.manifest.Fields {
			f, err := o.field(&o.manifest.Fields[i], g, indexed)
			if err != nil {
				b.Fatal(err)
			}
			inMemory(&f, o.data)
			r, err := column.NewReader(f, column.Options{Memory: mem, Scratch: scratch})
			if err != nil {
				b.Fatal(err)
			}
			for at := int64(0); at < total; at += batch {
				n := min(batch, total-at)
				spans := []column.Span{{Take: n}}
				if each != nil && n == batch {
					spans = each
				}
				d, err := r.Read(spans)
				if err != nil {
					b.Fatal(err)
				}
				rows, size = rows+int64(d.Len()), size+arrayBytes(d)
				d.Release()
			}
			r.Close()
		}
	}
	return rows, size
}

// library reads the same with pqarrow.
func (o *opened) library(b *testing.B, mem memory.Allocator, batch int64) (rows, size int64) {
	fr, err := pqarrow.NewFileReader(o.rdr, pqarrow.ArrowReadProperties{}, mem)
	if err != nil {
		b.Fatal(err)
	}
	leaves := map[int]bool{}
	for i := range o.rdr.MetaData().Schema.NumColumns() {
		leaves[i] = true
	}
	for g := range o.rdr.NumRowGroups() {
		total := o.rdr.MetaData().RowGroup(g).NumRows()
		for i := range o.manifest.Fields {
			col, err := fr.GetFieldReader(b.Context(), i, leaves, []int{g})
			if err != nil {
				b.Fatal(err)
			}
			for at := int64(0); at < total; at += batch {
				chunked, err := col.NextBatch(min(batch, total-at))
				if err != nil {
					b.Fatal(err)
				}
				for _, c := range chunked.Chunks() {
					rows, size = rows+int64(c.Len()), size+arrayBytes(c.Data())
				}
				chunked.Release()
			}
			col.Release()
		}
	}
	return rows, size
}

// measure runs a reader over a file; what it reads is checked against what the library reads once.
func measure(b *testing.B, name string, o *opened, batch int64, reader func(b *testing.B) (rows, size int64)) {
	b.Run(name, func(b *testing.B) {
		wantRows, wantSize := o.library(b, memory.NewGoAllocator(), batch)
		b.ReportAllocs()
		b.SetBytes(wantSize)
		began := processTime()
		for b.Loop() {
			if rows, size := reader(b); rows != wantRows || size != wantSize {
				b.Fatalf("%d values of %d bytes, want %d of %d", rows, size, wantRows, wantSize)
			}
		}
		// Processor time says more than the clock where others run, too; the collector's is in it.
		b.ReportMetric(float64(wantSize)*float64(b.N)/1e6/(processTime()-began).Seconds(), "MB/cpu-s")
	})
}

// three compares this package with pqarrow in ordinary and in pooled memory.
func three(b *testing.B, o *opened, batch int64) {
	mem, scratch := &recycler{}, column.NewScratch()
	defer scratch.Close()
	measure(b, "reader=column", o, batch, func(b *testing.B) (int64, int64) { return o.ours(b, mem, scratch, batch, false, nil) })
	pool := scan.NewPool()
	measure(b, "reader=library-pooled", o, batch, func(b *testing.B) (int64, int64) { return o.library(b, pool, batch) })
	measure(b, "reader=library", o, batch, func(b *testing.B) (int64, int64) { return o.library(b, memory.NewGoAllocator(), batch) })
}

// processTime is what the process has used of its processors.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchRows = 1 << 18

// column1 is a file of one column.
func column1(b *testing.B, typ arrow.DataType, nulls float64, w written, encodings map[string]parquet.Encoding, runs float64) *opened {
	m := &maker{rng: rand.New(rand.NewPCG(1, 1)), nulls: nulls, runs: runs, most: 8}
	return open(b, w.write(b, m.batch([]arrow.Field{{Name: "c", Type: typ, Nullable: nulls > 0}}, benchRows), encodings))
}

func BenchmarkEncodings(b *testing.B) {
	for _, c := range []struct {
		typ  arrow.DataType
		name string
		enc  parquet.Encoding
		dict bool
	}{
		{arrow.PrimitiveTypes.Int64, "type=int64/enc=plain", parquet.Encodings.Plain, false},
		{arrow.PrimitiveTypes.Int64, "type=int64/enc=dict", parquet.Encodings.Plain, true},
		{arrow.PrimitiveTypes.Int32, "type=int32/enc=dict", parquet.Encodings.Plain, true},
		{arrow.PrimitiveTypes.Int64, "type=int64/enc=delta", parquet.Encodings.DeltaBinaryPacked, false},
		{arrow.PrimitiveTypes.Float64, "type=float64/enc=split", parquet.Encodings.ByteStreamSplit, false},
		{arrow.FixedWidthTypes.Boolean, "type=bool/enc=plain", parquet.Encodings.Plain, false},
		{&arrow.Decimal128Type{Precision: 38}, "type=decimal/enc=plain", parquet.Encodings.Plain, false},
		{arrow.BinaryTypes.String, "type=string/enc=plain", parquet.Encodings.Plain, false},
		{arrow.BinaryTypes.String, "type=string/enc=dict", parquet.Encodings.Plain, true},
		{arrow.BinaryTypes.String, "type=string/enc=delta-length", parquet.Encodings.DeltaLengthByteArray, false},
		{arrow.BinaryTypes.String, "type=string/enc=delta-bytes", parquet.Encodings.DeltaByteArray, false},
	} {
		for _, nulls := range []float64{0, 0.05} {
			runs := 0.0
			if c.dict {
				runs = 1
			}
			w := written{dictionary: c.dict, pageBytes: 1 << 20}
			var encodings map[string]parquet.Encoding
			if !c.dict {
				encodings = map[string]parquet.Encoding{"c": c.enc}
			}
			b.Run(fmt.Sprintf("%s/nulls=%.0f%%", c.name, 100*nulls), func(b *testing.B) {
				three(b, column1(b, c.typ, nulls, w, encodings, runs), 1<<16)
			})
		}
	}
}

// BenchmarkScattered takes one row of ten, each a span of its own.
func BenchmarkScattered(b *testing.B) {
	var spans []column.Span
	for range (1 << 13) / 10 {
		spans = append(spans, column.Span{Skip: 9, Take: 1})
	}
	spans = append(spans, column.Span{Skip: 1<<13 - 10*(1<<13/10)})
	mem, scratch := &recycler{}, column.NewScratch()
	defer scratch.Close()
	for _, c := range []struct {
		name string
		typ  arrow.DataType
		dict bool
	}{
		{"type=int64/enc=plain", arrow.PrimitiveTypes.Int64, false}, {"type=int64/enc=dict", arrow.PrimitiveTypes.Int64, true},
		{"type=string/enc=plain", arrow.BinaryTypes.String, false}, {"type=string/enc=dict", arrow.BinaryTypes.String, true},
		{"type=list/enc=dict", arrow.ListOf(arrow.BinaryTypes.String), true},
	} {
		o := column1(b, c.typ, 0.05, written{dictionary: c.dict, pageBytes: 1 << 20}, nil, 1)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			began := processTime()
			for b.Loop() {
				if rows, _ := o.ours(b, mem, scratch, 1<<13, false, spans); rows != benchRows/(1<<13)*(1<<13/10) {
					b.Fatal(rows)
				}
			}
			b.ReportMetric(float64((processTime()-began).Nanoseconds())/float64(b.N)/float64(benchRows/10), "cpu-ns/hit")
		})
	}
}

// chatBatch is conversations of a few turns; textBatch is documents.
func chatBatch(rows int) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(5, 5))
	turn := arrow.StructOf(arrow.Field{Name: "from", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.String, Nullable: true})
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "turns", Type: arrow.ListOf(turn), Nullable: true}, {Name: "lang", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil))
	defer b.Release()
	list := b.Field(1).(*array.ListBuilder)
	turns := list.ValueBuilder().(*array.StructBuilder)
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		list.Append(true)
		for k := range rng.IntN(8) {
			turns.Append(true)
			turns.FieldBuilder(0).(*array.StringBuilder).Append([]string{"human", "gpt"}[k%2])
			turns.FieldBuilder(1).(*array.StringBuilder).Append(prose(rng, 40+rng.IntN(400)))
		}
		b.Field(2).(*array.StringBuilder).Append([]string{"en", "de", "zh-cn"}[rng.IntN(3)])
	}
	return b.NewRecordBatch()
}

func textBatch(rows int) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(6, 6))
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "score", Type: arrow.PrimitiveTypes.Float64},
	}, nil))
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(prose(rng, 300+rng.IntN(2700)))
		b.Field(2).(*array.Float64Builder).Append(rng.Float64())
	}
	return b.NewRecordBatch()
}

// prose is n bytes of made-up words, some frequent and most not, which compress about as text does.
func prose(rng *rand.Rand, n int) string {
	out := make([]byte, 0, n+16)
	for len(out) < n {
		word := uint64(rng.ExpFloat64()*60) * 0x9e3779b97f4a7c15
		for k := range 2 + int(word>>60)/2 {
			out = append(out, "etaoinshrdlucmfwypvbgkqjxz"[(word>>(5*k))%26])
		}
		out = append(out, ' ')
	}
	return string(out[:n])
}

func taxiBatch(rows int) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(7, 7))
	null := func(n string, t arrow.DataType) arrow.Field { return arrow.Field{Name: n, Type: t, Nullable: true} }
	fields := []arrow.Field{
		null("vendor", arrow.PrimitiveTypes.Int32), null("pickup", arrow.FixedWidthTypes.Timestamp_us), null("dropoff", arrow.FixedWidthTypes.Timestamp_us),
		null("passengers", arrow.PrimitiveTypes.Int64), null("distance", arrow.PrimitiveTypes.Float64), null("fare", arrow.PrimitiveTypes.Float64),
		null("tip", arrow.PrimitiveTypes.Float64), null("zone", arrow.BinaryTypes.String), null("flag", arrow.BinaryTypes.String), null("rate", arrow.PrimitiveTypes.Int32),
	}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(fields, nil))
	defer b.Release()
	at := int64(1_600_000_000_000_000)
	for range rows {
		at += rng.Int64N(3_000_000)
		b.Field(0).(*array.Int32Builder).Append(rng.Int32N(3))
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at))
		b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(at + rng.Int64N(3_000_000_000)))
		if rng.IntN(20) == 0 {
			b.Field(3).AppendNull()
		} else {
			b.Field(3).(*array.Int64Builder).Append(rng.Int64N(6))
		}
		b.Field(4).(*array.Float64Builder).Append(float64(rng.IntN(3000)) / 100)
		b.Field(5).(*array.Float64Builder).Append(float64(rng.IntN(8000)) / 100)
		if rng.IntN(20) == 0 {
			b.Field(6).AppendNull()
		} else {
			b.Field(6).(*array.Float64Builder).Append(float64(rng.IntN(1500)) / 100)
		}
		b.Field(7).(*array.StringBuilder).Append(fmt.Sprint("zone ", rng.IntN(260)))
		b.Field(8).(*array.StringBuilder).Append([]string{"Y", "N"}[rng.IntN(2)])
		b.Field(9).(*array.Int32Builder).Append(1 + rng.Int32N(2)*rng.Int32N(6))
	}
	return b.NewRecordBatch()
}

func BenchmarkShapes(b *testing.B) {
	for _, s := range []struct {
		name  string
		rows  int
		batch int64
		make  func(int) arrow.RecordBatch
	}{{"taxi", 1 << 19, 1 << 16, taxiBatch}, {"text", 1 << 14, 1 << 13, textBatch}, {"chat", 1 << 14, 1 << 13, chatBatch}} {
		b.Run("data="+s.name, func(b *testing.B) {
			rec := s.make(s.rows)
			for _, codec := range []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd} {
				b.Run(fmt.Sprint("codec=", codec), func(b *testing.B) {
					w := written{codec: codec, dictionary: true, pageBytes: 1 << 20}
					three(b, open(b, w.write(b, rec, nil)), s.batch)
				})
			}
		})
	}
}

// BenchmarkBatches reads strings in batches that are much smaller than a row group, from small pages and from ordinary ones.
func BenchmarkBatches(b *testing.B) {
	for name, rec := range map[string]arrow.RecordBatch{"text": textBatch(1 << 14), "chat": chatBatch(1 << 14)} {
		for _, pageBytes := range []int64{64 << 10, 1 << 20} {
			o := open(b, written{codec: compress.Codecs.Zstd, pageBytes: pageBytes}.write(b, rec, nil))
			mem, scratch := &recycler{}, column.NewScratch()
			measure(b, fmt.Sprintf("data=%s/page=%d", name, pageBytes), o, 1<<10, func(b *testing.B) (int64, int64) {
				return o.ours(b, mem, scratch, 1<<10, false, nil)
			})
			scratch.Close()
		}
	}
}

// BenchmarkLargeValues reads pictures that do not compress, in pages that are inflated as a whole and in pages that are not.
func BenchmarkLargeValues(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 12))
	builder := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}}, nil))
	defer builder.Release()
	for range 400 {
		p := make([]byte, 20_000+rng.IntN(180_000))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		builder.Field(0).(*array.BinaryBuilder).Append(p)
	}
	rec := builder.NewRecordBatch()
	for _, codec := range flowing {
		for _, pageBytes := range []int64{1 << 20, 32 << 20} {
			o := open(b, written{codec: codec, pageBytes: pageBytes}.write(b, rec, nil))
			mem, scratch := &recycler{}, column.NewScratch()
			measure(b, fmt.Sprintf("codec=%s/page=%d", codec, pageBytes), o, 16, func(b *testing.B) (int64, int64) {
				return o.ours(b, mem, scratch, 16, false, nil)
			})
			scratch.Close()
		}
	}
}
