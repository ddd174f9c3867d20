package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// heartbeat is the longest that a commit stays silent.
const heartbeat = 20 * time.Second

// Commit makes a job visible. Repeating it with the same body is always safe and
// gives the first answer. report may be nil; its calls do not overlap.
//
// Errors: KindInvalid (mixed files; nothing that would stay readable),
// KindConflict (somebody changed what the job builds on, or with a RetryAfter was
// always faster), KindStagedLost (files are no longer stored; their partitions are
// named), KindUnknownOutcome (ask again with the same body), KindUpstream, KindBusy.
func (w *Writer) Commit(ctx context.Context, token source.HubToken, r CommitRequest, report func(CommitEvent)) (CommitResult, error) {
	if err := r.Validate(); err != nil {
		return CommitResult{}, err
	}
	job, err := newJob(r, w.deadline)
	if err != nil {
		return CommitResult{}, err
	}
	if len(job.Files) == 0 && keepsFile(job.Naming, job.Mode) {
		return CommitResult{}, invalid("commit", "nothing was staged, so the schema of an empty dataset is not known").
			WithHint("stage one attempt without rows")
	}
	job.schemas = w.schemas.reader(token, job.Ref)
	sink, err := w.open(ctx, job.Ref, token)
	if err != nil {
		return CommitResult{}, err
	}
	beat := startHeart(report)
	defer beat.stop()
	unlock, err := w.repos.lock(ctx, job.Ref.Name())
	if err != nil {
		return CommitResult{}, err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	failpoint.Here(failpoint.CommitStarts)
	var items []CommitEvent
	result, err := sink.Commit(ctx, job, func(e CommitEvent) {
		if e.Item == nil {
			beat.report(e)
			return
		}
		items = append(items, e)
	})
	if err != nil {
		return CommitResult{}, err
	}
	// A caller may be slow to take what there is to tell of every file, or not take it
	// at all. Others need not wait for that.
	unlock()
	for _, e := range items {
		beat.report(e)
	}
	failpoint.Here(failpoint.CommitAnswers)
	w.done(keyOfJob(ctx, token, job.ID))
	result.Type, result.V = "result", Version
	if result.Commits == nil {
		result.Commits = []string{}
	}
	return result, nil
}

// heart repeats the last progress when nothing is reported for a while, so that
// the caller's connection stays alive. It also keeps calls of report apart.
type heart struct {
	mu     sync.Mutex
	last   CommitProgress
	beaten time.Time
	send   func(CommitEvent)
	quit   chan struct{}
	done   chan struct{}
}

func startHeart(report func(CommitEvent)) *heart {
	h := &heart{send: report, quit: make(chan struct{}), done: make(chan struct{}), beaten: time.Now()}
	if report == nil {
		h.send = func(CommitEvent) {}
		close(h.done)
		return h
	}
	go h.run()
	return h
}

func (h *heart) run() {
	defer close(h.done)
	defer func() { _ = recover() }() // a report that panics must not end the process
	ticker := time.NewTicker(heartbeat / 4)
	defer ticker.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-ticker.C:
			h.beat()
		}
	}
}

func (h *heart) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.beaten) < heartbeat*3/4 {
		return
	}
	h.beaten = time.Now()
	p := h.last
	p.Type, p.Commit, p.Operations = "progress", "", 0
	h.send(CommitEvent{Progress: &p})
}

func (h *heart) report(e CommitEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beaten = time.Now()
	if e.Progress != nil {
		e.Progress.Type = "progress"
		h.last = *e.Progress
	}
	if e.Item != nil {
		e.Item.Type = "item"
	}
	h.send(e)
}

func (h *heart) stop() {
	close(h.quit)
	<-h.done
}

// Write carries out a whole job from one stream: begin, stage, commit. progress
// and report may be nil.
func (w *Writer) Write(ctx context.Context, token source.HubToken, r WriteRequest, in Batches, progress func(bytes int64), report func(CommitEvent)) (CommitResult, error) {
	if err := r.Validate(); err != nil {
		return CommitResult{}, err
	}
	schema, err := EncodeSchema(in.Schema())
	if err != nil {
		return CommitResult{}, err
	}
	begun, err := w.Begin(ctx, token, r.begin(schema))
	if err != nil {
		return CommitResult{}, err
	}
	if begun.Skip {
		if err := passOver(ctx, in); err != nil {
			return CommitResult{}, err
		}
		return CommitResult{Type: "result", V: Version, Head: begun.Base, Commits: []string{}, Already: false, Atomic: true, Resolves: true, Hint: begun.Reason}, nil
	}
	staged, err := w.Stage(ctx, token, r.stage(begun), in, progress)
	if err != nil {
		return CommitResult{}, err
	}
	return w.Commit(ctx, token, r.commit(begun, staged.Files), report)
}

