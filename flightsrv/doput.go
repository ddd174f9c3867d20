package flightsrv

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/flightsrv/internal/frame"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/ipcguard"
	"github.com/hubflight/hubflight/writer"
)

// progressEvery is how many encoded bytes lie between two progress results: few
// enough that a client which does not read them cannot block the stream.
const progressEvery = 16 << 20

// DoPut takes the batches of one task attempt ("stage"), or of a whole one-stream
// job ("write").
//
// Only a half-close by the client ends the input; a broken stream has staged
// nothing.
func (s *Server) DoPut(stream flight.FlightService_DoPutServer) error {
	leave, err := s.streams.enter()
	if err != nil {
		return err
	}
	quit := make(chan error, 1)
	return interruptible(stream.Context(), "stage", s.limits.IdleTimeoutPut, quit, func(ctx context.Context, wait await) error {
		defer leave()
		in := &guardedStream{stream: stream, call: ctx, quit: quit, wait: wait, slots: s.attach(ctx)}
		defer in.slots.close()
		first, err := in.receive()
		if err != nil {
			return brokenStream(err)
		}
		in.first = first
		return s.put(ctx, stream, in)
	})
}

// put dispatches on the descriptor's op. Failures that need no data are answered
// before any is read.
func (s *Server) put(ctx context.Context, stream flight.FlightService_DoPutServer, guarded *guardedStream) error {
	d := guarded.first.GetFlightDescriptor()
	if d.GetType() != flight.DescriptorCMD {
		return invalid("put", "the first message has no command descriptor").WithHint(`send CMD {"v":1,"op":"stage",…} or {"v":1,"op":"write",…}`)
	}
	var op struct {
		Op string `json:"op"`
	}
	_ = json.Unmarshal(d.GetCmd(), &op) // the strict decoding below reports what is wrong
	out := &putSender{stream: stream, wait: guarded.wait}
	switch op.Op {
	case "stage":
		var r writer.StageRequest
		if err := s.decodeWrite(ctx, "stage", d.GetCmd(), &r, func() (int, string) { return r.V, r.Dataset }); err != nil {
			return err
		}
		in, err := newBatches(guarded)
		if err != nil {
			return err
		}
		defer in.release()
		result, err := s.writer.Stage(ctx, principalOf(ctx).HubToken, r, in, out.progress)
		if err != nil {
			return err
		}
		result.Type, result.V = "result", wireVersion
		return out.send(result)
	case "write":
		var r writer.WriteRequest
		if err := s.decodeWrite(ctx, "write", d.GetCmd(), &r, func() (int, string) { return r.V, r.Dataset }); err != nil {
			return err
		}
		in, err := newBatches(guarded)
		if err != nil {
			return err
		}
		defer in.release()
		result, err := s.writer.Write(ctx, principalOf(ctx).HubToken, r, in, out.progress, out.event)
		if err != nil {
			return err
		}
		result.Type, result.V = "result", wireVersion
		return out.send(result)
	}
	return invalid("put", "op %.100q is neither stage nor write", op.Op)
}

// decodeWrite decodes a writer's body strictly, checks its version and the
// caller's right to write the dataset it names.
func (s *Server) decodeWrite(ctx context.Context, op string, raw []byte, body interface{ Validate() error }, about func() (version int, dataset string)) error {
	if err := decode(op, raw, maxAction, body); err != nil {
		return err
	}
	version, name := about()
	if err := checkVersion(op, version); err != nil {
		return err
	}
	if err := body.Validate(); err != nil {
		return err
	}
	ref, err := s.ref(name, "")
	if err != nil {
		return err
	}
	return authorize(ctx, op, ref, true)
}

// putSender writes PutResults; progress may come from another goroutine than the
// result. A client that takes none is waited for as for one that sends nothing.
type putSender struct {
	stream interface {
		Send(*flight.PutResult) error
	}
	wait     await
	mu       sync.Mutex
	reported int64
}

func (p *putSender) send(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wait(func() error { return p.stream.Send(&flight.PutResult{AppMetadata: raw}) })
}

// progress reports at most once per progressEvery bytes. A failed send is not its
// business: the stream's own end reports it.
func (p *putSender) progress(bytes int64) {
	p.mu.Lock()
	due := bytes-p.reported >= progressEvery
	if due {
		p.reported = bytes
	}
	p.mu.Unlock()
	if due {
		_ = p.send(map[string]any{"type": "progress", "bytes": bytes})
	}
}

