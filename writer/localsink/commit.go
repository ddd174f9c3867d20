package localsink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

const (
	intentName = "intent.json"
	// lockWait is how long a commit waits for another one.
	lockWait  = 2 * time.Minute
	maxRecord = 64 << 20 // of an intent or answer: 100,000 paths
)

// intent is what a commit is about to do. It is complete: whoever finds it can
// carry it out.
type intent struct {
	V       int                 `json:"v"`
	Job     string              `json:"job"`
	Digest  string              `json:"digest"`
	Names   string              `json:"names"`
	Moves   []move              `json:"moves"`
	Deletes []string            `json:"deletes"`
	Result  writer.CommitResult `json:"result"`
}

// move is one rename, from the job's staging area.
type move struct {
	From string `json:"from"`
	To   string `json:"to"`
	Size int64  `json:"size"`
}

// Validate refuses what no commit can have written.
func (i intent) Validate() error {
	check := func(p string) error {
		if why := source.ValidatePath(p); p == "" || why != "" || strings.HasPrefix(p, area+"/") {
			return source.Errorf(source.KindCorrupt, "recover", "an intent names the path %q", p)
		}
		return nil
	}
	if i.V != 1 || i.Job == "" || strings.ContainsAny(i.Job, "/\\") {
		return source.Errorf(source.KindCorrupt, "recover", "an intent is not of this version")
	}
	for _, m := range i.Moves {
		if err := check(m.To); err != nil {
			return err
		}
		if m.From == "" || strings.ContainsAny(m.From, "/\\") {
			return source.Errorf(source.KindCorrupt, "recover", "an intent names the staged file %q", m.From)
		}
	}
	for _, d := range i.Deletes {
		if err := check(d); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements writer.Sink.
func (s *Sink) Commit(ctx context.Context, job writer.Job, report func(writer.CommitEvent)) (writer.CommitResult, error) {
	f, err := s.open()
	if err != nil {
		return writer.CommitResult{}, err
	}
	defer f.close()
	unlock, err := f.lock(ctx, lockWait)
	if err != nil {
		return writer.CommitResult{}, err
	}
	result, err := f.commit(ctx, job)
	if err = errors.Join(err, s.wrap("lock", unlock())); err != nil {
		return writer.CommitResult{}, err
	}
	for i, path := range result.paths {
		report(writer.CommitEvent{Item: &writer.CommitItem{Path: path, Size: job.Files[i].Size, Rows: job.Files[i].Rows}})
	}
	return result.CommitResult, nil
}

type committed struct {
	writer.CommitResult
	paths []string
}

// commit runs with the lock held.
func (f *folder) commit(ctx context.Context, job writer.Job) (committed, error) {
	if err := f.recover(ctx); err != nil {
		return committed{}, err
	}
	if before, ok, err := f.answer(job); ok || err != nil {
		return before, err
	}
	state, err := stateOf(ctx, f.sink.store.Holding())
	if err != nil {
		return committed{}, err
	}
	job.MaxOperations = 0 // one commit for everything: there is nobody to spare
	plan, err := writer.PlanJob(ctx, state, job, writer.Past{})
	if err != nil {
		return committed{}, err
	}
	result := committed{paths: plan.Paths, CommitResult: writer.CommitResult{Head: state.At.Commit, PathsTotal: len(plan.Paths), Rows: job.Rows(),
		Resolves: plan.Resolves, Stale: plan.Stale, Hint: plan.Hint}}
	if len(plan.Batches) == 0 {
		result.Atomic = true
		return result, nil
	}
	result.Atomic = true // our readers wait for the lock, and for an intent to be carried out
	in, err := f.prepare(ctx, job, state, plan, result.CommitResult)
	if err != nil {
		return committed{}, err
	}
	head, err := f.carryOut(ctx, in)
	if err != nil {
		return committed{}, err
	}
	result.Head, result.Commits = head, []string{head}
	return result, nil
}

// prepare stages what is not a file yet and writes the intent, with the answer that
// whoever carries it out will give: from there on the commit happens.
func (f *folder) prepare(ctx context.Context, job writer.Job, state *writer.State, plan *writer.Plan, answer writer.CommitResult) (intent, error) {
	b := plan.Batches[0]
	in := intent{V: 1, Job: job.ID, Digest: job.Digest, Names: plan.Names.String(), Deletes: b.Deletes, Result: answer}
	dir := path.Join(area, job.ID)
	if err := f.root.MkdirAll(dir, private); err != nil {
		return in, f.sink.wrap("commit", err)
	}
	staged, err := f.staged(dir)
	if err != nil {
		return in, err
	}
	var lost []writer.StagedFile
	for _, a := range b.Adds {
		from, err := f.source(ctx, dir, staged, a.File)
		if err != nil {
			return in, err
		}
		if from == "" {
			lost = append(lost, a.File)
			continue
		}
		in.Moves = append(in.Moves, move{From: from, To: a.Path, Size: a.File.Size})
	}
	if len(lost) > 0 {
		return in, writer.StagedLost(state.At, lost)
	}
	if b.Readme != nil {
		name := "readme." + unique()
		if err := f.write(ctx, path.Join(dir, name), bytes.NewReader(b.Readme), int64(len(b.Readme))); err != nil {
			return in, err
		}
		in.Moves = append(in.Moves, move{From: name, To: writer.ReadmePath, Size: int64(len(b.Readme))})
	}
	failpoint.Here(failpoint.LocalIntends)
	return in, f.writeJSON(ctx, path.Join(dir, intentName), in)
}

// staged lists a job's staged files by content.
func (f *folder) staged(dir string) (map[string][]string, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, f.sink.wrap("commit", err)
	}
	entries, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, f.sink.wrap("commit", err)
	}
	out := map[string][]string{}
	for _, e := range entries {
		if oid := oidOf(e.Name()); len(oid) == 64 {
			out[oid] = append(out[oid], e.Name())
		}
	}
	return out, nil
}

