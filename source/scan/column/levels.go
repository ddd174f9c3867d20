package column

import (
	"errors"
	"fmt"
)

var errRowStart = errors.New("a page begins in the middle of a row")

// levels is the state of a leaf whose levels say more than its own validity: a block of decoded levels, and the nodes that are built
// from them.
type levels struct {
	maxDef, maxRep uint8
	anc            uint8   // the level from which on an entry is a slot of the leaf
	owned          []*node // outer to inner
	nullable       bool    // the leaf may have nulls among its slots

	def, rep [blockValues]uint8
	pos, n   int // the block's entries not yet consumed are [pos, n)

	started int64 // rows of the page that have begun
}

func (v *levels) clear() { v.pos, v.n, v.started = 0, 0, 0 }

// fill decodes the page's next levels when the block is used up.
func (l *leaf) fill() error {
	v := l.nested
	if v.pos < v.n {
		return nil
	}
	k := int(min(l.left, blockValues))
	v.pos, v.n = 0, k
	if err := l.def.bytes(v.def[:k], v.maxDef); err != nil {
		return err
	}
	if v.maxRep == 0 {
		return nil
	}
	return l.rep.bytes(v.rep[:k], v.maxRep)
}

// bytes decodes len(dst) levels, of which none may be higher than most.
func (h *hybrid) bytes(dst []uint8, most uint8) error {
	for len(dst) > 0 {
		if h.left == 0 {
			if err := h.next(); err != nil {
				return err
			}
		}
		k := min(len(dst), h.left)
		block := dst[:k]
		dst = dst[k:]
		if h.rle {
			if h.value > uint32(most) {
				return errLevel
			}
			for i := range block {
				block[i] = uint8(h.value)
			}
			h.pass(k)
			continue
		}
		h.unpackBytes(block)
		if uint32(most) != 1<<h.width-1 {
			for _, d := range block {
				if d > most {
					return errLevel
				}
			}
		}
	}
	return nil
}

// unpackBytes decodes len(dst) values of at most 8 bits of the current bit-packed run.
func (h *hybrid) unpackBytes(dst []uint8) {
	h.left -= len(dst)
	width, mask := int(h.width), uint64(1)<<h.width-1
	for len(dst) > 0 {
		// A word holds at least 56 bits from here: seven levels or more.
		k := min(len(dst), 56/max(width, 1))
		word := loadBits(h.packed, h.bit)
		for i := range dst[:k] {
			dst[i] = uint8(word & mask)
			word >>= h.width & 63
		}
		h.bit += k * width
		dst = dst[k:]
	}
}

