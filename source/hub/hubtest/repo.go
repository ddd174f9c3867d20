package hubtest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filelock"
)

// Settings are the facts of a repository that are not in git.
type Settings struct {
	Private bool `json:"private"`
	// Gated is "", "auto" or "manual".
	Gated    string `json:"gated,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	// CreatedAt is set by the Hub.
	CreatedAt time.Time `json:"created_at"`
}

// Validate refuses unknown gates.
func (s Settings) Validate() error {
	switch s.Gated {
	case "", "auto", "manual":
		return nil
	}
	return source.Errorf(source.KindInvalid, "settings", `gated is %q; it can be "", "auto" or "manual"`, s.Gated)
}

// repo is one repository's folder. Reading needs no lock, because objects never
// change and refs are replaced in one step; whatever moves a ref holds lock.
type repo struct {
	id      string
	dir     string
	files   writer
	objects objects
	mu      sync.Mutex
	cache   treeCache
	// committing is held by a commit that takes time (Options.CommitTime).
	committing sync.Mutex
}

const (
	settingsFile = "hubflight.json"
	lockFile     = "hubflight.lock"
)

// The attributes that a new repository of the Hub has, shortened to what a
// dataset holds: the patterns decide what is stored as LFS.
const newAttributes = `*.7z filter=lfs diff=lfs merge=lfs -text
*.arrow filter=lfs diff=lfs merge=lfs -text
*.avro filter=lfs diff=lfs merge=lfs -text
*.bin filter=lfs diff=lfs merge=lfs -text
*.bz2 filter=lfs diff=lfs merge=lfs -text
*.ftz filter=lfs diff=lfs merge=lfs -text
*.gz filter=lfs diff=lfs merge=lfs -text
*.h5 filter=lfs diff=lfs merge=lfs -text
*.joblib filter=lfs diff=lfs merge=lfs -text
*.lz4 filter=lfs diff=lfs merge=lfs -text
*.mds filter=lfs diff=lfs merge=lfs -text
*.mp3 filter=lfs diff=lfs merge=lfs -text
*.mp4 filter=lfs diff=lfs merge=lfs -text
*.npy filter=lfs diff=lfs merge=lfs -text
*.npz filter=lfs diff=lfs merge=lfs -text
*.parquet filter=lfs diff=lfs merge=lfs -text
*.pickle filter=lfs diff=lfs merge=lfs -text
*.pkl filter=lfs diff=lfs merge=lfs -text
*.png filter=lfs diff=lfs merge=lfs -text
*.jpg filter=lfs diff=lfs merge=lfs -text
*.jpeg filter=lfs diff=lfs merge=lfs -text
*.tar filter=lfs diff=lfs merge=lfs -text
*.tar.* filter=lfs diff=lfs merge=lfs -text
*.tgz filter=lfs diff=lfs merge=lfs -text
*.wav filter=lfs diff=lfs merge=lfs -text
*.webp filter=lfs diff=lfs merge=lfs -text
*.xz filter=lfs diff=lfs merge=lfs -text
*.zip filter=lfs diff=lfs merge=lfs -text
*.zst filter=lfs diff=lfs merge=lfs -text
*tfevents* filter=lfs diff=lfs merge=lfs -text
`

func (h *Hub) repoAt(id, dir string) *repo {
	files := writer{tmp: filepath.Join(h.dir, "tmp"), noSync: h.options.NoSync}
	return &repo{id: id, dir: dir, files: files, objects: objects{files, filepath.Join(dir, "objects")}}
}

// repoDir is where a repository of that exact spelling is kept.
func (h *Hub) repoDir(id string) string {
	return filepath.Join(h.dir, "datasets", filepath.FromSlash(id)+".git")
}

// find returns the repository of that id, in any case, or nil.
func (h *Hub) find(id string) *repo {
	if err := validID(id); err != nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := strings.ToLower(id)
	if r := h.repos[key]; r != nil {
		if _, err := os.Stat(filepath.Join(r.dir, "HEAD")); err == nil {
			return r
		}
		delete(h.repos, key) // another process deleted it
	}
	at, spelled, ok := h.locate(id, ".git")
	if !ok {
		return nil
	}
	r := h.repoAt(spelled, at)
	h.repos[key] = r
	return r
}

// locate finds what is kept of an id, in any case, under a file name's ending.
func (h *Hub) locate(id, ending string) (path, spelled string, ok bool) {
	path = filepath.Join(h.dir, "datasets")
	var names []string
	parts := strings.Split(id+ending, "/")
	for _, part := range parts {
		name, ok := entryFold(path, part)
		if !ok {
			return "", "", false
		}
		path = filepath.Join(path, name)
		names = append(names, name)
	}
	spelled = strings.Join(names, "/")
	return path, spelled[:len(spelled)-len(ending)], true
}

// entryFold finds a directory entry in any case.
func entryFold(dir, name string) (string, bool) {
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		return name, true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return e.Name(), true
		}
	}
	return "", false
}

func validID(id string) error {
	ref, err := source.ParseRef(id)
	if err != nil {
		return err
	}
	if ref.IsLocal() || ref.Repo != id {
		return source.Errorf(source.KindInvalid, "repository name", "%q is not ns/name", id)
	}
	return nil
}

// create makes a repository whose first commit holds .gitattributes. The whole
// folder is built aside and renamed, so that a crash leaves no half of one.
func (h *Hub) create(id, user string, s Settings) (*repo, error) {
	if err := validID(id); err != nil {
		return nil, refuse(http.StatusBadRequest, "", "Invalid repo name: %s", id)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if r := h.find(id); r != nil {
		return r, refuse(http.StatusConflict, "", "You already created this dataset repo")
	}
	tmp := filepath.Join(h.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(tmp, "repo-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // nothing is left of it after the rename
	s.CreatedAt = h.options.Now().UTC().Truncate(time.Millisecond)
	if err := h.repoAt(id, dir).initialize(user, s); err != nil {
		return nil, err
	}
	final := h.repoDir(id)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, final); errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return h.find(id), refuse(http.StatusConflict, "", "You already created this dataset repo")
	} else if err != nil {
		return nil, err
	}
	if err := h.repoAt(id, final).files.syncDir(filepath.Dir(final)); err != nil {
		return nil, err
	}
	// The name is in use again: it does not lead elsewhere any more.
	if err := os.Remove(h.movedFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return h.find(id), nil
}

func (r *repo) initialize(user string, s Settings) error {
	for name, text := range map[string]string{
		"HEAD":   "ref: refs/heads/main\n",
		"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n",
	} {
		if err := r.writeText(name, text); err != nil {
			return err
		}
	}
	for _, name := range []string{"objects", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(r.dir, filepath.FromSlash(name)), 0o755); err != nil {
			return err
		}
	}
	if err := r.saveSettings(s); err != nil {
		return err
	}
	_, err := r.commit(change{
		ref: mainRef, author: user, date: s.CreatedAt, summary: "initial commit",
		add: map[string]content{attributesFile: {data: []byte(newAttributes)}},
	})
	return err
}

// remove takes the repository away in one step; its LFS objects go with it.
func (h *Hub) remove(r *repo) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	dir, err := os.MkdirTemp(filepath.Join(h.dir, "tmp"), "gone-*")
	if err != nil {
		return err
	}
	if err := os.Rename(r.dir, filepath.Join(dir, "repo")); err != nil {
		return err
	}
	h.forget(r)
	return os.RemoveAll(dir)
}

// lock keeps other goroutines and other processes from moving the repository's
// refs; a lock that a crash leaves behind is released by the system.
func (r *repo) lock() (unlock func(), err error) {
	r.mu.Lock()
	file, err := os.OpenFile(filepath.Join(r.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if err := filelock.Lock(file); err != nil {
		file.Close()
		r.mu.Unlock()
		return nil, err
	}
	return func() {
		file.Close() // releases the flock
		r.mu.Unlock()
	}, nil
}

func (r *repo) settings() (Settings, error) {
	var s Settings
	raw, err := os.ReadFile(filepath.Join(r.dir, settingsFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, err
	}
	return s, s.Validate()
}

func (r *repo) saveSettings(s Settings) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return r.writeText(settingsFile, string(raw)+"\n")
}

func (r *repo) writeText(name, text string) error {
	return r.files.write(filepath.Join(r.dir, filepath.FromSlash(name)), func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
