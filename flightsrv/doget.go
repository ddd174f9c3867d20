package flightsrv

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"

	"github.com/hubflight/hubflight/flightsrv/internal/frame"
	"github.com/hubflight/hubflight/flightsrv/internal/sharedmem"
	"github.com/hubflight/hubflight/source/dataset"
)

const (
	headerSkipRows = "x-hubflight-skip-rows"
	headerStopRows = "x-hubflight-stop-rows"
)

// DoGet streams one partition: the planned schema at once, then rows in file
// order, identical on every replay.
func (s *Server) DoGet(t *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	ctx := stream.Context()
	part, compression, err := s.decodeTicket(t.GetTicket())
	if err != nil {
		return err
	}
	if _, err := s.readable(ctx, "read", part.Dataset, ""); err != nil {
		return err
	}
	skip, err := intHeader(ctx, headerSkipRows, 0)
	if err != nil {
		return err
	}
	stop, err := intHeader(ctx, headerStopRows, -1)
	if err != nil {
		return err
	}
	leave, err := s.streams.enter()
	if err != nil {
		return err
	}
	return watched(ctx, "read", s.limits.IdleTimeoutGet, func(ctx context.Context, wait await) error {
		defer leave()
		principal := principalOf(ctx)
		rows, err := s.planner.Read(ctx, dataset.ReadParams{
			Token: principal.HubToken, Partition: part, Skip: skip, Stop: stop,
			Turns: turns{s.gate, principal.Name, s.limits.QueueTimeout}, Spare: s.memory.room,
		})
		if err != nil {
			return err
		}
		out := newBatchSender(stream, compression, wait)
		return s.send(ctx, out, rows, s.wantsSlots(ctx, compression, rows.Schema(), part.Query))
	})
}

// send moves batches from the scan to the client. The schema goes at once; the
// scan starts when the memory it takes has been leased. Its workers hold decode
// slots while they decode, and never while a batch is sent.
func (s *Server) send(ctx context.Context, out *batchSender, rows dataset.Stream, want slotsWanted) (err error) {
	release, leave := nothing, nothing
	defer func() {
		leave()
		err = errors.Join(err, rows.Close())
		release() // what was leased is free only when the scan has ended
	}()
	if err := out.schema(rows.Schema()); err != nil {
		return err
	}
	if release, err = s.memory.lease(ctx, rows.Holds(), s.limits.QueueTimeout); err != nil {
		return err
	}
	for {
		batch, err := rows.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if want.bytes > 0 && out.sent >= want.after {
			if leave, err = s.share(out, want.bytes); err != nil {
				batch.Release()
				return err
			}
			want = slotsWanted{} // asked once, whatever came of it
		}
		err = out.batch(ctx, batch)
		batch.Release()
		if err != nil {
			return err
		}
	}
}

// batchSender encodes batches as FlightData and sends them without a copy: what
// it sends stays alive, and unchanged, until it has left. Batches that lie in a slot
// of shared memory have been copied, once.
type batchSender struct {
	stream grpc.ServerStream
	wait   await
	opts   []ipc.Option
	slots  *sharedmem.Sender // nil: everything passes the connection
	sent   int64             // bytes of messages that have
}

func newBatchSender(stream grpc.ServerStream, compression string, wait await) *batchSender {
	return &batchSender{stream: stream, wait: wait, opts: append(ipcOptions(compression), ipc.WithAllocator(memory.DefaultAllocator))}
}

// schema sends the schema message, before anything is decoded.
func (b *batchSender) schema(schema *arrow.Schema) error {
	payload := ipc.GetSchemaPayload(schema, memory.DefaultAllocator)
	return b.send(&payload, nil)
}

// batch sends one batch; a reference to it is kept until its bytes have left.
func (b *batchSender) batch(ctx context.Context, rec arrow.RecordBatch) error {
	payload, err := ipc.GetRecordBatchPayload(rec, b.opts...)
	if err != nil {
		return err
	}
	if b.slots != nil {
		if place, ok := b.put(ctx, &payload); ok {
			payload.Release()
			return b.tell(place)
		}
	}
	return b.send(&payload, rec)
}

func (b *batchSender) send(payload *ipc.Payload, rec arrow.RecordBatch) error {
	msg, err := frame.NewMessage(payload, rec)
	if err != nil {
		return err
	}
	defer msg.Release()
	b.sent += int64(msg.Len())
	return b.wait(func() error { return b.stream.SendMsg(msg) })
}