// takeLevels is take for a leaf with levels.
func (l *leaf) takeLevels(n int64) error {
	if l.chunk.MaxRep > 0 {
		return l.eachRow(n, true)
	}
	v := l.nested
	for n > 0 {
		if err := l.ready(); err != nil {
			return err
		}
		if err := l.fill(); err != nil {
			return err
		}
		k := int(min(n, int64(v.n-v.pos)))
		if err := l.append(k); err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// passLevels passes k entries of the page without appending them.
func (l *leaf) passLevels(k int) error {
	v := l.nested
	for k > 0 {
		if err := l.fill(); err != nil {
			return err
		}
		m := min(k, v.n-v.pos)
		if err := l.pass(m); err != nil {
			return err
		}
		k -= m
	}
	return nil
}

// pass leaves out k entries of the block.
func (l *leaf) pass(k int) error {
	v := l.nested
	present := 0
	for _, d := range v.def[v.pos : v.pos+k] {
		if d == v.maxDef {
			present++
		}
	}
	v.pos += k
	l.left -= int64(k)
	return l.values.skip(present)
}

// append adds k entries of the block to the nodes and to the leaf.
func (l *leaf) append(k int) error {
	v := l.nested
	def, rep := v.def[v.pos:v.pos+k], v.rep[v.pos:v.pos+k]
	v.pos += k
	l.left -= int64(k)
	for _, node := range v.owned {
		if err := node.append(def, rep, v.maxRep); err != nil {
			return err
		}
	}
	present := 0
	switch {
	case v.nullable:
		present = appendSlots(&l.valid, def, v.anc, v.maxDef)
	default:
		for _, d := range def {
			if d >= v.anc {
				present++
			}
		}
		l.valid.appendOnes(present)
	}
	return l.values.take(&l.sink, present)
}

// appendSlots appends a bit for every level from anc on, set where it is at least min, and returns how many are set.
func appendSlots(b *bitmap, def []uint8, anc, least uint8) int {
	set := 0
	for len(def) > 0 {
		block := def[:min(len(def), 56)]
		def = def[len(block):]
		word, n := uint64(0), 0
		for _, d := range block {
			bit, slot := uint64(0), 0
			if d >= least {
				bit = 1
			}
			if d >= anc {
				slot = 1
			}
			word |= bit << (n & 63)
			n += slot
		}
		set += b.appendWord(word, n)
	}
	return set
}

// rowsEnd is how many entries of the block the next n rows take, as far as the block goes, and how many rows that is.
func (v *levels) rowsEnd(n int64) (k int, rows int64) {
	for i, r := range v.rep[v.pos:v.n] {
		if r == 0 {
			if rows == n {
				return i, rows
			}
			rows++
		}
	}
	return v.n - v.pos, rows
}

// eachRow takes or passes the next n rows of a repeated leaf, whole: it ends where the next row begins, or at a page that is known to
// begin with one.
func (l *leaf) eachRow(n int64, take bool) error {
	v := l.nested
	for start := true; ; start = false {
		if l.left == 0 {
			more, err := l.nextPage(true)
			if err != nil {
				return err
			}
			if !more && n > 0 {
				return errChunkEnd
			}
			if !more || n == 0 && l.aligned {
				return nil
			}
			start = start || l.aligned
		}
		if err := l.readyRows(); err != nil {
			return err
		}
		if start && v.rep[v.pos] != 0 {
			return errRowStart
		}
		k, rows := v.rowsEnd(n)
		if v.started += rows; l.rows >= 0 && v.started > l.rows {
			return fmt.Errorf("more than the page's %d rows", l.rows)
		}
		n -= rows
		var err error
		if take {
			err = l.append(k)
		} else {
			err = l.pass(k)
		}
		if err != nil || v.pos < v.n {
			return err
		}
	}
}

// readyRows makes sure that the block has the page's next entries: the page is loaded, and what was skipped is passed.
func (l *leaf) readyRows() error {
	if !l.loaded {
		if err := l.load(); err != nil {
			return err
		}
	}
	if n := l.owed; n > 0 {
		l.owed = 0
		if err := l.eachRow(n, false); err != nil {
			return err
		}
		if l.left == 0 {
			return errRowStart
		}
	}
	return l.fill()
}

// nextPage makes the next page current; false at the chunk's end. A page that was read to its end must have had its rows.
func (l *leaf) nextPage(take bool) (bool, error) {
	v := l.nested
	if l.loaded && l.rows >= 0 && v.started != l.rows {
		return false, fmt.Errorf("%d rows where %d are announced", v.started, l.rows)
	}
	v.clear()
	l.owed = 0
	return l.more(take)
}

// skipRows is skip for repeated leaves: pages whose rows are known are passed unread.
func (l *leaf) skipRows(n int64) error {
	v := l.nested
	for n > 0 {
		if l.left == 0 {
			more, err := l.nextPage(false)
			if err != nil {
				return err
			}
			if !more {
				return errChunkEnd
			}
		}
		if l.rows < 0 {
			return l.eachRow(n, false)
		}
		left := l.rows - v.started - l.owed
		if left <= 0 {
			return fmt.Errorf("more than the page's %d rows", l.rows)
		}
		k := min(n, left)
		l.owed += k
		n -= k
		if k == left {
			l.drop()
		}
	}
	return nil
}
