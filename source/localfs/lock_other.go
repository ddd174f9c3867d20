//go:build !unix

package localfs

import "context"

// settled calls read. Folders are not written where there is no flock.
func (s *Store) settled(_ context.Context, read func() error) error { return read() }
