package main

import "golang.org/x/sys/unix"

// peerUser is the user of the process that connected.
func peerUser(fd int) (uid int, ok bool) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
