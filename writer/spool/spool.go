package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filelock"
)

const (
	folderPrefix = "hubflight-spool-"
	lockName     = "lock"
	// step is what a file takes from the bound at a time, so that writing does
	// not take the lock for every page.
	step = 1 << 20
)

// Spool is a bounded folder of scratch files. It is safe for concurrent use.
type Spool struct {
	dir  string
	lock *os.File

	mu      sync.Mutex
	max     int64
	used    int64
	files   int           // open files
	waiting int           // of these, the ones that wait for room
	freed   chan struct{} // closed and replaced when room is given back
	closed  bool
}

// Open makes this process's folder below dir ("" is the system's temporary
// folder) and removes those that dead processes left. max bounds the bytes of all
// files together.
func Open(dir string, max int64) (*Spool, error) {
	if dir == "" {
		dir = os.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fail(err)
	}
	removeDead(dir)
	for try := 1; ; try++ {
		own, lock, err := claim(dir)
		if err == nil {
			return &Spool{dir: own, lock: lock, max: max, freed: make(chan struct{})}, nil
		}
		if !errors.Is(err, errTaken) || try == claims {
			return nil, fail(err)
		}
	}
}

// claims is how many folders are made before nobody can start here.
const claims = 100

// errTaken: somebody who looks for dead folders was faster than the lock.
var errTaken = errors.New("the new folder was taken for a dead one")

// claim makes a folder and locks it. Until it is locked it looks like a dead one's, so
// that it may be gone, with its lock, by the time that the lock is held.
func claim(dir string) (own string, lock *os.File, err error) {
	own, err = os.MkdirTemp(dir, folderPrefix)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(own))
		}
	}()
	name := filepath.Join(own, lockName)
	if lock, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return "", nil, err
	}
	held, err := filelock.TryLock(lock)
	if err == nil && (!held || !isAt(name, lock)) {
		err = errTaken
	}
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return own, lock, nil
}

// isAt reports whether an open file still is what a name leads to.
func isAt(name string, file *os.File) bool {
	mine, err := file.Stat()
	return err == nil && filelock.LeadsTo(name, mine)
}

// removeDead deletes the folders whose lock nobody holds. One that has no lock
// file yet may be a process that is just starting; it is left for an hour.
func removeDead(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), folderPrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
		if err != nil {
			if info, statErr := e.Info(); statErr == nil && errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > time.Hour {
				_ = os.RemoveAll(path)
			}
			continue
		}
		if held, _ := filelock.TryLock(lock); held {
			_ = os.RemoveAll(path)
		}
		_ = lock.Close()
	}
}

// Close removes the folder. Writing to files that are still open fails.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.wake()
	s.mu.Unlock()
	err := os.RemoveAll(s.dir)
	return errors.Join(err, s.lock.Close())
}

// Used returns the bytes that the files take now.
func (s *Spool) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// wake tells those that wait to look again; s.mu is held.
func (s *Spool) wake() {
	close(s.freed)
	s.freed = make(chan struct{})
}

// take waits until n bytes are free for a file that has held.
func (s *Spool) take(ctx context.Context, held, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return source.Errorf(source.KindCanceled, "spool", "the server is stopping")
		case held+n > s.max: // trying again would not help
			return &source.Error{Op: "spool", Kind: source.KindLimit, Msg: fmt.Sprintf("one file needs more than the whole spool, which has %d bytes", s.max),
				Hint: "write smaller files (max_bytes_per_file), or give the server a larger spool (write.spool_bytes)"}
		case s.used+n <= s.max:
			s.used += n
			return nil
		case s.waiting+1 >= s.files:
			// Everybody who could give room back is waiting for it.
			return &source.Error{Op: "spool", Kind: source.KindBusy, RetryAfter: 5 * time.Second,
				Msg:  fmt.Sprintf("the spool is full: %d of %d bytes are in use by files that are not finished", s.used, s.max),
				Hint: "write fewer files at a time, smaller files (max_bytes_per_file), or give the server a larger spool"}
		}
		s.waiting++
		freed := s.freed
		s.mu.Unlock()
		var err error
		select {
		case <-freed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		s.waiting--
		if err != nil {
			return err
		}
	}
}

func (s *Spool) give(n int64, file bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if file {
		s.files--
	}
	s.wake()
}

// File is one scratch file: written once from start to end, then read any number
// of times, then removed. It is used by one goroutine, except that readers
// from Open are independent.
type File struct {
	spool  *Spool
	ctx    context.Context // Write is an io.Writer: it has no other way to learn of a cancel
	f      *os.File
	onDisk int64 // bytes of f
	sum    hash.Hash
	size   int64
	held   int64 // taken from the bound
	head   []byte
	pieces pieces
	giveUp func() // gives back the memory that Keep was given; nil if there is none

	// reading is held by readers while they look at the pieces: a request that has
	// failed may still read its body when the file is removed.
	reading sync.RWMutex
	gone    bool

	side     *os.File // what waits for its place in the file; nil until there is something
	sideSize int64
}

// sampleSize is what the Hub looks at when it decides how to store a file.
const sampleSize = 512

// Create makes an empty file. Waiting for room ends when ctx does.
func (s *Spool) Create(ctx context.Context) (*File, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, source.Errorf(source.KindCanceled, "spool", "the server is stopping")
	}
	s.files++
	s.mu.Unlock()
	f, err := os.CreateTemp(s.dir, "*.parquet")
	if err != nil {
		s.give(0, true)
		return nil, fail(err)
	}
	return &File{spool: s, ctx: ctx, f: f, sum: sha256.New()}, nil
}

