package rangeio

import "slices"

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
	done chan struct{} // closed when the request under way has ended
}

type blockState uint8

const (
	blockIdle     blockState = iota // not asked for, or given up after an error
	blockFetching                   // a goroutine writes to data
	blockReady                      // data is there
	blockFailed                     // err is for the next read
	blockSpent                      // all that was wanted has been read
)

// planBlocks merges ranges, in the order given, over gaps of at most gap bytes,
// and cuts the runs into equal blocks of at most limit bytes. It returns nil for
// ranges that overlap: no sound file has them, and they are read as they are
// asked for.
func planBlocks(ranges []Range, gap, limit int64) []*block {
	var blocks []*block
	for i := 0; i < len(ranges); {
		run, j := ranges[i], i+1
		for j < len(ranges) && ranges[j].Off >= run.End() && ranges[j].Off-run.End() <= gap {
			run.Len = ranges[j].End() - run.Off
			j++
		}
		blocks = append(blocks, cut(run, ranges[i:j], limit)...)
		i = j
	}
	inOrder := slices.Clone(blocks)
	slices.SortFunc(inOrder, byOffset)
	for i := 1; i < len(inOrder); i++ {
		if inOrder[i].Off < inOrder[i-1].End() {
			return nil
		}
	}
	return blocks
}

func byOffset(a, b *block) int {
	switch {
	case a.Off < b.Off:
		return -1
	case a.Off > b.Off:
		return 1
	}
	return 0
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
