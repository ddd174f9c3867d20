package writertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// counts are what a campaign runs: few on every change, all of them at night
// (HUBFLIGHT_WRITE=full, make nightly-write).
func counts(few, full int) int {
	if os.Getenv("HUBFLIGHT_WRITE") == "full" {
		return full
	}
	return few
}

// simulated is a clock on which waiting takes no time.
type simulated struct {
	mu     sync.Mutex
	passed time.Duration
	waits  []time.Duration
	// then is called once when after has passed; may be nil.
	after time.Duration
	then  func()
}

func (s *simulated) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Unix(1_700_000_000, 0).Add(s.passed)
}

func (s *simulated) Wait(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	s.passed += d
	s.waits = append(s.waits, d)
	if s.then != nil && s.passed >= s.after {
		s.then()
		s.then = nil
	}
	s.mu.Unlock()
	return ctx.Err()
}

// manyFiles stages a few files and lists them often: the files of a job differ in
// their partition, and in this test not in their bytes.
func (j *job) manyFiles(n int) {
	j.t.Helper()
	if err := j.Begin(); err != nil {
		j.t.Fatal(err)
	}
	if err := j.StageAll([]int64{100}, []int64{101}, []int64{102}); err != nil {
		j.t.Fatal(err)
	}
	few := j.staged
	j.staged = make([]writer.StagedFile, n)
	for i := range j.staged {
		j.staged[i] = few[i%len(few)]
		j.staged[i].Partition = i
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) // far below 2⁶³
}

// TestAJobOfManyCommitsIsResumedInTheMiddle: the driver dies half way; another one,
// on another replica, goes on, is told by the Hub to wait for an hour because the
// quota is used up, and finishes. Nothing is committed twice, and what a commit
// needs does not grow with the commits before it.
func TestAJobOfManyCommitsIsResumedInTheMiddle(t *testing.T) {
	files := counts(500, 10_000)
	of := files / 50
	r := newRig(t, oldData(t))
	clock := &simulated{}
	r.clock = clock
	r.w = r.newWriter(0)
	j := r.job(writer.ModeAppend, nil)
	j.manyFiles(files)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var early, late int64
	_, err := j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
		switch {
		case e.Progress == nil:
		case e.Progress.Index == 2:
			early = heap()
		case e.Progress.Index == of/2:
			late = heap()
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the first driver: %v", err)
	}
	if grown := late - early; grown > 32<<20 {
		t.Errorf("after %d commits the heap holds %d MiB more than after 2", of/2, grown>>20)
	}
	equal(t, "commits of the first driver", r.posts(), of/2)

	// The Hub does not say how long: it is asked every minute.
	quota := r.hub.Fault(hubtest.Fault{Path: "/commit/", Status: http.StatusTooManyRequests, Body: `{"error":"You have exceeded our hourly quotas for action: commit"}`})
	clock.after, clock.then = clock.passed+time.Hour, quota.Disarm
	j.w = r.newWriter(0)
	result, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "commits", len(result.Commits), of)
	equal(t, "different commits", len(slices.Compact(slices.Sorted(slices.Values(result.Commits)))), of)
	equal(t, "posts that were not refused", r.posts()-quota.Hits(), of)
	if waited := clock.passed; waited < time.Hour || waited > time.Hour+2*time.Minute {
		t.Errorf("waited %s for a quota of an hour: %v", waited, clock.waits)
	}
	_, splits, err := r.layout("main").Choose("", "train")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "files", len(splits[0].Files), files+1)
	equal(t, "last file", splits[0].Files[files].Path[:len("data/train-00000")], fmt.Sprintf("data/train-%05d", files))
}

// TestAQuotaOfManyHoursEndsAtTheDeadline: a commit that may not go on before its
// deadline says so, and a repeat goes on.
func TestAQuotaOfManyHoursEndsAtTheDeadline(t *testing.T) {
	r := newRig(t, oldData(t))
	clock := &simulated{}
	r.clock = clock
	r.w = r.newWriter(0)
	j := r.job(writer.ModeAppend, nil).perCommit(1)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll([]int64{10}, []int64{11}); err != nil {
		t.Fatal(err)
	}
	quota := r.hub.Fault(hubtest.Fault{Path: "/commit/", Status: http.StatusTooManyRequests})
	_, err := j.Commit()
	wantKind(t, err, source.KindBusy)
	if clock.passed > 2*time.Hour {
		t.Errorf("waited %s", clock.passed)
	}
	quota.Disarm()
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 10, 11})
}

// TestALargeOverwriteBySwitchShowsTheOldOrTheNewState kills the driver after every
// commit of an overwrite of many files by many files: a reader sees one or the
// other, never a mixture.
func TestALargeOverwriteBySwitchShowsTheOldOrTheNewState(t *testing.T) {
	n := counts(60, 10_000)
	perCommit := counts(20, 50)
	old := map[string][]byte{}
	raw := [][]byte{parquetOf(t, 1), parquetOf(t, 2)}
	for i := range n {
		old[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, n)] = raw[i%2]
	}
	r := newRig(t, hubtest.Dataset(repo, old))
	j := r.job(writer.ModeOverwrite, bySwitch).perCommit(perCommit)
	j.manyFiles(n)
	switched, commits := false, 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
			if e.Progress != nil && e.Progress.Commit != "" {
				commits++
				cancel() // the driver dies; the server may have sent another one
			}
		})
		cancel()
		_, splits, readErr := r.layout("main").Choose("", "train")
		if readErr != nil {
			t.Fatal(readErr)
		}
		own := 0
		for _, f := range splits[0].Files {
			if old[f.Path] == nil {
				own++
			}
		}
		if own != 0 && own != n || len(splits[0].Files) != n || switched && own == 0 {
			t.Fatalf("after %d commits: %d files, %d of them new", commits, len(splits[0].Files), own)
		}
		switched = own == n
		if err == nil {
			break
		}
		j.w = r.newWriter(0)
	}
	if !switched || commits < 2*n/perCommit {
		t.Errorf("switched %v after %d commits", switched, commits)
	}
	equal(t, "files that are left", len(r.paths()), n)
}
