package hubtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func many(n int) map[string][]byte {
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("d%d/f%02d.txt", i%3, i)] = []byte{byte(i)}
	}
	return files
}

type item struct {
	Type, OID, Path string
	Size            int64
	LFS             *struct {
		OID               string
		Size, PointerSize int64
	}
}

func (c *client) tree(target string, between func(page int)) (items []item, pages []int) {
	c.t.Helper()
	for target != "" {
		got := c.do(http.MethodGet, target, nil)
		if got.StatusCode != http.StatusOK {
			c.t.Fatalf("%s: %s: %s", target, got.Status, got.body)
		}
		var page []item
		got.json(c.t, &page)
		items, pages = append(items, page...), append(pages, len(page))
		if between != nil {
			between(len(pages))
		}
		target = got.next(c.t)
	}
	return items, pages
}

func TestATreeComesInPagesWithAnEmptyLastOne(t *testing.T) {
	hub := hubtest.New(t, hubtest.PageSize(4), hubtest.Dataset(repo, many(12)))
	c := connect(t, hub, "")
	items, pages := c.tree("/api/datasets/"+repo+"/tree/main?recursive=true&expand=false", nil)
	if !slices.Equal(pages, []int{4, 4, 4, 4, 0}) { // 12 files, 3 folders, .gitattributes
		t.Errorf("pages %v", pages)
	}
	var files, dirs int
	for _, it := range items {
		if it.Type == "directory" {
			dirs++
		} else {
			files++
		}
	}
	if files != 13 || dirs != 3 {
		t.Errorf("%d files and %d folders", files, dirs)
	}
	items, pages = c.tree("/api/datasets/"+repo+"/tree/main", nil)
	if len(items) != 4 || len(pages) != 2 {
		t.Errorf("the root has %v in %v", items, pages)
	}
}

func TestAPushBetweenTwoPagesDoesNotTearTheListing(t *testing.T) {
	hub := hubtest.New(t, hubtest.PageSize(5), hubtest.Dataset(repo, many(12)))
	c := connect(t, hub, "")
	items, _ := c.tree("/api/datasets/"+repo+"/tree/main?recursive=true", func(page int) {
		if page == 1 {
			c.commit("main", "", line("deletedFolder", map[string]any{"path": "d0/"}), fileLine("d1/aaa.txt", "new")).want(t, http.StatusOK, "", "")
		}
	})
	if len(items) != 16 {
		t.Errorf("%d entries; want the 16 of the commit that the listing began with", len(items))
	}
}

func TestListingsRefuseWhatIsNotThere(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, many(3)))
	c := connect(t, hub, "")
	for target, code := range map[string]string{
		"tree/main/nothing":               "EntryNotFound",
		"tree/main/d0%2Ff00.txt":          "EntryNotFound", // a file
		"tree/nowhere":                    "RevisionNotFound",
		"revision/nowhere":                "RevisionNotFound",
		"commits/nowhere":                 "RevisionNotFound",
		"tree/" + strings.Repeat("0", 40): "RevisionNotFound",
	} {
		got := c.do(http.MethodGet, "/api/datasets/"+repo+"/"+target, nil)
		got.want(t, http.StatusNotFound, code, "")
	}
	c.do(http.MethodGet, "/api/datasets/"+repo+"/tree/main?cursor=abc", nil).want(t, http.StatusBadRequest, "", "cursor")
	c.do(http.MethodGet, "/api/nothing", nil).want(t, http.StatusNotFound, "", "")
	c.do(http.MethodPut, "/api/datasets/"+repo+"/tree/main", nil).want(t, http.StatusNotFound, "", "")
}

// Names that a router which cleans or decodes paths gets wrong.
var oddNames = []string{"a b.txt", "a%2Fb.txt", "a/b.txt", "100%.txt", "q?x=1#y.txt", "ünï/ço dé.txt", "plus+and&.txt", "data/x%20y.parquet", "c;d/e=f,g.parquet"}

