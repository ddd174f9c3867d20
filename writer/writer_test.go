package writer

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// An input that fails ends its attempt at the moment at which its client gives the
// job up.
func TestAJobIsAbortedWhileItsAttemptsEnd(t *testing.T) {
	w, err := New(Options{SpoolDir: t.TempDir(), Open: func(context.Context, source.Ref, source.HubToken) (Sink, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	for i := range 200 {
		job := strconv.Itoa(i)
		var ends sync.WaitGroup
		start, dropped := make(chan struct{}), 0
		for range 8 {
			ctx, leave := w.enter(t.Context(), job)
			ends.Go(func() {
				<-start
				leave()
				if ctx.Err() != context.Canceled {
					t.Error("an attempt has ended and its context has not")
				}
			})
		}
		w.remember(job, []func(){func() { dropped++ }})
		ends.Go(func() {
			<-start
			if err := w.Abort(t.Context(), job); err != nil {
				t.Error(err)
			}
		})
		close(start)
		ends.Wait()
		if dropped != 1 {
			t.Fatalf("what an abort drops was dropped %d times", dropped)
		}
	}
	if len(w.jobs) != 0 {
		t.Errorf("%d jobs are known after all have ended", len(w.jobs))
	}
}
