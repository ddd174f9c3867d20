package hub

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	// How long a confirmation stands. The Hub's answer to "may this caller read
	// this file, and what is it" is asked again at least this often.
	confirmedFor = time.Minute
	maxConfirmed = 8192
)

// location is where a file's bytes are, as the Hub told one caller: mostly a
// signed URL on another server.
type location struct {
	url  *url.URL
	etag string // identity: hex sha256 (LFS) or git blob id
	size int64  // −1 if the Hub did not say
}

// confirmationKey is one caller's right to one file. The path is not enough, nor
// is the content's id: a ticket may join a public repository's path with a
// private file's id, and only the Hub knows that they do not belong together.
type confirmationKey struct {
	token              source.TokenID
	repo, commit, path string
}

type confirmation struct {
	where location
	until time.Time
}

// confirmations remembers what the Hub confirmed, for a minute. Of many who want
// to know the same, one asks, and what the Hub refuses him all that waited for it
// are refused: one after the other, each would try as long as he did.
type confirmations struct {
	mu     sync.Mutex
	held   map[confirmationKey]confirmation
	asking map[confirmationKey]*question
}

// question is one that is under way.
type question struct {
	answered chan struct{} // closed when whoever asks is done
	refused  *source.Error // what he was told; nil if others have to ask for themselves
}

func newConfirmations() *confirmations {
	return &confirmations{held: map[confirmationKey]confirmation{}, asking: map[confirmationKey]*question{}}
}

// ask waits until nobody else asks about k; done must be called, with what the Hub
// refused.
func (c *confirmations) ask(ctx context.Context, k confirmationKey) (done func(refused *source.Error), err error) {
	for {
		c.mu.Lock()
		other := c.asking[k]
		if other == nil {
			mine := &question{answered: make(chan struct{})}
			c.asking[k] = mine
			c.mu.Unlock()
			return func(refused *source.Error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.asking, k)
				mine.refused = refused
				close(mine.answered)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other.answered:
			if other.refused != nil {
				told := *other.refused
				return nil, &told
			}
		case <-ctx.Done():
			return nil, source.AsError("open file", ctx.Err())
		}
	}
}

func (c *confirmations) get(k confirmationKey) (location, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.held[k]
	if !ok || time.Now().After(held.until) {
		return location{}, false
	}
	return held.where, true
}

func (c *confirmations) put(k confirmationKey, where location) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.held) >= maxConfirmed {
		for old, held := range c.held {
			if now.After(held.until) {
				delete(c.held, old)
			}
		}
		for old := range c.held { // still full: any will do, it costs one request
			if len(c.held) < maxConfirmed {
				break
			}
			delete(c.held, old)
		}
	}
	c.held[k] = confirmation{where: where, until: now.Add(confirmedFor)}
}

func (d *Dataset) confirmationKey(f source.File) confirmationKey {
	return confirmationKey{token: d.token.ID(), repo: d.repo, commit: f.At.Commit, path: f.Path}
}

// locate asks the Hub where f's bytes are, with this caller's token, and checks
// that they are the bytes f names. What was confirmed within the last minute is
// not asked again.
func (d *Dataset) locate(ctx context.Context, f source.File) (location, error) {
	where, _, err := d.locateAnew(ctx, f, nil, false)
	return where, err
}

// locateAnew is locate for whoever was refused at a place: another one that was
// confirmed meanwhile will do, unless force is set. asked tells that the Hub was
// asked just now.
func (d *Dataset) locateAnew(ctx context.Context, f source.File, refused *url.URL, force bool) (where location, asked bool, err error) {
	key := d.confirmationKey(f)
	done, err := d.client.confirmed.ask(ctx, key)
	if err != nil {
		return location{}, false, err
	}
	var why *source.Error
	defer func() { done(why) }()
	if where, ok := d.client.confirmed.get(key); ok && !force && where.url != refused {
		return where, false, d.sameFile(ctx, f, where)
	}
	if where, err = d.askLocation(ctx, f, true); err != nil {
		// Who has little time gives up early; others may have more.
		if deadline, ok := ctx.Deadline(); ctx.Err() == nil && (!ok || time.Until(deadline) > d.client.retry.Elapsed) {
			why = source.AsError("open file", err)
		}
		return location{}, true, err
	}
	if err := d.sameFile(ctx, f, where); err != nil {
		return location{}, true, err
	}
	d.client.confirmed.put(key, where)
	return where, true, nil
}

