package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/cespare/xxhash/v2"

	"github.com/hubflight/hubflight/source/filter"
)

// Split-block bloom filters, as parquet-format's BloomFilter.md fixes them: blocks
// of 256 bits, one of which a value's hash names, and in that block eight words of
// which each has one bit for the value.
const (
	bloomBlock = 32
	// bloomHeader: no header is longer. The usual one has 15 to 19 bytes.
	bloomHeader = 64
	// minBloomBytes is the smallest header and one block.
	minBloomBytes = 15 + bloomBlock
)

var bloomSalt = [8]uint32{
	0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
}

// bloomFilter is where a filter's blocks are.
type bloomFilter struct{ blocks section }

// readBloomHeader decodes the header of a filter at s.
func readBloomHeader(data []byte, s section, size int64) (bloomFilter, error) {
	w := thriftWalk{data: data}
	known, length := 0, int64(0)
	err := w.fields(func(id int16, typ byte) (err error) {
		switch {
		case id == 1 && typ == thriftI32:
			length, err = w.varint()
		case id >= 2 && id <= 4 && typ == thriftStruct:
			// Of algorithm, hash and compression there is one each, number 1 of its union.
			err = w.fields(func(choice int16, typ byte) error {
				if choice == 1 && typ == thriftStruct {
					known++
				}
				return w.skip(typ, 2)
			})
		default:
			err = w.skip(typ, 1)
		}
		return err
	})
	f := bloomFilter{section{off: s.off + int64(w.pos), len: length}}
	switch {
	case err != nil:
		return f, err
	case known != 3:
		return f, errors.New("a bloom filter of an unknown kind")
	case length < bloomBlock || length%bloomBlock != 0 || length > maxBloomBytes || length > size-f.blocks.off:
		return f, fmt.Errorf("a bloom filter of %d bytes", length)
	}
	return f, nil
}

// header is the part of s that holds a filter's header.
func (s section) header() section { return section{s.off, min(s.len, bloomHeader)} }

// guessBloom says where the blocks are, if header and blocks together fill s and
// the header was written in the usual way. It saves a round trip; the header is
// read and checked in any case.
func guessBloom(s section) (bloomFilter, bool) {
	const fixed = 14 // all but the length
	for digits := int64(1); digits <= 5; digits++ {
		n := s.len - fixed - digits
		var buf [binary.MaxVarintLen64]byte
		if n >= bloomBlock && n%bloomBlock == 0 && int64(binary.PutVarint(buf[:], n)) == digits {
			return bloomFilter{section{off: s.off + fixed + digits, len: n}}, true
		}
	}
	return bloomFilter{}, false
}

// block is where the block of a hash is.
func (f bloomFilter) block(hash uint64) section {
	i := hash >> 32 * uint64(f.blocks.len/bloomBlock) >> 32
	return section{off: f.blocks.off + int64(i)*bloomBlock, len: bloomBlock}
}

// bloomHas reports whether a block may hold a hash.
func bloomHas(block []byte, hash uint64) bool {
	for i, salt := range bloomSalt {
		bit := uint32(1) << (uint32(hash) * salt >> 27)
		if binary.LittleEndian.Uint32(block[4*i:])&bit == 0 {
			return false
		}
	}
	return true
}

// bloomHash is the hash of a value as a column's writer would have hashed it: that
// of its plain encoding. It is unknown where several encodings mean one value, or
// where the filter was bound to another type than the file's.
func bloomHash(v filter.Value, leaf *schema.Column, native, bound arrow.DataType) (uint64, bool) {
	if !sameValues(native, bound) {
		return 0, false
	}
	plain, ok := plainBytes(v, leaf, native)
	if !ok {
		return 0, false
	}
	return xxhash.Sum64(plain), true
}

// sameValues reports whether a value of type bound is stored as that very value in
// a file where the column has type native.
func sameValues(native, bound arrow.DataType) bool {
	native, bound = storage(native), storage(bound)
	if arrow.IsInteger(native.ID()) {
		d, ok := bound.(*arrow.Decimal128Type)
		return arrow.IsInteger(bound.ID()) || ok && d.Scale == 0
	}
	texts := func(t arrow.DataType) bool {
		_, fixed := t.(*arrow.FixedSizeBinaryType)
		return fixed || arrow.IsBaseBinary(t.ID())
	}
	return arrow.TypeEqual(native, bound) || texts(native) && texts(bound)
}

// plainBytes is the plain encoding of a value in a column.
func plainBytes(v filter.Value, leaf *schema.Column, native arrow.DataType) ([]byte, bool) {
	switch leaf.PhysicalType() {
	case parquet.Types.Int32:
		if v.Int == nil || !v.Int.IsInt64() {
			return nil, false
		}
		n := v.Int.Int64()
		if n < math.MinInt32 || n > math.MaxUint32 || n > math.MaxInt32 && !arrow.IsUnsignedInteger(native.ID()) {
			return nil, false
		}
		return binary.LittleEndian.AppendUint32(nil, uint32(n)), true
	case parquet.Types.Int64:
		switch {
		case v.Int == nil:
			return nil, false
		case v.Int.IsInt64():
			return binary.LittleEndian.AppendUint64(nil, uint64(v.Int.Int64())), true
		case v.Int.IsUint64() && arrow.IsUnsignedInteger(native.ID()):
			return binary.LittleEndian.AppendUint64(nil, v.Int.Uint64()), true
		}
	case parquet.Types.Float:
		if f := float32(v.Float); float64(f) == v.Float {
			return binary.LittleEndian.AppendUint32(nil, math.Float32bits(f)), true
		}
	case parquet.Types.Double:
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v.Float)), true
	case parquet.Types.ByteArray:
		return []byte(v.Bytes), v.IsBytes
	case parquet.Types.FixedLenByteArray:
		switch {
		case v.IsBytes && len(v.Bytes) == leaf.TypeLength():
			return []byte(v.Bytes), true
		case v.Int != nil:
			return fixedDecimal(v.Int, leaf.TypeLength())
		}
	}
	return nil, false
}

// fixedDecimal is an unscaled decimal in n bytes: big-endian two's complement.
func fixedDecimal(v *big.Int, n int) ([]byte, bool) {
	if n <= 0 || v.BitLen() >= 8*n {
		return nil, false
	}
	if v.Sign() < 0 {
		v = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	return v.FillBytes(make([]byte, n)), true
}