func TestOddNamesAreFoundByEveryRoute(t *testing.T) {
	files := map[string][]byte{}
	for _, n := range oddNames {
		files[n] = []byte(n)
	}
	hub := hubtest.New(t, hubtest.Dataset(repo, files))
	if _, err := hub.Commit(repo, "my/branch", hubtest.Change{Add: map[string][]byte{"x": []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, hub, "")
	for _, n := range oddNames {
		var segs []string
		for s := range strings.SplitSeq(n, "/") {
			segs = append(segs, url.PathEscape(s))
		}
		for _, rev := range []string{"main", "my%2Fbranch"} {
			got := c.do(http.MethodGet, "/datasets/"+repo+"/resolve/"+rev+"/"+strings.Join(segs, "/"), nil)
			if to := got.Header.Get("Location"); to != "" {
				got = c.do(http.MethodGet, to, nil)
			}
			if string(got.body) != n {
				t.Errorf("%s: got %s %q", n, got.Status, got.body)
			}
		}
		form := url.Values{"paths": {n, "missing"}, "expand": {"false"}}
		var infos []item
		c.do(http.MethodPost, "/api/datasets/"+repo+"/paths-info/main", []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded").json(t, &infos)
		if len(infos) != 1 || infos[0].Path != n {
			t.Errorf("paths-info of %q: %+v", n, infos)
		}
	}
	items, _ := c.tree("/api/datasets/"+repo+"/tree/main/"+url.PathEscape("ünï"), nil)
	if len(items) != 1 || items[0].Path != "ünï/ço dé.txt" {
		t.Errorf("tree of a folder: %+v", items)
	}
}

func TestPathsInfoTakesJSONAndRefusesTooMany(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"d/a.parquet": []byte("12345")}))
	c := connect(t, hub, "")
	var got []item
	c.do(http.MethodPost, "/api/datasets/"+repo+"/paths-info/main", map[string]any{"paths": []string{"d/a.parquet", "d", "no"}}).json(t, &got)
	if len(got) != 2 || got[0].LFS == nil || got[0].LFS.Size != 5 || got[0].Size != 5 || got[0].LFS.OID != hash([]byte("12345")) || got[1].Type != "directory" {
		t.Errorf("got %+v", got)
	}
	paths := make([]string, 1001)
	c.do(http.MethodPost, "/api/datasets/"+repo+"/paths-info/main", map[string]any{"paths": paths}).want(t, http.StatusRequestEntityTooLarge, "", "too many")
}

func TestAPlainFileIsBehindARelativeRedirect(t *testing.T) {
	content := []byte("some text")
	hub := hubtest.New(t, hubtest.With(hubtest.Options{PlainFiles: hubtest.Redirected}), hubtest.Dataset(repo, map[string][]byte{"d/a.txt": content}))
	c := connect(t, hub, "")
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := c.do(method, "/datasets/"+repo+"/resolve/main/d/a.txt", nil)
		sha := head(t, hub, "main")
		to, _, _ := strings.Cut(got.Header.Get("Location"), "?")
		if got.StatusCode != http.StatusTemporaryRedirect || to != "/api/resolve-cache/datasets/"+repo+"/"+sha+"/d/a.txt" {
			t.Fatalf("%s: %s to %q", method, got.Status, got.Header.Get("Location"))
		}
		if got.Header.Get("X-Repo-Commit") != sha || got.Header.Get("X-Linked-Etag") == "" || got.Header.Get("X-Linked-Size") != "" {
			t.Errorf("%s: headers %v", method, got.Header)
		}
		if got.ContentLength == int64(len(content)) {
			t.Error("the redirect's Content-Length is the file's")
		}
		at := c.do(method, got.Header.Get("Location"), nil)
		if at.StatusCode != http.StatusOK || at.ContentLength != int64(len(content)) || at.Header.Get("ETag") != got.Header.Get("X-Linked-Etag") || at.Header.Get("X-Repo-Commit") != sha {
			t.Errorf("%s: %s %v", method, at.Status, at.Header)
		}
	}
	got := c.do(http.MethodHead, "/datasets/"+repo+"/resolve/main/missing.txt", nil)
	got.want(t, http.StatusNotFound, "EntryNotFound", "")
	if got.Header.Get("X-Repo-Commit") != head(t, hub, "main") {
		t.Error("the answer for a missing file has no X-Repo-Commit")
	}
}

