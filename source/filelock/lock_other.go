//go:build !unix && !windows

package filelock

import (
	"errors"
	"os"
)

// TryLock fails: this system has no locks.
func TryLock(*os.File) (held bool, err error) { return false, errors.ErrUnsupported }

// Lock fails: this system has no locks.
func Lock(*os.File) error { return errors.ErrUnsupported }
