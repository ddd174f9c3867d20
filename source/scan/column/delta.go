package column

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/bitpack"
)

var errDelta = errors.New("delta-encoded data go past their end")

// maxDeltaBlock bounds a block's values; writers use 128 or 256.
const maxDeltaBlock = 1 << 16

// deltaReader reads DELTA_BINARY_PACKED incrementally: a first value, then blocks of a least delta and miniblocks of bit-packed rests.
type deltaReader struct {
	data    []byte // behind what has been read
	stored  int    // 4 or 8: the arithmetic wraps at this width
	minis   int    // miniblocks a block
	perMini int    // values a miniblock

	left  int   // values not yet read
	last  int64 // the value before
	first bool  // last is still to be given out

	least    int64
	widths   []byte // of the block's miniblocks not yet begun
	packed   []byte // the current miniblock
	width    uint
	bit      int
	miniLeft int
}

// open reads the header and returns the number of values.
func (d *deltaReader) open(data []byte, stored int) (int, error) {
	*d = deltaReader{stored: stored}
	if len(data) == 0 {
		return 0, nil // no values at all
	}
	t := thriftReader{data: data}
	block, err1 := t.uvarint()
	minis, err2 := t.uvarint()
	count, err3 := t.uvarint()
	first, err4 := t.varint()
	switch {
	case err1 != nil || err2 != nil || err3 != nil || err4 != nil:
		return 0, errDelta
	case block == 0 || block > maxDeltaBlock || minis == 0 || minis > block || block%minis != 0 || block/minis%8 != 0:
		return 0, fmt.Errorf("delta blocks of %d values in %d miniblocks", block, minis)
	case count > 1<<31:
		return 0, fmt.Errorf("%d delta-encoded values", count)
	}
	d.data, d.minis, d.perMini = data[t.pos:], int(minis), int(block/minis)
	d.left, d.last, d.first = int(count), d.wrap(first), true
	return int(count), nil
}

func (d *deltaReader) wrap(v int64) int64 {
	if d.stored == 4 {
		return int64(int32(v))
	}
	return v
}

// begin makes a miniblock current.
func (d *deltaReader) begin() error {
	if len(d.widths) == 0 {
		least, n := binary.Uvarint(d.data)
		if n <= 0 || len(d.data)-n < d.minis {
			return errDelta
		}
		d.least = int64(least>>1) ^ -int64(least&1)
		d.widths, d.data = d.data[n:n+d.minis], d.data[n+d.minis:]
	}
	d.width = uint(d.widths[0])
	d.widths = d.widths[1:]
	if d.width > 64 {
		return fmt.Errorf("deltas of %d bits", d.width)
	}
	size := int(d.width) * d.perMini / 8
	if size > len(d.data) {
		// The last miniblock's padding may be missing.
		if need := (min(d.left, d.perMini)*int(d.width) + 7) / 8; need > len(d.data) {
			return errDelta
		}
		size = len(d.data)
	}
	d.packed, d.data = d.data[:size], d.data[size:]
	d.bit, d.miniLeft = 0, d.perMini
	return nil
}

// read fills dst with the next values.
func (d *deltaReader) read(dst []int64) error {
	if len(dst) > d.left {
		return errDelta
	}
	d.left -= len(dst)
	if d.first && len(dst) > 0 {
		dst[0], d.first = d.last, false
		dst = dst[1:]
	}
	for len(dst) > 0 {
		if d.miniLeft == 0 {
			d.left += len(dst)
			err := d.begin()
			d.left -= len(dst)
			if err != nil {
				return err
			}
		}
		k := min(len(dst), d.miniLeft)
		d.unpack(dst[:k])
		d.miniLeft -= k
		last, least := d.last, d.least
		if d.stored == 4 {
			for i, delta := range dst[:k] {
				last = int64(int32(last + least + delta))
				dst[i] = last
			}
		} else {
			for i, delta := range dst[:k] {
				last += least + delta
				dst[i] = last
			}
		}
		d.last = last
		dst = dst[k:]
	}
	return nil
}

// unpack decodes the next bit-packed rests of the miniblock.
func (d *deltaReader) unpack(dst []int64) {
	width := int(d.width)
	if width == 0 {
		clear(dst)
		return
	}
	src := d.packed[min(d.bit>>3, len(d.packed)):]
	need := (len(dst)*width+7)/8 + bitpack.PaddingInt64
	if d.bit&7 == 0 && len(dst) >= 8 && cap(src) >= need {
		bitpack.Unpack(dst, src[:need], d.width)
		d.bit += len(dst) * width
		return
	}
	for i := range dst {
		dst[i] = int64(wideBits(d.packed, d.bit, d.width))
		d.bit += width
	}
}

// wideBits is the value of up to 64 bits at a bit position.
func wideBits(p []byte, at int, width uint) uint64 {
	if width <= 56 {
		return loadBits(p, at) & (1<<width - 1)
	}
	low := loadBits(p, at) & (1<<32 - 1)
	return low | loadBits(p, at+32)&(1<<(width-32)-1)<<32
}

