//go:build unix

package rangeio

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// owned refuses what another user has made.
func owned(info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return errors.New("it belongs to another user")
	}
	return nil
}

// private refuses a folder that others own or can write to.
func private(info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("the cache's folder can be written to by other users: chmod go-w")
	}
	return owned(info)
}
