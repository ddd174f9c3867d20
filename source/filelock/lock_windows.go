package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// TryLock takes the exclusive lock of an open file without waiting. held is false
// when somebody else has it; err means that the file's filesystem has no locks.
func TryLock(f *os.File) (held bool, err error) {
	err = lockFirstByte(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

// Lock takes the exclusive lock of an open file, however long that takes.
func Lock(f *os.File) error { return lockFirstByte(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// lockFirstByte locks what Python's msvcrt.locking(fd, mode, 1) at offset 0 locks.
func lockFirstByte(f *os.File, flags uint32) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
}