// resolve returns a signed URL of a file.
func (c *client) resolve(path string) string {
	c.t.Helper()
	got := c.do(http.MethodGet, "/datasets/"+repo+"/resolve/main/"+path, nil)
	if got.StatusCode != http.StatusFound {
		c.t.Fatalf("resolve: %s %s", got.Status, got.body)
	}
	return got.Header.Get("Location")
}

func TestAnLFSFileIsOnAnotherHostBehindASignature(t *testing.T) {
	content := []byte("PAR1 and more")
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": content}))
	c := connect(t, hub, "")
	got := c.do(http.MethodHead, "/datasets/"+repo+"/resolve/main/a.parquet", nil)
	if got.StatusCode != http.StatusFound || got.Header.Get("X-Linked-Etag") != `"`+hash(content)+`"` || got.Header.Get("X-Linked-Size") != fmt.Sprint(len(content)) {
		t.Fatalf("%s %v", got.Status, got.Header)
	}
	first, second := c.resolve("a.parquet"), c.resolve("a.parquet")
	if first == second {
		t.Error("two resolves give one URL")
	}
	to, err := url.Parse(first)
	if err != nil || to.Hostname() != "localhost" {
		t.Fatalf("the storage is at %s (%v)", first, err)
	}
	if raw := c.do(http.MethodGet, first, nil); string(raw.body) != string(content) {
		t.Errorf("%s %q", raw.Status, raw.body)
	}
	same := hubtest.New(t, hubtest.With(hubtest.Options{SameHostCDN: true}))
	if !strings.HasPrefix(same.CDNURL, "http://127.0.0.1:") || same.CDNURL == same.HubURL {
		t.Errorf("with SameHostCDN the storage is at %s", same.CDNURL)
	}
}

