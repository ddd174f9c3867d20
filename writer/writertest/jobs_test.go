package writertest

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

func TestJobsAreToldByTheHistoryAndByWhoStagedThem(t *testing.T) {
	r := newRig(t, oldData(t))
	one := r.job(writer.ModeAppend, nil).perCommit(1)
	one.must(from(10, 1), from(11, 1))
	two := r.job(writer.ModeAppend, bySwitch).perCommit(1)
	if err := two.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := two.StageAll(from(20, 1), from(21, 1)); err != nil {
		t.Fatal(err)
	}
	jobs := func(w *writer.Writer, job string) []writer.JobItem {
		t.Helper()
		items, err := w.Jobs(t.Context(), r.token, repo, "", job)
		if err != nil {
			t.Fatal(err)
		}
		return items
	}
	items := jobs(r.w, "")
	equal(t, "jobs", []string{items[0].Job, items[1].Job}, []string{two.begin.Job, one.begin.Job})
	equal(t, "states", []string{items[0].State, items[1].State}, []string{writer.JobOpen, writer.JobComplete})
	equal(t, "staged and commits", []int{items[0].Staged, len(items[1].Commits)}, []int{2, 2})
	equal(t, "known", r.w.KnownJobs(t.Context(), r.token)[0].Job, two.begin.Job)
	equal(t, "known to another principal", len(r.w.KnownJobs(writer.OnBehalfOf(t.Context(), "bob"), r.token)), 0)
	equal(t, "known to others", len(r.w.KnownJobs(t.Context(), source.NewHubToken("hf_somebody"))), 0)

	// It stops half-way; another replica tells how far it came.
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := r.w.Commit(ctx, two.token, two.body(), func(writer.CommitEvent) { cancel() }); err == nil {
		t.Fatal("it did not stop")
	}
	other := r.newWriter(0)
	found := jobs(other, two.begin.Job)
	equal(t, "state, of", []any{found[0].State, found[0].Of, len(found[0].Commits)}, []any{writer.JobPartial, 4, 1})
	_, err := other.Jobs(t.Context(), r.token, repo, "", uuid.NewString())
	wantKind(t, err, source.KindNotFound)

	local := r.local(writer.ModeAppend, nil)
	local.must(from(0, 1))
	items, err = r.w.Jobs(t.Context(), r.token, local.begin.Dataset, "", "")
	if err != nil || len(items) != 1 || items[0].State != writer.JobComplete || items[0].Job != local.begin.Job {
		t.Errorf("local jobs %+v, %v", items, err)
	}
}
