package writertest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// puts counts the objects that were sent to the storage.
func (r *rig) puts() int {
	n := 0
	for _, req := range r.hub.Requests() {
		if req.Origin == "cdn" && req.Method == http.MethodPut {
			n++
		}
	}
	return n
}

// lose makes the Hub forget what was staged for a partition.
func (j *job) lose(partition int) {
	j.t.Helper()
	for _, f := range j.staged {
		if f.Partition != partition {
			continue
		}
		if err := j.hub.LoseObject(repo, f.OID); err != nil {
			j.t.Fatal(err)
		}
	}
}

// TestObjectsThatVanishBeforeTheCommitAreNamedAndNothingIsCommitted: staging these
// partitions again, and no others, is all that is needed.
func TestObjectsThatVanishBeforeTheCommitAreNamedAndNothingIsCommitted(t *testing.T) {
	for _, perCommit := range []int{50, 1} {
		for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
			r := newRig(t, oldData(t))
			j := r.job(mode, nil).perCommit(perCommit)
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}, []int64{13}); err != nil {
				t.Fatal(err)
			}
			head, sent := r.head(), r.puts()
			j.lose(1)
			j.lose(3)
			j.w = r.newWriter(0)
			_, err := j.Commit()
			wantKind(t, err, source.KindStagedLost)
			if !strings.Contains(err.Error(), "partitions 1, 3") {
				t.Errorf("the partitions are not named: %v", err)
			}
			equal(t, "head and posts", []any{r.head(), r.posts()}, []any{head, 0})
			equal(t, "rows", r.read("main", "", ""), []int64{1, 2})

			for p, id := range map[int]int64{1: 11, 3: 13} {
				again, err := j.Stage(p, "1", rows(id))
				if err != nil {
					t.Fatal(err)
				}
				j.staged[p] = again[0]
			}
			equal(t, "objects sent again", r.puts()-sent, 2)
			if _, err := j.Commit(); err != nil {
				t.Fatal(err)
			}
			want := from(10, 4)
			if mode == writer.ModeAppend {
				want = append([]int64{1, 2}, want...)
			}
			equal(t, fmt.Sprintf("%s by %d: rows", mode, perCommit), r.read("main", "", ""), want)
		}
	}
}

// TestAnObjectThatVanishesBetweenTwoCommitsOfAJobIsNamed: what is committed stays,
// and the job is continued once the partition is staged again.
func TestAnObjectThatVanishesBetweenTwoCommitsOfAJobIsNamed(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil).perCommit(1)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
		t.Fatal(err)
	}
	lost := false
	_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
		if e.Progress != nil && e.Progress.Commit != "" && !lost {
			lost = true
			j.lose(2)
		}
	})
	wantKind(t, err, source.KindStagedLost)
	if !strings.Contains(err.Error(), "partitions 2") {
		t.Errorf("the partition is not named: %v", err)
	}
	equal(t, "rows so far", r.read("main", "", ""), []int64{1, 2, 10, 11})
	again, err := j.Stage(2, "1", rows(12))
	if err != nil {
		t.Fatal(err)
	}
	j.staged[2] = again[0]
	result, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "commits", len(result.Commits), 3)
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 10, 11, 12})
}

// TestStagingAgainSendsNothingThatIsStored: a repeated attempt, another replica and a
// repeated driver all find the object there.
func TestStagingAgainSendsNothingThatIsStored(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	sent := r.puts()
	var first writer.StagedFile
	for attempt := range 3 {
		j.w = r.newWriter(0)
		files, err := j.Stage(0, fmt.Sprint(attempt), rows(from(10, 7)...))
		if err != nil {
			t.Fatal(err)
		}
		if attempt == 0 {
			first = files[0]
		}
		equal(t, "object", files[0].OID, first.OID)
		equal(t, fmt.Sprintf("attempt %d: objects sent", attempt), r.puts()-sent, 1)
		j.staged = files
	}
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "objects sent by the whole job", r.puts()-sent, 1)
	// Another job with the same rows: committed objects are not sent again either.
	r.job(writer.ModeAppend, nil).must(from(10, 7))
	equal(t, "objects sent by both jobs", r.puts()-sent, 1)
}

// TestAnUploadAddressThatExpiredIsAskedForAgain: the storage refuses the first
// address; the batch is asked again, and the file arrives whole.
func TestAnUploadAddressThatExpiredIsAskedForAgain(t *testing.T) {
	for name, o := range map[string]hubtest.Options{"in one piece": {}, "in parts": {MultipartThreshold: 700, PartSize: 300}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, hubtest.With(o), oldData(t))
			j := r.job(writer.ModeAppend, nil)
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			expired := r.hub.Fault(hubtest.Fault{Origin: "cdn", Method: http.MethodPut, Status: http.StatusForbidden, Nth: 1})
			if err := j.StageAll(from(10, 40)); err != nil {
				t.Fatal(err)
			}
			equal(t, "refused", expired.Hits(), 1)
			batches := 0
			for _, req := range r.hub.Requests() {
				if strings.HasSuffix(req.Path, "/objects/batch") {
					batches++
				}
			}
			if batches < 2 {
				t.Errorf("the batch was asked %d times", batches)
			}
			if _, err := j.Commit(); err != nil {
				t.Fatal(err)
			}
			equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2}, from(10, 40)...))
		})
	}
}

// Between two commits of a job somebody else takes the name of a file that is to come,
// or removes one that is there.
func TestWhatOthersDoToAJobsFilesBetweenItsCommitsIsAConflict(t *testing.T) {
	for name, c := range map[string]struct {
		mode   writer.Mode
		change hubtest.Change
		theirs string // what has to stay
	}{
		"a name is taken":   {writer.ModeAppend, hubtest.Change{Add: map[string][]byte{"x/part-00002.parquet": parquetOf(t, 77)}}, "x/part-00002.parquet"},
		"a file is removed": {writer.ModeOverwrite, hubtest.Change{Delete: []string{"x/part-00000.parquet"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"LICENSE": []byte("mit")}))
			j := r.job(c.mode, parts("x")).perCommit(1)
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
				t.Fatal(err)
			}
			commits := 0
			_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
				if e.Progress == nil {
					return
				}
				if commits++; commits == 2 {
					if _, err := r.hub.Commit(repo, "main", c.change); err != nil {
						t.Error(err)
					}
				}
			})
			wantKind(t, err, source.KindConflict)
			if c.theirs != "" {
				got, err := r.hub.Read(repo, "main", c.theirs)
				if err != nil || !bytes.Equal(got, c.change.Add[c.theirs]) {
					t.Errorf("%d bytes are there, %v", len(got), err)
				}
			}
		})
	}
}
