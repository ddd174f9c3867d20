package column

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// bitmap collects validity bits. As long as all are ones nothing is stored: most columns have no nulls.
type bitmap struct {
	mem   memory.Allocator
	buf   *memory.Buffer // nil until the first zero
	n     int
	zeros int
	hint  int // bits that are expected
}

func (b *bitmap) reset(hint int) {
	b.release()
	b.n, b.zeros, b.hint = 0, 0, hint
}

func (b *bitmap) release() {
	if b.buf != nil {
		b.buf.Release()
		b.buf = nil
	}
}

// grow makes room for k more bits, all of them ones in the bytes that were not there before.
func (b *bitmap) grow(k int) []byte {
	need := (b.n+k+7)/8 + 8 // appendBits stores whole words
	if b.buf == nil {
		b.buf = memory.NewResizableBuffer(b.mem)
		b.buf.Reserve(max(need, b.hint/8+16))
		ones(b.buf.Buf())
	} else if old := b.buf.Cap(); need > old {
		b.buf.Reserve(max(need, 2*old))
		ones(b.buf.Buf()[old:])
	}
	return b.buf.Buf()
}

func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

func (b *bitmap) appendOnes(k int) {
	if b.buf != nil {
		b.grow(k)
	}
	b.n += k
}

func (b *bitmap) appendZeros(k int) {
	if k == 0 {
		return
	}
	p := b.grow(k)
	b.zeros += k
	clearBits(p, b.n, k)
	b.n += k
}

// appendBits appends k bits of src from bit at on, and returns how many are ones.
func (b *bitmap) appendBits(src []byte, at, k int) int {
	set := 0
	for k > 0 {
		m := min(k, 56)
		word := loadBits(src, at) & (1<<m - 1)
		set += b.appendWord(word, m)
		at += m
		k -= m
	}
	return set
}

// appendWord appends the lowest m ≤ 57 bits of word, whose other bits are zero, and returns how many are ones.
func (b *bitmap) appendWord(word uint64, m int) int {
	set := bits.OnesCount64(word)
	if set == m {
		b.appendOnes(m)
		return set
	}
	p := b.grow(m)
	b.zeros += m - set
	q := p[b.n>>3:]
	// What lies behind n is ones, so only the zeros are written.
	old := binary.LittleEndian.Uint64(q)
	binary.LittleEndian.PutUint64(q, old&^((^word&(1<<m-1))<<(b.n&7)))
	b.n += m
	return set
}

// finish gives the bitmap away: nil if there are no zeros. Padding bits are zero.
func (b *bitmap) finish() (*memory.Buffer, int) {
	buf, zeros := b.buf, b.zeros
	b.buf = nil
	if buf == nil {
		return nil, 0
	}
	if zeros == 0 {
		buf.Release()
		return nil, 0
	}
	size := (b.n + 7) / 8
	if b.n&7 != 0 {
		buf.Buf()[size-1] &= 1<<(b.n&7) - 1
	}
	clear(buf.Buf()[size:min(buf.Cap(), size+64)])
	buf.ResizeNoShrink(size)
	return buf, zeros
}

// loadBits is 56 or more bits of p from bit at on; beyond the end they are zero.
func loadBits(p []byte, at int) uint64 {
	i := at >> 3
	if i+8 <= len(p) {
		return binary.LittleEndian.Uint64(p[i:]) >> (at & 7)
	}
	var word uint64
	for j := 0; i+j < len(p) && j < 8; j++ {
		word |= uint64(p[i+j]) << (8 * j)
	}
	return word >> (at & 7)
}

// countBits counts the ones among k bits of p from bit at on.
func countBits(p []byte, at, k int) int {
	set := 0
	for k > 0 {
		m := min(k, 56)
		set += bits.OnesCount64(loadBits(p, at) & (1<<m - 1))
		at += m
		k -= m
	}
	return set
}

// clearBits zeroes k bits of p from bit at on.
func clearBits(p []byte, at, k int) {
	for k > 0 && at&7 != 0 {
		p[at>>3] &^= 1 << (at & 7)
		at++
		k--
	}
	clear(p[at>>3 : at>>3+k>>3])
	at, k = at+k&^7, k&7
	if k > 0 {
		p[at>>3] &^= 1<<k - 1
	}
}
