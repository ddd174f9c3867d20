package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filelock"
)

// prepare makes the place's folder, and refuses one that others could have
// prepared or can reach into.
func (at place) prepare() error {
	dir := filepath.Dir(at.base)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return source.AsError("embedded server", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return source.AsError("embedded server", err)
	}
	if !info.IsDir() || !ownedByUser(info) {
		return source.Errorf(source.KindDenied, "embedded server", "the folder %s is not this user's own", dir).
			WithHint("set HUBFLIGHT_EMBEDDED_DIR to a folder of your own")
	}
	if private(info) {
		return nil
	}
	return source.Errorf(source.KindDenied, "embedded server", "other users can reach into the folder %s", dir).
		WithHint("make it private (chmod 700), or set HUBFLIGHT_EMBEDDED_DIR")
}

// fileLock is a held lock; its file is removed with it.
type fileLock struct {
	file *os.File
	made os.FileInfo
	once sync.Once
}

const lockPoll = 10 * time.Millisecond

// acquire waits for a lock until ctx ends.
func acquire(ctx context.Context, path string) (*fileLock, error) {
	for {
		lock, err := tryAcquire(path)
		if err != nil || lock != nil {
			return lock, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryAcquire takes a lock if nobody has it; nil without an error is "somebody
// has".
//
// Who lets go of a lock removes its file. So the lock counts only if the path
// still leads to the file that was locked: otherwise two could hold "the" lock.
func tryAcquire(path string) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := filelock.TryLock(file)
	if err != nil || !held {
		return nil, errors.Join(err, file.Close())
	}
	mine, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if !filelock.LeadsTo(path, mine) {
		return nil, file.Close()
	}
	return &fileLock{file: file, made: mine}, nil
}

// release lets go; repeating it is harmless. Where somebody has cleaned the folder up
// meanwhile, the path may be another holder's by now, and stays.
func (l *fileLock) release() {
	l.once.Do(func() {
		if filelock.LeadsTo(l.file.Name(), l.made) {
			_ = os.Remove(l.file.Name()) // not possible everywhere while it is open; a file without a holder is harmless
		}
		_ = l.file.Close() // the lock is gone with the descriptor in any case
	})
}

// ownersListener lets in processes of this user only, and gives the server's place
// away as soon as nobody can be let in any more: a new server may start while the
// old one finishes its last calls.
type ownersListener struct {
	net.Listener
	then func()
}

// Accept implements net.Listener.
func (l *ownersListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if unix, ok := conn.(*net.UnixConn); !ok || sameUser(unix) {
			return conn, nil
		}
		_ = conn.Close() // a stranger, whom the folder's mode should have kept out
	}
}

// Close implements net.Listener.
func (l *ownersListener) Close() error {
	err := l.Listener.Close()
	l.then()
	return err
}
