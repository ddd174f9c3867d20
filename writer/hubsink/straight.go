package hubsink

import (
	"context"
	"iter"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// straight commits without asking anything first: where this process has seen the
// branch at the job's base last, and remembers what the base holds. That the branch is
// still there, and that the staged files are stored, the Hub checks itself of a commit
// that names its parent and its objects; of a job of one commit nothing can have landed
// if it refuses. Over a distance the question is a round trip, and so is the answer.
//
// tried is false if nothing has been sent, or if the branch is elsewhere by now: then
// nothing has happened, and a round finds out everything.
func (c *committer) straight(ctx context.Context) (result writer.CommitResult, tried bool, err error) {
	memory, key := c.sink.memory, c.sink.headKey(c.branch)
	if !fullSha.MatchString(c.job.Base) || memory.head(key) != c.job.Base {
		return result, false, nil
	}
	failpoint.Here(failpoint.CommitSearched)
	plan := c.rememberedPlan(ctx)
	if plan == nil {
		return result, false, nil
	}
	failpoint.Here(failpoint.CommitPlanned)
	failpoint.Here(failpoint.CommitChecked)
	result, err = c.carryOut(ctx, c.job.Base, writer.Past{}, plan)
	if source.KindOf(err) == source.KindConflict {
		memory.see(key, "")
		return writer.CommitResult{}, false, nil
	}
	return result, true, err
}

// rememberedPlan is the plan of a job of one commit on top of its base, nil if that needs
// a question or cannot be: a round says what is wrong.
func (c *committer) rememberedPlan(ctx context.Context) *writer.Plan {
	state, err := writer.LoadState(ctx, remembered{c.sink.store()}, c.sink.snapshot(c.branch, c.job.Base))
	if err == nil {
		if plan, err := writer.PlanJob(ctx, state, c.job, writer.Past{}); err == nil && len(plan.Batches) == 1 {
			return plan
		}
	}
	return nil
}

// remembered is a store that asks nobody.
type remembered struct{ store }

// Files implements source.Store.
func (r remembered) Files(_ context.Context, at source.Snapshot, dir string) iter.Seq2[source.File, error] {
	files, known := r.memory.listing(listingKey{r.token, at})
	return func(yield func(source.File, error) bool) {
		if !known || dir != "" {
			yield(source.File{}, notRemembered("list"))
			return
		}
		for _, f := range files {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// Open implements source.Store.
func (r remembered) Open(_ context.Context, f source.File) (source.Reader, error) {
	if text, known := r.memory.text(textKey{r.token, f.ETag}); known && f.OID == "" && int64(len(text)) == f.Size {
		return kept(text), nil
	}
	return nil, notRemembered("open")
}

func notRemembered(op string) error {
	return source.Errorf(source.KindNotFound, op, "this process does not remember it")
}
