package column

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// slack is how far behind the used bytes a 16-byte copy may write.
const slack = 32

// sink builds one leaf's array. Values are appended densely, whatever nulls there are; finish spreads them over the slots.
type sink struct {
	layout
	typ arrow.DataType
	mem memory.Allocator

	data    *memory.Buffer
	used    int // bytes of data; bits for shapeBool
	offsets *memory.Buffer
	n       int // values so far
	valid   bitmap

	hint    int     // slots that are expected
	average float64 // bytes a slot of binary data had, in the array before
}

func (s *sink) reset(hint int) {
	s.release()
	s.used, s.n, s.hint = 0, 0, hint
	s.valid.mem = s.mem
	s.valid.reset(hint)
	if s.shape == shapeNull {
		return
	}
	s.data = memory.NewResizableBuffer(s.mem)
	switch s.shape {
	case shapeBinary:
		s.offsets = memory.NewResizableBuffer(s.mem)
		s.offsets.Reserve(4 * (hint + 1))
		s.offsetsOf()[0] = 0
		s.data.Reserve(expected(s.average, hint) + slack)
	case shapeFixed:
		s.data.Reserve(max(hint*s.width, 1))
	case shapeBool:
		s.data.Reserve(hint/8 + 16)
		clear(s.data.Buf())
	}
}

func (s *sink) release() {
	s.valid.release()
	for _, b := range []**memory.Buffer{&s.data, &s.offsets} {
		if *b != nil {
			(*b).Release()
			*b = nil
		}
	}
}

func (s *sink) offsetsOf() []int32 { return arrow.GetData[int32](s.offsets.Buf()) }

// next is room for n more values of s.width bytes; the caller fills all of it.
func (s *sink) next(n int) []byte {
	need := s.used + n*s.width
	if have := s.data.Cap(); need > have {
		s.data.Reserve(max(need, have+have/2))
	}
	out := s.data.Buf()[s.used:need]
	s.used, s.n = need, s.n+n
	return out
}

// store appends n values as they are stored in a page.
func (s *sink) store(src []byte, n int) error {
	dst := s.next(n)
	if s.convert == nil {
		copy(dst, src)
		return nil
	}
	return s.convert(dst, src, n)
}

// nextOffsets is room for the end offsets of n more values; the caller fills all of it and moves s.used. The element in front is the
// offset that the first of them starts at.
func (s *sink) nextOffsets(n int) []int32 {
	need := 4 * (s.n + n + 1)
	if have := s.offsets.Cap(); need > have {
		s.offsets.Reserve(max(need, 2*have))
	}
	out := s.offsetsOf()[s.n+1 : s.n+1+n]
	s.n += n
	return out
}

// reserve makes room for n more bytes of binary data, and slack behind them.
func (s *sink) reserve(n int) error {
	need := s.used + n
	if need > math.MaxInt32 {
		return &Error{Kind: TooLarge, Err: errors.New("more than 2 GiB of strings in one array")}
	}
	if have := s.data.Cap(); need+slack > have {
		s.data.Reserve(min(max(need, have+have/2), math.MaxInt32) + slack)
	}
	return nil
}

// growBits makes room for k more bits, zero.
func (s *sink) growBits(k int) []byte {
	need := (s.used+k)/8 + 9
	if have := s.data.Cap(); need > have {
		s.data.Reserve(max(need, 2*have))
		clear(s.data.Buf()[have:])
	}
	return s.data.Buf()
}

// finish makes the array; the sink is empty afterwards.
func (s *sink) finish() (arrow.ArrayData, error) {
	slots := s.valid.n
	if s.n != slots-s.valid.zeros && s.shape != shapeNull {
		return nil, fmt.Errorf("%d values for %d slots with %d nulls", s.n, slots, s.valid.zeros)
	}
	if s.shape == shapeNull {
		s.valid.release()
		return array.NewData(s.typ, slots, []*memory.Buffer{nil}, nil, slots, 0), nil
	}
	if s.shape == shapeBinary && hintWorth(slots) {
		s.average = float64(s.used) / float64(slots)
	}
	validity, nulls := s.valid.finish()
	if validity != nil {
		defer validity.Release()
	}
	shape := s.shape
	if s.decimal != nil {
		if err := s.toDecimals(); err != nil {
			return nil, err
		}
		shape = shapeFixed
	}
	switch shape {
	case shapeFixed:
		s.data.Reserve(slots * s.width)
		spread(s.data.Buf(), s.width, validity, slots, s.n)
		s.data.ResizeNoShrink(slots * s.width)
	case shapeBool:
		s.growBits(slots - s.used)
		if validity != nil {
			spreadBits(s.data.Buf(), validity.Bytes(), slots, s.n)
		}
		s.data.ResizeNoShrink((slots + 7) / 8)
	case shapeBinary:
		s.offsets.Reserve(4 * (slots + 1))
		if validity != nil {
			spreadOffsets(s.offsetsOf(), validity.Bytes(), slots, s.n)
		}
		s.offsets.ResizeNoShrink(4 * (slots + 1))
		s.data.ResizeNoShrink(s.used)
	}
	buffers := []*memory.Buffer{validity, s.data}
	if shape == shapeBinary {
		buffers = []*memory.Buffer{validity, s.offsets, s.data}
	}
	out := array.NewData(s.typ, slots, buffers, nil, nulls, 0)
	s.release() // the array holds its own references
	return out, nil
}

// hintWorth: averages over a few rows mislead.
func hintWorth(slots int) bool { return slots >= 64 }

// expected is room for n things that take mean each, and a little more: to move what is there to a larger buffer costs more than that.
func expected(mean float64, n int) int {
	return int(min(mean*1.05*float64(n), math.MaxInt32-2*slack))
}

// toDecimals replaces collected big-endian byte arrays by decimals.
func (s *sink) toDecimals() error {
	out := memory.NewResizableBuffer(s.mem)
	out.Reserve(max(s.n*s.width, 1))
	offsets, bytes, dst := s.offsetsOf(), s.data.Buf(), out.Buf()
	for i := range s.n {
		if err := s.decimal(dst[i*s.width:(i+1)*s.width], bytes[offsets[i]:offsets[i+1]]); err != nil {
			out.Release()
			return err
		}
	}
	s.data.Release()
	s.offsets.Release()
	s.data, s.offsets = out, nil
	return nil
}
