package flightsrv

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/hubflight/hubflight/flightsrv/internal/sharedmem"
	"github.com/hubflight/hubflight/flightsrv/internal/strictjson"
	"github.com/hubflight/hubflight/source/scan"
)

const (
	// headerSharedMemory is on a DoGet how many bytes of batches its client would
	// rather have through the connection before it attaches a segment (the memory of
	// one has to be found and cleared: a short stream is over sooner), and on a DoPut
	// the announcement of the client's own.
	headerSharedMemory = "x-hubflight-shared-memory"

	slotsOfRead = 4
	slotPage    = 4096
	maxPlace    = 1 << 10 // bytes of an announcement or a place
)

// mayShare reports whether a call's peer is a process of this machine, and what it
// says about shared memory; "" is nothing.
func (s *Server) mayShare(ctx context.Context) string {
	if s.limits.NoSharedMemory {
		return ""
	}
	if p, ok := peer.FromContext(ctx); !ok || p.LocalAddr == nil || p.LocalAddr.Network() != "unix" {
		return ""
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(headerSharedMemory); len(v) == 1 {
		return v[0]
	}
	return ""
}

// slotsWanted is the segment that a DoGet's client would attach. The zero value is
// none: its batches pass the connection.
type slotsWanted struct {
	bytes int64 // of a slot
	after int64 // bytes of batches that pass the connection first
}

// wantsSlots says whether what a DoGet reads can lie in a segment, and in which.
func (s *Server) wantsSlots(ctx context.Context, compression string, schema *arrow.Schema, q scan.Query) (want slotsWanted) {
	after, err := strconv.ParseUint(s.mayShare(ctx), 10, 62)
	if err != nil || len(ipcOptions(compression)) > 0 {
		return want
	}
	for _, f := range schema.Fields() {
		if hasDictionary(f.Type) {
			return want // its values are messages of their own
		}
	}
	return slotsWanted{bytes: (2*q.BatchSize() + slotPage - 1) / slotPage * slotPage, after: int64(after)}
}

func hasDictionary(t arrow.DataType) bool {
	if t.ID() == arrow.DICTIONARY {
		return true
	}
	if nested, ok := t.(arrow.NestedType); ok {
		for _, f := range nested.Fields() {
			if hasDictionary(f.Type) {
				return true
			}
		}
	}
	return false
}

// share makes a segment for the batches that out sends, and announces it. Where there
// is no memory for one, or it cannot be made, nothing happens. leave, which is never
// nil, ends it. The slots are twice what a batch should have, and take memory as they
// are touched: half of them is what is leased.
func (s *Server) share(out *batchSender, slotBytes int64) (leave func(), err error) {
	release, ok := s.memory.tryLease(slotsOfRead * slotBytes / 2)
	if !ok {
		return nothing, nil
	}
	slots := s.newSlots(slotBytes)
	if slots == nil {
		return release, nil
	}
	leave = func() {
		if err := slots.Close(); err != nil {
			s.log.Warn("close shared memory", "error", err)
		}
		release()
	}
	out.slots = slots
	return leave, out.tell(struct {
		Segment sharedmem.Announcement `json:"segment"`
	}{slots.Announcement()})
}

// newSlots is nil where there is no shared memory.
func (s *Server) newSlots(slotBytes int64) *sharedmem.Sender {
	slots, err := sharedmem.New(slotsOfRead, int(slotBytes))
	if err != nil {
		s.log.Debug("no shared memory", "error", err)
		return nil
	}
	return slots
}

// put copies a batch into a slot; ok is false when there is none for it. To wait for
// one is to wait for the client.
func (b *batchSender) put(ctx context.Context, payload *ipc.Payload) (place sharedmem.Place, ok bool) {
	_ = b.wait(func() error { place, ok = b.slots.Put(ctx, payload); return nil })
	return place, ok
}

// tell sends a message that holds no rows but says where they are.
func (b *batchSender) tell(body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return b.wait(func() error { return b.stream.SendMsg(&flight.FlightData{AppMetadata: raw}) })
}

// inSlots is what a DoPut's client has in shared memory. The zero value is none.
type inSlots struct {
	offered  bool // messages without rows may name a place
	receiver *sharedmem.Receiver
	held     []int
}

// attach maps the segment that a DoPut's client offers. A client sees that it was not,
// and sends everything through the connection.
func (s *Server) attach(ctx context.Context) (in inSlots) {
	offer := s.mayShare(ctx)
	if offer == "" {
		return in
	}
	in.offered = true
	var a sharedmem.Announcement
	err := strictjson.Decode([]byte(offer), maxPlace, &a)
	if err == nil {
		in.receiver, err = sharedmem.Attach(a, int64(s.limits.MaxMessage))
	}
	if err != nil {
		s.log.Debug("no shared memory", "error", err)
	}
	return in
}

// message is the batch that lies at an announced place, as if it had come through the
// connection: good until giveBack.
func (in *inSlots) message(told []byte) (*flight.FlightData, error) {
	var place sharedmem.Place
	if err := strictjson.Decode(told, maxPlace, &place); err != nil {
		return nil, invalid("put", "shared memory: %w", err)
	}
	if in.receiver == nil {
		return nil, invalid("put", "shared memory: a batch lies in a segment that was not attached")
	}
	meta, body, err := in.receiver.Message(place)
	if err != nil {
		return nil, invalid("put", "shared memory: %w", err)
	}
	in.held = append(in.held, place.Slot)
	return &flight.FlightData{DataHeader: meta, DataBody: body}, nil
}

func (in *inSlots) giveBack() {
	for _, slot := range in.held {
		in.receiver.Free(slot)
	}
	in.held = in.held[:0]
}

func (in *inSlots) close() {
	if in.receiver != nil {
		_ = in.receiver.Close() // memory that nobody refers to any more
	}
}
