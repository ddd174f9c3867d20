package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func at() source.Snapshot { return source.Snapshot{Name: repo, Revision: "main", Commit: sha} }

func list(t *testing.T, d *hub.Dataset, dir string) ([]source.File, error) {
	t.Helper()
	var files []source.File
	for f, err := range d.Files(t.Context(), at(), dir) {
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

func page(paths ...string) string {
	var items []map[string]any
	for _, p := range paths {
		items = append(items, map[string]any{"type": "file", "path": p, "size": 1, "oid": sha})
	}
	raw, err := json.Marshal(items)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestAListingIsWholeOrFails(t *testing.T) {
	for _, c := range []struct {
		name string
		// link answers the Link header for the n-th page (from 0) of a Hub.
		link func(hubURL string, n int) string
		body func(n int) string
		want []string
		kind source.Kind
	}{
		{name: "pages are joined and sorted, also an empty last one",
			link: func(u string, n int) string {
				if n < 2 {
					return fmt.Sprintf(`<%s/next?recursive=true&cursor=%d>; rel="next"`, u, n)
				}
				return ""
			},
			body: func(n int) string { return []string{page("b", "a/x"), page("a"), "[]"}[n] },
			want: []string{"a", "a/x", "b"}},
		{name: "a next page may name the public hub",
			link: func(_ string, n int) string {
				if n < 1 {
					return `<https://huggingface.co/next?cursor=1>; rel="next"`
				}
				return ""
			},
			body: func(n int) string { return []string{page("a"), page("b")}[n] },
			want: []string{"a", "b"}},
		{name: "a circle of pages", kind: source.KindUpstream,
			link: func(u string, n int) string { return fmt.Sprintf(`<%s/x?cursor=%d>; rel="next"`, u, n%2) },
			body: func(int) string { return "[]" }},
		{name: "a next page elsewhere", kind: source.KindUpstream,
			link: func(string, int) string { return `<http://127.0.0.1:1/x?cursor=1>; rel="next"` },
			body: func(int) string { return page("a") }},
		{name: "a file twice", kind: source.KindCorrupt, body: func(int) string { return page("a", "b", "a") }},
		{name: "a path that leads out", kind: source.KindCorrupt, body: func(int) string { return page("../a") }},
		{name: "an absolute path", kind: source.KindCorrupt, body: func(int) string { return page("/a") }},
		{name: "no path", kind: source.KindCorrupt, body: func(int) string { return page("") }},
		{name: "a negative size", kind: source.KindCorrupt,
			body: func(int) string { return `[{"type":"file","path":"a","size":-1,"oid":"` + sha + `"}]` }},
		{name: "no id", kind: source.KindCorrupt, body: func(int) string { return `[{"type":"file","path":"a","size":1}]` }},
		{name: "a bad LFS id", kind: source.KindCorrupt,
			body: func(int) string {
				return `[{"type":"file","path":"a","size":1,"oid":"` + sha + `","lfs":{"oid":"sha256:x","size":1}}]`
			}},
		{name: "something else than a list", kind: source.KindCorrupt, body: func(int) string { return `{"a":1}` }},
		{name: "no JSON", kind: source.KindUpstream, body: func(int) string { return `<html>` }},
		{name: "nested without end", kind: source.KindUpstream, body: func(int) string { return strings.Repeat("[", 100_000) }},
		{name: "a page without end", kind: source.KindLimit, body: func(int) string { return `["` + strings.Repeat("x", 17<<20) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			var h *witness
			h = newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
				i := int(n.Add(1)) - 1
				if c.link != nil {
					w.Header().Set("Link", c.link(h.URL, i))
				}
				fmt.Fprint(w, c.body(i))
			})
			files, err := list(t, client(t, h.URL).Dataset(repo, source.HubToken{}), "")
			if c.kind != source.KindUnknown {
				if source.KindOf(err) != c.kind || len(files) > 0 {
					t.Fatalf("got %d files and %v, want kind %v", len(files), err, c.kind)
				}
				return
			}
			var paths []string
			for _, f := range files {
				paths = append(paths, f.Path)
			}
			if err != nil || !slices.Equal(paths, c.want) {
				t.Fatalf("got %q, %v; want %q", paths, err, c.want)
			}
		})
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		code    string
		message string
		anon    bool
		kind    source.Kind
		text    string
	}{
		{"a missing revision", 404, "RevisionNotFound", "", false, source.KindNotFound, `revision "branch" does not exist`},
		{"a missing repository", 404, "RepoNotFound", "", false, source.KindNotFound, "does not exist, or is private"},
		{"a missing repository, anonymously", 401, "RepoNotFound", "", true, source.KindNotFound, "give a Hub token"},
		{"a bare 401, anonymously", 401, "", "Invalid username or password.", true, source.KindNotFound, "give a Hub token"},
		{"a bare 401", 401, "", "", false, source.KindNotFound, "the token is not valid here or its account has no access"},
		{"a 401 that says nothing", 401, "", "Invalid username or password.", false, source.KindNotFound, "does not exist, or is private"},
		{"a gated dataset", 403, "GatedRepo", "", false, source.KindDenied, "ask for access at"},
		{"a disabled dataset", 403, "", "Access to this resource is disabled.", false, source.KindDenied, "disabled by the Hub"},
		{"a bad token", 401, "", "Invalid credentials in Authorization header", false, source.KindUnauthenticated, "does not accept the token"},
		{"a right that is missing", 403, "", "you need write", false, source.KindDenied, "you need write"},
		{"what has to be paid for", 402, "", "storage limit reached", false, source.KindDenied, "storage limit reached"},
		{"what is forbidden by law", 451, "", "not where you are", false, source.KindDenied, "not where you are"},
		{"a bad request", 400, "", "nonsense", false, source.KindInvalid, "nonsense"},
		{"what is too large", 413, "", "too many files", false, source.KindLimit, "too many files"},
		{"a quota", 429, "", "slow down", false, source.KindBusy, "retry after"},
		{"a broken hub", 500, "", "", false, source.KindUpstream, "status 500"},
		{"a teapot", 418, "", "", false, source.KindUpstream, "status 418"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Request-Id", "req-1")
				w.Header().Set("Retry-After", "100000000")
				if c.status == 429 {
					w.Header().Set("RateLimit", `"api";r=0;t=555`)
				}
				if c.code != "" {
					w.Header().Set("X-Error-Code", c.code)
				}
				w.WriteHeader(c.status)
				if c.message != "" {
					json.NewEncoder(w).Encode(map[string]string{"error": c.message + " " + token})
				}
			})
			tok := source.NewHubToken(token)
			if c.anon {
				tok = source.HubToken{}
			}
			_, err := client(t, h.URL).Dataset(repo, tok).Info(t.Context(), "branch")
			if source.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "req-1") || !strings.Contains(err.Error(), repo) {
				t.Fatalf("got %v, want kind %v and %q", err, c.kind, c.text)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("the token is in %v", err)
			}
		})
	}
}

