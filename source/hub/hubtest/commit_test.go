package hubtest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestOfManyCommitsOnOneParentExactlyOneLands(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("a")}))
	c := connect(t, hub, "")
	for round := range 5 {
		parent := head(t, hub, "main")
		statuses := make([]int, 8)
		var all sync.WaitGroup
		for i := range statuses {
			all.Add(1)
			go func() {
				defer all.Done()
				statuses[i] = c.commit("main", parent, fileLine(fmt.Sprintf("r%d/f%d.txt", round, i), "x")).StatusCode
			}()
		}
		all.Wait()
		slices.Sort(statuses)
		if statuses[0] != http.StatusOK || statuses[1] != http.StatusPreconditionFailed || statuses[7] != http.StatusPreconditionFailed {
			t.Fatalf("statuses %v; want one 200 and seven 412", statuses)
		}
		paths, err := hub.Paths(repo, "main")
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 + round + 1; len(paths) != want {
			t.Fatalf("files %v; want %d of them", paths, want)
		}
	}
}

func TestCommitsWithoutAParentAllLandAlsoFromTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	// Two Hubs on one folder share nothing in memory, as two processes.
	hubs := make([]*hubtest.Hub, 2)
	for i := range hubs {
		h, err := hubtest.Open(dir, hubtest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		hubs[i] = h
	}
	var all sync.WaitGroup
	for i := range 12 {
		all.Add(1)
		go func() {
			defer all.Done()
			name := fmt.Sprintf("f%02d.txt", i)
			if _, err := hubs[i%2].Commit(repo, "main", hubtest.Change{Add: map[string][]byte{name: []byte(name)}}); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	paths, err := hubs[0].Paths(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 13 { // and .gitattributes
		t.Fatalf("files %v; want all 13", paths)
	}
}

func TestAStaleParentIsToldSo(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	start := head(t, hub, "main")
	if got := c.commit("main", start[:7], fileLine("a.txt", "a")); got.StatusCode != http.StatusOK {
		t.Fatalf("a shortened parent is refused: %s", got.body)
	}
	c.commit("main", start, fileLine("b.txt", "b")).want(t, http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again.")
	if sha := head(t, hub, "main"); sha == start {
		t.Fatal("the first commit is gone")
	}
}

// The Hub compares the parent twice, and has words of its own for each: here another commit lands between the two.
func TestAParentThatGrowsStaleWhileACommitIsTakenIsToldSoInOtherWords(t *testing.T) {
	// overtake runs when a request looks at the clock for the second time: first for its quota, then, having looked at the branch, to date
	// the commit.
	var overtake atomic.Pointer[func()]
	var looks atomic.Int64
	hub := hubtest.New(t, hubtest.With(hubtest.Options{Now: func() time.Time {
		if f := overtake.Load(); f != nil && looks.Add(1) == 2 {
			(*f)()
		}
		return time.Now()
	}}), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	start := head(t, hub, "main")
	first := func() {
		if _, err := hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"first.txt": []byte("first")}}); err != nil {
			t.Error(err)
		}
	}
	overtake.Store(&first)
	c.commit("main", start, fileLine("second.txt", "second")).want(t, http.StatusPreconditionFailed, "", "The branch was updated since you opened this page. Please refresh and try again.")
	paths, err := hub.Paths(repo, "main")
	if err != nil || !slices.Contains(paths, "first.txt") || slices.Contains(paths, "second.txt") {
		t.Errorf("main has %q, %v", paths, err)
	}
	c.commit("main", head(t, hub, "main"), fileLine("second.txt", "second")).want(t, http.StatusOK, "", "")
}

func TestBadCommitsAreRefusedAndChangeNothing(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 100}),
		hubtest.Dataset(repo, map[string][]byte{"dir/a.txt": []byte("a")}), hubtest.Dataset("org/other", map[string][]byte{"p.parquet": []byte("stored there only")}))
	c := connect(t, hub, "")
	start := head(t, hub, "main")
	header := line("header", map[string]any{"summary": "s", "description": ""})
	for name, tc := range map[string]struct {
		rev, body, code, message string
		status                   int
	}{
		"no operation":         {"main", header, "", "Add a line with the key `lfsFile`, `file` or `deletedFile`", 400},
		"empty body":           {"main", "", "", "the body is empty", 400},
		"no header":            {"main", fileLine("b.txt", "b"), "", "line 1", 400},
		"two headers":          {"main", header + "\n" + header, "", "line 2", 400},
		"no JSON":              {"main", header + "\n{", "", "line 2", 400},
		"unknown key":          {"main", header + "\n" + line("moveFile", map[string]any{"path": "x"}), "", "unknown key", 400},
		"empty summary":        {"main", line("header", map[string]any{"summary": ""}) + "\n" + fileLine("b", "b"), "", "summary", 400},
		"parent that is none":  {"main", line("header", map[string]any{"summary": "s", "parentCommit": "main"}) + "\n" + fileLine("b", "b"), "", "parentCommit", 400},
		"bad base64":           {"main", header + "\n" + line("file", map[string]any{"path": "b", "encoding": "base64", "content": "*"}), "", "base64", 400},
		"unknown encoding":     {"main", header + "\n" + line("file", map[string]any{"path": "b", "encoding": "utf-7", "content": ""}), "", "encoding", 400},
		"path upwards":         {"main", header + "\n" + fileLine("../b", "b"), "", "Invalid path", 400},
		"path into git":        {"main", header + "\n" + fileLine("a/.git/config", "b"), "", "Invalid path", 400},
		"file as folder":       {"main", header + "\n" + fileLine("dir/a.txt/b", "b"), "", "dir/a.txt is a file", 400},
		"unknown object":       {"main", header + "\n" + lfsLine("p.parquet", []byte("never uploaded")), "", "LFS pointer pointed to a file that does not exist", 400},
		"another repository's": {"main", header + "\n" + lfsLine("p.parquet", []byte("stored there only")), "", "Offending file: - p.parquet", 400},
		"missing file":         {"main", header + "\n" + line("deletedFile", map[string]any{"path": "no.txt"}), "EntryNotFound", "A file with this name doesn't exist", 404},
		"missing folder":       {"main", header + "\n" + line("deletedFolder", map[string]any{"path": "no/"}), "EntryNotFound", "", 404},
		"missing branch":       {"nowhere", header + "\n" + fileLine("b", "b"), "RevisionNotFound", "", 404},
		"a sha for a branch":   {start, header + "\n" + fileLine("b", "b"), "RevisionNotFound", "", 404},
		"a file for LFS":       {"main", header + "\n" + fileLine("b", strings.Repeat("x", 11<<20)), "", "use LFS", 400},
	} {
		t.Run(name, func(t *testing.T) {
			c.do(http.MethodPost, "/api/datasets/"+repo+"/commit/"+tc.rev, []byte(tc.body), "Content-Type", "application/x-ndjson").want(t, tc.status, tc.code, tc.message)
			if now := head(t, hub, "main"); now != start {
				t.Fatalf("main moved from %s to %s", start, now)
			}
		})
	}
}