// source finds the staged file of a record, each of them once; "" if it is not
// there. A file that traveled in its record is written now.
func (f *folder) source(ctx context.Context, dir string, staged map[string][]string, r writer.StagedFile) (string, error) {
	names := staged[r.OID]
	if len(names) == 0 {
		if r.Mode != writer.UploadRegular {
			return "", nil
		}
		raw, err := r.Bytes()
		if err != nil {
			return "", err
		}
		name := r.OID + "." + unique()
		return name, f.write(ctx, path.Join(dir, name), bytes.NewReader(raw), r.Size)
	}
	info, err := f.root.Lstat(path.Join(dir, names[0]))
	if err != nil || !info.Mode().IsRegular() || info.Size() != r.Size {
		return "", f.sink.wrap("commit", err)
	}
	staged[r.OID] = names[1:]
	return names[0], nil
}

// carryOut does what an intent says, from wherever it was interrupted, and
// returns the digest of the folder.
func (f *folder) carryOut(ctx context.Context, in intent) (head string, err error) {
	// Once begun it is carried to its end, whether or not the caller is still
	// there.
	ctx = context.WithoutCancel(ctx)
	dir := path.Join(area, in.Job)
	touched := map[string]bool{}
	failpoint.Here(failpoint.LocalIntended)
	for _, m := range in.Moves {
		failpoint.Here(failpoint.LocalMoves)
		if err := f.move(dir, m, touched); err != nil {
			return "", err
		}
		failpoint.Here(failpoint.LocalMoved)
	}
	for _, d := range in.Deletes {
		failpoint.Here(failpoint.LocalDeletes)
		if err := f.root.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", f.sink.wrap("commit", err)
		}
		touched[path.Dir(d)] = true
		failpoint.Here(failpoint.LocalDeleted)
	}
	failpoint.Here(failpoint.LocalSyncs)
	for dir := range touched {
		if err := f.syncDir(dir); err != nil && source.KindOf(err) != source.KindNotFound {
			return "", err
		}
	}
	failpoint.Here(failpoint.LocalSettled)
	at, err := f.sink.store.Holding().Resolve(ctx, "")
	if err != nil {
		return "", err
	}
	in.Result.Head, in.Result.Commits = at.Commit, []string{at.Commit}
	if err := f.root.MkdirAll(doneDir, private); err != nil {
		return "", f.sink.wrap("commit", err)
	}
	if err := f.writeJSON(ctx, path.Join(doneDir, in.Job+".json"), in); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.LocalDone)
	if err := f.root.RemoveAll(dir); err != nil {
		return "", f.sink.wrap("commit", err)
	}
	failpoint.Here(failpoint.LocalCleaned)
	if err := f.syncDir(area); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.LocalEnded)
	return at.Commit, nil
}

