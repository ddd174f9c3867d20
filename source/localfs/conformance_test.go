package localfs_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFolderIsAStore(t *testing.T) {
	sourcetest.Run(t, newFixture, sourcetest.Abilities{})
}

func newFixture(t *testing.T, files map[string][]byte) sourcetest.Fixture {
	root := t.TempDir()
	folder := filepath.Join(root, "ds")
	put := func(path string, content []byte) {
		write(t, filepath.Join(folder, path), content)
	}
	for path, content := range files {
		put(path, content)
	}
	return sourcetest.Fixture{Store: store(t, roots(t, root), folder), Put: put}
}

// write replaces a file in place; its time is always a new one.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	before, statErr := os.Stat(path)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if statErr == nil {
		later := before.ModTime().Add(time.Second)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
}

func roots(t *testing.T, dirs ...string) *localfs.Roots {
	t.Helper()
	r, err := localfs.NewRoots(dirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func store(t *testing.T, r *localfs.Roots, folder string) *localfs.Store {
	t.Helper()
	s, err := r.Store(source.Ref{Dir: folder})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cached is a Store whose Readers remember tails.
type cached struct{ source.Store }

func (c cached) Open(ctx context.Context, f source.File) (source.Reader, error) {
	r, err := c.Store.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return rangeio.New(r, rangeio.Options{}), nil
}

func TestARememberedTailChangesNothing(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sourcetest.Fixture {
		f := newFixture(t, files)
		f.Store = cached{f.Store}
		return f
	}, sourcetest.Abilities{})
}
