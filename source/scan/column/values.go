package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errValuesEnd: the levels promise more values than the page has bytes for.
var errValuesEnd = errors.New("the page's values end too early")

// mode is how a page's values are encoded, for one physical type.
type mode uint8

const (
	modeNone mode = iota
	modePlainFixed
	modePlainBinary
	modePlainBool
	modeDictionary
	modeRunsBool
	modeDeltaInt
	modeDeltaLength
	modeDeltaBytes
	modeSplit
	modeFlow
)

// values takes and skips the values of one page, in order. It knows nothing of nulls.
type values struct {
	mode    mode
	layout  layout
	scratch *Scratch

	data  []byte // what is left of PLAIN values; the bytes behind DELTA lengths
	bit   int    // PLAIN booleans: the next bit of data
	runs  hybrid
	dict  *dictionary
	delta deltaReader
	bytes deltaBytes
	split splitReader
	flow  *flow
}

// encodingMode is the mode for an encoding of the chunk's physical type; false if the pair does not exist.
func encodingMode(encoding int64, l layout, c *Chunk) (mode, bool) {
	boolean := isBoolean(c)
	switch encoding {
	case encPlain:
		switch {
		case boolean:
			return modePlainBool, true
		case l.stored == 0:
			return modePlainBinary, true
		}
		return modePlainFixed, true
	case encPlainDictionary, encRLEDictionary:
		return modeDictionary, !boolean
	case encRLE:
		return modeRunsBool, boolean
	case encDeltaBinary:
		return modeDeltaInt, isInt(c)
	case encDeltaLength:
		return modeDeltaLength, !boolean && l.stored == 0
	case encDeltaByteArray:
		return modeDeltaBytes, !boolean && (l.stored == 0 || isFixedArray(c))
	case encByteStreamSplit:
		return modeSplit, l.stored > 0 && l.stored != 12
	}
	return modeNone, false
}

// open begins a page. n is the number of values where it is known and the number of levels otherwise; data are the encoded values.
func (v *values) open(m mode, data []byte, n int) error {
	v.mode, v.data, v.bit = m, data, 0
	switch m {
	case modeDictionary:
		return v.openIndices()
	case modeRunsBool:
		if len(data) < 4 || int(binary.LittleEndian.Uint32(data)) > len(data)-4 {
			return errValuesEnd
		}
		v.runs.reset(data[4:4+binary.LittleEndian.Uint32(data)], 1)
	case modeDeltaInt:
		_, err := v.delta.open(data, v.layout.stored)
		return err
	case modeDeltaLength:
		return v.openDeltaLength(n)
	case modeDeltaBytes:
		return v.bytes.open(data, n)
	case modeSplit:
		return v.split.open(data, v.layout.stored)
	}
	return nil
}

func (v *values) openIndices() error {
	if len(v.data) == 0 {
		// A page of nulls only.
		v.runs.reset(nil, 0)
		return nil
	}
	width := v.data[0]
	if width > 32 {
		return fmt.Errorf("dictionary indices of %d bits", width)
	}
	v.runs.reset(v.data[1:], uint(width))
	return nil
}

// take appends the next n values to s.
func (v *values) take(s *sink, n int) error {
	if n == 0 {
		return nil
	}
	if s.shape == shapeNull {
		return nil // whatever the page says, the type has no values
	}
	switch v.mode {
	case modePlainFixed:
		size := n * v.layout.stored
		if size > len(v.data) {
			return errValuesEnd
		}
		src := v.data[:size]
		v.data = v.data[size:]
		return s.store(src, n)
	case modePlainBinary:
		return v.takePlainBinary(s, n)
	case modePlainBool:
		if v.bit+n > 8*len(v.data) {
			return errValuesEnd
		}
		putBits(s.growBits(n), s.used, v.data, v.bit, n)
		s.used, s.n, v.bit = s.used+n, s.n+n, v.bit+n
		return nil
	case modeDictionary:
		return v.takeIndices(s, n)
	case modeRunsBool:
		return v.takeRunsBool(s, n)
	case modeDeltaInt:
		return v.takeDeltaInt(s, n)
	case modeDeltaLength:
		return v.takeDeltaLength(s, n)
	case modeDeltaBytes:
		return v.bytes.take(v, s, n)
	case modeSplit:
		return v.split.take(v.scratch, s, n)
	case modeFlow:
		return v.takeFlow(s, n)
	}
	return errValuesEnd
}

// skip passes n values.
func (v *values) skip(n int) error {
	if n == 0 || v.layout.shape == shapeNull {
		return nil
	}
	switch v.mode {
	case modePlainFixed:
		size := n * v.layout.stored
		if size > len(v.data) {
			return errValuesEnd
		}
		v.data = v.data[size:]
		return nil
	case modePlainBinary:
		return v.skipPlainBinary(n)
	case modePlainBool:
		if v.bit += n; v.bit > 8*len(v.data) {
			return errValuesEnd
		}
		return nil
	case modeDictionary, modeRunsBool:
		return v.runs.skip(n)
	case modeDeltaInt:
		return v.delta.skip(v.scratch, n)
	case modeDeltaLength:
		return v.skipDeltaLength(n)
	case modeDeltaBytes:
		return v.bytes.skip(n)
	case modeSplit:
		return v.split.skip(n)
	case modeFlow:
		return v.skipFlow(n)
	}
	return errValuesEnd
}

