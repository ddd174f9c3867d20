package parquetfile

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/parquet"
)

// bools are the values of a BOOLEAN column. They have no dictionary, and no bloom filter: both values are nearly always there.
type bools struct {
	settings
	todo []bool
	next int // of todo, the first that is not added yet
	open []bool
	seen [2]bool
}

func (v *bools) load(a arrow.Array, live []run) error {
	v.todo, v.next = v.todo[:0], 0
	if len(live) == 0 {
		return nil
	}
	bitmap, offset := a.Data().Buffers()[1].Bytes(), a.Data().Offset()
	for _, r := range live {
		for i := r.lo; i < r.hi; i++ {
			v.todo = append(v.todo, bitutil.BitIsSet(bitmap, offset+i))
		}
	}
	return nil
}

func (v *bools) cost(_, n int) int { return n }

func (v *bools) add(n int) {
	part := v.todo[v.next:][:n]
	v.next += n
	for _, b := range part {
		v.seen[index(b)] = true
	}
	v.open = append(v.open, part...)
}

func index(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (v *bools) size() int { return (len(v.open) + 7) / 8 }

func (v *bools) page(dst []byte) ([]byte, parquet.Encoding) {
	for at := 0; at < len(v.open); at += 8 {
		var packed byte
		for i, b := range v.open[at:min(at+8, len(v.open))] {
			packed |= index(b) << i
		}
		dst = append(dst, packed)
	}
	v.open = v.open[:0]
	return dst, parquet.Encodings.Plain
}

func (v *bools) bounds() (low, high []byte, ok bool) {
	s := v.seen
	v.seen = [2]bool{}
	return []byte{index(!s[0])}, []byte{index(s[1])}, s[0] || s[1]
}

func (v *bools) merge(low, high, otherLow, otherHigh []byte) ([]byte, []byte) {
	return []byte{min(low[0], otherLow[0])}, []byte{max(high[0], otherHigh[0])}
}

func (v *bools) pays() bool { return false }

func (v *bools) giveUp(bool) {}

func (v *bools) entries(dst []byte) ([]byte, int) { return dst, 0 }

func (v *bools) restart(bool) {}
