package rangeio

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/hubflight/hubflight/source"
)

// ahead is a Reader's plan and how far it has come. The Reader's mutex guards it,
// running excepted.
type ahead struct {
	ctx      context.Context // ends the fetches
	cancel   context.CancelFunc
	blocks   []*block // in order of need
	byOffset []*block
	next     int   // blocks before this one have been started once
	inFlight int   // fetches under way
	held     int64 // bytes of blocks that are fetching or ready
	broken   bool  // a fetch failed: nothing more ahead until somebody asks
	closed   bool
	running  sync.WaitGroup
}

// Expect announces what will be read, in the order of need, and begins to fetch
// it. It is called once, before the reads; ctx bounds the fetching. Announcing
// what is not read, or reading what is not announced, costs requests, never
// correctness.
func (r *Reader) Expect(ctx context.Context, ranges []Range) {
	if r.scheduler == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.plan.closed || r.plan.blocks != nil {
		return
	}
	end := r.Size() - int64(len(r.tail))
	kept := make([]Range, 0, len(ranges))
	for _, x := range ranges {
		if x.Off < 0 || x.Len < 0 || x.End() < x.Off || x.End() > r.Size() {
			return // the reads will fail with an error of their own
		}
		if x.Len = min(x.Len, end-x.Off); x.Len > 0 {
			kept = append(kept, x)
		}
	}
	p := &r.plan
	if p.blocks = planBlocks(kept, r.scheduler.gap(), r.scheduler.max); len(p.blocks) == 0 {
		return
	}
	p.byOffset = slices.Clone(p.blocks)
	slices.SortFunc(p.byOffset, byOffset)
	p.ctx, p.cancel = context.WithCancel(ctx)
	r.scheduler.join()
	r.pump()
}

// pump starts what the budget allows. r.mu is held.
func (r *Reader) pump() {
	p := &r.plan
	for !p.closed && !p.broken && p.next < len(p.blocks) && p.inFlight < r.scheduler.inFlight {
		b := p.blocks[p.next]
		if b.state == blockIdle {
			if !r.scheduler.take(b.Len, p.held) {
				return
			}
			r.start(b)
		}
		p.next++
	}
}

// start begins to fetch a block whose bytes the Scheduler has given. r.mu is held.
func (r *Reader) start(b *block) {
	p := &r.plan
	b.state, b.err, b.done = blockFetching, nil, make(chan struct{})
	b.data = r.scheduler.buffer(b.Len)
	p.inFlight++
	p.held += b.Len
	p.running.Add(1)
	go r.run(b, slices.Clone(b.wants))
}

// run is the goroutine of one fetch.
func (r *Reader) run(b *block, wants []Range) {
	defer r.plan.running.Done()
	partial, err := r.fetchBlock(b, wants)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(b.done)
	r.plan.inFlight--
	b.state, b.err, b.only = blockReady, err, nil
	if partial {
		b.only = wants
	}
	if err != nil {
		r.free(b)
		b.state, r.plan.broken = blockFailed, true
	}
	r.pump()
}

// fetchBlock turns a panic below into an error: this is a goroutine's root.
func (r *Reader) fetchBlock(b *block, wants []Range) (partial bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = source.Errorf(source.KindInternal, "read file", "panic: %v", p)
		}
	}()
	return r.fetch(r.plan.ctx, b.data, b.Range, wants)
}

// free gives back a block's memory. r.mu is held, and no fetch writes to it.
func (r *Reader) free(b *block) {
	r.scheduler.reuse(b.data)
	b.data = nil
	r.plan.held -= b.Len
	r.scheduler.give(b.Len)
}

// planned reports whether a block holds the byte at off.
func (r *Reader) planned(off int64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	b, _ := r.find(off, 1)
	return b != nil
}

// find returns the block with the byte at off and how many of n bytes it has, or
// nil and how many bytes come before the next block. r.mu is held.
func (r *Reader) find(off, n int64) (*block, int64) {
	all := r.plan.byOffset
	i := sort.Search(len(all), func(i int) bool { return all[i].End() > off })
	switch {
	case i == len(all):
		return nil, n
	case all[i].Off > off:
		return nil, min(n, all[i].Off-off)
	}
	return all[i], min(n, all[i].End()-off)
}

// piece reads the beginning of p, as far as one block or one gap between blocks
// goes.
func (r *Reader) piece(ctx context.Context, p []byte, off int64) (int64, error) {
	r.mu.Lock()
	b, n := r.find(off, int64(len(p)))
	if b == nil || b.state == blockSpent || b.state == blockReady && !b.has(Range{off, n}) || r.plan.closed {
		r.mu.Unlock()
		_, err := r.fetch(ctx, p[:n], Range{off, n}, nil)
		return n, err
	}
	r.demand(off, int64(len(p)))
	for b.state == blockFetching {
		done := b.done
		r.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return 0, source.AsError("read file", ctx.Err())
		}
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	switch {
	case b.state == blockReady && b.has(Range{off, n}):
		copy(p[:n], b.data[off-b.Off:])
		if b.read(Range{off, n}) {
			b.state = blockSpent
			r.free(b)
			r.pump()
		}
		return n, nil
	case b.state == blockFailed:
		b.state = blockIdle
		return 0, b.err
	default: // read to its end by somebody else, or without these bytes: look again
		return 0, nil
	}
}

// demand starts the blocks that a read needs now, whatever the budget. r.mu is
// held.
func (r *Reader) demand(off, n int64) {
	for end := off + n; off < end; {
		b, k := r.find(off, end-off)
		if b != nil && b.state == blockIdle {
			r.plan.broken = false
			r.scheduler.force(b.Len)
			r.start(b)
		}
		off += k
	}
	r.pump()
}

// stopAhead cancels the fetches. r.mu is held.
func (r *Reader) stopAhead() {
	if r.plan.cancel != nil && !r.plan.closed {
		r.plan.cancel()
		r.scheduler.leave()
	}
	r.plan.closed = true
}

// dropBlocks gives back what was fetched for nothing. No fetch runs any more, and
// r.mu is held.
func (r *Reader) dropBlocks() {
	for _, b := range r.plan.blocks {
		if b.state == blockReady {
			b.state = blockSpent
			r.free(b)
		}
	}
	r.plan.blocks, r.plan.byOffset = nil, nil
}