func TestACommitReplacesDeletesAndKeepsHistory(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("one"), "old/x": []byte("x"), "old/y": []byte("y"), "older": []byte("z")}))
	c := connect(t, hub, "")
	before := head(t, hub, "main")
	got := c.commit("main", before,
		line("deletedFile", map[string]any{"path": "a.txt"}), fileLine("a.txt", "two"),
		line("deletedFolder", map[string]any{"path": "old/"}), line("file", map[string]any{"path": "plain", "encoding": "utf-8", "content": "ü"}))
	got.want(t, http.StatusOK, "", "")
	paths, err := hub.Paths(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".gitattributes", "a.txt", "older", "plain"}; !slices.Equal(paths, want) {
		t.Fatalf("files %v, want %v", paths, want)
	}
	for rev, want := range map[string]string{"main": "two", before: "one"} {
		if raw, err := hub.Read(repo, rev, "a.txt"); err != nil || string(raw) != want {
			t.Errorf("a.txt at %s is %q (%v), want %q", rev, raw, err, want)
		}
	}
}

func TestLFSFilesGetTheAttributesThatTheyLack(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 4}),
		hubtest.Dataset(repo, map[string][]byte{"a [1].dat": []byte("large enough"), "b.parquet": []byte("PAR1"), "sub/c": []byte("also large")}))
	raw, err := hub.Read(repo, "main", ".gitattributes")
	if err != nil {
		t.Fatal(err)
	}
	for want, times := range map[string]int{`/a[[:space:]]\[1\].dat filter=lfs`: 1, "sub/c filter=lfs": 1, ".parquet filter=lfs": 1} {
		if n := strings.Count(string(raw), want); n != times {
			t.Errorf("%q is there %d times, want %d:\n%s", want, n, times, raw)
		}
	}
	got := connect(t, hub, "").do(http.MethodGet, "/datasets/"+repo+"/raw/main/sub/c", nil)
	if !strings.HasPrefix(string(got.body), "version https://git-lfs.github.com/spec/v1\noid sha256:") {
		t.Errorf("the stored blob is no pointer: %q", got.body)
	}
}

