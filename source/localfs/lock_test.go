//go:build unix

package localfs_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

func TestAListingWaitsForACommitUnderWay(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "ds")
	write(t, filepath.Join(folder, "a"), []byte("a"))
	write(t, filepath.Join(folder, ".hubflight/lock"), nil)
	s := store(t, roots(t, root), folder)
	lock, err := os.Open(filepath.Join(folder, ".hubflight/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Run("but not for somebody who goes away", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.Resolve(ctx, ""); source.KindOf(err) != source.KindDeadline {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unless it is the committer's own", func(t *testing.T) {
		if _, err := s.Holding().Resolve(t.Context(), ""); err != nil {
			t.Error(err)
		}
	})
	done := make(chan int, 1)
	go func() { done <- len(listed(t, s)) }()
	select {
	case <-done:
		t.Error("the listing did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	write(t, filepath.Join(folder, "b"), []byte("b"))
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 2 {
		t.Errorf("listed %d files, want both", n)
	}
}

func TestAFolderLeftHalfWayIsNotListed(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "ds")
	for _, name := range []string{"a", ".hubflight/lock", ".hubflight/job/intent.json"} {
		write(t, filepath.Join(folder, name), nil)
	}
	s := store(t, roots(t, root), folder)
	if _, err := s.Resolve(t.Context(), ""); source.KindOf(err) != source.KindBusy {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(filepath.Join(folder, ".hubflight/job")); err != nil {
		t.Fatal(err)
	}
	if files := listed(t, s); len(files) != 1 {
		t.Errorf("got %+v", files)
	}
}
