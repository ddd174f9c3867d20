package writertest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// asked are the requests since the n-th, in the order of their texts: those that go
// out at the same time come in any.
func (r *rig) asked(n int) []string {
	var out []string
	for _, req := range r.hub.Requests()[n:] {
		_, what, _ := strings.Cut(strings.ReplaceAll(req.Path, r.head(), "HEAD"), repo)
		out = append(out, req.Method+" "+strings.TrimPrefix(what, "/"))
	}
	slices.Sort(out)
	return out
}

// together holds requests until all of them are there: one that waits for another's
// answer never comes.
func (r *rig) together(paths ...string) (disarm func()) {
	var all sync.WaitGroup
	all.Add(len(paths))
	arrived := make(chan struct{})
	var armed []*hubtest.Armed
	for _, path := range paths {
		armed = append(armed, r.hub.Fault(hubtest.Fault{Path: path, Nth: 1, Meanwhile: func() {
			all.Done()
			select {
			case <-arrived:
			case <-time.After(20 * time.Second):
				r.t.Errorf("%s waits for the others of %s", path, paths)
			}
		}}))
	}
	go func() {
		all.Wait()
		close(arrived)
	}()
	return func() {
		for _, a := range armed {
			a.Disarm()
		}
	}
}

// TestAWriteAsksNothingTwice: over a distance every request is waited for, and those
// that do not depend on each other go out at the same time.
func TestAWriteAsksNothingTwice(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, nil))
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false })
	disarm := r.together("/auth-check/write", "/revision/main")
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	disarm()
	equal(t, "begin", r.asked(0), []string{"GET auth-check/write", "GET revision/main", "GET tree/HEAD"})
	if err := j.StageAll([]int64{1}, []int64{2}); err != nil {
		t.Fatal(err)
	}
	staged := len(r.hub.Requests())
	base := r.head()
	disarm = r.together("/revision/main", "/tree/", "/objects/batch")
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	disarm()
	got := r.asked(staged)
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], base, "BASE")
	}
	equal(t, "commit", got, []string{
		"GET BASE/.gitattributes", "GET revision/main", "GET tree/BASE", "HEAD resolve/BASE/.gitattributes",
		"POST .git/info/lfs/objects/batch", "POST commit/main",
	})
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2})
}

// TestACommitBuildsOnTheHeadAndNotOnWhatItLookedAtEarly: somebody has committed
// since the job began, and of the job's base nothing can be read any more.
func TestACommitBuildsOnTheHeadAndNotOnWhatItLookedAtEarly(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	base := r.head()
	if err := j.StageAll([]int64{10}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.job(writer.ModeAppend, nil).Run([]int64{5}); err != nil {
		t.Fatal(err)
	}
	fault := r.hub.Fault(hubtest.Fault{Method: http.MethodGet, Path: "/tree/" + base, Status: http.StatusInternalServerError})
	defer fault.Disarm()
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 5, 10})
}
