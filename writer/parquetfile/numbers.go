package parquetfile

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// number is the bits of a value of fixed width.
type number interface{ uint32 | uint64 }

// span is the least and the greatest value, in some order.
type span[T number] struct {
	low, high T
	ok        bool
}

// numbers are the values of an INT32, INT64, FLOAT or DOUBLE column.
type numbers[T number] struct {
	settings
	width int
	raw   func(a arrow.ArrayData, scratch *[]T) []T
	span  func(into span[T], values []T) span[T]
	bloom metadata.BloomFilterBuilder

	scratch, gathered []T
	todo              []T // loaded and not added yet
	indices           []uint32
	plain             []byte  // of the open page, behind levelRoom
	seen              span[T] // of the open page

	dict  bool
	keys  []T // by index
	near  nearby[T]
	slots []numberSlot[T]
	// hashed is how many keys are in slots.
	hashed, tried int
}

func newNumbers[T number](s settings, width int, raw func(arrow.ArrayData, *[]T) []T, spanOf func(span[T], []T) span[T]) *numbers[T] {
	return &numbers[T]{settings: s, width: width, raw: raw, span: spanOf, plain: make([]byte, levelRoom)}
}

func (v *numbers[T]) hashInto(b metadata.BloomFilterBuilder) { v.bloom = b }

func (v *numbers[T]) load(a arrow.Array, live []run) error {
	if len(live) == 0 {
		v.todo = nil
		return nil
	}
	all := v.raw(a.Data(), &v.scratch)
	if len(live) == 1 {
		v.todo = all[live[0].lo:live[0].hi]
		return nil
	}
	v.gathered = v.gathered[:0]
	for _, r := range live {
		v.gathered = append(v.gathered, all[r.lo:r.hi]...)
	}
	v.todo = v.gathered
	return nil
}

func (v *numbers[T]) cost(_, n int) int { return n * v.width }

func (v *numbers[T]) add(n int) {
	part := v.todo[:n]
	v.todo = v.todo[n:]
	if v.stats {
		v.seen = v.span(v.seen, part)
	}
	if v.dict {
		v.number(part)
		return
	}
	v.plain = v.append(v.plain, part)
	if v.bloom != nil {
		v.hash(part)
	}
}

func (v *numbers[T]) append(dst []byte, values []T) []byte {
	if len(values) == 0 {
		return dst
	}
	// Little endian machines only, as Arrow's buffers are.
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*v.width)...)
}

func (v *numbers[T]) hash(values []T) {
	for i := range values {
		v.bloom.InsertHash(v.bloom.Hasher().Sum64(v.append(nil, values[i:i+1])))
	}
}

// number appends the dictionary's indices of values, and new values to the dictionary.
func (v *numbers[T]) number(values []T) {
	v.tried += len(values)
	if len(v.keys) == 0 && len(values) > 0 {
		v.near.origin = values[0] - nearReach
	}
	at := len(v.indices)
	v.indices = slices.Grow(v.indices, len(values))[:at+len(values)]
	out := v.indices[at:]
	var before T
	var index uint32
	known := false
	for i, value := range values {
		if !known || value != before { // sorted columns repeat
			if place := uint64(value-v.near.origin) - v.near.first; place < uint64(len(v.near.slots)) && v.near.slots[place] != 0 {
				index = v.near.slots[place] - 1
			} else {
				index = v.find(value)
			}
			before, known = value, true
		}
		out[i] = index
	}
}

// nearReach is how far from a chunk's first value a value may be and still have its place in nearby.
const nearReach = 1 << 13

// nearby are the indices of the values around the first one, each at its place: columns of small numbers (days, counts, codes) need no hashing.
// The slots are those of the values from origin+first on, as many as have been asked for.
type nearby[T number] struct {
	origin T // nearReach below the chunk's first value, with wrap-around
	first  uint64
	slots  []uint32 // index + 1
}

// covers reports whether a value has its place here, and makes it.
func (n *nearby[T]) covers(value T) bool {
	const most = 2 * nearReach
	at := uint64(value - n.origin)
	if at >= most {
		return false
	}
	if len(n.slots) == 0 { // a few around the first value
		n.first, n.slots = min(at, most-64), append(n.slots, make([]uint32, 64)...)
	}
	for size := uint64(len(n.slots)); at-n.first >= size; size = uint64(len(n.slots)) {
		first, want := n.first, min(4*size, most)
		if at < n.first {
			first -= min(want-size, n.first)
		}
		first = min(first, most-want)
		wider := make([]uint32, want)
		copy(wider[n.first-first:], n.slots)
		n.first, n.slots = first, wider
	}
	return true
}

// numberSlot is an entry of the hash table.
type numberSlot[T number] struct {
	key   T
	index uint32 // + 1
}

// find returns the index of a value, which is new if it is not there yet.
func (v *numbers[T]) find(value T) uint32 {
	if v.near.covers(value) {
		slot := &v.near.slots[uint64(value-v.near.origin)-v.near.first]
		if *slot == 0 {
			v.keys = append(v.keys, value)
			*slot = uint32(len(v.keys)) //nolint:gosec // at most the dictionary's bytes
		}
		return *slot - 1
	}
	mask := uint64(len(v.slots) - 1)
	for at := mix(uint64(value)) & mask; ; at = (at + 1) & mask {
		switch slot := &v.slots[at]; {
		case slot.index == 0:
			v.keys = append(v.keys, value)
			n := uint32(len(v.keys)) //nolint:gosec // at most the dictionary's bytes
			*slot = numberSlot[T]{value, n}
			if v.hashed++; v.hashed*2 > len(v.slots) {
				v.grow()
			}
			return n - 1
		case slot.key == value:
			return slot.index - 1
		}
	}
}

