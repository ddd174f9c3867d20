package spool

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxParts is how many pieces the kernel takes at a time.
const maxParts = 1024

// writeAt writes parts one after the other, beginning at off.
func writeAt(f *os.File, parts [][]byte, off int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	for total(parts) > 0 {
		var n int
		var failed error
		if err := raw.Write(func(fd uintptr) bool {
			n, failed = unix.Pwritev(int(fd), parts[:min(len(parts), maxParts)], off) //nolint:gosec // a descriptor
			return true
		}); err != nil {
			return err
		}
		switch {
		case errors.Is(failed, unix.EINTR):
			continue
		case failed != nil:
			return failed
		case n == 0:
			return io.ErrShortWrite
		}
		off += int64(n)
		parts = after(parts, n)
	}
	return nil
}

// after is what is left of parts behind their first n bytes.
func after(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 { // in the middle of one, which stays its owner's
		parts = append([][]byte{parts[0][n:]}, parts[1:]...)
	}
	return parts
}
