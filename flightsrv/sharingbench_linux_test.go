package flightsrv_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
)

// BenchmarkDoGetOnOneMachine is a stream over a unix socket whose batches lie in slots
// of shared memory, against the same stream whose batches pass the socket. The time is
// that of both ends, decoding included.
func BenchmarkDoGetOnOneMachine(b *testing.B) {
	const rows = 200_000
	f := flighttest.New(b, flighttest.Unix())
	want := shaped(shapes()["strings"], span(0, rows))
	folder := f.Folder("strings", map[string][]byte{"train.parquet": shapedFile(b, want)})
	plan, err := f.Client.Dataset(client.Read{Dataset: folder}).Plan(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c := raw(b, f)
	for _, path := range []string{"slots", "grpc"} {
		b.Run(fmt.Sprintf("path=%s/rows=%d", path, rows), func(b *testing.B) {
			ctx := b.Context()
			if path == "slots" {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-hubflight-shared-memory", "0")
			}
			shared := 0
			for b.Loop() {
				stream, err := c.DoGet(ctx, &flight.Ticket{Ticket: plan.Partitions[0].Ticket})
				if err != nil {
					b.Fatal(err)
				}
				s := &sharer{FlightService_DoGetClient: stream}
				n, size := received(b, s)
				s.close(b)
				if n != rows {
					b.Fatalf("%d rows", n)
				}
				b.SetBytes(size)
				shared += s.inSlots
			}
			if (shared > 0) != (path == "slots") {
				b.Errorf("%d batches lay in slots", shared)
			}
		})
	}
}

// received counts the rows and the bytes of a stream.
func received(b *testing.B, s *sharer) (rows, bytes int64) {
	b.Helper()
	r, err := flight.NewRecordReader(&measured{sharer: s, bytes: &bytes})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Release()
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, bytes
		}
		if err != nil {
			b.Fatal(err)
		}
		rows += rec.NumRows()
	}
}

// measured counts the bytes of bodies.
type measured struct {
	*sharer
	bytes *int64
}

func (m *measured) Recv() (*flight.FlightData, error) {
	d, err := m.sharer.Recv()
	*m.bytes += int64(len(d.GetDataBody()))
	return d, err
}
