package hubtest

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"syscall"

	"github.com/hubflight/hubflight/source"
)

const (
	mainBranch = "main"
	mainRef    = "refs/heads/main"
)

// ref is a name and the commit it stands for.
type ref struct{ name, commit string }

// reserved matches the refs that are named in full in a revision.
var reserved = regexp.MustCompile(`^refs/(pr/[0-9]+|convert/[A-Za-z0-9_.-]+)$`)

// refName returns the ref that a revision names when it is written to: a
// reserved ref, or a branch.
func refName(rev string) (string, error) {
	if source.ValidateRevision(rev) != "" {
		return "", noRevision(rev)
	}
	if reserved.MatchString(rev) {
		return rev, nil
	}
	return "refs/heads/" + strings.TrimPrefix(rev, "refs/heads/"), nil
}

// target reads a ref, following an annotated tag to its commit. A missing ref
// gives fs.ErrNotExist.
func (r *repo) target(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(name)))
	if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTDIR) {
		return "", fs.ErrNotExist // refs/heads/my where my/branch exists, and the reverse
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(raw))
	if tag, err := r.objects.read(kindTag, id); err == nil {
		head, _, _ := strings.Cut(string(tag), "\n")
		return strings.TrimPrefix(head, "object "), nil
	}
	return id, nil
}

// resolve returns the commit of a revision: a full sha, a reserved ref, a
// branch or a tag.
func (r *repo) resolve(rev string) (string, error) {
	if isHex(rev, 40) {
		if kind, _, body, err := r.objects.open(rev); err == nil {
			body.Close()
			if kind == kindCommit {
				return rev, nil
			}
		}
		return "", noRevision(rev)
	}
	if source.ValidateRevision(rev) != "" {
		return "", noRevision(rev)
	}
	if rev == "HEAD" { // what the JavaScript client asks for when nothing is said
		rev = mainBranch
	}
	names := []string{"refs/heads/" + rev, "refs/tags/" + rev}
	if strings.HasPrefix(rev, "refs/") {
		names = []string{rev}
	}
	for _, name := range names {
		id, err := r.target(name)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", noRevision(rev)
}

// move sets a ref to an object. The caller holds the lock and has stored
// everything that the object reaches.
func (r *repo) move(name, id string) error {
	err := r.files.write(filepath.Join(r.dir, filepath.FromSlash(name)), func(w io.Writer) error {
		_, err := io.WriteString(w, id+"\n")
		return err
	})
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EEXIST) {
		return refuse(http.StatusConflict, "", "Reference %s conflicts with an existing one", name)
	}
	return err
}

// drop removes a ref and the folders that it leaves empty. The caller holds
// the lock.
func (r *repo) drop(name string) error {
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := r.files.syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	// refs/heads itself stays; a folder that is not empty ends the climb.
	dir := filepath.Dir(path)
	for strings.Count(strings.TrimPrefix(dir, r.dir), string(filepath.Separator)) > 2 && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
	return nil
}

// refs lists the refs below a prefix ("refs/heads/") in byte order.
func (r *repo) refs(prefix string) ([]ref, error) {
	var all []ref
	root := filepath.Join(r.dir, filepath.FromSlash(prefix))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile, or no such refs yet
		}
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(r.dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(below)
		id, err := r.target(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		all = append(all, ref{name, id})
		return err
	})
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all, err
}

// loadCommit reads a commit.
func (r *repo) loadCommit(id string) (commitObject, error) {
	raw, err := r.objects.read(kindCommit, id)
	if errors.Is(err, fs.ErrNotExist) {
		return commitObject{}, noRevision(id)
	}
	if err != nil {
		return commitObject{}, err
	}
	return decodeCommit(id, raw)
}

// history walks the first parents from a commit, newest first, skipping some
// and returning at most limit.
func (r *repo) history(id string, skip, limit int) ([]commitObject, error) {
	var out []commitObject
	for id != "" && len(out) < limit {
		c, err := r.loadCommit(id)
		if err != nil {
			return nil, err
		}
		if skip--; skip < 0 {
			out = append(out, c)
		}
		id = ""
		if len(c.Parents) > 0 {
			id = c.Parents[0]
		}
	}
	return out, nil
}
