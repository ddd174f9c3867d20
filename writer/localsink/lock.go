package localsink

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filelock"
)

const lockPoll = 25 * time.Millisecond

// tryLock takes the folder's lock if nobody has it; KindBusy if somebody has, and
// KindUnsupported where locks do not work.
func (f *folder) tryLock() (unlock func() error, err error) {
	if err := f.root.MkdirAll(area, private); err != nil {
		return nil, f.sink.wrap("lock", err)
	}
	file, err := f.root.OpenFile(area+"/lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, f.sink.wrap("lock", err)
	}
	held, err := filelock.TryLock(file)
	if held {
		return file.Close, nil // closing gives the lock back
	}
	_ = file.Close()
	if err == nil {
		return nil, f.sink.fail("lock", source.KindBusy, "another process is committing to this folder")
	}
	return nil, f.sink.fail("lock", source.KindUnsupported, "the folder's filesystem has no working locks").
		WithHint("write to a local disk and copy the files")
}

// lock waits for the lock until the context or the deadline ends.
func (f *folder) lock(ctx context.Context, deadline time.Duration) (unlock func() error, err error) {
	ends := time.Now().Add(deadline)
	for {
		unlock, err := f.tryLock()
		if err == nil || source.KindOf(err) != source.KindBusy || time.Now().After(ends) {
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
