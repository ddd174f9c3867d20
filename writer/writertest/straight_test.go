package writertest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// straight is a job that has staged rows 10 and 11 and remembers all that its commit
// needs, because the same process has appended row 3 before.
func straight(t *testing.T) (*rig, *job) {
	t.Helper()
	r := newRig(t, oldData(t))
	r.job(writer.ModeAppend, nil).must([]int64{3})
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll([]int64{10}, []int64{11}); err != nil {
		t.Fatal(err)
	}
	return r, j
}

// since are the statuses of the commits since the n-th request, and whether the branch
// was asked for.
func (r *rig) since(n int) (posts []int, asked bool) {
	for _, q := range r.hub.Requests()[n:] {
		if strings.Contains(q.Path, "/commit/") {
			posts = append(posts, q.Status)
		}
		asked = asked || strings.HasSuffix(q.Path, "/revision/main")
	}
	return posts, asked
}

// TestACommitThatAsksNothingFirstBuildsOnWhatSomebodyElseHasCommitted: the Hub refuses
// it, and the next one builds on the head.
func TestACommitThatAsksNothingFirstBuildsOnWhatSomebodyElseHasCommitted(t *testing.T) {
	r, j := straight(t)
	theirs := hubtest.Change{Summary: "theirs", Add: map[string][]byte{"data/train-00007-of-00008.parquet": parquetOf(t, 7)}}
	if _, err := r.hub.Commit(repo, "main", theirs); err != nil {
		t.Fatal(err)
	}
	n := len(r.hub.Requests())
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	posts, asked := r.since(n)
	equal(t, "commits and whether the branch was asked for", []any{posts, asked}, []any{[]int{412, 200}, true})
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 3, 7, 10, 11})
}

// TestACommitThatAsksNothingFirstNamesWhatIsNoLongerStored, as one that asks does.
func TestACommitThatAsksNothingFirstNamesWhatIsNoLongerStored(t *testing.T) {
	r, j := straight(t)
	head := r.head()
	j.lose(1)
	_, err := j.Commit()
	wantKind(t, err, source.KindStagedLost)
	if !strings.Contains(err.Error(), "partitions 1 ") {
		t.Errorf("the partition is not named: %v", err)
	}
	equal(t, "head", r.head(), head)
}

// TestACommitThatAsksNothingFirstLosesAndDoublesNothing, whatever becomes of it: also
// where it took effect and nobody heard of it.
func TestACommitThatAsksNothingFirstLosesAndDoublesNothing(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(faultKinds)) {
		fault := faultKinds[kind]
		if fault.Stall > 0 {
			continue // nobody hears of it either, but later
		}
		t.Run(kind, func(t *testing.T) {
			r, j := straight(t)
			fault.Path, fault.Nth = "/commit/", 1
			armed := r.hub.Fault(fault)
			n := len(r.hub.Requests())
			if _, err := j.Commit(); err != nil {
				t.Fatal(err)
			}
			if posts, _ := r.since(n); armed.Hits() != 1 || len(posts) > 2 {
				t.Errorf("%d faults, commits %v", armed.Hits(), posts)
			}
			again, err := j.Commit()
			if err != nil || !again.Already {
				t.Errorf("the same commit again: %+v, %v", again, err)
			}
			equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 3, 10, 11})
		})
	}
}
