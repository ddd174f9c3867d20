package sharedmem

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Receiver takes batches from the slots of a segment that somebody else has made.
// Make it with Attach, end it with Close.
type Receiver struct {
	segment
	held [maxSlots]bool // announced, and not given back yet
}

// Message is the record batch message at a place: a copy of its metadata, which
// nobody changes after it has been checked, and its body where it lies, good until
// Free of the slot. The errors say what is wrong with the place or the prefix.
func (r *Receiver) Message(p Place) (meta, body []byte, err error) {
	if p.Slot < 0 || p.Slot >= r.slots {
		return nil, nil, fmt.Errorf("slot %d is none of the segment's %d", p.Slot, r.slots)
	}
	size := int64(r.slotBytes)
	if p.Offset < 0 || p.Offset%8 != 0 || p.Offset > size || p.Length < prefixBytes || p.Length > size-p.Offset {
		return nil, nil, fmt.Errorf("%d bytes at offset %d do not lie in a slot of %d bytes", p.Length, p.Offset, size)
	}
	if r.held[p.Slot] || r.state(p.Slot).Load() != inUse {
		return nil, nil, fmt.Errorf("slot %d was announced and is not in use by a new batch", p.Slot)
	}
	raw := r.slot(p.Slot)[p.Offset : p.Offset+p.Length : p.Offset+p.Length]
	mark, n := binary.LittleEndian.Uint32(raw), int64(binary.LittleEndian.Uint32(raw[4:]))
	if mark != continuation || n == 0 || n%8 != 0 || n > p.Length-prefixBytes {
		return nil, nil, fmt.Errorf("slot %d does not begin with the metadata of a message", p.Slot)
	}
	r.held[p.Slot] = true
	return bytes.Clone(raw[prefixBytes : prefixBytes+n]), raw[prefixBytes+n:], nil
}

// Free gives a slot back to the sender. Slots that Message has not given out are
// left alone.
func (r *Receiver) Free(slot int) {
	if slot < 0 || slot >= r.slots || !r.held[slot] {
		return
	}
	r.held[slot] = false
	r.state(slot).Store(free)
}
