package hubsink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

const (
	firstPause = 50 * time.Millisecond
	longPause  = 10 * time.Second
	// quotaPause is waited for where the Hub does not say how long: its commit
	// quota is hourly.
	quotaPause = time.Minute
	// maxContent is what files may have of a commit's content; README and rules, of at
	// most 8 MiB each, travel in it too.
	maxContent = hub.MaxCommitContent - 16<<20
)

// Commit implements writer.Sink.
func (s *Sink) Commit(ctx context.Context, job writer.Job, report func(writer.CommitEvent)) (writer.CommitResult, error) {
	job.MaxContent = maxContent
	c := &committer{sink: s, job: job, branch: branchOr(job.Revision), report: report, started: s.clock.Now(), advanced: s.clock.Now()}
	for {
		result, err := c.round(ctx)
		if err == nil {
			return result, nil
		}
		if err := c.pause(ctx, err); err != nil {
			return writer.CommitResult{}, err
		}
	}
}

// committer is one Commit call. What it remembers between rounds decides only
// how long to go on and what to call the end, never what to do.
type committer struct {
	sink   *Sink
	job    writer.Job
	branch string
	report func(writer.CommitEvent)

	started  time.Time
	advanced time.Time // of the last commit that got an answer
	rounds   int
	pauses   int    // since then
	posted   int    // commits that this call made
	parent   string // of the POST whose answer is missing; "" if none is
	doubted  bool   // an answer was missing at some time
	ahead    *ahead // what this round has asked early; nil after the first
	checked  bool   // the staged files are known to be stored
	lost     bool   // the Hub has said all the same that one is not
}

// round computes everything from the head and commits what is left. It returns an
// error of the Hub as it is; pause decides whether there is another round.
func (c *committer) round(ctx context.Context) (writer.CommitResult, error) {
	if c.rounds++; c.rounds == 1 {
		if result, tried, err := c.straight(ctx); tried {
			return result, err
		}
		c.ahead = c.look(ctx)
		defer func() { c.ahead.end(); c.ahead = nil }()
	}
	info, err := c.sink.data.Info(ctx, c.branch)
	if err != nil {
		return writer.CommitResult{}, c.reading(err)
	}
	head := info.Sha
	c.sink.memory.see(c.sink.headKey(c.branch), head)
	past, known, err := c.history(ctx, head)
	if err != nil {
		return writer.CommitResult{}, err
	}
	failpoint.Here(failpoint.CommitSearched)
	if past.Complete {
		return c.finished(ctx, past)
	}
	state, err := c.stateAt(ctx, head)
	if err != nil {
		return writer.CommitResult{}, c.reading(err)
	}
	if !known {
		if done, err := c.compare(state); done || err != nil {
			return writer.CommitResult{Head: head, PathsTotal: len(c.job.Files), Rows: c.job.Rows(), PR: pr(c.branch), Already: true, Resolves: true}, err
		}
	}
	if past.Switched {
		if past.Replaced, err = c.replaced(ctx, past.SwitchParent); err != nil {
			return writer.CommitResult{}, err
		}
	}
	plan, err := writer.PlanJob(ctx, state, c.job, past)
	if err != nil {
		return writer.CommitResult{}, c.reading(err)
	}
	failpoint.Here(failpoint.CommitPlanned)
	if err := c.stored(ctx, state, plan); err != nil {
		return writer.CommitResult{}, err
	}
	failpoint.Here(failpoint.CommitChecked)
	return c.carryOut(ctx, head, past, plan)
}

// stateAt is the State of the head.
func (c *committer) stateAt(ctx context.Context, head string) (*writer.State, error) {
	if c.ahead != nil {
		if state, looked, err := c.ahead.at(head); looked {
			return state, err
		}
	}
	return c.load(ctx, head)
}

func (c *committer) load(ctx context.Context, commit string) (*writer.State, error) {
	return writer.LoadState(ctx, c.sink.store(), c.sink.snapshot(c.branch, commit))
}

// carryOut commits a plan's batches, each on top of the one before.
func (c *committer) carryOut(ctx context.Context, head string, past writer.Past, plan *writer.Plan) (writer.CommitResult, error) {
	result := writer.CommitResult{Head: head, Commits: past.Commits, PathsTotal: len(plan.Paths), Rows: c.job.Rows(), PR: pr(c.branch),
		Resolves: plan.Resolves, Stale: plan.Stale, Hint: plan.Hint}
	for _, b := range plan.Batches {
		oid, err := c.post(ctx, result.Head, b, plan.Names)
		if err != nil {
			return writer.CommitResult{}, err
		}
		result.Head = oid
		result.Commits = append(result.Commits, oid)
		c.posted++
		c.sink.memory.see(c.sink.headKey(c.branch), oid)
		c.advanced, c.pauses, c.parent = c.sink.clock.Now(), 0, ""
		c.report(writer.CommitEvent{Progress: &writer.CommitProgress{Commit: oid, Index: b.Index, Of: b.Of, Operations: b.Operations()}})
	}
	result.Atomic = len(result.Commits) <= 1 || plan.Atomic
	c.items(plan.Paths)
	return result, nil
}

