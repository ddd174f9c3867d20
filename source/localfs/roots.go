package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Roots are the folders that may be read and written, with all that is below
// them. It is safe for concurrent use.
type Roots struct{ roots []root }

// root is one configured folder, kept open: it stays the same folder even if its
// path is given to another one.
type root struct {
	names []string // cleaned absolute paths with slashes that mean this folder
	dir   *os.Root
}

// NewRoots opens the configured folders. Relative ones are taken from the working
// directory. Errors are KindInvalid and name the folder, for the operator.
func NewRoots(dirs []string) (*Roots, error) {
	r := &Roots{}
	for _, dir := range dirs {
		one, err := openRoot(dir)
		if err != nil {
			return nil, errors.Join(source.Errorf(source.KindInvalid, "local roots", "%q: %w", dir, err), r.Close())
		}
		r.roots = append(r.roots, one)
	}
	return r, nil
}

func openRoot(dir string) (root, error) {
	if dir == "" {
		return root{}, fmt.Errorf("the folder's name is empty")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return root{}, err
	}
	opened, err := os.OpenRoot(abs)
	if err != nil {
		return root{}, err
	}
	names := []string{refDir(filepath.ToSlash(abs))}
	// A root may itself be reached through a link (/tmp on some systems); then
	// both ways of naming it are fine.
	if real, err := filepath.EvalSymlinks(abs); err == nil && refDir(filepath.ToSlash(real)) != names[0] {
		names = append(names, refDir(filepath.ToSlash(real)))
	}
	return root{names: names, dir: opened}, nil
}

// refDir is an absolute path, with slashes, as a Ref has it: of file:///C:/data
// that is /C:/data. The whole of a drive has no slash at its end, as no Dir has.
func refDir(abs string) string {
	if len(abs) < 2 || abs[1] != ':' {
		return abs
	}
	return path.Clean("/" + strings.ToUpper(abs[:1]) + abs[1:])
}

// Close closes the roots' descriptors. Stores of these roots fail afterwards.
func (r *Roots) Close() error {
	var errs []error
	for _, one := range r.roots {
		errs = append(errs, one.dir.Close())
	}
	return errors.Join(errs...)
}

// find returns the root that a path lies in and the path below it ("." for the
// root itself); of nested roots, the innermost.
func (r *Roots) find(dir string) (*root, string, error) {
	var found *root
	var rel string
	longest := -1
	for i := range r.roots {
		for _, name := range r.roots[i].names {
			below, ok := strings.CutPrefix(dir, name)
			if name == "/" {
				below, ok = dir, true
			}
			if !ok || below != "" && below[0] != '/' || len(name) <= longest {
				continue
			}
			found, longest = &r.roots[i], len(name)
			if rel = strings.TrimPrefix(below, "/"); rel == "" {
				rel = "."
			}
		}
	}
	if found == nil {
		return nil, "", source.Errorf(source.KindDenied, "open folder", "the folder is not below one of the server's local roots").
			WithHint("local folders are served only below the server's local.roots; a server that a Python client starts takes them from " +
				"HUBFLIGHT_LOCAL_ROOTS, else the home and the working directory")
	}
	return found, rel, nil
}

// Split divides what a local Ref names into the dataset's folder (an absolute
// path) and the tail below it: a file or a glob, or "" if the Ref names the
// folder. A name that does not exist is a folder, unless it ends like a Parquet
// file: folders and files can be written before they are there.
func (r *Roots) Split(ref source.Ref) (folder, tail string, err error) {
	if !ref.IsLocal() {
		return "", "", source.Errorf(source.KindInvalid, "open folder", "%s is not a local folder", ref)
	}
	in, rel, err := r.find(ref.Dir)
	if err != nil {
		return "", "", err
	}
	if rel == "." {
		return ref.Dir, "", nil
	}
	segments := strings.Split(rel, "/")
	base := strings.TrimSuffix(ref.Dir, rel)
	depth, err := folderDepth(in.dir, segments)
	if err != nil {
		return "", "", err
	}
	return path.Join(base, path.Join(segments[:depth]...)), path.Join(segments[depth:]...), nil
}

// folderDepth is how many of the segments name the folder.
func folderDepth(dir *os.Root, segments []string) (int, error) {
	for i := range segments {
		info, err := dir.Stat(path.Join(segments[:i+1]...))
		switch {
		case err == nil && info.IsDir():
			continue
		case err == nil:
			return i, nil // a file ends the folder, whatever follows
		case !errors.Is(err, fs.ErrNotExist):
			return 0, classify("open folder", err)
		}
		// From here on nothing exists. A folder's real name may look like a glob;
		// that was tried first.
		for j := i; j < len(segments); j++ {
			if strings.ContainsAny(segments[j], "*?[{") {
				return j, nil
			}
		}
		switch path.Ext(segments[len(segments)-1]) {
		case ".parquet", ".pq":
			return len(segments) - 1, nil
		}
		return len(segments), nil
	}
	return len(segments), nil
}

// Store makes a Store of the folder that a local Ref names (see Split; the tail
// plays no part). The folder need not exist: reading it then fails with
// KindNotFound.
func (r *Roots) Store(ref source.Ref) (*Store, error) {
	folder, _, err := r.Split(ref)
	if err != nil {
		return nil, err
	}
	in, rel, err := r.find(folder)
	if err != nil {
		return nil, err
	}
	return &Store{in: in.dir, rel: rel, name: source.Ref{Dir: folder}.Name()}, nil
}

// classify turns an error of the file system into one of ours, without the
// machine's paths.
func classify(op string, err error) *source.Error {
	e := &source.Error{Op: op, Kind: source.KindUpstream}
	var where *fs.PathError
	cause := err
	if errors.As(err, &where) {
		cause = where.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Msg = source.KindNotFound, "the file or folder does not exist"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Msg = source.KindDenied, "the server has no permission to use it"
	case cause != nil && strings.Contains(cause.Error(), "escapes from parent"):
		// os.Root has no exported error for this.
		e.Kind, e.Msg = source.KindDenied, "the path leads out of the local roots"
	case leadsNowhere(cause):
		e.Kind, e.Msg = source.KindNotFound, "the path leads nowhere: a part of it is no folder, a link to itself, or too long for a name"
	default:
		e.Msg = cause.Error()
	}
	return e
}