func (v *numbers[T]) grow() {
	old := v.slots
	v.slots = make([]numberSlot[T], 2*len(old))
	mask := uint64(len(v.slots) - 1)
	for _, slot := range old {
		if slot.index == 0 {
			continue
		}
		at := mix(uint64(slot.key)) & mask
		for v.slots[at].index != 0 {
			at = (at + 1) & mask
		}
		v.slots[at] = slot
	}
}

// mix spreads the bits of a number over all of them.
func mix(x uint64) uint64 {
	high, low := bits.Mul64(x^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return high ^ low
}

func (v *numbers[T]) size() int {
	return len(v.plain) - levelRoom + (len(v.indices)*bits.Len(uint(len(v.keys)))+7)/8
}

func (v *numbers[T]) page(dst []byte) ([]byte, parquet.Encoding) {
	if v.dict && len(v.keys) > 0 { // without values there need be no dictionary
		dst = appendIndices(dst, v.indices, len(v.keys))
		v.indices = v.indices[:0]
		return dst, parquet.Encodings.RLEDict
	}
	dst, v.plain = behind(dst, v.plain)
	return dst, parquet.Encodings.Plain
}

// appendIndices appends indices of a dictionary of the given size, their width before them.
func appendIndices(dst []byte, indices []uint32, size int) []byte {
	width := uint(bits.Len(uint(max(size, 2) - 1))) // readers do not agree on a width of 0
	return appendHybrid(append(dst, byte(width)), indices, width)
}

func (v *numbers[T]) bounds() (low, high []byte, ok bool) {
	s := v.seen
	v.seen = span[T]{}
	if !s.ok {
		return nil, nil, false
	}
	return v.append(nil, []T{s.low}), v.append(nil, []T{s.high}), true
}

func (v *numbers[T]) merge(low, high, otherLow, otherHigh []byte) ([]byte, []byte) {
	s := v.span(span[T]{}, []T{v.read(low), v.read(high), v.read(otherLow), v.read(otherHigh)})
	return v.append(nil, []T{s.low}), v.append(nil, []T{s.high})
}

func (v *numbers[T]) read(b []byte) T {
	if v.width == 4 {
		return T(binary.LittleEndian.Uint32(b))
	}
	return T(binary.LittleEndian.Uint64(b))
}

func (v *numbers[T]) pays() bool {
	return v.dict && len(v.keys)*v.width <= v.limit && repeats(len(v.keys), v.tried)
}

func (v *numbers[T]) giveUp(soon bool) {
	if soon {
		if v.bloom != nil {
			v.hash(v.keys)
		}
		if len(v.indices) == len(v.keys) { // none came twice
			v.plain = v.append(v.plain, v.keys)
		} else {
			for _, index := range v.indices {
				v.plain = v.append(v.plain, v.keys[index:index+1])
			}
		}
		v.indices = v.indices[:0]
	}
	v.dict = false
}

func (v *numbers[T]) entries(dst []byte) ([]byte, int) {
	if v.bloom != nil {
		v.hash(v.keys)
	}
	return v.append(dst, v.keys), len(v.keys)
}

func (v *numbers[T]) restart(use bool) {
	v.dict, v.tried, v.hashed, v.keys = use, 0, 0, v.keys[:0]
	v.near = nearby[T]{slots: v.near.slots[:0]}
	switch {
	case use && v.slots == nil:
		v.slots = make([]numberSlot[T], 256)
	default:
		clear(v.slots)
	}
}

// ordered is the span of values that compare as integers.
func ordered[T number, N int32 | int64 | uint32 | uint64](into span[T], values []T) span[T] {
	if len(values) == 0 {
		return into
	}
	if !into.ok {
		into = span[T]{values[0], values[0], true}
	}
	low, high := N(into.low), N(into.high)
	low2, high2 := low, high // each waits for its own last result only
	pairs := len(values) &^ 1
	for i := 0; i < pairs; i += 2 {
		a, b := N(values[i]), N(values[i+1])
		low, high = min(low, a), max(high, a)
		low2, high2 = min(low2, b), max(high2, b)
	}
	for _, v := range values[pairs:] {
		low, high = min(low, N(v)), max(high, N(v))
	}
	low, high = min(low, low2), max(high, high2)
	return span[T]{T(low), T(high), true}
}

// floating is the span of values that are no NaN. Zeros count as both: readers differ in whether they are equal.
func floating[T number, F float32 | float64](into span[T], values []T) span[T] {
	if len(values) == 0 {
		return into
	}
	low, high := F(math.Inf(1)), F(math.Inf(-1))
	if into.ok {
		low, high = fromBits[T, F](into.low), fromBits[T, F](into.high)
	}
	floats := unsafe.Slice((*F)(unsafe.Pointer(&values[0])), len(values))
	for _, v := range floats {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	if low > high { // only NaN so far
		return into
	}
	if low == 0 {
		low = F(math.Copysign(0, -1))
	}
	if high == 0 {
		high = 0
	}
	return span[T]{toBits[T](low), toBits[T](high), true}
}

func fromBits[T number, F float32 | float64](v T) F { return *(*F)(unsafe.Pointer(&v)) }

func toBits[T number, F float32 | float64](v F) T { return *(*T)(unsafe.Pointer(&v)) }
