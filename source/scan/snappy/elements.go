//go:build amd64 || arm64

package snappy

import "unsafe"

// slop is how far the fast loop may reach past the beginning of an element: 64
// bytes at once, and 16 more where a copy repeats what it makes.
const slop = 80

// long in place of a length sends an element to the careful decoder.
const long = 255

// table tells what a tag means: bits 0–7 the bytes that the element takes, 8–15
// those that it makes, 16–31 the offset without its low bytes, 32–63 a mask for
// the low bytes, which follow the tag. A literal has the offset slop, which
// passes every check.
var table = func() (t [256]uint64) {
	for tag := range t {
		var n, base, mask, step uint64
		switch n = uint64(tag>>2) + 1; tag & 3 {
		case 0:
			base, step = slop, n+1
			if n > 60 {
				n = long
			}
		case 1:
			n, base, mask, step = uint64(tag>>2)&7+4, uint64(tag>>5)<<8, 0xff, 2
		case 2:
			mask, step = 0xffff, 3
		case 3:
			mask, step = 0xffffffff, 5
		}
		t[tag] = step | n<<8 | base<<16 | mask<<32
	}
	return t
}()

// elements decodes all of src into all of dst.
func elements(dst, src []byte) error {
	o, i := 0, 0
	for i < len(src) {
		o, i = hurry(dst, src, o, i)
		var ok bool
		if o, i, ok = element(dst, src, o, i); !ok {
			return ErrCorrupt
		}
	}
	if o != len(dst) {
		return ErrCorrupt
	}
	return nil
}

// hurry decodes the elements that the fast loop can, which may be none.
func hurry(dst, src []byte, o, i int) (nextO, nextI int) {
	if o >= slop && len(dst)-o > slop && len(src)-i > slop+5 {
		return fast(dst, src, o, i)
	}
	return o, i
}

// fast decodes elements as long as both ends are more than slop away, and stops
// in front of the first that is not plain: a long literal, or something wrong.
// o is at least slop, so that a literal's made-up offset is within the output.
//
// The source of a literal lies in src, that of a copy in dst. Both are expressed
// as distances from the start of dst, so that one integer is selected, not one of
// two pointers: the compiler makes a branch of the latter. Hence nocheckptr: the
// sum does point into one of the two, but the checker only knows the first. The
// distance must not change while the loop runs, even if one of the two lies on the
// stack: nothing in it may make the stack grow, hence nosplit below.
//
//go:nocheckptr
func fast(dst, src []byte, o, i int) (nextO, nextI int) {
	d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	apart := uint64(uintptr(s)) - uint64(uintptr(d))
	op, ip := uint64(o), uint64(i)
	endO, endI := uint64(len(dst)-slop), uint64(len(src)-slop-5)
	for op < endO && ip < endI {
		p := unsafe.Add(s, ip)
		tag := uint64(*(*uint8)(p))
		e := table[tag]
		n := e >> 8 & 0xff
		off := e>>16&0xffff + uint64(*(*uint32)(unsafe.Add(p, 1)))&(e>>32)
		if off > op || n == long {
			break
		}
		isLiteral := uint64(int64(tag&3-1) >> 63) // all ones, or zero
		fromCopy, fromLiteral := op-off, ip+1+apart
		from := unsafe.Add(d, fromCopy^(fromCopy^fromLiteral)&isLiteral)
		to := unsafe.Add(d, op)
		if off < n {
			if off == 0 {
				break
			}
			repeat(from, off, off+n)
		} else {
			move32(to, from)
			if n > 32 {
				move32(unsafe.Add(to, 32), unsafe.Add(from, 32))
			}
		}
		op += n
		ip += e & 0xff
	}
	return int(op), int(ip)
}

// repeat continues the off bytes at from until there are end of them. The known
// part doubles until it is 16 bytes long, and is then moved on as a whole.
//
//go:nosplit
func repeat(from unsafe.Pointer, off, end uint64) {
	known := off
	for known < 16 && known < end {
		move16(unsafe.Add(from, known), from)
		known *= 2
	}
	for at := known; at < end; at += 16 {
		move16(unsafe.Add(from, at), unsafe.Add(from, at-known))
	}
}

func move16(to, from unsafe.Pointer) { *(*[16]byte)(to) = *(*[16]byte)(from) }

// move32 copies 32 bytes in two steps of 16, in this order: of an overlapping
// source only bytes beyond the element's length may be lost.
func move32(to, from unsafe.Pointer) {
	move16(to, from)
	move16(unsafe.Add(to, 16), unsafe.Add(from, 16))
}
