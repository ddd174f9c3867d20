package hub

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

const viewerSha = "0123456789abcdef0123456789abcdef01234567"

// viewerOf is a client of a Hub whose dataset viewer answers with h.
func viewerOf(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	viewer := httptest.NewServer(h)
	t.Cleanup(viewer.Close)
	c, err := New(Options{Endpoint: "http://127.0.0.1:1", ViewerEndpoint: viewer.URL + "/prefix", Retry: RetryOptions{Attempts: 3, Base: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOnlyThePublicHubHasAViewerByDefault(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": PublicViewerEndpoint, DefaultEndpoint: PublicViewerEndpoint, DefaultEndpoint + "/": PublicViewerEndpoint, "https://huggingface.co:443": PublicViewerEndpoint,
		"https://hub.example.org": "", "http://huggingface.co": "", "https://huggingface.co.example.org": "",
	} {
		c, err := New(Options{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if c.endpoint.viewer != nil {
			got = c.endpoint.viewer.String()
		}
		if got != want {
			t.Errorf("%q has the viewer %q, want %q", endpoint, got, want)
		}
		if want != "" {
			continue
		}
		if _, known, err := c.Dataset("a/b", source.HubToken{}).Conversion(t.Context()); known || err != nil {
			t.Errorf("%q: known %v, %v", endpoint, known, err)
		}
	}
}

func TestTheViewersListingIsReadWithEveryKeyOptional(t *testing.T) {
	const file = `{"dataset":"a/b","config":"c","split":"train","url":"https://huggingface.co/datasets/a/b/resolve/refs%2Fconvert%2Fparquet/c/partial-train/0000.parquet","filename":"0000.parquet","size":5}`
	for name, body := range map[string]string{
		"today": `{"parquet_files":[` + file + `],"pending":[{"kind":"config-parquet","dataset":"a/b","config":"d","split":null}],"failed":[],"partial":true,"more":1}`,
		"old":   `{"parquet_files":[` + file + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := viewerOf(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/prefix/parquet" || r.URL.Query().Get("dataset") != "a/b" || r.Header.Get("Authorization") != "Bearer hf_x" {
					t.Errorf("got %s with %q", r.URL, r.Header)
				}
				w.Header().Set("X-Revision", viewerSha)
				_, _ = w.Write([]byte(body))
			})
			got, known, err := c.Dataset("a/b", source.NewHubToken("hf_x")).Conversion(t.Context())
			if err != nil || !known || got.Commit != viewerSha || len(got.Files) != 1 {
				t.Fatalf("got %+v, %v, %v", got, known, err)
			}
			if path := got.Files[0].Path(); path != "c/partial-train/0000.parquet" {
				t.Errorf("got path %q", path)
			}
			if name == "today" && (!got.Partial || !got.Pending[0].Concerns("d") || got.Pending[0].Concerns("c")) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestTheViewersRefusalsAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
		body   string
		kind   source.Kind
		asked  int
	}{
		"not ready":      {500, "ResponseNotReady", `{"error":"not ready"}`, source.KindBusy, 1},
		"failed":         {500, "DatasetGenerationError", `{"error":"bad csv"}`, source.KindUnsupported, 1},
		"disabled":       {501, "DatasetInBlockListError", `{"error":"disabled"}`, source.KindNotFound, 1},
		"hidden":         {401, "ExternalUnauthenticatedError", `{"error":"?"}`, source.KindNotFound, 1},
		"limited":        {429, "", `{"error":"slow"}`, source.KindBusy, 3},
		"an accident":    {502, "", `<html>`, source.KindUpstream, 3},
		"a plain 500":    {500, "", ``, source.KindUpstream, 3},
		"a redirect":     {302, "", ``, source.KindUpstream, 1},
		"no JSON":        {200, "", `<html>`, source.KindUpstream, 1},
		"a file without": {200, "", `{"parquet_files":[{"config":"c"}]}`, source.KindUpstream, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			client := viewerOf(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				if c.code != "" {
					w.Header().Set("X-Error-Code", c.code)
				}
				w.Header().Set("Location", "http://127.0.0.1:2/elsewhere")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			_, known, err := client.Dataset("a/b", source.NewHubToken("hf_secret")).Conversion(t.Context())
			if !known || source.KindOf(err) != c.kind || asked != c.asked {
				t.Errorf("asked %d times, known %v, %v; want [%s]", asked, known, err, c.kind)
			}
			if pending := errors.Is(err, source.ErrConversionPending); pending != (name == "not ready") {
				t.Errorf("the conversion is said to be pending: %v", pending)
			}
			if err != nil && strings.Contains(err.Error(), "hf_secret") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		c, err := New(Options{Endpoint: "http://127.0.0.1:1", ViewerEndpoint: "http://127.0.0.1:1", Retry: RetryOptions{Attempts: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, known, err := c.Dataset("a/b", source.HubToken{}).Conversion(t.Context()); !known || source.KindOf(err) != source.KindUpstream || !strings.Contains(err.Error(), `conversion="always"`) {
			t.Errorf("known %v, %v", known, err)
		}
	})
}

func TestTheHubsParquetRoutesAreReadInAllTheirShapes(t *testing.T) {
	const url = "http://h/api/datasets/a/b/parquet/c%20d/train/0.parquet"
	all := map[string]map[string][]string{"c d": {"train": {url}}}
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.EscapedPath())
		var out any
		switch r.URL.Path {
		case "/api/datasets/a/b/parquet":
			out = all
		case "/api/datasets/a/b/parquet/c d":
			out = all["c d"]
		case "/api/datasets/a/b/parquet/c d/train":
			out = all["c d"]["train"]
		default:
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	defer hub.Close()
	c, err := New(Options{Endpoint: hub.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := c.Dataset("a/b", source.HubToken{})
	for _, narrow := range [][2]string{{}, {"c d"}, {"c d", "train"}} {
		got, err := d.ParquetURLs(t.Context(), narrow[0], narrow[1])
		if err != nil || len(got) != 1 || len(got["c d"]["train"]) != 1 || got["c d"]["train"][0] != url {
			t.Errorf("%q: got %v, %v", narrow, got, err)
		}
	}
	if _, err := d.ParquetURLs(t.Context(), "none", ""); source.KindOf(err) != source.KindNotFound {
		t.Errorf("got %v", err)
	}
	if want := "/api/datasets/a/b/parquet/c%20d/train"; asked[2] != want {
		t.Errorf("asked %s, want %s", asked[2], want)
	}
}
