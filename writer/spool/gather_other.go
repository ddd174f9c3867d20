//go:build !linux

package spool

import "os"

// writeAt writes parts one after the other, beginning at off.
func writeAt(f *os.File, parts [][]byte, off int64) error {
	for _, p := range parts {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}
