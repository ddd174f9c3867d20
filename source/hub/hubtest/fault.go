package hubtest

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is one misbehaviour. The zero value of a matching field matches
// everything; of the actions the first that is set is done, in the order Stall,
// Reset, CutAfter, Status. Without any, the connection is reset.
type Fault struct {
	// Origin is "hub" or "cdn".
	Origin string
	// Method of the request.
	Method string
	// Path is a part of the escaped path: "/commit/", "/resolve/".
	Path string
	// Nth is which matching request fails, from 1; 0 is all of them.
	Nth int
	// After lets the request take effect before the answer is lost.
	After bool

	// Stall holds the request that long, or until the client goes, and then
	// breaks the connection.
	Stall time.Duration
	// Reset breaks the connection without an answer.
	Reset bool
	// CutAfter sends the true answer's head and that many bytes of its body,
	// and then breaks the connection.
	CutAfter int64
	// Status answers with that status, Header and Body.
	Status int
	Header http.Header
	Body   string
}

// Armed is a Fault at work.
type Armed struct {
	fault Fault
	mu    sync.Mutex
	seen  int
	hits  int
	off   bool
}

// Hits is how often the fault struck.
func (a *Armed) Hits() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hits
}

// Disarm ends the fault.
func (a *Armed) Disarm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.off = true
}

// strikes reports whether the fault is for this request. It counts: only the
// list calls it, once per request.
func (a *Armed) strikes(origin string, r *http.Request) bool {
	f := a.fault
	if f.Origin != "" && f.Origin != origin || f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.EscapedPath(), f.Path) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen++; a.off || f.Nth > 0 && a.seen != f.Nth {
		return false
	}
	a.hits++
	return true
}

type faultList struct {
	mu  sync.Mutex
	all []*Armed
}

func (l *faultList) match(origin string, r *http.Request) *Armed {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first *Armed
	for _, a := range l.all {
		// Every fault counts every request, so that one's nth does not depend on
		// another's; the oldest one acts.
		if a.strikes(origin, r) && first == nil {
			first = a
		}
	}
	return first
}

// Fault makes requests fail from now on.
func (h *Hub) Fault(f Fault) *Armed {
	a := &Armed{fault: f}
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.all = append(h.faults.all, a)
	return a
}

// serve misbehaves.
func (a *Armed) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	f := a.fault
	if f.CutAfter > 0 && f.Stall == 0 && !f.Reset {
		next.ServeHTTP(&cutWriter{ResponseWriter: w, left: f.CutAfter}, r)
		breakConnection(w)
	}
	if f.After {
		next.ServeHTTP(&lostWriter{head: http.Header{}}, r)
	}
	switch {
	case f.Stall > 0:
		timer := time.NewTimer(f.Stall)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		breakConnection(w)
	case f.Reset || f.Status == 0:
		breakConnection(w)
	}
	for k, v := range f.Header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(f.Body)))
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body)) // the client may have gone: that is its affair
}

// breakConnection ends the connection with a reset where it can, so that the
// client sees an error and not a short answer. It does not return.
func breakConnection(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	// What a cut answer has sent must arrive first. Where nothing was written, a
	// flush would send a 200 of its own.
	if c, ok := w.(*counted); ok && c.status != 0 {
		_ = control.Flush()
	}
	if conn, _, err := control.Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// lostWriter swallows an answer.
type lostWriter struct{ head http.Header }

func (l *lostWriter) Header() http.Header         { return l.head }
func (l *lostWriter) Write(p []byte) (int, error) { return len(p), nil }
func (l *lostWriter) WriteHeader(int)             {}

// cutWriter lets part of a body through.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	n, err := c.ResponseWriter.Write(p[:c.left])
	c.left = 0
	if err == nil {
		breakConnection(c.ResponseWriter)
	}
	return n, err
}
