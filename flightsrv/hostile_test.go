package flightsrv_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

const putJob = "01890000-0000-7000-8000-0000000000ff"

// messages collects a Flight stream instead of sending it.
type messages struct{ all []*flight.FlightData }

func (m *messages) Send(d *flight.FlightData) error {
	m.all = append(m.all, &flight.FlightData{DataHeader: bytes.Clone(d.DataHeader), DataBody: bytes.Clone(d.DataBody)})
	return nil
}

// encoded is a schema message and one batch.
func encoded(t testing.TB, rec arrow.RecordBatch, opts ...ipc.Option) []*flight.FlightData {
	t.Helper()
	var m messages
	w := flight.NewRecordWriter(&m, append(opts, ipc.WithSchema(rec.Schema()))...)
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Fatal(err)
	}
	return m.all
}

// texts is one string column of the rows "abc" and "de".
func texts(t testing.TB) arrow.RecordBatch {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"s":"abc"},{"s":"de"}]`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// nulls is a column of n nulls, which take no bytes at all.
func nulls(t testing.TB, n int64) arrow.RecordBatch {
	t.Helper()
	column := array.NewNull(int(n))
	defer column.Release()
	rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.Null, Nullable: true}}, nil), []arrow.Array{column}, n)
	t.Cleanup(rec.Release)
	return rec
}

func dictionary(t testing.TB) arrow.RecordBatch {
	t.Helper()
	typ := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "d", Type: typ, Nullable: true}}, nil), strings.NewReader(`[{"d":"a"}]`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// bomb claims that its few compressed bytes are 2^40.
func bomb(t testing.TB) []*flight.FlightData {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for range 64 {
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat("0", 1<<10))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	all := encoded(t, rec, ipc.WithZstd())
	body := all[1].DataBody
	at := bytes.LastIndex(body, binary.LittleEndian.AppendUint64(nil, 64<<10)) // the length before the text's buffer
	if at < 0 {
		t.Fatal("the compressed body has no length")
	}
	binary.LittleEndian.PutUint64(body[at:], 1<<40)
	return all
}

func stageCommand(dataset string) *flight.FlightDescriptor {
	return command(fmt.Sprintf(`{"v":1,"op":"stage","job":%q,"dataset":%q,"mode":"append","partition":0,"attempt":"0"}`, putJob, dataset))
}

// putRaw sends the messages as they are, half-closes, and returns what the server
// says in the end; io.EOF is its good end.
func putRaw(t testing.TB, c flight.FlightServiceClient, descriptor *flight.FlightDescriptor, all []*flight.FlightData) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := c.DoPut(ctx)
	if err != nil {
		return err
	}
	for i, m := range all {
		if i == 0 {
			m.FlightDescriptor = descriptor
		}
		if stream.Send(m) != nil {
			break // the answer says why
		}
	}
	_ = stream.CloseSend() // likewise
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// filesBelow lists regular files, without the locks and leases that a folder has
// for itself.
func filesBelow(t testing.TB, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(d.Name(), "lock") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDamagedStreamsAreRefusedAndTheServerServesOn(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t), hubtest.Dataset("demo/out", map[string][]byte{".gitattributes": []byte("* text\n")})))
	c := raw(t, f)
	good := func() []*flight.FlightData { return encoded(t, texts(t)) }
	changed := func(change func(all []*flight.FlightData) []*flight.FlightData) []*flight.FlightData {
		return change(good())
	}

	for name, all := range map[string][]*flight.FlightData{
		"a zstd bomb":                        bomb(t),
		"a compressed batch":                 encoded(t, texts(t), ipc.WithLZ4()),
		"2^40 null rows":                     encoded(t, nulls(t, 1<<40)),
		"a dictionary":                       encoded(t, dictionary(t)),
		"no schema":                          {{}},
		"a descriptor that is not followed":  {{}, {}},
		"a batch before the schema":          changed(func(all []*flight.FlightData) []*flight.FlightData { return []*flight.FlightData{all[1], all[0]} }),
		"a schema in the middle of the rows": changed(func(all []*flight.FlightData) []*flight.FlightData { return append(all, all[0], all[1]) }),
		"a header of noise": changed(func(all []*flight.FlightData) []*flight.FlightData {
			all[1].DataHeader = bytes.Repeat([]byte{0xA5}, 200)
			return all
		}),
		"half a header": changed(func(all []*flight.FlightData) []*flight.FlightData {
			all[1].DataHeader = all[1].DataHeader[:20]
			return all
		}),
		"a schema that is cut off": changed(func(all []*flight.FlightData) []*flight.FlightData {
			all[0].DataHeader = all[0].DataHeader[:40]
			return all
		}),
		"a body that is missing":              changed(func(all []*flight.FlightData) []*flight.FlightData { all[1].DataBody = nil; return all }),
		"half a body":                         changed(func(all []*flight.FlightData) []*flight.FlightData { all[1].DataBody = all[1].DataBody[:8]; return all }),
		"an offset beyond the text":           changed(func(all []*flight.FlightData) []*flight.FlightData { return offset(t, all, 1<<30) }),
		"an offset that is negative":          changed(func(all []*flight.FlightData) []*flight.FlightData { return offset(t, all, 1<<31) }),
		"an offset that goes back":            changed(func(all []*flight.FlightData) []*flight.FlightData { return offset(t, all, 1) }),
		"a good batch and then a damaged one": changed(func(all []*flight.FlightData) []*flight.FlightData { return append(all, offset(t, good(), 1<<30)[1]) }),
	} {
		err := putRaw(t, c, stageCommand("demo/out"), all)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "[invalid] put") || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := putRaw(t, c, nil, good()); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without a descriptor: got %v", err)
	}
	if left := filesBelow(t, f.Spool); len(left) > 0 {
		t.Errorf("the spool still holds %q", left)
	}
	if err := putRaw(t, c, stageCommand("demo/out"), good()); !errors.Is(err, io.EOF) {
		t.Errorf("a good stream afterwards: %v", err)
	}
	if n, err := f.Client.Dataset(client.Read{Dataset: dataset}).Count(t.Context()); err != nil || n != 600 {
		t.Errorf("reading afterwards: %d rows, %v", n, err)
	}
}

// Headers are held before it is known who sends them, as messages are, and no setting
// says how many: what a token takes is enough.
func TestHeadersAreBounded(t *testing.T) {
	c := raw(t, flighttest.New(t))
	call := func(size int) error {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+strings.Repeat("x", size))
		stream, err := c.DoAction(ctx, &flight.Action{Type: "version"})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	if err := call(30 << 10); err != nil {
		t.Errorf("a long token: %v", err)
	}
	if err := call(1 << 20); err == nil {
		t.Error("a megabyte was taken")
	}
}

// A path of millions of empty parts is short on the wire and gigabytes when it is
// decoded, which happens before it is known who sends it.
func TestADescriptorIsBoundedBeforeItIsDecoded(t *testing.T) {
	_, err := raw(t, flighttest.New(t)).GetSchema(t.Context(), &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: make([]string, 3<<20)})
	if err == nil || !strings.Contains(err.Error(), "[limit] descriptor") {
		t.Errorf("got %v", err)
	}
}

// What is wrong with a call may be as long as a message. It is neither computed with
// nor said again: a line of the log would be as long.
func TestALongMistakeIsToldInAFewWords(t *testing.T) {
	f := flighttest.New(t)
	c := raw(t, f)
	long := strings.Repeat("x", 1<<20)
	for name, call := range map[string]func() error{
		"an action": func() error {
			stream, err := c.DoAction(t.Context(), &flight.Action{Type: long})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a key": func() error {
			stream, err := c.DoAction(t.Context(), &flight.Action{Type: "commit", Body: []byte(`{"` + long + `":1}`)})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a number": func() error {
			stream, err := c.DoAction(t.Context(), &flight.Action{Type: "commit", Body: []byte(`{"v":1` + strings.Repeat("0", 1<<20) + `}`)})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a path": func() error {
			_, err := c.GetFlightInfo(t.Context(), &flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{"demo/none", long}})
			return err
		},
		"an op": func() error { return putRaw(t, c, command(`{"op":"`+long+`"}`), encoded(t, texts(t))) },
	} {
		before := len(f.Log.String())
		err := call()
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.Unimplemented {
			t.Errorf("%s: got %v", name, err)
		}
		waitFor(t, func() bool { return len(f.Log.String()) > before }, func() string { return "nothing is logged" })
		if n := len(f.Log.String()) - before; n > 20<<10 {
			t.Errorf("%s: %d bytes are logged", name, n)
		}
	}
}

// offset damages the last offset of texts.
func offset(t testing.TB, all []*flight.FlightData, value uint32) []*flight.FlightData {
	t.Helper()
	body := all[1].DataBody
	at := bytes.Index(body, []byte{3, 0, 0, 0, 5, 0, 0, 0})
	if at < 0 {
		t.Fatal("the body has no offsets 3, 5")
	}
	binary.LittleEndian.PutUint32(body[at+4:], value)
	return all
}

func TestAPutThatBreaksBeforeItsHalfCloseLeavesNothing(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(hubtest.Dataset("demo/out", map[string][]byte{".gitattributes": []byte("* text\n")})))
	folder := f.Folder("out", map[string][]byte{"LICENSE": []byte("x")})
	c := raw(t, f)
	head := must(f.Hub.Head("demo/out", "main"))
	for i, op := range []string{"stage", "write"} {
		for k, name := range []string{"demo/out", folder} {
			body := fmt.Sprintf(`{"v":1,"op":%q,"job":"01890000-0000-7000-8000-00000000000%d","dataset":%q,"mode":"append","partition":0,"attempt":"0"}`, op, 2*i+k, name)
			if op == "write" {
				body = strings.Replace(body, `,"partition":0,"attempt":"0"`, "", 1)
			}
			before := strings.Count(f.Log.String(), "rpc=DoPut")
			ctx, cancel := context.WithCancel(t.Context())
			stream, err := c.DoPut(ctx)
			if err != nil {
				t.Fatal(err)
			}
			all := encoded(t, texts(t))
			all[0].FlightDescriptor = command(body)
			for range 50 {
				all = append(all, all[1])
			}
			for _, m := range all {
				if err := stream.Send(m); err != nil {
					_, err = stream.Recv()
					t.Fatalf("%s to %s: %v", op, name, err)
				}
			}
			time.Sleep(30 * time.Millisecond) // the server is in the middle of it
			cancel()
			waitFor(t, func() bool {
				return strings.Count(f.Log.String(), "rpc=DoPut") > before && len(filesBelow(t, f.Spool)) == 0
			}, func() string {
				return fmt.Sprintf("%s to %s: spool %q\n%s", op, name, filesBelow(t, f.Spool), f.Log)
			})
		}
	}
	if now := must(f.Hub.Head("demo/out", "main")); now != head {
		t.Errorf("the repository's head moved from %s to %s", head, now)
	}
	for _, file := range filesBelow(t, strings.TrimPrefix(folder, "file://")) {
		if filepath.Base(file) != "LICENSE" {
			t.Errorf("the folder holds %s", file)
		}
	}
	if _, err := os.Stat(filepath.Join(strings.TrimPrefix(folder, "file://"), "LICENSE")); err != nil {
		t.Error(err)
	}
	if n, err := f.Client.Dataset(client.Read{Dataset: folder}).Count(t.Context()); source.KindOf(err) == source.KindInternal || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// must is for test set-up whose failure is a bug of the test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// waitFor waits for what happens after a broken stream, on the server's own time.
func waitFor(t testing.TB, ok func() bool, state func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(state())
		}
	}
}
