package hubtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
)

// call is one request on its way through a handler.
type call struct {
	h    *Hub
	w    http.ResponseWriter
	r    *http.Request
	who  caller
	id   string   // repository id as the request spells it
	rest []string // unescaped path segments after the route's verb
}

// route handles one kind of request. What it returns is written by fail.
type route func(c *call) error

// Handler returns the Hub's own origin: API, resolve and LFS routes.
func (h *Hub) Handler() http.Handler {
	hub := http.StripPrefix(h.options.PathPrefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.isViewer(r) {
			h.serveViewer(w, r)
			return
		}
		c := &call{h: h, w: w, r: r}
		w.Header().Set("X-Request-Id", requestID(r))
		err := c.limitRate()
		if err == nil {
			err = c.serve()
		}
		if err != nil {
			c.fail(err)
		}
	}))
	return h.wrap(originHub, hub)
}

func (c *call) serve() error {
	var err error
	if c.who, err = c.h.authenticate(c.r); err != nil {
		return err
	}
	// Segments are split before they are unescaped: a%2Fb is one segment, and
	// a router that cleans paths would make two of it.
	raw := strings.Split(strings.TrimPrefix(c.r.URL.EscapedPath(), "/"), "/")
	segs := make([]string, len(raw))
	for i, s := range raw {
		if segs[i], err = url.PathUnescape(s); err != nil {
			return refuse(http.StatusBadRequest, "", "Bad escape in the path")
		}
	}
	run, err := c.find(segs)
	if err != nil {
		return err
	}
	return run(c)
}

// find chooses the route of a path.
func (c *call) find(segs []string) (route, error) {
	switch {
	case len(segs) >= 2 && segs[0] == "api":
		return c.findAPI(segs[1:])
	case len(segs) >= 2 && segs[0] == "datasets":
		return c.findRepo(segs[1:], webRoutes)
	}
	return nil, refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
}

func (c *call) findAPI(segs []string) (route, error) {
	if segs[0] == "datasets" && len(segs) > 1 {
		return c.findRepo(segs[1:], apiRoutes)
	}
	if segs[0] == "resolve-cache" && len(segs) > 2 && segs[1] == "datasets" {
		return c.findCached(segs[2:])
	}
	run, ok := globalRoutes[c.r.Method+" "+strings.Join(segs, "/")]
	if !ok {
		return nil, refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
	return run, nil
}

// findRepo divides "ns/name/verb/…" or "name/verb/…". Ids have one segment or
// two; the longer reading is tried first, because it is the usual one.
func (c *call) findRepo(segs []string, routes map[string]route) (route, error) {
	for _, n := range []int{2, 1} {
		if len(segs) < n {
			continue
		}
		id, verb, rest := strings.Join(segs[:n], "/"), "", segs[n:]
		if strings.HasSuffix(id, ".git") { // …name.git/info/lfs/objects/batch
			id, rest, verb = strings.TrimSuffix(id, ".git"), nil, strings.Join(rest, "/")
		} else if len(rest) > 0 {
			verb, rest = rest[0], rest[1:]
		}
		run, ok := routes[c.method()+" "+verb]
		if !ok || verb == "" && n == 2 && c.h.find(id) == nil && routes[c.method()+" "+segs[1]] != nil && c.h.find(segs[0]) != nil {
			continue // no such verb, or "name/verb" of an id without a namespace
		}
		c.id, c.rest = id, rest
		return run, nil
	}
	return nil, refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
}

// method is the request's method; HEAD is answered by the GET routes.
func (c *call) method() string {
	if c.r.Method == http.MethodHead {
		return http.MethodGet
	}
	return c.r.Method
}

// takeRevision takes the revision off the rest of the path: one segment, or the
// three of a reserved ref whose slashes were not escaped.
func (c *call) takeRevision() (string, error) {
	if len(c.rest) >= 3 && c.rest[0] == "refs" {
		if rev := strings.Join(c.rest[:3], "/"); reserved.MatchString(rev) {
			c.rest = c.rest[3:]
			return rev, nil
		}
	}
	if len(c.rest) == 0 || c.rest[0] == "" {
		return "", noRevision("")
	}
	rev := c.rest[0]
	c.rest = c.rest[1:]
	return rev, nil
}

// path is what is left of the request's path: escaped slashes and plain ones
// both divide.
func (c *call) path() string { return strings.Join(c.rest, "/") }

// repoAtRevision opens the repository for reading and resolves the revision in
// the path. From then on answers, errors too, carry X-Repo-Commit.
func (c *call) repoAtRevision(need need) (*repo, string, error) {
	r, err := c.open(need)
	if err != nil {
		return nil, "", err
	}
	rev, err := c.takeRevision()
	if err != nil {
		return nil, "", err
	}
	sha, err := r.resolve(rev)
	if err != nil {
		return nil, "", err
	}
	c.w.Header().Set("X-Repo-Commit", sha)
	return r, sha, nil
}

// base is this Hub as the caller sees it.
func (c *call) base() string { return c.h.baseOf(c.r) }

func (h *Hub) baseOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" { // a proxy has taken TLS off
		scheme = "https"
	}
	return scheme + "://" + r.Host + h.options.PathPrefix
}

