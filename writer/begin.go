package writer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// manyCommits is where begin warns: the Hub's quotas are hourly.
const manyCommits = 100

// Begin fixes what a job starts from. Errors: KindInvalid (a request that no job
// can be), KindNotFound (no such repository, and create_repo is not set),
// KindDenied and KindUnauthenticated (no write access), KindExists (mode
// errorifexists), KindUnsupported.
func (w *Writer) Begin(ctx context.Context, token source.HubToken, r BeginRequest) (BeginResult, error) {
	if err := r.Validate(); err != nil {
		return BeginResult{}, err
	}
	result, err := w.begin(ctx, token, r)
	return result, beginning(err)
}

// beginning: what a commit or a stage would refuse too, begin says under its own
// name.
func beginning(err error) error {
	var e *source.Error
	if errors.As(err, &e) && (e.Op == "commit" || e.Op == "stage") {
		named := *e
		named.Op = "begin"
		return &named
	}
	return err
}

func (w *Writer) begin(ctx context.Context, token source.HubToken, r BeginRequest) (BeginResult, error) {
	t := r.target()
	ref, revision, dir, err := t.place()
	if err != nil {
		return BeginResult{}, err
	}
	given, err := givenSchema(r.Schema) // refused before anything is created
	if err != nil {
		return BeginResult{}, err
	}
	sink, err := w.open(ctx, ref, token)
	if err != nil {
		return BeginResult{}, err
	}
	failpoint.Here(failpoint.BeginStarts)
	base, err := sink.Begin(ctx, Prepare{Job: r.Job, Revision: revision, Create: r.CreateRepo, Private: r.IsPrivate(), PR: r.CreatePR})
	if err != nil {
		return BeginResult{}, err
	}
	failpoint.Here(failpoint.BeginPinned)
	state, err := sink.At(ctx, base.Revision, base.Commit)
	if err != nil {
		return BeginResult{}, err
	}
	result := BeginResult{Type: "result", V: Version, Job: r.Job, Base: base.Commit, Revision: base.Revision}
	p, err := targetPlanner(state, t, dir)
	if err != nil {
		return BeginResult{}, err
	}
	p.Job.Publish, p.Job.ReplaceFormat = r.Publish, r.ReplaceFormat
	if there := p.existing(); p.Job.Naming == NamingFile && p.Job.Mode == ModeAppend && len(there) > 0 {
		return BeginResult{}, existsError("begin", state.At, there).WithHint("a file does not grow: append to a folder of parts, or overwrite the file")
	}
	if err := p.decideMode(); err != nil {
		if r.Mode != ModeIgnore || source.KindOf(err) != source.KindExists {
			return BeginResult{}, err
		}
		result.Skip, result.Reason = true, text(err)
	}
	if result.Schema, err = w.beginSchema(ctx, token, ref, p, given); err != nil {
		return BeginResult{}, err
	}
	if !result.Skip { // else there is no job
		w.known.note(keyOfJob(ctx, token, r.Job), ref, base.Revision, 0)
	}
	if r.FilesExpected > 0 {
		w.countCommits(&result, p, r.FilesExpected)
	}
	return result, nil
}

// targetPlanner looks a target up in a State.
func targetPlanner(state *State, t target, dir string) (*planner, error) {
	p := &planner{PlanInput: PlanInput{State: state, Job: Job{ID: t.job, Mode: t.mode, Naming: t.namingOrDataset(), Config: t.config, Split: t.splitOrTrain(), Dir: dir}}}
	return p, p.look()
}

// countCommits estimates the commits of the job, with the default batch.
func (w *Writer) countCommits(result *BeginResult, p *planner, files int) {
	operations := files + len(p.outgoing())
	if p.Job.Naming == NamingParts && p.Job.Mode == ModeOverwrite {
		operations += len(p.existing())
	}
	result.CommitsNeeded = (operations + DefaultMaxOperations - 1) / DefaultMaxOperations
	if p.Job.Publish == PublishSwitch && result.CommitsNeeded > 1 {
		result.CommitsNeeded += 2 // the README is prepared, and switched
	}
	if result.CommitsNeeded > manyCommits && result.Reason == "" {
		result.Reason = fmt.Sprintf("the job needs %d commits of %d operations; the Hub's hourly quota may make it wait: fewer, larger files need fewer", result.CommitsNeeded, DefaultMaxOperations)
	}
}

