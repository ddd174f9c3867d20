package hubtest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The origins, as Request and Fault name them.
const (
	originHub    = "hub"
	originCDN    = "cdn"
	originViewer = "viewer"
)

// Request is one request that a Hub has seen. It holds no secret: tokens and
// signatures are left out.
type Request struct {
	// Origin is "hub", "cdn" or "viewer".
	Origin string
	Method string
	// Path is escaped, as it was sent.
	Path  string
	Query url.Values
	// Header is without Authorization and Cookie.
	Header http.Header
	// Bearer tells that a bearer token was sent.
	Bearer bool
	// Status is what was answered; 0 while the request runs and if the
	// connection was cut instead.
	Status int
	// Sent is the number of bytes of the answer's body.
	Sent int64
}

// requestLog is the log of a Hub with Options.Record.
type requestLog struct {
	mu  sync.Mutex
	all []*Request
}

// maxRequests bounds the log; the oldest are dropped.
const maxRequests = 100_000

func (l *requestLog) add(origin string, r *http.Request) *Request {
	rec := &Request{
		Origin: origin, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Header: r.Header.Clone(),
		Bearer: strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "bearer"),
	}
	rec.Header.Del("Authorization")
	rec.Header.Del("Cookie")
	rec.Query.Del("X-Amz-Signature")
	rec.Query.Del("X-Amz-Credential")
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= maxRequests {
		l.all = slices.Delete(l.all, 0, maxRequests/2)
	}
	l.all = append(l.all, rec)
	return rec
}

func (l *requestLog) done(rec *Request, status int, sent int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Status, rec.Sent = status, sent
}

// Requests returns the requests so far, oldest first, running ones too. It is
// empty unless Options.Record is set, as New does.
func (h *Hub) Requests() []Request {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	out := make([]Request, len(h.log.all))
	for i, r := range h.log.all {
		out[i] = *r
	}
	return out
}

// ForgetRequests empties the log, for counting from here on.
func (h *Hub) ForgetRequests() {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	h.log.all = nil
}

// wrap puts the log and the faults in front of an origin. The log is outermost,
// so that what a fault swallowed is counted too.
func (h *Hub) wrap(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, began := &counted{ResponseWriter: w}, time.Now()
		if h.options.Record {
			rec := h.log.add(origin, r)
			defer func() { h.log.done(rec, out.status, out.sent) }()
		}
		defer func() {
			h.options.Logger.Debug("request", "origin", origin, "method", r.Method, "path", r.URL.EscapedPath(), "status", out.status, "sent", out.sent, "took", time.Since(began))
		}()
		if f := h.faults.match(origin, r); f != nil {
			f.serve(h, out, r, next)
			return
		}
		next.ServeHTTP(out, r)
	})
}

// counted notes the status and the length of an answer.
type counted struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(p)
	c.sent += int64(n)
	return n, err
}

// ReadFrom keeps the server's fast path from file to socket.
func (c *counted) ReadFrom(src io.Reader) (int64, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := io.Copy(c.ResponseWriter, src)
	c.sent += n
	return n, err
}
