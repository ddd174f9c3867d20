package sharedmem

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
)

const (
	// A receiver that is at work gives slots back within microseconds to
	// milliseconds. One that keeps what it gets would never, and costs patience once.
	firstPause = 50 * time.Microsecond
	longPause  = time.Millisecond
	patience   = 50 * time.Millisecond

	// bodyAlignment is that of a batch's first buffer: vector instructions like it.
	bodyAlignment = 64
	prefixBytes   = 8 // a continuation mark and the metadata's length
	continuation  = 0xFFFFFFFF
)

// Sender puts batches into the slots of a segment. Make it with New, end it with
// Close.
type Sender struct {
	segment
	announced Announcement
	hopeless  bool          // the last wait for a slot was in vain
	reserved  [maxSlots]int // bytes of each slot that certainly have memory
}

// Announcement is what the other side attaches with, for as long as the Sender is
// not closed.
func (s *Sender) Announcement() Announcement { return s.announced }

// Attached reports whether the other side has verified the segment.
func (s *Sender) Attached() bool { return s.word(atAttached).Load() == 1 }

// Put copies one record batch message into a slot, for which it waits a little. ok
// is false when nobody has attached, no slot is free or none is large enough, or ctx
// has ended: the batch is then sent as ever. The payload stays the caller's.
func (s *Sender) Put(ctx context.Context, payload *ipc.Payload) (place Place, ok bool) {
	if !s.Attached() {
		return Place{}, false
	}
	var body counter
	if err := payload.SerializeBody(&body); err != nil {
		return Place{}, false
	}
	meta := payload.Meta()
	defer meta.Release()
	head := prefixBytes + (meta.Len()+7)/8*8
	offset := (bodyAlignment - head%bodyAlignment) % bodyAlignment
	if offset+head+int(body) > s.slotBytes {
		return Place{}, false
	}
	i, ok := s.wait(ctx)
	if !ok || !s.reserve(i, offset+head+int(body)) {
		return Place{}, false
	}
	to := s.slot(i)[offset:]
	binary.LittleEndian.PutUint32(to, continuation)
	binary.LittleEndian.PutUint32(to[4:], uint32(head-prefixBytes))
	clear(to[prefixBytes+copy(to[prefixBytes:head], meta.Bytes()) : head])
	if err := payload.SerializeBody(&copier{to[head : head+int(body)]}); err != nil {
		return Place{}, false // the slot stays free
	}
	s.state(i).Store(inUse)
	return Place{Slot: i, Offset: int64(offset), Length: int64(head + int(body))}, true
}

// wait finds a free slot. After a wait that came to nothing there is none until a
// slot is found free.
func (s *Sender) wait(ctx context.Context) (slot int, ok bool) {
	if slot, ok = s.find(); ok || s.hopeless {
		s.hopeless = !ok
		return slot, ok
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-end.C:
			again.Stop()
			s.hopeless = true
			return 0, false
		case <-ctx.Done():
			again.Stop()
			return 0, false
		}
		if slot, ok = s.find(); ok {
			return slot, true
		}
	}
}

// find prefers the first slots: a receiver that keeps up needs few, whose memory is
// there and in the processor's caches.
func (s *Sender) find() (slot int, ok bool) {
	for i := range s.slots {
		if s.state(i).Load() == free {
			return i, true
		}
	}
	return 0, false
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// copier writes into memory that was measured before.
type copier struct{ to []byte }

func (c *copier) Write(p []byte) (int, error) {
	c.to = c.to[copy(c.to[:len(p)], p):]
	return len(p), nil
}
