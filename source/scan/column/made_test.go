package column_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source/scan/column"
)

// chunkBytes is a Source over a whole file in memory. What it gave is overwritten by the next call, as windows do.
type chunkBytes struct {
	file  []byte
	given []byte
	asked int64
	calls int
}

func (c *chunkBytes) Bytes(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > int64(len(c.file)) {
		return nil, fmt.Errorf("asked for %d bytes at %d of %d", n, off, len(c.file))
	}
	for i := range c.given {
		c.given[i] = 0xdb
	}
	c.given = bytes.Clone(c.file[off : off+int64(n)])
	c.asked += int64(n)
	c.calls++
	return c.given, nil
}

// dirty is an allocator whose memory is never zero.
type dirty struct{ memory.Allocator }

func (d dirty) Allocate(n int) []byte {
	b := d.Allocator.Allocate(n)
	for i := range b {
		b[i] = 0xa5
	}
	return b
}

func (d dirty) Reallocate(n int, b []byte) []byte {
	out := d.Allocate(n)
	copy(out, b)
	d.Free(b)
	return out
}

func (d dirty) Free(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
	d.Allocator.Free(b)
}

// opened is a Parquet file in memory.
type opened struct {
	data     []byte
	rdr      *file.Reader
	arrow    *pqarrow.FileReader
	manifest *pqarrow.SchemaManifest
}

