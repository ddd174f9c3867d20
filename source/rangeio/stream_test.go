package rangeio_test

import (
	"context"
	"errors"
	"testing"

	"github.com/hubflight/hubflight/source/rangeio"
)

// slow is an origin that gives the first part of a request, and the rest when it
// is let go.
type slow struct {
	*origin
	first int
	rest  chan error
}

func (s *slow) StreamAt(ctx context.Context, p []byte, off int64, filled func(n int)) error {
	copy(p[:s.first], s.content[off:])
	filled(s.first)
	select {
	case err := <-s.rest:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.origin.ReadAt(ctx, p, off)
}

func newSlow(t *testing.T) (*slow, *rangeio.Scheduler, *rangeio.Reader) {
	t.Helper()
	s := &slow{newOrigin(1000), 400, make(chan error, 1)}
	plan := scheduler(t, rangeio.SchedulerOptions{Gap: 300, FixedGap: true})
	r := rangeio.New(s, rangeio.Options{Scheduler: plan})
	t.Cleanup(func() { closeReader(t, r) })
	return s, plan, r
}

func TestWhatHasArrivedIsReadWhileTheRestIsOnItsWay(t *testing.T) {
	s, _, r := newSlow(t)
	r.Expect(t.Context(), []rangeio.Range{{0, 900}})
	readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: 300})
	readRange(t, r, s.origin, rangeio.Range{Off: 300, Len: 100})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.ReadAt(ctx, make([]byte, 200), 300) }()
	select {
	case err := <-done:
		t.Fatalf("a read of bytes that have not arrived gave %v", err)
	default:
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled read gave %v", err)
	}
	s.rest <- nil
	readRange(t, r, s.origin, rangeio.Range{Off: 300, Len: 600})
	if got := len(s.requests()); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestAFailureInTheMiddleIsToldToThoseWhoWaitForTheRest(t *testing.T) {
	s, _, r := newSlow(t)
	r.Expect(t.Context(), []rangeio.Range{{0, 900}})
	readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: 400})
	broken := errors.New("broken")
	s.rest <- broken
	if err := r.ReadAt(t.Context(), make([]byte, 200), 400); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	s.rest <- nil
	readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: 900})
}

func TestABlockReadToItsEndBeforeItHasArrivedIsLetGoAfterwards(t *testing.T) {
	s := &slow{newOrigin(1000), 400, make(chan error, 2)}
	plan := scheduler(t, rangeio.SchedulerOptions{Gap: 600, FixedGap: true, Max: 500})
	r := rangeio.New(s, rangeio.Options{Scheduler: plan})
	defer closeReader(t, r)
	// Two blocks; the first ends in the gap.
	r.Expect(t.Context(), []rangeio.Range{{0, 300}, {800, 100}})
	readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: 300})
	if plan.Held() == 0 {
		t.Error("memory that is written to was given back")
	}
	s.rest <- nil
	s.rest <- nil
	readRange(t, r, s.origin, rangeio.Range{Off: 800, Len: 100})
	waitFor(t, func() bool { return plan.Held() == 0 })
}

func TestAFailureInAGapThatNobodyWaitsForIsNobodysError(t *testing.T) {
	s := &slow{newOrigin(1000), 400, make(chan error, 2)}
	plan := scheduler(t, rangeio.SchedulerOptions{Gap: 600, FixedGap: true, Max: 500, InFlight: 1})
	r := rangeio.New(s, rangeio.Options{Scheduler: plan})
	defer closeReader(t, r)
	// Two blocks; the first ends in the gap.
	r.Expect(t.Context(), []rangeio.Range{{0, 300}, {800, 100}})
	readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: 300})
	s.rest <- errors.New("broken")
	waitFor(t, func() bool { return plan.Held() == 0 })
	readRange(t, r, s.origin, rangeio.Range{Off: 350, Len: 50})
	s.rest <- nil
	readRange(t, r, s.origin, rangeio.Range{Off: 800, Len: 100})
}

// trickle is an origin whose requests get as far as they are told, and end when
// they are let go.
type trickle struct {
	*origin
	steps chan func(n int) // how each request says how far it has come
	end   chan struct{}
}

func (s *trickle) StreamAt(ctx context.Context, p []byte, off int64, filled func(n int)) error {
	if err := s.origin.ReadAt(ctx, p, off); err != nil {
		return err
	}
	s.steps <- filled
	select {
	case <-s.end:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestNoMoreIsAskedForThanKeepsTheLineBusy(t *testing.T) {
	const block, blocks = 8 << 20, 7
	for _, c := range []struct{ readers, first, come int }{{1, 2, 0}, {2, 1, 0}, {4, 1, block / 2}, {8, 1, block / 2}} {
		s := &trickle{newOrigin(block * blocks), make(chan func(int), blocks), make(chan struct{})}
		plan := scheduler(t, rangeio.SchedulerOptions{})
		for range c.readers - 1 {
			other := rangeio.New(newOrigin(100), rangeio.Options{Scheduler: plan})
			other.Expect(t.Context(), []rangeio.Range{{0, 50}})
			defer closeReader(t, other)
		}
		r := rangeio.New(s, rangeio.Options{Scheduler: plan, MaxTail: -1})
		r.Expect(t.Context(), []rangeio.Range{{0, block * blocks}})
		var under []func(int)
		for range c.first {
			under = append(under, <-s.steps)
		}
		if n := len(s.requests()); n != c.first {
			t.Errorf("%d readers: %d requests at once, want %d", c.readers, n, c.first)
		}
		// As soon as less is under way than that, one more is asked for, and no more than that.
		held := plan.Held()
		under[0](c.come)
		if more := plan.Held() - held; more != 0 {
			t.Errorf("%d readers: %d bytes more are asked for when %d have come", c.readers, more, c.come)
		}
		under[0](c.come + 1)
		<-s.steps
		if n := len(s.requests()); n != c.first+1 {
			t.Errorf("%d readers: %d requests after a part of one, want %d", c.readers, n, c.first+1)
		}
		close(s.end)
		readRange(t, r, s.origin, rangeio.Range{Off: 0, Len: block * blocks})
		if n := len(s.requests()); n != blocks {
			t.Errorf("%d readers: %d requests in all", c.readers, n)
		}
		closeReader(t, r)
	}
}
