package localsink

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// carryOut does what an intent says, from wherever it was interrupted, and returns the
// digest of the folder. If it cannot, it takes back what it did; where that is impossible
// too, the intent stays, for the next one who takes the lock.
func (f *folder) carryOut(ctx context.Context, in intent) (head string, err error) {
	// Once begun it is carried to its end, whether or not the caller is still
	// there.
	ctx = context.WithoutCancel(ctx)
	failpoint.Here(failpoint.LocalIntended)
	head, err = f.forward(ctx, in)
	switch {
	case err == nil:
		f.clean(ctx, in)
		return head, nil
	case in.OneWay && f.begun(in):
		return "", err
	}
	f.sink.log.WarnContext(ctx, "taking back a commit that failed half-way", "job", in.Job, "error", err)
	return "", errors.Join(err, f.takeBack(in))
}

// begun reports whether a file of a commit is in its place, or one that it deletes is
// gone. As long as none is, also a commit that keeps nothing can be taken back.
func (f *folder) begun(in intent) bool {
	dir := path.Join(area, in.Job)
	return slices.ContainsFunc(in.Moves, func(m move) bool { return !f.root.has(path.Join(dir, m.From)) }) ||
		slices.ContainsFunc(in.Deletes, func(d string) bool { return !f.root.has(d) })
}

// forward goes through the steps of a commit. None of them takes room, but what a
// folder may need for one more name.
func (f *folder) forward(ctx context.Context, in intent) (head string, err error) {
	dir := path.Join(area, in.Job)
	for _, m := range in.Moves {
		failpoint.Here(failpoint.LocalMoves)
		if err := f.move(dir, m); err != nil {
			return "", err
		}
		failpoint.Here(failpoint.LocalMoved)
	}
	for _, d := range in.Deletes {
		failpoint.Here(failpoint.LocalDeletes)
		if err := f.root.drop(d); err != nil {
			return "", f.sink.wrap("commit", err)
		}
		failpoint.Here(failpoint.LocalDeleted)
	}
	failpoint.Here(failpoint.LocalSyncs)
	if err := f.syncTouched(in); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.LocalSettled)
	at, err := f.sink.store.Holding().Resolve(ctx, "")
	if err != nil {
		return "", err
	}
	if err := f.answerWith(in.answered(at.Commit)); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.LocalDone)
	return at.Commit, nil
}

// move renames one file into place, unless that has been done.
func (f *folder) move(dir string, m move) error {
	err := f.root.Rename(path.Join(dir, m.From), m.To)
	if errors.Is(err, fs.ErrNotExist) {
		if info, statErr := f.root.Stat(m.To); statErr == nil && info.Size() == m.Size {
			return nil
		}
	}
	return f.sink.wrap("commit", err)
}

// syncTouched syncs the folders in which files come and go.
func (f *folder) syncTouched(in intent) error {
	touched := map[string]bool{}
	for _, m := range in.Moves {
		touched[path.Dir(m.To)] = true
	}
	for _, d := range in.Deletes {
		touched[path.Dir(d)] = true
	}
	for dir := range touched {
		if err := f.syncDir(dir); err != nil && source.KindOf(err) != source.KindNotFound {
			return err
		}
	}
	return nil
}

// clean drops the intent of a commit that has its answer, and all else of the job. The
// commit has happened; what cannot be removed now the next one removes.
func (f *folder) clean(ctx context.Context, in intent) {
	dir := path.Join(area, in.Job)
	err := f.root.drop(path.Join(dir, intentName)) // first: without the rest nobody could read it
	if err == nil {
		err = f.root.RemoveAll(dir)
	}
	failpoint.Here(failpoint.LocalCleaned)
	if err = errors.Join(err, f.syncDir(area)); err != nil {
		f.sink.log.WarnContext(ctx, "a committed job's staging area stays for now", "job", in.Job, "error", err)
	}
	failpoint.Here(failpoint.LocalEnded)
}

// takeBack brings the folder back to what it was before the intent. It takes no room, and
// each of its steps may have been done before.
func (f *folder) takeBack(in intent) error {
	dir := path.Join(area, in.Job)
	// From here on nobody carries the commit out.
	for _, name := range []string{answerPath(in.Job), path.Join(dir, forwardName)} {
		if err := f.root.drop(name); err != nil {
			return f.sink.wrap("take back", err)
		}
	}
	for _, m := range slices.Backward(in.Moves) {
		if f.root.has(path.Join(dir, m.From)) {
			continue
		}
		if err := f.root.Rename(m.To, path.Join(dir, m.From)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f.sink.wrap("take back", err)
		}
	}
	for _, k := range in.Kept {
		if f.root.has(k.Path) {
			continue
		}
		if err := f.root.Rename(path.Join(dir, k.Name), k.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f.sink.wrap("take back", err)
		}
	}
	if err := f.syncTouched(in); err != nil {
		// Readers of now are worth more than those after a power cut.
		f.sink.log.Warn("a commit that was taken back may be half there after a power cut", "job", in.Job, "error", err)
	}
	return f.discard(in)
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
	if errors.Is(err, errHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.locked(unlock, func() error { return f.recover(ctx) })
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
			info, err := e.Info()
			if f.isAnswered(e.Name()) || err == nil && time.Since(info.ModTime()) > abandoned {
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
		if err := f.settle(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// settle ends a commit that was interrupted; the folder then holds all of it or nothing.
func (f *folder) settle(ctx context.Context, in intent) error {
	dir := path.Join(area, in.Job)
	switch {
	case f.isAnswered(in.Job):
		f.clean(ctx, in)
		return nil
	case !f.root.has(path.Join(dir, forwardName)) && !(in.OneWay && f.begun(in)):
		return f.takeBack(in)
	}
	f.sink.log.InfoContext(ctx, "finishing the commit of a process that died", "job", in.Job)
	_, err := f.carryOut(ctx, in)
	if err != nil && f.root.has(path.Join(dir, intentName)) {
		return err
	}
	return nil
}
