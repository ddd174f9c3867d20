package flightsrv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/flightsrv/internal/sharedmem"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

// sharedBatch makes batches of a size of which every stream of these tests has many.
const sharedBatch = 64 << 10

// sharer is the receiving end of a DoGet that takes batches from shared memory.
type sharer struct {
	flight.FlightService_DoGetClient
	refuse bool // never attaches
	keep   bool // never gives a slot back

	slots           *sharedmem.Receiver
	held            []int
	segments        int
	before          int // batches that had come when the segment was announced
	inSlots, inline int // batches
}

// Recv implements flight.DataStreamReader: the batch before is done with.
func (s *sharer) Recv() (*flight.FlightData, error) {
	if !s.keep {
		s.giveBack()
	}
	for {
		d, err := s.FlightService_DoGetClient.Recv()
		if err != nil {
			return nil, err
		}
		if len(d.GetDataHeader()) > 0 {
			s.inline++ // and the schema
			return d, nil
		}
		var body struct {
			Segment *sharedmem.Announcement `json:"segment"`
			sharedmem.Place
		}
		if err := json.Unmarshal(d.GetAppMetadata(), &body); err != nil {
			return nil, err
		}
		if body.Segment == nil {
			s.inSlots++
			s.held = append(s.held, body.Slot)
			meta, rows, err := s.slots.Message(body.Place)
			return &flight.FlightData{DataHeader: meta, DataBody: rows}, err
		}
		s.before = s.inline
		if s.segments++; !s.refuse {
			if s.slots, err = sharedmem.Attach(*body.Segment, 64<<20); err != nil {
				s.slots = nil // a stream may have been sent to its end before this is read
			}
		}
	}
}

func (s *sharer) giveBack() {
	for _, slot := range s.held {
		s.slots.Free(slot)
	}
	s.held = nil
}

func (s *sharer) close(t testing.TB) {
	t.Helper()
	if s.slots != nil {
		if err := s.slots.Close(); err != nil {
			t.Error(err)
		}
	}
}

// sharedStream asks for the first endpoint of a read through shared memory. What lies
// in slots is gone when the test ends.
func sharedStream(t testing.TB, f *flighttest.Fixture, read client.Read, headers ...string) (*sharer, *flight.Reader, context.CancelFunc) {
	t.Helper()
	return sharedStreamAfter(t, f, read, "0", headers...)
}

// sharedStreamAfter lets some bytes of batches pass the connection first.
func sharedStreamAfter(t testing.TB, f *flighttest.Fixture, read client.Read, after string, headers ...string) (*sharer, *flight.Reader, context.CancelFunc) {
	t.Helper()
	plan, err := f.Client.Dataset(read).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	headers = append([]string{"x-hubflight-shared-memory", after}, headers...)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), headers...))
	// Windows that do not grow: the server cannot have sent everything before this side
	// gets to attach, however busy the machine is.
	c := raw(t, f, grpc.WithInitialWindowSize(sharedBatch), grpc.WithInitialConnWindowSize(sharedBatch))
	stream, err := c.DoGet(ctx, &flight.Ticket{Ticket: plan.Partitions[0].Ticket})
	if err != nil {
		t.Fatal(err)
	}
	s := &sharer{FlightService_DoGetClient: stream, inline: -1}
	r, err := flight.NewRecordReader(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); r.Release(); s.close(t) })
	return s, r, cancel
}

// drain compares what comes with the rows of want from at on.
func drain(r *flight.Reader, want arrow.RecordBatch, at int64, pause time.Duration) error {
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			if at != want.NumRows() {
				return fmt.Errorf("%d rows, want %d", at, want.NumRows())
			}
			return nil
		}
		if err != nil {
			return err
		}
		time.Sleep(pause)
		if err := equalRows(rec, want, at); err != nil {
			return err
		}
		at += rec.NumRows()
	}
}

