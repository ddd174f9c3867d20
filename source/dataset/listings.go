package dataset

import (
	"slices"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	// listingTTL is how long a listing proves what its caller may see.
	listingTTL = time.Minute
	// listingKept is how long an unused one is kept beyond that, to be used again
	// after its caller's right has been confirmed.
	listingKept      = 30 * time.Minute
	maxListingBytes  = 64 << 20 // all kept listings together
	bytesPerTreeFile = 300      // a File and its strings, roughly
)

type listingKey struct {
	token        source.TokenID
	name, commit string
}

type listing struct {
	tree   Tree
	byPath map[string]string // path → identity
	names  []string          // under which it was asked for, beside its own
	proven time.Time         // when its caller was last let in
	bytes  int64
}

// listingCache keeps listings within a bound of bytes; those that were proven
// longest ago go first. A listing that does not fit at all is not kept.
type listingCache struct {
	mu    sync.Mutex
	items map[listingKey]*listing
	bytes int64
	now   func() time.Time
}

func newListingCache() *listingCache {
	return &listingCache{items: make(map[listingKey]*listing), now: time.Now}
}

// get returns a listing, and whether it is fresh: no older than listingTTL.
func (c *listingCache) get(k listingKey) (t Tree, fresh, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	l, ok := c.items[k]
	if !ok {
		return Tree{}, false, false
	}
	return l.tree, c.isFresh(l), true
}

// isFresh: c.mu is held.
func (c *listingCache) isFresh(l *listing) bool { return c.now().Sub(l.proven) < listingTTL }

// has reports whether any commit's listing is there for the token under this name.
func (c *listingCache) has(token source.HubToken, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	id := token.ID()
	for k, l := range c.items {
		if k.token == id && (k.name == name || slices.Contains(l.names, name)) {
			return true
		}
	}
	return false
}

// alias notes the name under which a dataset was asked for.
func (c *listingCache) alias(token source.HubToken, at source.Snapshot, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.items[listingKey{token: token.ID(), name: at.Name, commit: at.Commit}]
	if ok && name != at.Name && !slices.Contains(l.names, name) {
		l.names = append(l.names, name) // spellings of one dataset: few
	}
}

// renew makes a listing fresh: its caller has been let in again.
func (c *listingCache) renew(k listingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.items[k]; ok {
		l.proven = c.now()
	}
}

func (c *listingCache) put(k listingKey, t Tree) {
	bytes := int64(len(t.Files))*bytesPerTreeFile + int64(len(t.Readme)+len(t.HuggingfaceYAML))
	if bytes > maxListingBytes {
		return
	}
	l := &listing{tree: t, byPath: make(map[string]string, len(t.Files)), bytes: bytes}
	for _, f := range t.Files {
		l.byPath[f.Path] = f.Identity()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	c.remove(k)
	for c.bytes+l.bytes > maxListingBytes {
		c.removeOldest()
	}
	l.proven = c.now()
	c.items[k] = l
	c.bytes += l.bytes
}

// outdated drops the listing of a folder if err says that a file is not the one that
// it names. A folder that was restored with its times has the snapshot that it had,
// but other files: a listing that is used again would name the old ones for ever. A
// commit's files are always the same.
func (c *listingCache) outdated(token source.HubToken, at source.Snapshot, err error) {
	if !at.Local || source.KindOf(err) != source.KindChanged {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(listingKey{token: token.ID(), name: at.Name, commit: at.Commit})
}

// remove: c.mu is held.
func (c *listingCache) remove(k listingKey) {
	if old, ok := c.items[k]; ok {
		c.bytes -= old.bytes
		delete(c.items, k)
	}
}

// removeOldest: c.mu is held.
func (c *listingCache) removeOldest() {
	var oldest listingKey
	var since time.Time
	for k, l := range c.items {
		if since.IsZero() || l.proven.Before(since) {
			oldest, since = k, l.proven
		}
	}
	c.remove(oldest)
}

// confirms reports whether a listing made or proven with this token within the
// last minute names exactly this content at this path.
func (c *listingCache) confirms(token source.HubToken, f source.File) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	l, ok := c.items[listingKey{token: token.ID(), name: f.At.Name, commit: f.At.Commit}]
	if !ok || !c.isFresh(l) {
		return false
	}
	identity, ok := l.byPath[f.Path]
	return ok && identity != "" && identity == f.Identity()
}

// expire drops what has not been used for long. The map is small: an entry per
// dataset and caller of the last half hour.
func (c *listingCache) expire() {
	now := c.now()
	for k, l := range c.items {
		if now.Sub(l.proven) >= listingKept {
			c.remove(k)
		}
	}
}