// givenSchema is the caller's schema as it would be written; nil if it sent none.
func givenSchema(text string) (*arrow.Schema, error) {
	if text == "" {
		return nil, nil
	}
	given, err := DecodeSchema(text)
	if err != nil {
		return nil, err
	}
	return fileSchema(given, true)
}

// beginSchema is the schema to write: the existing split's for an append, else the
// caller's as it will be written.
func (w *Writer) beginSchema(ctx context.Context, token source.HubToken, ref source.Ref, p *planner, given *arrow.Schema) (string, error) {
	write := given
	if appends(p.Job) {
		existing, err := w.schemas.of(ctx, token, ref, p)
		if err != nil {
			return "", err
		}
		if existing != nil {
			if given != nil {
				if _, err := newCoercion(given, existing); err != nil {
					return "", err
				}
			}
			write = existing
		}
	}
	if write == nil {
		return "", nil
	}
	return EncodeSchema(write)
}

// appends reports whether a job adds to rows that are there, and so takes their
// schema.
func appends(j Job) bool { return j.Mode == ModeAppend && j.Naming != NamingFile }

// schemaCache keeps the schemas that a job's attempts append to, so that each of
// them does not list the repository and read a footer again.
type schemaCache struct {
	mu      sync.Mutex
	entries map[schemaKey]*arrow.Schema
}

// schemaKey includes the token: what one caller may see, another may not. It names a
// target at a commit, or a file by its content, which the next commit has too.
type schemaKey struct {
	token                                 source.TokenID
	ref, commit, config, split, dir, file string
	naming                                Naming
}

const maxSchemas = 256

func keyOf(token source.HubToken, ref source.Ref, p *planner) schemaKey {
	return schemaKey{token: token.ID(), ref: ref.Name(), commit: p.State.At.Commit, config: p.Job.Config, split: p.Job.Split, dir: p.Job.Dir, naming: p.Job.Naming}
}

func (c *schemaCache) get(key schemaKey) (*arrow.Schema, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.entries[key]
	return s, ok
}

func (c *schemaCache) put(key schemaKey, s *arrow.Schema) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxSchemas {
		c.entries = map[schemaKey]*arrow.Schema{}
	}
	c.entries[key] = s
}

// of returns the schema of the files that the target holds, nil if it holds none.
func (c *schemaCache) of(ctx context.Context, token source.HubToken, ref source.Ref, p *planner) (*arrow.Schema, error) {
	key := keyOf(token, ref, p)
	if s, ok := c.get(key); ok {
		return s, nil
	}
	var s *arrow.Schema
	if files := p.existing(); len(files) > 0 {
		var err error
		if s, err = c.reader(token, ref)(ctx, p.State.Store, files[0]); err != nil {
			return nil, err
		}
	}
	c.put(key, s)
	return s, nil
}

// reader returns a schemaReader of one caller, which reads no content twice.
func (c *schemaCache) reader(token source.HubToken, ref source.Ref) schemaReader {
	return func(ctx context.Context, store source.Store, f source.File) (*arrow.Schema, error) {
		key := schemaKey{token: token.ID(), ref: ref.Name(), file: f.Identity()}
		if s, ok := c.get(key); ok {
			return s, nil
		}
		s, err := readSchema(ctx, store, f)
		if err == nil {
			c.put(key, s)
		}
		return s, err
	}
}

// schemaReader is readSchema, or what is remembered of it.
type schemaReader func(ctx context.Context, store source.Store, f source.File) (*arrow.Schema, error)

// readSchema is the schema of a file as it would be written again.
func readSchema(ctx context.Context, store source.Store, f source.File) (s *arrow.Schema, err error) {
	r, err := store.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	footer, err := scan.ReadFooter(ctx, r, f)
	if err != nil {
		return nil, err
	}
	return fileSchema(footer.Schema(), true)
}
