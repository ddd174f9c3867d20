//go:build unix

package localfs_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/localfs"
)

func TestANameIsSplitIntoFolderAndTail(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "ds/data/a.parquet"), []byte("a"))
	write(t, filepath.Join(root, "odd[1]/x.parquet"), []byte("a"))
	r := roots(t, root)
	for name, want := range map[string][2]string{
		"":                            {"", ""},
		"ds":                          {"ds", ""},
		"ds/data":                     {"ds/data", ""},
		"ds/data/a.parquet":           {"ds/data", "a.parquet"},
		"ds/data/a.parquet/x":         {"ds/data", "a.parquet/x"},
		"ds/data/*.parquet":           {"ds/data", "*.parquet"},
		"ds/*/a.parquet":              {"ds", "*/a.parquet"},
		"ds/**":                       {"ds", "**"},
		"odd[1]":                      {"odd[1]", ""},
		"odd[1]/x.parquet":            {"odd[1]", "x.parquet"},
		"new":                         {"new", ""},
		"new/sub":                     {"new/sub", ""},
		"new/out.parquet":             {"new", "out.parquet"},
		"ds/missing/part-*.parquet":   {"ds/missing", "part-*.parquet"},
		"ds/data/missing.parquet":     {"ds/data", "missing.parquet"},
		"ds/data/train-[0-9].parquet": {"ds/data", "train-[0-9].parquet"},
	} {
		folder, tail, err := r.Split(source.Ref{Dir: filepath.Join(root, name)})
		if err != nil || folder != filepath.Join(root, want[0]) || tail != want[1] {
			t.Errorf("%q: got %q, %q, %v", name, strings.TrimPrefix(folder, root), tail, err)
		}
	}
}

func TestNothingOutsideTheRootsIsReached(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret.parquet"), []byte("secret"))
	write(t, filepath.Join(root, "ds/a.parquet"), []byte("a"))
	r := roots(t, root)
	for _, dir := range []string{outside, filepath.Join(outside, "secret.parquet"), filepath.Dir(root), root + "x", "/etc", root + "/../" + filepath.Base(outside)} {
		_, _, err := r.Split(source.Ref{Dir: filepath.Clean(dir)})
		if source.KindOf(err) != source.KindDenied || strings.Contains(err.Error(), root) {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	t.Run("through a link to a folder", func(t *testing.T) {
		if err := os.Symlink(outside, filepath.Join(root, "out")); err != nil {
			t.Fatal(err)
		}
		_, err := r.Store(source.Ref{Dir: filepath.Join(root, "out")})
		if source.KindOf(err) != source.KindDenied || strings.Contains(err.Error(), outside) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("through a link to a file", func(t *testing.T) {
		if err := os.Symlink(filepath.Join(outside, "secret.parquet"), filepath.Join(root, "ds/b.parquet")); err != nil {
			t.Fatal(err)
		}
		s := store(t, r, filepath.Join(root, "ds"))
		if _, err := s.Resolve(t.Context(), ""); source.KindOf(err) != source.KindDenied {
			t.Errorf("listing: got %v", err)
		}
		_, err := s.Open(t.Context(), source.File{Path: "b.parquet", Size: 6, ETag: "x"})
		if source.KindOf(err) != source.KindDenied || strings.Contains(err.Error(), outside) {
			t.Errorf("opening: got %v", err)
		}
	})
}

func TestLinksInsideTheRootAreFollowedToFilesOnly(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "blobs/1234"), []byte("content"))
	write(t, filepath.Join(root, "ds/a.parquet"), []byte("a"))
	for name, target := range map[string]string{
		"ds/b.parquet": "../blobs/1234", "ds/loop": ".", "ds/dangling": "nowhere",
		"ds/itself": "itself", "ds/through-a-file": "a.parquet/x", "ds/too-long": strings.Repeat("x", 300),
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	files := listed(t, store(t, roots(t, root), filepath.Join(root, "ds")))
	if len(files) != 2 || files[1].Path != "b.parquet" || files[1].Size != 7 {
		t.Fatalf("got %+v", files)
	}
}

func listed(t *testing.T, s *localfs.Store) []source.File {
	t.Helper()
	at, err := s.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var files []source.File
	for f, err := range s.Files(t.Context(), at, "") {
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

func TestHiddenFoldersAreNoPartOfTheDataset(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{".hubflight/job/x.parquet", ".git/config", "a/.cache/y", "data/a.parquet", ".huggingface.yaml"} {
		write(t, filepath.Join(root, "ds", name), []byte("x"))
	}
	s := store(t, roots(t, root), filepath.Join(root, "ds"))
	files := listed(t, s)
	if len(files) != 2 || files[0].Path != ".huggingface.yaml" || files[1].Path != "data/a.parquet" {
		t.Fatalf("got %+v", files)
	}
	hidden := files[1]
	hidden.Path = ".hubflight/job/x.parquet"
	if _, err := s.Open(t.Context(), hidden); source.KindOf(err) != source.KindNotFound {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoRegularFileNeverBlocks(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "ds/a.parquet"), []byte("a"))
	s := store(t, roots(t, root), filepath.Join(root, "ds"))
	file := listed(t, s)[0]
	path := filepath.Join(root, "ds/a.parquet")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Open(t.Context(), file)
		done <- err
	}()
	select {
	case err := <-done:
		if source.KindOf(err) != source.KindChanged {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("opening a FIFO blocks")
	}
	if files := listed(t, s); len(files) != 0 {
		t.Errorf("the FIFO is listed: %+v", files)
	}
}

func TestAFileThatChangesWhileItIsOpenIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string) error
		kind   source.Kind // unknown: the old bytes are still there
	}{
		"rewritten in place": {func(p string) error { return os.WriteFile(p, []byte("other bytes"), 0o644) }, source.KindChanged},
		"cut short":          {func(p string) error { return os.Truncate(p, 3) }, source.KindChanged},
		"appended to": {func(p string) error {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		}, source.KindChanged},
		"removed": {os.Remove, source.KindUnknown},
		"replaced": {func(p string) error {
			if err := os.WriteFile(p+".new", []byte("new content"), 0o644); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}, source.KindUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "ds/a.bin")
			write(t, path, []byte("the content"))
			// Not now: the change must differ by more than the clock's tick.
			earlier := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, earlier, earlier); err != nil {
				t.Fatal(err)
			}
			s := store(t, roots(t, root), filepath.Join(root, "ds"))
			r, err := s.Open(t.Context(), listed(t, s)[0])
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 11)
			err = r.ReadAt(t.Context(), p, 0)
			switch {
			case c.kind == source.KindUnknown && (err != nil || string(p) != "the content"):
				t.Errorf("got %q, %v", p, err)
			case c.kind != source.KindUnknown && source.KindOf(err) != c.kind:
				t.Errorf("got %q, %v; want kind %v", p, err, c.kind)
			}
		})
	}
}

