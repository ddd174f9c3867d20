package hubtest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Running is a Hub with its two origins listening.
type Running struct {
	*Hub
	// HubURL is the endpoint, without a final slash.
	HubURL string
	// CDNURL is the storage origin.
	CDNURL string
	// ViewerURL is the dataset viewer.
	ViewerURL string

	servers []*http.Server
	done    sync.WaitGroup
	closing sync.Once
}

// Serve listens on two addresses ("127.0.0.1:0" picks a free port), and on
// Options.ViewerAddress if it is set, until Close.
//
// A loopback storage origin is announced as localhost, so that the two origins
// have different host names, as the real ones have; see Options.SameHostCDN.
func (h *Hub) Serve(hubAddr, cdnAddr string) (*Running, error) {
	var listen net.ListenConfig
	hub, err := listen.Listen(context.Background(), "tcp", hubAddr)
	if err != nil {
		return nil, cannotListen(err)
	}
	cdn, err := listen.Listen(context.Background(), "tcp", cdnAddr)
	if err != nil {
		return nil, errors.Join(cannotListen(err), hub.Close())
	}
	run := &Running{Hub: h, HubURL: "http://" + reachable(hub.Addr()) + h.options.PathPrefix, CDNURL: h.announce(hub.Addr(), cdn.Addr())}
	run.ViewerURL = run.HubURL + viewerPath
	var viewer net.Listener
	if h.options.ViewerAddress != "" {
		if viewer, err = listen.Listen(context.Background(), "tcp", h.options.ViewerAddress); err != nil {
			return nil, errors.Join(cannotListen(err), hub.Close(), cdn.Close())
		}
		run.ViewerURL = "http://" + reachable(viewer.Addr())
	}
	h.mu.Lock()
	h.cdn, h.self = run.CDNURL, "http://"+anywhere(hub.Addr())+h.options.PathPrefix
	h.mu.Unlock()
	run.start(hub, h.Handler())
	run.start(cdn, h.CDN())
	if viewer != nil {
		run.start(viewer, h.Viewer())
	}
	return run, nil
}

func cannotListen(err error) error {
	return (&source.Error{Op: "serve hub", Kind: source.KindInvalid, Err: err}).WithHint("choose another address, or port 0 for a free one")
}

// start serves one origin. The server recovers panics of handlers itself.
func (r *Running) start(l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(r.options.Logger.Handler(), slog.LevelDebug),
	}
	r.servers = append(r.servers, server)
	r.done.Add(1)
	go func() {
		defer r.done.Done()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			r.options.Logger.Error("listener ended", "error", err)
		}
	}()
}

// Close stops listening and breaks the connections that are open.
func (r *Running) Close() error {
	var err error
	r.closing.Do(func() {
		for _, s := range r.servers {
			err = errors.Join(err, s.Close())
		}
		r.done.Wait()
	})
	return exported("close hub", err)
}

// Shutdown stops listening and waits for running requests, but not longer than
// ctx; then it closes.
func (r *Running) Shutdown(ctx context.Context) error {
	for _, s := range r.servers {
		if err := s.Shutdown(ctx); err != nil {
			break // Close reports what matters
		}
	}
	return r.Close()
}

// announce is the storage origin's URL. An origin that listens everywhere is
// named "*", and each caller is shown the host that it used for the Hub.
func (h *Hub) announce(hub, cdn net.Addr) string {
	if h.options.CDNURL != "" {
		return strings.TrimSuffix(h.options.CDNURL, "/")
	}
	host, port, err := net.SplitHostPort(cdn.String())
	ip := net.ParseIP(host)
	switch {
	case err != nil:
		return "http://" + cdn.String()
	case ip != nil && ip.IsUnspecified():
		return "http://*:" + port
	case h.options.SameHostCDN || !net.IPv4(127, 0, 0, 1).Equal(ip) || !strings.HasPrefix(hub.String(), "127."):
		return "http://" + cdn.String()
	}
	return "http://localhost:" + port
}

// anywhere names an origin for asReached.
func anywhere(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return "*:" + port
	}
	return a.String()
}

// reachable names an address that a client on this machine can use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return a.String()
}

func (h *Hub) cdnURL() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cdn == "" {
		return strings.TrimSuffix(h.options.CDNURL, "/")
	}
	return h.cdn
}

// TB is the part of testing.TB that New needs; the package is also linked into
// the program, where package testing has no place.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Option configures New.
type Option func(*setup)

type setup struct {
	Options
	fill   []func(*Hub) error
	script Script
}

// With sets all the options at once; Record, NoSync and ShuffledParts stay on, and
// the viewer listens.
func With(o Options) Option { return func(s *setup) { s.Options = o } }

// Tokens lists the valid tokens; without it everybody may do everything.
func Tokens(tokens map[string]Rights) Option { return func(s *setup) { s.Tokens = tokens } }

// Faults arms faults once the Hub is filled and runs, so that the first request
// they count is the first of the test.
func Faults(s ...Fault) Option { return func(o *setup) { o.script = append(o.script, s...) } }

// Converted sets what the dataset viewer says of a repository, which must have
// been made by an option before it.
func Converted(id string, c Conversion) Option {
	return func(s *setup) {
		s.fill = append(s.fill, func(h *Hub) error { return h.SetConversion(id, c) })
	}
}

// PageSize sets how many entries a page of a listing has.
func PageSize(n int) Option { return func(s *setup) { s.PageSize = n } }

// Dataset makes a repository with these files on main.
func Dataset(id string, files map[string][]byte) Option {
	return At(id, mainBranch, files)
}

// At commits files to a revision of a repository, making both if need be.
func At(id, revision string, files map[string][]byte) Option {
	return func(s *setup) {
		s.fill = append(s.fill, func(h *Hub) error {
			_, err := h.Commit(id, revision, Change{Add: files})
			return err
		})
	}
}

// WithSettings makes repositories private, gated or disabled; they must have
// been made by an option before it.
func WithSettings(id string, settings Settings) Option {
	return func(s *setup) {
		s.fill = append(s.fill, func(h *Hub) error { return h.Configure(id, settings) })
	}
}

// New runs a Hub in a temporary folder on loopback ports until the test ends. It
// records requests.
func New(t TB, options ...Option) *Running {
	t.Helper()
	s := &setup{}
	for _, o := range options {
		o(s)
	}
	s.Record, s.NoSync, s.ShuffledParts = true, true, true
	if s.ViewerAddress == "" {
		s.ViewerAddress = "127.0.0.1:0"
	}
	h, err := Open(t.TempDir(), s.Options)
	for _, fill := range s.fill {
		if err == nil {
			err = fill(h)
		}
	}
	if err != nil {
		t.Fatalf("hubtest: %v", err)
	}
	run, err := h.Serve("127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("hubtest: %v", err)
	}
	run.Run(s.script)
	t.Cleanup(func() {
		if err := run.Close(); err != nil {
			t.Fatalf("hubtest: %v", source.AsError("close", err))
		}
	})
	return run
}
