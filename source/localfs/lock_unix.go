//go:build unix

package localfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
)

// What writer/localsink keeps in a dataset's folder: a lock, held while files are
// moved into place, and per unfinished commit a record of what it moves.
const (
	lockName   = ".hubflight/lock"
	areaName   = ".hubflight"
	intentName = "intent.json"
)

const (
	lockWait = 15 * time.Second // longer than many renames take
	lockPoll = 10 * time.Millisecond
)

// settled calls read while no commit to the folder is under way, so that read
// sees all of a commit or nothing. It fails with KindBusy if a commit takes too
// long, or if its process died in the middle and nobody can finish it.
//
// Where the lock cannot be taken for other reasons (another user's folder, a
// filesystem without locks, where nobody commits), read is called without.
func (s *Store) settled(ctx context.Context, read func() error) error {
	if s.holding {
		return read()
	}
	deadline := time.Now().Add(lockWait)
	finished := s.finish == nil
	for {
		lock, err := s.in.OpenFile(path.Join(s.rel, lockName), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			if err := read(); err != nil {
				return err
			}
			// Somebody may have made the lock, and used it, meanwhile.
			if _, now := s.in.Stat(path.Join(s.rel, lockName)); errors.Is(err, fs.ErrNotExist) && now == nil {
				continue
			}
			return nil
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) //nolint:gosec // descriptors are small
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			err = s.readSettled(ctx, lock, read)
			if !errors.Is(err, errInterrupted) || finished {
				return err
			}
			finished = true
			if s.finish(ctx, s) != nil {
				return err // a folder that this process may not write to, most likely
			}
			continue
		}
		lock.Close()
		if time.Now().After(deadline) {
			return source.Errorf(source.KindBusy, "list files", "a commit to this folder is under way").WithFile(s.name, "")
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return source.AsError("list files", ctx.Err())
		}
	}
}

var errInterrupted = errors.New("a commit to this folder was interrupted half-way")

// readSettled runs with the lock held, which it gives back: a commit that is not
// finished now has no process to finish it.
func (s *Store) readSettled(ctx context.Context, lock *os.File, read func() error) error {
	defer func() { _ = lock.Close() }()
	for item, err := range s.items(ctx, areaName) {
		if err != nil {
			return read()
		}
		if !item.IsDir() {
			continue
		}
		if _, err := s.in.Stat(path.Join(s.rel, areaName, item.Name(), intentName)); err == nil {
			return source.Errorf(source.KindBusy, "list files", "%w", errInterrupted).
				WithFile(s.name, "").WithHint("the next write to it finishes that commit")
		}
	}
	return read()
}
