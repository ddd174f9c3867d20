package rangeio

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/hubflight/hubflight/source"
)

// ahead is a Reader's plan and how far it has come. The Reader's mutex guards it,
// running excepted.
type ahead struct {
	ctx      context.Context // ends the fetches; nil before the first Expect
	cancel   context.CancelFunc
	blocks   []*block // in order of need
	byOffset []*block // those that are not spent; they do not overlap
	next     int      // blocks before this one have been started once
	inFlight int      // fetches under way
	due      int64    // bytes of them that have not come yet
	held     int64    // bytes of blocks that are fetching or ready
	broken   bool     // a fetch failed: nothing more ahead until somebody asks
	closed   bool
	running  sync.WaitGroup
}

// Expect announces what will be read next, in the order of need, and begins to
// fetch it. It may be called again, also while reads are under way: what is new
// comes behind what was announced before, and nothing that waits to be read is
// fetched twice. The ctx of the first call bounds all fetching. Announcing what is
// not read, or reading what is not announced, costs requests and memory, never
// correctness.
func (r *Reader) Expect(ctx context.Context, ranges []Range) {
	r.expect(ctx, ranges, nil, math.MaxInt64)
}

// ExpectAll is ExpectInOrder for a caller that announces everything at once. Its
// requests overlap, so that one more of them costs little: of the gaps that nobody
// announces only the smallest are read along, up to a share of what is wanted.
func (r *Reader) ExpectAll(ctx context.Context, ranges []Range) {
	later := sorted(ranges)
	r.expect(ctx, ranges, later, affordable(ranges, later))
}

// ExpectInOrder is Expect for ranges whose order matters more than the number of
// requests: a gap that holds something announced for later is not read along, so that
// what is needed first does not wait for what is needed last.
func (r *Reader) ExpectInOrder(ctx context.Context, ranges []Range) {
	r.expect(ctx, ranges, sorted(ranges), math.MaxInt64)
}

// sorted is a copy by offset.
func sorted(ranges []Range) []Range {
	out := slices.Clone(ranges)
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Off, b.Off) })
	return out
}

// affordable is the largest gap to be read along if all gaps up to it together are at
// most one byte for every gapShare bytes that are wanted. What is in later, which is
// sorted, is no gap.
func affordable(ranges, later []Range) int64 {
	var gaps []int64
	wanted, most := int64(0), int64(0)
	for i, x := range ranges {
		wanted += x.Len
		if i == 0 || x.Off <= ranges[i-1].End() {
			continue
		}
		if gap := between(ranges[i-1], x); !touches(later, gap) {
			gaps = append(gaps, gap.Len)
		}
	}
	slices.Sort(gaps)
	left := wanted / gapShare
	for _, gap := range gaps {
		if left -= gap; left < 0 {
			break
		}
		most = gap
	}
	return most
}

// expect announces ranges. Gaps that are in later, which is sorted, or larger than most,
// unless somebody has fixed what is read along, stay gaps.
func (r *Reader) expect(ctx context.Context, ranges, later []Range, most int64) {
	if r.scheduler == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.plan
	if p.closed {
		return
	}
	end := r.Size() - int64(len(r.tail))
	before := len(p.blocks)
	runs := runner{plan: p, limit: r.scheduler.max, later: later}
	runs.gap, runs.share = r.scheduler.gap()
	if !r.scheduler.fixed {
		runs.gap = min(runs.gap, most)
	}
	for _, x := range ranges {
		if x.Off < 0 || x.Len < 0 || x.End() < x.Off || x.End() > r.Size() {
			break // the reads will fail with an error of their own
		}
		if x.Len = min(x.Len, end-x.Off); x.Len > 0 {
			runs.add(x)
		}
	}
	runs.close()
	if len(p.blocks) == before {
		return
	}
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(ctx)
		r.scheduler.join()
	}
	r.pump()
}

// pump starts what the budget allows. r.mu is held.
func (r *Reader) pump() {
	p := &r.plan
	for !p.closed && !p.broken && p.next < len(p.blocks) && p.inFlight < r.scheduler.inFlight && r.scheduler.fills(p.due) {
		b := p.blocks[p.next]
		if b.state == blockIdle {
			if !r.scheduler.take(b.Len, p.held) {
				return
			}
			r.start(b)
		}
		p.blocks[p.next] = nil // its place by offset remembers it until it is read
		p.next++
	}
}

