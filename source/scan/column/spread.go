package column

import (
	"encoding/binary"
	"math/bits"

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

// spreadWords is spread for one slot an element. From the back, a byte of validity at a time: eight values move at once where there is no
// null among them, otherwise a value is taken and kept or masked away without a branch.
func spreadWords[T uint8 | uint16 | uint32 | uint64](data []T, validity []byte, n int) {
	i := len(data)
	for ; i&7 != 0 && n < i; i-- {
		if validity[(i-1)>>3]>>((i-1)&7)&1 == 0 {
			data[i-1] = 0
			continue
		}
		n--
		data[i-1] = data[n]
	}
	for i > 0 && n < i {
		b := validity[i>>3-1]
		i -= 8
		if b == 0xff {
			n -= 8
			copy(data[i:i+8], data[n:n+8])
			continue
		}
		k := bits.OnesCount8(b)
		if k == 0 {
			clear(data[i : i+8])
			continue
		}
		n -= k
		// The block is read before it is written: the values of these slots may lie among them.
		var from [8]T
		copy(from[:], data[n:n+k])
		block := data[i : i+8 : i+8]
		at := 0
		for j := range 8 {
			bit := int(b>>j) & 1
			block[j] = from[at&7] & -T(bit)
			at += bit
		}
	}
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
