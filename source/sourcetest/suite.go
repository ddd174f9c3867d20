package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// Fixture is a dataset made for one test.
type Fixture struct {
	// Store reads it.
	Store source.Store
	// Put writes a file, replacing one of that path, in a way that makes a new
	// snapshot.
	Put func(path string, content []byte)
}

// Abilities says where Stores may differ.
type Abilities struct {
	// Immutable: snapshots stay readable after the dataset has changed (commits).
	// Otherwise using an old snapshot gives KindChanged.
	Immutable bool
	// Branch is a revision that means the same as "", or "" if there are none.
	Branch string
}

// Run runs the suite. newFixture makes a dataset with exactly these files (a
// Store may add hidden ones, whose names begin with a dot) and cleans up by the
// test's own means.
func Run(t *testing.T, newFixture func(t *testing.T, files map[string][]byte) Fixture, can Abilities) {
	s := suite{newFixture: newFixture, can: can}
	t.Run("resolve", s.resolve)
	t.Run("files", s.files)
	t.Run("open", s.open)
	t.Run("read", s.read)
	t.Run("change", s.change)
	t.Run("cancel", s.cancel)
}

type suite struct {
	newFixture func(t *testing.T, files map[string][]byte) Fixture
	can        Abilities
}

// OddNames are file names that code forgets to escape, or escapes twice.
var OddNames = []string{
	"a b.bin", "a%20b.bin", "a+b.bin", "a#b.bin", "a?b.bin", "a&b=c.bin", "a;b.bin", "[a].bin", "{a}.bin", "a*b.bin",
	"ünïcode-日本.bin", "dir with space/x%2Fy.bin", "tilde~.bin", "quote'.bin", `double"quote.bin`, "at@sign.bin", "dollar$.bin", "x..a/b...bin",
}