// skip passes n values.
func (d *deltaReader) skip(s *Scratch, n int) error {
	for n > 0 {
		k := min(n, blockValues)
		if err := d.read(s.deltas[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// deltaSize is the number of bytes of DELTA_BINARY_PACKED data at the front of data, which may hold at most most values.
func deltaSize(data []byte, stored, most int) (int, error) {
	var d deltaReader
	count, err := d.open(data, stored)
	if err != nil {
		return 0, err
	}
	if count > most {
		return 0, fmt.Errorf("%d delta-encoded values in a page of %d", count, most)
	}
	for d.left = max(count-1, 0); d.left > 0; d.left -= min(d.left, d.perMini) {
		if err := d.begin(); err != nil {
			return 0, err
		}
	}
	return len(data) - len(d.data), nil
}

// deltaBytes reads DELTA_BYTE_ARRAY: lengths of prefixes shared with the value before, then the suffixes as DELTA_LENGTH_BYTE_ARRAY.
type deltaBytes struct {
	prefix, suffix deltaReader
	data           []byte // suffixes
	prev           []byte // the value before; no longer than the page
	sizes          [2][128]int64
}

func (b *deltaBytes) open(data []byte, n int) error {
	b.prev, b.data = b.prev[:0], nil
	b.prefix, b.suffix = deltaReader{}, deltaReader{}
	if len(data) == 0 {
		return nil
	}
	size, err := deltaSize(data, 4, n)
	if err != nil {
		return err
	}
	if _, err := b.prefix.open(data[:size], 4); err != nil {
		return err
	}
	data = data[size:]
	if size, err = deltaSize(data, 4, n); err != nil {
		return err
	}
	if _, err := b.suffix.open(data[:size], 4); err != nil {
		return err
	}
	b.data = data[size:]
	return nil
}

// each calls do for the next n values, which is given the value before it is overwritten.
func (b *deltaBytes) each(n int, do func(value []byte) error) error {
	for n > 0 {
		k := min(n, len(b.sizes[0]))
		n -= k
		prefixes, suffixes := b.sizes[0][:k], b.sizes[1][:k]
		if err := b.prefix.read(prefixes); err != nil {
			return err
		}
		if err := b.suffix.read(suffixes); err != nil {
			return err
		}
		for i, p := range prefixes {
			q := suffixes[i]
			if p < 0 || p > int64(len(b.prev)) || q < 0 || q > int64(len(b.data)) {
				return errValuesEnd
			}
			b.prev = append(b.prev[:p], b.data[:q]...)
			b.data = b.data[q:]
			if err := do(b.prev); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *deltaBytes) take(v *values, s *sink, n int) error {
	stored := v.layout.stored
	if stored == 0 {
		return b.each(n, func(value []byte) error {
			if err := s.reserve(len(value)); err != nil {
				return err
			}
			copy(s.data.Buf()[s.used:], value)
			s.used += len(value)
			s.nextOffsets(1)[0] = int32(s.used)
			return nil
		})
	}
	return b.each(n, func(value []byte) error {
		if len(value) != stored {
			return fmt.Errorf("a value of %d bytes where all have %d", len(value), stored)
		}
		return s.store(value, 1)
	})
}

func (b *deltaBytes) skip(n int) error {
	return b.each(n, func([]byte) error { return nil })
}

// splitReader reads BYTE_STREAM_SPLIT: the first bytes of all values, then the second bytes, and so on.
type splitReader struct {
	data   []byte
	stored int
	count  int
	at     int
}

func (r *splitReader) open(data []byte, stored int) error {
	if len(data)%stored != 0 {
		return fmt.Errorf("%d bytes of split streams for values of %d", len(data), stored)
	}
	*r = splitReader{data: data, stored: stored, count: len(data) / stored}
	return nil
}

func (r *splitReader) skip(n int) error {
	if n > r.count-r.at {
		return errValuesEnd
	}
	r.at += n
	return nil
}

func (r *splitReader) take(scratch *Scratch, s *sink, n int) error {
	if n > r.count-r.at {
		return errValuesEnd
	}
	if s.convert == nil {
		r.join(s.next(n), n)
		return nil
	}
	for n > 0 {
		k := min(n, blockValues)
		n -= k
		raw := scratch.rawBlock(k * r.stored)
		r.join(raw, k)
		if err := s.store(raw, k); err != nil {
			return err
		}
	}
	return nil
}

// join puts the next n values together.
func (r *splitReader) join(dst []byte, n int) {
	stream := func(i int) []byte { return r.data[i*r.count+r.at:][:n] }
	switch r.stored {
	case 4:
		a, b, c, d := stream(0), stream(1), stream(2), stream(3)
		for i := range n {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(a[i])|uint32(b[i])<<8|uint32(c[i])<<16|uint32(d[i])<<24)
		}
	case 8:
		a, b, c, d, e, f, g, h := stream(0), stream(1), stream(2), stream(3), stream(4), stream(5), stream(6), stream(7)
		for i := range n {
			low := uint32(a[i]) | uint32(b[i])<<8 | uint32(c[i])<<16 | uint32(d[i])<<24
			high := uint32(e[i]) | uint32(f[i])<<8 | uint32(g[i])<<16 | uint32(h[i])<<24
			binary.LittleEndian.PutUint64(dst[8*i:], uint64(high)<<32|uint64(low))
		}
	default:
		for j := range r.stored {
			for i, b := range stream(j) {
				dst[i*r.stored+j] = b
			}
		}
	}
	r.at += n
}
