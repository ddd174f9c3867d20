package parquetfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// texts are the values of a BYTE_ARRAY or FIXED_LEN_BYTE_ARRAY column.
type texts struct {
	settings
	fixed   int // the length of every value, 0 if each has its own
	locate  func(v *texts, a arrow.ArrayData, live []run) error
	compare func(a, b []byte) int
	halfs   bool // values are float16: NaN is left out, zeros count as both
	bloom   metadata.BloomFilterBuilder

	data     []byte // of the batch
	places   []run  // of the values in data
	next     int    // of places, the first that is not added yet
	scratch  []byte
	indices  []uint32
	plain    []byte // of the open page, behind levelRoom
	low      []byte // of the open page
	high     []byte
	seen     bool
	pageMark uint32 // what marks holds for entries that the open page has

	dict  bool
	arena []byte   // the dictionary's values, PLAIN, behind levelRoom: what plain becomes if there is to be no dictionary
	ends  []uint32 // where they end in arena
	marks []uint32 // the last page that each was compared for
	slots []textSlot
	tried int
	bytes int // the dictionary's page
	seed  maphash.Seed
}

func newTexts(column *schema.Column, dt arrow.DataType, s settings) (*texts, error) {
	v := &texts{settings: s, compare: bytes.Compare, seed: maphash.MakeSeed(), plain: make([]byte, levelRoom), arena: make([]byte, levelRoom)}
	if column.PhysicalType() == parquet.Types.FixedLenByteArray {
		v.fixed = column.TypeLength()
	}
	switch dt.ID() {
	case arrow.STRING, arrow.BINARY:
		v.locate = locateOffsets[int32]
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		v.locate = locateOffsets[int64]
	case arrow.FIXED_SIZE_BINARY:
		if v.fixed != dt.(*arrow.FixedSizeBinaryType).ByteWidth {
			return nil, fmt.Errorf("%s has another width than the column's %d", dt, v.fixed)
		}
		v.locate = (*texts).locateFixed
	case arrow.FLOAT16:
		v.locate, v.compare, v.halfs = (*texts).locateFixed, compareHalfs, true
	case arrow.DECIMAL128, arrow.DECIMAL256:
		v.locate, v.compare = (*texts).locateDecimals, compareSigned
	default:
		return nil, fmt.Errorf("%s cannot be written as bytes", dt)
	}
	return v, nil
}

func (v *texts) hashInto(b metadata.BloomFilterBuilder) { v.bloom = b }

func (v *texts) load(a arrow.Array, live []run) error {
	v.places, v.next = v.places[:0], 0
	if len(live) == 0 {
		return nil
	}
	return v.locate(v, a.Data(), live)
}

func locateOffsets[O int32 | int64](v *texts, a arrow.ArrayData, live []run) error {
	offsets := arrow.GetData[O](a.Buffers()[1].Bytes())[a.Offset():]
	v.data = nil
	if b := a.Buffers()[2]; b != nil {
		v.data = b.Bytes()
	}
	for _, r := range live {
		lo := offsets[r.lo]
		for _, hi := range offsets[r.lo+1 : r.hi+1] {
			v.places = append(v.places, run{int(lo), int(hi)})
			lo = hi
		}
	}
	return nil
}

func (v *texts) locateFixed(a arrow.ArrayData, live []run) error {
	v.data = a.Buffers()[1].Bytes()
	for _, r := range live {
		for i := r.lo; i < r.hi; i++ {
			at := (a.Offset() + i) * v.fixed
			v.places = append(v.places, run{at, at + v.fixed})
		}
	}
	return nil
}

// locateDecimals turns Arrow's little-endian words to the shortest big-endian form that the precision needs.
func (v *texts) locateDecimals(a arrow.ArrayData, live []run) error {
	wide := a.DataType().(arrow.FixedWidthDataType).BitWidth() / 8
	if v.fixed > wide {
		return fmt.Errorf("%s has no %d bytes", a.DataType(), v.fixed)
	}
	raw := a.Buffers()[1].Bytes()
	v.scratch = v.scratch[:0]
	for _, r := range live {
		for i := r.lo; i < r.hi; i++ {
			value := raw[(a.Offset()+i)*wide:][:wide]
			at := len(v.scratch)
			for b := v.fixed - 1; b >= 0; b-- {
				v.scratch = append(v.scratch, value[b])
			}
			v.places = append(v.places, run{at, at + v.fixed})
		}
	}
	v.data = v.scratch
	return nil
}