// move renames one file into place, unless that has been done.
func (f *folder) move(dir string, m move, touched map[string]bool) error {
	for p := path.Dir(m.To); p != "."; p = path.Dir(p) {
		touched[path.Dir(p)] = true
	}
	touched[path.Dir(m.To)] = true
	if err := f.root.MkdirAll(path.Dir(m.To), 0o755); err != nil {
		return f.sink.wrap("commit", err)
	}
	err := f.root.Rename(path.Join(dir, m.From), m.To)
	if errors.Is(err, fs.ErrNotExist) {
		if info, statErr := f.root.Stat(m.To); statErr == nil && info.Size() == m.Size {
			return nil
		}
	}
	return f.sink.wrap("commit", err)
}

// Recover carries out what processes that died have left of their commits, unless
// somebody is committing just now, who does it too.
func (s *Sink) Recover(ctx context.Context) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	defer f.close()
	unlock, err := f.tryLock()
	if source.KindOf(err) == source.KindBusy {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.recover(ctx), s.wrap("lock", unlock()))
}

// abandoned is how long staged files of a job that nobody commits are kept: longer
// than any job that still runs.
const abandoned = 14 * 24 * time.Hour

// recover carries out the intents of processes that died, and drops what was staged
// for jobs that nobody ended. The lock is held, so nobody else is at it.
func (f *folder) recover(ctx context.Context) error {
	d, err := f.root.Open(area)
	if err != nil {
		return f.sink.wrap("recover", err)
	}
	entries, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return f.sink.wrap("recover", err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == path.Base(doneDir) {
			continue
		}
		var in intent
		ok, err := f.readJSON(path.Join(area, e.Name(), intentName), &in)
		if err != nil {
			return err
		}
		if !ok {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				_ = f.root.RemoveAll(path.Join(area, e.Name())) // the next one tries again
			}
			continue
		}
		if err := in.Validate(); err != nil {
			return err
		}
		if in.Job != e.Name() {
			return source.Errorf(source.KindCorrupt, "recover", "an intent is not where it belongs")
		}
		f.sink.log.InfoContext(ctx, "finishing the commit of a process that died", "job", in.Job)
		if _, err := f.carryOut(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// answer is the first answer of a job that is committed.
func (f *folder) answer(job writer.Job) (committed, bool, error) {
	var in intent
	ok, err := f.readJSON(path.Join(doneDir, job.ID+".json"), &in)
	if !ok || err != nil {
		return committed{}, false, err
	}
	if in.Digest != job.Digest {
		return committed{}, false, f.sink.fail("commit", source.KindConflict, "this job id was committed before with other files").
			WithHint("use a new job id for a new write")
	}
	result := committed{CommitResult: in.Result}
	result.Already = true
	for i := range job.Files {
		if i < len(in.Moves) {
			result.paths = append(result.paths, in.Moves[i].To)
		}
	}
	return result, true, nil
}

func (f *folder) writeJSON(ctx context.Context, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = f.root.Remove(name + ".tmp") // of a process that died while writing it
	return f.write(ctx, name, bytes.NewReader(raw), int64(len(raw)))
}

// readJSON reads a record of ours; ok is false if there is none.
func (f *folder) readJSON(name string, v any) (ok bool, err error) {
	file, err := f.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, f.sink.wrap("recover", err)
	}
	defer func() { _ = file.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return false, f.sink.wrap("recover", err)
	}
	if len(raw) > maxRecord {
		return false, source.Errorf(source.KindLimit, "recover", "a record is larger than %d bytes", maxRecord)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, source.Errorf(source.KindCorrupt, "recover", "a record in .hubflight cannot be read: %w", err)
	}
	return true, nil
}
