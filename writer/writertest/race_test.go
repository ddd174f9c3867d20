package writertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// contender is one side of a race; it returns whether it overwrites.
type contender struct {
	name       string
	overwrites bool
	run        func(r *rig, first int64, perCommit int) error
}

func racingJob(mode writer.Mode, change func(*writer.BeginRequest)) func(*rig, int64, int) error {
	return func(r *rig, first int64, perCommit int) error {
		j := r.job(mode, change).perCommit(perCommit)
		j.w = r.newWriter(0) // replicas: no lock between them
		_, err := j.Run(from(first, 1), from(first+1, 1), from(first+2, 1), from(first+3, 1), from(first+4, 1))
		return err
	}
}

// push is somebody else's change, of files or of the card.
func push(change func(first int64) hubtest.Change) func(*rig, int64, int) error {
	return func(r *rig, first int64, _ int) error {
		_, err := r.hub.Commit(repo, "main", change(first))
		return err
	}
}

func contenders(t *testing.T) map[string]contender {
	return map[string]contender{
		"append":    {name: "append", run: racingJob(writer.ModeAppend, nil)},
		"overwrite": {name: "overwrite", overwrites: true, run: racingJob(writer.ModeOverwrite, nil)},
		"switch":    {name: "switch", run: racingJob(writer.ModeAppend, bySwitch)},
		"push": {name: "push", run: push(func(first int64) hubtest.Change {
			return hubtest.Change{Add: map[string][]byte{fmt.Sprintf("data/train-%05d-of-00009.parquet", first): parquetOf(t, from(first, 5)...)}}
		})},
		"card": {name: "card", run: push(func(int64) hubtest.Change {
			return hubtest.Change{Add: map[string][]byte{"README.md": []byte("---\nlicense: mit\n---\n# Edited\n")}}
		})},
	}
}

// TestTwoAtATimeAreSomeSerialOrder races every pair, in jobs of one commit and of
// five: what is there in the end is what one after the other would have left, or one
// of them has ended in a conflict, and then the other one is whole.
func TestTwoAtATimeAreSomeSerialOrder(t *testing.T) {
	all := contenders(t)
	pairs := [][2]string{{"append", "append"}, {"append", "overwrite"}, {"overwrite", "overwrite"}, {"append", "push"}, {"overwrite", "push"},
		{"append", "card"}, {"switch", "append"}, {"switch", "card"}}
	for _, pair := range pairs {
		for _, perCommit := range []int{50, 1} {
			t.Run(fmt.Sprintf("%s and %s, %d per commit", pair[0], pair[1], perCommit), func(t *testing.T) {
				t.Parallel()
				conflicts := 0
				for range counts(2, 200) {
					conflicts += race(t, all[pair[0]], all[pair[1]], perCommit)
				}
				t.Logf("%d ended in a conflict", conflicts)
			})
		}
	}
}

func race(t *testing.T, a, b contender, perCommit int) (conflicts int) {
	t.Helper()
	r := newRig(t, oldData(t))
	sides := []contender{a, b}
	errs := make([]error, 2)
	var done sync.WaitGroup
	for i, c := range sides {
		done.Go(func() { errs[i] = c.run(r, int64(10*(i+1)), perCommit) })
	}
	done.Wait()
	got := r.read("main", "", "")
	if n := len(slices.Compact(slices.Sorted(slices.Values(got)))); n != len(got) {
		t.Errorf("rows twice: %v", got)
	}
	// has: the rows of a side are all there, or none is.
	has := func(ids []int64) bool {
		n := 0
		for _, id := range ids {
			if slices.Contains(got, id) {
				n++
			}
		}
		if n != 0 && n != len(ids) && errs[0] == nil && errs[1] == nil {
			t.Errorf("%d of %d rows: %v", n, len(ids), got)
		}
		return n == len(ids)
	}
	overwritten := false
	for i, c := range sides {
		switch kind := source.KindOf(errs[i]); {
		case errs[i] == nil:
			overwritten = overwritten || c.overwrites
		case kind == source.KindConflict:
			conflicts++
		default:
			t.Errorf("%s: %v", c.name, errs[i])
		}
	}
	if conflicts == 2 {
		t.Errorf("both ended in a conflict: %v", errs)
	}
	for i, c := range sides {
		if errs[i] != nil || c.name == "card" {
			continue
		}
		ids, other := from(int64(10*(i+1)), 5), sides[1-i]
		// Whatever succeeded is there, unless an overwrite came after it.
		if !has(ids) && !(other.overwrites && errs[1-i] == nil) {
			t.Errorf("the rows of %s are not all there: %v", c.name, got)
		}
	}
	if conflicts == 0 && has([]int64{1, 2}) == overwritten {
		t.Errorf("old rows beside an overwrite %v: %v", overwritten, got)
	}
	if a.overwrites && b.overwrites && conflicts == 0 && has(from(10, 5)) == has(from(20, 5)) {
		t.Errorf("two overwrites left %v", got)
	}
	return conflicts
}

