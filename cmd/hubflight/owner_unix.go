//go:build unix

package main

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// ownedByUser reports whether a file belongs to the user of this process.
func ownedByUser(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// private reports whether nobody else may open a folder.
func private(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }

// detach puts a process into a session of its own, so that it survives the
// terminal, the process group and the death of who started it.
func detach(cmd *exec.Cmd) {
	cmd.Dir = "/" // it keeps no file system busy
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// sameUser reports whether the process at the other end belongs to our user.
func sameUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	uid, ok := -1, false
	err = raw.Control(func(fd uintptr) { uid, ok = peerUser(int(fd)) }) //nolint:gosec // descriptors are small
	return err == nil && ok && uid == os.Geteuid()
}
