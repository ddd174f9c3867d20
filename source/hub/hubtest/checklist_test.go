package hubtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// What a stand-in gets wrong by being too kind, where no other test looks.

func TestAListingIsInNoOrderAndItsCursorsSayNothing(t *testing.T) {
	hub := hubtest.New(t, hubtest.PageSize(4), hubtest.Dataset(repo, many(12)))
	c := connect(t, hub, "")
	var paths []string
	var cursors []string
	for target := "/api/datasets/" + repo + "/tree/main?recursive=true&expand=false"; target != ""; {
		got := c.do(http.MethodGet, target, nil)
		var page []item
		got.json(t, &page)
		for _, it := range page {
			paths = append(paths, it.Path)
		}
		if target = got.next(t); target == "" {
			break
		}
		u, err := url.Parse(target)
		if err != nil || !strings.HasPrefix(target, hub.HubURL+"/api/datasets/"+repo+"/tree/") || u.Query().Get("recursive") != "true" {
			t.Fatalf("the next page is at %s", target)
		}
		cursors = append(cursors, u.Query().Get("cursor"))
	}
	if slices.IsSorted(paths) {
		t.Errorf("the paths are sorted: %q", paths)
	}
	for i, cursor := range cursors {
		if cursor == "" || slices.Contains(paths, cursor) || regexp.MustCompile(`^\d+$`).MatchString(cursor) || slices.Contains(cursors[:i], cursor) {
			t.Errorf("a client could make cursor %q itself", cursor)
		}
	}
}

func TestAnUploadsInstructionsAreAsTheHubsAre(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{MultipartThreshold: 1000, PartSize: 100}), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	var contents [][]byte
	for i := range 64 {
		contents = append(contents, fmt.Appendf(nil, "content %d", i))
	}
	var with, without int
	for _, o := range c.batch(contents...).Objects {
		upload, ok := o.Actions["upload"]
		if u, err := url.Parse(upload.Href); !ok || err != nil || u.Query().Get("X-Amz-Signature") == "" || u.Query().Get("X-Amz-Expires") == "" {
			t.Fatalf("%+v", o)
		}
		if _, ok := o.Actions["verify"]; ok {
			with++
		} else {
			without++
		}
	}
	if with == 0 || without == 0 {
		t.Errorf("%d uploads are to be verified, %d are not: clients must cope with both", with, without)
	}
	raw := c.do(http.MethodPost, "/datasets/"+repo+".git/info/lfs/objects/batch", map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256", "objects": []any{map[string]any{"oid": hash([]byte("large")), "size": 3000}},
	}, "Content-Type", lfsMedia, "Accept", lfsMedia)
	keys := regexp.MustCompile(`"(\d{5})":`).FindAllStringSubmatch(string(raw.body), -1)
	if len(keys) != 30 || !strings.Contains(string(raw.body), `"chunk_size":"100"`) || !strings.Contains(string(raw.body), `"upload_id":`) || !strings.Contains(string(raw.body), `"expires_in":`) {
		t.Fatalf("%d parts: %s", len(keys), raw.body)
	}
	if slices.IsSortedFunc(keys, func(a, b []string) int { return strings.Compare(a[1], b[1]) }) {
		t.Error("the parts are in order: a client that relies on it goes unnoticed")
	}
}

func TestTheHubAnswersForWhatClientsAskBesides(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_w": hubtest.Write, "hf_r": hubtest.Read}), hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	// Each process of the official client asks for this, without a token.
	if got := connect(t, hub, "").do(http.MethodGet, "/api/agent-harnesses", nil); got.StatusCode != http.StatusOK || string(got.body) == "" {
		t.Errorf("harnesses: %s %s", got.Status, got.body)
	}
	reader := connect(t, hub, "hf_r")
	reader.commit("main", "", fileLine("a", "a")).want(t, http.StatusForbidden, "", "write token")
	reader.do(http.MethodPost, "/api/repos/create", map[string]any{"name": "new", "organization": "org", "type": "dataset"}).want(t, http.StatusForbidden, "", "")
	reader.do(http.MethodDelete, "/api/repos/delete", map[string]any{"name": "name", "organization": "org", "type": "dataset"}).want(t, http.StatusForbidden, "", "")
	// No file's bytes are on the Hub's own host without a redirect, if they are LFS.
	got := reader.do(http.MethodGet, "/datasets/"+repo+"/resolve/main/a.parquet", nil)
	if got.StatusCode != http.StatusFound || strings.Contains(string(got.body), "PAR1") || got.ContentLength == 4 {
		t.Errorf("resolve: %s, %d bytes", got.Status, got.ContentLength)
	}
	if raw := reader.do(http.MethodGet, "/datasets/"+repo+"/raw/main/a.parquet", nil); !strings.HasPrefix(string(raw.body), "version https://git-lfs.github.com/spec/v1\noid sha256:"+hash([]byte("PAR1"))) {
		t.Errorf("the pointer is %q", raw.body)
	}
}