// start begins to fetch a block whose bytes the Scheduler has given. r.mu is held.
func (r *Reader) start(b *block) {
	p := &r.plan
	b.state, b.err, b.filled, b.drained = blockFetching, nil, 0, false
	p.inFlight++
	p.due += b.Len
	p.held += b.Len
	p.running.Add(1)
	go r.run(b, slices.Clone(b.wants))
}

// run is the goroutine of one fetch.
func (r *Reader) run(b *block, wants []Range) {
	defer r.plan.running.Done()
	// Here, because large buffers take their time, which the next requests need not wait
	// for. Nobody looks at it before he is told, under r.mu, that some of it is filled.
	b.data = r.scheduler.buffer(b.Len)
	partial, err := r.fetchBlock(b, wants)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer b.wake()
	r.plan.inFlight--
	r.plan.due -= b.Len - b.filled
	b.state, b.err, b.only = blockReady, err, nil
	if partial {
		b.only = wants
		// What was announced meanwhile is not in it: read when asked for.
		b.wants = slices.DeleteFunc(b.wants, func(w Range) bool { return !b.has(w) })
	}
	drained := b.drained && len(b.wants) == 0
	if err != nil || drained {
		r.free(b)
	}
	switch {
	case drained: // what failed, if anything, is a gap that nobody waits for
		r.plan.spend(b)
	case err != nil:
		b.state = blockFailed
	}
	r.plan.broken = r.plan.broken || err != nil
	r.pump()
}

// fetchBlock turns a panic below into an error: this is a goroutine's root.
func (r *Reader) fetchBlock(b *block, wants []Range) (partial bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = source.Errorf(source.KindInternal, "read file", "panic: %v", p)
		}
	}()
	return r.fetch(r.plan.ctx, b.data, b.Range, wants, func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.plan.due -= int64(n) - b.filled
		b.filled = int64(n)
		b.wake()
		r.pump()
	})
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
	b, end := r.plan.at(off)
	return b, min(n, end-off)
}

// piece reads the beginning of p, as far as one block or one gap between blocks
// goes.
func (r *Reader) piece(ctx context.Context, p []byte, off int64) (int64, error) {
	r.mu.Lock()
	b, n := r.find(off, int64(len(p)))
	if b == nil || b.state == blockReady && !b.has(Range{off, n}) || r.plan.closed {
		r.mu.Unlock()
		_, err := r.fetch(ctx, p[:n], Range{off, n}, nil, nil)
		return n, err
	}
	r.demand(off, int64(len(p)))
	if err := r.await(ctx, b, Range{off, n}); err != nil {
		return 0, err
	}
	defer r.mu.Unlock()
	switch {
	case b.state == blockFetching, b.state == blockReady && b.has(Range{off, n}):
		copy(p[:n], b.data[off-b.Off:])
		if !b.read(Range{off, n}) {
			return n, nil
		}
		if b.state == blockFetching {
			b.drained = true // the rest is a gap: its memory is written to until the fetch ends
			return n, nil
		}
		r.plan.spend(b)
		r.free(b)
		r.pump()
		return n, nil
	case b.state == blockFailed:
		b.state = blockIdle
		return 0, b.err
	default: // read to its end by somebody else, or without these bytes: look again
		return 0, nil
	}
}

// await waits until a block is no longer being fetched, or has come as far as the
// end of x. r.mu is held, also when it returns nil.
func (r *Reader) await(ctx context.Context, b *block, x Range) error {
	for b.state == blockFetching && b.Off+b.filled < x.End() {
		if b.moved == nil {
			b.moved = make(chan struct{})
		}
		moved := b.moved
		r.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return source.AsError("read file", ctx.Err())
		}
		r.mu.Lock()
	}
	return nil
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
	if r.plan.ctx != nil && !r.plan.closed {
		r.plan.cancel()
		r.scheduler.leave()
	}
	r.plan.closed = true
}

// dropBlocks gives back what was fetched for nothing. No fetch runs any more, and
// r.mu is held.
func (r *Reader) dropBlocks() {
	for _, b := range r.plan.byOffset {
		if b.state == blockReady {
			b.state = blockSpent
			r.free(b)
		}
	}
	r.plan.blocks, r.plan.byOffset = nil, nil
}
