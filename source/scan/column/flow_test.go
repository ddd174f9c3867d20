package column_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/hubflight/hubflight/source/scan/column"
)

// pictures are large values in every place where a column may have them: some do not compress, some do, some are missing or empty.
func pictures(rng *rand.Rand, rows int) arrow.RecordBatch {
	null := func(n string, t arrow.DataType) arrow.Field { return arrow.Field{Name: n, Type: t, Nullable: true} }
	bin := arrow.BinaryTypes.Binary
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "required", Type: bin}, null("image", arrow.StructOf(null("bytes", bin), null("path", arrow.BinaryTypes.String))), null("frames", arrow.ListOf(bin)),
	}, nil))
	defer b.Release()
	picture := func() []byte {
		p := make([]byte, rng.IntN(4)*rng.IntN(30_000))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		for at := 0; len(p) > 20_000 && at < len(p)-2000; at += 1000 + rng.IntN(9000) {
			copy(p[at:], p[rng.IntN(len(p)-1000):][:rng.IntN(1000)])
		}
		return p
	}
	image, frames := b.Field(1).(*array.StructBuilder), b.Field(2).(*array.ListBuilder)
	for range rows {
		b.Field(0).(*array.BinaryBuilder).Append(picture())
		if image.Append(rng.IntN(10) > 0); rng.IntN(10) > 0 {
			image.FieldBuilder(0).(*array.BinaryBuilder).Append(picture())
		} else {
			image.FieldBuilder(0).AppendNull()
		}
		image.FieldBuilder(1).(*array.StringBuilder).Append(fmt.Sprint(rng.IntN(5)))
		if rng.IntN(10) == 0 {
			frames.AppendNull()
			continue
		}
		frames.Append(true)
		for range rng.IntN(3) {
			frames.ValueBuilder().(*array.BinaryBuilder).Append(picture())
		}
	}
	return b.NewRecordBatch()
}

var flowing = []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd}

func TestPagesOfLargeValuesAreReadPieceByPiece(t *testing.T) {
	for seed := range uint64(cases(1)) {
		rng := rand.New(rand.NewPCG(seed, 9))
		rec := pictures(rng, 260)
		for i, codec := range flowing {
			w := written{
				codec: codec, version: parquet.DataPageVersion((int(seed) + i) % 2), pageBytes: 5 << 20, indexed: seed%3 != 1,
				dictionary: seed%3 == 2, dictLimit: 64 << 20,
			}
			t.Run(fmt.Sprintf("seed=%d/%s", seed, w), func(t *testing.T) { checkFile(t, w, rec, nil, rng) })
		}
	}
}

// failing is a Source that has nothing from some offset on.
type failing struct {
	chunkBytes
	from int64
}

var errGone = errors.New("the file is gone")

func (s *failing) Bytes(off int64, n int) ([]byte, error) {
	if off+int64(n) > s.from {
		return nil, errGone
	}
	return s.chunkBytes.Bytes(off, n)
}

func TestASourceThatFailsInTheMiddleOfAPageIsTheError(t *testing.T) {
	rec := pictures(rand.New(rand.NewPCG(1, 10)), 260)
	for _, codec := range flowing {
		o := open(t, written{codec: codec, pageBytes: 16 << 20}.write(t, rec, nil))
		f, err := o.field(&o.manifest.Fields[0], 0, false)
		if err != nil {
			t.Fatal(err)
		}
		f.Leaf.Source = &failing{chunkBytes{file: o.data}, f.Leaf.Off + f.Leaf.Len/2}
		mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
		r, err := column.NewReader(f, column.Options{Memory: mem})
		if err != nil {
			t.Fatal(err)
		}
		early, err := r.Read([]column.Span{{Take: 20}})
		if err != nil {
			t.Fatalf("%s: what lies in front of the failure: %v", codec, err)
		}
		early.Release()
		if _, err := r.Read([]column.Span{{Take: 240}}); !errors.Is(err, errGone) {
			t.Errorf("%s: %v", codec, err)
		}
		r.Close()
		mem.AssertSize(t, 0)
	}
}

func TestDamagedPagesOfLargeValuesAreErrorsOrArrays(t *testing.T) {
	for i, codec := range flowing {
		rng := rand.New(rand.NewPCG(uint64(i), 11))
		o := open(t, written{codec: codec, version: parquet.DataPageVersion(i % 2), pageBytes: 16 << 20, indexed: true}.write(t, pictures(rng, 200), nil))
		for k := range cases(2) {
			data := append([]byte(nil), o.data...)
			for range 1 + rng.IntN(40) {
				data[4+rng.IntN(len(data)-4)] ^= byte(1 + rng.IntN(255))
			}
			o.readAll(t, data, k%2 == 0, []column.Span{{Skip: 3, Take: 50}, {Skip: 20, Take: 10}})
		}
	}
}
