package dataset

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan"
)

// footerKey names a footer by its content and by who read it: a caller never
// gets a footer that his own token has not fetched, whatever identity a ticket
// claims.
type footerKey struct {
	token    source.TokenID
	scope    string // the folder, for local files, whose identities are not global
	identity string
	size     int64
}

func keyOf(token source.HubToken, f source.File) footerKey {
	k := footerKey{token: token.ID(), identity: f.Identity(), size: f.Size}
	if f.At.Local {
		k.scope = f.At.Name
	}
	return k
}

// footerCache is an LRU by bytes. Footers are immutable and shared.
type footerCache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	order *list.List // of *footerItem, most recent first
	items map[footerKey]*list.Element
}

type footerItem struct {
	key    footerKey
	footer *scan.Footer
	bytes  int64
}

const footerItemOverhead = 512 // key, list element and map entry, roughly

func newFooterCache(maxBytes int64) *footerCache {
	return &footerCache{max: maxBytes, order: list.New(), items: make(map[footerKey]*list.Element)}
}

func (c *footerCache) get(k footerKey) *scan.Footer {
	if k.identity == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*footerItem).footer
}

func (c *footerCache) put(k footerKey, f *scan.Footer) {
	item := &footerItem{key: k, footer: f, bytes: f.MemSize() + footerItemOverhead}
	if k.identity == "" || item.bytes > c.max {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.order.MoveToFront(e)
		return
	}
	c.items[k] = c.order.PushFront(item)
	c.bytes += item.bytes
	for c.bytes > c.max {
		last := c.order.Back()
		old := c.order.Remove(last).(*footerItem)
		delete(c.items, old.key)
		c.bytes -= old.bytes
	}
}

// eachFooter calls use with the footer of each i of which, in parallel, and returns
// the first error. use takes what it needs and forgets the footer: decoded, a large
// one takes a hundred megabytes, and a plan has a thousand. Files must come from a
// listing made with the same token: that is what permits the cache.
func (p *Planner) eachFooter(ctx context.Context, data *pinned, files []chosenFile, which []int, use func(i int, f *scan.Footer)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.parallel)
	for _, i := range which {
		group.Go(func() (err error) {
			defer recovered(&err, "read footer", files[i].Path)
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.withFooter(ctx, data, files[i].File, func(f *scan.Footer) error {
				use(i, f)
				return nil
			})
		})
	}
	return group.Wait()
}

// withFooter calls use with the cached footer, or with one that is read now. The
// room that it takes is given back when use has returned, which waits for nobody.
func (p *Planner) withFooter(ctx context.Context, data *pinned, file source.File, use func(*scan.Footer) error) (err error) {
	key := keyOf(data.token, file)
	if f := p.footers.get(key); f != nil {
		return use(f)
	}
	r, err := p.openRanges(ctx, data.store, data.token, file)
	if err != nil {
		return err
	}
	f, release, err := p.readFooter(ctx, r, file)
	defer release()
	if closing := r.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	p.footers.put(key, f)
	return use(f)
}

// readFooter waits until there is room for what decoding the footer takes; the error
// is KindBusy if there is none in time. release, which is never nil, gives it back.
func (p *Planner) readFooter(ctx context.Context, r source.Reader, file source.File) (_ *scan.Footer, release func(), err error) {
	release = func() {}
	f, err := scan.ReadFooterWhen(ctx, r, file, func(bytes int64) error {
		bytes = min(bytes, p.footerBytes) // the largest one is decoded alone
		waiting, cancel := context.WithTimeout(ctx, p.patience)
		defer cancel()
		if err := p.footerRoom.Acquire(waiting, bytes); err != nil {
			if ctx.Err() == nil {
				return source.Errorf(source.KindBusy, "read footer", "no memory became free within %s", p.patience).
					WithFile(file.At.Short(), file.Path).WithHint("the server is busy; try again, or raise memory.budget")
			}
			return source.AsError("read footer", err)
		}
		release = func() { p.footerRoom.Release(bytes) }
		return nil
	})
	return f, release, err
}

// openRanges opens a file for reading by ranges. What the disk has of it is only
// served after the Store has opened the file for this caller once more, which for
// the Hub means: it confirmed, within the last minute, that the caller may read
// this path and that it holds this content.
func (p *Planner) openRanges(ctx context.Context, store source.Store, token source.HubToken, f source.File) (*rangeio.Reader, error) {
	opened, err := store.Open(ctx, f)
	if err != nil {
		p.listings.outdated(token, f.At, err)
		return nil, err
	}
	o := rangeio.Options{File: f}
	if !f.At.Local {
		o.Scheduler = p.ranges
		o.Confirm = func(ctx context.Context) error {
			again, err := store.Open(ctx, f)
			if err != nil {
				return err
			}
			return again.Close()
		}
	}
	return rangeio.New(opened, o), nil
}

// recovered turns a panic at the root of a goroutine into an error.
func recovered(err *error, op, file string) {
	if r := recover(); r != nil {
		*err = source.Errorf(source.KindInternal, op, "panic: %v", r).WithFile("", file)
	}
}

// sampled returns which of n footers a plan reads: all of them up to max, else
// the first, the last and evenly spaced ones.
func sampled(n, limit int) []int {
	if n <= limit {
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out
	}
	if limit == 1 {
		return []int{0}
	}
	out := make([]int, 0, limit)
	for k := range limit {
		out = append(out, int(int64(k)*int64(n-1)/int64(limit-1)))
	}
	return out
}
