package localfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

const (
	maxFiles = 1_000_000
	maxDepth = 64 // of folders below the dataset
)

// Store is one folder as a dataset. It is safe for concurrent use and holds no
// descriptors of its own.
type Store struct {
	in   *os.Root // the configured root
	rel  string   // the folder below it, "." for itself
	name string   // file:///folder
	// holding: the caller has the folder's lock; see Holding.
	holding bool
	// finish carries an interrupted commit to its end; nil: nobody does.
	finish func(context.Context, *Store) error
}

// Finishing returns a view of the Store for readers that need not wait for the next
// write when they find a commit whose process died half-way: finish, which takes the
// folder's lock, carries it to its end.
func (s *Store) Finishing(finish func(context.Context, *Store) error) *Store {
	view := *s
	view.finish = finish
	return &view
}

// Holding returns a view of the Store for somebody who holds the folder's lock
// (.hubflight/lock, exclusively): it reads what is there without waiting for it.
func (s *Store) Holding() *Store {
	held := *s
	held.holding = true
	return &held
}

var _ source.Store = (*Store)(nil)

// Root opens the dataset's folder for somebody who needs more than reading; the
// caller closes it.
func (s *Store) Root() (*os.Root, error) {
	dir, err := s.in.OpenRoot(s.rel)
	if err != nil {
		return nil, s.wrap("open folder", "", err)
	}
	return dir, nil
}

// Create makes the dataset's folder, with those above it, unless it is there.
func (s *Store) Create() error {
	if s.rel == "." {
		return nil
	}
	if err := s.in.MkdirAll(s.rel, 0o755); err != nil {
		return s.wrap("create folder", "", err)
	}
	return nil
}

// Name returns the dataset's name, file:///folder.
func (s *Store) Name() string { return s.name }

func (s *Store) wrap(op, file string, err error) *source.Error {
	var known *source.Error
	if errors.As(err, &known) {
		return known
	}
	return classify(op, err).WithFile(s.name, file)
}

var digestID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Resolve pins the folder to the digest of what it holds now. The digest of an
// earlier Resolve pins to that one at no cost; whether the folder still is that
// shows when it is used.
func (s *Store) Resolve(ctx context.Context, revision string) (source.Snapshot, error) {
	if digestID.MatchString(revision) {
		return source.Snapshot{Name: s.name, Revision: revision, Commit: revision, Local: true}, nil
	}
	if revision != "" {
		return source.Snapshot{}, source.Errorf(source.KindNotFound, "resolve revision", "a local folder has no revision %q", clip(revision)).
			WithFile(s.name, "").WithHint("leave the revision out")
	}
	entries, err := s.list(ctx)
	if err != nil {
		return source.Snapshot{}, err
	}
	return source.Snapshot{Name: s.name, Commit: digest(entries), Local: true}, nil
}

// Files lists the files below dir, sorted. The whole folder is looked at, since
// only that tells whether it still is the snapshot; if it is not, the error is
// KindChanged.
//
// Left out are: folders whose name begins with a dot (.hubflight, .git, .cache),
// links to folders, links to nowhere, and whatever is not a regular file.
func (s *Store) Files(ctx context.Context, at source.Snapshot, dir string) iter.Seq2[source.File, error] {
	return func(yield func(source.File, error) bool) {
		entries, err := s.below(ctx, at, dir)
		if err != nil {
			yield(source.File{}, err)
			return
		}
		for _, e := range entries {
			if !yield(source.File{At: at, Path: e.path, Size: e.size, ETag: e.etag}, nil) {
				return
			}
		}
	}
}

func (s *Store) below(ctx context.Context, at source.Snapshot, dir string) ([]entry, error) {
	const op = "list files"
	dir = strings.TrimSuffix(dir, "/")
	if why := source.ValidatePath(dir); why != "" {
		return nil, source.Errorf(source.KindInvalid, op, "folder %q %s", clip(dir), why).WithFile(s.name, "")
	}
	entries, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	if digest(entries) != at.Commit {
		return nil, source.Errorf(source.KindChanged, op, "the folder's files are not those of the snapshot any more").
			WithFile(at.Short(), "").WithHint("plan again")
	}
	if dir == "" {
		return entries, nil
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !strings.HasPrefix(e.path, dir+"/") })
	if len(entries) == 0 {
		// As on the Hub, where a folder is there only if a file is in it.
		return nil, source.Errorf(source.KindNotFound, op, "the folder does not exist or holds no files").WithFile(at.Short(), dir)
	}
	return entries, nil
}

// entry is a file of the listing.
type entry struct {
	path  string
	size  int64
	etag  string
	mtime int64 // nanoseconds
}

