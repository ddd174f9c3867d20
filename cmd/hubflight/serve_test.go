package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubflight/hubflight/flightsrv/client"
)

// served is a `hubflight serve` process with one stream that its client does not
// read.
type served struct {
	*exec.Cmd
	stderr *bytes.Buffer
	exited chan error
}

// serveUnread starts a server, and a scan that stops after its first batch: the
// rest of the stream waits in the server for a client that takes nothing.
func serveUnread(t *testing.T, grace string) *served {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "train.parquet"), numbers(0, 4000, strings.Repeat("x", 8<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	port := filepath.Join(root, ".port")
	p := &served{stderr: &bytes.Buffer{}, exited: make(chan error, 1), Cmd: exec.Command(self)}
	p.Args = []string{"hubflight", "serve", "--server.address", "127.0.0.1:0", "--server.port_file", port, "--local.roots", root, "--server.drain_grace", grace}
	p.Env = append(os.Environ(), "HF_TOKEN="+canary, "HF_ENDPOINT=http://127.0.0.1:1")
	p.Stderr = p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.Wait() }()
	t.Cleanup(func() { _ = p.Process.Kill() }) // already gone, if all is well

	var location []byte
	for deadline := time.Now().Add(20 * time.Second); len(location) == 0; time.Sleep(5 * time.Millisecond) {
		if location, err = os.ReadFile(port); err != nil && time.Now().After(deadline) {
			t.Fatalf("the server does not start: %v", err)
		}
	}
	c, err := client.Dial(t.Context(), strings.TrimSpace(string(location)), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reading, left := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(left)
		for _, err := range c.Dataset(client.Read{Dataset: "file://" + root}).Scan(ctx, client.ScanOptions{}) {
			reading <- err
			<-ctx.Done()
			return
		}
	}()
	t.Cleanup(func() { cancel(); <-left; _ = c.Close() })
	if err := <-reading; err != nil {
		t.Fatal(err)
	}
	return p
}

// end waits for the process and returns its exit code (−1: killed by a signal)
// and how long it took.
func (p *served) end(t *testing.T, since time.Time) (int, time.Duration) {
	t.Helper()
	select {
	case err := <-p.exited:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if text := p.stderr.String(); strings.Contains(text, canary) || strings.Contains(text, "panic") {
			t.Errorf("the log holds what it should not:\n%s", text)
		}
		return p.ProcessState.ExitCode(), time.Since(since)
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
		return 0, 0
	}
}

func TestServeEndsWithinItsGraceAlthoughAStreamIsNotRead(t *testing.T) {
	p := serveUnread(t, "500ms")
	begin := time.Now()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, took := p.end(t, begin); code != exitOK || took < 500*time.Millisecond || took > 2500*time.Millisecond {
		t.Errorf("exit code %d after %s\n%s", code, took, p.stderr)
	}
}

func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	p := serveUnread(t, "1m")
	begin := time.Now()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		t.Fatalf("the first signal did not wait for the stream: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, took := p.end(t, begin); code == exitOK || took > 2*time.Second {
		t.Errorf("exit code %d after %s", code, took)
	}
}