func TestRowsInSharedMemoryAreTheSameOfEveryTypeHoweverTheyAreRead(t *testing.T) {
	const rows = 8000
	pool := scantest.NewPoison(scan.NewPool())
	f := flighttest.New(t, flighttest.Memory(pool), flighttest.Unix())
	for name, schema := range shapes() {
		folder, all, kept := shapedFolder(t, f, name, schema, rows)
		for _, q := range []struct {
			read client.Read
			rows []int64
		}{
			{client.Read{Dataset: folder, BatchBytes: sharedBatch}, all},
			{client.Read{Dataset: folder, BatchRows: 300, Filters: fifths(2000)}, kept},
		} {
			want := shaped(schema, q.rows)
			for _, pause := range []time.Duration{0, 2 * time.Millisecond} {
				s, r, _ := sharedStream(t, f, q.read)
				if err := drain(r, want, 0, pause); err != nil {
					t.Errorf("%s, %d rows: %v", name, len(q.rows), err)
				}
				if s.segments != 1 || s.inSlots == 0 {
					t.Errorf("%s, %d rows: %d segments, %d batches in slots and %d others", name, len(q.rows), s.segments, s.inSlots, s.inline)
				}
			}
		}
	}
	if pool.Spoilt() < 8<<20 {
		t.Errorf("only %d bytes were overwritten: the pool is not where batches are decoded to", pool.Spoilt())
	}
}

// sharedFolder is a folder of one file with the rows that want holds.
func sharedFolder(t testing.TB, f *flighttest.Fixture) (read client.Read, want arrow.RecordBatch) {
	t.Helper()
	want = shaped(shapes()["strings"], span(0, 12_000))
	folder := f.Folder("strings", map[string][]byte{"train.parquet": shapedFile(t, want)})
	return client.Read{Dataset: folder, BatchBytes: sharedBatch}, want
}

func TestTheFirstBatchesPassTheConnectionIfTheClientWantsItSo(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	read, want := sharedFolder(t, f)
	s, r, _ := sharedStreamAfter(t, f, read, "300000")
	if err := drain(r, want, 0, 0); err != nil || s.segments != 1 || s.inSlots == 0 {
		t.Errorf("%v, %d segments, %d in slots, %d others", err, s.segments, s.inSlots, s.inline)
	}
	if most := 300_000/sharedBatch + 2; s.before < 2 || s.before > most {
		t.Errorf("%d batches came before the segment, want 2 to %d", s.before, most)
	}
	s, r, _ = sharedStreamAfter(t, f, read, "1000000000")
	if err := drain(r, want, 0, 0); err != nil || s.segments != 0 {
		t.Errorf("%v, %d segments for a stream that was too short", err, s.segments)
	}
}

func TestAClientThatNeverAttachesIsSentEverything(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	read, want := sharedFolder(t, f)
	s, r, _ := sharedStream(t, f, read)
	s.refuse = true
	if err := drain(r, want, 0, 0); err != nil || s.segments != 1 || s.inSlots != 0 || s.inline == 0 {
		t.Errorf("%v, %d segments, %d in slots, %d others", err, s.segments, s.inSlots, s.inline)
	}
}

func TestAClientThatKeepsEverythingGetsTheRestThroughTheConnectionAndKeepsWhatItHas(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	read, want := sharedFolder(t, f)
	s, r, _ := sharedStream(t, f, read)
	s.keep = true
	var kept []arrow.RecordBatch
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rec.Retain()
		defer rec.Release()
		kept = append(kept, rec)
	}
	at := int64(0)
	for _, rec := range kept {
		if err := equalRows(rec, want, at); err != nil {
			t.Fatal(err)
		}
		at += rec.NumRows()
	}
	if at != want.NumRows() || s.inSlots != 4 || s.inline == 0 {
		t.Errorf("%d rows of %d, %d batches in slots, %d others", at, want.NumRows(), s.inSlots, s.inline)
	}
	if shared := sharedHandles(t); shared.files != 0 {
		t.Errorf("the server still has %d descriptors", shared.files)
	}
}

// handles are what this process, which is both ends, has of segments.
type handles struct{ files, mappings int }

