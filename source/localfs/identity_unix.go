//go:build unix

package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// identity stands for a file's content: its inode, size and modification time.
func identity(info fs.FileInfo) string {
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	return fmt.Sprintf("%x-%x-%x", inode, info.Size(), info.ModTime().UnixNano())
}

// leadsNowhere: a part of the path is no folder, a link to itself, or longer than
// any name.
func leadsNowhere(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENAMETOOLONG)
}