func TestTheStorageRefusesTokensAndBadSignatures(t *testing.T) {
	now := time.Now()
	hub := hubtest.New(t, hubtest.With(hubtest.Options{SignatureTTL: 2 * time.Second, Now: func() time.Time { return now }}),
		hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1"), "b.parquet": []byte("PAR2")}))
	c := connect(t, hub, "")
	signed := c.resolve("a.parquet")
	refused := func(why, method, target, code string, status int, header ...string) {
		t.Helper()
		got := c.do(method, target, nil, header...)
		if got.StatusCode != status || method != http.MethodHead && !strings.Contains(string(got.body), "<Code>"+code+"</Code>") {
			t.Errorf("%s: got %s %s; want %d %s", why, got.Status, got.body, status, code)
		}
	}
	refused("a bearer token", http.MethodGet, signed, "InvalidArgument", http.StatusBadRequest, "Authorization", "Bearer hf_secret")
	last := hub.Requests()[len(hub.Requests())-1]
	if !last.Bearer || last.Header.Get("Authorization") != "" || last.Query.Get("X-Amz-Signature") != "" {
		t.Errorf("the log says %+v", last)
	}
	plain, _, _ := strings.Cut(signed, "?")
	refused("no signature", http.MethodGet, plain, "AccessDenied", http.StatusForbidden)
	refused("HEAD with a URL for GET", http.MethodHead, signed, "SignatureDoesNotMatch", http.StatusForbidden)
	refused("PUT with a URL for GET", http.MethodPut, signed, "SignatureDoesNotMatch", http.StatusForbidden)
	refused("another object", http.MethodGet, strings.Replace(signed, hash([]byte("PAR1")), hash([]byte("PAR2")), 1), "SignatureDoesNotMatch", http.StatusForbidden)
	refused("a longer life", http.MethodGet, strings.Replace(signed, "X-Amz-Expires=2", "X-Amz-Expires=9999", 1), "SignatureDoesNotMatch", http.StatusForbidden)
	now = now.Add(2500 * time.Millisecond) // dates are in whole seconds
	if got := c.do(http.MethodGet, c.resolve("a.parquet"), nil); got.StatusCode != http.StatusOK {
		t.Errorf("a new URL: %s", got.Status)
	}
	now = now.Add(time.Second)
	refused("an old URL", http.MethodGet, signed, "AccessDenied", http.StatusForbidden)
	fresh := c.resolve("a.parquet")
	hub.ExpireSignatures()
	refused("a URL that was expired by hand", http.MethodGet, fresh, "AccessDenied", http.StatusForbidden)
	if got := c.do(http.MethodGet, c.resolve("a.parquet"), nil); got.StatusCode != http.StatusOK {
		t.Errorf("a URL after that: %s", got.Status)
	}
}

func TestRangesAreExactOnBothOrigins(t *testing.T) {
	content := []byte("0123456789")
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": content, "a.txt": content}))
	c := connect(t, hub, "")
	plain := c.do(http.MethodGet, "/datasets/"+repo+"/resolve/main/a.txt", nil).Header.Get("Location")
	for _, target := range []string{plain, c.resolve("a.parquet")} {
		for asked, want := range map[string]string{
			"bytes=2-4": "bytes 2-4/10 234", "bytes=8-": "bytes 8-9/10 89", "bytes=-3": "bytes 7-9/10 789",
			"bytes=5-100": "bytes 5-9/10 56789", "bytes=0-0": "bytes 0-0/10 0", "bytes=0-9": "bytes 0-9/10 0123456789",
		} {
			got := c.do(http.MethodGet, target, nil, "Range", asked)
			if have := got.Header.Get("Content-Range") + " " + string(got.body); got.StatusCode != http.StatusPartialContent || have != want {
				t.Errorf("%s: %s %s; want %s", asked, got.Status, have, want)
			}
		}
		got := c.do(http.MethodGet, target, nil, "Range", "bytes=10-12")
		if got.StatusCode != http.StatusRequestedRangeNotSatisfiable || got.Header.Get("Content-Range") != "bytes */10" {
			t.Errorf("past the end: %s %q", got.Status, got.Header.Get("Content-Range"))
		}
	}
}

func TestRevisionsAreBranchesTagsShasAndReservedRefs(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("main")}),
		hubtest.At(repo, "refs/convert/parquet", map[string][]byte{"default/train/0000.parquet": []byte("PAR1")}),
		hubtest.At(repo, "refs/pr/3", map[string][]byte{"a.txt": []byte("proposed")}))
	c := connect(t, hub, "")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/branch/my%2Fbr", map[string]any{}).want(t, http.StatusOK, "", "")
	if got := c.do(http.MethodPost, "/api/datasets/"+repo+"/branch/my%2Fbr", map[string]any{}); got.StatusCode != http.StatusConflict {
		t.Errorf("making a branch twice: %s", got.Status)
	}
	for _, bad := range []string{"refs%2Fpr%2F5", "refs%2Ffoo%2Fbar", "a..b", "-x"} {
		c.do(http.MethodPost, "/api/datasets/"+repo+"/branch/"+bad, map[string]any{}).want(t, http.StatusBadRequest, "", "Invalid reference name")
	}
	c.do(http.MethodPost, "/api/datasets/"+repo+"/tag/main", map[string]any{"tag": "v1", "message": "first"}).want(t, http.StatusOK, "", "")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/tag/main", map[string]any{"tag": "refs/heads/x"}).want(t, http.StatusBadRequest, "", "Invalid tag name")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/tag/main", map[string]any{"tag": "r"}).want(t, http.StatusOK, "", "")
	for rev, want := range map[string]string{
		"r": "main", "main": "main", "HEAD": "main", "my%2Fbr": "main", "v1": "main", "refs%2Fconvert%2Fparquet": "refs/convert/parquet", "refs/convert/parquet": "refs/convert/parquet",
		"refs%2Fpr%2F3": "refs/pr/3", head(t, hub, "main"): "main",
	} {
		var info struct{ Sha string }
		c.do(http.MethodGet, "/api/datasets/"+repo+"/revision/"+rev, nil).json(t, &info)
		if info.Sha != head(t, hub, want) {
			t.Errorf("%s is %s, want %s of %s", rev, info.Sha, head(t, hub, want), want)
		}
	}
	var refs map[string][]struct{ Name, Ref, TargetCommit string }
	c.do(http.MethodGet, "/api/datasets/"+repo+"/refs?include_prs=1", nil).json(t, &refs)
	if len(refs["branches"]) != 2 || len(refs["tags"]) != 2 || refs["converts"][0].Name != "parquet" || refs["pullRequests"][0].Ref != "refs/pr/3" || refs["tags"][0].TargetCommit != head(t, hub, "main") {
		t.Errorf("refs %+v", refs)
	}
	var plain map[string]any
	c.do(http.MethodGet, "/api/datasets/"+repo+"/refs", nil).json(t, &plain)
	if _, ok := plain["pullRequests"]; ok {
		t.Error("pull requests are listed without being asked for")
	}
	c.do(http.MethodDelete, "/api/datasets/"+repo+"/branch/my%2Fbr", nil).want(t, http.StatusOK, "", "")
	c.do(http.MethodGet, "/api/datasets/"+repo+"/revision/my%2Fbr", nil).want(t, http.StatusNotFound, "RevisionNotFound", "")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/branch/my", map[string]any{}).want(t, http.StatusOK, "", "")
	if got := c.do(http.MethodDelete, "/api/datasets/"+repo+"/branch/main", nil); got.StatusCode != http.StatusForbidden {
		t.Errorf("deleting main: %s", got.Status)
	}
}

