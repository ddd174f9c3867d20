package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// chatBatch has the shape of instruction data: list<struct<from, value>>, a few
// hundred bytes of text a turn.
func chatBatch(rows int) arrow.RecordBatch {
	rng := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so up")
	str := arrow.BinaryTypes.String
	turn := arrow.StructOf(field("from", str), field("value", str))
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, field("conversations", arrow.ListOf(turn)), field("langdetect", str),
	}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	var text []byte
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		list := b.Field(1).(*array.ListBuilder)
		list.Append(true)
		turns := list.ValueBuilder().(*array.StructBuilder)
		for t := range 1 + rng.IntN(4) {
			turns.Append(true)
			turns.FieldBuilder(0).(*array.StringBuilder).Append([]string{"human", "gpt"}[t%2])
			text = text[:0]
			for range 20 + rng.IntN(150) {
				text = append(append(text, words[rng.IntN(len(words))]...), ' ')
			}
			turns.FieldBuilder(1).(*array.StringBuilder).Append(string(text))
		}
		b.Field(2).(*array.StringBuilder).Append([]string{"en", "zh-cn"}[min(rng.IntN(10)/9, 1)])
	}
	return b.NewRecordBatch()
}

// BenchmarkScan streams a file in memory; MB/s are of Arrow. The library is
// pqarrow's record reader as its documentation shows it.
func BenchmarkScan(b *testing.B) {
	for _, set := range []struct {
		name  string
		batch arrow.RecordBatch
		group int64
	}{
		{"flat", flatBatch(300_000), 100_000},
		{"chat", chatBatch(30_000), 10_000},
		{"chat", chatBatch(30_000), 500},
		{"large", suddenlyLarge(0, 400, 100_000), 400},
	} {
		data := write(b, set.batch, set.group, parquet.WithCompression(compress.Codecs.Snappy))
		rows, size := set.batch.NumRows(), batchBytes(set.batch, 0, set.batch.NumRows())
		ft := footer(b, data)
		name := fmt.Sprintf("data=%s/group=%d/reader=", set.name, set.group)
		measure(b, name+"library", rows, size, func() int64 { return peerScan(b, data) })
		pool := NewPool()
		for _, profile := range []Profile{Native, Spark} {
			for _, workers := range []int{1, 2} {
				measure(b, fmt.Sprintf("%sscan/profile=%s/workers=%d", name, profile, workers), rows, size, func() int64 {
					q := Query{Profile: profile}
					return benchScan(b, Task{Reader: &bytesReader{data: data}, Footer: ft, Memory: pool, Query: q, Limit: -1, Workers: workers})
				})
			}
		}
	}
}

// BenchmarkFilter asks for few rows of a file in memory; MB/s are of all of it.
func BenchmarkFilter(b *testing.B) {
	rec := chatBatch(30_000)
	id, lang := rec.Column(0).(*array.Int64), rec.Column(2).(*array.String)
	size := batchBytes(rec, 0, rec.NumRows())
	for _, pageBytes := range []int64{64 << 10, 1 << 20} {
		data := write(b, rec, 10_000, parquet.WithCompression(compress.Codecs.Snappy), parquet.WithPageIndexEnabled(true),
			parquet.WithDataPageSize(pageBytes), parquet.WithBatchSize(64))
		ft := footer(b, data)
		for _, q := range []struct {
			name, filter string
			keep         func(i int) bool
		}{
			{"scattered", `[["langdetect","=","zh-cn"]]`, func(i int) bool { return lang.Value(i) == "zh-cn" }},
			{"sorted", `[["id",">=",12000],["id","<",12300]]`, func(i int) bool { return id.Value(i) >= 12_000 && id.Value(i) < 12_300 }},
			{"needle", `[["id","=",20001]]`, func(i int) bool { return id.Value(i) == 20_001 }},
			{"none", `[["id","<",0]]`, func(int) bool { return false }},
		} {
			rows, pool := int64(0), NewPool()
			for i := range int(rec.NumRows()) {
				if q.keep(i) {
					rows++
				}
			}
			asked := Query{Filters: mustFilter(b, q.filter)}
			measure(b, fmt.Sprintf("rows=%s/page=%d", q.name, pageBytes), rows, size, func() int64 {
				return benchScan(b, Task{Reader: &bytesReader{data: data}, Footer: ft, Memory: pool, Query: asked, Limit: -1, Workers: 1})
			})
		}
	}
}