// passOver takes rows that are not wanted: a client that sends all of them before it reads
// would otherwise find its stream closed, and not the answer.
func passOver(ctx context.Context, in Batches) error {
	for {
		rec, err := in.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		rec.Release()
	}
}

// PlanJob is NewPlan with what it needs from files: whether the rows that a job is
// added to still have its columns, and whether an overwrite changes the schema under
// features that the card declares.
func PlanJob(ctx context.Context, s *State, job Job, past Past) (*Plan, error) {
	if err := sameColumns(ctx, s, job, past); err != nil {
		return nil, err
	}
	in := PlanInput{State: s, Job: job, Past: past}
	if (job.Mode == ModeOverwrite || job.ReplaceFormat) && job.Naming == NamingDataset && len(job.Files) > 0 && s.Readme != nil {
		drop, err := changesFeatures(ctx, s, job)
		if err != nil {
			return nil, err
		}
		in.DropFeatures = drop
	}
	return NewPlan(in)
}

// sameColumns refuses to put a job's files beside others of another schema: a split of
// two cannot be loaded. Somebody may have been the first to write into an empty split
// since the job began, or have overwritten it; and who stages without the job's base has
// not compared. A job of several commits is looked at before the first of them and
// whenever somebody else has come between two: what the others have written counts, not
// its own files.
func sameColumns(ctx context.Context, s *State, job Job, past Past) error {
	if !joins(job, past) || len(job.Files) == 0 || past.Switched {
		return nil
	}
	p := &planner{PlanInput: PlanInput{State: s, Job: job}}
	if err := p.look(); err != nil {
		return err
	}
	var own map[string]bool
	if past.Names != nil {
		own = setOf(past.Names.Paths(len(job.Files)))
	}
	there := p.existing()
	i := slices.IndexFunc(there, func(f source.File) bool { return !own[f.Path] })
	if i < 0 {
		return nil
	}
	schema, err := job.schemas(ctx, s.Store, there[i])
	if err != nil {
		return err
	}
	if schemaHash(schema) == job.Files[0].SchemaHash {
		return nil
	}
	return (&source.Error{Op: "commit", Kind: source.KindConflict, Ref: s.At.Short(), Path: there[i].Path,
		Msg: "the rows that are there by now have other columns or types than this job's; their columns are " + columnNames(schema)}).
		WithHint("repeat the write as a new job")
}

// joins reports whether a job's files come beside those that others have written by
// now. Modes that want an empty target do that from their second commit on.
func joins(job Job, past Past) bool {
	switch job.Mode {
	case ModeAppend:
		return job.Naming != NamingFile
	case ModeErrorIfExists, ModeIgnore:
		return job.Naming != NamingFile && past.Names != nil
	}
	return false
}

func changesFeatures(ctx context.Context, s *State, job Job) (bool, error) {
	p := &planner{PlanInput: PlanInput{State: s, Job: job}}
	if err := p.look(); err != nil {
		return false, err
	}
	if !hasFeatures(s, p.slot.config, p.slot.isDefault) {
		return false, nil
	}
	f, ok := p.slot.firstFile()
	if !ok {
		return p.replacing(), nil // the types of another format are not looked up
	}
	old, err := readSchema(ctx, s.Store, f)
	if err != nil {
		if k := source.KindOf(err); k == source.KindCorrupt || k == source.KindUnsupported || k == source.KindInvalid {
			return true, nil // a file that cannot be read is a reason to overwrite it
		}
		return false, err
	}
	return schemaHash(old) != job.Files[0].SchemaHash, nil
}

// Describe is the line by which a job is found in the history: it begins with
// marker, and ParseDescription reads it.
func (j Job) Describe(b Batch, names Names) string {
	line := fmt.Sprintf("%s%s batch=%d/%d ops=%s files=%s offset=%d names=%s", marker, j.ID, b.Index, b.Of, b.Digest(), j.Digest, names.Offset, names)
	if b.Step != "" {
		line += " step=" + string(b.Step)
	}
	return line
}

// Title is a batch's commit message: numbered as the documented helper does, if
// there is more than one.
func (j Job) Title(b Batch) string {
	if b.Of <= 1 {
		return j.Message
	}
	return fmt.Sprintf("%s (part %05d-of-%05d)", j.Message, b.Index-1, b.Of)
}

const marker = "hubflight job="
