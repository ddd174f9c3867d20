package scan

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/hubflight/hubflight/source"
)

func TestFooterCostsOneReadUnlessItIsLong(t *testing.T) {
	for _, c := range []struct {
		groups int64
		reads  int
	}{{100, 1}, {1, 2}} {
		data := write(t, flatBatch(100), c.groups)
		r := &bytesReader{data: data}
		ft, err := ReadFooter(context.Background(), r, testFile)
		if err != nil {
			t.Fatal(err)
		}
		if r.reads != c.reads {
			t.Errorf("rows per group %d, footer of %d bytes: %d reads, want %d", c.groups, binary.LittleEndian.Uint32(data[len(data)-8:]), r.reads, c.reads)
		}
		if ft.NumRows() != 100 || int64(ft.NumRowGroups()) != 100/c.groups || ft.GroupRows(0) != c.groups || ft.MemSize() <= 0 {
			t.Errorf("%d rows, %d groups of %d, %d bytes", ft.NumRows(), ft.NumRowGroups(), ft.GroupRows(0), ft.MemSize())
		}
	}
}

func TestFooterMetadataIsTheSchemas(t *testing.T) {
	meta := arrow.NewMetadata([]string{"huggingface", "pandas", "other", "hubflight"}, []string{`{"info": {"features": {}}}`, "{}", "kept", "forged"})
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int32}}, nil)
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range meta.Keys() {
		if err := w.AppendKeyValueMetadata(k, meta.Values()[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := footer(t, buf.Bytes()).Schema().Metadata()
	if got.String() != `["huggingface": "{\"info\": {\"features\": {}}}", "other": "kept"]` {
		t.Errorf("%s", got)
	}
}

// compact builds Thrift compact structures by hand.
type compact struct{ bytes.Buffer }

func (c *compact) uvarint(v uint64) *compact {
	var raw [binary.MaxVarintLen64]byte
	c.Write(raw[:binary.PutUvarint(raw[:], v)])
	return c
}

func (c *compact) zigzag(v int64) *compact { return c.uvarint(uint64(v<<1) ^ uint64(v>>63)) }

func (c *compact) field(delta, typ byte) *compact { c.WriteByte(delta<<4 | typ); return c }

func (c *compact) list(n int, typ byte) *compact {
	if n < 15 {
		c.WriteByte(byte(n)<<4 | typ)
		return c
	}
	c.WriteByte(0xf0 | typ)
	return c.uvarint(uint64(n))
}

// element writes a SchemaElement: name, children.
func (c *compact) element(name string, children int64) *compact {
	c.field(4, thriftBinary).uvarint(uint64(len(name))).WriteString(name)
	if children != 0 {
		c.field(1, thriftI32).zigzag(children)
	}
	c.WriteByte(thriftStop)
	return c
}

func parquetFile(footer []byte) []byte {
	out := append([]byte("PAR1"), footer...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(footer)))
	return append(out, "PAR1"...)
}

func TestHostileFootersAreRefusedQuicklyAndByName(t *testing.T) {
	good := write(t, flatBatch(10), 10)
	meta := func(build func(c *compact)) []byte {
		c := &compact{}
		c.field(1, thriftI32).zigzag(1)
		build(c)
		return parquetFile(c.Bytes())
	}
	schemaList := func(n int, build func(c *compact)) []byte {
		return meta(func(c *compact) { c.field(1, thriftList).list(n, thriftStruct); build(c); c.WriteByte(thriftStop) })
	}
	for name, data := range map[string][]byte{
		"empty":                   {},
		"only magic":              []byte("PAR1PAR1"),
		"text":                    []byte(strings.Repeat("hello, world", 100)),
		"cut":                     good[:len(good)-9],
		"footer of no length":     parquetFile(nil),
		"footer longer than file": append(append([]byte("PAR1"), 0xff, 0xff, 0xff, 0x7f), "PAR1"...),
		"list of 2^31 elements":   meta(func(c *compact) { c.field(3, thriftList); c.WriteByte(0xf0 | thriftStruct); c.uvarint(1 << 31) }),
		"string of 2^62 bytes":    meta(func(c *compact) { c.field(5, thriftBinary).uvarint(1 << 62) }),
		"map of 2^40 entries":     meta(func(c *compact) { c.field(5, thriftMap).uvarint(1 << 40) }),
		"no schema":               meta(func(c *compact) { c.WriteByte(thriftStop) }),
		"empty schema":            schemaList(0, func(*compact) {}),
		"2^31 children":           schemaList(2, func(c *compact) { c.element("root", 1<<31-1).element("a", 0) }),
		"negative children":       schemaList(2, func(c *compact) { c.element("root", -5).element("a", 0) }),
		"too few elements":        schemaList(2, func(c *compact) { c.element("root", 1).element("a", 1) }),
		"elements of no group":    schemaList(3, func(c *compact) { c.element("root", 1).element("a", 0).element("b", 0) }),
		"deep schema": schemaList(100_000, func(c *compact) {
			for range 99_999 {
				c.element("g", 1)
			}
			c.element("a", 0)
		}),
		"deep structures": meta(func(c *compact) {
			for range 1_000_000 {
				c.field(5, thriftStruct)
			}
		}),
		"a million empty row groups": schemaList(1, func(c *compact) {
			c.element("root", 0)
			c.field(1, thriftI64).zigzag(0)
			c.field(1, thriftList).list(3_000_000, thriftStruct)
			c.Write(make([]byte, 3_000_000))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := ReadFooter(context.Background(), &bytesReader{data: data}, testFile)
			if source.KindOf(err) != source.KindCorrupt || !strings.Contains(err.Error(), testFile.Path) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	encrypted := append(append([]byte{}, good[:len(good)-4]...), "PARE"...)
	if _, err := ReadFooter(context.Background(), &bytesReader{data: encrypted}, testFile); source.KindOf(err) != source.KindUnsupported {
		t.Errorf("an encrypted footer: %v", err)
	}
	long := append([]byte("PAR1"), make([]byte, maxFooterBytes+1)...)
	long = binary.LittleEndian.AppendUint32(long, maxFooterBytes+1)
	if _, err := ReadFooter(context.Background(), &bytesReader{data: append(long, "PAR1"...)}, testFile); source.KindOf(err) != source.KindUnsupported {
		t.Errorf("a footer of 16 MiB and a byte: %v", err)
	}
}

func TestAStoredSchemaThatLiesIsIgnored(t *testing.T) {
	batch := flatBatch(3)
	stored := func(value string) []byte {
		var buf bytes.Buffer
		w, err := pqarrow.NewFileWriter(batch.Schema(), &buf, nil, pqarrow.DefaultWriterProps())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
		if err := w.AppendKeyValueMetadata("ARROW:schema", value); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	plain := footer(t, stored("")).Schema()
	for name, value := range map[string]string{
		"not base64":    "%%%",
		"short":         "AAAA",
		"huge length":   base64.StdEncoding.EncodeToString([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4}),
		"ones":          base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 1000)),
		"small numbers": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{4, 0, 0, 0}, 1000)),
		"another one":   "/////3gAAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAMAAAACAAIAAAABAAIAAAABAAAAAEAAAAUAAAAEAAUAAgABgAHAAwAAAAQABAAAAAAAAECEAAAABgAAAAEAAAAAAAAAAEAAABhAAAACAAMAAgABwAIAAAAAAAAAUAAAAA=",
	} {
		got := footer(t, stored(value)).Schema()
		if !got.Equal(plain) {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Every prefix and every changed byte of a right one gives some schema.
	data := write(t, nestedBatch(2, 1), 10)
	at := bytes.Index(data, []byte("ARROW:schema"))
	const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	start := at + bytes.Index(data[at:], []byte("/////"))
	for i := start; bytes.IndexByte([]byte(base64Digits), data[i]) >= 0; i++ {
		broken := append([]byte(nil), data...)
		broken[i] = "A/z+"[i%4]
		if _, err := ReadFooter(context.Background(), &bytesReader{data: broken}, testFile); err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestHintsRestoreWhatParquetCannotSay(t *testing.T) {
	got := footer(t, write(t, flatBatch(3), 10)).Schema()
	for name, want := range map[string]string{"ls": "large_utf8", "tz": "timestamp[us, tz=Europe/Berlin]"} {
		if typ := got.Field(got.FieldIndices(name)[0]).Type.String(); typ != want {
			t.Errorf("%s is %s, want %s", name, typ, want)
		}
	}
	nested := footer(t, nestedFile(t)).Schema()
	for name, want := range map[string]arrow.Type{"fixed": arrow.FIXED_SIZE_LIST, "large": arrow.LARGE_LIST} {
		if typ := nested.Field(nested.FieldIndices(name)[0]).Type; typ.ID() != want {
			t.Errorf("%s is %s", name, typ)
		}
	}
}

// A repeated group that is not annotated is a list, and none of its structs is null:
// what protobuf writers make.
func TestARepeatedGroupIsAListOfStructsThatAreThere(t *testing.T) {
	fields := schema.FieldList{schema.NewInt32Node("x", parquet.Repetitions.Optional, -1)}
	many, err := schema.NewGroupNode("many", parquet.Repetitions.Repeated, fields, -1)
	if err != nil {
		t.Fatal(err)
	}
	root, err := schema.NewGroupNode("root", parquet.Repetitions.Required, schema.FieldList{many}, -1)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := file.NewParquetWriter(&buf, root).Close(); err != nil {
		t.Fatal(err)
	}
	want := arrow.Field{Name: "many", Type: arrow.ListOfField(arrow.Field{Name: "many", Type: arrow.StructOf(field("x", arrow.PrimitiveTypes.Int32))})}
	if got := footer(t, buf.Bytes()).Schema().Field(0); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// int96File has a column of row numbers and one of INT96 timestamps.
func int96File(t *testing.T, micros []int64, valid []bool) []byte {
	t.Helper()
	const (
		julianEpoch  = 2440588 // the Julian day of 1970-01-01
		microsPerDay = 86_400_000_000
	)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := schema.NewGroupNode("root", parquet.Repetitions.Required, schema.FieldList{
		schema.NewInt64Node("id", parquet.Repetitions.Required, -1),
		schema.NewInt96Node("at", parquet.Repetitions.Optional, -1),
	}, -1)
	must(err)
	var buf bytes.Buffer
	w := file.NewParquetWriter(&buf, root, file.WithWriterProps(parquet.NewWriterProperties(parquet.WithDictionaryFor("at", len(micros)%2 == 0))))
	rg, err := w.AppendRowGroupChecked()
	must(err)
	col, err := rg.NextColumn()
	must(err)
	ids := make([]int64, len(micros))
	for i := range ids {
		ids[i] = int64(i)
	}
	_, err = col.(*file.Int64ColumnChunkWriter).WriteBatch(ids, nil, nil)
	must(err)
	must(col.Close())
	col, err = rg.NextColumn()
	must(err)
	var dense []parquet.Int96
	levels := make([]int16, len(micros))
	for i, v := range micros {
		if valid[i] {
			levels[i] = 1
			day := v / microsPerDay
			if v%microsPerDay < 0 {
				day--
			}
			var raw parquet.Int96
			binary.LittleEndian.PutUint64(raw[:], uint64(v-day*microsPerDay)*1000)
			binary.LittleEndian.PutUint32(raw[8:], uint32(day+julianEpoch))
			dense = append(dense, raw)
		}
	}
	_, err = col.(*file.Int96ColumnChunkWriter).WriteBatch(dense, levels, nil)
	must(err)
	must(col.Close())
	must(rg.Close())
	must(w.Close())
	return buf.Bytes()
}

func TestInt96IsNanosecondsNativelyAndAnInstantForSpark(t *testing.T) {
	near := []int64{0, -1, 1_700_000_000_123_456, -5_000_000_000_000_000, 7}
	valid := []bool{true, true, true, true, false}
	data := int96File(t, near, valid)
	native := mustRead(t, data, Task{Limit: -1})
	if got := native.Schema().Field(1).Type.String(); got != "timestamp[ns]" || native.Schema().Field(1).HasMetadata() {
		t.Errorf("native: %s", native.Schema())
	}
	for i, v := range near {
		if valid[i] && int64(native.Column(1).(*array.Timestamp).Value(i)) != v*1000 {
			t.Errorf("native row %d: %s", i, native.Column(1).ValueStr(i))
		}
	}
	for name, q := range map[string]Query{"direct": {Profile: Spark}, "filtered on natively": {Profile: Spark, Filters: mustFilter(t, `[["at","not in",["1900-01-01T00:00:00"]]]`)}} {
		spark, _, err := read(t, data, Task{Query: q, Limit: -1})
		if err != nil {
			t.Fatal(err)
		}
		if got := spark.Schema().Field(1).Type.String(); got != "timestamp[us, tz=UTC]" {
			t.Errorf("%s: %s", name, got)
		}
		for i, v := range near {
			at := spark.Column(1).(*array.Timestamp)
			if at.IsNull(i) == valid[i] || valid[i] && int64(at.Value(i)) != v {
				t.Errorf("%s, row %d: %s, want %d", name, i, at.ValueStr(i), v)
			}
		}
	}
}

func TestInt96OutsideNanosecondsIsExactForSparkAndRefusedNatively(t *testing.T) {
	far := []int64{-62135596800_000000, 32503680000_000001, 253402300799_999999, 0}
	data := int96File(t, far, []bool{true, true, true, true})
	spark := mustRead(t, data, Task{Query: Query{Profile: Spark}, Limit: -1})
	for i, v := range far {
		if got := int64(spark.Column(1).(*array.Timestamp).Value(i)); got != v {
			t.Errorf("row %d: %d, want %d", i, got, v)
		}
	}
	_, _, err := readInto(t, data, Task{Limit: -1})
	if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "column=at") || !strings.Contains(err.Error(), "profile spark") {
		t.Errorf("natively: %v", err)
	}
	if _, _, err := readInto(t, data, Task{Query: Query{Columns: []source.Column{source.Col("id")}}, Limit: -1}); err != nil {
		t.Errorf("the other column: %v", err)
	}
}

func TestPagesAreCheckedBeforeTheyAreDecoded(t *testing.T) {
	data := write(t, flatBatch(50), 100)
	ft := footer(t, data)
	leaf := ft.meta.Schema.Column(0)
	c := ft.chunks[0][0]
	page := data[c.off : c.off+c.len]
	if err := checkPages(page, c, leaf, compress.Codecs.Uncompressed); err != nil {
		t.Fatalf("a good chunk: %v", err)
	}
	const pageData, pageDictionary = 0, 2
	header := func(kind, uncompressed, compressed, values int64) []byte {
		b := &compact{}
		b.field(1, thriftI32).zigzag(kind)
		b.field(1, thriftI32).zigzag(uncompressed)
		b.field(1, thriftI32).zigzag(compressed)
		switch kind {
		case pageData:
			b.field(2, thriftStruct)
		case pageDictionary:
			b.field(4, thriftStruct)
		}
		b.field(1, thriftI32).zigzag(values)
		b.WriteByte(thriftStop)
		b.WriteByte(thriftStop)
		return append(b.Bytes(), make([]byte, 10)...)
	}
	for name, bad := range map[string][]byte{
		"data beyond the chunk":    header(pageData, 10, 1000, 5),
		"negative size":            header(pageData, -1, 10, 5),
		"too many values":          header(pageData, 10, 10, 5000),
		"negative values":          header(pageData, 10, 10, -5),
		"a dictionary of millions": header(pageDictionary, 10, 10, 1<<31-1),
		"a page of a gigabyte":     header(pageData, 1<<30, 10, 5),
		"no page header":           {0x15, 0x00, 0x15, 0x14, 0x15, 0x14, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		"nothing":                  {},
	} {
		if err := checkPages(bad, chunk{values: 50, len: int64(len(bad))}, leaf, compress.Codecs.Uncompressed); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	// Snappy's own length must be the header's.
	lie := header(pageData, 10, 10, 50)
	copy(lie[len(lie)-10:], []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	if err := checkPages(lie, chunk{values: 50, len: int64(len(lie))}, leaf, compress.Codecs.Snappy); err == nil {
		t.Error("snappy data of 4 GiB in a page of 10 bytes pass")
	}
}
