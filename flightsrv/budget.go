package flightsrv

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
)

// A budget is the memory that open scans may take together. Streams are not
// limited by number but by what they hold: windows over the chunks of one row
// group and a few batches, leased for as long as the stream is open. What nobody
// waits for is lent for decoding ahead, and comes back when a client stalls.
type budget struct {
	room *semaphore.Weighted
	size int64
}

func newBudget(size int64) budget { return budget{room: semaphore.NewWeighted(size), size: size} }

// lease waits its turn, first come first served, for n bytes; release, which is
// never nil, gives them back. More than everything is everything. The error is
// KindBusy when patience has run out, or the context's.
func (b budget) lease(ctx context.Context, n int64, patience time.Duration) (release func(), err error) {
	n = min(n, b.size)
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.room.Acquire(waiting, n); err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nothing, source.Errorf(source.KindBusy, "read", "no memory became free within %s", patience).
				WithHint("the server is busy; try again, or raise memory.budget")
		}
		return nothing, err
	}
	return func() { b.room.Release(n) }, nil
}

// tryLease is lease for what can be done without: it waits for nothing and stands
// behind everybody who does.
func (b budget) tryLease(n int64) (release func(), ok bool) {
	if !b.room.TryAcquire(n) {
		return nothing, false
	}
	return func() { b.room.Release(n) }, true
}

func nothing() {}