func TestTheSameCommitHasTheSameID(t *testing.T) {
	at := time.Date(2024, 5, 17, 10, 30, 0, 0, time.UTC)
	var ids []string
	for range 2 {
		hub := hubtest.New(t, hubtest.With(hubtest.Options{Now: func() time.Time { return at }}))
		sha, err := hub.Commit(repo, "main", hubtest.Change{
			Summary: "Upload using PySpark", Description: "hubflight job=1\n\nmore", Author: "Ann <x>\n", Date: at.Add(time.Hour), Add: map[string][]byte{"d/a.txt": []byte("a")},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, sha)
	}
	if ids[0] != ids[1] {
		t.Fatalf("ids %v differ", ids)
	}
}

func TestTheCommitLogTellsMessagesDatesAndAuthors(t *testing.T) {
	at := time.Date(2024, 5, 17, 10, 30, 0, 0, time.UTC)
	hub := hubtest.New(t, hubtest.With(hubtest.Options{Now: func() time.Time { return at }}), hubtest.PageSize(2))
	for i := range 5 {
		if _, err := hub.Commit(repo, "main", hubtest.Change{Summary: fmt.Sprint("commit ", i), Description: "line 1\n\nline 2", Author: "ann", Add: map[string][]byte{"a": {byte(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	c := connect(t, hub, "")
	var titles []string
	for url := "/api/datasets/" + repo + "/commits/main"; url != ""; {
		got := c.do(http.MethodGet, url, nil)
		var page []struct {
			ID, Title, Message, Date string
			Authors                  []struct{ User string }
		}
		got.json(t, &page)
		if len(page) > 2 {
			t.Fatalf("a page has %d commits", len(page))
		}
		for _, m := range page {
			titles = append(titles, m.Title)
			if m.Date != "2024-05-17T10:30:00.000Z" || m.Title != "initial commit" && (m.Message != "line 1\n\nline 2" || m.Authors[0].User != "ann") {
				t.Errorf("commit %+v", m)
			}
		}
		url = got.next(t)
	}
	if want := []string{"commit 4", "commit 3", "commit 2", "commit 1", "commit 0", "initial commit"}; !slices.Equal(titles, want) {
		t.Errorf("titles %v", titles)
	}
}

func TestARecreatedRepositoryDoesNotKnowItsOldObjects(t *testing.T) {
	content := []byte("parquet bytes")
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"p.parquet": content}))
	c := connect(t, hub, "")
	names := map[string]string{"name": "name", "organization": "org", "type": "dataset"}
	c.do(http.MethodDelete, "/api/repos/delete", names).want(t, http.StatusOK, "", "")
	c.do(http.MethodGet, "/api/datasets/"+repo, nil).want(t, http.StatusUnauthorized, "RepoNotFound", "")
	c.do(http.MethodPost, "/api/repos/create", names).want(t, http.StatusOK, "", "")
	if got := c.do(http.MethodPost, "/api/repos/create", names); got.StatusCode != http.StatusConflict {
		t.Errorf("creating it again: %s", got.Status)
	}
	c.commit("main", "", lfsLine("p.parquet", content)).want(t, http.StatusBadRequest, "", "does not exist")
	c.do(http.MethodGet, "/api/datasets/ORG/Name", nil).want(t, http.StatusOK, "", "") // ids have no case
}

func TestImportAddsWhatDiffers(t *testing.T) {
	hub := hubtest.New(t)
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("README.md", "hello")
	write("data/a.parquet", "PAR1")
	write("data/empty.parquet", "")
	write(".cache/x", "left out")
	if err := os.Symlink(filepath.Join(folder, "data", "a.parquet"), filepath.Join(folder, "data", "b.parquet")); err != nil {
		t.Fatal(err)
	}
	if err := hub.Import(folder, repo); err != nil {
		t.Fatal(err)
	}
	first := head(t, hub, "main")
	if again, err := hub.ImportTo(folder, repo, "main"); err != nil || again != first {
		t.Errorf("importing the same again gives %s (%v), want no new commit", again, err)
	}
	write("README.md", "changed")
	if err := hub.Import(folder, repo); err != nil {
		t.Fatal(err)
	}
	paths, err := hub.Paths(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".gitattributes", "README.md", "data/a.parquet", "data/b.parquet", "data/empty.parquet"}; !slices.Equal(paths, want) {
		t.Errorf("files %v, want %v", paths, want)
	}
	if _, err := hub.ImportTo(folder, repo, "refs/convert/parquet"); err != nil {
		t.Errorf("importing a conversion: %v", err)
	}
	if err := hub.Import(filepath.Join(folder, "missing"), repo); source.KindOf(err) == source.KindUnknown || err == nil {
		t.Errorf("importing nothing gives %v", err)
	}
}