func sharedHandles(t testing.TB) (h handles) {
	t.Helper()
	const name = "/memfd:hubflight"
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, name) {
			h.files++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	h.mappings = strings.Count(string(maps), name)
	return h
}

// waitForHandles waits until this process has that many.
func waitForHandles(t testing.TB, want handles) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := sharedHandles(t)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v are left, want %+v", got, want)
		}
	}
}

func TestStreamsThatEndLeaveNothingOfTheirSegments(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	read, want := sharedFolder(t, f)
	waitForHandles(t, handles{})
	for _, batches := range []int{0, 1, 5, 1 << 20} {
		s, r, cancel := sharedStream(t, f, read)
		s.keep = batches == 5 // the server is waiting for a slot
		at := int64(0)
		for range batches {
			rec, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := equalRows(rec, want, at); err != nil {
				t.Fatal(err)
			}
			at += rec.NumRows()
		}
		cancel()
		mappings := 0
		if s.slots != nil {
			mappings = 1 // the client's own
		}
		waitForHandles(t, handles{mappings: mappings})
		s.giveBack()
		s.close(t)
		s.slots = nil
		waitForHandles(t, handles{})
	}
}

func TestSkipAndStopRowsAreExactInSharedMemory(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	read, want := sharedFolder(t, f)
	for _, skip := range []int64{0, 1, 999, 11_999, 12_000} {
		_, r, _ := sharedStream(t, f, read, "x-hubflight-skip-rows", fmt.Sprint(skip))
		if err := drain(r, want, skip, 0); err != nil {
			t.Errorf("skip %d: %v", skip, err)
		}
	}
	_, r, _ := sharedStream(t, f, read, "x-hubflight-skip-rows", "700", "x-hubflight-stop-rows", "9001")
	if err := drain(r, want.NewSlice(0, 9001), 700, 0); err != nil {
		t.Error(err)
	}
}

func TestBatchesThatFitNoSlotComeBetweenThoseThatDo(t *testing.T) {
	f := flighttest.New(t, flighttest.Unix())
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}}, nil))
	defer b.Release()
	for row := range 4000 {
		n := 100
		if row%1000 == 500 {
			n = 3 * sharedBatch
		}
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%0*d", n, row))
	}
	want := b.NewRecordBatch()
	defer want.Release()
	folder := f.Folder("large", map[string][]byte{"train.parquet": shapedFile(t, want)})
	s, r, _ := sharedStream(t, f, client.Read{Dataset: folder, BatchBytes: sharedBatch})
	if err := drain(r, want, 0, 0); err != nil || s.inSlots == 0 || s.inline == 0 {
		t.Errorf("%v; %d batches in slots, %d others", err, s.inSlots, s.inline)
	}
}

func TestWhatCannotOrMayNotBeSharedIsPlainFlight(t *testing.T) {
	plain := func(name string, f *flighttest.Fixture, change func(*client.Read), after string, headers ...string) {
		t.Run(name, func(t *testing.T) {
			read, want := sharedFolder(t, f)
			change(&read)
			s, r, _ := sharedStreamAfter(t, f, read, after, headers...)
			if err := drain(r, want, 0, 0); err != nil || s.segments != 0 || s.inSlots != 0 {
				t.Errorf("%v, %d segments, %d batches in slots", err, s.segments, s.inSlots)
			}
		})
	}
	as := func(*client.Read) {}
	plain("a port", flighttest.New(t), as, "0")
	plain("switched off", flighttest.New(t, flighttest.Unix(), flighttest.Limits(flightsrv.Limits{NoSharedMemory: true})), as, "0")
	plain("no memory left", flighttest.New(t, flighttest.Unix(), flighttest.Limits(flightsrv.Limits{ScanMemory: 1 << 10})), as, "0")
	f := flighttest.New(t, flighttest.Unix())
	plain("compression", f, func(r *client.Read) { r.Compression = "lz4" }, "0")
	plain("no number", f, as, "yes")
	plain("asked twice", f, as, "0", "x-hubflight-shared-memory", "0")
}
