package localsink

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filelock"
)

const (
	lockName = area + "/lock"
	lockPoll = 25 * time.Millisecond
)

// errHeld: somebody has the lock. A full disk is busy too, and nothing to wait for here.
var errHeld = errors.New("another process is committing to this folder")

// tryLock takes the folder's lock if nobody has it; errHeld if somebody has, and
// KindUnsupported where locks do not work.
func (f *folder) tryLock() (unlock func() error, err error) {
	file, err := f.root.OpenFile(lockName, os.O_RDWR, 0) // takes no room, which there may not be
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.root.MkdirAll(area, private); err != nil {
			return nil, f.sink.wrap("lock", err)
		}
		if err := f.syncDir("."); err != nil {
			return nil, err
		}
		file, err = f.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	}
	if err != nil {
		return nil, f.sink.wrap("lock", err)
	}
	held, err := filelock.TryLock(file)
	if held {
		return file.Close, nil // closing gives the lock back
	}
	_ = file.Close()
	if err == nil {
		return nil, source.Errorf(source.KindBusy, "lock", "%w", errHeld).WithFile(f.sink.store.Name(), "")
	}
	return nil, f.sink.fail("lock", source.KindUnsupported, "the folder's filesystem has no working locks").
		WithHint("write to a local disk and copy the files")
}

// locked does something with the lock held and gives it back, also if that panics: nobody
// else could commit then.
func (f *folder) locked(unlock func() error, do func() error) (err error) {
	defer func() { err = errors.Join(err, f.sink.wrap("lock", unlock())) }()
	return do()
}

// lock waits for the lock until the context or the deadline ends.
func (f *folder) lock(ctx context.Context, deadline time.Duration) (unlock func() error, err error) {
	ends := time.Now().Add(deadline)
	for {
		unlock, err := f.tryLock()
		if err == nil || !errors.Is(err, errHeld) || time.Now().After(ends) {
			return unlock, err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