// measure runs do, which returns a number of rows that must be rows.
func measure(b *testing.B, name string, rows, size int64, do func() int64) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			if got := do(); got != rows {
				b.Fatalf("%d rows, want %d", got, rows)
			}
		}
	})
}

// BenchmarkTake copies chosen rows of a column.
func BenchmarkTake(b *testing.B) {
	rec := chatBatch(30_000)
	pool := NewPool()
	for c, f := range rec.Schema().Fields() {
		for _, each := range []int{1, 10, 100} {
			var runs []run
			total := 0
			for at := 0; at < int(rec.NumRows()); at += each * 10 {
				n := min(each, int(rec.NumRows())-at)
				runs, total = append(runs, run{at, n}), total+n
			}
			g, d := gatherer{pool}, rec.Column(c).Data()
			want := g.take(d, runs, total)
			size := sliceBytes(want, 0, total)
			want.Release()
			measure(b, fmt.Sprintf("type=%s/run=%d", f.Type.Name(), each), int64(total), size, func() int64 {
				out := g.take(d, runs, total)
				defer out.Release()
				return int64(out.Len())
			})
		}
	}
}

// BenchmarkConvert gives a column the type that Spark wants; MB/s are of the file's.
func BenchmarkConvert(b *testing.B) {
	const rows = 100_000
	raw := make([]byte, rows*16)
	chance := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < len(raw); i += 2 {
		raw[i] = byte(chance.Uint32()) // half of the bytes are zero: no number is too large for what it becomes
	}
	for _, native := range []arrow.FixedWidthDataType{
		arrow.PrimitiveTypes.Int64.(arrow.FixedWidthDataType), arrow.PrimitiveTypes.Uint8.(arrow.FixedWidthDataType),
		arrow.PrimitiveTypes.Uint32.(arrow.FixedWidthDataType), arrow.PrimitiveTypes.Uint64.(arrow.FixedWidthDataType),
		arrow.FixedWidthTypes.Float16, arrow.FixedWidthTypes.Time32ms,
		arrow.FixedWidthTypes.Timestamp_ns, &arrow.FixedSizeBinaryType{ByteWidth: 16},
	} {
		want, err := sparkType(field("c", native), "c")
		if err != nil {
			b.Fatal(err)
		}
		size := rows * native.Bytes()
		d := array.NewData(native, rows, []*memory.Buffer{nil, memory.NewBufferBytes(raw[:size])}, nil, 0, 0)
		c := converter{gatherer{NewPool()}}
		measure(b, fmt.Sprintf("from=%s/to=%s", native, want), rows, int64(size), func() int64 {
			out, err := c.convert(d, native, want, "c")
			if err != nil {
				b.Fatal(err)
			}
			defer out.Release()
			if !arrow.TypeEqual(out.DataType(), want) || out.NullN() != 0 {
				return -1
			}
			return int64(out.Len())
		})
	}
}

func benchScan(b testing.TB, t Task) (rows int64) {
	ctx := context.Background()
	s, err := Open(ctx, t)
	if err != nil {
		b.Fatal(err)
	}
	for {
		batch, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		rows += batch.NumRows()
		batch.Release()
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return rows
}

func peerScan(b *testing.B, data []byte) (rows int64) {
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	fr, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 8192}, memory.DefaultAllocator)
	if err != nil {
		b.Fatal(err)
	}
	rr, err := fr.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer rr.Release()
	for rr.Next() {
		rows += rr.RecordBatch().NumRows()
	}
	if err := rr.Err(); err != nil {
		b.Fatal(err)
	}
	return rows
}
