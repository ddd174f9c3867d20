package localsink

import (
	"bytes"
	"context"
	"errors"
	"path"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// lockWait is how long a commit waits for another one.
const lockWait = 2 * time.Minute

// Commit implements writer.Sink.
func (s *Sink) Commit(ctx context.Context, job writer.Job, report func(writer.CommitEvent)) (writer.CommitResult, error) {
	f, err := s.open()
	if err != nil {
		return writer.CommitResult{}, err
	}
	defer f.close()
	var result committed
	unlock, err := f.lock(ctx, lockWait)
	if err == nil {
		err = f.locked(unlock, func() (err error) { result, err = f.commit(ctx, job); return err })
	}
	if err != nil {
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
	result := committed{paths: plan.Paths, CommitResult: writer.CommitResult{
		Head: state.At.Commit, PathsTotal: len(plan.Paths), Rows: job.Rows(),
		Atomic:   true, // our readers wait for the lock, and for an intent to be carried out
		Resolves: plan.Resolves, Stale: plan.Stale, Hint: plan.Hint,
	}}
	if len(plan.Batches) == 0 {
		return result, nil
	}
	in, err := f.prepare(ctx, job, state, plan, result.CommitResult)
	if err != nil {
		return committed{}, errors.Join(err, f.discard(in))
	}
	head, err := f.carryOut(ctx, in)
	if err != nil {
		return committed{}, err
	}
	result.Head, result.Commits = head, []string{head}
	return result, nil
}

// prepare does all that takes room, and then writes the intent, with the answer that
// whoever carries it out will give: from there on the commit happens. The intent is
// returned with an error too: it says what there is of it.
func (f *folder) prepare(ctx context.Context, job writer.Job, state *writer.State, plan *writer.Plan, answer writer.CommitResult) (intent, error) {
	b := plan.Batches[0]
	in := intent{V: version, Job: job.ID, Digest: job.Digest, Names: plan.Names.String(), Deletes: b.Deletes, Result: answer}
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
		name := readmePrefix + unique()
		if err := f.write(ctx, path.Join(dir, name), bytes.NewReader(b.Readme), int64(len(b.Readme))); err != nil {
			return in, err
		}
		in.Moves = append(in.Moves, move{From: name, To: writer.ReadmePath, Size: int64(len(b.Readme))})
	}
	for _, reserve := range []func(context.Context, *intent) error{f.makeFolders, f.keep, f.reserveAnswer} {
		if err := reserve(ctx, &in); err != nil {
			return in, err
		}
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
