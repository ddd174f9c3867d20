package hub_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

// witness is a server that notes which requests carried a token.
type witness struct {
	*httptest.Server
	mu           sync.Mutex
	with, naked  int
	answer       http.HandlerFunc
	lastRawQuery string
}

func newWitness(t *testing.T, answer http.HandlerFunc) *witness {
	w := &witness{answer: answer}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		if r.Header.Get("Authorization") == "Bearer "+token {
			w.with++
		} else {
			w.naked++
		}
		w.lastRawQuery = r.URL.RawQuery
		w.mu.Unlock()
		w.answer(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func TestTheTokenIsSeenByTheHubsOwnOriginOnly(t *testing.T) {
	content := []byte("0123456789")
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9/10")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(content)
	}
	storage := newWitness(t, serve)
	byName := strings.Replace(storage.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		name   string
		target func(hubURL string) string
		own    bool
	}{
		{"a path on the same origin", func(string) string { return "/cache/x?a=b%2Fc" }, true},
		{"the same origin in full", func(u string) string { return u + "/cache/x" }, true},
		{"the same host on another port", func(string) string { return storage.URL + "/x" }, false},
		{"another name of the same host", func(string) string { return byName + "/x" }, false},
		{"the hub by another name", func(u string) string { return strings.Replace(u, "127.0.0.1", "localhost", 1) + "/cache/x" }, false},
		{"a scheme-relative address", func(string) string { return strings.TrimPrefix(storage.URL, "http:") + "/x" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			storage.with, storage.naked = 0, 0
			var leakedToNamesake, ownReads int
			var hubServer *witness
			hubServer = newWitness(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/cache/") {
					if strings.HasPrefix(r.Host, "localhost") && r.Header.Get("Authorization") != "" {
						leakedToNamesake++
					}
					ownReads++
					serve(w, r)
					return
				}
				w.Header().Set("X-Repo-Commit", sha)
				w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("a", 64)+`"`)
				w.Header().Set("Location", c.target(hubServer.URL))
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
			f := source.File{At: source.Snapshot{Name: repo, Commit: sha}, Path: "x", Size: 10, OID: strings.Repeat("a", 64)}
			r, err := client(t, hubServer.URL).Dataset(repo, source.NewHubToken(token)).Open(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p := make([]byte, 10)
			if err := r.ReadAt(t.Context(), p, 0); err != nil || string(p) != string(content) {
				t.Fatalf("%q, %v", p, err)
			}
			if storage.with > 0 || leakedToNamesake > 0 {
				t.Error("the token was sent to another origin")
			}
			if c.own && (ownReads != 1 || hubServer.naked > 0) {
				t.Errorf("the hub itself got %d reads and %d requests without the token", ownReads, hubServer.naked)
			}
			if hubServer.with == 0 {
				t.Error("the hub got no token")
			}
		})
	}
}

func TestRedirectsThatLeadNowhereGoodAreRefused(t *testing.T) {
	for name, target := range map[string]string{
		"in a circle":          "/datasets/org/name/resolve/" + sha + "/x",
		"to a file":            "file:///etc/passwd",
		"to cloud metadata":    "http://169.254.169.254/latest/meta-data/",
		"with a password":      "http://user:pass@127.0.0.1/x",
		"to another scheme":    "ftp://127.0.0.1/x",
		"to nothing":           "http:///x",
		"to a broken address":  "http://[::1/x",
		"to the zero address":  "http://0.0.0.0/x",
		"to embedded metadata": "http://[::ffff:169.254.169.254]/x",
	} {
		t.Run(name, func(t *testing.T) {
			h := newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
			f := source.File{At: source.Snapshot{Name: repo, Commit: sha}, Path: "x", Size: 10, OID: strings.Repeat("a", 64)}
			_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Open(t.Context(), f)
			if source.KindOf(err) != source.KindUnsupported {
				t.Fatalf("got %v, want a kind that clients do not try again", err)
			}
			if n := h.with + h.naked; n > 11 {
				t.Errorf("%d requests, want at most the first and ten redirects", n)
			}
		})
	}
}

func TestARenamedRepositoryIsFollowedAndNamedAnew(t *testing.T) {
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/datasets/org/name") {
			w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), "org/name", "neworg/newname", 1))
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprintf(w, `{"id":"neworg/newname","sha":%q,"gated":false}`, sha)
	})
	at, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Resolve(t.Context(), "main")
	if err != nil || at.Name != "neworg/newname" || at.Commit != sha {
		t.Fatalf("got %+v, %v", at, err)
	}
}

func TestAnAPICallIsNotFollowedToAnotherServer(t *testing.T) {
	elsewhere := newWitness(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"id":"a/b","sha":%q}`, sha) })
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Resolve(t.Context(), "main")
	if source.KindOf(err) != source.KindUnsupported || elsewhere.with+elsewhere.naked > 0 {
		t.Fatalf("got %v, and %d requests elsewhere", err, elsewhere.with+elsewhere.naked)
	}
}

// Elsewhere such an answer makes a GET of the request, which would lose what is to be committed.
func TestACommitIsNotFollowedWhereItsBodyWouldBeLost(t *testing.T) {
	followed := 0
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed++
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Commit(t.Context(), "main", hub.Commit{Summary: "s", Deletes: []string{"x"}})
	if err == nil || !strings.Contains(err.Error(), "would lose the request's body") || followed != 0 {
		t.Errorf("got %v, and %d requests there", err, followed)
	}
}

func TestStorageThatIsSlowKeepsNobodyFromTheHub(t *testing.T) {
	reached, end := make(chan struct{}), make(chan struct{})
	storage := newWitness(t, func(http.ResponseWriter, *http.Request) {
		close(reached)
		<-end
	})
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/resolve/") {
			w.Header().Set("X-Repo-Commit", sha)
			w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("a", 64)+`"`)
			http.Redirect(w, r, storage.URL+"/x", http.StatusFound)
			return
		}
		fmt.Fprintf(w, `{"id":%q,"sha":%q}`, repo, sha)
	})
	c, err := hub.New(hub.Options{Endpoint: h.URL, Connections: 1, Retry: hub.RetryOptions{Attempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := c.Dataset(repo, source.NewHubToken(token))
	r, err := d.Open(t.Context(), source.File{At: source.Snapshot{Name: repo, Commit: sha}, Path: "x", Size: 10, OID: strings.Repeat("a", 64)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer close(end)
	reading.Go(func() { _ = r.ReadAt(t.Context(), make([]byte, 10), 0) })
	<-reached
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if _, err := d.Info(ctx, ""); err != nil {
		t.Error(err)
	}
}