func TestAConversionThatIsRewrittenHasNoHistory(t *testing.T) {
	hub := hubtest.New(t, hubtest.At(repo, "refs/convert/parquet", map[string][]byte{"a/train/0000.parquet": []byte("1")}))
	old := head(t, hub, "refs/convert/parquet")
	sha, err := hub.Commit(repo, "refs/convert/parquet", hubtest.Change{Orphan: true, Add: map[string][]byte{"b/train/0000.parquet": []byte("2")}})
	if err != nil {
		t.Fatal(err)
	}
	paths, err := hub.Paths(repo, sha)
	if err != nil || !slices.Equal(paths, []string{".gitattributes", "b/train/0000.parquet"}) {
		t.Errorf("files %v (%v)", paths, err)
	}
	if _, err := hub.Read(repo, old, "a/train/0000.parquet"); err != nil {
		t.Errorf("the old commit is gone: %v", err)
	}
}

// A card that YAML takes and JSON has no word for hides nothing either.
func TestACardIsToldInJSON(t *testing.T) {
	card := "---\nnames:\n  0: neg\n  null: none\n  true: [.inf, {1: x}]\nsize: .nan\n---\n"
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"README.md": []byte(card)}))
	got := connect(t, hub, "").do(http.MethodGet, "/api/datasets/"+repo, nil)
	got.want(t, http.StatusOK, "", "")
	var facts struct{ CardData json.RawMessage }
	got.json(t, &facts)
	if want := `{"names":{"0":"neg","null":"none","true":[null,{"1":"x"}]},"size":null}`; string(facts.CardData) != want {
		t.Errorf("got  %s\nwant %s", facts.CardData, want)
	}
}

func TestRepositoryFactsCanBeChosen(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"README.md": []byte("---\nlicense: mit\n---\n"), "a.parquet": []byte("12345")}))
	c := connect(t, hub, "")
	var all struct {
		ID, Sha, Author string
		Gated           any
		CardData        map[string]any
		Siblings        []struct {
			Rfilename string
			Size      int64
			LFS       *struct{ Sha256 string }
		}
	}
	c.do(http.MethodGet, "/api/datasets/"+repo+"?blobs=true", nil).json(t, &all)
	if all.ID != repo || all.Author != "org" || all.Sha != head(t, hub, "main") || all.Gated != false || all.CardData["license"] != "mit" || len(all.Siblings) != 3 {
		t.Fatalf("facts %+v", all)
	}
	if s := all.Siblings[2]; s.Rfilename != "a.parquet" || s.Size != 5 || s.LFS.Sha256 != hash([]byte("12345")) {
		t.Errorf("sibling %+v", s)
	}
	var few map[string]any
	c.do(http.MethodGet, "/api/datasets/"+repo+"?expand=sha&expand=private", nil).json(t, &few)
	if len(few) != 4 || few["private"] != false || few["sha"] != all.Sha { // and id and _id
		t.Errorf("expanded %v", few)
	}
}
