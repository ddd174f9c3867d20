package flightsrv

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

func TestGateLetsAHundredStreamsOfOnePrincipalFinish(t *testing.T) {
	g := newGate(2)
	var inside, worst int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 20 {
				if err := g.acquire(t.Context(), "a", time.Minute); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inside++
				worst = max(worst, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				g.release()
			}
		})
	}
	wg.Wait()
	if worst > 2 || g.free != 2 || len(g.turn) != 0 || len(g.waiting) != 0 {
		t.Errorf("%d inside at once; afterwards %+v", worst, g)
	}
}

func TestGateServesPrincipalsInTurn(t *testing.T) {
	g := newGate(1)
	if err := g.acquire(t.Context(), "first", time.Minute); err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 4)
	waiting := 0
	enter := func(principal string) {
		go func() {
			if g.acquire(t.Context(), principal, time.Minute) == nil {
				order <- principal
				g.release()
			}
		}()
		waiting++
		for g.waiters() < waiting {
			time.Sleep(time.Millisecond)
		}
	}
	for _, p := range []string{"many", "many", "many", "one"} {
		enter(p)
	}
	g.release()
	if got := strings.Join([]string{<-order, <-order, <-order, <-order}, " "); got != "many one many many" {
		t.Errorf("served in the order %s", got)
	}
}

func TestGateGivesUpBusyAndForgetsTheWaiter(t *testing.T) {
	g := newGate(1)
	_ = g.acquire(t.Context(), "a", time.Minute)
	if err := g.acquire(t.Context(), "b", time.Millisecond); source.KindOf(err) != source.KindBusy {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.acquire(ctx, "b", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if g.waiters() != 0 {
		t.Errorf("%d waiters are left", g.waiters())
	}
	g.release()
	if g.free != 1 {
		t.Errorf("%d slots are free, want 1", g.free)
	}
}

// Whoever gives up in the moment in which a slot is handed over has it all the same.
func TestGateLosesNoSlotToAWaiterThatGivesUp(t *testing.T) {
	for range 200 {
		g := newGate(1)
		_ = g.acquire(t.Context(), "a", time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		go func() { got <- g.acquire(ctx, "b", time.Minute) }()
		for g.waiters() == 0 {
			runtime.Gosched()
		}
		g.mu.Lock() // so that both are there when the waiter looks
		cancel()
		g.mu.Unlock()
		g.release()
		if err := <-got; err == nil {
			g.release()
		}
		if g.free != 1 {
			t.Fatalf("%d slots are free, want 1", g.free)
		}
	}
}

func (g *gate) waiters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, q := range g.waiting {
		n += len(q)
	}
	return n
}

func TestGateLendsOnlyWhatNobodyWaitsFor(t *testing.T) {
	g := newGate(1)
	idle := turns{g, "a", time.Minute}
	if !idle.TryTake() {
		t.Fatal("an idle slot is refused")
	}
	if idle.TryTake() {
		t.Fatal("a slot is lent twice")
	}
	served := make(chan error)
	go func() { served <- (turns{g, "b", time.Minute}).Take(t.Context()) }()
	for g.waiters() == 0 {
		time.Sleep(time.Millisecond)
	}
	idle.Give()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if idle.TryTake() {
		t.Error("the waiter's slot is lent")
	}
	idle.Give()
	if g.free != 1 {
		t.Errorf("%d slots are free, want 1", g.free)
	}
}
