package column

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

var errIndex = errors.New("a dictionary index is outside the dictionary")

// dictionary is a chunk's dictionary page, ready for gathering: fixed-width values as the array wants them, byte arrays in the page's own
// bytes with a list of where they are.
type dictionary struct {
	n       int
	width   int
	fixed   []byte   // n × width
	entries []uint64 // offset<<32 | length of each byte array in body
	body    []byte   // slack bytes are readable behind the last value
	longest int

	mem   memory.Allocator
	owned [][]byte
}

func (d *dictionary) release() {
	for _, b := range d.owned {
		d.mem.Free(b)
	}
	*d = dictionary{}
}

func (d *dictionary) allocate(n int) []byte {
	b := d.mem.Allocate(n)
	d.owned = append(d.owned, b)
	return b
}

// newDictionary takes over body, the inflated page, which was allocated from mem with slack behind its length.
func newDictionary(l layout, mem memory.Allocator, block []byte, size int, n int64) (*dictionary, error) {
	d := &dictionary{mem: mem, owned: [][]byte{block}, width: l.width}
	least := int64(max(l.stored, 1))
	if l.stored == 0 {
		least = 4
	}
	if n > int64(size)/least {
		d.release()
		return nil, fmt.Errorf("%d dictionary entries in %d bytes", n, size)
	}
	d.n = int(n)
	body := block[:size]
	var err error
	switch {
	case l.shape == shapeNull:
	case l.stored == 0:
		clear(block[size:])
		err = d.index(block, size)
	case l.convert != nil:
		d.fixed = d.allocate(d.n*l.width + 1)[:d.n*l.width]
		err = l.convert(d.fixed, body, d.n)
	default:
		d.fixed = body[:d.n*l.width]
	}
	if err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// index finds the byte arrays.
func (d *dictionary) index(block []byte, size int) error {
	d.body = block
	d.entries = arrow.GetData[uint64](d.allocate(8*d.n + 8))[:d.n]
	at := 0
	for i := range d.entries {
		if size-at < 4 {
			return errValuesEnd
		}
		length := int(binary.LittleEndian.Uint32(block[at:]))
		if at += 4; length > size-at {
			return errValuesEnd
		}
		d.entries[i] = uint64(at)<<32 | uint64(length)
		d.longest = max(d.longest, length)
		at += length
	}
	return nil
}

// takeIndices appends the values of the next n dictionary indices.
func (v *values) takeIndices(s *sink, n int) error {
	d := v.dict
	for n > 0 {
		if v.runs.left == 0 {
			if err := v.runs.next(); err != nil {
				return err
			}
		}
		k := min(n, v.runs.left)
		if v.runs.rle {
			if int(v.runs.value) >= d.n {
				return errIndex
			}
			v.runs.pass(k)
			n -= k
			if err := d.repeat(s, v.runs.value, k, &v.scratch.indices); err != nil {
				return err
			}
			continue
		}
		k = min(k, blockValues)
		block := v.scratch.indices[:k]
		v.runs.unpack(block)
		n -= k
		if err := d.gather(s, block); err != nil {
			return err
		}
	}
	return nil
}

// repeat appends one entry k times.
func (d *dictionary) repeat(s *sink, entry uint32, k int, block *[blockValues]uint32) error {
	for k > 0 {
		m := min(k, blockValues)
		for i := range block[:m] {
			block[i] = entry
		}
		if err := d.gather(s, block[:m]); err != nil {
			return err
		}
		k -= m
	}
	return nil
}

// gather appends the entries that indices name.
func (d *dictionary) gather(s *sink, indices []uint32) error {
	if s.shape == shapeBinary {
		return d.gatherBinary(s, indices)
	}
	dst := s.next(len(indices))
	var ok bool
	switch d.width {
	case 1:
		ok = gatherWords(dst, d.fixed, indices)
	case 2:
		ok = gatherWords(arrow.GetData[uint16](dst), arrow.GetData[uint16](d.fixed), indices)
	case 4:
		ok = gatherWords(arrow.GetData[uint32](dst), arrow.GetData[uint32](d.fixed), indices)
	case 8:
		ok = gatherWords(arrow.GetData[uint64](dst), arrow.GetData[uint64](d.fixed), indices)
	default:
		ok = d.gatherBytes(dst, indices)
	}
	if !ok {
		return errIndex
	}
	return nil
}

// gatherWords is the hot loop of dictionary columns; false if an index is outside.
func gatherWords[T uint8 | uint16 | uint32 | uint64](dst, entries []T, indices []uint32) bool {
	for len(indices) >= 4 && len(dst) >= 4 {
		a, b, c, e := uint(indices[0]), uint(indices[1]), uint(indices[2]), uint(indices[3])
		if a >= uint(len(entries)) || b >= uint(len(entries)) || c >= uint(len(entries)) || e >= uint(len(entries)) {
			return false
		}
		dst[0], dst[1], dst[2], dst[3] = entries[a], entries[b], entries[c], entries[e]
		dst, indices = dst[4:], indices[4:]
	}
	for i, at := range indices {
		if uint(at) >= uint(len(entries)) {
			return false
		}
		dst[i] = entries[at]
	}
	return true
}

func (d *dictionary) gatherBytes(dst []byte, indices []uint32) bool {
	w := d.width
	for i, at := range indices {
		if int(at) >= d.n {
			return false
		}
		copy(dst[i*w:(i+1)*w], d.fixed[int(at)*w:])
	}
	return true
}

// wideCopy is the longest entry that is copied without looking at its length.
const wideCopy = 16

// gatherBinary appends byte arrays. Where all are short, sixteen bytes are copied whatever the length is.
func (d *dictionary) gatherBinary(s *sink, indices []uint32) error {
	ends := s.nextOffsets(len(indices))
	entries := d.entries
	to := s.used
	if d.longest <= wideCopy {
		if err := s.reserve(wideCopy * len(indices)); err != nil {
			return err
		}
		dst, body := s.data.Buf(), d.body
		ends = ends[:len(indices)]
		for i, at := range indices {
			if uint(at) >= uint(len(entries)) {
				return errIndex
			}
			e := entries[at]
			*(*[wideCopy]byte)(dst[to:]) = *(*[wideCopy]byte)(body[e>>32:])
			to += int(uint32(e))
			ends[i] = int32(to)
		}
		s.used = to
		return nil
	}
	total := 0
	for _, at := range indices {
		if uint(at) >= uint(len(entries)) {
			return errIndex
		}
		total += int(uint32(entries[at]))
	}
	if err := s.reserve(total); err != nil {
		return err
	}
	dst, body := s.data.Buf(), d.body
	for i, at := range indices {
		e := entries[at]
		from, size := int(e>>32), int(uint32(e))
		if size <= wideCopy {
			*(*[wideCopy]byte)(dst[to:]) = *(*[wideCopy]byte)(body[from:])
		} else {
			copy(dst[to:to+size], body[from:])
		}
		to += size
		ends[i] = int32(to)
	}
	s.used = to
	return nil
}

// all appends every entry, in order.
func (d *dictionary) all(s *sink, block *[blockValues]uint32) error {
	for at := 0; at < d.n; {
		k := min(d.n-at, blockValues)
		for i := range block[:k] {
			block[i] = uint32(at + i)
		}
		if err := d.gather(s, block[:k]); err != nil {
			return err
		}
		at += k
	}
	return nil
}

// findDictionary loads the dictionary page if the chunk begins with one.
func (c *cursor) findDictionary() (bool, error) {
	if c.dict != nil {
		return true, nil
	}
	if c.dictAt < 0 && c.chunk.Pages == nil && c.seen == 0 && c.chunk.Values > 0 {
		h, n, err := c.header(c.next, c.end()-c.next)
		if err != nil {
			return false, err
		}
		if h.kind != pageDictionary {
			return false, nil
		}
		if err := h.check(c.end()-c.next-n, c.limit); err != nil {
			return false, err
		}
		// Nothing behind the dictionary page is touched.
		c.dictAt, c.next = c.next, c.next+n+h.compressed
	}
	if c.dictAt < 0 {
		return false, nil
	}
	err := c.loadDictionary()
	return c.dict != nil, err
}
