package hub

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	canary    = "hf_canarycanarycanary"
	homeOf    = "https://hub.example.com"
	canarySha = "0123456789012345678901234567890123456789"
)

// world answers for every name there is, over http and https, and notes who was
// asked and whether the token was shown to him.
type world struct {
	mu       sync.Mutex
	asked    []string // "scheme://host"
	told     []string // those of them that saw the token
	redirect map[string]string
	link     string // the next page of listings
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	where := scheme + "://" + r.Host
	w.mu.Lock()
	w.asked = append(w.asked, where)
	if strings.Contains(fmt.Sprint(r.Header, r.URL), canary) {
		w.told = append(w.told, where)
	}
	to, link := w.redirect[where+r.URL.Path], w.link
	w.mu.Unlock()
	switch {
	case to != "":
		rw.Header().Set("X-Repo-Commit", canarySha)
		rw.Header().Set("X-Linked-Etag", `"`+strings.Repeat("a", 64)+`"`)
		rw.Header().Set("Location", to)
		rw.WriteHeader(http.StatusFound)
	case strings.Contains(r.URL.Path, "/tree/"):
		if link != "" && r.URL.RawQuery != "cursor=x" {
			rw.Header().Set("Link", "<"+link+`>; rel="next"`)
		}
		fmt.Fprint(rw, "[]")
	case strings.Contains(r.URL.Path, "/api/"):
		fmt.Fprintf(rw, `{"id":"org/name","sha":%q}`, canarySha)
	default:
		rw.Header().Set("Content-Range", "bytes 0-9/10")
		rw.WriteHeader(http.StatusPartialContent)
		fmt.Fprint(rw, "0123456789")
	}
}

