package column

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// spread moves n dense values of width bytes at the front of data to the slots whose bits are set, in place, from the back: a value's
// slot is never before its place. Null slots become zero.
func spread(data []byte, width int, validity *memory.Buffer, slots, n int) {
	if validity == nil {
		return
	}
	switch width {
	case 1:
		spreadWords(data[:slots], validity.Bytes(), n)
	case 2:
		spreadWords(arrow.GetData[uint16](data[:2*slots]), validity.Bytes(), n)
	case 4:
		spreadWords(arrow.GetData[uint32](data[:4*slots]), validity.Bytes(), n)
	case 8:
		spreadWords(arrow.GetData[uint64](data[:8*slots]), validity.Bytes(), n)
	default:
		spreadBytes(data, width, validity.Bytes(), slots, n)
	}
}

// spreadWords is spread for one slot an element. From the back, 64 slots at a time: they move as one where there is no null among them;
// otherwise each slot takes the last value and keeps it or masks it away, without a branch. What a slot overwrites has been moved already.
func spreadWords[T uint8 | uint16 | uint32 | uint64](data []T, validity []byte, n int) {
	i := len(data)
	if i&63 != 0 {
		from := i &^ 63
		n = spreadBlock(data, from, i, lastWord(validity, from>>3), n)
		i = from
	}
	for ; i > 0 && n < i; i -= 64 {
		word := binary.LittleEndian.Uint64(validity[i>>3-8:])
		switch word {
		case math.MaxUint64:
			n -= 64
			copy(data[i-64:i], data[n:n+64])
		case 0:
			clear(data[i-64 : i])
		default:
			n = spreadBlock(data, i-64, i, word, n)
		}
	}
}

// spreadBlock fills the slots [from, to), at most 64 whose bits word has, from the values before n, and returns where the rest end.
func spreadBlock[T uint8 | uint16 | uint32 | uint64](data []T, from, to int, word uint64, n int) int {
	word <<= 64 - uint(to-from)
	block := data[from:to]
	at := n - 1
	for j := len(block) - 1; j >= 0; j-- {
		bit := word >> 63
		word <<= 1
		// Without values left the first one is read, and masked away.
		block[j] = data[at&^(at>>63)] & -T(bit)
		at -= int(bit)
	}
	return at + 1
}

// lastWord is the validity from a byte on, which may be fewer than eight.
func lastWord(validity []byte, at int) uint64 {
	var word uint64
	for i, b := range validity[at:min(len(validity), at+8)] {
		word |= uint64(b) << (8 * i)
	}
	return word
}

// spreadBytes is spread for any width.
func spreadBytes(data []byte, width int, validity []byte, slots, n int) {
	for i := slots; i > 0 && n < i; i-- {
		slot := data[(i-1)*width : i*width]
		if validity[(i-1)>>3]>>((i-1)&7)&1 == 0 {
			clear(slot)
			continue
		}
		n--
		copy(slot, data[n*width:(n+1)*width])
	}
}

// spreadOffsets moves n end offsets at offsets[1:] to their slots; a null ends where it starts.
func spreadOffsets(offsets []int32, validity []byte, slots, n int) {
	for i := slots; i > 0 && n < i; i-- {
		offsets[i] = offsets[n]
		n -= int(validity[(i-1)>>3]>>((i-1)&7)) & 1
	}
}

// spreadBits moves n dense bits to their slots.
func spreadBits(data, validity []byte, slots, n int) {
	for i := slots; i > 0 && n < i; i-- {
		bit := byte(0)
		if validity[(i-1)>>3]>>((i-1)&7)&1 != 0 {
			n--
			bit = data[n>>3] >> (n & 7) & 1
		}
		p := &data[(i-1)>>3]
		*p = *p&^(1<<((i-1)&7)) | bit<<((i-1)&7)
	}
}

// putBits appends k bits of src from bit at on to dst, which is zero from bit to on.
func putBits(dst []byte, to int, src []byte, at, k int) {
	for k > 0 {
		m := min(k, 56)
		word := loadBits(src, at) & (1<<m - 1)
		q := dst[to>>3:]
		binary.LittleEndian.PutUint64(q, binary.LittleEndian.Uint64(q)|word<<(to&7))
		at, to, k = at+m, to+m, k-m
	}
}