// digest stands for a commit: equal listings, equal digest. Inodes are left out,
// so that a restored or copied folder (with its times) keeps its snapshot.
func digest(entries []entry) string {
	h := sha256.New()
	for _, e := range entries {
		// Lengths first: no two listings write the same bytes.
		fmt.Fprintf(h, "%d:%s %d %d\n", len(e.path), e.path, e.size, e.mtime)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// list returns the folder's regular files in byte order of path, as they are
// between two commits of hubflight.
func (s *Store) list(ctx context.Context) ([]entry, error) {
	var entries []entry
	err := s.settled(ctx, func() (err error) {
		entries, err = s.walk(ctx)
		return err
	})
	return entries, err
}

func (s *Store) walk(ctx context.Context) ([]entry, error) {
	var entries []entry
	folders := []string{""}
	for len(folders) > 0 {
		dir := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		for item, err := range s.items(ctx, dir) {
			if err != nil {
				if dir != "" && errors.Is(err, fs.ErrNotExist) {
					break // removed while we looked elsewhere
				}
				return nil, s.wrap("list files", dir, err)
			}
			name := path.Join(dir, item.Name())
			if item.IsDir() {
				if strings.HasPrefix(item.Name(), ".") {
					continue
				}
				if strings.Count(name, "/") >= maxDepth {
					return nil, source.Errorf(source.KindLimit, "list files", "folders are nested more than %d deep", maxDepth).WithFile(s.name, "")
				}
				folders = append(folders, name)
				continue
			}
			e, ok, err := s.look(name)
			if err != nil {
				return nil, s.wrap("list files", name, err)
			}
			if ok {
				entries = append(entries, e)
			}
			if len(entries) > maxFiles {
				return nil, source.Errorf(source.KindLimit, "list files", "the folder holds more than %d files", maxFiles).WithFile(s.name, "")
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

// itemsAtOnce is how much of a folder is held in memory.
const itemsAtOnce = 1024

// items gives what is in a folder, in no order, and at most one error, last.
func (s *Store) items(ctx context.Context, dir string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		// O_NONBLOCK: what was a folder a moment ago may be a FIFO now.
		f, err := s.in.OpenFile(path.Join(s.rel, dir), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		for err == nil {
			var some []fs.DirEntry
			if err = ctx.Err(); err != nil {
				err = source.AsError("list files", err)
			} else {
				some, err = f.ReadDir(itemsAtOnce)
			}
			for _, item := range some {
				if !yield(item, nil) {
					return
				}
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

// look returns the entry of a name, following links to files inside the root.
// Names that are no regular file, or not there any more, are not entries.
func (s *Store) look(name string) (e entry, ok bool, err error) {
	if source.ValidatePath(name) != "" || !utf8.ValidString(name) {
		// Leaving it out could leave out rows.
		return entry{}, false, source.Errorf(source.KindUnsupported, "list files", "the file name %q cannot be part of a dataset", clip(name)).WithFile(s.name, "")
	}
	info, err := s.in.Stat(path.Join(s.rel, name))
	if err != nil && classify("list files", err).Kind == source.KindNotFound {
		return entry{}, false, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return entry{}, false, err
	}
	return entry{path: name, size: info.Size(), etag: identity(info), mtime: info.ModTime().UnixNano()}, true, nil
}

// Open opens one file and checks that it is the one f names.
func (s *Store) Open(ctx context.Context, f source.File) (source.Reader, error) {
	const op = "open file"
	if err := ctx.Err(); err != nil {
		return nil, source.AsError(op, err)
	}
	if why := source.ValidatePath(f.Path); why != "" || f.Path == "" || strings.HasSuffix(f.Path, "/") {
		return nil, source.Errorf(source.KindInvalid, op, "path %q names no file", clip(f.Path)).WithFile(s.name, "")
	}
	if hidden(f.Path) {
		return nil, source.Errorf(source.KindNotFound, op, "folders that begin with a dot are no part of the dataset").WithFile(f.At.Short(), f.Path)
	}
	file, err := s.in.OpenFile(path.Join(s.rel, f.Path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, s.wrap(op, f.Path, err)
	}
	r := &Reader{file: file, named: f}
	if err := r.check(); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// hidden reports whether a path goes through a folder that listings leave out.
func hidden(name string) bool {
	for _, segment := range strings.Split(path.Dir(name), "/") {
		if len(segment) > 1 && segment[0] == '.' {
			return true
		}
	}
	return false
}

// Reader reads one open file.
type Reader struct {
	file  *os.File
	named source.File
}

// check compares the open file with the one that was named.
func (r *Reader) check() error {
	const op = "read file"
	info, err := r.file.Stat()
	switch {
	case errors.Is(err, fs.ErrClosed):
		return source.Errorf(source.KindInvalid, op, "the reader is closed").WithFile(r.named.At.Short(), r.named.Path)
	case err != nil:
		return classify(op, err).WithFile(r.named.At.Short(), r.named.Path)
	case !info.Mode().IsRegular():
		return r.changed("it is no regular file")
	case info.Size() != r.named.Size || identity(info) != r.named.Identity():
		return r.changed("it was rewritten or replaced")
	}
	return nil
}

func (r *Reader) changed(what string) *source.Error {
	return source.Errorf(source.KindChanged, "read file", "the file is not the one that was planned: %s", what).
		WithFile(r.named.At.Short(), r.named.Path).WithHint("plan again")
}

// Size returns the file's size, as it was when it was opened.
func (r *Reader) Size() int64 { return r.named.Size }

// Close closes the file.
func (r *Reader) Close() error {
	if err := r.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return classify("close file", err).WithFile(r.named.At.Short(), r.named.Path)
	}
	return nil
}

// A read of this many bytes is not interrupted by cancellation.
const readAtOnce = 8 << 20

// ReadAt fills p from off, and then makes sure that the file has not changed
// meanwhile.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	const op = "read file"
	if off < 0 || off > r.named.Size || int64(len(p)) > r.named.Size-off {
		return source.Errorf(source.KindInvalid, op, "bytes %d to %d are outside the file's %d", off, off+int64(len(p)), r.named.Size).
			WithFile(r.named.At.Short(), r.named.Path)
	}
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return source.AsError(op, err)
		}
		n, err := r.file.ReadAt(p[:min(len(p), readAtOnce)], off)
		switch {
		case errors.Is(err, io.EOF) && n < min(len(p), readAtOnce):
			return r.changed("it was cut short")
		case err != nil && !errors.Is(err, io.EOF):
			if changed := r.check(); changed != nil {
				return changed
			}
			return classify(op, err).WithFile(r.named.At.Short(), r.named.Path)
		}
		p, off = p[n:], off+int64(n)
	}
	if err := ctx.Err(); err != nil {
		return source.AsError(op, err)
	}
	return r.check()
}

func clip(s string) string { return source.Clip(s, 80) }
