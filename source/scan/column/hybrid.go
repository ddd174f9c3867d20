package column

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/parquet-go/bitpack"
)

var (
	errRunEnd   = errors.New("a run goes past the end of its data")
	errRunValue = errors.New("a run's value is out of range")
	errRunCount = errors.New("a run of no values")
)

// hybrid reads the RLE/bit-packing hybrid incrementally. Between calls it stands inside a run: left values of it remain, all equal to
// value, or bit-packed in packed from bit on.
type hybrid struct {
	data   []byte // what follows the current run
	width  uint
	left   int
	rle    bool
	value  uint32
	packed []byte // of the current run; capacity may reach further
	bit    int
}

func (h *hybrid) reset(data []byte, width uint) {
	*h = hybrid{data: data, width: width}
}

// next makes a run current that has values left.
func (h *hybrid) next() error {
	for h.left == 0 {
		u, n := binary.Uvarint(h.data)
		if n <= 0 {
			return errRunEnd
		}
		h.data = h.data[n:]
		if u>>1 > 1<<40 {
			return errRunEnd
		}
		if u&1 == 0 {
			if err := h.startRLE(int(u >> 1)); err != nil {
				return err
			}
			continue
		}
		// Groups of 8 values of width bits are width bytes each. Some writers cut the last group short.
		groups := int(u >> 1)
		if groups == 0 {
			return errRunCount
		}
		size := groups * int(h.width)
		h.left = groups * 8
		if size > len(h.data) {
			size = len(h.data)
			h.left = size * 8 / int(max(h.width, 1))
			if h.left == 0 {
				return errRunEnd
			}
		}
		h.rle, h.packed, h.bit = false, h.data[:size], 0
		h.data = h.data[size:]
	}
	return nil
}

func (h *hybrid) startRLE(count int) error {
	size := int(h.width+7) / 8
	if len(h.data) < size {
		return errRunEnd
	}
	v := uint32(0)
	for i := range size {
		v |= uint32(h.data[i]) << (8 * i)
	}
	if h.width < 32 && v>>h.width != 0 {
		return errRunValue
	}
	h.data = h.data[size:]
	h.rle, h.value, h.left = true, v, count
	return nil
}

// skip passes n values.
func (h *hybrid) skip(n int) error {
	for n > 0 {
		if h.left == 0 {
			if err := h.next(); err != nil {
				return err
			}
		}
		k := min(n, h.left)
		h.pass(k)
		n -= k
	}
	return nil
}

// pass consumes k values of the current run.
func (h *hybrid) pass(k int) {
	h.left -= k
	if !h.rle {
		h.bit += k * int(h.width)
	}
}

// unpack decodes len(dst) values of the current bit-packed run, which has them.
func (h *hybrid) unpack(dst []uint32) {
	n := len(dst)
	h.left -= n
	width := int(h.width)
	if width == 0 {
		clear(dst)
		return
	}
	for len(dst) > 0 && h.bit&7 != 0 {
		dst[0] = bitsAt(h.packed, h.bit, h.width)
		h.bit += width
		dst = dst[1:]
	}
	if len(dst) == 0 {
		return
	}
	src := h.packed[h.bit>>3:]
	// The vector code reads whole words: it needs room behind what it decodes, but only capacity, not meaning.
	if need := (len(dst)*width+7)/8 + bitpack.PaddingInt32; len(dst) >= 8 && cap(src) >= need {
		bitpack.Unpack(dst, src[:need], h.width)
		h.bit += len(dst) * width
		return
	}
	for i := range dst {
		dst[i] = bitsAt(h.packed, h.bit, h.width)
		h.bit += width
	}
}

// bitsAt is the width-bit value at a bit position.
func bitsAt(data []byte, bit int, width uint) uint32 {
	at := bit >> 3
	if at+8 <= len(data) {
		return uint32(binary.LittleEndian.Uint64(data[at:])>>(bit&7)) & uint32(1<<width-1)
	}
	var word uint64
	for i := 0; at+i < len(data) && i < 8; i++ {
		word |= uint64(data[at+i]) << (8 * i)
	}
	return uint32(word>>(bit&7)) & uint32(1<<width-1)
}

// levelWidth is the number of bits of a level up to most.
func levelWidth(most int16) uint { return uint(bits.Len16(uint16(most))) }

// resetPacked reads the deprecated BIT_PACKED encoding of levels, which fills bytes from their highest bit. It is as rare as it is old:
// the bits are turned around, and read as one bit-packed run.
func (h *hybrid) resetPacked(data []byte, width uint) {
	n := 0
	if width > 0 {
		n = len(data) * 8 / int(width)
	}
	turned := make([]byte, len(data)+8)
	for i := range n {
		for b := range int(width) {
			from := i*int(width) + b
			if data[from>>3]>>(7-from&7)&1 != 0 {
				to := i*int(width) + int(width) - 1 - b
				turned[to>>3] |= 1 << (to & 7)
			}
		}
	}
	*h = hybrid{width: width, left: n, packed: turned}
}
