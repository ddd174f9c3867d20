package hub

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	// earlyPerServer is how many connections are opened at once to a server that
	// is about to get several requests: as many as a browser opens.
	earlyPerServer = 6
	// earlyKept is how long one is kept for a first request.
	earlyKept = 10 * time.Second
	// earlyAgain: for so long after connections were opened early, those that were
	// kept after their first request are taken to be enough.
	earlyAgain = 45 * time.Second
	// earlyServers bounds the servers that are remembered.
	earlyServers = 256
)

// earlyConnections opens connections, with their TLS handshakes, before there are
// requests for them. Parallel requests over HTTP/1.1 need a connection each, and
// opening one takes one or two round trips that need not come after the answer
// that makes the requests known.
//
// It stands in front of the Transport's own dialling and is asked whenever the
// Transport has no idle connection. Close ends everything that runs.
type earlyConnections struct {
	base *http.Transport
	tcp  func(ctx context.Context, network, address string) (net.Conn, error)
	most int
	kept time.Duration // how long one waits for its request

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	parked map[string][]*earlyConn // by scheme and address
	opened map[string]time.Time
}

// earlyConn is one connection that is being opened or waits for its request.
type earlyConn struct {
	done  chan struct{} // closed when conn or err is set
	conn  net.Conn
	err   error
	timer *time.Timer // ends the waiting
}

// newEarlyConnections takes over the dialling of base.
func newEarlyConnections(base *http.Transport, most int) *earlyConnections {
	e := &earlyConnections{base: base, tcp: base.DialContext, most: most, kept: earlyKept, parked: map[string][]*earlyConn{}, opened: map[string]time.Time{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return e.dial(ctx, "http", network, address)
	}
	base.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return e.dial(ctx, "https", network, address)
	}
	return e
}

// dial gives a connection that was opened early, or opens one.
func (e *earlyConnections) dial(ctx context.Context, scheme, network, address string) (net.Conn, error) {
	if c := e.take(scheme + " " + address); c != nil {
		select {
		case <-c.done:
			if c.err == nil {
				return c.conn, nil
			}
		case <-ctx.Done():
			e.drop(c)
			return nil, ctx.Err()
		}
	}
	return e.connect(ctx, scheme, network, address)
}

// connect opens a connection and, for https, makes the handshake: HTTP/1.1 only,
// because no other protocol is offered.
func (e *earlyConnections) connect(ctx context.Context, scheme, network, address string) (net.Conn, error) {
	conn, err := e.tcp(ctx, network, address)
	if err != nil || scheme != "https" {
		return conn, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = conn.Close() // unused
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.base.TLSClientConfig != nil {
		config = e.base.TLSClientConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, e.base.TLSHandshakeTimeout)
	defer cancel()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // unused
		return nil, err
	}
	return secure, nil
}

// open begins to connect to u's server, unless that was done a short time ago or
// the way there leads through a proxy. It returns at once.
func (e *earlyConnections) open(u *url.URL) {
	if e.most < 2 {
		return
	}
	if proxy, err := e.base.Proxy(&http.Request{URL: u}); proxy != nil || err != nil {
		return
	}
	o := originOf(u)
	key := o.scheme + " " + o.address()
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if e.closed || now.Sub(e.opened[key]) < earlyAgain {
		return
	}
	for old, at := range e.opened {
		if now.Sub(at) >= earlyAgain || len(e.opened) >= earlyServers {
			delete(e.opened, old)
		}
	}
	e.opened[key] = now
	for range e.most {
		c := &earlyConn{done: make(chan struct{})}
		e.parked[key] = append(e.parked[key], c)
		e.running.Go(func() { e.run(c, key, o) })
	}
}

// run is the goroutine that opens one connection.
func (e *earlyConnections) run(c *earlyConn, key string, o origin) {
	defer close(c.done)
	defer func() {
		if p := recover(); p != nil {
			c.err = source.Errorf(source.KindInternal, "connect", "panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(e.ctx, e.kept)
	defer cancel()
	c.conn, c.err = e.connect(ctx, o.scheme, "tcp", o.address())
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.err != nil {
		e.forget(c, key)
		return
	}
	c.timer = time.AfterFunc(e.kept, func() {
		e.mu.Lock()
		mine := e.forget(c, key)
		e.mu.Unlock()
		if mine {
			_ = c.conn.Close() // nobody needed it
		}
	})
}

// take removes the connection that has waited longest, or nil.
func (e *earlyConnections) take(key string) *earlyConn {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.parked[key]
	if len(all) == 0 {
		return nil
	}
	c := all[0]
	e.forget(c, key)
	if c.timer != nil {
		c.timer.Stop()
	}
	return c
}

// forget removes c from those that wait, and reports whether it was there. e.mu
// is held.
func (e *earlyConnections) forget(c *earlyConn, key string) bool {
	all := e.parked[key]
	for i := range all {
		if all[i] == c {
			e.parked[key] = append(all[:i:i], all[i+1:]...)
			if len(all) == 1 {
				delete(e.parked, key)
			}
			return true
		}
	}
	return false
}

// drop closes a taken connection that its taker cannot wait for.
func (e *earlyConnections) drop(c *earlyConn) {
	closeIt := func() {
		<-c.done // bounded by earlyKept, and by close
		if c.conn != nil {
			_ = c.conn.Close() // unused
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		go closeIt() // what it waits for has been cancelled
		return
	}
	e.running.Go(closeIt)
}

// close ends what is being opened, waits for it and closes what nobody took.
// Whoever dials later, for requests that outlive the Client, still can.
func (e *earlyConnections) close() {
	e.cancel()
	e.mu.Lock()
	e.closed = true
	var left []*earlyConn
	for _, all := range e.parked {
		left = append(left, all...)
	}
	clear(e.parked)
	e.mu.Unlock()
	e.running.Wait()
	for _, c := range left {
		if c.timer != nil {
			c.timer.Stop()
		}
		if c.conn != nil {
			_ = c.conn.Close() // unused
		}
	}
}
