package writer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// seededState is a dataset as it may be found: a layout by the seed, several files
// per split, sometimes a card.
func seededState(r *rand.Rand) *State {
	shapes := []func(split string, i, n int) string{
		func(split string, i, n int) string { return fmt.Sprintf("data/%s-%05d-of-%05d.parquet", split, i, n) },
		func(split string, i, _ int) string { return fmt.Sprintf("%s/%d.parquet", split, i) },
		func(split string, i, _ int) string { return fmt.Sprintf("%s-%d.parquet", split, i) },
		func(_ string, i, _ int) string { return fmt.Sprintf("part-%05d.parquet", i) },
		func(_ string, i, _ int) string { return fmt.Sprintf("any/%d.parquet", i) },
	}
	shape := shapes[r.IntN(len(shapes))]
	paths := map[string]bool{}
	for _, split := range []string{"train", "test", "train_sft"}[:1+r.IntN(3)] {
		n := 1 + r.IntN(6)
		for i := range n {
			paths[shape(split, i, n)] = true
		}
	}
	s := &State{}
	for p := range paths {
		s.Files = append(s.Files, source.File{Path: p, Size: 1, OID: "old " + p})
	}
	if r.IntN(2) == 0 {
		s.Readme = []byte("---\ndataset_info:\n  splits:\n  - name: train\n    num_examples: 5\n---\n")
		s.Files = append(s.Files, source.File{Path: ReadmePath, Size: int64(len(s.Readme))})
	}
	slices.SortFunc(s.Files, func(a, b source.File) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return s
}

// TestTheEndsOfARunStandForAllItsBatches: what is proved of the first and the last
// batch of a run holds after each of them.
func TestTheEndsOfARunStandForAllItsBatches(t *testing.T) {
	planned := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := seededState(r)
		job := Job{ID: fmt.Sprint(seed), Naming: NamingDataset, Mode: []Mode{ModeAppend, ModeOverwrite}[r.IntN(2)],
			Publish: []string{PublishBatches, PublishSwitch}[r.IntN(2)], Split: []string{"train", "test", "new"}[r.IntN(3)], MaxOperations: 1 + r.IntN(2)}
		if r.IntN(4) == 0 {
			job.Config = "gen"
		}
		for i := range 1 + r.IntN(8) {
			job.Files = append(job.Files, StagedFile{Partition: i, OID: fmt.Sprint("new ", i), Size: 2, Rows: 1, Mode: UploadLFS})
		}
		plan, err := NewPlan(PlanInput{State: s, Job: job})
		if err != nil {
			continue // refused: nothing is sent
		}
		planned++
		p := &planner{PlanInput: PlanInput{State: s, Job: job}}
		if err := p.look(); err != nil {
			t.Fatal(err)
		}
		each := slices.Collect(slices.Chunk(plan.Batches, 1))
		check := p.verify
		if p.hides() {
			check = p.verifySteps
		}
		if resolves, err := check(plan, each); err != nil || resolves != plan.Resolves {
			t.Errorf("seed %d: after every batch: %v, %v; at the ends of runs: %v", seed, resolves, err, plan.Resolves)
		}
	}
	if planned < 250 {
		t.Errorf("only %d of the seeds were planned", planned)
	}
}

// largeState is a split of n files.
func largeState(n int) *State {
	s := &State{Readme: []byte("---\ndataset_info:\n  splits:\n  - name: train\n    num_bytes: 50\n    num_examples: 10000\n---\n")}
	s.Files = append(s.Files, source.File{Path: ReadmePath, Size: int64(len(s.Readme))})
	for i := range n {
		s.Files = append(s.Files, source.File{Path: fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, n), Size: 1, OID: "old"})
	}
	return s
}

func largeJob(n int, mode Mode, publish string) Job {
	job := Job{ID: "large", Mode: mode, Naming: NamingDataset, Split: "train", Publish: publish, MaxOperations: 50}
	for i := range n {
		job.Files = append(job.Files, StagedFile{Partition: i, OID: fmt.Sprint(i), Size: 10, Rows: 1, Mode: UploadLFS})
	}
	return job
}

// TestAPlanOfManyFilesResolvesItsTreeAFewTimes: every conflict plans anew, so a plan
// must cost far less than the many commits that it is for. BenchmarkPlan has the
// times of 10,000 files.
func TestAPlanOfManyFilesResolvesItsTreeAFewTimes(t *testing.T) {
	const n = 1000
	s := largeState(n)
	for _, mode := range []Mode{ModeAppend, ModeOverwrite} {
		for _, publish := range []string{PublishBatches, PublishSwitch} {
			plan, err := NewPlan(PlanInput{State: s, Job: largeJob(n, mode, publish)})
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Batches) < n/50 {
				t.Errorf("%s by %s: only %d batches", mode, publish, len(plan.Batches))
			}
			if parts := runs(plan.Batches); len(parts) > 8 {
				t.Errorf("%s by %s: the tree is resolved %d times", mode, publish, len(parts))
			}
		}
	}
}

