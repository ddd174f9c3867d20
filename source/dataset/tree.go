package dataset

import (
	"context"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	maxTreeFiles = 1_000_000 // entries of one listing; about 300 bytes each
	// listingTTL is how long a listing proves what its caller may see.
	listingTTL       = time.Minute
	maxListingBytes  = 64 << 20 // all kept listings together
	bytesPerTreeFile = 300      // a File and its strings, roughly
	readmeName       = "README.md"
	huggingfaceYAML  = ".huggingface.yaml"
)

// tree lists a snapshot and reads the two files that describe it. A listing is
// kept for a minute for the token that made it: schema and plan of one query
// follow each other, and the files of a commit never change.
func (p *Planner) tree(ctx context.Context, store source.Store, token source.HubToken, at source.Snapshot) (Tree, error) {
	key := listingKey{token: token, name: at.Name, commit: at.Commit}
	if t, ok := p.listings.get(key); ok {
		return t, nil
	}
	var t Tree
	for f, err := range store.Files(ctx, at, "") {
		if err != nil {
			return Tree{}, err
		}
		if len(t.Files) == maxTreeFiles {
			return Tree{}, source.Errorf(source.KindLimit, "list", "the dataset has more than %d files", maxTreeFiles)
		}
		t.Files = append(t.Files, f)
	}
	for _, f := range t.Files {
		var err error
		switch f.Path {
		case readmeName:
			t.Readme, err = readWhole(ctx, store, f)
		case huggingfaceYAML:
			t.HuggingfaceYAML, err = readWhole(ctx, store, f)
		}
		if err != nil {
			return Tree{}, err
		}
	}
	p.listings.put(key, t)
	return t, nil
}

// readWhole reads a small file; the result is not nil even if it is empty.
func readWhole(ctx context.Context, store source.Store, f source.File) (_ []byte, err error) {
	if f.Size > maxCardBytes {
		return nil, source.Errorf(source.KindLimit, "dataset card", "%d bytes; at most %d are read", f.Size, maxCardBytes).WithFile("", f.Path)
	}
	r, err := store.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := r.Close(); err == nil {
			err = closing
		}
	}()
	text := make([]byte, r.Size())
	if len(text) > maxCardBytes {
		return nil, source.Errorf(source.KindLimit, "dataset card", "%d bytes; at most %d are read", len(text), maxCardBytes).WithFile("", f.Path)
	}
	if len(text) == 0 {
		return text, nil
	}
	return text, r.ReadAt(ctx, text, 0)
}

type listingKey struct {
	token        source.HubToken
	name, commit string
}

type listing struct {
	tree    Tree
	byPath  map[string]string // path → identity
	expires time.Time
	bytes   int64
}

// listingCache keeps listings for listingTTL, within a bound. What does not fit
// is not kept.
type listingCache struct {
	mu    sync.Mutex
	items map[listingKey]*listing
	bytes int64
	now   func() time.Time
}

func newListingCache() *listingCache {
	return &listingCache{items: make(map[listingKey]*listing), now: time.Now}
}

func (c *listingCache) get(k listingKey) (Tree, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	l, ok := c.items[k]
	if !ok {
		return Tree{}, false
	}
	return l.tree, true
}

func (c *listingCache) put(k listingKey, t Tree) {
	l := &listing{tree: t, byPath: make(map[string]string, len(t.Files)), bytes: int64(len(t.Files))*bytesPerTreeFile + int64(len(t.Readme)+len(t.HuggingfaceYAML))}
	for _, f := range t.Files {
		l.byPath[f.Path] = f.Identity()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	if old, ok := c.items[k]; ok {
		c.bytes -= old.bytes
		delete(c.items, k)
	}
	if c.bytes+l.bytes > maxListingBytes {
		return
	}
	l.expires = c.now().Add(listingTTL)
	c.items[k] = l
	c.bytes += l.bytes
}

// confirms reports whether a listing made with this token within the last minute
// names exactly this content at this path.
func (c *listingCache) confirms(token source.HubToken, f source.File) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	l, ok := c.items[listingKey{token: token, name: f.At.Name, commit: f.At.Commit}]
	if !ok {
		return false
	}
	identity, ok := l.byPath[f.Path]
	return ok && identity != "" && identity == f.Identity()
}

// expire drops what is too old; the map is small (one entry per dataset and
// caller of the last minute).
func (c *listingCache) expire() {
	now := c.now()
	for k, l := range c.items {
		if !now.Before(l.expires) {
			c.bytes -= l.bytes
			delete(c.items, k)
		}
	}
}
