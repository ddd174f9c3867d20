package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
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
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := runHubCommand(ctx, "--dir", filepath.Join(dir, "hub"), "--port-file", port)
		done <- result{out, err}
	}()
	var url string
	for deadline := time.Now().Add(10 * time.Second); url == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		raw, err := os.ReadFile(port)
		if err == nil {
			url = strings.TrimSpace(string(raw))
		}
	}
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("the port file says %q", url)
	}
	cancel()
	got := <-done
	if got.err != nil || got.out != url+"\n" {
		t.Errorf("printed %q (%v), want %s", got.out, got.err, url)
	}
}

func TestHubRefusesWhatItCannotUse(t *testing.T) {
	dir := t.TempDir()
	bad, empty := filepath.Join(dir, "bad"), filepath.Join(dir, "empty")
	for path, text := range map[string]string{bad: "# tokens\nhf_secretsecret admin\n", empty: "# none\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no folder":      {nil, "--dir is missing"},
		"a bad token":    {[]string{"--dir", dir, "--token-file", bad}, `line 2 is not "TOKEN public|read|write"`},
		"no tokens":      {[]string{"--dir", dir, "--token-file", empty}, "it holds no token"},
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
