package hubtest

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Hub keeps the repositories of a folder. It is safe for concurrent use, and
// several processes may have one folder open.
type Hub struct {
	dir     string
	options Options
	secret  []byte // signs storage URLs; a new one per process
	log     requestLog
	faults  faultList
	meter   meter
	// signed counts the URLs signed, and expired the last of them that is no
	// longer accepted (ExpireSignatures).
	signed, expired atomic.Int64

	mu    sync.Mutex
	repos map[string]*repo // by lower-case id
	cdn   string           // storage origin as Serve announced it
	self  string           // the Hub itself, likewise
}

// Open opens the Hub in dir, which is created if it is missing.
func Open(dir string, o Options) (*Hub, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, exported("open hub", err)
	}
	for _, sub := range []string{"datasets", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, exported("open hub", err)
		}
	}
	if err := sweep(filepath.Join(dir, "tmp"), time.Now().Add(-litterAge)); err != nil {
		return nil, exported("open hub", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return &Hub{dir: dir, options: o.withDefaults(), secret: secret, repos: map[string]*repo{}}, nil
}

// litterAge is how old a temporary file must be to be nobody's: other processes
// may be writing theirs, but not for a day.
const litterAge = 24 * time.Hour

// sweep removes what crashes have left in the folder of temporary files.
func sweep(tmp string, before time.Time) error {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().After(before) {
			continue // gone already, or in use
		}
		if err := os.RemoveAll(filepath.Join(tmp, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Create makes a repository with its first commit. KindExists if there is one
// of that name, in any case.
func (h *Hub) Create(id string, s Settings) error {
	_, err := h.create(id, localAuthor, s)
	return exported("create repository", err)
}

// Settings returns what is not in git.
func (h *Hub) Settings(id string) (Settings, error) {
	r, err := h.known(id)
	if err != nil {
		return Settings{}, exported("settings", err)
	}
	s, err := r.settings()
	return s, exported("settings", err)
}

// Configure changes what is not in git: private, gated, disabled. The creation
// time stays.
func (h *Hub) Configure(id string, s Settings) error {
	r, err := h.known(id)
	if err == nil {
		err = s.Validate()
	}
	if err != nil {
		return exported("configure repository", err)
	}
	unlock, err := r.lock()
	if err != nil {
		return exported("configure repository", err)
	}
	defer unlock()
	old, err := r.settings()
	if err != nil {
		return exported("configure repository", err)
	}
	s.CreatedAt = old.CreatedAt
	return exported("configure repository", r.saveSettings(s))
}

func (h *Hub) known(id string) (*repo, error) {
	if r := h.find(id); r != nil {
		return r, nil
	}
	return nil, refuse(http.StatusNotFound, codeRepo, "Repository not found: %s", id)
}

// localAuthor makes the commits that do not come over HTTP.
const localAuthor = "hubflight"

// Change is a commit made from Go, for filling repositories.
type Change struct {
	Summary, Description string
	// Author is the account's name; "" is "hubflight".
	Author string
	// Date of the commit; zero is now.
	Date time.Time
	// Add maps paths to contents. Those that .gitattributes or their size send
	// to LFS are stored as LFS.
	Add map[string][]byte
	// Delete lists files.
	Delete []string
	// Orphan starts the ref anew, without history or earlier files, as every
	// conversion to Parquet does. It is a force-push.
	Orphan bool
}

// Commit makes a commit on a branch, on refs/pr/N or on refs/convert/NAME and
// returns its sha. A repository or a ref that does not exist is created; a new
// branch starts from main, a conversion from nothing.
func (h *Hub) Commit(id, revision string, c Change) (string, error) {
	sha, err := h.commitLocal(id, revision, c)
	return sha, exported("commit", err)
}

func (h *Hub) commitLocal(id, revision string, c Change) (string, error) {
	r, err := h.ensure(id)
	if err != nil {
		return "", err
	}
	in, err := h.localChange(r, revision, c.Summary)
	if err != nil {
		return "", err
	}
	in.description, in.remove, in.orphan = c.Description, c.Delete, c.Orphan
	if c.Author != "" {
		in.author = c.Author
	}
	if !c.Date.IsZero() {
		in.date = c.Date
	}
	attributes, err := r.attributesAt(in.ref, in.base)
	if err != nil {
		return "", err
	}
	if c.Orphan {
		attributes = newAttributes
		in.add[attributesFile] = content{data: []byte(newAttributes)}
	}
	for p, data := range c.Add {
		if !h.goesToLFS(attributes, p, int64(len(data))) {
			in.add[p] = content{data: data}
			continue
		}
		oid, size, err := r.storeLFS(strings.NewReader(string(data)), "")
		if err != nil {
			return "", err
		}
		in.add[p] = content{lfs: oid, size: size}
	}
	return r.commit(in)
}

// ensure finds or makes a repository.
func (h *Hub) ensure(id string) (*repo, error) {
	r, err := h.create(id, localAuthor, Settings{})
	var known *hubError
	if r != nil && errors.As(err, &known) && known.status == http.StatusConflict {
		return r, nil
	}
	return r, err
}

// localChange begins a change of a revision that need not exist.
func (h *Hub) localChange(r *repo, revision, summary string) (change, error) {
	if revision == "" {
		revision = mainBranch
	}
	name, err := refName(revision)
	if err != nil {
		return change{}, err
	}
	if summary == "" {
		summary = "Add files"
	}
	c := change{ref: name, author: localAuthor, date: h.options.Now(), summary: summary, add: map[string]content{}}
	if !strings.HasPrefix(name, "refs/convert/") {
		c.base, err = r.target(mainRef)
		return c, err
	}
	if _, err := r.target(name); err != nil { // a conversion starts from nothing
		c.add[attributesFile] = content{data: []byte(newAttributes)}
	}
	return c, nil
}

// attributesAt returns the .gitattributes in force on a ref, or on the commit
// that it would start from.
func (r *repo) attributesAt(name, base string) (string, error) {
	commit, err := r.target(name)
	if err != nil {
		commit = base
	}
	if commit == "" {
		return newAttributes, nil
	}
	return r.textAt(commit, attributesFile)
}

// textAt reads a small text file of a commit; "" if it is not there.
func (r *repo) textAt(commit, path string) (string, error) {
	snap, err := r.snapshot(commit)
	if err != nil {
		return "", err
	}
	e, ok := snap.file(path)
	if !ok || e.size > maxText {
		return "", nil
	}
	file, err := r.openContent(e)
	if err != nil {
		return "", err
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	return string(raw), err
}

// maxText bounds the README, .gitattributes and .gitignore files that are
// looked into.
const maxText = 16 << 20

// goesToLFS decides how a file is stored. Empty files never are LFS: object
// stores refuse empty objects.
func (h *Hub) goesToLFS(attributes, path string, size int64) bool {
	if size == 0 {
		return false
	}
	return size >= h.options.LFSThreshold || lfsByAttributes(attributes, path)
}

// Head returns the commit of a revision.
func (h *Hub) Head(id, revision string) (string, error) {
	r, err := h.known(id)
	if err != nil {
		return "", exported("head", err)
	}
	if revision == "" {
		revision = mainBranch
	}
	sha, err := r.resolve(revision)
	return sha, exported("head", err)
}

// Read returns the content of a file.
func (h *Hub) Read(id, revision, path string) ([]byte, error) {
	sha, err := h.Head(id, revision)
	if err != nil {
		return nil, err
	}
	r, err := h.known(id)
	if err != nil {
		return nil, exported("read", err)
	}
	snap, err := r.snapshot(sha)
	if err != nil {
		return nil, exported("read", err)
	}
	e, ok := snap.file(path)
	if !ok {
		return nil, exported("read", refuse(http.StatusNotFound, codeEntry, "Entry not found: %s", path))
	}
	file, err := r.openContent(e)
	if err != nil {
		return nil, exported("read", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	return raw, exported("read", err)
}

// Paths lists the files of a revision in the order of git's tree.
func (h *Hub) Paths(id, revision string) ([]string, error) {
	sha, err := h.Head(id, revision)
	if err != nil {
		return nil, err
	}
	r, err := h.known(id)
	if err != nil {
		return nil, exported("list", err)
	}
	snap, err := r.snapshot(sha)
	if err != nil {
		return nil, exported("list", err)
	}
	var paths []string
	for _, e := range snap.entries {
		if !e.dir {
			paths = append(paths, e.path)
		}
	}
	return paths, nil
}

// LoseObject forgets an LFS object, as the Hub's storage does some day with what no
// commit refers to. Commits that refer to it are left with a pointer to nothing.
func (h *Hub) LoseObject(id, oid string) error {
	r, err := h.known(id)
	if err != nil {
		return exported("lose object", err)
	}
	if !isHex(oid, 64) {
		return exported("lose object", refuse(http.StatusNotFound, codeEntry, "%q is not the id of an object", oid))
	}
	return exported("lose object", os.Remove(r.lfsPath(oid)))
}

// ExpireSignatures makes every storage URL signed so far answer as expired.
func (h *Hub) ExpireSignatures() { h.expired.Store(h.signed.Load()) }
