package sharedmem

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// The control page, and what follows from it. Numbers are little endian.
const (
	pageBytes   = 4096
	magic       = "hubfshm1"
	nonceBytes  = 16
	atNonce     = 8
	atSlots     = 24 // u32
	atSlotBytes = 28 // u32
	atAttached  = 64 // u32: 1 when the other side has verified all of the above
	atStates    = 128
	stateStride = 64 // a cache line for each slot's word

	// maxSlots is what the control page has words for.
	maxSlots = (pageBytes - atStates) / stateStride
)

// The states of a slot.
const (
	free  = 0
	inUse = 1
)

// Announcement tells the other side where a segment is.
type Announcement struct {
	PID   int    `json:"pid"`
	FD    int    `json:"fd"`
	Size  int64  `json:"size"`  // of the whole segment in bytes
	Nonce string `json:"nonce"` // 32 hexadecimal digits
}

// Place is where in a segment one record batch message lies. Offset is relative to
// the slot's beginning, a multiple of 8; Length includes the message's prefix.
type Place struct {
	Slot   int   `json:"slot"`
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// segment is a mapped segment with its measures as they were when it was verified:
// they are never read from the memory again.
type segment struct {
	mem       []byte
	slots     int
	slotBytes int
}

func segmentBytes(slots, slotBytes int) int64 { return pageBytes + int64(slots)*int64(slotBytes) }

// word is one of the control words that both processes use.
func (s *segment) word(at int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&s.mem[at])) // aligned: the mapping is to a page, at to 4
}

func (s *segment) state(slot int) *atomic.Uint32 { return s.word(atStates + stateStride*slot) }

func (s *segment) slot(i int) []byte {
	at := pageBytes + i*s.slotBytes
	return s.mem[at : at+s.slotBytes : at+s.slotBytes]
}

// describe fills in the control page of a new segment.
func (s *segment) describe(nonce []byte) {
	copy(s.mem, magic)
	copy(s.mem[atNonce:], nonce)
	binary.LittleEndian.PutUint32(s.mem[atSlots:], uint32(s.slots))
	binary.LittleEndian.PutUint32(s.mem[atSlotBytes:], uint32(s.slotBytes))
}

// verify reads the control page of a segment that somebody else has made, and takes
// its measures down.
func (s *segment) verify(a Announcement) error {
	nonce, err := hex.DecodeString(a.Nonce)
	if err != nil || len(nonce) != nonceBytes {
		return fmt.Errorf("the nonce is not %d hexadecimal digits", 2*nonceBytes)
	}
	if string(s.mem[:len(magic)]) != magic || string(s.mem[atNonce:atNonce+nonceBytes]) != string(nonce) {
		return fmt.Errorf("the memory is not the segment that was announced")
	}
	slots, slotBytes := binary.LittleEndian.Uint32(s.mem[atSlots:]), binary.LittleEndian.Uint32(s.mem[atSlotBytes:])
	if slots == 0 || slots > maxSlots || slotBytes == 0 || slotBytes%pageBytes != 0 || segmentBytes(int(slots), int(slotBytes)) != int64(len(s.mem)) {
		return fmt.Errorf("%d slots of %d bytes do not make a segment of %d bytes", slots, slotBytes, len(s.mem))
	}
	s.slots, s.slotBytes = int(slots), int(slotBytes)
	return nil
}
