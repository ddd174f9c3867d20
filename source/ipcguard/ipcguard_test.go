package ipcguard_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source/ipcguard"
)

// sample has every accepted shape: fixed width, bool, strings, nesting, nulls.
func sample(t testing.TB) arrow.RecordBatch {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "ls", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "d", Type: &arrow.Decimal128Type{Precision: 20, Scale: 2}, Nullable: true},
		{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "chat", Type: arrow.ListOf(arrow.StructOf(arrow.Field{Name: "from", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.String, Nullable: true})), Nullable: true},
		{Name: "fsl", Type: arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Float32), Nullable: true},
		{Name: "m", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), Nullable: true},
		{Name: "n", Type: arrow.Null, Nullable: true},
	}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[
		{"i":1,"b":true,"s":"a","ls":"é","d":"1.50","ts":"2024-01-31T12:00:00Z","chat":[{"from":"h","value":"x"},{"from":null,"value":"y"}],"fsl":[1,2,3],"m":[{"key":"k","value":1}],"n":null},
		{"i":null,"b":null,"s":null,"ls":null,"d":null,"ts":null,"chat":null,"fsl":null,"m":null,"n":null},
		{"i":3,"b":false,"s":"","ls":"","d":"-1.00","ts":"1970-01-01T00:00:00Z","chat":[],"fsl":[4,5,6],"m":[],"n":null}]`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// capture collects the messages of a Flight stream.
type capture struct{ messages []*flight.FlightData }

func (c *capture) Send(d *flight.FlightData) error {
	c.messages = append(c.messages, &flight.FlightData{DataHeader: bytes.Clone(d.DataHeader), DataBody: bytes.Clone(d.DataBody)})
	return nil
}

func encode(t testing.TB, rec arrow.RecordBatch, opts ...ipc.Option) []*flight.FlightData {
	t.Helper()
	var c capture
	w := flight.NewRecordWriter(&c, append(opts, ipc.WithSchema(rec.Schema()))...)
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return c.messages
}

func check(messages []*flight.FlightData) error {
	layout, err := ipcguard.SchemaLayout(messages[0].DataHeader)
	for _, m := range messages[1:] {
		if err == nil {
			err = layout.Batch(m.DataHeader, m.DataBody)
		}
	}
	return err
}

func TestAGoodStreamPasses(t *testing.T) {
	rec := sample(t)
	for _, r := range []arrow.RecordBatch{rec, rec.NewSlice(1, 3), rec.NewSlice(0, 0)} {
		if err := check(encode(t, r)); err != nil {
			t.Errorf("%d rows: %v", r.NumRows(), err)
		}
	}
}

func TestASchemaSurvivesTheGuard(t *testing.T) {
	want := sample(t).Schema()
	got, err := ipcguard.Schema(flight.SerializeSchema(want, memory.DefaultAllocator))
	if err != nil || !got.Equal(want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestWhatIsNotAcceptedIsRefusedByColumn(t *testing.T) {
	for name, c := range map[string]struct {
		typ  arrow.DataType
		want string
	}{
		"a dictionary":  {&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, `column "x" is dictionary-encoded`},
		"an interval":   {arrow.FixedWidthTypes.MonthDayNanoInterval, `column "x" has type interval`},
		"a string view": {arrow.BinaryTypes.StringView, `column "x" has type string view`},
		"one in a list": {arrow.ListOf(arrow.BinaryTypes.StringView), `column "x.item" has type string view`},
	} {
		t.Run(name, func(t *testing.T) {
			schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: c.typ, Nullable: true}}, nil)
			_, err := ipcguard.Schema(flight.SerializeSchema(schema, memory.DefaultAllocator))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// The attack: a vector of fields that all are one and the same table, so that a
// message of a few MiB stands for any number of copies of its strings.
func TestStringsCountAsOftenAsTheyAreUsed(t *testing.T) {
	const fields = 10_000
	long := strings.Repeat("x", 8<<10)
	for name, first := range map[string]arrow.Field{
		"a name":      {Name: long, Type: arrow.PrimitiveTypes.Int8},
		"metadata":    {Name: "a", Type: arrow.PrimitiveTypes.Int8, Metadata: arrow.NewMetadata([]string{"k"}, []string{long})},
		"a time zone": {Name: "a", Type: &arrow.TimestampType{TimeZone: long}},
	} {
		t.Run(name, func(t *testing.T) {
			all := make([]arrow.Field, fields)
			for i := range all {
				all[i] = arrow.Field{Name: "f", Type: arrow.PrimitiveTypes.Int8}
			}
			all[0] = first
			raw := flight.SerializeSchema(arrow.NewSchema(all, nil), memory.DefaultAllocator)
			shareFirstField(raw)
			if _, err := ipcguard.Schema(raw); err == nil || !strings.Contains(err.Error(), "names and metadata") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// shareFirstField makes all fields of an encapsulated schema the first one.
func shareFirstField(raw []byte) {
	b := raw[8:]
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	slot := func(table, n int) int {
		vtable := table - int(int32(u32(table)))
		return table + int(binary.LittleEndian.Uint16(b[vtable+4+2*n:]))
	}
	follow := func(at int) int { return at + u32(at) }
	schema := follow(slot(follow(0), 2))
	vector := follow(slot(schema, 1))
	first := follow(vector + 4)
	for i := range u32(vector) {
		at := vector + 4 + 4*i
		binary.LittleEndian.PutUint32(b[at:], uint32(first-at))
	}
}

func TestCompressedBatchesAreRefused(t *testing.T) {
	if err := check(encode(t, sample(t), ipc.WithZstd())); err == nil || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("got %v", err)
	}
}

func TestNullsWithoutBytesAreBounded(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.Null, Nullable: true}}, nil)
	huge := array.NewNull(1 << 40)
	defer huge.Release()
	rec := array.NewRecordBatch(schema, []arrow.Array{huge}, 1<<40)
	defer rec.Release()
	if err := check(encode(t, rec)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("got %v", err)
	}
}

// TestListsWithoutBytesAreBounded: of a list of nulls there are the offsets only.
func TestListsWithoutBytesAreBounded(t *testing.T) {
	for n, want := range map[int32]bool{1 << 20: true, 1<<24 + 1: false, 1<<31 - 1: false} {
		nulls := array.NewNull(int(n))
		defer nulls.Release()
		offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, n}))
		data := array.NewData(arrow.ListOf(arrow.Null), 1, []*memory.Buffer{nil, offsets}, []arrow.ArrayData{nulls.Data()}, 0, 0)
		defer data.Release()
		list := array.MakeFromData(data)
		defer list.Release()
		rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "n", Type: list.DataType(), Nullable: true}}, nil), []arrow.Array{list}, 1)
		defer rec.Release()
		if err := check(encode(t, rec)); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "too many") {
			t.Errorf("%d: got %v", n, err)
		}
	}
}

func TestAStringOffsetPastTheDataIsRefused(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"s":"abc"},{"s":"de"}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	messages := encode(t, rec)
	body := messages[1].DataBody
	at := bytes.Index(body, []byte{3, 0, 0, 0, 5, 0, 0, 0})
	binary.LittleEndian.PutUint32(body[at+4:], 1<<20)
	if err := check(messages); err == nil || !strings.Contains(err.Error(), `column "s"`) {
		t.Errorf("got %v", err)
	}
}

// TestNoMutationThatPassesCanBreakTheDecoder is the reason the package exists:
// seeded damage to header and body, and whatever the guard lets through is
// decoded and read at every row without a panic.
func TestNoMutationThatPassesCanBreakTheDecoder(t *testing.T) {
	tries := 60_000
	if testing.Short() {
		tries = 5_000
	}
	original := encode(t, sample(t))
	boundaries := []uint64{0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 33, 1 << 40, 1<<63 - 1, 1<<64 - 1}
	passed := 0
	for seed := range tries {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		messages := make([]*flight.FlightData, len(original))
		for i, m := range original {
			messages[i] = &flight.FlightData{DataHeader: bytes.Clone(m.DataHeader), DataBody: bytes.Clone(m.DataBody)}
		}
		for range 1 + rng.IntN(3) {
			target := messages[rng.IntN(len(messages))]
			part := target.DataHeader
			if len(target.DataBody) > 0 && rng.IntN(2) == 0 {
				part = target.DataBody
			}
			damage(part, rng, boundaries)
		}
		if check(messages) == nil {
			passed++
			readAll(t, seed, messages)
		}
	}
	t.Logf("%d of %d mutations passed the guard and were read", passed, tries)
	if passed == 0 {
		t.Error("the guard refuses everything")
	}
}

func damage(part []byte, rng *rand.Rand, boundaries []uint64) {
	at := rng.IntN(len(part))
	switch rng.IntN(4) {
	case 0:
		part[at] = byte(rng.Uint32())
	case 1:
		part[at] ^= 1 << rng.IntN(8)
	case 2:
		if at+4 <= len(part) {
			binary.LittleEndian.PutUint32(part[at:], uint32(boundaries[rng.IntN(len(boundaries))]))
		}
	default:
		if at+8 <= len(part) {
			binary.LittleEndian.PutUint64(part[at:], boundaries[rng.IntN(len(boundaries))])
		}
	}
}

type replay struct{ messages []*flight.FlightData }

func (r *replay) Recv() (*flight.FlightData, error) {
	if len(r.messages) == 0 {
		return nil, os.ErrClosed
	}
	m := r.messages[0]
	r.messages = r.messages[1:]
	return m, nil
}

// readAll decodes a stream that passed and formats every value.
func readAll(t *testing.T, seed int, messages []*flight.FlightData) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("seed %d passed the guard and panics: %v\n%s", seed, r, debug.Stack())
		}
	}()
	rdr, err := flight.NewRecordReader(&replay{messages})
	if err != nil {
		return // the decoder may still refuse; it must not panic or blow up
	}
	defer rdr.Release()
	for rdr.Next() {
		rec := rdr.RecordBatch()
		for _, col := range rec.Columns() {
			for i := range min(col.Len(), 1000) {
				_ = col.ValueStr(i)
			}
		}
	}
}

func TestTheFuzzedCorpusIsRefusedOrReadable(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/corpora/ipc-stream-fuzzed/*")
	if len(files) == 0 {
		t.Skip("no corpus beside the repository")
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		messages := split(raw)
		if len(messages) > 0 && check(messages) == nil {
			readAll(t, 0, messages)
		}
	}
}

// split cuts an IPC stream into messages as far as its lengths make sense.
func split(raw []byte) (out []*flight.FlightData) {
	for len(raw) > 8 && len(out) < 64 {
		if binary.LittleEndian.Uint32(raw) == 0xFFFFFFFF {
			raw = raw[4:]
		}
		n := int(binary.LittleEndian.Uint32(raw))
		if n <= 0 || n > len(raw)-4 {
			break
		}
		m := &flight.FlightData{DataHeader: raw[4 : 4+n]}
		raw = raw[4+n:]
		if len(out) > 0 {
			m.DataBody = raw // the length check of the guard decides
			raw = nil
		}
		out = append(out, m)
	}
	return out
}

func FuzzSchema(f *testing.F) {
	f.Add(flight.SerializeSchema(sample(f).Schema(), memory.DefaultAllocator))
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = ipcguard.Schema(raw) })
}

func BenchmarkBatch(b *testing.B) {
	var text strings.Builder
	text.WriteByte('[')
	for i := range 10_000 {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(`{"s":"some words of a row","i":7}`)
	}
	text.WriteByte(']')
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "i", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	defer rec.Release()
	messages := encode(b, rec)
	layout, err := ipcguard.SchemaLayout(messages[0].DataHeader)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(messages[1].DataBody)))
	b.ReportAllocs()
	for b.Loop() {
		if err := layout.Batch(messages[1].DataHeader, messages[1].DataBody); err != nil {
			b.Fatal(err)
		}
	}
}