func (v *texts) prefix() int {
	if v.fixed > 0 {
		return 0
	}
	return 4
}

func (v *texts) cost(at, n int) int {
	sum := n * v.prefix()
	for _, p := range v.places[v.next+at:][:n] {
		sum += p.hi - p.lo
	}
	return sum
}

func (v *texts) add(n int) {
	part := v.places[v.next:][:n]
	v.next += n
	if v.dict {
		v.tried += n
		for _, p := range part {
			index := v.find(v.data[p.lo:p.hi])
			v.indices = append(v.indices, index)
			if v.marks[index] != v.pageMark {
				v.marks[index] = v.pageMark
				v.see(v.entry(index))
			}
		}
		return
	}
	for _, p := range part {
		value := v.data[p.lo:p.hi]
		v.plain = v.appendPlain(v.plain, value)
		v.see(value)
		if v.bloom != nil {
			v.bloom.InsertHash(v.bloom.Hasher().Sum64(value))
		}
	}
}

func (v *texts) appendPlain(dst, value []byte) []byte {
	dst = doubled(dst, 4+len(value))
	if v.fixed == 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value))) //nolint:gosec // of a batch's value
	}
	return append(dst, value...)
}

// see makes a value count for the page's statistics.
func (v *texts) see(value []byte) {
	switch {
	case !v.stats || v.halfs && float16.FromLEBytes(value).IsNaN():
	case !v.seen:
		v.seen = true
		v.low, v.high = append(v.low[:0], value...), append(v.high[:0], value...)
	case v.compare(value, v.low) < 0:
		v.low = append(v.low[:0], value...)
	case v.compare(value, v.high) > 0:
		v.high = append(v.high[:0], value...)
	}
}

func (v *texts) entry(index uint32) []byte {
	return v.arena[v.start(int(index))+v.prefix() : v.ends[index]]
}

// start is where an entry begins in arena.
func (v *texts) start(index int) int {
	if index == 0 {
		return levelRoom
	}
	return int(v.ends[index-1])
}

// textSlot is an entry of the hash table: a value of up to 8 bytes is its own key, so that most values that repeat are found by one look.
type textSlot struct {
	key   uint64 // the value, or its hash if it is longer
	size  uint32
	index uint32 // + 1
}

// find returns the index of a value, which is new if it is not there yet.
func (v *texts) find(value []byte) uint32 {
	key, size := v.key(value), uint32(len(value)) //nolint:gosec // of a batch's value
	mask := uint64(len(v.slots) - 1)
	for at := mix(key+uint64(size)) & mask; ; at = (at + 1) & mask {
		switch slot := &v.slots[at]; {
		case slot.index == 0:
			return v.insert(value, slot, key)
		case slot.key == key && slot.size == size && (size <= 8 || bytes.Equal(v.entry(slot.index-1), value)):
			return slot.index - 1
		}
	}
}

func (v *texts) insert(value []byte, slot *textSlot, key uint64) uint32 {
	v.arena = v.appendPlain(v.arena, value)
	v.ends = append(v.ends, uint32(len(v.arena))) //nolint:gosec // the limit and one look's values
	v.marks = append(v.marks, 0)
	v.bytes += v.prefix() + len(value)
	n := uint32(len(v.ends))                     //nolint:gosec // as above
	*slot = textSlot{key, uint32(len(value)), n} //nolint:gosec // as above
	if len(v.ends)*2 > len(v.slots) {
		v.grow()
	}
	return n - 1
}

func (v *texts) grow() {
	old := v.slots
	v.slots = make([]textSlot, 2*len(old))
	mask := uint64(len(v.slots) - 1)
	for _, slot := range old {
		if slot.index == 0 {
			continue
		}
		at := mix(slot.key+uint64(slot.size)) & mask
		for v.slots[at].index != 0 {
			at = (at + 1) & mask
		}
		v.slots[at] = slot
	}
}

