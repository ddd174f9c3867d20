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
