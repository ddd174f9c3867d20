package parquetfile

import (
	"encoding/binary"
	"slices"
)

// appendHybrid appends values of the given width in the RLE/bit-packing hybrid: runs of 8 and more as such, what lies between in groups of
// 8. Only the last group may be filled up, because there the reader knows that the values end.
func appendHybrid[T uint8 | uint32](dst []byte, values []T, width uint) []byte {
	for at := 0; at < len(values); {
		if n := runLength(values[at:]); n >= 8 {
			dst = appendRun(dst, uint32(values[at]), n, width)
			at += n
			continue
		}
		end := at + 8
		for end < len(values) && !sameEight(values[end:]) {
			end += 8
		}
		dst = appendPacked(dst, values[at:min(end, len(values))], width)
		at = end
	}
	return dst
}

// appendRun appends n times the same value.
func appendRun(dst []byte, value uint32, n int, width uint) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for bits := uint(0); bits < width; bits += 8 {
		dst = append(dst, byte(value>>bits))
	}
	return dst
}

func runLength[T uint8 | uint32](values []T) int {
	first := values[0]
	at := 0
	if levels, ok := any(values).([]uint8); ok { // nearly always the same
		for all := uint64(levels[0]) * 0x0101010101010101; at+8 <= len(levels) && binary.LittleEndian.Uint64(levels[at:]) == all; {
			at += 8
		}
	}
	for i := at; i < len(values); i++ {
		v := values[i]
		if v != first {
			return i
		}
	}
	return len(values)
}

func sameEight[T uint8 | uint32](v []T) bool {
	if len(v) < 8 || v[0] != v[1] {
		return false
	}
	return v[0] == v[2] && v[0] == v[3] && v[0] == v[4] && v[0] == v[5] && v[0] == v[6] && v[0] == v[7]
}

// appendPacked appends one bit-packed run, least significant bits first.
func appendPacked[T uint8 | uint32](dst []byte, values []T, width uint) []byte {
	groups := (len(values) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	whole := len(dst) + groups*int(width)
	if width <= 16 {
		dst, values = appendEights(slices.Grow(dst, groups*int(width)+16), values, width)
	}
	var word uint64
	var bits uint
	for _, v := range values {
		word |= uint64(v) << bits
		if bits += width; bits >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(word)) //nolint:gosec // the lower half
			word >>= 32
			bits -= 32
		}
	}
	for ; bits > 0; bits -= min(bits, 8) {
		dst = append(dst, byte(word))
		word >>= 8
	}
	for len(dst) < whole {
		dst = append(dst, 0)
	}
	return dst
}

// appendEights appends the whole groups of 8 of values that are at most 16 bits wide, and returns the values that are left. There is room for
// 16 bytes more than they take.
func appendEights[T uint8 | uint32](dst []byte, values []T, width uint) ([]byte, []T) {
	at := len(dst)
	dst = dst[:cap(dst)]
	for len(values) >= 8 {
		v := values[:8]
		low := uint64(v[0]) | uint64(v[1])<<width | uint64(v[2])<<(2*width) | uint64(v[3])<<(3*width)
		high := uint64(v[4]) | uint64(v[5])<<width | uint64(v[6])<<(2*width) | uint64(v[7])<<(3*width)
		binary.LittleEndian.PutUint64(dst[at:], low|high<<(4*width))
		binary.LittleEndian.PutUint64(dst[at+8:], high>>(64-4*width))
		at += int(width)
		values = values[8:]
	}
	return dst[:at], values
}
