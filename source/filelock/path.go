package filelock

import "os"

// LeadsTo reports whether a path leads to the file that was once found or made there,
// and not to nothing or to a successor. A link is a file of its own.
func LeadsTo(path string, made os.FileInfo) bool {
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(made, now)
}