func open(t testing.TB, data []byte) *opened {
	t.Helper()
	o, err := openFile(data)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func openFile(data []byte) (*opened, error) {
	rdr, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	fr, err := pqarrow.NewFileReader(rdr, pqarrow.ArrowReadProperties{}, memory.NewGoAllocator())
	if err != nil {
		return nil, err
	}
	manifest, err := pqarrow.NewSchemaManifest(rdr.MetaData().Schema, nil, &pqarrow.ArrowReadProperties{})
	return &opened{data, rdr, fr, manifest}, err
}

// field is the tree of a top-level field over a row group.
func (o *opened) field(sf *pqarrow.SchemaField, group int, indexed bool) (column.Field, error) {
	f := column.Field{Type: sf.Field.Type, Def: sf.LevelInfo.DefLevel, Rep: sf.LevelInfo.RepLevel}
	for i := range sf.Children {
		child, err := o.field(&sf.Children[i], group, indexed)
		if err != nil {
			return f, err
		}
		f.Children = append(f.Children, child)
	}
	if !sf.IsLeaf() {
		return f, nil
	}
	rg := o.rdr.MetaData().RowGroup(group)
	cc, err := rg.ColumnChunk(sf.ColIndex)
	if err != nil {
		return f, err
	}
	descr := o.rdr.MetaData().Schema.Column(sf.ColIndex)
	start := cc.DataPageOffset()
	if cc.HasDictionaryPage() && cc.DictionaryPageOffset() > 0 && cc.DictionaryPageOffset() < start {
		start = cc.DictionaryPageOffset()
	}
	f.Leaf = &column.Chunk{
		Physical: descr.PhysicalType(), TypeLength: descr.TypeLength(), MaxDef: descr.MaxDefinitionLevel(), MaxRep: descr.MaxRepetitionLevel(),
		Codec: cc.Compression(), Values: cc.NumValues(), Rows: rg.NumRows(), Off: start, Len: cc.TotalCompressedSize(),
		Source: &chunkBytes{file: o.data},
	}
	if !indexed {
		return f, nil
	}
	pages, err := o.rdr.GetPageIndexReader().RowGroup(group)
	if err != nil || pages == nil {
		return f, err
	}
	index, err := pages.GetOffsetIndex(sf.ColIndex)
	if err != nil || index == nil {
		return f, err
	}
	for _, p := range index.GetPageLocations() {
		f.Leaf.Pages = append(f.Leaf.Pages, column.Page{Off: p.Offset, Size: p.CompressedPageSize, FirstRow: p.FirstRowIndex})
	}
	return f, nil
}

// whole is what pqarrow makes of a field of one row group.
func (o *opened) whole(t testing.TB, field, group int) arrow.Array {
	t.Helper()
	leaves := map[int]bool{}
	for i := range o.rdr.MetaData().Schema.NumColumns() {
		leaves[i] = true
	}
	col, err := o.arrow.GetFieldReader(t.Context(), field, leaves, []int{group})
	if err != nil {
		t.Fatal(err)
	}
	defer col.Release()
	chunked, err := col.NextBatch(o.rdr.MetaData().RowGroup(group).NumRows())
	if err != nil {
		t.Fatal(err)
	}
	if len(chunked.Chunks()) == 0 {
		return array.MakeArrayOfNull(memory.NewGoAllocator(), chunked.DataType(), 0)
	}
	out, err := array.Concatenate(chunked.Chunks(), memory.NewGoAllocator())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// written is how a file is made.
type written struct {
	codec       compress.Compression
	version     parquet.DataPageVersion
	dictionary  bool
	encoding    parquet.Encoding
	pageBytes   int64
	indexed     bool
	dictLimit   int64
	decimalInts bool
}

func (w written) String() string {
	return fmt.Sprintf("codec=%s/pages=v%d/dict=%t/enc=%s/page=%d/index=%t/dictlimit=%d", w.codec, w.version+1, w.dictionary, w.encoding, w.pageBytes, w.indexed, w.dictLimit)
}

func (w written) write(t testing.TB, rec arrow.RecordBatch, encodings map[string]parquet.Encoding) []byte {
	t.Helper()
	opts := []parquet.WriterProperty{
		parquet.WithCompression(w.codec), parquet.WithDataPageVersion(w.version), parquet.WithDictionaryDefault(w.dictionary),
		parquet.WithDataPageSize(w.pageBytes), parquet.WithBatchSize(16), parquet.WithPageIndexEnabled(w.indexed), parquet.WithStats(true),
		parquet.WithStoreDecimalAsInteger(w.decimalInts),
	}
	if w.dictLimit > 0 {
		opts = append(opts, parquet.WithDictionaryPageSizeLimit(w.dictLimit))
	}
	for path, e := range encodings {
		opts = append(opts, parquet.WithEncodingFor(path, e), parquet.WithDictionaryFor(path, false))
	}
	var buf bytes.Buffer
	fw, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(opts...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := fw.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := fw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func flatFields() []arrow.Field {
	types := []struct {
		name string
		typ  arrow.DataType
	}{
		{"i8", arrow.PrimitiveTypes.Int8}, {"i16", arrow.PrimitiveTypes.Int16}, {"i32", arrow.PrimitiveTypes.Int32}, {"i64", arrow.PrimitiveTypes.Int64},
		{"u8", arrow.PrimitiveTypes.Uint8}, {"u16", arrow.PrimitiveTypes.Uint16}, {"u32", arrow.PrimitiveTypes.Uint32}, {"u64", arrow.PrimitiveTypes.Uint64},
		{"f16", arrow.FixedWidthTypes.Float16}, {"f32", arrow.PrimitiveTypes.Float32}, {"f64", arrow.PrimitiveTypes.Float64},
		{"b", arrow.FixedWidthTypes.Boolean}, {"s", arrow.BinaryTypes.String}, {"bin", arrow.BinaryTypes.Binary},
		{"fsb", &arrow.FixedSizeBinaryType{ByteWidth: 3}}, {"fsb16", &arrow.FixedSizeBinaryType{ByteWidth: 16}},
		{"d32", arrow.FixedWidthTypes.Date32}, {"t32", arrow.FixedWidthTypes.Time32ms}, {"t64", arrow.FixedWidthTypes.Time64ns},
		{"tus", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, {"tns", &arrow.TimestampType{Unit: arrow.Nanosecond}},
		{"dec9", &arrow.Decimal128Type{Precision: 9, Scale: 2}}, {"dec18", &arrow.Decimal128Type{Precision: 18, Scale: 2}},
		{"dec38", &arrow.Decimal128Type{Precision: 38, Scale: 3}}, {"dec60", &arrow.Decimal256Type{Precision: 60, Scale: 3}},
		{"nothing", arrow.Null},
	}
	var out []arrow.Field
	for _, t := range types {
		out = append(out, arrow.Field{Name: t.name, Type: t.typ, Nullable: true})
		if t.typ != arrow.Null {
			out = append(out, arrow.Field{Name: t.name + "_required", Type: t.typ})
		}
	}
	return out
}

func nestedFields() []arrow.Field {
	str, null := arrow.BinaryTypes.String, func(n string, t arrow.DataType) arrow.Field { return arrow.Field{Name: n, Type: t, Nullable: true} }
	must := func(n string, t arrow.DataType) arrow.Field { return arrow.Field{Name: n, Type: t} }
	turn := arrow.StructOf(null("from", str), null("value", str), must("n", arrow.PrimitiveTypes.Int16))
	deep := arrow.StructOf(
		null("y", arrow.ListOf(arrow.PrimitiveTypes.Float64)),
		null("x", arrow.PrimitiveTypes.Int32),
		null("z", arrow.StructOf(null("q", str), must("r", arrow.FixedWidthTypes.Boolean))),
		must("w", arrow.StructOf(null("q", arrow.PrimitiveTypes.Int64))),
	)
	return []arrow.Field{
		null("turns", arrow.ListOf(turn)), must("turns_required", arrow.ListOfNonNullable(turn)),
		null("deep", deep), must("deep_required", deep), null("pair", arrow.StructOf(null("a", arrow.PrimitiveTypes.Int64), null("b", str))),
		null("m", arrow.MapOf(str, arrow.PrimitiveTypes.Int32)), null("mm", arrow.MapOf(str, arrow.ListOf(turn))),
		null("ll", arrow.ListOf(arrow.ListOf(str))), null("lll", arrow.ListOf(arrow.ListOf(arrow.ListOf(arrow.PrimitiveTypes.Int8)))),
		null("ldeep", arrow.ListOf(deep)), null("lb", arrow.ListOf(arrow.FixedWidthTypes.Boolean)),
		null("ld", arrow.ListOf(&arrow.Decimal128Type{Precision: 20, Scale: 2})), must("li", arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int32)),
	}
}

// maker fills arrays from a seed. Values repeat, so that dictionaries and runs come up.
type maker struct {
	rng   *rand.Rand
	nulls float64
	runs  float64 // chance that a value repeats the one before
	most  int     // longest list
}

func (m *maker) batch(fields []arrow.Field, rows int) arrow.RecordBatch {
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i, f := range fields {
		for range rows {
			m.append(b.Field(i), f)
		}
	}
	return b.NewRecordBatch()
}

func (m *maker) append(b array.Builder, f arrow.Field) {
	if f.Nullable && (f.Type == arrow.Null || m.rng.Float64() < m.nulls) {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			m.append(b.FieldBuilder(i), f.Type.(*arrow.StructType).Field(i))
		}
	case *array.MapBuilder:
		b.Append(true)
		for i := range m.rng.IntN(m.most) {
			b.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint("key", i))
			m.append(b.ItemBuilder(), f.Type.(*arrow.MapType).ItemField())
		}
	case *array.ListBuilder:
		b.Append(true)
		n := m.rng.IntN(m.most)
		if m.rng.IntN(200) == 0 {
			n *= 40
		}
		for range n {
			m.append(b.ValueBuilder(), f.Type.(*arrow.ListType).ElemField())
		}
	default:
		m.value(b)
	}
}

func (m *maker) value(b array.Builder) {
	n := m.rng.Int64()
	if m.rng.Float64() < m.runs {
		n = int64(m.rng.IntN(7)) - 3
	}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(n))
	case *array.Int16Builder:
		b.Append(int16(n))
	case *array.Int32Builder:
		b.Append(int32(n))
	case *array.Int64Builder:
		b.Append(n)
	case *array.Uint8Builder:
		b.Append(uint8(n))
	case *array.Uint16Builder:
		b.Append(uint16(n))
	case *array.Uint32Builder:
		b.Append(uint32(n))
	case *array.Uint64Builder:
		b.Append(uint64(n))
	case *array.Float16Builder:
		b.Append(float16.New(float32(n % 1000)))
	case *array.Float32Builder:
		b.Append(float32(n))
	case *array.Float64Builder:
		b.Append(math.Float64frombits(uint64(n)))
	case *array.BooleanBuilder:
		b.Append(n%3 == 0)
	case *array.StringBuilder:
		b.Append(m.text(n))
	case *array.BinaryBuilder:
		b.Append([]byte(m.text(n)))
	case *array.FixedSizeBinaryBuilder:
		v := make([]byte, b.Type().(*arrow.FixedSizeBinaryType).ByteWidth)
		for i := range v {
			v[i] = byte(n >> (8 * (i % 8)))
		}
		b.Append(v)
	case *array.Date32Builder:
		b.Append(arrow.Date32(n))
	case *array.Time32Builder:
		b.Append(arrow.Time32(n & 0xffffff))
	case *array.Time64Builder:
		b.Append(arrow.Time64(n & 0xffffffffff))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(n % 1_000_000_000))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromI64(n).Mul(decimal256.FromI64(n % 1000)))
	default:
		panic(fmt.Sprintf("no value for %T", b))
	}
}

func (m *maker) text(n int64) string {
	if n >= -3 && n <= 3 {
		return []string{"", "a", "bc", "sixteen bytes  !", "seventeen bytes !", "twenty-four bytes of text", "x"}[n+3]
	}
	const words = "the quick brown fox jumps over the lazy dog while seven wizards quietly box a hundred jugs of liquor "
	at := int(uint64(n) % uint64(len(words)-40))
	return fmt.Sprintf("%s%d", words[at:at+int((uint64(n)>>8)%37)], n%1000)
}

// arrayBytes is what an array's slots and strings take, the same for every reader.
func arrayBytes(d arrow.ArrayData) int64 {
	n := int64(0)
	switch t := d.DataType().(type) {
	case *arrow.StringType, *arrow.BinaryType:
		offsets := arrow.GetData[int32](d.Buffers()[1].Bytes())
		n = int64(4*d.Len()) + int64(offsets[d.Offset()+d.Len()]-offsets[d.Offset()])
	case *arrow.ListType, *arrow.MapType:
		n = int64(4 * d.Len())
	case arrow.FixedWidthDataType:
		n = int64(d.Len() * t.BitWidth() / 8)
	}
	for _, c := range d.Children() {
		n += arrayBytes(c)
	}
	return n
}
