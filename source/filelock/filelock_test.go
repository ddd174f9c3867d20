package filelock_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/filelock"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // closed already, where the test is about closing
	return f
}

func TestALockKeepsOthersOutUntilItsFileIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, second := open(t, path), open(t, path)
	if held, err := filelock.TryLock(first); !held || err != nil {
		t.Fatalf("the lock nobody has: %v, %v", held, err)
	}
	if held, err := filelock.TryLock(second); held || err != nil {
		t.Fatalf("the lock somebody has: %v, %v", held, err)
	}
	waited := make(chan error, 1)
	go func() { waited <- filelock.Lock(second) }()
	select {
	case err := <-waited:
		t.Fatalf("Lock did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
}

func TestAPathLeadsToAFileUntilItIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	mine, err := open(t, path).Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !filelock.LeadsTo(path, mine) {
		t.Error("the path of a file does not lead to it")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if filelock.LeadsTo(path, mine) {
		t.Error("a path without a file leads to the removed one")
	}
	open(t, path) // the removed file is still open, so that its inode is not this one's
	if filelock.LeadsTo(path, mine) {
		t.Error("a path leads to a file whose successor has it")
	}
}