func TestAFolderThatIsNotThereIsNotFoundUntilItIsMade(t *testing.T) {
	root := t.TempDir()
	s := store(t, roots(t, root), filepath.Join(root, "new/deep"))
	if _, err := s.Resolve(t.Context(), ""); source.KindOf(err) != source.KindNotFound || strings.Contains(err.Error(), "lstat") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Root(); source.KindOf(err) != source.KindNotFound {
		t.Errorf("got %v", err)
	}
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	dir, err := s.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := dir.WriteFile("a.txt", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if files := listed(t, s); len(files) != 1 {
		t.Errorf("got %+v", files)
	}
}

// Clients try again for minutes what is said to be the machine's failure.
func TestANameThatNoFileCanHaveIsNotFound(t *testing.T) {
	root := t.TempDir()
	if err := os.Symlink("itself", filepath.Join(root, "itself")); err != nil {
		t.Fatal(err)
	}
	r := roots(t, root)
	for _, name := range []string{strings.Repeat("x", 300), "itself"} {
		if _, err := r.Store(source.Ref{Dir: filepath.Join(root, name)}); source.KindOf(err) != source.KindNotFound || strings.Contains(err.Error(), root) {
			t.Errorf("%.20s: got %v", name, err)
		}
	}
}

// leaving is a context that ends when it has been looked at a few times.
type leaving struct {
	context.Context
	looks int
}

func (l *leaving) Err() error {
	if l.looks--; l.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestTheListingOfALargeFolderEndsWithItsCaller(t *testing.T) {
	root := t.TempDir()
	for i := range 3000 {
		if f, err := os.Create(filepath.Join(root, strconv.Itoa(i))); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	s := store(t, roots(t, root), root)
	if _, err := s.Resolve(&leaving{t.Context(), 2}, ""); source.KindOf(err) != source.KindCanceled {
		t.Errorf("got %v", err)
	}
	if files := listed(t, s); len(files) != 3000 {
		t.Errorf("%d files", len(files))
	}
}

func TestRootsMayBeNestedAndNamedThroughLinks(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "inner/ds/a"), []byte("a"))
	link := filepath.Join(elsewhere, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	r := roots(t, link, filepath.Join(root, "inner"))
	for _, dir := range []string{filepath.Join(link, "inner/ds"), filepath.Join(root, "inner/ds")} {
		if files := listed(t, store(t, r, dir)); len(files) != 1 {
			t.Errorf("%s: got %+v", dir, files)
		}
	}
	if _, err := localfs.NewRoots([]string{filepath.Join(root, "missing")}); source.KindOf(err) != source.KindInvalid {
		t.Errorf("a missing root gave %v", err)
	}
}