// post sends one commit.
func (c *committer) post(ctx context.Context, parent string, b writer.Batch, names writer.Names) (string, error) {
	commit := hub.Commit{Summary: c.job.Title(b), Description: c.job.Describe(b, names), Parent: parent, Deletes: b.Deletes}
	lfs, inline := b.LFS()
	for _, a := range lfs {
		commit.LFS = append(commit.LFS, hub.LFSFile{Path: a.Path, OID: a.File.OID, Size: a.File.Size})
	}
	for _, a := range inline {
		raw, err := a.File.Bytes()
		if err != nil {
			return "", err
		}
		if a.File.Rows == 0 {
			if commit.LFS, err = c.storeEmpty(ctx, a, raw, commit.LFS); err != nil {
				return "", err
			}
			if n := len(commit.LFS); n > 0 && commit.LFS[n-1].Path == a.Path {
				continue
			}
		}
		commit.Files = append(commit.Files, hub.RegularFile{Path: a.Path, Content: raw})
	}
	for path, text := range map[string][]byte{writer.ReadmePath: b.Readme, writer.AttributesPath: b.Attributes} {
		if text != nil {
			commit.Files = append(commit.Files, hub.RegularFile{Path: path, Content: text})
		}
	}
	failpoint.Here(failpoint.CommitPosts)
	result, err := c.sink.data.Commit(ctx, c.branch, commit)
	failpoint.Here(failpoint.CommitPosted)
	if err != nil {
		if source.KindOf(err) == source.KindUnknownOutcome {
			c.parent, c.doubted = parent, true
		}
		return "", &postError{err}
	}
	return result.OID, nil
}

// storeEmpty stores the file of a job without rows, which traveled in its record
// because it is nearly never needed, where the Hub wants it as LFS.
func (c *committer) storeEmpty(ctx context.Context, a writer.Add, raw []byte, lfs []hub.LFSFile) ([]hub.LFSFile, error) {
	mode, err := c.sink.mode(ctx, c.branch, a.Path, raw[:min(len(raw), 512)], int64(len(raw)))
	if err != nil || mode == hub.ModeRegular {
		return lfs, err
	}
	open := func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(raw)}, nil }
	if err := c.sink.data.UploadLFS(ctx, c.branch, []hub.LFSObject{{OID: a.File.OID, Size: a.File.Size, Open: open}}, nil); err != nil {
		return lfs, err
	}
	return append(lfs, hub.LFSFile{Path: a.Path, OID: a.File.OID, Size: a.File.Size}), nil
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// postError marks an error that came from the commit itself.
type postError struct{ err error }

func (e *postError) Error() string { return e.err.Error() }
func (e *postError) Unwrap() error { return e.err }

// stored asks, once, whether the Hub still has all files that are to be committed:
// a commit that names a lost one would fail after others had landed.
func (c *committer) stored(ctx context.Context, state *writer.State, plan *writer.Plan) error {
	if c.checked {
		return nil
	}
	var files []writer.StagedFile
	for _, b := range plan.Batches {
		lfs, _ := b.LFS()
		for _, a := range lfs {
			files = append(files, a.File)
		}
	}
	if len(files) == 0 {
		return nil
	}
	missing, err := c.missing(ctx, files)
	if err != nil {
		return c.reading(err)
	}
	c.checked = true
	if len(missing) == 0 {
		return nil
	}
	gone := map[string]bool{}
	for _, oid := range missing {
		gone[oid] = true
	}
	var lost []writer.StagedFile
	for _, f := range files {
		if gone[f.OID] {
			lost = append(lost, f)
		}
	}
	return writer.StagedLost(state.At, lost)
}

// missing are the ids of files that are not stored: of the files, and maybe of
// others of the job, which are committed by now.
func (c *committer) missing(ctx context.Context, files []writer.StagedFile) ([]string, error) {
	if c.ahead == nil {
		return c.sink.data.MissingLFS(ctx, c.branch, objects(files))
	}
	c.ahead.asking.Wait()
	return c.ahead.missing, c.ahead.refused
}

