package column

import "errors"

var (
	errChunkEnd = errors.New("the chunk ends before its rows do")
	errLevel    = errors.New("a level is higher than the schema allows")
)

// leaf is one leaf of the Reader's field: where its pages are, what its array becomes, and which nodes above it it builds.
type leaf struct {
	cursor
	sink
	ordinal int
	nested  *levels // nil for leaves whose definition levels are nothing but validity

	owed int64 // rows of the page to pass before the next is taken
}

// take appends the next n rows.
func (l *leaf) take(n int64) error {
	if n == 0 {
		return nil
	}
	if l.nested != nil {
		return l.takeLevels(n)
	}
	for n > 0 {
		if err := l.ready(); err != nil {
			return err
		}
		k := int(min(n, l.left))
		present := k
		if l.chunk.MaxDef == 0 {
			l.valid.appendOnes(k)
		} else {
			var err error
			if present, err = l.def.validity(&l.valid, k); err != nil {
				return err
			}
		}
		if err := l.values.take(&l.sink, present); err != nil {
			return err
		}
		l.left -= int64(k)
		n -= int64(k)
	}
	return nil
}

// skip passes n rows. Nothing is read but page headers: what is left to pass in a page waits until a row of it is taken.
func (l *leaf) skip(n int64) error {
	if l.nested != nil && l.chunk.MaxRep > 0 {
		return l.skipRows(n)
	}
	for n > 0 {
		if l.left == 0 {
			if err := l.advance(false); err != nil {
				return err
			}
		}
		k := min(n, l.left-l.owed)
		l.owed += k
		n -= k
		if l.owed == l.left {
			l.drop()
		}
	}
	return nil
}

// advance makes the next page current.
func (l *leaf) advance(take bool) error {
	l.owed = 0
	if l.nested != nil {
		l.nested.clear()
	}
	ok, err := l.more(take)
	if err == nil && !ok {
		err = errChunkEnd
	}
	return err
}

// drop leaves the rest of the page alone.
func (l *leaf) drop() {
	l.left, l.owed, l.loaded = 0, 0, false
	if l.nested != nil {
		l.nested.clear()
	}
}

// ready makes sure that the next row can be taken: a page is loaded, and what was skipped is passed.
func (l *leaf) ready() error {
	if l.left == 0 {
		if err := l.advance(true); err != nil {
			return err
		}
	}
	if !l.loaded {
		if err := l.load(); err != nil {
			return err
		}
	}
	if l.owed == 0 {
		return nil
	}
	k := int(l.owed)
	l.owed = 0
	if l.nested != nil {
		return l.passLevels(k)
	}
	present := k
	if l.chunk.MaxDef > 0 {
		var err error
		if present, err = l.def.countOnes(k); err != nil {
			return err
		}
	}
	l.left -= int64(k)
	return l.values.skip(present)
}

// validity appends k levels of one bit to b as they are, and returns how many are ones.
func (h *hybrid) validity(b *bitmap, k int) (int, error) {
	set := 0
	for k > 0 {
		if h.left == 0 {
			if err := h.next(); err != nil {
				return 0, err
			}
		}
		m := min(k, h.left)
		switch {
		case !h.rle:
			set += b.appendBits(h.packed, h.bit, m)
		case h.value != 0:
			b.appendOnes(m)
			set += m
		default:
			b.appendZeros(m)
		}
		h.pass(m)
		k -= m
	}
	return set, nil
}

// countOnes passes k levels of one bit and returns how many are ones.
func (h *hybrid) countOnes(k int) (int, error) {
	set := 0
	for k > 0 {
		if h.left == 0 {
			if err := h.next(); err != nil {
				return 0, err
			}
		}
		m := min(k, h.left)
		switch {
		case !h.rle:
			set += countBits(h.packed, h.bit, m)
		case h.value != 0:
			set += m
		}
		h.pass(m)
		k -= m
	}
	return set, nil
}
