package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// resolveFile answers GET and HEAD /datasets/{id}/resolve/{rev}/{path} in one of
// the Hub's three shapes: a relative redirect for plain git files, the bytes of
// some small ones, and a redirect to storage for LFS.
func resolveFile(c *call) error {
	r, sha, err := c.repoAtRevision(read)
	if err != nil {
		return err
	}
	e, err := c.fileAt(r, sha)
	if err != nil {
		return err
	}
	head := c.w.Header()
	if e.lfs == "" {
		// Plain git files stay on this origin, where the token may follow.
		if c.direct(e) {
			return c.serveContent(r, e)
		}
		head.Set("X-Linked-ETag", quote(e.oid))
		return c.redirect(http.StatusTemporaryRedirect, c.h.options.PathPrefix+"/api/resolve-cache/datasets/"+r.id+"/"+sha+"/"+escapePath(e.path)+c.cacheQuery(e))
	}
	if c.h.options.XetHeaders {
		hash := xetHash(e.lfs)
		head.Set("X-Xet-Hash", hash)
		head.Set("Link", fmt.Sprintf(`<%s/api/datasets/%s/xet-read-token/%s>; rel="xet-auth", <https://cas-server.invalid/v1/reconstructions/%s>; rel="xet-reconstruction-info"`, c.base(), r.id, sha, hash))
	}
	head.Set("X-Linked-ETag", quote(e.lfs))
	head.Set("X-Linked-Size", fmt.Sprint(e.size))
	head.Set("ETag", quote(e.lfs))
	to := c.h.sign(signing{method: http.MethodGet, base: c.cdnBase(), path: objectPath(r.id, e.lfs), query: url.Values{
		"response-content-disposition": {disposition(e.path)},
	}})
	return c.redirect(http.StatusFound, to)
}

// maxDirect is the size up to which a file may be answered without a redirect.
const maxDirect = 64 << 10

// direct decides whether a plain file's bytes are the answer.
func (c *call) direct(e entry) bool {
	switch c.h.options.PlainFiles {
	case Direct:
		return true
	case Redirected:
		return false
	}
	return e.size <= maxDirect && e.oid[0] == '0' // one in sixteen
}

// cacheQuery is the query of a redirect: the caller's own, or what a cache keys
// by, which half of the files have.
func (c *call) cacheQuery(e entry) string {
	switch {
	case c.r.URL.RawQuery != "":
		return "?" + c.r.URL.RawQuery
	case e.oid[1] < '8':
		return "?" + url.QueryEscape(c.r.URL.EscapedPath()) + "=&etag=" + url.QueryEscape(quote(e.oid))
	}
	return ""
}

// xetHash is a hash of the form that Xet's have; there is nothing under it.
func xetHash(oid string) string {
	sum := sha256.Sum256([]byte("xet " + oid))
	return hex.EncodeToString(sum[:])
}

// redirect has a body of its own, whose length must not be taken for the file's.
func (c *call) redirect(status int, to string) error {
	body := http.StatusText(status) + ". Redirecting to " + to
	head := c.w.Header()
	head.Set("Location", to)
	head.Set("Vary", "Accept")
	head.Set("Content-Type", "text/plain; charset=utf-8")
	head.Set("Content-Length", fmt.Sprint(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		if _, err := c.w.Write([]byte(body)); err != nil {
			c.h.options.Logger.Debug("answer not delivered", "error", err)
		}
	}
	return nil
}

// fileAt finds the file that the rest of the path names.
func (c *call) fileAt(r *repo, sha string) (entry, error) {
	snap, err := r.snapshot(sha)
	if err != nil {
		return entry{}, err
	}
	e, ok := snap.file(c.path())
	if !ok {
		return entry{}, refuse(http.StatusNotFound, codeEntry, "Entry not found")
	}
	return e, nil
}

// findCached divides /api/resolve-cache/datasets/{id}/{sha}/{path}, where
// nothing but the sha's form tells how many segments the id has.
func (c *call) findCached(segs []string) (route, error) {
	for n := 2; n >= 1; n-- {
		if len(segs) > n+1 && isHex(segs[n], 40) {
			c.id, c.rest = strings.Join(segs[:n], "/"), segs[n:]
			if c.method() == http.MethodGet {
				return cachedFile, nil
			}
		}
	}
	return nil, refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
}

// cachedFile serves a plain git file: what a resolve redirects to.
func cachedFile(c *call) error {
	r, sha, err := c.repoAtRevision(read)
	if err != nil {
		return err
	}
	e, err := c.fileAt(r, sha)
	if err != nil {
		return err
	}
	if e.lfs != "" {
		return refuse(http.StatusNotFound, codeEntry, "Entry not found")
	}
	c.w.Header().Set("Content-Disposition", disposition(e.path))
	return c.serveContent(r, e)
}

// rawFile answers /datasets/{id}/raw/{rev}/{path}: the git blob, which for an
// LFS file is its pointer.
func rawFile(c *call) error {
	r, sha, err := c.repoAtRevision(read)
	if err != nil {
		return err
	}
	e, err := c.fileAt(r, sha)
	if err != nil {
		return err
	}
	e.lfs = ""
	return c.serveContent(r, e)
}

func (c *call) serveContent(r *repo, e entry) error {
	file, err := r.openContent(e)
	if err != nil {
		return notFound(err, e.path)
	}
	defer file.Close()
	head := c.w.Header()
	head.Set("ETag", quote(e.oid))
	head.Set("Content-Type", contentType(e.path))
	// Handles HEAD, Range, If-Range and 416; no modification time, so that only
	// the ETag counts.
	http.ServeContent(c.w, c.r, "", time.Time{}, file)
	return nil
}

func quote(etag string) string { return `"` + etag + `"` }

// escapePath escapes each segment and keeps the slashes.
func escapePath(p string) string {
	segs := strings.Split(p, "/")
	for i, s := range segs {
		segs[i] = url.PathEscape(s)
	}
	return strings.Join(segs, "/")
}

func disposition(p string) string {
	return "inline; filename*=UTF-8''" + url.PathEscape(path.Base(p))
}

func contentType(p string) string {
	switch ext := path.Ext(p); ext {
	case ".md", ".txt", ".csv", ".yaml", ".yml", ".gitattributes", ".gitignore":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(ext); t != "" && ext != ".html" {
			return t
		}
		return "application/octet-stream"
	}
}