// client makes a Client whose every connection ends in this world.
func (w *world) client(t *testing.T, allowPrivate bool) *Client {
	t.Helper()
	secure, plain := httptest.NewTLSServer(w), httptest.NewServer(w)
	t.Cleanup(func() { secure.Close(); plain.Close() })
	c, err := New(Options{Endpoint: homeOf, AllowPrivateCDN: allowPrivate, Retry: RetryOptions{Attempts: 2, Base: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	config := secure.Client().Transport.(*http.Transport).TLSClientConfig
	c.base.Proxy = nil
	c.base.TLSClientConfig = &tls.Config{RootCAs: config.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12}
	c.early.most = 0 // one connection per request, so that each asked for is counted
	c.early.tcp = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := secure
		if strings.HasSuffix(address, ":80") {
			to = plain
		}
		return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
	}
	return c
}

// What the Hub may answer in place of the thing asked for: where a redirect or a
// next page leads, who may be asked then, and who may see the token.
var ways = []struct {
	name, to string
	host     string // that is asked; "" if nobody is
	own      bool   // it is the Hub's origin
	private  bool   // asked only if private addresses are allowed
}{
	{name: "a path", to: "/there?x=1", host: homeOf, own: true},
	{name: "the same origin", to: homeOf + "/there", host: homeOf, own: true},
	{name: "the same origin, spelled otherwise", to: "HTTPS://Hub.Example.COM:443/there", host: "https://Hub.Example.COM:443", own: true},
	{name: "another port", to: homeOf + ":8443/there", host: homeOf + ":8443"},
	{name: "a sub-domain", to: "https://cdn.hub.example.com/there", host: "https://cdn.hub.example.com"},
	{name: "the parent domain", to: "https://example.com/there", host: "https://example.com"},
	{name: "a sibling", to: "//cdn.example.com/there", host: "https://cdn.example.com"},
	{name: "another host", to: "https://other.example.org/there", host: "https://other.example.org"},
	{name: "a name that begins alike", to: homeOf + ".evil.org/there", host: homeOf + ".evil.org"},
	{name: "the name with a dot", to: homeOf + "./there", host: homeOf + "."},
	{name: "down to http", to: "http://hub.example.com/there"},
	{name: "down to http elsewhere", to: "http://other.example.org/there"},
	{name: "another port of http", to: "http://hub.example.com:443/there"},
	{name: "a name before the host", to: "https://hub.example.com@other.example.org/there"},
	{name: "the token itself", to: "https://" + canary + "@hub.example.com/there"},
	{name: "another scheme", to: "ftp://hub.example.com/there"},
	{name: "loopback", to: "https://127.0.0.1/there", host: "https://127.0.0.1", private: true},
	{name: "localhost", to: "https://localhost/there", host: "https://localhost", private: true},
	{name: "a private network", to: "https://10.1.2.3/there", host: "https://10.1.2.3", private: true},
	{name: "a private network of version six", to: "https://[fd00::1]/there", host: "https://[fd00::1]", private: true},
	{name: "cloud metadata", to: "https://169.254.169.254/there"},
}

func TestTheTokenIsShownToTheHubsOriginOnlyWhereverItSends(t *testing.T) {
	tok := source.NewHubToken(canary)
	at := source.Snapshot{Name: "org/name", Revision: "main", Commit: canarySha}
	calls := []struct {
		name string
		// elsewhere: the call may be answered by another server.
		elsewhere bool
		run       func(*world, *Dataset, string) error
	}{
		{"read a file", true, func(w *world, d *Dataset, to string) error {
			w.redirect = map[string]string{homeOf + "/datasets/org/name/resolve/" + canarySha + "/x": to}
			r, err := d.Open(t.Context(), source.File{At: at, Path: "x", Size: 10, OID: strings.Repeat("a", 64)})
			if err != nil {
				return err
			}
			defer r.Close()
			return r.ReadAt(t.Context(), make([]byte, 10), 0)
		}},
		{"read a file after a second redirect", true, func(w *world, d *Dataset, to string) error {
			w.redirect = map[string]string{homeOf + "/datasets/org/name/resolve/" + canarySha + "/x": "https://cdn.example.com/here", "https://cdn.example.com/here": to}
			r, err := d.Open(t.Context(), source.File{At: at, Path: "x", Size: 10, OID: strings.Repeat("a", 64)})
			if err != nil {
				return err
			}
			defer r.Close()
			return r.ReadAt(t.Context(), make([]byte, 10), 0)
		}},
		{"ask the API", false, func(w *world, d *Dataset, to string) error {
			w.redirect = map[string]string{homeOf + "/api/datasets/org/name/revision/main": strings.Replace(to, "there", "api/there", 1)}
			_, err := d.Info(t.Context(), "main")
			return err
		}},
		{"list a second page", false, func(w *world, d *Dataset, to string) error {
			w.link = strings.Replace(strings.TrimSuffix(to, "?x=1"), "there", "tree/there?cursor=x", 1)
			_, err := d.list(t.Context(), at, "")
			return err
		}},
	}
	for _, call := range calls {
		for _, allowed := range []bool{false, true} {
			for _, way := range ways {
				t.Run(fmt.Sprintf("%s/%s/private %v", call.name, way.name, allowed), func(t *testing.T) {
					w := &world{}
					err := call.run(w, w.client(t, allowed).Dataset("org/name", tok), way.to)
					reached := way.host != "" && (allowed || !way.private) && (call.elsewhere || way.own)
					// A path beside storage's redirect is storage's.
					host := way.host
					if way.name == "a path" && strings.Contains(call.name, "second redirect") {
						host = "https://cdn.example.com"
					}
					if reached != (err == nil) || reached && !slices.Contains(w.asked, host) {
						t.Errorf("reached %v, want %v: asked %q, %v", err == nil, reached, w.asked, err)
					}
					for _, asked := range w.asked {
						if !reached && asked != homeOf && asked != "https://cdn.example.com" {
							t.Errorf("%s was asked", asked)
						}
					}
					for _, told := range w.told {
						if !strings.EqualFold(strings.TrimSuffix(told, ":443"), homeOf) {
							t.Errorf("%s has seen the token", told)
						}
					}
					if len(w.told) == 0 {
						t.Error("the Hub has not seen the token")
					}
					kind := source.KindOf(err)
					if err != nil && (kind != source.KindUpstream && kind != source.KindUnsupported || strings.Contains(err.Error(), canary)) {
						t.Errorf("the error is of kind %s: %v", kind, err)
					}
				})
			}
		}
	}
}

func TestTenRedirectsAreFollowedAndElevenAreNot(t *testing.T) {
	for hops, want := range map[int]bool{0: true, 10: true, 11: false, 1000: false} {
		w := &world{redirect: map[string]string{}}
		from := "/api/datasets/org/name/revision/main"
		for i := range hops {
			to := fmt.Sprintf("/api/hop%d", i)
			w.redirect[homeOf+from] = to
			from = to
		}
		_, err := w.client(t, false).Dataset("org/name", source.NewHubToken(canary)).Info(t.Context(), "main")
		if (err == nil) != want || len(w.asked) != min(hops, 10)+1 {
			t.Errorf("%d redirects: %d requests, %v", hops, len(w.asked), err)
		}
	}
}
