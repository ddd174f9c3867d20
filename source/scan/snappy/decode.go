package snappy

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt says that a block is not one, or not one of the expected length.
var ErrCorrupt = errors.New("corrupt snappy data")

// Decode inflates a block into all of dst. The block's own claim of its length
// must be len(dst). dst and block must not overlap.
func Decode(dst, block []byte) error {
	n, k := binary.Uvarint(block)
	if k <= 0 || n != uint64(len(dst)) {
		return ErrCorrupt
	}
	return elements(dst, block[k:])
}

// element decodes one element at src[i] to dst[o], checking everything, and
// returns the positions behind it; ok is false for a corrupt one.
func element(dst, src []byte, o, i int) (nextO, nextI int, ok bool) {
	tag := src[i]
	i++
	kind := tag & 3
	if kind == 0 {
		return literal(dst, src, o, i, int(tag>>2))
	}
	n, off := int(tag>>2)+1, 0
	extra := [4]int{0, 1, 2, 4}[kind]
	if len(src)-i < extra {
		return 0, 0, false
	}
	switch kind {
	case 1:
		n, off = int(tag>>2)&7+4, int(tag>>5)<<8|int(src[i])
	case 2:
		off = int(binary.LittleEndian.Uint16(src[i:]))
	case 3:
		off = int(binary.LittleEndian.Uint32(src[i:]))
	}
	if off <= 0 || off > o || n > len(dst)-o {
		return 0, 0, false
	}
	for end := o + n; o < end; { // a copy may overlap what it makes: then it repeats
		o += copy(dst[o:end], dst[o-off:o])
	}
	return o, i + extra, true
}

// literal decodes a literal whose tag says length; from 60 on the length follows
// in one to four bytes.
func literal(dst, src []byte, o, i, length int) (nextO, nextI int, ok bool) {
	if length >= 60 {
		k := length - 59
		if len(src)-i < k {
			return 0, 0, false
		}
		length = 0
		for j := k - 1; j >= 0; j-- {
			length = length<<8 | int(src[i+j])
		}
		i += k
	}
	n := length + 1
	if n > len(dst)-o || n > len(src)-i {
		return 0, 0, false
	}
	copy(dst[o:], src[i:i+n])
	return o + n, i + n, true
}