func (p *putSender) event(e writer.CommitEvent) {
	if v := eventBody(e); v != nil {
		_ = p.send(v)
	}
}

// batches is a DoPut stream as the writer reads it. Every message passes the
// guard before arrow-go sees it.
type batches struct {
	reader *flight.Reader
	stream *guardedStream
}

// guardedStream hands messages from the client to arrow-go's reader, checked. The
// body of a message, wherever it lies, is good until the next one is received.
type guardedStream struct {
	stream interface {
		RecvMsg(m any) error
	}
	call   context.Context // ends when the client is gone
	quit   chan<- error    // of one: ends the call
	in     frame.Inbound
	slots  inSlots
	wait   await
	first  *flight.FlightData
	layout *ipcguard.Layout // nil until the schema has passed
}

func (g *guardedStream) receive() (*flight.FlightData, error) {
	g.slots.giveBack()
	err := g.wait(func() error { return g.stream.RecvMsg(&g.in) })
	return g.in.Data, err
}

func newBatches(g *guardedStream) (*batches, error) {
	var reader *flight.Reader
	err := guard(func() (err error) {
		reader, err = flight.NewRecordReader(g, ipc.WithAllocator(memory.DefaultAllocator))
		return err
	})
	if err != nil {
		return nil, putError(err)
	}
	return &batches{reader: reader, stream: g}, nil
}

// giveUp ends the call whose attempt has ended while its client may keep silent:
// aborted, or its files cannot be stored. A client that is gone ends Recv itself.
func (g *guardedStream) giveUp(attempt context.Context) {
	if g.call.Err() != nil {
		return
	}
	select {
	case g.quit <- context.Cause(attempt):
	default: // it has ended already
	}
}

// Recv implements flight.DataStreamReader.
func (g *guardedStream) Recv() (*flight.FlightData, error) {
	data, err := g.next()
	if err != nil {
		return nil, err
	}
	if g.layout == nil {
		layout, err := ipcguard.SchemaLayout(data.GetDataHeader())
		if err != nil {
			return nil, invalid("put", "schema: %w", err)
		}
		g.layout = layout
		return data, nil
	}
	if err := g.layout.Batch(data.GetDataHeader(), data.GetDataBody()); err != nil {
		return nil, invalid("put", "record batch: %w", err)
	}
	return data, nil
}

// next is the first message, and then the next one that has rows or says where they
// are.
func (g *guardedStream) next() (*flight.FlightData, error) {
	data := g.first
	g.first = nil
	for {
		switch {
		case data == nil:
		case g.layout == nil || len(data.GetDataHeader()) > 0:
			return data, nil
		case g.slots.offered && len(data.GetAppMetadata()) > 0:
			return g.slots.message(data.GetAppMetadata())
		}
		var err error
		if data, err = g.receive(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, io.EOF // the half-close: the only good end
			}
			return nil, brokenStream(err)
		}
	}
}

// Schema implements writer.Batches.
func (b *batches) Schema() *arrow.Schema { return b.reader.Schema() }

// Next implements writer.Batches: the batch lies in the memory of the message that
// it came in.
func (b *batches) Next(ctx context.Context) (rec arrow.RecordBatch, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { b.stream.giveUp(ctx) })()
	err = guard(func() error {
		var err error
		rec, err = b.reader.Read()
		if rec != nil {
			rec.Retain() // the reader releases its own at the next Read
		}
		return err
	})
	if err == nil || errors.Is(err, io.EOF) {
		return rec, err
	}
	return nil, putError(err)
}

func (b *batches) release() { b.reader.Release() }

// putError keeps our own errors and turns arrow-go's into "invalid".
func putError(err error) error {
	var ours *source.Error
	if errors.As(err, &ours) {
		if ours.Kind != source.KindInternal {
			return ours
		}
		return invalid("put", "the Arrow stream cannot be decoded")
	}
	if _, ok := grpcStatus(err); ok {
		return err
	}
	return invalid("put", "the Arrow stream cannot be decoded: %w", err)
}

// brokenStream says that the client did not half-close.
func brokenStream(err error) error {
	if errors.Is(err, io.EOF) {
		return invalid("put", "the stream is empty: a DoPut begins with a descriptor and a schema")
	}
	if _, ok := grpcStatus(err); ok {
		return err
	}
	return source.Errorf(source.KindCanceled, "put", "the stream broke before its end: %w", err).WithHint("nothing was staged")
}
