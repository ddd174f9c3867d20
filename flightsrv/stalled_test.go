package flightsrv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

const (
	stalledStreams = 20
	stalledRows    = 24_000
	stalledBatch   = 64 << 10
)

// query is a read command and the rows it gives.
type query struct {
	read client.Read
	want arrow.RecordBatch
}

func stalledQueries(folder string, schema *arrow.Schema) []query {
	all := span(0, stalledRows)
	kept := make([]int64, 0, stalledRows)
	for _, id := range all {
		if id%5 != 0 || id > 5000 {
			kept = append(kept, id)
		}
	}
	return []query{
		{client.Read{Dataset: folder, BatchBytes: stalledBatch}, shaped(schema, all)},
		{client.Read{Dataset: folder, BatchBytes: stalledBatch, Filters: fifths(5000)}, shaped(schema, kept)},
	}
}

// holds is the memory that the server leases for a stream of the file.
func holds(t *testing.T, data []byte, filters []byte) int64 {
	t.Helper()
	q := scan.Query{BatchBytes: stalledBatch}
	if filters != nil {
		var err error
		if q.Filters, err = filter.Parse(filters); err != nil {
			t.Fatal(err)
		}
	}
	file := source.File{Path: "train.parquet", Size: int64(len(data))}
	r := inMemory(data)
	footer, err := scan.ReadFooter(t.Context(), r, file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scan.Open(t.Context(), scan.Task{File: file, Reader: r, Footer: footer, Query: q, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	return s.Holds()
}

// inMemory is a source.Reader.
type inMemory []byte

func (m inMemory) ReadAt(_ context.Context, p []byte, off int64) error {
	_, err := bytes.NewReader(m).ReadAt(p, off)
	return err
}

func (m inMemory) Size() int64 { return int64(len(m)) }

func (m inMemory) Close() error { return nil }

// Clients that stop reading in the middle cost a few batches each and no decode
// slot, whether memory for decoding ahead is plenty or there is none; others are
// served meanwhile, and those that come back find their rows.
func TestTwentyStalledStreamsHoldLittleStopNobodyAndGoOnExactly(t *testing.T) {
	schema := shapes()["strings"]
	data := shapedFile(t, shaped(schema, span(0, stalledRows)))
	plain, filtered := holds(t, data, nil), holds(t, data, fifths(5000))
	leased := stalledStreams / 2 * (plain + filtered)
	for name, limits := range map[string]flightsrv.Limits{
		"plenty": {ScanMemory: 4 << 30, DecodeSlots: 4, QueueTimeout: time.Minute},
		"tight":  {ScanMemory: leased + max(plain, filtered), DecodeSlots: 1, QueueTimeout: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			pool := scantest.NewPoison(scan.NewPool())
			f := flighttest.New(t, flighttest.Memory(pool), flighttest.Limits(limits))
			queries := stalledQueries(f.Folder("text", map[string][]byte{"train.parquet": data}), schema)
			stopped := make([]*stalled, stalledStreams)
			for i := range stopped {
				stopped[i] = stall(t, f, queries[i%2])
			}
			live := settled(t, pool)
			if most := int64(stalledStreams * 8 * stalledBatch); live > min(most, limits.ScanMemory) {
				t.Errorf("%d stalled streams hold %d bytes; %d are leased to them", stalledStreams, live, leased)
			}
			t.Logf("%d stalled streams hold %d KiB of %d KiB that are leased", stalledStreams, live>>10, leased>>10)
			for i := range 4 { // with the only slot and the last lease
				q := queries[i%2]
				if err := readShaped(t, f.Client.Dataset(q.read), q.want, 0); err != nil {
					t.Errorf("beside stalled streams: %v", err)
				}
			}
			var back sync.WaitGroup
			for i, s := range stopped {
				back.Go(func() {
					if err := s.rest(); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
				})
			}
			back.Wait()
		})
	}
}

// stalled is a stream whose client has read its first batch and reads nothing
// more until rest.
type stalled struct {
	reader *flight.Reader
	cancel context.CancelFunc
	want   arrow.RecordBatch
	at     int64
}

func stall(t *testing.T, f *flighttest.Fixture, q query) *stalled {
	t.Helper()
	plan, err := f.Client.Dataset(q.read).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := raw(t, f).DoGet(ctx, &flight.Ticket{Ticket: plan.Partitions[0].Ticket})
	if err != nil {
		t.Fatal(err)
	}
	r, err := flight.NewRecordReader(stream)
	if err != nil {
		t.Fatal(err)
	}
	s := &stalled{reader: r, cancel: cancel, want: q.want}
	if err := s.next(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stalled) next() error {
	rec, err := s.reader.Read()
	if err != nil {
		return err
	}
	if err := equalRows(rec, s.want, s.at); err != nil {
		return err
	}
	s.at += rec.NumRows()
	return nil
}

// rest reads to the end.
func (s *stalled) rest() error {
	defer s.cancel()
	defer s.reader.Release()
	for {
		switch err := s.next(); {
		case errors.Is(err, io.EOF) && s.at == s.want.NumRows():
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%d rows, want %d", s.at, s.want.NumRows())
		case err != nil:
			return err
		}
	}
}

// settled waits until nothing is decoded any more and what stalled clients do not
// need yet is forgotten, and returns what is still held.
func settled(t *testing.T, pool *scantest.Poison) int64 {
	t.Helper()
	const quiet = 2500 * time.Millisecond // well above what a stall takes to show
	last, since := pool.Live(), time.Now()
	for began := time.Now(); time.Since(since) < quiet; time.Sleep(20 * time.Millisecond) {
		if live := pool.Live(); live != last {
			last, since = live, time.Now()
		}
		if time.Since(began) > time.Minute {
			t.Fatal("stalled streams go on decoding")
		}
	}
	return last
}
