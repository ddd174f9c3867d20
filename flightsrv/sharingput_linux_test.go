package flightsrv_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/flightsrv/internal/sharedmem"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// offerer is the sending end of a DoPut that has a segment of its own.
type offerer struct {
	flight.FlightService_DoPutClient
	*sharedmem.Sender
	inSlots, inline int
}

const (
	offeredSlots = 4
	offeredSlot  = 256 << 10
)

// offer opens a DoPut and sends its descriptor and schema. change is what the client
// says of its segment that is not so.
func offer(t testing.TB, f *flighttest.Fixture, descriptor *flight.FlightDescriptor, schema *flight.FlightData, change func(*sharedmem.Announcement)) (*offerer, context.CancelFunc) {
	t.Helper()
	slots, err := sharedmem.New(offeredSlots, offeredSlot)
	if err != nil {
		t.Fatal(err)
	}
	a := slots.Announcement()
	if change != nil {
		change(&a)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-hubflight-shared-memory", string(must(json.Marshal(a)))), time.Minute)
	stream, err := raw(t, f).DoPut(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := slots.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &offerer{FlightService_DoPutClient: stream, Sender: slots}
	if err := stream.Send(&flight.FlightData{FlightDescriptor: descriptor, DataHeader: schema.DataHeader}); err != nil {
		t.Fatal(err)
	}
	return o, cancel
}

// attached waits until the server has the segment.
func (o *offerer) attached(t testing.TB) {
	t.Helper()
	waitFor(t, o.Attached, func() string { return "the segment was not attached" })
}

// write sends a batch in a slot, for which it waits as long as it takes, or through
// the connection.
func (o *offerer) write(t testing.TB, rec arrow.RecordBatch, shared bool) {
	t.Helper()
	if shared && o.Attached() {
		var place sharedmem.Place
		waitFor(t, func() (ok bool) { place, ok = o.place(t, rec); return ok }, func() string { return "no slot became free" })
		o.inSlots++
		o.announce(t, place)
		return
	}
	o.inline++
	all := encoded(t, rec)
	if err := o.Send(&flight.FlightData{DataHeader: all[1].DataHeader, DataBody: all[1].DataBody}); err != nil {
		t.Fatal(err)
	}
}

func (o *offerer) place(t testing.TB, rec arrow.RecordBatch) (sharedmem.Place, bool) {
	t.Helper()
	payload, err := ipc.GetRecordBatchPayload(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer payload.Release()
	return o.Put(t.Context(), &payload)
}

func (o *offerer) announce(t testing.TB, body any) {
	t.Helper()
	if err := o.Send(&flight.FlightData{AppMetadata: must(json.Marshal(body))}); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// end half-closes and returns what the server says; io.EOF is its good end.
func (o *offerer) end() error {
	_ = o.CloseSend() // the answer says why
	for {
		if _, err := o.Recv(); err != nil {
			return err
		}
	}
}

// slotOf maps a slot for a client that changes what it has announced.
func slotOf(t testing.TB, a sharedmem.Announcement, slot int) []byte {
	t.Helper()
	mem, err := unix.Mmap(a.FD, 4096+int64(slot)*offeredSlot, offeredSlot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return mem
}

func writeCommand(dataset string) *flight.FlightDescriptor {
	return command(fmt.Sprintf(`{"v":1,"op":"write","job":%q,"dataset":%q,"mode":"append"}`, putJob, dataset))
}

func TestRowsWrittenThroughSharedMemoryAreTheSameOfEveryType(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	for name, schema := range shapes() {
		all := shaped(schema, span(0, 12_000))
		defer all.Release()
		folder := f.Folder("written-"+name, map[string][]byte{"LICENSE": []byte("x")})
		o, _ := offer(t, f, writeCommand(folder), encoded(t, all)[0], nil)
		o.attached(t)
		for at, n := int64(0), 0; at < all.NumRows(); n++ {
			size := int64(500)
			switch n {
			case 3:
				size = 0 // a batch without rows
			case 6:
				size = 4000 // too large for a slot
			}
			part := all.NewSlice(at, min(at+size, all.NumRows()))
			o.write(t, part, n%4 != 2)
			at += part.NumRows()
			part.Release()
		}
		if err := o.end(); !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v", name, err)
		}
		if o.inSlots < 10 || o.inline < 4 {
			t.Errorf("%s: %d batches in slots, %d others", name, o.inSlots, o.inline)
		}
		if err := readShaped(t, f.Client.Dataset(client.Read{Dataset: folder}), all, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASegmentThatIsNotWhatWasAnnouncedIsNotUsedAndTheWriteSucceeds(t *testing.T) {
	socket, port := flighttest.New(t, flighttest.Unix()), flighttest.New(t)
	for name, c := range map[string]struct {
		f      *flighttest.Fixture
		change func(a *sharedmem.Announcement)
	}{
		"another nonce":              {socket, func(a *sharedmem.Announcement) { a.Nonce = strings.Repeat("0", 32) }},
		"another size":               {socket, func(a *sharedmem.Announcement) { a.Size += 4096 }},
		"no process":                 {socket, func(a *sharedmem.Announcement) { a.PID = 0 }},
		"no descriptor":              {socket, func(a *sharedmem.Announcement) { a.FD = 1 << 20 }},
		"another file":               {socket, func(a *sharedmem.Announcement) { a.FD = int(os.Stdin.Fd()) }},
		"a client that came by port": {port, nil},
	} {
		want := texts(t)
		folder := c.f.Folder(strings.ReplaceAll(name, " ", "-"), map[string][]byte{"LICENSE": []byte("x")})
		o, _ := offer(t, c.f, writeCommand(folder), encoded(t, want)[0], c.change)
		o.write(t, want, true)
		if err := o.end(); !errors.Is(err, io.EOF) || o.Attached() {
			t.Errorf("%s: %v, attached=%v", name, err, o.Attached())
		}
		if n, err := c.f.Client.Dataset(client.Read{Dataset: folder}).Count(t.Context()); err != nil || n != want.NumRows() {
			t.Errorf("%s: %d rows, %v", name, n, err)
		}
	}
}

func TestSlotsThatLieAreRefusedAndNothingIsStaged(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix(), flighttest.Hub(hubtest.Dataset("demo/out", map[string][]byte{".gitattributes": []byte("* text\n")})))
	rec := texts(t)
	for name, lie := range map[string]func(o *offerer, p sharedmem.Place, slot []byte){
		"a slot that is none":           func(o *offerer, p sharedmem.Place, _ []byte) { p.Slot = offeredSlots; o.announce(t, p) },
		"a slot that is not in use":     func(o *offerer, p sharedmem.Place, _ []byte) { p.Slot++; o.announce(t, p) },
		"an offset beyond the segment":  func(o *offerer, p sharedmem.Place, _ []byte) { p.Offset = 1 << 40; o.announce(t, p) },
		"a negative offset":             func(o *offerer, p sharedmem.Place, _ []byte) { p.Offset = -64; o.announce(t, p) },
		"a length beyond the slot":      func(o *offerer, p sharedmem.Place, _ []byte) { p.Length = offeredSlot; o.announce(t, p) },
		"a length that cuts the body":   func(o *offerer, p sharedmem.Place, _ []byte) { p.Length -= 8; o.announce(t, p) },
		"a length that cuts the header": func(o *offerer, p sharedmem.Place, _ []byte) { p.Length = 32; o.announce(t, p) },
		"a slot announced twice":        func(o *offerer, p sharedmem.Place, _ []byte) { o.announce(t, p); o.announce(t, p) },
		"metadata that says it is longer": func(o *offerer, p sharedmem.Place, slot []byte) {
			binary.LittleEndian.PutUint32(slot[p.Offset+4:], 1<<30)
			o.announce(t, p)
		},
		"metadata of noise": func(o *offerer, p sharedmem.Place, slot []byte) {
			n := int64(binary.LittleEndian.Uint32(slot[p.Offset+4:]))
			for i := range slot[p.Offset+8 : p.Offset+8+n] {
				slot[p.Offset+8+int64(i)] = 0xA5
			}
			o.announce(t, p)
		},
		"an offset beyond the text": func(o *offerer, p sharedmem.Place, slot []byte) {
			body := encoded(t, rec)[1].DataBody
			damaged := offset(t, []*flight.FlightData{nil, {DataBody: body}}, 1<<30)[1].DataBody
			copy(slot[p.Offset+p.Length-int64(len(body)):], damaged)
			o.announce(t, p)
		},
		"no JSON":      func(o *offerer, _ sharedmem.Place, _ []byte) { o.announce(t, "slot") },
		"unknown keys": func(o *offerer, _ sharedmem.Place, _ []byte) { o.announce(t, map[string]int{"slit": 1}) },
	} {
		o, _ := offer(t, f, stageCommand("demo/out"), encoded(t, rec)[0], nil)
		o.attached(t)
		o.write(t, rec, true)
		// Through the connection, so that the first slot has been read and given back.
		o.write(t, rec, false)
		place, ok := o.place(t, rec)
		if !ok {
			t.Fatal("no slot")
		}
		lie(o, place, slotOf(t, o.Announcement(), place.Slot))
		err := o.end()
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "[invalid] put") || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o, _ := offer(t, f, stageCommand("demo/out"), encoded(t, rec)[0], func(a *sharedmem.Announcement) { a.Nonce = strings.Repeat("0", 32) })
	o.announce(t, sharedmem.Place{Length: 64})
	if err := o.end(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a slot of a segment that was not attached: %v", err)
	}
	if left := filesBelow(t, f.Spool); len(left) > 0 {
		t.Errorf("the spool still holds %q", left)
	}
	o, _ = offer(t, f, stageCommand("demo/out"), encoded(t, rec)[0], nil)
	o.attached(t)
	o.write(t, rec, true)
	if err := o.end(); !errors.Is(err, io.EOF) || o.inSlots != 1 {
		t.Errorf("a good stream afterwards: %v, %d batches in slots", err, o.inSlots)
	}
}

func TestAPutThatEndsLeavesNothingOfItsSegment(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	folder := f.Folder("ends", map[string][]byte{"LICENSE": []byte("x")})
	rec := texts(t)
	waitForHandles(t, handles{})
	own := handles{}
	for _, canceled := range []bool{true, false} {
		o, cancel := offer(t, f, stageCommand(folder), encoded(t, rec)[0], nil)
		o.attached(t)
		o.write(t, rec, true)
		if canceled {
			cancel()
		} else if err := o.end(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		own.files, own.mappings = own.files+1, own.mappings+1 // the client's, until the test ends
		waitForHandles(t, own)
	}
}