// reserve takes room for n bytes more from the bound.
func (f *File) reserve(n int) error {
	took := f.size + f.sideSize
	if need := took + int64(n) - f.held; need > 0 {
		need = (need + step - 1) / step * step
		need = max(min(need, f.spool.max-f.held), took+int64(n)-f.held) // the last step may be a short one
		if err := f.spool.take(f.ctx, f.held, need); err != nil {
			return err
		}
		f.held += need
	}
	return nil
}

// Write appends to the file and its hash.
func (f *File) Write(p []byte) (int, error) {
	if err := f.reserve(len(p)); err != nil {
		return 0, err
	}
	n, err := f.f.WriteAt(p, f.onDisk)
	f.stored(int64(n))
	f.count(p[:n])
	if err != nil {
		return n, fail(err)
	}
	return n, nil
}

// stored notes that n bytes more are on disk.
func (f *File) stored(n int64) {
	f.pieces = f.pieces.onDisk(f.onDisk, n)
	f.onDisk += n
}

// count makes bytes count for the hash, the sample and the size.
func (f *File) count(p []byte) {
	f.sum.Write(p)
	if room := sampleSize - len(f.head); room > 0 {
		f.head = append(f.head, p[:min(room, len(p))]...)
	}
	f.size += int64(len(p))
}

// WriteAll appends parts one after the other as Write does, in one go: the file system has less to do for few large writes.
func (f *File) WriteAll(parts [][]byte) error {
	n := total(parts)
	if err := f.reserve(n); err != nil {
		return err
	}
	if err := writeAt(f.f, parts, f.onDisk); err != nil {
		return fail(err)
	}
	f.stored(int64(n))
	for _, p := range parts {
		f.count(p)
	}
	return nil
}

// Keep appends parts where they are in memory: nothing is written. They are not
// changed any more, and are the file's until Remove, which calls what OnRemove was
// given. They count for the bound as if they were on disk.
func (f *File) Keep(parts [][]byte) error {
	if err := f.reserve(total(parts)); err != nil {
		return err
	}
	for _, p := range parts {
		f.pieces = f.pieces.inMemory(p)
		f.count(p)
	}
	return nil
}

// OnRemove sets what Remove calls when nobody reads the file any more.
func (f *File) OnRemove(giveUp func()) { f.giveUp = giveUp }

// Append keeps parts beside the file, which cannot be written to it yet, one after the other, and returns where they are. They count for the
// bound.
func (f *File) Append(parts [][]byte) (at int64, err error) {
	n := total(parts)
	if err := f.reserve(n); err != nil {
		return 0, err
	}
	if f.side == nil {
		if f.side, err = os.CreateTemp(f.spool.dir, "*.side"); err != nil {
			return 0, fail(err)
		}
	}
	at = f.sideSize
	if err := writeAt(f.side, parts, at); err != nil {
		return 0, fail(err)
	}
	f.sideSize += int64(n)
	return at, nil
}

func total(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// ReadBack fills p with what Append has kept from at on.
func (f *File) ReadBack(p []byte, at int64) error {
	if f.side == nil || at+int64(len(p)) > f.sideSize {
		return fail(io.ErrUnexpectedEOF)
	}
	if _, err := f.side.ReadAt(p, at); err != nil {
		return fail(err)
	}
	return nil
}

// Clear forgets what Append has kept, and gives its room back.
func (f *File) Clear() error {
	if f.sideSize == 0 {
		return nil
	}
	f.sideSize = 0
	if free := f.held - (f.size+step-1)/step*step; free > 0 {
		f.held -= free
		f.spool.give(free, false)
	}
	if err := f.side.Truncate(0); err != nil {
		return fail(err)
	}
	return nil
}

// finishSide removes the file that Append has made.
func (f *File) finishSide() error {
	if f.side == nil {
		return nil
	}
	err := errors.Join(f.side.Close(), os.Remove(f.side.Name()))
	f.side = nil
	return err
}

// Size is the number of bytes written.
func (f *File) Size() int64 { return f.size }

// OID is the hex sha256 of what was written.
func (f *File) OID() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// Sample is the first 512 bytes, or all if there are fewer.
func (f *File) Sample() []byte { return f.head }

// ReadAt reads what was written. Of a file that is removed it fails.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.reading.RLock()
	defer f.reading.RUnlock()
	if f.gone {
		return 0, os.ErrClosed
	}
	return f.pieces.readAt(f.f, p, off)
}

// Open returns an independent reader of the whole file. Its Close does not
// remove the file.
func (f *File) Open() (io.ReadSeekCloser, error) {
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(f, 0, f.size), io.NopCloser(nil)}, nil
}

// Remove deletes the file and gives its room back. It may be called twice.
func (f *File) Remove() error {
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.gone {
		return nil
	}
	f.gone, f.pieces = true, nil
	if f.giveUp != nil {
		f.giveUp()
	}
	err := errors.Join(f.finishSide(), f.f.Close(), os.Remove(f.f.Name()))
	f.spool.give(f.held, true)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// fail classifies an error of the scratch disk, without its path: that is a place
// of the server's machine. It is no KindInternal, whose text is not for callers: that
// the disk is to blame is what helps them.
func fail(err error) error {
	var perr *os.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	e := &source.Error{Op: "spool", Kind: source.KindLimit, Msg: "the spool cannot be written: " + err.Error(), Err: err}
	e.Hint = "the operator of the server can point write.spool_dir elsewhere"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Msg, e.RetryAfter = source.KindBusy, "the spool's disk is full", 10*time.Second
	case errors.Is(err, syscall.EFBIG):
		e.Msg = "the spool's files may not become that large"
		e.Hint = "write smaller files (max_bytes_per_file); the operator of the server can raise the limit or point write.spool_dir elsewhere"
	case errors.Is(err, syscall.EROFS), errors.Is(err, os.ErrPermission):
		e.Msg = "the spool's folder is read-only"
	}
	return e
}