// sameFile compares what f claims with what the Hub says.
func (d *Dataset) sameFile(ctx context.Context, f source.File, where location) error {
	changed := func(what string) error {
		return source.Errorf(source.KindChanged, "open file", "the file is not the one that was planned: %s", what).
			WithFile(f.At.Short(), f.Path).WithHint("plan again")
	}
	if where.size >= 0 && where.size != f.Size {
		return changed("its size is " + strconv.FormatInt(where.size, 10) + ", not " + strconv.FormatInt(f.Size, 10))
	}
	if strings.EqualFold(where.etag, f.Identity()) {
		return nil
	}
	if f.OID == "" && isHex(where.etag, 64) {
		// Listings may name a large file only by its git blob while resolving names
		// its content. The Hub is asked what the path's git blob is.
		items, err := d.pathsInfo(ctx, f.At.Commit, []string{f.Path})
		if err != nil {
			return err
		}
		if len(items) == 1 && items[0].OID == f.ETag && items[0].entry().size == f.Size {
			return nil
		}
	}
	return changed("its content's id differs")
}

// askLocation resolves a file by HEAD. Redirects within the Hub are followed
// (renamed repositories) until an answer says what the file is; a redirect to
// storage is the answer, and is not asked: signed URLs are signed for GET. Of f
// only the commit and the path are looked at.
func (d *Dataset) askLocation(ctx context.Context, f source.File, patiently bool) (location, error) {
	const op = "open file"
	where := location{size: -1}
	var commit string
	note := func(resp *http.Response, redirected bool) {
		h := resp.Header
		if v := h.Get("X-Repo-Commit"); v != "" {
			commit = v
		}
		if v := trimETag(h.Get("X-Linked-Etag")); v != "" {
			where.etag = v
		} else if v := trimETag(h.Get("ETag")); v != "" && !redirected {
			where.etag = v
		}
		// A redirect's Content-Length is that of the redirect itself, wherever it leads.
		size := h.Get("X-Linked-Size")
		if size == "" && !isRedirect(resp.StatusCode) {
			size = h.Get("Content-Length")
		}
		if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
			where.size = n
		}
	}
	r := request{
		call:   call{token: d.token, repeatable: patiently, impatient: !patiently},
		method: http.MethodHead, url: d.client.endpoint.resolve(d.repo, f.At.Commit, f.Path), header: http.Header{},
	}
	resp, final, err := d.client.follow(ctx, r, func(resp *http.Response, to *url.URL) bool {
		leaves := !d.client.endpoint.isOwn(to)
		note(resp, !leaves)
		where.url = to
		return leaves || commit != "" && where.etag != ""
	})
	if err != nil {
		return location{}, d.brokenFile(ctx, op, f, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 400:
		return location{}, d.refusedFile(op, f, resp)
	case !isRedirect(resp.StatusCode):
		note(resp, false)
		where.url = final
	}
	if commit == "" || where.etag == "" || where.url == nil {
		return location{}, source.Errorf(source.KindUpstream, op, "the answer has no commit or no ETag: the endpoint does not seem to be a Hub").WithFile(f.At.Short(), f.Path)
	}
	if commitID.MatchString(f.At.Commit) && commit != f.At.Commit {
		return location{}, source.Errorf(source.KindChanged, op, "the Hub answers with commit %s", source.Clip(commit, 8)).WithFile(f.At.Short(), f.Path).WithHint("plan again")
	}
	if !d.client.endpoint.isOwn(where.url) {
		d.client.early.open(where.url)
		d.client.storage.Store(&url.URL{Scheme: where.url.Scheme, Host: where.url.Host})
	}
	return where, nil
}

// brokenFile and refusedFile are broken and refused, naming the file.
func (d *Dataset) brokenFile(ctx context.Context, op string, f source.File, err error) *source.Error {
	return d.broken(ctx, op, err).WithFile(f.At.Short(), f.Path)
}

func (d *Dataset) refusedFile(op string, f source.File, resp *http.Response) *source.Error {
	e := d.refused(op, f.At.Commit, f.Path, resp).WithFile(f.At.Short(), f.Path)
	var a *answeredError
	if errors.As(e, &a) && a.code == "RevisionNotFound" {
		// The commit that a plan pinned is gone: history was rewritten.
		e.Kind, e.Msg = source.KindChanged, "the commit that was planned does not exist any more"
		e.Hint = "plan again"
	}
	return e
}

func trimETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/"), `"`)
}
