package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// runHubCommand runs `hubflight hub …` and returns what it printed.
func runHubCommand(ctx context.Context, args ...string) (string, error) {
	cmd := newHubCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func TestHubImportPrintsTheCommitAndKeepsPrivateWhatIsPrivate(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.parquet"), []byte("PAR1"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := runHubCommand(t.Context(), "import", folder, "demo/x", "--dir", dir, "--private")
	if err != nil {
		t.Fatal(err)
	}
	h, err := hubtest.Open(dir, hubtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sha, err := h.Head("demo/x", "main")
	if err != nil || out != "demo/x@"+sha+"\n" {
		t.Errorf("printed %q, the head is %s (%v)", out, sha, err)
	}
	if _, err := runHubCommand(t.Context(), "import", folder, "demo/x", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Settings("demo/x"); err != nil || !s.Private {
		t.Errorf("settings %+v (%v)", s, err)
	}
}

func TestHubServesUntilItIsCanceled(t *testing.T) {
	dir := t.TempDir()
	port := filepath.Join(dir, "port")
	faults := filepath.Join(dir, "faults")
	if err := os.WriteFile(faults, []byte("hub GET /api/whoami-v2 #1: status 418\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := runHubCommand(ctx, "--dir", filepath.Join(dir, "hub"), "--port-file", port, "--viewer-address", "127.0.0.1:0", "--path-prefix", "/hf", "--faults", faults)
		done <- result{out, err}
	}()
	var urls []string
	for deadline := time.Now().Add(10 * time.Second); urls == nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		raw, err := os.ReadFile(port)
		if err == nil {
			urls = strings.Fields(string(raw))
		}
	}
	if len(urls) != 2 || !strings.HasPrefix(urls[0], "http://127.0.0.1:") || !strings.HasSuffix(urls[0], "/hf") {
		t.Fatalf("the port file says %q", urls)
	}
	for i, want := range []struct {
		url    string
		status int
	}{
		{urls[0] + "/api/whoami-v2", http.StatusTeapot}, {urls[0] + "/api/whoami-v2", http.StatusUnauthorized},
		{urls[1] + "/parquet?dataset=demo/none", http.StatusUnauthorized}, {urls[0] + "/datasets-server/parquet", http.StatusUnprocessableEntity},
	} {
		got, err := http.Get(want.url)
		if err != nil {
			t.Fatal(err)
		}
		if got.Body.Close(); got.StatusCode != want.status {
			t.Errorf("request %d, %s: %s", i, want.url, got.Status)
		}
	}
	cancel()
	got := <-done
	if got.err != nil || got.out != strings.Join(urls, "\n")+"\n" {
		t.Errorf("printed %q (%v), want %s", got.out, got.err, urls)
	}
}

// Somebody on another machine who asked the Hub is not sent to a storage that listens
// on this one only.
func TestHubOnEveryAddressHasItsStorageBesideIt(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	port := filepath.Join(dir, "port")
	if err := os.WriteFile(filepath.Join(folder, "a.parquet"), []byte("PAR1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := runHubCommand(t.Context(), "import", folder, "demo/x", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := runHubCommand(ctx, "--dir", dir, "--port-file", port, "--address", "0.0.0.0:0")
		done <- err
	}()
	var url string
	for deadline := time.Now().Add(10 * time.Second); url == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		raw, _ := os.ReadFile(port) // until it is there
		url = strings.TrimSpace(string(raw))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url+"/datasets/demo/x/resolve/main/a.parquet", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "hub.example:8080"
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if to := got.Header.Get("Location"); !strings.HasPrefix(to, "http://hub.example:") {
		t.Errorf("%s to %q", got.Status, to)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHubRefusesWhatItCannotUse(t *testing.T) {
	dir := t.TempDir()
	bad, empty, fault := filepath.Join(dir, "bad"), filepath.Join(dir, "empty"), filepath.Join(dir, "fault")
	for path, text := range map[string]string{fault: "# one\nany any * every: explode\n", bad: "# tokens\nhf_secretsecret admin\n", empty: "# none\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no folder":      {[]string{}, "--dir is missing"},
		"a bad token":    {[]string{"--dir", dir, "--token-file", bad}, `line 2 is not "TOKEN public|read|write"`},
		"no tokens":      {[]string{"--dir", dir, "--token-file", empty}, "it holds no token"},
		"a bad fault":    {[]string{"--dir", dir, "--faults", fault}, "fault script: line 2: "},
		"no fault file":  {[]string{"--dir", dir, "--faults", filepath.Join(dir, "none")}, "fault script"},
		"a bad prefix":   {[]string{"--dir", dir, "--path-prefix", "hf"}, "path prefix"},
		"a bad way":      {[]string{"--dir", dir, "--plain-files", "any"}, "--plain-files"},
		"a bad state":    {[]string{"conversion", "demo/x", "--dir", dir, "--state", "odd"}, "conversion"},
		"nothing there":  {[]string{"move", "demo/none", "demo/y", "--dir", dir}, "not found"},
		"a missing file": {[]string{"--dir", dir, "--token-file", filepath.Join(dir, "none")}, "token file"},
		"a bad address":  {[]string{"--dir", dir, "--address", "nowhere:x"}, "serve hub"},
		"a bad name":     {[]string{"import", dir, "a/b/c", "--dir", dir}, "import"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runHubCommand(t.Context(), tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hf_secret") {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if source.KindOf(err) == source.KindUnknown {
				t.Errorf("%v has no kind", err)
			}
		})
	}
}

// TestASecondSignalEndsTheHubAtOnce: the first one waits for the requests under way.
func TestASecondSignalEndsTheHubAtOnce(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	port, faults := filepath.Join(dir, "port"), filepath.Join(dir, "faults")
	if err := os.WriteFile(faults, []byte("hub GET /api/datasets every: cut 1 stall 1m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hub := exec.Command(self)
	hub.Args = []string{"hubflight", "hub", "--dir", filepath.Join(dir, "hub"), "--port-file", port, "--faults", faults}
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- hub.Wait() }()
	t.Cleanup(func() { _ = hub.Process.Kill() }) // already gone, if all is well
	var url []byte
	for deadline := time.Now().Add(20 * time.Second); len(url) == 0; time.Sleep(5 * time.Millisecond) {
		if url, err = os.ReadFile(port); err != nil && time.Now().After(deadline) {
			t.Fatalf("the Hub does not start: %v", err)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSpace(string(url)), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /api/datasets HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // its answer has begun
		t.Fatal(err)
	}
	for i := range 2 {
		if err := hub.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-exited:
			if i == 0 {
				t.Fatal("the first signal did not wait for the request")
			}
			// Nobody waits for a minute: without the signal it would end by itself.
			if !hub.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				t.Errorf("the Hub waited until it gave up: %v", hub.ProcessState)
			}
			return
		case <-time.After([]time.Duration{500 * time.Millisecond, 20 * time.Second}[i]):
		}
	}
	t.Error("the second signal did not end the Hub")
}
