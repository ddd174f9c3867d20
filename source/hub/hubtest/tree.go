package hubtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
)

// entry is a file or a directory of a commit.
type entry struct {
	path string
	oid  string // git id of the blob (for LFS: of the pointer) or of the tree
	dir  bool
	blob
}

// blob is what a git blob stands for.
type blob struct {
	size int64  // of the content, never of a pointer
	lfs  string // sha256 of the content if the blob is an LFS pointer, else ""
	// pointerSize is the size of the pointer itself.
	pointerSize int64
}

// snapshot is a commit's tree, flat and in git's walking order: each directory
// in front of what it holds. It never changes.
type snapshot struct {
	commit  string
	entries []entry
	index   map[string]int
}

func (s *snapshot) find(path string) (entry, bool) {
	i, ok := s.index[path]
	if !ok {
		return entry{}, false
	}
	return s.entries[i], true
}

// file finds a file; directories do not count.
func (s *snapshot) file(path string) (entry, bool) {
	e, ok := s.find(path)
	return e, ok && !e.dir
}

// below lists what is in a directory ("" is the root), directly or at any
// depth; ok is false if there is no such directory.
func (s *snapshot) below(dir string, recursive bool) (list []entry, ok bool) {
	from := 0
	if dir != "" {
		i, found := s.index[dir]
		if !found || !s.entries[i].dir {
			return nil, false
		}
		from, dir = i+1, dir+"/"
	}
	for _, e := range s.entries[from:] {
		rest, inside := strings.CutPrefix(e.path, dir)
		if !inside {
			break // walking order: everything inside is in one run
		}
		if recursive || !strings.Contains(rest, "/") {
			list = append(list, e)
		}
	}
	return list, true
}

// treeCache keeps the last few snapshots and what is known of blobs, both of
// which never change.
type treeCache struct {
	mu    sync.Mutex
	snaps []*snapshot // most recently used last
	blobs map[string]blob
}

const (
	maxSnapshots = 8
	maxBlobs     = 1 << 20
	// maxTreeDepth bounds the recursion over what other programs may have
	// written to the folder.
	maxTreeDepth = 128
)

func (c *treeCache) get(commit string) *snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.snaps {
		if s.commit == commit {
			c.snaps = append(append(c.snaps[:i:i], c.snaps[i+1:]...), s)
			return s
		}
	}
	return nil
}

func (c *treeCache) put(s *snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snaps = append(c.snaps, s); len(c.snaps) > maxSnapshots {
		c.snaps = c.snaps[1:]
	}
}

// snapshot reads a commit's tree.
func (r *repo) snapshot(commit string) (*snapshot, error) {
	if s := r.cache.get(commit); s != nil {
		return s, nil
	}
	c, err := r.loadCommit(commit)
	if err != nil {
		return nil, err
	}
	s := &snapshot{commit: commit, index: map[string]int{}}
	if err := r.walk(s, c.Tree, "", 0); err != nil {
		return nil, err
	}
	r.cache.put(s)
	return s, nil
}

func (r *repo) walk(s *snapshot, tree, prefix string, depth int) error {
	if depth > maxTreeDepth {
		return fmt.Errorf("tree %s is more than %d levels deep", tree, maxTreeDepth)
	}
	raw, err := r.objects.read(kindTree, tree)
	if err != nil {
		return err
	}
	for len(raw) > 0 {
		// "<mode> <name>\0<20 bytes>"
		space, zero := bytes.IndexByte(raw, ' '), bytes.IndexByte(raw, 0)
		if space < 0 || zero < space || len(raw) < zero+21 {
			return fmt.Errorf("tree %s is damaged", tree)
		}
		e := entry{
			path: prefix + string(raw[space+1:zero]),
			oid:  hex.EncodeToString(raw[zero+1 : zero+21]),
			dir:  string(raw[:space]) == modeTree,
		}
		raw = raw[zero+21:]
		if !e.dir {
			if e.blob, err = r.blob(e.oid); err != nil {
				return err
			}
		}
		s.index[e.path] = len(s.entries)
		s.entries = append(s.entries, e)
		if e.dir {
			if err := r.walk(s, e.oid, e.path+"/", depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// blob says what a git blob stands for.
func (r *repo) blob(oid string) (blob, error) {
	r.cache.mu.Lock()
	b, ok := r.cache.blobs[oid]
	r.cache.mu.Unlock()
	if ok {
		return b, nil
	}
	kind, size, body, err := r.objects.open(oid)
	if err != nil {
		return blob{}, err
	}
	defer body.Close()
	if kind != kindBlob {
		return blob{}, fmt.Errorf("object %s is a %s, not a %s", oid, kind, kindBlob)
	}
	b = blob{size: size}
	if size <= maxPointer {
		raw, err := io.ReadAll(io.LimitReader(body, maxPointer))
		if err != nil {
			return blob{}, err
		}
		if lfs, real, ok := parsePointer(raw); ok {
			b = blob{size: real, lfs: lfs, pointerSize: size}
		}
	}
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if r.cache.blobs == nil || len(r.cache.blobs) >= maxBlobs {
		r.cache.blobs = map[string]blob{}
	}
	r.cache.blobs[oid] = b
	return b, nil
}

const (
	modeFile = "100644"
	modeTree = "40000"
)

// writeTree stores the trees of a set of files (path → blob id) and returns
// the root's id. No path is a directory of another; the caller has checked.
func (r *repo) writeTree(files map[string]string) (string, error) {
	paths := make([]string, 0, len(files))
	for p := range files {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return r.writeLevel(paths, files, "")
}

func (r *repo) writeLevel(paths []string, files map[string]string, prefix string) (string, error) {
	type item struct{ mode, name, oid string }
	var items []item
	for i := 0; i < len(paths); {
		name, rest, isDir := strings.Cut(paths[i][len(prefix):], "/")
		if !isDir || rest == "" {
			items = append(items, item{modeFile, name, files[paths[i]]})
			i++
			continue
		}
		// Sorted paths keep a directory's files together.
		from, inside := i, prefix+name+"/"
		for i < len(paths) && strings.HasPrefix(paths[i], inside) {
			i++
		}
		oid, err := r.writeLevel(paths[from:i], files, inside)
		if err != nil {
			return "", err
		}
		items = append(items, item{modeTree, name, oid})
	}
	// Git orders a tree as if directory names ended in a slash.
	key := func(it item) string {
		if it.mode == modeTree {
			return it.name + "/"
		}
		return it.name
	}
	sort.Slice(items, func(i, j int) bool { return key(items[i]) < key(items[j]) })
	var b bytes.Buffer
	for _, it := range items {
		raw, err := hex.DecodeString(it.oid)
		if err != nil {
			return "", err
		}
		b.WriteString(it.mode + " " + it.name + "\x00")
		b.Write(raw)
	}
	return r.objects.write(kindTree, b.Bytes())
}
