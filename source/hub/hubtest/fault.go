package hubtest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is one rule of a Script: which requests it is for, which of those, and
// what is done to them. The zero value of a matching field matches everything.
//
// What is done is the first that is set of Do, Stall, Reset, CutAfter and
// Status. Without any, the connection is reset; a Fault with nothing but a Delay
// or Meanwhile only makes the true answer late.
type Fault struct {
	// Origin is "hub", "cdn" or "viewer".
	Origin string
	// Method of the request.
	Method string
	// Path is a part of the escaped path: "/commit/", "/resolve/".
	Path string

	// Nth is which matching request fails, from 1; 0 is all of them.
	Nth int
	// Share, with Nth 0, is how many of the matching requests fail, between 0
	// and 1; 0 is all of them. Seed decides which.
	Share float64
	Seed  uint64

	// Delay is waited before anything else.
	Delay time.Duration
	// Meanwhile is called while the request is held: before it takes effect, or with
	// After once it has. What it does happens at that place of the client's run, and
	// at no other. Scripts have no word for it; with Do there is no After.
	Meanwhile func()
	// After lets the request take effect before the answer is lost.
	After bool
	// Do is a misbehaviour by name, and N its number where it has one.
	Do Misbehaviour
	N  int64
	// Stall holds the request that long, or until the client goes, and then
	// breaks the connection. With CutAfter it comes after those bytes.
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

// FailOn fails the i-th request of a run, from 1, once: its connection is reset
// before the request takes effect. Set other fields for another failure, After
// for one after the effect. The loop
//
//	for i := 1; ; i++ {
//		armed := hub.Fault(hubtest.FailOn(i))
//		err := scenario(hub)
//		armed.Disarm()
//		// … what must hold whatever failed …
//		if armed.Hits() == 0 {
//			break // there was no i-th request: every one had its turn
//		}
//	}
//
// gives every request its turn.
func FailOn(i int) Fault { return Fault{Nth: i, Reset: true} }

// Armed is a Fault at work.
type Armed struct {
	fault  Fault
	mu     sync.Mutex
	chance *rand.Rand
	seen   int
	hits   int
	off    bool
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

// String is the fault as a script's line.
func (a *Armed) String() string { return a.fault.String() }

// strikes reports whether the fault is for this request. It counts: only the
// list calls it, once per request.
func (a *Armed) strikes(origin string, r *http.Request) bool {
	f := a.fault
	if f.Origin != "" && f.Origin != origin || f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.EscapedPath(), f.Path) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen++
	switch {
	case a.off || f.Nth > 0 && a.seen != f.Nth:
		return false
	case f.Nth == 0 && f.Share > 0 && a.chance.Float64() >= f.Share:
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
	a := &Armed{fault: f, chance: rand.New(rand.NewPCG(f.Seed, 0))}
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.all = append(h.faults.all, a)
	return a
}

// serve misbehaves. next is the true answer.
func (a *Armed) serve(h *Hub, w http.ResponseWriter, r *http.Request, next http.Handler) {
	f := a.fault
	pause(r.Context(), f.Delay)
	if f.Meanwhile != nil && !f.After {
		f.Meanwhile()
	}
	switch {
	case f.Do != 0:
		f.misbehave(h, w, r, next)
		return
	case f.CutAfter > 0 && !f.Reset:
		next.ServeHTTP(&edited{ResponseWriter: w, most: f.CutAfter, full: func() {
			stall(w, r, f.Stall)
			breakConnection(w)
		}}, r)
		breakConnection(w) // the answer was shorter than the cut
	case (f.Delay > 0 || f.Meanwhile != nil) && !f.After && f.Stall == 0 && !f.Reset && f.Status == 0:
		next.ServeHTTP(w, r)
		return
	}
	if f.After {
		next.ServeHTTP(&lostWriter{head: http.Header{}}, r)
		if f.Meanwhile != nil {
			f.Meanwhile()
		}
	}
	if f.Stall > 0 || f.Reset || f.Status == 0 {
		stall(w, r, f.Stall)
		breakConnection(w)
	}
	answer(w, f.Status, f.Header, f.Body)
}

// pause waits, but not for a client that has gone.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stall keeps the client waiting with what it has got so far. What it sends is
// taken: a server learns that a client has gone only once it has read its body.
func stall(w http.ResponseWriter, r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	flushWritten(w)
	_, _ = io.Copy(io.Discard, r.Body)
	pause(r.Context(), d)
}

// breakConnection ends the connection with a reset where it can, so that the
// client sees an error and not a short answer. It does not return.
func breakConnection(w http.ResponseWriter) {
	flushWritten(w)
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// endConnection ends it as a server does that takes the answer for complete.
func endConnection(w http.ResponseWriter) {
	flushWritten(w)
	panic(http.ErrAbortHandler)
}

// flushWritten sends what a cut answer has written. Where nothing was written, a
// flush would send a 200 of its own.
func flushWritten(w http.ResponseWriter) {
	if c, ok := w.(*counted); ok && c.status != 0 {
		_ = http.NewResponseController(w).Flush()
	}
}

// lostWriter swallows an answer.
type lostWriter struct{ head http.Header }

func (l *lostWriter) Header() http.Header         { return l.head }
func (l *lostWriter) Write(p []byte) (int, error) { return len(p), nil }
func (l *lostWriter) WriteHeader(int)             {}
