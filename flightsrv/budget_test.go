package flightsrv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
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

func TestAScanIsEstimatedByItsLargestFile(t *testing.T) {
	small := dataset.Partition{File: source.File{Size: 1000}}
	if got := scanBytes(small); got != smallestScan+1000 {
		t.Errorf("a small file: %d", got)
	}
	large := dataset.Partition{File: source.File{Size: 1}, Files: []source.File{{Size: 1}, {Size: 1 << 40}}}
	if got := scanBytes(large); got != smallestScan+usualGroup {
		t.Errorf("a large file: %d", got)
	}
}
