package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hubflight/hubflight/flightsrv"
)

// A server whose folder somebody has cleaned up ends. What it had there may be that of
// the server that has come in its place.
func TestAnEmbeddedServerThatHasLostItsPlaceLeavesTheNextOneItsLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.lock")
	take := func() *fileLock {
		t.Helper()
		lock, err := tryAcquire(path)
		if err != nil {
			t.Fatal(err)
		}
		return lock
	}
	old := take()
	if old == nil || take() != nil {
		t.Fatal("a lock is held by nobody, or by two")
	}
	if err := os.Remove(path); err != nil {
		t.Skip("an open file cannot be removed here:", err)
	}
	next := take()
	if next == nil {
		t.Fatal("the lock that is gone is not to be had")
	}
	old.release()
	if third := take(); third != nil {
		t.Error("the end of the old server gave the new one's lock to a third")
		third.release()
	}
	next.release()
	if _, err := os.Lstat(path); err == nil {
		t.Error("a lock without a holder is left")
	}
}

func TestAnEmbeddedServerThatHasLostItsPlaceLeavesTheNextOneItsSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "hf") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := place{base: filepath.Join(dir, "s")}
	path := at.base + ".sock"
	listen := func() net.Listener {
		t.Helper()
		l, err := listenUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	old := listen()
	over := at.watch(t.Context(), flightsrv.New(flightsrv.Options{}), 400*time.Millisecond)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next := listen()
	<-over // the old one has seen that its place is another's
	for range 2 {
		if err := old.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("the end of the old server took the new one's socket: ", err)
	}
	_ = conn.Close()
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a socket is left that nobody answers on")
	}
}
