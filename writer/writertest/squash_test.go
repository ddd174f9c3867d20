package writertest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// squash makes one commit of main's history.
func (r *rig) squash() {
	r.t.Helper()
	res, err := http.Post(r.hub.HubURL+"/api/datasets/"+repo+"/super-squash/main", "application/json", strings.NewReader(`{"message":"squashed"}`))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("squash: %s", res.Status)
	}
}

// onto makes a job write exactly one file.
func onto(path string) func(*writer.BeginRequest) {
	return func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingFile, path }
}

// TestEqualRowsAreNotTakenForAJobsOwnIfTheHistoryIsGone: the rows of the job are there
// already, in files of the same bytes, when it begins; an append doubles them and an
// overwrite leaves nothing else.
func TestEqualRowsAreNotTakenForAJobsOwnIfTheHistoryIsGone(t *testing.T) {
	for _, c := range []struct {
		mode   writer.Mode
		change func(*writer.BeginRequest)
		want   []int64
	}{
		{writer.ModeAppend, nil, []int64{0, 1, 2, 3, 0, 1}},
		{writer.ModeAppend, bySwitch, []int64{0, 1, 2, 3, 0, 1}},
		{writer.ModeOverwrite, nil, []int64{0, 1}},
	} {
		for _, replica := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v, another replica %v", c.mode, c.change != nil, replica), func(t *testing.T) {
				r := newRig(t)
				r.job(writer.ModeAppend, nil).must(from(0, 2), from(2, 2))
				j := r.job(c.mode, c.change).ready(from(0, 2))
				r.squash()
				if replica {
					j.w = r.newWriter(0)
				}
				result, err := j.Commit()
				if err != nil || result.Already || len(result.Commits) != 1 {
					t.Errorf("%+v, %v", result, err)
				}
				equal(t, "rows", r.read("main", "", "train"), c.want)
			})
		}
	}
}

// TestACommittedJobIsFoundIfTheHistoryIsGone: whoever did not hear of the commit, and
// asks again after the history was rewritten, writes nothing twice.
func TestACommittedJobIsFoundIfTheHistoryIsGone(t *testing.T) {
	shapes := map[string]struct {
		mode   writer.Mode
		change func(*writer.BeginRequest)
		rows   [][]int64
	}{
		"append":            {writer.ModeAppend, nil, [][]int64{{10}, {11}, {10}}},
		"append by switch":  {writer.ModeAppend, bySwitch, [][]int64{{10}, {11}, {10}}},
		"overwrite":         {writer.ModeOverwrite, nil, [][]int64{{1, 2}, {1, 2}, {11}}},
		"error if exists":   {writer.ModeErrorIfExists, to("", "test"), [][]int64{{10}, {11}, {12}}},
		"parts":             {writer.ModeReplace, parts("p"), [][]int64{{10}, {11}, {10}}},
		"overwritten parts": {writer.ModeOverwrite, parts("p"), [][]int64{{10}, {11}, {10}}},
		"file":              {writer.ModeReplace, onto("some.parquet"), [][]int64{{10}}},
	}
	for name, c := range shapes {
		for _, perCommit := range []int{50, 1} {
			for _, rules := range []string{"*.parquet filter=lfs diff=lfs merge=lfs -text\n", "*.bin filter=lfs\n"} {
				t.Run(fmt.Sprintf("%s, %d per commit, %s", name, perCommit, strings.Fields(rules)[0]), func(t *testing.T) {
					r := newRig(t, hubtest.Dataset(repo, map[string][]byte{".gitattributes": []byte(rules)}), oldData(t))
					j := r.job(c.mode, c.change).perCommit(perCommit)
					j.must(c.rows...)
					paths := r.paths()
					r.squash()
					head := r.head()
					for range 2 {
						result, err := j.Commit()
						if err != nil || !result.Already || result.Head != head {
							t.Errorf("%+v, %v", result, err)
						}
						j.w = r.newWriter(0)
					}
					equal(t, "head and paths", []any{r.head(), r.paths()}, []any{head, paths})
				})
			}
		}
	}
}

// TestHalfAJobIsUnknownIfTheHistoryIsGone: some of its commits, whichever they are, are
// neither taken for all of it nor made again.
func TestHalfAJobIsUnknownIfTheHistoryIsGone(t *testing.T) {
	for _, c := range []struct {
		mode    writer.Mode
		change  func(*writer.BeginRequest)
		commits int   // of how many
		told    []int // after these the tree does tell
	}{
		{writer.ModeAppend, nil, 3, nil},
		{writer.ModeOverwrite, nil, 4, nil},              // the last one deletes
		{writer.ModeAppend, bySwitch, 5, []int{1}},       // only the README is prepared
		{writer.ModeOverwrite, bySwitch, 6, []int{1, 5}}, // nothing reads what is left to delete
		{writer.ModeReplace, parts("p"), 3, nil},
	} {
		for done := 1; done < c.commits; done++ {
			t.Run(fmt.Sprintf("%s %v, %d commits of %d", c.mode, c.change != nil, done, c.commits), func(t *testing.T) {
				r := newRig(t, oldData(t))
				j := r.job(c.mode, c.change).perCommit(1).ready([]int64{10}, []int64{11}, []int64{12})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, _ = j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
					if e.Progress != nil && e.Progress.Commit != "" {
						equal(t, "commits", e.Progress.Of, c.commits)
						if e.Progress.Index == done {
							cancel()
						}
					}
				})
				before := r.paths()
				r.squash()
				j.w = r.newWriter(0)
				result, err := j.Commit()
				if slices.Contains(c.told, done) {
					want := from(10, 3)
					if c.mode == writer.ModeAppend {
						want = append([]int64{1, 2}, want...)
					}
					equal(t, "rows and error", []any{r.read("main", "", ""), err}, []any{want, nil})
					return
				}
				if source.KindOf(err) != source.KindUnknownOutcome {
					t.Errorf("%+v, %v", result, err)
				}
				equal(t, "paths", r.paths(), before)
			})
		}
	}
}

// TestWhatWasAddedToPartsIsUnknownIfTheHistoryIsGone: a part's name is nobody's own. Where
// no part is like the job's, it was not committed.
func TestWhatWasAddedToPartsIsUnknownIfTheHistoryIsGone(t *testing.T) {
	for _, committed := range []bool{false, true} {
		r := newRig(t)
		r.job(writer.ModeReplace, parts("p")).must(from(0, 2))
		j := r.job(writer.ModeAppend, parts("p")).ready(from(10, 2))
		if committed {
			if _, err := j.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		r.squash()
		before := r.paths()
		_, err := j.Commit()
		if committed {
			wantKind(t, err, source.KindUnknownOutcome)
			equal(t, "paths", r.paths(), before)
		} else if err != nil || !slices.Contains(r.paths(), "p/part-00001.parquet") {
			t.Errorf("%v, %v", r.paths(), err)
		}
	}
}
