//go:build !unix

package localfs

import (
	"fmt"
	"io/fs"
)

// identity stands for a file's content: where there are no inodes, its size and
// modification time.
func identity(info fs.FileInfo) string {
	return fmt.Sprintf("%x-%x", info.Size(), info.ModTime().UnixNano())
}

func leadsNowhere(error) bool { return false }
