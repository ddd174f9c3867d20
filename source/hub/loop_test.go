package hub_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// readEverything resolves, lists and reads all files in ranges.
func readEverything(t *testing.T, d *hub.Dataset) (map[string][]byte, error) {
	t.Helper()
	at, err := d.Resolve(t.Context(), "main")
	if err != nil {
		return nil, err
	}
	got := map[string][]byte{}
	for f, err := range d.Files(t.Context(), at, "data") {
		if err != nil {
			return nil, err
		}
		r, err := d.Open(t.Context(), f)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		content := make([]byte, f.Size)
		for off := int64(0); off < f.Size; off += 4096 {
			if err := r.ReadAt(t.Context(), content[off:min(off+4096, f.Size)], off); err != nil {
				return nil, err
			}
		}
		got[f.Path] = content
	}
	return got, nil
}

func TestEveryRequestMayFailOnceAndNothingIsLost(t *testing.T) {
	files := map[string][]byte{"data/a.parquet": blob(10_000, 1), "data/b.txt": blob(5_000, 2), "data/c.parquet": blob(1, 3)}
	for _, fault := range []hubtest.Fault{
		{Status: 500}, {Status: 503, Body: "<html>"}, {Status: 429}, {Reset: true}, {CutAfter: 20},
		{Stall: 600 * time.Millisecond}, {Status: 200, Body: "garbage"}, {Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: "garbage"},
	} {
		t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
			t.Parallel()
			h := hubtest.New(t, hubtest.With(hubtest.Options{PageSize: 2}), hubtest.Dataset(repo, files))
			o := hub.Options{Endpoint: h.HubURL, Retry: quick}
			if fault.Stall > 0 {
				o.StallTimeout = fault.Stall / 2 // elsewhere a busy machine is not to be taken for a stall
			}
			for i := 1; ; i++ {
				fault := fault
				fault.Nth = i
				armed := h.Fault(fault)
				// A new client: nothing is confirmed yet.
				c := clientWith(t, o)
				got, err := readEverything(t, c.Dataset(repo, source.HubToken{}))
				if err != nil {
					// Garbage in place of an API's answer is told, not tried again.
					if fault.Body != "garbage" || source.KindOf(err) == source.KindInternal {
						t.Errorf("request %d: %v", i, err)
					}
				} else if len(got) != len(files) {
					t.Errorf("request %d: got %d files", i, len(got))
				}
				for path, content := range got {
					if !bytes.Equal(content, files[path]) {
						t.Errorf("request %d: %s has other bytes", i, path)
					}
				}
				armed.Disarm()
				if armed.Hits() == 0 {
					if i < 10 {
						t.Errorf("only %d requests were made", i-1)
					}
					return
				}
			}
		})
	}
}

func TestAnEndpointMayHaveAPathAndStandForThePublicHub(t *testing.T) {
	h := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1, PageSize: 2}))
	target, err := url.Parse(h.HubURL)
	if err != nil {
		t.Fatal(err)
	}
	// A mirror under a path, whose answers name the public Hub.
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		ModifyResponse: func(resp *http.Response) error {
			if link := resp.Header.Get("Link"); link != "" {
				resp.Header.Set("Link", strings.ReplaceAll(link, h.HubURL, "https://huggingface.co"))
			}
			if location := resp.Header.Get("Location"); strings.HasPrefix(location, "/") {
				resp.Header.Set("Location", "/mirror"+location)
			}
			return nil
		},
	}
	mirror := httptest.NewServer(http.StripPrefix("/mirror", proxy))
	t.Cleanup(mirror.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	c := client(t, mirror.URL+"/mirror/")
	if c.Endpoint() != mirror.URL+"/mirror" {
		t.Errorf("endpoint %s", c.Endpoint())
	}
	tok := source.NewHubToken(token)
	if _, err := c.CreateRepo(t.Context(), tok, repo, false); err != nil {
		t.Fatal(err)
	}
	d := c.Dataset(repo, tok)
	var commit hub.Commit
	commit.Summary = "s"
	files := map[string][]byte{}
	for i := range 5 {
		path := fmt.Sprintf("data/%d x.parquet", i)
		files[path] = blob(1000+i, byte(i))
		o := object(files[path])
		if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); err != nil {
			t.Fatal(err)
		}
		commit.LFS = append(commit.LFS, hub.LFSFile{Path: path, OID: o.OID, Size: o.Size})
	}
	if _, err := d.Commit(t.Context(), "main", commit); err != nil {
		t.Fatal(err)
	}
	got, err := readEverything(t, d)
	if err != nil || len(got) != len(files) {
		t.Fatalf("%d files, %v", len(got), err)
	}
	for path, content := range got {
		if !bytes.Equal(content, files[path]) {
			t.Errorf("%s has other bytes", path)
		}
	}
}
