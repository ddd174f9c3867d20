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

// BenchmarkScan streams a file in memory; MB/s are of Arrow. The peer is
// pqarrow's record reader as its documentation shows it.
func BenchmarkScan(b *testing.B) {
	for _, set := range []struct {
		name  string
		batch arrow.RecordBatch
		group int64
	}{
		{"flat", flatBatch(300_000), 100_000},
		{"chat", chatBatch(30_000), 10_000},
		{"chat-tiny-groups", chatBatch(30_000), 500},
	} {
		data := write(b, set.batch, set.group, parquet.WithCompression(compress.Codecs.Snappy))
		size := batchBytes(set.batch, 0, set.batch.NumRows())
		ft := footer(b, data)
		b.Run(set.name+"/peer", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				peerScan(b, data)
			}
		})
		pool := NewPool()
		for _, profile := range []Profile{Native, Spark} {
			b.Run(fmt.Sprintf("%s/%s", set.name, profile), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					benchScan(b, Task{Reader: &bytesReader{data: data}, Footer: ft, Memory: pool, Query: Query{Profile: profile}, Limit: -1})
				}
			})
		}
	}
	data := write(b, chatBatch(30_000), 10_000, parquet.WithCompression(compress.Codecs.Snappy))
	q := Query{Filters: mustFilter(b, `[["langdetect","=","zh-cn"]]`)}
	pool := NewPool()
	b.Run("chat/filtered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			benchScan(b, Task{Reader: &bytesReader{data: data}, Footer: footer(b, data), Memory: pool, Query: q, Limit: -1})
		}
	})
}

func benchScan(b testing.TB, t Task) {
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
		batch.Release()
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func peerScan(b *testing.B, data []byte) {
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
	}
	if err := rr.Err(); err != nil {
		b.Fatal(err)
	}
}
