package rangeio

import (
	"math"
	"slices"
	"sort"
)

// Range is Len bytes of a file from Off.
type Range struct{ Off, Len int64 }

// End is the first byte behind the range.
func (r Range) End() int64 { return r.Off + r.Len }

// block is one request of the plan, and what became of it. The Reader's mutex
// guards it.
type block struct {
	Range
	// wants are the parts that will be read; the rest is gaps. A part is struck
	// out when a read has reached its end.
	wants []Range
	state blockState
	data  []byte
	// only lists the parts of data that are the file's; nil is all.
	only []Range
	err  error
	// filled is how many bytes of data are there already while the rest is on its
	// way; whoever waits for more waits for moved.
	filled int64
	moved  chan struct{} // nil: nobody waits
	// drained: all that was wanted has been read before the request had ended.
	drained bool
}

// wake tells those who wait that the block has come further.
func (b *block) wake() {
	if b.moved != nil {
		close(b.moved)
		b.moved = nil
	}
}

type blockState uint8

const (
	blockIdle     blockState = iota // not asked for, or given up after an error
	blockFetching                   // a goroutine writes to data
	blockReady                      // data is there
	blockFailed                     // err is for the next read
	blockSpent                      // all that was wanted has been read
)

// at returns the block that holds the byte at off and where that block ends, or
// nil and where the next one begins.
func (p *ahead) at(off int64) (*block, int64) {
	i := p.search(off)
	switch {
	case i == len(p.byOffset):
		return nil, math.MaxInt64
	case p.byOffset[i].Off > off:
		return nil, p.byOffset[i].Off
	}
	return p.byOffset[i], p.byOffset[i].End()
}

// search is the index of the first block that ends behind off.
func (p *ahead) search(off int64) int {
	return sort.Search(len(p.byOffset), func(i int) bool { return p.byOffset[i].End() > off })
}

// insert takes up new blocks, neighbours of each other, which overlap no other.
func (p *ahead) insert(blocks []*block) {
	p.blocks = append(p.blocks, blocks...)
	p.byOffset = slices.Insert(p.byOffset, p.search(blocks[0].Off), blocks...)
}

// spend forgets a block that has been read to its end: if its bytes are announced
// or read once more, they are fetched once more.
func (p *ahead) spend(b *block) {
	b.state = blockSpent
	i := p.search(b.Off)
	p.byOffset = slices.Delete(p.byOffset, i, i+1)
}

// runner merges announced ranges over gaps of at most gap bytes, in the order
// given, and cuts the runs into equal blocks of at most limit bytes. What a block
// holds already is wanted of that block.
type runner struct {
	plan       *ahead
	gap, limit int64
	later      []Range // over gaps that are in one of them nothing is merged; by offset
	share      int64   // wanted bytes for each byte of gaps; 0: no matter
	run        Range   // being merged
	waste      int64   // of it, gaps
	wants      []Range
}

func (m *runner) add(x Range) {
	if m.run.Len > 0 && x.Off < m.run.End() && x.End() > m.run.Off {
		m.close() // now it is found like everything else
	}
	for x.Len > 0 {
		b, end := m.plan.at(x.Off)
		part := Range{x.Off, min(x.End(), end) - x.Off}
		x = Range{part.End(), x.Len - part.Len}
		switch {
		case b == nil:
			m.merge(part)
		case b.state != blockReady || b.has(part):
			b.wants = append(b.wants, part)
		} // else the block came from disk without these bytes: read when asked for
	}
}

// merge makes the run longer by a part that no block holds, or begins the next
// run. Over a gap that is another block's, wholly or partly, nothing is merged.
func (m *runner) merge(x Range) {
	gap := between(m.run, x)
	if m.run.Len > 0 && gap.Len >= 0 && gap.Len <= m.gap && m.pays(gap.Len, x.Len) && !touches(m.later, gap) {
		if b, next := m.plan.at(m.run.End()); b == nil && next >= x.Off {
			m.run.Len = x.End() - m.run.Off
			m.waste += gap.Len
			m.wants = append(m.wants, x)
			return
		}
	}
	m.close()
	m.run, m.wants, m.waste = x, []Range{x}, 0
}

// between is what lies behind a and in front of b.
func between(a, b Range) Range { return Range{a.End(), b.Off - a.End()} }

// touches reports whether some of a gap is in one of the ranges, which are sorted.
func touches(ranges []Range, gap Range) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].End() > gap.Off })
	return i < len(ranges) && ranges[i].Off < gap.End()
}

// pays reports whether the run would still be mostly wanted bytes with n more of
// them behind another gap.
func (m *runner) pays(gap, n int64) bool {
	return gap == 0 || (m.waste+gap)*m.share <= m.run.Len-m.waste+n
}

// close makes blocks of the run.
func (m *runner) close() {
	if m.run.Len > 0 {
		m.plan.insert(cut(m.run, m.wants, m.limit))
	}
	m.run, m.wants = Range{}, nil
}

// cut divides a run, and gives every block its part of the wants.
func cut(run Range, wants []Range, limit int64) []*block {
	n := (run.Len + limit - 1) / limit
	blocks := make([]*block, 0, n)
	for k := range n {
		from, to := run.Off+run.Len*k/n, run.Off+run.Len*(k+1)/n
		blocks = append(blocks, &block{Range: Range{from, to - from}})
	}
	k := 0
	for _, w := range wants {
		for blocks[k].End() <= w.Off {
			k++
		}
		for at := k; at < len(blocks) && blocks[at].Off < w.End(); at++ {
			from, to := max(w.Off, blocks[at].Off), min(w.End(), blocks[at].End())
			blocks[at].wants = append(blocks[at].wants, Range{from, to - from})
		}
	}
	return blocks
}

// read strikes out what a read of r has reached, and reports whether nothing is
// left to be read.
func (b *block) read(r Range) bool {
	b.wants = slices.DeleteFunc(b.wants, func(w Range) bool { return w.End() > r.Off && w.End() <= r.End() })
	return len(b.wants) == 0
}

// has reports whether data, once there, holds the file's bytes of r.
func (b *block) has(r Range) bool {
	return b.only == nil || slices.ContainsFunc(b.only, func(w Range) bool { return w.Off <= r.Off && r.End() <= w.End() })
}
