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

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