// inlineJob is a job of files that travel inside its commits, of 100 bytes each, and of
// every fifth that does not.
func inlineJob(n int, mode Mode, publish string) Job {
	job := largeJob(n, mode, publish)
	for i := range job.Files {
		if i%5 != 0 {
			job.Files[i].Mode, job.Files[i].Size = UploadRegular, 100
		}
	}
	return job
}

// TestACommitEndsWhereItsContentIsFull, also if it may have more operations, and before
// anything is deleted; a job that goes on with what others have not committed ends its
// commits at the same files.
func TestACommitEndsWhereItsContentIsFull(t *testing.T) {
	const n, content = 100, 1000
	for _, mode := range []Mode{ModeAppend, ModeOverwrite} {
		for _, publish := range []string{PublishBatches, PublishSwitch} {
			job := inlineJob(n, mode, publish)
			job.MaxOperations, job.MaxContent = 500, content
			s := largeState(20)
			whole, err := NewPlan(PlanInput{State: s, Job: job})
			if err != nil {
				t.Fatal(err)
			}
			left := n
			for i, b := range whole.Batches {
				var bytes int64
				for _, a := range b.Adds {
					bytes += a.File.inline()
				}
				left -= len(b.Adds)
				if bytes > content || b.Index != i+1 || b.Of != len(whole.Batches) || left > 0 && len(b.Deletes) > 0 {
					t.Errorf("%s by %s: batch %d of %d, number %d, has %d bytes and %d deletions, and %d files are to come", mode, publish, b.Index, b.Of, i+1, bytes, len(b.Deletes), left)
				}
			}
			if left != 0 || len(whole.Batches) < 8 {
				t.Errorf("%s by %s: %d batches leave %d files", mode, publish, len(whole.Batches), left)
			}
			for done := 1; done < len(whole.Batches) && whole.Batches[done-1].Step != StepSwitch; done++ {
				now := tree{files: s.Files, readme: s.Readme}.after(s.At, whole.Batches[:done])
				rest, err := NewPlan(PlanInput{State: &State{Files: now.files, Readme: now.readme}, Job: job,
					Past: Past{Batches: done, Names: &whole.Names, Hidden: publish == PublishSwitch}})
				if err != nil {
					t.Fatal(err)
				}
				for i, b := range rest.Batches {
					want := whole.Batches[done+i]
					if b.Digest() != want.Digest() || b.Index != want.Index || b.Of != want.Of || b.Step != want.Step {
						t.Errorf("%s by %s, after %d batches: number %d of %d (%s) is another one than %d of %d (%s)", mode, publish, done, b.Index, b.Of, b.Step, want.Index, want.Of, want.Step)
					}
				}
			}
		}
	}
}

// TestASwitchOfMoreContentThanACommitHoldsIsHidden: it may have all its operations in one
// commit, and needs several.
func TestASwitchOfMoreContentThanACommitHoldsIsHidden(t *testing.T) {
	job := inlineJob(20, ModeAppend, PublishSwitch)
	job.MaxContent = 500
	plan, err := NewPlan(PlanInput{State: largeState(1), Job: job})
	if err != nil || !plan.Atomic || len(plan.Batches) < 4 {
		t.Errorf("%+v, %v", plan, err)
	}
}

// TestAJobThatIsToBeOneCommitAndCannotBeIsToldWhatToSet before anything is committed.
func TestAJobThatIsToBeOneCommitAndCannotBeIsToldWhatToSet(t *testing.T) {
	job := inlineJob(20, ModeAppend, PublishBatches)
	job.MaxOperations, job.MaxContent = 0, 1599
	_, err := NewPlan(PlanInput{State: largeState(1), Job: job})
	if source.KindOf(err) != source.KindLimit || !strings.Contains(err.Error(), "max_operations_per_commit") || !strings.Contains(err.Error(), "1600 bytes") {
		t.Errorf("%v", err)
	}
	for _, content := range []int64{0, 1600} { // 0: a folder has no limit
		job.MaxContent = content
		plan, err := NewPlan(PlanInput{State: largeState(1), Job: job})
		if err != nil || len(plan.Batches) != 1 {
			t.Errorf("%+v, %v", plan, err)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	const n = 10_000
	s := largeState(n)
	for _, publish := range []string{PublishBatches, PublishSwitch} {
		b.Run(fmt.Sprintf("publish=%s/files=%d", publish, n), func(b *testing.B) {
			job := largeJob(n, ModeOverwrite, publish)
			b.ReportAllocs()
			for b.Loop() {
				plan, err := NewPlan(PlanInput{State: s, Job: job})
				if err != nil {
					b.Fatal(err)
				}
				if len(plan.Paths) != n || len(plan.Batches) < n/job.MaxOperations || !plan.Resolves {
					b.Fatalf("%d paths in %d batches, which resolve: %t", len(plan.Paths), len(plan.Batches), plan.Resolves)
				}
			}
		})
	}
}
