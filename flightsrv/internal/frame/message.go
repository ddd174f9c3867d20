package frame

import (
	"errors"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// Field numbers of arrow.flight.protocol.FlightData.
	fieldDescriptor = 1
	fieldDataHeader = 2
	fieldDataBody   = 1000

	// smallBuffer: Arrow buffers below this are copied into the side buffer.
	// Nested schemas have many of them, and a slice of its own costs more than
	// the copy.
	smallBuffer = 2 << 10
	// hookBytes is the least capacity for which gRPC keeps a buffer's pool.
	hookBytes = 1025
)

// Message is one FlightData message, marshalled. Make it with NewMessage, pass it
// to SendMsg, or Release it.
type Message struct {
	bufs mem.BufferSlice
	size int
	held *held
}

// NewMessage marshals a payload, which it takes over. It holds rec (nil for a
// schema message) until the bytes have left: arrow's encoder puts slices of a
// batch's buffers into the payload without a reference of their own.
func NewMessage(payload *ipc.Payload, rec arrow.RecordBatch) (*Message, error) {
	if rec != nil {
		rec.Retain()
	}
	held := &held{payload: payload, rec: rec}
	held.room = held.space[:0]
	m := &Message{held: held}
	body := collector{}
	if err := payload.SerializeBody(&body); err != nil {
		held.release()
		return nil, err
	}
	body.seal()
	meta := payload.Meta()
	head := protowire.AppendTag(make([]byte, 0, meta.Len()+32), fieldDataHeader, protowire.BytesType)
	head = protowire.AppendBytes(head, meta.Bytes())
	meta.Release()
	if body.size > 0 {
		head = protowire.AppendTag(head, fieldDataBody, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(body.size))
	}
	m.size = len(head) + body.size
	m.bufs = append(mem.BufferSlice{mem.SliceBuffer(head)}, body.pieces...)
	// An empty last buffer, so that its pool hears when everything before it has
	// been written or dropped.
	m.bufs = append(m.bufs, mem.NewBuffer(&held.room, held))
	return m, nil
}

// Len is the number of bytes that the message has on the wire.
func (m *Message) Len() int { return m.size }

// Release drops a message that was not sent; after SendMsg it does nothing.
func (m *Message) Release() {
	if bufs, err := m.take(); err == nil {
		bufs.Free()
	}
}

// take passes the buffers, and the duty to free them, to the caller, once.
func (m *Message) take() (mem.BufferSlice, error) {
	if m.bufs == nil {
		return nil, errors.New("a frame is sent once")
	}
	bufs := m.bufs
	m.bufs = nil
	return bufs, nil
}

// held is what a message keeps alive. It poses as the pool of the message's last
// buffer: gRPC puts the buffer back when the last reference to it is gone.
type held struct {
	once    sync.Once
	payload *ipc.Payload
	rec     arrow.RecordBatch
	space   [hookBytes]byte
	room    []byte // = space[:0]: nothing of it is sent
}

// Get implements mem.BufferPool; nobody asks.
func (h *held) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool: the message has left.
func (h *held) Put(*[]byte) { h.release() }

func (h *held) release() {
	h.once.Do(func() {
		h.payload.Release()
		if h.rec != nil {
			h.rec.Release()
		}
	})
}

// collector keeps what is written to it: large slices as they are, small ones
// and padding side by side in a buffer.
type collector struct {
	pieces mem.BufferSlice
	side   []byte
	size   int
}

// Write implements io.Writer over Arrow buffers that live as long as the payload.
func (c *collector) Write(p []byte) (int, error) {
	c.size += len(p)
	if len(p) < smallBuffer {
		c.side = append(c.side, p...)
		return len(p), nil
	}
	c.seal()
	c.pieces = append(c.pieces, mem.SliceBuffer(p))
	return len(p), nil
}

// seal ends the side buffer; what follows goes into a new one.
func (c *collector) seal() {
	if len(c.side) > 0 {
		c.pieces = append(c.pieces, mem.SliceBuffer(c.side))
		c.side = nil
	}
}