// key of a value of up to 8 bytes is the value itself, filled up with zeros; of a longer one a hash.
func (v *texts) key(b []byte) uint64 {
	n := len(b)
	switch {
	case n > 8:
		return maphash.Bytes(v.seed, b)
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(n-4))
	case n > 0:
		return uint64(b[0]) | uint64(b[n/2])<<(8*(n/2)) | uint64(b[n-1])<<(8*(n-1))
	}
	return 0
}

func (v *texts) size() int {
	return len(v.plain) - levelRoom + (len(v.indices)*bits.Len(uint(len(v.ends)))+7)/8
}

func (v *texts) page(dst []byte) ([]byte, parquet.Encoding) {
	if v.dict && len(v.ends) > 0 { // without values there need be no dictionary
		dst = appendIndices(dst, v.indices, len(v.ends))
		v.indices = v.indices[:0]
		return dst, parquet.Encodings.RLEDict
	}
	dst, v.plain = behind(dst, v.plain)
	return dst, parquet.Encodings.Plain
}

func (v *texts) bounds() (low, high []byte, ok bool) {
	ok = v.seen
	v.seen = false
	v.pageMark++
	if !ok || len(v.low) > maxStatistic || len(v.high) > maxStatistic {
		return nil, nil, false
	}
	low, high = append([]byte{}, v.low...), append([]byte{}, v.high...) // empty is not missing
	if v.halfs {
		low, high = bothZeros(low, 0x80), bothZeros(high, 0)
	}
	return low, high, true
}

// bothZeros gives a zero of either sign the sign that makes the statistics hold for both.
func bothZeros(half []byte, sign byte) []byte {
	if half[0] == 0 && half[1]&0x7f == 0 {
		return []byte{0, sign}
	}
	return half
}

func (v *texts) merge(low, high, otherLow, otherHigh []byte) ([]byte, []byte) {
	if v.compare(otherLow, low) < 0 {
		low = otherLow
	}
	if v.compare(otherHigh, high) > 0 {
		high = otherHigh
	}
	return low, high
}

func (v *texts) pays() bool {
	return v.dict && v.bytes <= v.limit && repeats(len(v.ends), v.tried)
}

func (v *texts) giveUp(soon bool) {
	if soon {
		v.hashEntries()
		v.unnumber()
	}
	v.dict = false
}

// unnumber replaces the open page's indices by their values. Where no value came twice, which is why most dictionaries are given up, these
// are what is in the arena.
func (v *texts) unnumber() {
	if len(v.indices) == len(v.ends) && len(v.plain) == levelRoom {
		v.plain, v.arena, v.ends, v.indices = v.arena, v.plain, v.ends[:0], v.indices[:0]
		return
	}
	for at := 0; at < len(v.indices); {
		first := int(v.indices[at])
		n := 1
		for at+n < len(v.indices) && int(v.indices[at+n]) == first+n {
			n++
		}
		part := v.arena[v.start(first):v.ends[first+n-1]]
		v.plain = append(doubled(v.plain, len(part)), part...)
		at += n
	}
	v.indices = v.indices[:0]
}

func (v *texts) hashEntries() {
	if v.bloom == nil {
		return
	}
	for i := range v.ends {
		v.bloom.InsertHash(v.bloom.Hasher().Sum64(v.entry(uint32(i)))) //nolint:gosec // as above
	}
}

func (v *texts) entries(dst []byte) ([]byte, int) {
	v.hashEntries()
	return append(dst, v.arena[levelRoom:]...), len(v.ends)
}

func (v *texts) restart(use bool) {
	v.dict, v.tried, v.bytes, v.pageMark = use, 0, 0, 1
	v.arena, v.ends, v.marks = v.arena[:levelRoom], v.ends[:0], v.marks[:0]
	if use && v.slots == nil {
		v.slots = make([]textSlot, 256)
		return
	}
	clear(v.slots)
}

// compareSigned compares two's complement numbers of equal width, most significant byte first.
func compareSigned(a, b []byte) int {
	if c := int(int8(a[0])) - int(int8(b[0])); c != 0 { //nolint:gosec // the sign is meant
		return c
	}
	return bytes.Compare(a, b)
}

// compareHalfs compares float16 that are no NaN.
func compareHalfs(a, b []byte) int {
	x, y := float16.FromLEBytes(a), float16.FromLEBytes(b)
	switch {
	case x.Less(y):
		return -1
	case y.Less(x):
		return 1
	}
	return 0
}
