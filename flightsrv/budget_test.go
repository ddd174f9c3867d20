package flightsrv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan"
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

func TestAnActionThatScansIsAdmittedAsAStreamIs(t *testing.T) {
	s := &Server{memory: newBudget(100), gate: newGate(1), streams: newStreams(1), limits: Limits{QueueTimeout: time.Millisecond}}
	filtered := dataset.Request{Query: scan.Query{Filters: new(filter.Filter)}}
	err := s.admitted(t.Context(), filtered, func(a dataset.Admission) error {
		release, err := a.Lease(t.Context(), 60)
		if err != nil {
			return err
		}
		if _, err := s.memory.lease(t.Context(), 60, time.Millisecond); source.KindOf(err) != source.KindBusy {
			t.Errorf("got %v, want busy", err)
		}
		if _, err := a.Lease(t.Context(), 60); source.KindOf(err) != source.KindBusy {
			t.Errorf("got %v, want busy", err)
		}
		release()
		if a.Spare.TryAcquire(101) || !a.Spare.TryAcquire(100) {
			t.Error("the spare memory is not the budget's")
		}
		a.Spare.Release(100)
		if err := a.Turns.Take(t.Context()); err != nil || s.gate.try() {
			t.Errorf("a turn is not the gate's: %v", err)
		}
		a.Turns.Give()
		again := func(dataset.Admission) error { return nil }
		if err := s.admitted(t.Context(), filtered, again); source.KindOf(err) != source.KindBusy {
			t.Errorf("a second scan: %v, want busy", err)
		}
		return s.admitted(t.Context(), dataset.Request{}, again) // reads footers only
	})
	if err != nil || s.streams.open.Load() != 0 || !s.gate.try() {
		t.Errorf("%v; %d streams are left", err, s.streams.open.Load())
	}
}
