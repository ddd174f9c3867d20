package parquetfile

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// TestABloomFilterHasEveryValue, whether the dictionary holds, is given up half way, or is not there.
func TestABloomFilterHasEveryValue(t *testing.T) {
	const rows = 3000
	schema := arrow.NewSchema([]arrow.Field{{Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i / 2 * 7919))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("value %d", i/2))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	for name, limit := range map[string]int64{"dictionary=whole": 1 << 20, "dictionary=given-up": 4000, "dictionary=none": 0} {
		t.Run(name, func(t *testing.T) {
			props := parquet.NewWriterProperties(parquet.WithDictionaryPageSizeLimit(limit), parquet.WithDictionaryDefault(limit > 0), parquet.WithDataPageSize(1000),
				parquet.WithBloomFilterEnabled(true), parquet.WithAdaptiveBloomFilterEnabled(true))
			raw := written(t, rec, props, rows, func() int64 { return 100 })
			f, err := file.NewParquetReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			group, err := f.GetBloomFilterReader().RowGroup(0)
			if err != nil {
				t.Fatal(err)
			}
			ints, err := group.GetColumnBloomFilter(0)
			if err != nil {
				t.Fatal(err)
			}
			strings, err := group.GetColumnBloomFilter(1)
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for i := range rows / 2 {
				if !ints.CheckHash(metadata.GetHash(ints.Hasher(), int64(i*7919))) || !strings.CheckHash(metadata.GetHash(strings.Hasher(), parquet.ByteArray(fmt.Sprintf("value %d", i)))) {
					t.Fatalf("value %d is missing", i)
				}
				if ints.CheckHash(metadata.GetHash(ints.Hasher(), int64(i*7919+1))) {
					wrong++
				}
			}
			if wrong > rows/10 {
				t.Errorf("%d of %d values that are not there are found", wrong, rows/2)
			}
		})
	}
}

// TestABooleanColumnHasNoBloomFilter: nothing is hashed into it, so it would deny every value.
func TestABooleanColumnHasNoBloomFilter(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}, {Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.BooleanBuilder).AppendValues([]bool{true, false}, nil)
	b.Field(1).(*array.Int64Builder).AppendValues([]int64{1, 2}, nil)
	rec := b.NewRecordBatch()
	defer rec.Release()
	props := parquet.NewWriterProperties(parquet.WithBloomFilterEnabled(true), parquet.WithAdaptiveBloomFilterEnabled(true))
	f, err := file.NewParquetReader(bytes.NewReader(written(t, rec, props, 2, func() int64 { return 100 })))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		chunk, err := f.MetaData().RowGroup(0).ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := chunk.BloomFilterOffset() != 0; got != want {
			t.Errorf("column %d: a filter %v", i, got)
		}
	}
}