// finished is the answer of a job that the history holds completely.
func (c *committer) finished(ctx context.Context, past writer.Past) (writer.CommitResult, error) {
	last := past.Commits[len(past.Commits)-1]
	result := writer.CommitResult{Head: last, Commits: past.Commits, PathsTotal: len(c.job.Files), Rows: c.job.Rows(), PR: pr(c.branch),
		Already: c.posted == 0 && !c.doubted, Atomic: len(past.Commits) <= 1 || past.Switched}
	state, err := c.sink.At(ctx, c.branch, last)
	if err != nil {
		return writer.CommitResult{}, c.reading(err)
	}
	if result.Resolves, result.Stale, result.Hint, err = writer.Review(state, c.job, *past.Names); err != nil {
		return writer.CommitResult{}, err
	}
	c.items(past.Names.Paths(len(c.job.Files)))
	return result, nil
}

// items reports where every file is.
func (c *committer) items(paths []string) {
	for i, path := range paths {
		c.report(writer.CommitEvent{Item: &writer.CommitItem{Path: path, Size: c.job.Files[i].Size, Rows: c.job.Files[i].Rows}})
	}
}

func pr(branch string) int {
	m := prRef.FindStringSubmatch(branch)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

// pause waits before another round, or returns the error that the call ends with.
func (c *committer) pause(ctx context.Context, err error) error {
	wait := min(firstPause<<min(c.pauses, 10), longPause)
	wait = wait/2 + rand.N(wait) // jitter
	var post *postError
	var read *readError
	kind := source.KindOf(err)
	switch {
	case errors.As(err, &post) && kind == source.KindBusy:
		if wait = max(retryAfter(err), wait); retryAfter(err) == 0 && c.pauses > 0 {
			wait = quotaPause
		}
		c.advanced = c.sink.clock.Now().Add(wait) // a quota is nobody's conflict
	case errors.As(err, &post) && kind == source.KindStagedLost && !c.lost:
		c.lost, c.checked = true, false // the next round finds out which
	case errors.As(err, &post) && (kind == source.KindConflict || kind == source.KindUnknownOutcome || kind == source.KindUpstream):
	case errors.As(err, &read) && (kind == source.KindUpstream || kind == source.KindBusy) && (c.parent != "" || c.posted > 0):
		wait = max(retryAfter(err), wait)
	default:
		return c.ended(err)
	}
	c.pauses++
	now := c.sink.clock.Now()
	if now.Add(wait).Sub(c.advanced) > c.sink.deadline || c.job.Deadline > 0 && now.Add(wait).Sub(c.started) > c.job.Deadline {
		return c.ended(err)
	}
	c.sink.log.DebugContext(ctx, "commit: another round", "job", c.job.ID, "kind", kind.String(), "wait", wait)
	if err := c.sink.clock.Wait(ctx, wait); err != nil {
		return c.ended(err)
	}
	return nil
}

func retryAfter(err error) time.Duration {
	var e *source.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// ended is the error that a call ends with: while an answer is missing, nobody
// knows whether the job is there.
func (c *committer) ended(err error) error {
	var post *postError
	var read *readError
	switch {
	case errors.As(err, &post):
		if err = post.err; source.KindOf(err) == source.KindConflict {
			err = outrun(err)
		}
	case errors.As(err, &read):
		err = read.err
	}
	if c.parent == "" {
		return err
	}
	cause := source.AsError("commit", err)
	why := cause.Msg
	if why == "" {
		why = cause.Error()
	}
	return (&source.Error{Op: "commit", Kind: source.KindUnknownOutcome, Ref: c.sink.repo, Err: err,
		Msg: "a commit of job " + c.job.ID + " was sent and it is not known whether it took effect: " + why}).
		WithHint("ask: %s (the action jobs) tells whether it is there; or commit again with the same body, which finds out and writes nothing twice", c.question())
}

// outrun is the conflict of a commit that always came after somebody else's. Nothing
// that the job builds on has changed for that, which a time to wait tells from the
// conflicts that do not pass.
func outrun(err error) error {
	e := *source.AsError("commit", err)
	e.RetryAfter = max(e.RetryAfter, longPause)
	e.Hint = "others were faster until the time was up; commit again with the same body, nothing has to be uploaded again"
	return &e
}

// question is the command that tells what became of the job.
func (c *committer) question() string {
	command := "hubflight jobs show " + c.job.ID + " " + c.sink.repo
	if c.branch != defaultBranch {
		command += " --revision " + c.branch
	}
	return command
}