func TestRepeatableRequestsAreRepeatedWithinBounds(t *testing.T) {
	info := fmt.Sprintf(`{"id":"org/name","sha":%q}`, sha)
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, n int64)
		want   int64 // requests
		kind   source.Kind
	}{
		{"until it works", func(w http.ResponseWriter, n int64) {
			if n < 4 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			fmt.Fprint(w, info)
		}, 4, source.KindUnknown},
		{"after a body that broke off", func(w http.ResponseWriter, n int64) {
			if n == 1 {
				w.Header().Set("Content-Length", "1000")
				fmt.Fprint(w, info[:10])
				return
			}
			fmt.Fprint(w, info)
		}, 2, source.KindUnknown},
		{"but not for ever", func(w http.ResponseWriter, _ int64) { w.WriteHeader(http.StatusBadGateway) }, 6, source.KindUpstream},
		{"but not when asked to wait too long", func(w http.ResponseWriter, _ int64) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 1, source.KindUpstream},
		{"but not what is wrong for good", func(w http.ResponseWriter, _ int64) { w.WriteHeader(http.StatusBadRequest) }, 1, source.KindInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			h := newWitness(t, func(w http.ResponseWriter, _ *http.Request) { c.answer(w, n.Add(1)) })
			_, err := client(t, h.URL).Dataset(repo, source.HubToken{}).Info(t.Context(), "")
			if n.Load() != c.want || (err == nil) != (c.kind == source.KindUnknown) || err != nil && source.KindOf(err) != c.kind {
				t.Fatalf("%d requests and %v; want %d and kind %v", n.Load(), err, c.want, c.kind)
			}
		})
	}
	t.Run("and never before the time asked for", func(t *testing.T) {
		var first atomic.Int64
		h := newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
			if first.CompareAndSwap(0, time.Now().UnixNano()) {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			fmt.Fprint(w, info)
		})
		if _, err := client(t, h.URL).Dataset(repo, source.HubToken{}).Info(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(time.Unix(0, first.Load())); waited < time.Second {
			t.Errorf("waited %s, asked for 1s", waited)
		}
	})
}

