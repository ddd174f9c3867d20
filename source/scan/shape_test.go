package scan

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// rowsOf makes rows of one kind of data: about so many bytes of Arrow.
func rowsOf(kind string, bytes int) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(1, 1))
	fields := []arrow.Field{field("a", arrow.PrimitiveTypes.Int64), field("b", arrow.PrimitiveTypes.Float64), field("c", arrow.PrimitiveTypes.Uint16)}
	switch kind {
	case "text":
		fields = []arrow.Field{field("s", arrow.BinaryTypes.String)}
	case "lists":
		fields = []arrow.Field{field("l", arrow.ListOf(arrow.PrimitiveTypes.Int32)), field("t", arrow.ListOf(arrow.BinaryTypes.String))}
	}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(fields, nil))
	defer b.Release()
	text := make([]byte, 400)
	for i := range text {
		text[i] = byte('a' + rng.IntN(26))
	}
	for n := 0; n < bytes; {
		switch kind {
		case "text":
			k := rng.IntN(len(text))
			b.Field(0).(*array.StringBuilder).Append(string(text[:k]))
			n += 4 + k
		case "lists":
			ints, texts := b.Field(0).(*array.ListBuilder), b.Field(1).(*array.ListBuilder)
			ints.Append(true)
			texts.Append(true)
			for range rng.IntN(20) {
				ints.ValueBuilder().(*array.Int32Builder).Append(rng.Int32())
				k := rng.IntN(30)
				texts.ValueBuilder().(*array.StringBuilder).Append(string(text[:k]))
				n += 8 + k
			}
			n += 8
		default:
			b.Field(0).(*array.Int64Builder).Append(rng.Int64())
			b.Field(1).(*array.Float64Builder).Append(rng.Float64())
			b.Field(2).(*array.Uint16Builder).Append(uint16(rng.Uint32()))
			n += 18
		}
	}
	return b.NewRecordBatch()
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// sentBytes is what a batch takes in an Arrow stream, beside the stream's schema.
func sentBytes(t *testing.T, b arrow.RecordBatch) int64 {
	t.Helper()
	out := &counter{}
	w := ipc.NewWriter(io.Writer(out), ipc.WithSchema(b.Schema()))
	if err := w.Write(b.NewSlice(0, 0)); err != nil { // writes the schema, too
		t.Fatal(err)
	}
	before := out.n
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	return out.n - before
}

// A batch is about as large as is asked for, in bytes that are sent: neither half
// as large, which doubles the messages, nor larger than what a client makes room
// for. The first ones are small on purpose, the last one is a rest.
func TestBatchesHaveTheAskedSize(t *testing.T) {
	for _, c := range []struct {
		kind   string
		asked  int64 // 0: the default
		filter string
	}{
		{"numbers", 0, ""},
		{"numbers", 100_000, ""}, {"numbers", 256 << 10, `[["c","<",60000]]`},
		{"text", 256 << 10, ""}, {"text", 256 << 10, `[["s",">","a"]]`},
		{"lists", 256 << 10, ""}, {"lists", 64 << 10, ""},
	} {
		asked := c.asked
		if asked == 0 {
			asked = defaultBatchBytes
		}
		batch := rowsOf(c.kind, int(max(7*asked, 2<<20)))
		data := write(t, batch, batch.NumRows(), parquet.WithDictionaryDefault(false))
		for _, profile := range []Profile{Native, Spark} {
			name := fmt.Sprintf("%s, %d bytes, filter %s, profile %d", c.kind, asked, c.filter, profile)
			q := Query{BatchBytes: c.asked, BatchRows: 1 << 20, Profile: profile}
			if c.filter != "" {
				q.Filters = mustFilter(t, c.filter)
			}
			_, batches, err := readInto(t, data, Task{Query: q, Limit: -1})
			if err != nil {
				t.Fatal(err)
			}
			large, total, sizes := int64(0), int64(0), []int64{}
			for i, b := range batches {
				size := sentBytes(t, b)
				sizes = append(sizes, size)
				if total += size; size > asked*5/4 {
					t.Errorf("%s: batch %d of %d has %d bytes", name, i, len(batches), size)
				}
				if size >= asked*3/4 {
					large += size
				}
			}
			if large*4 < total*3 {
				t.Errorf("%s: of %d bytes in %d batches only %d are in batches of about that size: %d", name, total, len(batches), large, sizes)
			}
		}
	}
}

func TestAPieceIsCutWhenItsBatchesAreAskedFor(t *testing.T) {
	const perBatch = 10
	piece := rowsOf("numbers", 180_000)
	rows := piece.NumRows()
	s := shaper{schema: piece.Schema(), mem: memory.DefaultAllocator, maxRows: perBatch, maxBytes: 1 << 20}
	piece.Retain()
	if most := testing.AllocsPerRun(1, func() {
		s.drop()
		piece.Retain()
		if err := s.push(piece); err != nil {
			t.Fatal(err)
		}
	}); most > 100 {
		t.Errorf("a piece of %d batches took %v allocations before the first was asked for", rows/perBatch, most)
	}
	var got []arrow.RecordBatch
	for b := s.next(); b != nil; b = s.next() {
		if b.NumRows() > perBatch {
			t.Errorf("a batch of %d rows", b.NumRows())
		}
		got = append(got, b)
	}
	sameRows(t, joinAll(t, piece.Schema(), got), piece)
}