// takePlainBinary is PLAIN byte arrays: a length of four bytes, then the bytes. Lengths are walked a block ahead, so that data grow once.
func (v *values) takePlainBinary(s *sink, n int) error {
	const block = 256
	for n > 0 {
		k := min(n, block)
		n -= k
		src := v.data
		ends := s.nextOffsets(k)
		at, end := 0, s.used
		for i := range ends {
			if len(src)-at < 4 {
				return errValuesEnd
			}
			size := int(binary.LittleEndian.Uint32(src[at:]))
			if at += 4; size > len(src)-at {
				return errValuesEnd
			}
			at += size
			end += size
			ends[i] = int32(end)
		}
		if err := s.reserve(end - s.used); err != nil {
			return err
		}
		dst := s.data.Buf()
		from, to := 0, s.used
		for _, e := range ends {
			from += 4
			size := int(e) - to
			// Most strings are short: sixteen bytes at once need no call and no branch on the length.
			if size <= 16 && from+16 <= len(src) {
				*(*[16]byte)(dst[to:]) = *(*[16]byte)(src[from:])
			} else {
				copy(dst[to:to+size], src[from:])
			}
			from += size
			to = int(e)
		}
		s.used, v.data = end, src[at:]
	}
	return nil
}

func (v *values) skipPlainBinary(n int) error {
	src, at := v.data, 0
	for range n {
		if len(src)-at < 4 {
			return errValuesEnd
		}
		size := int(binary.LittleEndian.Uint32(src[at:]))
		if at += 4; size > len(src)-at {
			return errValuesEnd
		}
		at += size
	}
	v.data = src[at:]
	return nil
}

func (v *values) takeRunsBool(s *sink, n int) error {
	for n > 0 {
		if v.runs.left == 0 {
			if err := v.runs.next(); err != nil {
				return err
			}
		}
		k := min(n, v.runs.left)
		dst := s.growBits(k)
		switch {
		case !v.runs.rle:
			putBits(dst, s.used, v.runs.packed, v.runs.bit, k)
		case v.runs.value != 0:
			setBits(dst, s.used, k)
		}
		s.used, s.n = s.used+k, s.n+k
		v.runs.pass(k)
		n -= k
	}
	return nil
}

// setBits sets k bits of dst from bit to on.
func setBits(dst []byte, to, k int) {
	for ; k > 0 && to&7 != 0; k-- {
		dst[to>>3] |= 1 << (to & 7)
		to++
	}
	ones(dst[to>>3 : to>>3+k>>3])
	if k&7 != 0 {
		dst[to>>3+k>>3] |= 1<<(k&7) - 1
	}
}

func (v *values) takeDeltaInt(s *sink, n int) error {
	stored := v.layout.stored
	for n > 0 {
		k := min(n, blockValues)
		n -= k
		block := v.scratch.deltas[:k]
		if err := v.delta.read(block); err != nil {
			return err
		}
		raw := v.scratch.rawBlock(k * stored)
		if stored == 4 {
			for i, d := range block {
				binary.LittleEndian.PutUint32(raw[4*i:], uint32(d))
			}
		} else {
			for i, d := range block {
				binary.LittleEndian.PutUint64(raw[8*i:], uint64(d))
			}
		}
		if err := s.store(raw, k); err != nil {
			return err
		}
	}
	return nil
}

// openDeltaLength: the lengths of all values come first, their bytes behind them. The lengths are read as they are needed; to find where
// they end they are passed over once.
func (v *values) openDeltaLength(n int) error {
	if len(v.data) == 0 {
		v.delta = deltaReader{}
		return nil
	}
	size, err := deltaSize(v.data, 4, n)
	if err != nil {
		return err
	}
	if _, err := v.delta.open(v.data[:size], 4); err != nil {
		return err
	}
	v.data = v.data[size:]
	return nil
}

func (v *values) takeDeltaLength(s *sink, n int) error {
	for n > 0 {
		k := min(n, blockValues)
		n -= k
		lengths := v.scratch.deltas[:k]
		if err := v.delta.read(lengths); err != nil {
			return err
		}
		ends := s.nextOffsets(k)
		total := 0
		for i, size := range lengths {
			if size < 0 || size > int64(len(v.data)-total) {
				return errValuesEnd
			}
			total += int(size)
			if s.used+total > math.MaxInt32 {
				return s.reserve(total) // says so
			}
			ends[i] = int32(s.used + total)
		}
		if err := s.reserve(total); err != nil {
			return err
		}
		copy(s.data.Buf()[s.used:], v.data[:total])
		s.used, v.data = s.used+total, v.data[total:]
	}
	return nil
}

func (v *values) skipDeltaLength(n int) error {
	for n > 0 {
		k := min(n, blockValues)
		n -= k
		lengths := v.scratch.deltas[:k]
		if err := v.delta.read(lengths); err != nil {
			return err
		}
		total := int64(0)
		for _, size := range lengths {
			if total += size; size < 0 || total > int64(len(v.data)) {
				return errValuesEnd
			}
		}
		v.data = v.data[total:]
	}
	return nil
}