func TestAnAnswerThatIsNoHTTPIsNotRepeatedInFull(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%0100000d\r\n\r\n", 0)
			conn.Close()
		}
	}()
	c := clientWith(t, hub.Options{Endpoint: "http://" + listener.Addr().String(), Retry: hub.RetryOptions{Attempts: 1}})
	_, err = c.Dataset(repo, source.HubToken{}).Info(t.Context(), "")
	if source.KindOf(err) != source.KindUpstream || len(err.Error()) > 2000 {
		t.Errorf("%d bytes: %.200s", len(err.Error()), err)
	}
}

func TestACertificateThatNobodyVouchesForIsNotTriedAgain(t *testing.T) {
	var connections atomic.Int64
	h := httptest.NewUnstartedServer(http.NotFoundHandler())
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	h.StartTLS()
	defer h.Close()
	_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Info(t.Context(), "")
	if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "SSL_CERT_FILE") || connections.Load() != 1 {
		t.Errorf("%d connections, %v", connections.Load(), err)
	}
}

func TestAnUnreachableHubIsAnUpstreamErrorWithoutAddresses(t *testing.T) {
	h := newWitness(t, nil)
	h.Close()
	_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Info(t.Context(), "")
	if source.KindOf(err) != source.KindUpstream {
		t.Fatalf("got %v", err)
	}
}

func TestPrivateAndGatedRepositoriesNeedTheRightToken(t *testing.T) {
	h := hubtest.New(t, hubtest.With(hubtest.Options{Tokens: map[string]hubtest.Rights{token: hubtest.Read, token + "_public": hubtest.Public}}),
		hubtest.Dataset("org/private", map[string][]byte{"a": []byte("a")}), hubtest.WithSettings("org/private", hubtest.Settings{Private: true}),
		hubtest.Dataset("org/gated", map[string][]byte{"a": []byte("a")}), hubtest.WithSettings("org/gated", hubtest.Settings{Gated: "auto"}))
	c := client(t, h.HubURL)
	may, mayNot := source.NewHubToken(token), source.NewHubToken(token+"_public")
	read := func(repo string, tok source.HubToken) error {
		d := c.Dataset(repo, tok)
		at, err := d.Resolve(t.Context(), "")
		if err != nil {
			return err
		}
		for f, err := range d.Files(t.Context(), at, "") {
			if err != nil {
				return err
			}
			r, err := d.Open(t.Context(), f)
			if err != nil {
				return err
			}
			if err := r.ReadAt(t.Context(), make([]byte, f.Size), 0); err != nil {
				return err
			}
			r.Close()
		}
		return nil
	}
	for _, c := range []struct {
		repo string
		tok  source.HubToken
		kind source.Kind
	}{
		{"org/private", source.HubToken{}, source.KindNotFound}, {"org/private", mayNot, source.KindNotFound},
		{"org/gated", mayNot, source.KindDenied},
		{"org/nowhere", may, source.KindNotFound}, {"org/private", source.NewHubToken("hf_revokedrevoked"), source.KindUnauthenticated},
	} {
		if err := read(c.repo, c.tok); source.KindOf(err) != c.kind {
			t.Errorf("%s with %v: got %v, want kind %v", c.repo, c.tok, err, c.kind)
		}
	}
	for _, repo := range []string{"org/private", "org/gated"} {
		if err := read(repo, may); err != nil {
			t.Errorf("%s: %v", repo, err)
		}
	}
	var typed *source.Error
	if err := read("org/gated", mayNot); !errors.As(err, &typed) || !strings.Contains(typed.Hint, "/datasets/org/gated") {
		t.Errorf("the gated error has no useful hint: %v", err)
	}
}

func TestExpiredSignaturesCostOneResolveEach(t *testing.T) {
	h := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1}), hubtest.Dataset(repo, map[string][]byte{"a.bin": make([]byte, 1000)}))
	d := client(t, h.HubURL).Dataset(repo, source.HubToken{})
	at, err := d.Resolve(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var file source.File
	for f, err := range d.Files(t.Context(), at, "") {
		if err != nil {
			t.Fatal(err)
		}
		if f.Path == "a.bin" {
			file = f
		}
	}
	h.ForgetRequests()
	r, err := d.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 5 {
		if i == 2 {
			h.ExpireSignatures()
		}
		if err := r.ReadAt(t.Context(), make([]byte, 10), int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	var resolves, reads int
	for _, r := range h.Requests() {
		switch {
		case r.Origin == "hub":
			resolves++
		case r.Bearer:
			t.Error("storage got a token")
		default:
			reads++
		}
	}
	if resolves != 2 || reads != 6 {
		t.Errorf("%d resolves and %d reads; want 2, and 5 and the one refused", resolves, reads)
	}
}
