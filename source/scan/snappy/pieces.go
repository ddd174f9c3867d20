package snappy

import (
	"encoding/binary"
	"errors"
)

// ErrFar says that a copy reaches behind what is left of the earlier output. The reference encoder cuts its input into fragments of
// 64 KiB and makes no such copies, but the format has them and some encoders use them. Decode inflates such blocks.
var ErrFar = errors.New("a snappy copy reaches further back than the output that is kept")

// History is how much of its output a caller of Next keeps.
const History = 64 << 10

// Pieces inflates a block from pieces of it into pieces of output, for blocks too large to be held in one. The zero value is in front of
// the elements, behind the block's claim of its length, which is the caller's to read and to hold it to.
type Pieces struct {
	literal int   // bytes left of the literal under way
	dropped int64 // bytes of output that were made and are not kept
}

// Next inflates elements from the beginning of src to dst[o:], in front of which lies what was made before. It returns how far it came in
// both: it stops where dst has no room for the next element, or src does not have all of it.
func (p *Pieces) Next(dst []byte, o int, src []byte) (nextO, taken int, err error) {
	i := 0
	for {
		if p.literal > 0 {
			n := copy(dst[o:], src[i:min(len(src), i+p.literal)])
			o, i, p.literal = o+n, i+n, p.literal-n
		}
		if p.literal > 0 {
			return o, i, nil
		}
		if o, i = hurry(dst, src, o, i); i == len(src) {
			return o, i, nil
		}
		if src[i]&3 == 0 {
			n, size := literalLength(src[i:])
			if n == 0 {
				return o, i, nil
			}
			p.literal, i = size, i+n
			continue
		}
		n, off, size := copyElement(src[i:])
		switch {
		case n == 0, size > len(dst)-o:
			return o, i, nil
		case off > o && int64(off) <= int64(o)+p.dropped:
			return o, i, ErrFar
		case off <= 0 || off > o:
			return o, i, ErrCorrupt
		}
		for end := o + size; o < end; {
			o += copy(dst[o:end], dst[o-off:o])
		}
		i += n
	}
}

// Drop tells that n more bytes of output are not kept: dst[0] was made after them.
func (p *Pieces) Drop(n int) { p.dropped += int64(n) }

// literalLength is how many bytes in front of a literal's own there are, 0 if src ends before, and how many those are.
func literalLength(src []byte) (n, size int) {
	size = int(src[0] >> 2)
	if size < 60 {
		return 1, size + 1
	}
	k := size - 59
	if len(src) < 1+k {
		return 0, 0
	}
	size = 0
	for j := k; j >= 1; j-- {
		size = size<<8 | int(src[j])
	}
	return 1 + k, size + 1
}

// copyElement is how many bytes the copy at src takes, 0 if src ends before, from how far back it copies, and how many bytes.
func copyElement(src []byte) (n, off, size int) {
	tag := src[0]
	n = [4]int{0, 2, 3, 5}[tag&3]
	if len(src) < n {
		return 0, 0, 0
	}
	switch n {
	case 2:
		return n, int(tag>>5)<<8 | int(src[1]), int(tag>>2)&7 + 4
	case 3:
		return n, int(binary.LittleEndian.Uint16(src[1:])), int(tag>>2) + 1
	}
	return n, int(binary.LittleEndian.Uint32(src[1:])), int(tag>>2) + 1
}
