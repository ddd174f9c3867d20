package hubtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var errCrash = errors.New("the power went out")

// Every step of writing a commit gets its turn to be the last one. What is left
// must be the old commit or the new one, whole, and work must go on from it.
func TestACrashLeavesTheOldCommitOrTheNewOne(t *testing.T) {
	for i := 0; ; i++ {
		dir := t.TempDir()
		h := openTest(t, dir)
		old, err := h.Commit("org/name", "main", Change{Add: map[string][]byte{"a/a.txt": []byte("old"), "p.parquet": []byte("PAR1")}})
		if err != nil {
			t.Fatal(err)
		}
		steps, crashed := 0, false
		r := h.find("org/name")
		crash := func(string) error {
			if steps++; steps > i {
				crashed = true // and everything after it fails too
				return errCrash
			}
			return nil
		}
		r.files.step, r.objects.files.step = crash, crash
		_, err = h.Commit("org/name", "main", Change{Add: map[string][]byte{"a/a.txt": []byte("new"), "a/b.txt": []byte("b"), "q.parquet": []byte("PAR2")}})
		if crashed != errors.Is(err, errCrash) {
			t.Fatalf("step %d: crashed %v, error %v", i, crashed, err)
		}
		checkAfterCrash(t, dir, i, old)
		if !crashed {
			if i < 8 {
				t.Fatalf("only %d steps were seen", i)
			}
			return
		}
	}
}

func openTest(t *testing.T, dir string) *Hub {
	t.Helper()
	at := time.Unix(1_700_000_000, 0)
	// A process that stops keeps what it wrote, synced or not.
	h, err := Open(dir, Options{Now: func() time.Time { return at }, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func checkAfterCrash(t *testing.T, dir string, step int, old string) {
	t.Helper()
	h := openTest(t, dir)
	sha, err := h.Head("org/name", "main")
	if err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	want := map[string]string{"a/a.txt": "old", "p.parquet": "PAR1"}
	if sha != old {
		want = map[string]string{"a/a.txt": "new", "a/b.txt": "b", "p.parquet": "PAR1", "q.parquet": "PAR2"}
	}
	paths, err := h.Paths("org/name", "main")
	if err != nil || len(paths) != len(want)+1 { // and .gitattributes
		t.Fatalf("step %d: files %v (%v)", step, paths, err)
	}
	for p, text := range want {
		if raw, err := h.Read("org/name", "main", p); err != nil || string(raw) != text {
			t.Errorf("step %d: %s is %q (%v), want %q", step, p, raw, err, text)
		}
	}
	next, err := h.Commit("org/name", "main", Change{Add: map[string][]byte{"c.txt": fmt.Append(nil, step)}})
	if err != nil || next == sha {
		t.Errorf("step %d: the next commit is %s (%v)", step, next, err)
	}
	fsck(t, filepath.Join(dir, "datasets", "org", "name.git"))
}

// fsck lets git judge the repository, where git is installed.
func fsck(t *testing.T, dir string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		return
	}
	out, err := exec.CommandContext(t.Context(), git, "-C", dir, "fsck", "--strict", "--no-dangling").CombinedOutput()
	if err != nil {
		t.Errorf("git fsck: %v: %s", err, out)
	}
}

func TestACreationThatCrashesLeavesNoRepository(t *testing.T) {
	dir := t.TempDir()
	h := openTest(t, dir)
	// What a crash leaves in tmp is never taken for a repository.
	if err := os.MkdirAll(filepath.Join(dir, "tmp", "repo-123", "refs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Create("org/name", Settings{Private: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.Create("Org/NAME", Settings{}); err == nil {
		t.Error("ids differ by case only, and both exist")
	}
	if s, err := h.Settings("org/name"); err != nil || !s.Private || s.CreatedAt.IsZero() {
		t.Errorf("settings %+v (%v)", s, err)
	}
	for _, id := range []string{"", "a/b/c", "../x", "a/..", "a b", "file:///tmp", "org/name@main", "org/na--me"} {
		if err := h.Create(id, Settings{}); err == nil {
			t.Errorf("%q is accepted", id)
		}
	}
}

func TestOpeningSweepsUpOldLitterOnly(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir)
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": time.Hour} {
		path := filepath.Join(dir, "tmp", "repo-"+name)
		if err := os.MkdirAll(filepath.Join(path, "refs"), 0o755); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	openTest(t, dir)
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 1 || left[0].Name() != "repo-young" {
		t.Errorf("left %v (%v)", left, err)
	}
}

func TestAttributePatternsMatchAsInGit(t *testing.T) {
	text := "*.parquet filter=lfs\ndata/*.csv filter=lfs\n/top.bin filter=lfs\ndeep/** filter=lfs\n**/x/y filter=lfs\nsmall.parquet -filter\na[[:space:]]b filter=lfs\n# *.txt filter=lfs\n"
	for path, want := range map[string]bool{
		"a.parquet": true, "d/e/a.parquet": true, "small.parquet": false, "d/small.parquet": false,
		"data/a.csv": true, "data/x/a.csv": false, "a.csv": false, "top.bin": true, "d/top.bin": false,
		"deep/a/b": true, "deep": false, "x/y": true, "q/x/y": true, "a b": true, "a.txt": false,
	} {
		if got := lfsByAttributes(text, path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	for _, odd := range []string{"a", "a b", "x*y?", "[z]", "d/e f", "#h", "!n", `back\slash`} {
		if line := missingAttributes("", []string{odd}); !lfsByAttributes(line, odd) || strings.Count(line, "\n") != 1 {
			t.Errorf("the rule for %q does not match it: %q", odd, line)
		}
	}
}
