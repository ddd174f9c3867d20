package flightsrv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

func TestABudgetIsSharedGivenBackAndNeverRefusesTheFirst(t *testing.T) {
	b := newBudget(100)
	release, err := b.lease(t.Context(), 1000, time.Minute) // more than everything is everything
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.lease(t.Context(), 1, time.Millisecond); source.KindOf(err) != source.KindBusy {
		t.Errorf("got %v, want busy", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.lease(ctx, 1, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	release()
	again, err := b.lease(t.Context(), 100, time.Minute)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}
