package hubtest

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// movedError is the answer for a repository that has another name now: a
// relative redirect of the same request to the new one.
type movedError struct{ to string }

func (m *movedError) Error() string { return "the repository was renamed" }

// movedFile is where the new name of a repository is kept under its old one.
func (h *Hub) movedFile(id string) string {
	return strings.TrimSuffix(h.repoDir(id), ".git") + ".moved"
}

// maxMoves bounds how often a name is followed.
const maxMoves = 10

// movedTo returns the repository that had this id once, or nil.
func (h *Hub) movedTo(id string) *repo {
	for range maxMoves {
		if validID(id) != nil {
			return nil
		}
		path, _, ok := h.locate(id, ".moved")
		if !ok {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		id = strings.TrimSpace(string(raw))
		if r := h.find(id); r != nil {
			return r
		}
	}
	return nil
}

// renamed is this request's path and query with another repository in it.
func (c *call) renamed(id string) string {
	path := c.r.URL.EscapedPath()
	if i := strings.Index(path, "datasets/"); i >= 0 && len(path) >= i+len("datasets/")+len(c.id) {
		i += len("datasets/")
		path = path[:i] + id + path[i+len(c.id):]
	}
	if c.r.URL.RawQuery != "" {
		path += "?" + c.r.URL.RawQuery
	}
	return c.h.options.PathPrefix + path
}

// Move gives a repository another id. The old one leads to it from then on,
// until a new repository takes the name.
func (h *Hub) Move(from, to string) error { return exported("move repository", h.move(from, to)) }

func (h *Hub) move(from, to string) error {
	r, err := h.known(from)
	if err != nil {
		return err
	}
	if validID(to) != nil {
		return refuse(http.StatusBadRequest, "", "Invalid repo name: %s", to)
	}
	if h.find(to) != nil {
		return refuse(http.StatusConflict, "", "A dataset with the name %s exists already", to)
	}
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	final := h.repoDir(to)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	// The sign first: while the repository is there nobody looks at it, and a
	// crash in between loses nothing.
	err = r.files.write(h.movedFile(r.id), func(w io.Writer) error {
		_, err := io.WriteString(w, to+"\n")
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Rename(r.dir, final); errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return refuse(http.StatusConflict, "", "A dataset with the name %s exists already", to)
	} else if err != nil {
		return err
	}
	if err := os.Remove(h.movedFile(to)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.forget(r)
	return r.files.syncDir(filepath.Dir(final))
}

// forget drops what is remembered of a repository's folder.
func (h *Hub) forget(r *repo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, known := range h.repos {
		if known == r {
			delete(h.repos, key)
		}
	}
}

// moveRepo answers POST /api/repos/move.
func moveRepo(c *call) error {
	var in struct {
		From string `json:"fromRepo"`
		To   string `json:"toRepo"`
		Type string `json:"type"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Type != "dataset" {
		return refuse(http.StatusBadRequest, "", "Only repositories of type dataset are kept here")
	}
	c.id = in.From
	if c.h.find(in.From) == nil {
		return c.invisible()
	}
	if _, err := c.open(write); err != nil {
		return err
	}
	if err := c.h.move(in.From, in.To); err != nil {
		return err
	}
	return c.json(map[string]any{})
}

// superSquash answers POST …/super-squash/{branch}: the branch's files stay, and
// its history becomes one commit.
func superSquash(c *call) error {
	r, err := c.open(write)
	if err != nil {
		return err
	}
	branch := c.path()
	name, err := refName(branch)
	if err != nil {
		return err
	}
	var in struct {
		Message string `json:"message"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Message == "" {
		in.Message = "Super-squash branch '" + branch + "' using huggingface_hub"
	}
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	head, err := r.target(name)
	if err != nil {
		if _, err := r.target("refs/tags/" + branch); err == nil {
			return refuse(http.StatusBadRequest, "", "Invalid reference for a branch: %s is a tag", branch)
		}
		return noRevision(branch)
	}
	old, err := r.loadCommit(head)
	if err != nil {
		return err
	}
	summary, description, _ := strings.Cut(in.Message, "\n\n")
	squashed := commitObject{Tree: old.Tree, Author: c.who.name, Date: c.h.options.Now(), Summary: summary, Description: description}
	id, err := r.objects.write(kindCommit, squashed.encode())
	if err == nil {
		err = r.move(name, id)
	}
	if err != nil {
		return err
	}
	return c.json(map[string]any{})
}
