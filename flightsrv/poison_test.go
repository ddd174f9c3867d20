package flightsrv_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

// shapes are schemas that take different ways through the decoder: flat columns
// and list<struct> by package column, maps and lists of lists by the library.
func shapes() map[string]*arrow.Schema {
	null := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	str, i64 := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	id := arrow.Field{Name: "id", Type: i64}
	return map[string]*arrow.Schema{
		"flat": arrow.NewSchema([]arrow.Field{
			id, null("big", i64), null("small", arrow.PrimitiveTypes.Int16), null("real", arrow.PrimitiveTypes.Float64), null("yes", arrow.FixedWidthTypes.Boolean),
			null("at", arrow.FixedWidthTypes.Timestamp_us), null("price", &arrow.Decimal128Type{Precision: 20, Scale: 3}), null("key", &arrow.FixedSizeBinaryType{ByteWidth: 8}),
		}, nil),
		"strings": arrow.NewSchema([]arrow.Field{id, null("text", str), null("label", str), null("raw", arrow.BinaryTypes.Binary)}, nil),
		"nested": arrow.NewSchema([]arrow.Field{
			id, null("turns", arrow.ListOf(arrow.StructOf(null("from", str), null("value", str)))),
			null("deep", arrow.StructOf(null("x", i64), null("y", arrow.ListOf(arrow.PrimitiveTypes.Float64)), null("z", arrow.StructOf(null("q", str))))),
			null("tags", arrow.MapOf(str, i64)), null("grid", arrow.ListOf(arrow.ListOf(str))),
		}, nil),
	}
}

// shaped makes rows whose every value follows from the row's number.
func shaped(schema *arrow.Schema, rows []int64) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for _, row := range rows {
		b.Field(0).(*array.Int64Builder).Append(row)
		for c, f := range b.Fields()[1:] {
			appendShaped(f, row, int64(c+1))
		}
	}
	return b.NewRecordBatch()
}

func appendShaped(b array.Builder, row, salt int64) {
	x := (row + 1) * (2*salt + 1)
	if x%11 == 5 {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.Int64Builder:
		b.Append(x * 1_000_003)
	case *array.Int16Builder:
		b.Append(int16(x))
	case *array.Float64Builder:
		b.Append(float64(x) / 3)
	case *array.BooleanBuilder:
		b.Append(x%3 == 0)
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(x * 77_777))
	case *array.Decimal128Builder:
		if err := b.AppendValueFromString(fmt.Sprintf("%d.125", x)); err != nil {
			panic(err)
		}
	case *array.FixedSizeBinaryBuilder:
		b.Append(fmt.Appendf(nil, "%08d", x%100_000_000))
	case *array.StringBuilder:
		if salt%2 == 0 {
			b.Append(fmt.Sprintf("label %d", x%17))
		} else {
			b.Append(fmt.Sprintf("row %d %s", row, strings.Repeat("word ", int(x%60))))
		}
	case *array.BinaryBuilder:
		b.Append(bytes.Repeat([]byte{byte(x)}, int(x%90)))
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendShaped(b.FieldBuilder(i), row, salt+int64(i)+3)
		}
	case *array.ListBuilder:
		b.Append(true)
		for i := range x % 4 {
			appendShaped(b.ValueBuilder(), row, salt+i)
		}
	case *array.MapBuilder:
		b.Append(true)
		for i := range x % 3 {
			b.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint("key ", i))
			appendShaped(b.ItemBuilder(), row, salt+i)
		}
	default:
		panic(fmt.Sprintf("no value for %T", b))
	}
}

func shapedFile(t testing.TB, rec arrow.RecordBatch) []byte {
	t.Helper()
	table := array.NewTableFromRecords(rec.Schema(), []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, rec.NumRows()/5, parquet.NewWriterProperties(parquet.WithDataPageSize(64<<10)), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema())); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// poisonRounds is how often every stream of a poison test is read: a few times in
