package hubsink

import (
	"context"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// maxHistory is how many commits are looked through for a job's own.
const maxHistory = 20_000

// readError marks an error of reading the repository: nothing was sent.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func (c *committer) reading(err error) error { return &readError{err} }

// history looks for the job's commits between the head and the job's base. known
// is false if the base is no longer in the history (it was rewritten): then a job
// that is not found may still have happened.
func (c *committer) history(ctx context.Context, head string) (past writer.Past, known bool, err error) {
	if head == c.job.Base {
		return past, true, nil
	}
	seen := 0
	var foundParent bool
	defer func() { c.settle(foundParent) }()
	for commit, err := range c.sink.data.Commits(ctx, head) {
		if err != nil {
			return past, false, c.reading(err)
		}
		if past.Switched && past.SwitchParent == "" {
			past.SwitchParent = commit.ID
		}
		foundParent = foundParent || commit.ID == c.parent && commit.ID != head
		if commit.ID == c.job.Base {
			return past, true, nil
		}
		if r, ok := writer.ParseDescription(commit.Title + "\n" + commit.Message); ok && r.Job == c.job.ID {
			if err := past.Note(commit.ID, r, c.job); err != nil {
				return past, false, err
			}
		}
		if seen++; seen >= maxHistory {
			break
		}
	}
	return past, past.Names != nil, nil
}

// replaced are the files that the job's switch made superfluous.
func (c *committer) replaced(ctx context.Context, switchParent string) ([]source.File, error) {
	state, err := c.sink.At(ctx, c.branch, switchParent)
	if err != nil {
		return nil, c.reading(err)
	}
	return writer.Replaced(state, c.job)
}

// settle decides about a POST whose answer is missing. A commit after its parent
// means that something landed on the parent, and only one thing can: if it was
// ours, history has found it. (A head that lags behind the parent says nothing.)
func (c *committer) settle(parentHasChild bool) {
	if parentHasChild {
		c.parent = ""
	}
}

// compare is what is left where the history does not tell: the job's files are all
// there, or none of them is. Anything else cannot be decided.
func (c *committer) compare(state *writer.State) (done bool, err error) {
	trace, err := writer.Traces(state, c.job)
	switch {
	case err != nil:
		return false, c.reading(err)
	case trace == writer.TraceUnclear:
		return false, (&source.Error{Op: "commit", Kind: source.KindUnknownOutcome, Ref: state.At.Short(),
			Msg: "the branch's history was rewritten since the job began, and its files do not tell whether all of the job was committed"}).
			WithHint("look at the dataset and write again as a new job")
	}
	return trace == writer.TraceAll, nil
}