func (s suite) resolve(t *testing.T) {
	ctx := t.Context()
	f := s.newFixture(t, map[string][]byte{"README.md": []byte("# x\n")})
	first, err := f.Store.Resolve(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("the default revision pins a commit", func(t *testing.T) {
		if first.Commit == "" || first.Name == "" {
			t.Fatalf("snapshot %+v has no commit or no name", first)
		}
	})
	t.Run("resolving twice gives the same snapshot", func(t *testing.T) {
		again, err := f.Store.Resolve(ctx, "")
		if err != nil || again != first {
			t.Fatalf("got %+v, %v; want %+v", again, err, first)
		}
	})
	t.Run("a commit resolves to itself", func(t *testing.T) {
		again, err := f.Store.Resolve(ctx, first.Commit)
		if err != nil || again.Commit != first.Commit || again.Name != first.Name {
			t.Fatalf("got %+v, %v; want commit %s", again, err, first.Commit)
		}
		collect(t, f.Store, again, "")
	})
	t.Run("an unknown revision is not found", func(t *testing.T) {
		_, err := f.Store.Resolve(ctx, "no-such-branch")
		wantKind(t, err, source.KindNotFound)
	})
	if s.can.Branch != "" {
		t.Run("a branch resolves to its commit", func(t *testing.T) {
			got, err := f.Store.Resolve(ctx, s.can.Branch)
			if err != nil || got.Commit != first.Commit {
				t.Fatalf("got %+v, %v; want commit %s", got, err, first.Commit)
			}
		})
	}
}

func (s suite) files(t *testing.T) {
	files := map[string][]byte{
		"a.txt": []byte("1"), "a/b.txt": []byte("22"), "a-b.txt": []byte("333"), "ab/c/d/e.txt": []byte("4444"),
		"data/train-00000-of-00002.parquet": []byte("PAR1…"), "data/train-00001-of-00002.parquet": []byte("PAR1"), "empty.txt": {},
		"data2/x.txt": []byte("not in data"),
	}
	f := s.newFixture(t, files)
	at := pin(t, f.Store)
	t.Run("everything is listed, in byte order, with sizes and identities", func(t *testing.T) {
		got := collect(t, f.Store, at, "")
		wantPaths(t, got, keys(files))
		for _, file := range got {
			if file.Size != int64(len(files[file.Path])) || file.At != at || file.Identity() == "" {
				t.Errorf("%s: got %+v", file.Path, file)
			}
		}
	})
	t.Run("a folder is listed without its namesakes", func(t *testing.T) {
		for _, dir := range []string{"data", "data/"} {
			wantPaths(t, collect(t, f.Store, at, dir), []string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"})
		}
		wantPaths(t, collect(t, f.Store, at, "ab/c"), []string{"ab/c/d/e.txt"})
	})
	t.Run("a missing folder is not found", func(t *testing.T) {
		wantKind(t, lastError(f.Store, at, "nowhere"), source.KindNotFound)
		wantKind(t, lastError(f.Store, at, "dat"), source.KindNotFound)
	})
	t.Run("a folder cannot lead out", func(t *testing.T) {
		for _, dir := range []string{"..", "../x", "a/../..", "/etc", "a//b"} {
			wantKind(t, lastError(f.Store, at, dir), source.KindInvalid)
		}
	})
	t.Run("a small file is read whole, a larger one not at all", func(t *testing.T) {
		for _, file := range collect(t, f.Store, at, "") {
			got, err := source.ReadFile(t.Context(), f.Store, file, 3)
			if file.Size > 3 {
				wantKind(t, err, source.KindLimit)
			} else if err != nil || got == nil || !bytes.Equal(got, files[file.Path]) {
				t.Errorf("%s: got %q, %v", file.Path, got, err)
			}
		}
	})
	t.Run("a listing may be left early", func(t *testing.T) {
		seen := 0
		for _, err := range f.Store.Files(t.Context(), at, "") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == 2 {
				break
			}
		}
	})
	t.Run("odd names are listed and read as they are", func(t *testing.T) {
		odd := map[string][]byte{}
		for i, name := range OddNames {
			odd[name] = fmt.Appendf(nil, "content %d of %s", i, name)
		}
		f := s.newFixture(t, odd)
		got := collect(t, f.Store, pin(t, f.Store), "")
		wantPaths(t, got, OddNames)
		for _, file := range got {
			if content := readAll(t, f.Store, file); !bytes.Equal(content, odd[file.Path]) {
				t.Errorf("%s: got %q", file.Path, content)
			}
		}
		got = collect(t, f.Store, pin(t, f.Store), "dir with space")
		wantPaths(t, got, []string{"dir with space/x%2Fy.bin"})
	})
}

func (s suite) open(t *testing.T) {
	ctx := t.Context()
	f := s.newFixture(t, map[string][]byte{"a.bin": []byte("aaaa"), "b.bin": []byte("bbbb"), "dir/c.bin": []byte("cc")})
	at := pin(t, f.Store)
	files := byPath(collect(t, f.Store, at, ""))
	refuses := func(name string, file source.File, kinds ...source.Kind) {
		t.Run(name, func(t *testing.T) {
			r, err := f.Store.Open(ctx, file)
			if err == nil {
				// A Store may find out at the first read.
				err = r.ReadAt(ctx, make([]byte, 1), 0)
				r.Close()
			}
			wantKind(t, err, kinds...)
		})
	}
	missing := files["a.bin"]
	missing.Path = "missing.bin"
	refuses("a file that is not there is refused", missing, source.KindNotFound, source.KindChanged)
	// The attack: one file's path with another one's identity.
	swapped := files["a.bin"]
	swapped.OID, swapped.ETag = files["b.bin"].OID, files["b.bin"].ETag
	refuses("a path with another file's identity is refused as changed", swapped, source.KindChanged)
	longer := files["a.bin"]
	longer.Size++
	refuses("a path with another size is refused as changed", longer, source.KindChanged)
	folder := files["a.bin"]
	folder.Path = "dir"
	refuses("a folder is no file", folder, source.KindNotFound, source.KindChanged, source.KindInvalid)
	for _, path := range []string{"", "../a.bin", "/a.bin", "dir/../a.bin", "dir//c.bin", "a.bin/"} {
		file := files["a.bin"]
		file.Path = path
		refuses(fmt.Sprintf("the path %q is refused", path), file, source.KindInvalid)
	}
}

func (s suite) read(t *testing.T) {
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 100_003)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	f := s.newFixture(t, map[string][]byte{"big.bin": content, "empty.bin": {}, "one.bin": {7}})
	files := byPath(collect(t, f.Store, pin(t, f.Store), ""))
	size := int64(len(content))

	t.Run("a whole file is read in one go", func(t *testing.T) {
		for name, want := range map[string][]byte{"big.bin": content, "empty.bin": {}, "one.bin": {7}} {
			if got := readAll(t, f.Store, files[name]); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes differ", name, len(got))
			}
		}
	})
	r, err := f.Store.Open(ctx, files["big.bin"])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("size is the file's", func(t *testing.T) {
		if r.Size() != size {
			t.Fatalf("got %d, want %d", r.Size(), size)
		}
	})
	t.Run("any range is read exactly, by many at once", func(t *testing.T) {
		var group sync.WaitGroup
		for worker := range uint64(8) {
			group.Go(func() {
				random := rand.New(rand.NewPCG(3, worker))
				for range 25 {
					off := random.Int64N(size)
					p := make([]byte, random.Int64N(size-off+1))
					if err := r.ReadAt(ctx, p, off); err != nil || !bytes.Equal(p, content[off:off+int64(len(p))]) {
						t.Errorf("range %d+%d: differs, or error %v", off, len(p), err)
					}
				}
			})
		}
		group.Wait()
	})
	t.Run("reading past the end is refused whole", func(t *testing.T) {
		for _, at := range [][2]int64{{size, 1}, {size - 1, 2}, {0, size + 1}, {-1, 1}, {size + 1, 0}} {
			wantKind(t, r.ReadAt(ctx, make([]byte, at[1]), at[0]), source.KindInvalid)
		}
	})
	t.Run("reading nothing succeeds anywhere inside", func(t *testing.T) {
		for _, off := range []int64{0, 1, size} {
			if err := r.ReadAt(ctx, nil, off); err != nil {
				t.Errorf("at %d: %v", off, err)
			}
		}
	})
	t.Run("after Close reads fail, and Close may be repeated", func(t *testing.T) {
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		wantKind(t, r.ReadAt(ctx, make([]byte, 1), 0), source.KindInvalid)
	})
}

