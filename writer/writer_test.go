package writer

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
		job := keyOfJob(t.Context(), source.HubToken{}, strconv.Itoa(i))
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
			if err := w.Abort(t.Context(), source.HubToken{}, job.job); err != nil {
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

// telling is a Sink whose commits have a file to tell of.
type telling struct{ Sink }

func (telling) Commit(_ context.Context, _ Job, report func(CommitEvent)) (CommitResult, error) {
	report(CommitEvent{Item: &CommitItem{Path: "data/a.parquet"}})
	return CommitResult{}, nil
}

func TestACallerWhoDoesNotTakeItsAnswerKeepsNobodyFromCommitting(t *testing.T) {
	w, err := New(Options{SpoolDir: t.TempDir(), Open: func(context.Context, source.Ref, source.HubToken) (Sink, error) { return telling{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	commit := func(ctx context.Context, job string, report func(CommitEvent)) error {
		_, err := w.Commit(ctx, source.HubToken{}, CommitRequest{V: 1, Job: job, Dataset: "a/b", Mode: ModeAppend, Base: strings.Repeat("0", 40)}, report)
		return err
	}
	told, taken := make(chan struct{}), make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() {
		items := 0
		err := commit(t.Context(), testJob, func(e CommitEvent) {
			close(told)
			<-taken
			items++
		})
		if err != nil || items != 1 {
			t.Errorf("%v, told of %d files", err, items)
		}
	})
	<-told
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := commit(ctx, "01234567-89ab-4def-8123-456789abcdee", nil); err != nil {
		t.Errorf("another commit to the dataset: %v", err)
	}
	close(taken)
	slow.Wait()
}