// TestSpeculativeAttemptsNeverShow: several attempts of every partition run at once,
// some of them after the commit; exactly the chosen ones are there.
func TestSpeculativeAttemptsNeverShow(t *testing.T) {
	for seed := range uint64(counts(10, 500)) {
		chance := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, oldData(t))
		j := r.job(writer.ModeAppend, nil)
		if err := j.Begin(); err != nil {
			t.Fatal(err)
		}
		const partitions = 3
		attempts := 2 + chance.IntN(3)
		staged := [partitions][][]writer.StagedFile{}
		var done sync.WaitGroup
		for p := range partitions {
			staged[p] = make([][]writer.StagedFile, attempts)
			for a := range attempts {
				done.Go(func() {
					files, err := j.Stage(p, fmt.Sprint(a), rows(from(int64(100*p+10*a+100), 2)...))
					if err != nil {
						t.Error(err)
					}
					staged[p][a] = files
				})
			}
		}
		done.Wait()
		want := []int64{1, 2}
		for p := range partitions {
			a := chance.IntN(attempts)
			j.staged = append(j.staged, staged[p][a]...)
			want = append(want, from(int64(100*p+10*a+100), 2)...)
		}
		if _, err := j.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Stage(0, "late", rows(7, 8)); err != nil {
			t.Errorf("seed %d: a late attempt: %v", seed, err)
		}
		if err := j.w.Abort(t.Context(), j.begin.Job); err != nil {
			t.Error(err)
		}
		equal(t, fmt.Sprintf("seed %d: rows", seed), r.read("main", "", ""), want)
	}
}

// collidingJobs are two jobs whose files get the same eight digits.
func collidingJobs() (a, b string) {
	seen := map[string]string{}
	source := rand.NewChaCha8([32]byte{6})
	for {
		id, err := uuid.NewRandomFromReader(source)
		if err != nil {
			panic(err) // the generator does not fail
		}
		short := writer.Job{ID: id.String()}.Short(8)
		if other, ok := seen[short]; ok {
			return other, id.String()
		}
		seen[short] = id.String()
	}
}

// TestJobsWithTheSameDigitsKeepTheirFilesApart: the second job's names are taken.
func TestJobsWithTheSameDigitsKeepTheirFilesApart(t *testing.T) {
	first, second := collidingJobs()
	for _, mode := range []writer.Mode{writer.ModeOverwrite, writer.ModeAppend} {
		r := newRig(t, oldData(t))
		one := r.job(writer.ModeOverwrite, func(b *writer.BeginRequest) { b.Job = first })
		one.must(from(10, 2))
		two := r.job(mode, func(b *writer.BeginRequest) { b.Job = second })
		two.must(from(20, 2))
		want := from(20, 2)
		if mode == writer.ModeAppend {
			want = append(from(10, 2), want...)
		}
		equal(t, string(mode), r.read("main", "", ""), want)
		if mode == writer.ModeOverwrite && !strings.Contains(r.paths()[0], writer.Job{ID: second}.Short(16)) {
			t.Errorf("the name is not told apart by more digits: %v", r.paths())
		}
		again, err := one.Commit()
		if err != nil || !again.Already {
			t.Errorf("the first job's answer: %+v, %v", again, err)
		}
	}
}

// TestADriverThatDiesDuringFiveCommitsIsContinued, by the same job or by another.
func TestADriverThatDiesDuringFiveCommitsIsContinued(t *testing.T) {
	for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
		for stop := range 6 { // 0: between stage and commit
			r := newRig(t, oldData(t))
			j := r.job(mode, nil).perCommit(1)
			if mode == writer.ModeOverwrite {
				j.perCommit(2)
			}
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}, []int64{13}, []int64{14}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if stop == 0 {
				cancel()
			}
			commits := 0
			_, err := j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
				if e.Progress != nil && e.Progress.Commit != "" {
					if commits++; commits == stop {
						cancel()
					}
				}
			})
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s stopped after %d: %v", mode, stop, err)
			}
			for _, id := range []int64{1, 2} {
				if got := r.read("main", "", ""); mode == writer.ModeAppend && !slices.Contains(got, id) {
					t.Errorf("stopped after %d: row %d is gone: %v", stop, id, got)
				}
			}
			j.w = r.newWriter(0)
			if _, err := j.Commit(); err != nil {
				t.Fatalf("%s continued after %d: %v", mode, stop, err)
			}
			want := from(10, 5)
			if mode == writer.ModeAppend {
				want = append([]int64{1, 2}, want...)
			}
			equal(t, fmt.Sprintf("%s continued after %d", mode, stop), r.read("main", "", ""), want)
		}
	}
}

// TestStagedOnOneReplicaCommittedOnAnother, and asked for on a third.
func TestStagedOnOneReplicaCommittedOnAnother(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	for p := range 3 {
		j.w = r.newWriter(0)
		files, err := j.Stage(p, "0", rows(int64(10+p)))
		if err != nil {
			t.Fatal(err)
		}
		j.staged = append(j.staged, files...)
	}
	j.w = r.newWriter(0)
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	items, err := r.newWriter(0).Jobs(t.Context(), j.token, repo, "", j.begin.Job)
	if err != nil || len(items) != 1 || items[0].State != writer.JobComplete {
		t.Errorf("%+v, %v", items, err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 10, 11, 12})
}