// CI, HUBFLIGHT_POISON times in the nightly run.
func poisonRounds(t testing.TB) int {
	t.Helper()
	text := os.Getenv("HUBFLIGHT_POISON")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Batches are decoded into memory that is overwritten, and decoded into again, the
// moment the last reference is gone. What readers get must be the rows all the
// same, however they read: the transport lets go of a batch only when its bytes
// have left.
// shapedFolder is a dataset of one file, with the ids of its rows and of those that
// fifths(2000) keeps.
func shapedFolder(t testing.TB, f *flighttest.Fixture, name string, schema *arrow.Schema, rows int64) (folder string, all, kept []int64) {
	t.Helper()
	all = span(0, rows)
	for _, id := range all {
		if id%5 != 0 || id > 2000 {
			kept = append(kept, id)
		}
	}
	return f.Folder(name, map[string][]byte{"train.parquet": shapedFile(t, shaped(schema, all))}), all, kept
}

func TestReleasedColumnsMayBeOverwrittenUnderSlowFastAndCancellingReaders(t *testing.T) {
	const rows = 5000
	pool := scantest.NewPoison(scan.NewPool())
	f := flighttest.New(t, flighttest.Memory(pool))
	var readers sync.WaitGroup
	for name, schema := range shapes() {
		folder, all, kept := shapedFolder(t, f, name, schema, rows)
		for _, q := range []struct {
			read client.Read
			rows []int64
		}{
			{client.Read{Dataset: folder, BatchBytes: 64 << 10}, all},
			{client.Read{Dataset: folder, BatchRows: 700, Compression: "lz4"}, all},
			{client.Read{Dataset: folder, BatchRows: 300, Filters: fifths(2000)}, kept},
		} {
			want := shaped(schema, q.rows)
			for manner := range 3 {
				readers.Go(func() {
					for range poisonRounds(t) {
						if err := readShaped(t, f.Client.Dataset(q.read), want, manner); err != nil {
							t.Errorf("%s, manner %d, %d rows: %v", name, manner, len(q.rows), err)
						}
					}
				})
			}
		}
	}
	readers.Wait()
	if pool.Spoilt() < 32<<20 {
		t.Errorf("only %d bytes were overwritten: the pool is not where batches are decoded to", pool.Spoilt())
	}
}

// fifths is the filter that leaves out every fifth row up to the last.
func fifths(last int) json.RawMessage {
	var b strings.Builder
	for id := 0; id <= last; id += 5 {
		if id > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, id)
	}
	return json.RawMessage(`[["id","not in",[` + b.String() + `]]]`)
}

// readShaped takes a stream in one of three manners: 0 at once, 1 with pauses, 2
// up to a cancel in the middle.
func readShaped(t *testing.T, d *client.Dataset, want arrow.RecordBatch, manner int) error {
	at, batches := int64(0), 0
	for rec, err := range d.Scan(t.Context(), client.ScanOptions{Ordered: true}) {
		if err != nil {
			return err
		}
		if manner == 1 {
			time.Sleep(2 * time.Millisecond)
		}
		if err := equalRows(rec, want, at); err != nil {
			return fmt.Errorf("batch %d: %w", batches, err)
		}
		at += rec.NumRows()
		if batches++; manner == 2 && batches == 4 {
			return nil
		}
	}
	if at != want.NumRows() {
		return fmt.Errorf("%d rows, want %d", at, want.NumRows())
	}
	return nil
}

// equalRows compares a batch with the rows of want from at on. Offsets that were
// overwritten lead anywhere: a panic is a difference.
func equalRows(rec, want arrow.RecordBatch, at int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("rows %d to %d cannot be read: %v", at, at+rec.NumRows(), p)
		}
	}()
	n := rec.NumRows()
	if at+n > want.NumRows() {
		return fmt.Errorf("rows %d to %d of %d", at, at+n, want.NumRows())
	}
	for c := range int(rec.NumCols()) {
		if !array.SliceEqual(rec.Column(c), 0, n, want.Column(c), at, at+n) {
			return fmt.Errorf("column %s differs in rows %d to %d", rec.ColumnName(c), at, at+n)
		}
	}
	return nil
}

// pyarrow keeps what it received without a copy, and its flow control is another
// one than grpc-go's.
func TestReleasedColumnsMayBeOverwrittenUnderPyarrow(t *testing.T) {
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with pyarrow")
	}
	pool := scantest.NewPoison(scan.NewPool())
	f := flighttest.New(t, flighttest.Memory(pool))
	for name, schema := range shapes() {
		folder := f.Folder(name, map[string][]byte{"train.parquet": shapedFile(t, shaped(schema, span(0, 10_000)))})
		command := fmt.Sprintf(`{"v":1,"dataset":%q,"batch_bytes":%d}`, folder, 64<<10)
		path := filepath.Join(f.Root, name, "train.parquet")
		cmd := exec.CommandContext(t.Context(), python, "testdata/poisonreader.py", f.Location, command, path, fmt.Sprint(2*poisonRounds(t)))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) || err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if pool.Spoilt() < 16<<20 {
		t.Errorf("only %d bytes were overwritten", pool.Spoilt())
	}
}