func (s suite) change(t *testing.T) {
	ctx := t.Context()
	f := s.newFixture(t, map[string][]byte{"a.bin": []byte("before"), "b.bin": []byte("stays")})
	before := pin(t, f.Store)
	files := byPath(collect(t, f.Store, before, ""))
	f.Put("a.bin", []byte("after!"))
	after := pin(t, f.Store)

	t.Run("a changed dataset is another snapshot", func(t *testing.T) {
		if after.Commit == before.Commit {
			t.Fatal("the snapshot is the same")
		}
		if got := readAll(t, f.Store, byPath(collect(t, f.Store, after, ""))["a.bin"]); string(got) != "after!" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("the old snapshot gives the old bytes, or says that they changed", func(t *testing.T) {
		r, err := f.Store.Open(ctx, files["a.bin"])
		if err == nil {
			defer r.Close()
			p := make([]byte, 6)
			if err = r.ReadAt(ctx, p, 0); err == nil && string(p) != "before" {
				t.Fatalf("got %q", p)
			}
		}
		if s.can.Immutable && err != nil {
			t.Fatal(err)
		}
		if !s.can.Immutable {
			wantKind(t, err, source.KindChanged)
		}
	})
	t.Run("the old snapshot is listed as it was, or says that it changed", func(t *testing.T) {
		if s.can.Immutable {
			wantPaths(t, collect(t, f.Store, before, ""), []string{"a.bin", "b.bin"})
			return
		}
		wantKind(t, lastError(f.Store, before, ""), source.KindChanged)
	})
}

func (s suite) cancel(t *testing.T) {
	f := s.newFixture(t, map[string][]byte{"a.bin": []byte("aaaa")})
	at := pin(t, f.Store)
	file := collect(t, f.Store, at, "")[0]
	r, err := f.Store.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	t.Run("a read by somebody who went away is canceled", func(t *testing.T) {
		wantKind(t, r.ReadAt(gone, make([]byte, 4), 0), source.KindCanceled)
	})
	t.Run("a listing for somebody who went away is canceled", func(t *testing.T) {
		var last error
		for _, err := range f.Store.Files(gone, at, "") {
			last = err
		}
		wantKind(t, last, source.KindCanceled)
	})
	t.Run("others go on reading", func(t *testing.T) {
		if err := r.ReadAt(t.Context(), make([]byte, 4), 0); err != nil {
			t.Fatal(err)
		}
	})
}

func pin(t *testing.T, s source.Store) source.Snapshot {
	t.Helper()
	at, err := s.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// collect lists a folder, leaving out files whose names begin with a dot.
func collect(t *testing.T, s source.Store, at source.Snapshot, dir string) []source.File {
	t.Helper()
	var files []source.File
	for f, err := range s.Files(t.Context(), at, dir) {
		if err != nil {
			t.Fatal(err)
		}
		if name := f.Path[strings.LastIndexByte(f.Path, '/')+1:]; name[0] != '.' {
			files = append(files, f)
		}
	}
	return files
}

func lastError(s source.Store, at source.Snapshot, dir string) error {
	var last error
	for _, err := range s.Files(context.Background(), at, dir) {
		last = err
	}
	return last
}

func readAll(t *testing.T, s source.Store, f source.File) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, r.Size())
	if err := r.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func byPath(files []source.File) map[string]source.File {
	m := map[string]source.File{}
	for _, f := range files {
		m[f.Path] = f
	}
	return m
}

func keys(files map[string][]byte) []string {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	return paths
}

func wantPaths(t *testing.T, got []source.File, want []string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	var paths []string
	for _, f := range got {
		paths = append(paths, f.Path)
	}
	if !slices.Equal(paths, want) {
		t.Errorf("got paths %q\nwant %q", paths, want)
	}
}

func wantKind(t *testing.T, err error, kinds ...source.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %v", kinds)
	}
	var typed *source.Error
	if !errors.As(err, &typed) {
		t.Errorf("%T is no *source.Error: %v", err, err)
	}
	if !slices.Contains(kinds, source.KindOf(err)) {
		t.Errorf("got kind %v, want %v: %v", source.KindOf(err), kinds, err)
	}
}
