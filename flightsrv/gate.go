package flightsrv

import (
	"context"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// A gate hands out a fixed number of decode slots, fairly: principals take
// turns, and the streams of one principal are served in the order they asked.
// So a hundred tasks on one token all finish, and a second user does not wait
// behind them.
//
// A slot is held while some rows are decoded, not while they wait or are sent: a
// stalled client costs no slot. Streams decode ahead in slots that nobody wants.
type gate struct {
	mu      sync.Mutex
	free    int
	waiting map[string][]chan struct{} // per principal, oldest first
	turn    []string                   // principals that wait, next first
}

func newGate(slots int) *gate { return &gate{free: slots, waiting: map[string][]chan struct{}{}} }

// acquire takes a slot, waiting at most patience. The error is KindBusy, or the
// context's.
func (g *gate) acquire(ctx context.Context, principal string, patience time.Duration) error {
	g.mu.Lock()
	if g.free > 0 && len(g.turn) == 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	if len(g.waiting[principal]) == 0 {
		g.turn = append(g.turn, principal)
	}
	g.waiting[principal] = append(g.waiting[principal], ready)
	g.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = source.Errorf(source.KindBusy, "read", "no decode slot became free within %s", patience).
			WithHint("the server is busy; try again, or raise scan.slots")
	}
	if g.leave(principal, ready) {
		return err
	}
	return nil // the slot was handed over in the same moment: it is ours
}

// try takes a slot that is free and that nobody waits for.
func (g *gate) try() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free == 0 || len(g.turn) > 0 {
		return false
	}
	g.free--
	return true
}

// leave removes a waiter; false means that it already owns a slot.
func (g *gate) leave(principal string, ready chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	queue := g.waiting[principal]
	for i, w := range queue {
		if w == ready {
			g.setQueue(principal, append(queue[:i:i], queue[i+1:]...))
			return true
		}
	}
	return false
}

// release gives a slot back: to the oldest waiter of the principal whose turn it
// is, which then goes to the end of the line.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turn) == 0 {
		g.free++
		return
	}
	principal := g.turn[0]
	queue := g.waiting[principal]
	close(queue[0])
	g.turn = append(g.turn[1:], principal)
	g.setQueue(principal, queue[1:])
}

// setQueue stores a principal's waiters and takes it out of the line when none
// are left.
func (g *gate) setQueue(principal string, queue []chan struct{}) {
	if len(queue) > 0 {
		g.waiting[principal] = queue
		return
	}
	delete(g.waiting, principal)
	for i, p := range g.turn {
		if p == principal {
			g.turn = append(g.turn[:i:i], g.turn[i+1:]...)
			return
		}
	}
}

// turns are the slots as the streams of one principal get them; it implements
// scan.Turns.
type turns struct {
	gate      *gate
	principal string
	patience  time.Duration
}

// Take waits for a slot.
func (t turns) Take(ctx context.Context) error {
	return t.gate.acquire(ctx, t.principal, t.patience)
}

// TryTake takes an idle slot.
func (t turns) TryTake() bool { return t.gate.try() }

// Give gives a slot back.
func (t turns) Give() { t.gate.release() }
