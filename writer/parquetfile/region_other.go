//go:build !linux

package parquetfile

// mapRegion: elsewhere the collector's memory does.
func mapRegion(int) ([]byte, bool) { return nil, false }

func unmapRegion([]byte) {}
