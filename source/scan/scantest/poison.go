package scantest

import (
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Recycler is a pool of memory as the scanner uses one: zeroed, and through Dirty
// as the last owner left it.
type Recycler interface {
	memory.Allocator
	Dirty() memory.Allocator
}

// Poison is a Recycler that overwrites what is freed before it gives it back for
// reuse, and all of it, not only the part that was in use: the worst that a pool
// may do to somebody who still reads what was released. Safe for concurrent use.
type Poison struct {
	zeroed, dirty memory.Allocator
	spoilt        *atomic.Int64
	live          *atomic.Int64
}

var _ Recycler = (*Poison)(nil)

// poisonByte makes offsets and lengths that are far outside of everything.
const poisonByte = 0xDB

// NewPoison wraps a pool.
func NewPoison(pool Recycler) *Poison {
	return &Poison{zeroed: pool, dirty: pool.Dirty(), spoilt: new(atomic.Int64), live: new(atomic.Int64)}
}

// Spoilt is how many bytes were overwritten so far.
func (p *Poison) Spoilt() int64 { return p.spoilt.Load() }

// Live is how many bytes are handed out and not freed.
func (p *Poison) Live() int64 { return p.live.Load() }

// Dirty is the same Poison over memory that holds the poison of before.
func (p *Poison) Dirty() memory.Allocator {
	return &Poison{zeroed: p.dirty, dirty: p.dirty, spoilt: p.spoilt, live: p.live}
}

// Allocate delegates.
func (p *Poison) Allocate(size int) []byte {
	b := p.zeroed.Allocate(size)
	p.live.Add(int64(cap(b)))
	return b
}

// Reallocate always moves, so that nobody can go on with the old block.
func (p *Poison) Reallocate(size int, b []byte) []byte {
	out := p.Allocate(size)
	copy(out, b)
	p.Free(b)
	return out
}

// Free overwrites the block and gives it back.
func (p *Poison) Free(b []byte) {
	whole := b[:cap(b)]
	p.live.Add(-int64(len(whole)))
	p.spoilt.Add(int64(len(whole)))
	for i := range whole {
		whole[i] = poisonByte
	}
	p.zeroed.Free(b)
}