// publicHub is the host that answers name which nobody rewrote.
const publicHub = "https://huggingface.co"

// href is a URL on this Hub in an answer whose hrefs clients rewrite.
func (c *call) href(url string) string {
	if c.h.options.PublicHrefs {
		return publicHub + strings.TrimPrefix(url, c.base())
	}
	return url
}

// json answers 200.
func (c *call) json(v any) error { return c.reply(http.StatusOK, v) }

func (c *call) reply(status int, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, err = c.w.Write(raw) // a caller that has gone is no error of ours
	}
	if err != nil {
		c.h.options.Logger.Debug("answer not delivered", "error", err)
	}
	return nil
}

// fail writes an error the way the Hub does: code and message in headers, by
// which clients classify it, and the message in the body.
func (c *call) fail(err error) {
	var r *hubError
	var moved *movedError
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &moved):
		if err := c.redirect(http.StatusTemporaryRedirect, moved.to); err != nil {
			c.h.options.Logger.Error("redirect", "error", err)
		}
		return
	case errors.As(err, &r):
	case errors.As(err, &tooBig):
		r = &hubError{http.StatusRequestEntityTooLarge, "", "Payload too large"}
	case errors.Is(err, context.Canceled), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		r = &hubError{http.StatusBadRequest, "", "The request was cut off"}
	default:
		c.h.options.Logger.Error("request failed", "path", c.r.URL.EscapedPath(), "error", source.Redact(err.Error()))
		r = &hubError{http.StatusInternalServerError, "", "Internal Error - We're working hard to fix this as soon as possible!"}
	}
	head := c.w.Header()
	if r.code != "" {
		head.Set("X-Error-Code", r.code)
	}
	head.Set("X-Error-Message", headerText(r.message))
	if err := c.reply(r.status, map[string]string{"error": r.message}); err != nil {
		c.h.options.Logger.Error("error answer", "error", err)
	}
}

// headerText keeps a message from ending its header.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

const (
	maxJSONBody   = 16 << 20
	maxCommitBody = 1 << 30 // the Hub's limit on a commit's regular payload
)

// decode reads a JSON body of at most maxJSONBody bytes.
func (c *call) decode(into any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxJSONBody))
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return refuse(http.StatusBadRequest, "", "Invalid JSON body: %v", err)
	}
	return nil
}

func (c *call) mediaType() string {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// notFound turns a missing file of the store into the Hub's answer.
func notFound(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(http.StatusNotFound, codeEntry, "Entry not found: %s", path)
	}
	return err
}

// timestamp is the Hub's form of a date.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
