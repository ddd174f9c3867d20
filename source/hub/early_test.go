package hub

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

// dialled is a server that counts its connections, a Transport whose connections
// may be opened early, and the address.
func dialled(t *testing.T, secure bool) (*earlyConnections, *http.Transport, *url.URL, *connectionCount) {
	t.Helper()
	count := &connectionCount{}
	together := make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// Everybody is there at once, so that nobody can take another's connection.
		for i := 0; r.URL.Path == "/together" && i < 500 && len(together) < 4; i++ {
			time.Sleep(2 * time.Millisecond)
			if i == 0 {
				together <- struct{}{}
			}
		}
	}))
	server.Config.ConnState = count.note
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }, TLSHandshakeTimeout: time.Second}
	if secure {
		server.StartTLS()
		transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	early := newEarlyConnections(transport, 4)
	t.Cleanup(func() { early.close(); transport.CloseIdleConnections() })
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return early, transport, u, count
}

type connectionCount struct{ opened, closed atomic.Int64 }

func (c *connectionCount) note(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		c.opened.Add(1)
	case http.StateClosed:
		c.closed.Add(1)
	}
}

func get(t *testing.T, rt http.RoundTripper, u *url.URL, path string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String()+path, nil)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestParallelRequestsUseTheConnectionsThatWereOpenedEarly(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			early, transport, u, count := dialled(t, secure)
			early.open(u)
			early.open(u) // once is enough
			eventually(t, "they are not opened", func() bool { return count.opened.Load() == 4 })
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { get(t, transport, u, "/together") })
			}
			all.Wait()
			if n := count.opened.Load(); n != 4 {
				t.Errorf("%d connections for four requests", n)
			}
			get(t, transport, u, "/")
			early.mu.Lock()
			defer early.mu.Unlock()
			if len(early.parked) != 0 || count.opened.Load() != 4 {
				t.Errorf("%d wait, %d were opened", len(early.parked), count.opened.Load())
			}
		})
	}
}

func TestAnEarlyConnectionThatNobodyNeedsIsClosed(t *testing.T) {
	early, _, u, count := dialled(t, false)
	early.kept = 30 * time.Millisecond
	early.open(u)
	eventually(t, "they stay open", func() bool { return count.closed.Load() == 4 })
	early.mu.Lock()
	defer early.mu.Unlock()
	if len(early.parked) != 0 {
		t.Errorf("%d are remembered", len(early.parked))
	}
}

func TestEarlyConnectionsThatFailCostNothing(t *testing.T) {
	early, transport, u, _ := dialled(t, false)
	real := early.tcp
	var failing atomic.Bool
	failing.Store(true)
	early.tcp = func(ctx context.Context, network, address string) (net.Conn, error) {
		if failing.Load() {
			return nil, io.ErrUnexpectedEOF
		}
		return real(ctx, network, address)
	}
	early.open(u)
	early.running.Wait()
	failing.Store(false)
	get(t, transport, u, "/")

	// One that hangs is not waited for longer than its request lives, nor by close.
	early.tcp = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	other := *u
	other.Host = "localhost:" + u.Port()
	early.open(&other)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := early.dial(ctx, "http", "tcp", originOf(&other).address()); err == nil {
		t.Error("a connection from nowhere")
	}
	early.close()
	early.open(u) // after close: nothing
	if len(early.parked) != 0 {
		t.Error("a closed client connects")
	}
}

func TestTheCertificateOfAnEarlyConnectionIsChecked(t *testing.T) {
	early, transport, u, _ := dialled(t, true)
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12} // knows no authority of the test's
	early.open(u)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
		t.Error("a server with a certificate of its own is believed")
	}
}

func TestConnectionsToTheStorageOfEarlierFilesAreOpenedBeforeItIsNamedAgain(t *testing.T) {
	sha, oid := strings.Repeat("5a", 20), strings.Repeat("0d", 32)
	storage := httptest.NewServer(http.NotFoundHandler())
	defer storage.Close()
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Repo-Commit", sha)
		w.Header().Set("X-Linked-Etag", `"`+oid+`"`)
		w.Header().Set("Location", storage.URL+"/object?signature=secret")
		w.WriteHeader(http.StatusFound)
	}))
	defer hub.Close()
	c, err := New(Options{Endpoint: hub.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var toStorage atomic.Int64
	real := c.early.tcp
	c.early.tcp = func(ctx context.Context, network, address string) (net.Conn, error) {
		if "http://"+address == storage.URL {
			toStorage.Add(1)
		}
		return real(ctx, network, address)
	}
	first := c.Dataset("org/first", source.HubToken{})
	first.Prepare()
	c.early.running.Wait()
	if toStorage.Load() != 0 {
		t.Fatal("storage is known before the Hub has named it")
	}
	at := source.Snapshot{Name: "org/first", Revision: "main", Commit: sha}
	opened, err := first.Open(t.Context(), source.File{At: at, Path: "x.parquet", Size: 1, OID: oid})
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Fatal(err)
	}
	c.early.running.Wait()
	before := toStorage.Load()
	c.Dataset("org/second", source.HubToken{}).Prepare()
	c.early.running.Wait()
	if toStorage.Load() != before {
		t.Error("connections are opened that are there already")
	}
	c.early.mu.Lock()
	clear(c.early.opened) // as after a while
	c.early.mu.Unlock()
	c.Dataset("org/second", source.HubToken{}).Prepare()
	c.early.running.Wait()
	if n := toStorage.Load() - before; n != earlyPerServer {
		t.Errorf("%d connections to storage are opened early, want %d", n, earlyPerServer)
	}
	if kept := c.storage.Load().String(); kept != storage.URL {
		t.Errorf("%q is kept of an address", kept)
	}
}
