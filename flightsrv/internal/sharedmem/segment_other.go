//go:build !linux

package sharedmem

import "errors"

// New is for Linux.
func New(_, _ int) (*Sender, error) { return nil, errors.ErrUnsupported }

// Close has nothing to do.
func (s *Sender) Close() error { return nil }

func (s *Sender) reserve(int, int) bool { return false }

// Attach is for Linux.
func Attach(Announcement, int64) (*Receiver, error) { return nil, errors.ErrUnsupported }

// Close has nothing to do.
func (r *Receiver) Close() error { return nil }
