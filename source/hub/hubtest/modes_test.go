package hubtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestEveryAnswerTellsTheQuota(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{RateLimits: hubtest.RateLimits{API: 3, Window: time.Hour}}), hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	c := connect(t, hub, "hf_one")
	for i, want := range []struct {
		status int
		path   string
		left   string
	}{
		{200, "/api/datasets/" + repo, `"api";r=2;t=`}, {404, "/api/nothing", `"api";r=1;t=`}, {404, "/api/datasets/" + repo + "/tree/nowhere", `"api";r=0;t=`},
		{429, "/api/datasets/" + repo, `"api";r=0;t=`}, {302, "/datasets/" + repo + "/resolve/main/a.parquet", `"resolvers";r=999999999;t=`},
	} {
		got := c.do(http.MethodGet, want.path, nil)
		if got.StatusCode != want.status || !strings.HasPrefix(got.Header.Get("RateLimit"), want.left) {
			t.Errorf("request %d: %s, RateLimit %s", i, got.Status, got.Header.Get("RateLimit"))
		}
		if policy := got.Header.Get("RateLimit-Policy"); !strings.HasPrefix(policy, `"fixed window";"`) || !strings.HasSuffix(policy, ";w=3600") {
			t.Errorf("request %d: RateLimit-Policy %s", i, policy)
		}
		if got.StatusCode == http.StatusTooManyRequests && got.Header.Get("Retry-After") != "" {
			t.Error("a used up window says Retry-After")
		}
	}
	if got := connect(t, hub, "hf_two").do(http.MethodGet, "/api/datasets/"+repo, nil); got.StatusCode != http.StatusOK {
		t.Errorf("another caller: %s", got.Status)
	}
}

func TestTheQuotaOfCommitsIsNotTheOneThatIsAnnounced(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{RateLimits: hubtest.RateLimits{Commits: 1}}), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	c.commit("main", "", fileLine("a", "a")).want(t, http.StatusOK, "", "")
	got := c.commit("main", "", fileLine("b", "b"))
	got.want(t, http.StatusTooManyRequests, "", "hourly quotas for action: commit")
	if strings.Contains(got.Header.Get("RateLimit"), "r=0") || got.Header.Get("Retry-After") == "" {
		t.Errorf("headers %v", got.Header)
	}
}

func TestASecondCommitMeanwhileIsAConflict(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{CommitTime: 100 * time.Millisecond}), hubtest.Dataset(repo, nil))
	status := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			got := connect(t, hub, "").commit("main", "", fileLine(fmt.Sprint(i), "x"))
			mu.Lock()
			defer mu.Unlock()
			status[got.StatusCode]++
		})
	}
	all.Wait()
	if status[http.StatusOK] == 0 || status[http.StatusConflict] == 0 || len(status) != 2 {
		t.Errorf("statuses %v", status)
	}
}

func TestAPlainFileMayBeAnsweredDirectly(t *testing.T) {
	content := []byte("some text")
	hub := hubtest.New(t, hubtest.With(hubtest.Options{PlainFiles: hubtest.Direct}), hubtest.Dataset(repo, map[string][]byte{"a.txt": content}))
	c := connect(t, hub, "")
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := c.do(method, "/datasets/"+repo+"/resolve/main/a.txt", nil)
		if got.StatusCode != http.StatusOK || got.ContentLength != int64(len(content)) || len(got.Header.Get("ETag")) != 42 || got.Header.Get("X-Repo-Commit") != head(t, hub, "main") {
			t.Errorf("%s: %s %v", method, got.Status, got.Header)
		}
	}
}

func TestOfManyPlainFilesSomeAreDirectAndSomeLocationsHaveAQuery(t *testing.T) {
	files := map[string][]byte{}
	for i := range 100 {
		files[fmt.Sprintf("%d.txt", i)] = fmt.Append(nil, i)
	}
	hub := hubtest.New(t, hubtest.Dataset(repo, files))
	c := connect(t, hub, "")
	seen := map[string]int{}
	for path, content := range files {
		got := c.do(http.MethodGet, "/datasets/"+repo+"/resolve/main/"+path, nil)
		shape := "direct"
		if to := got.Header.Get("Location"); to != "" {
			shape = fmt.Sprintf("redirect, query %v", strings.Contains(to, "?"))
			got = c.do(http.MethodGet, to, nil)
		}
		if seen[shape]++; string(got.body) != string(content) {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	if len(seen) != 3 {
		t.Errorf("shapes %v", seen)
	}
}

func TestAHubBelowAPathNamesItEverywhere(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{PathPrefix: "/hub/v1", PageSize: 2, PublicHrefs: true, MultipartThreshold: 10, PartSize: 10}),
		hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("a"), "b.parquet": []byte("PAR1"), "c.txt": []byte("c")}))
	if !strings.HasSuffix(hub.HubURL, "/hub/v1") {
		t.Fatalf("the endpoint is %s", hub.HubURL)
	}
	c := connect(t, hub, "")
	items, pages := c.tree("/api/datasets/"+repo+"/tree/main", nil)
	if len(items) != 4 || len(pages) != 3 {
		t.Errorf("%d entries in %v", len(items), pages)
	}
	origin := strings.TrimSuffix(hub.HubURL, "/hub/v1")
	if got := c.do(http.MethodGet, origin+"/api/datasets/"+repo, nil); got.StatusCode != http.StatusNotFound {
		t.Errorf("outside of the path: %s", got.Status)
	}
	got := c.do(http.MethodGet, "/datasets/"+repo+"/resolve/main/a.txt", nil)
	if to := got.Header.Get("Location"); to != "" {
		if got = c.do(http.MethodGet, origin+to, nil); string(got.body) != "a" {
			t.Errorf("behind %s: %s", to, got.Status)
		}
	}
	// Uploads name the public Hub; with the endpoint in its place they work.
	content := []byte("0123456789abcdefghij~~~")
	action := c.batch(content).Objects[0].Actions
	mine := func(href string) string {
		to, ok := strings.CutPrefix(href, "https://huggingface.co")
		if !ok {
			t.Fatalf("the href is %s", href)
		}
		return to
	}
	var parts []map[string]any
	for i := 1; i <= 3; i++ {
		at := action["upload"].Header[fmt.Sprintf("%05d", i)]
		put := c.do(http.MethodPut, at, content[(i-1)*10:min(i*10, len(content))])
		parts = append(parts, map[string]any{"partNumber": i, "etag": put.Header.Get("ETag")})
	}
	done := c.do(http.MethodPost, mine(action["upload"].Href), map[string]any{"oid": hash(content), "parts": parts})
	done.want(t, http.StatusOK, "", "")
	if verify, ok := action["verify"]; ok {
		c.do(http.MethodPost, mine(verify.Href), map[string]any{"oid": hash(content), "size": len(content)}).want(t, http.StatusOK, "", "")
	}
	var created struct{ URL string }
	c.do(http.MethodPost, "/api/repos/create", map[string]any{"name": "new", "organization": "org", "type": "dataset"}).json(t, &created)
	if created.URL != "https://huggingface.co/datasets/org/new" {
		t.Errorf("created %s", created.URL)
	}
}

func TestBehindAProxyThatSpeaksTLSTheNextPageIsThereToo(t *testing.T) {
	hub := hubtest.New(t, hubtest.PageSize(2), hubtest.Dataset(repo, many(5)))
	got := connect(t, hub, "").do(http.MethodGet, "/api/datasets/"+repo+"/tree/main", nil, "X-Forwarded-Proto", "https")
	if next := got.Header.Get("Link"); !strings.HasPrefix(next, "<https"+strings.TrimPrefix(hub.HubURL, "http")+"/api/") {
		t.Errorf("the next page is at %s", next)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, o := range []hubtest.Options{{PathPrefix: "hf"}, {PathPrefix: "/"}, {PathPrefix: "/a b"}, {PageSize: -1}, {CommitTime: -1}, {RateLimits: hubtest.RateLimits{API: -1}}, {PlainFiles: 9}} {
		if _, err := hubtest.Open(t.TempDir(), o); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestXetIsAnnouncedOnlyWhereItIsAskedFor(t *testing.T) {
	files := map[string][]byte{"a.parquet": []byte("PAR1"), "a.txt": []byte("a")}
	for _, on := range []bool{false, true} {
		hub := hubtest.New(t, hubtest.With(hubtest.Options{XetHeaders: on}), hubtest.Dataset(repo, files))
		c := connect(t, hub, "")
		var items []struct{ Path, XetHash string }
		c.do(http.MethodGet, "/api/datasets/"+repo+"/tree/main", nil).json(t, &items)
		for _, it := range items {
			if want := on && it.Path == "a.parquet"; (len(it.XetHash) == 64) != want {
				t.Errorf("%v: %+v", on, it)
			}
		}
		got := c.do(http.MethodHead, "/datasets/"+repo+"/resolve/main/a.parquet", nil)
		if on != (got.Header.Get("X-Xet-Hash") != "") || on != strings.Contains(got.Header.Get("Link"), `rel="xet-auth"`) || got.StatusCode != http.StatusFound {
			t.Errorf("%v: %v", on, got.Header)
		}
		if got = c.do(http.MethodGet, got.Header.Get("Location"), nil); string(got.body) != "PAR1" {
			t.Errorf("plain HTTP: %s", got.Status)
		}
	}
}

func TestARenamedRepositoryIsFoundUnderItsOldNames(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_w": hubtest.Write, "hf_p": hubtest.Public}), hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	c, stranger := connect(t, hub, "hf_w"), connect(t, hub, "hf_p")
	move := map[string]any{"fromRepo": repo, "toRepo": "new/one", "type": "dataset"}
	stranger.do(http.MethodPost, "/api/repos/move", move).want(t, http.StatusForbidden, "", "")
	c.do(http.MethodPost, "/api/repos/move", move).want(t, http.StatusOK, "", "")
	if err := hub.Move("new/one", "New/Two"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"/api/datasets/%s", "/api/datasets/%s/tree/main?recursive=true", "/datasets/%s/resolve/main/a.parquet", "/datasets/%s/resolve/refs%%2Fheads%%2Fmain/a.parquet", "/api/datasets/%s/revision/main?expand=sha"} {
		for _, old := range []string{repo, "ORG/Name", "new/one"} {
			got := stranger.do(http.MethodGet, fmt.Sprintf(at, old), nil)
			if got.StatusCode != http.StatusTemporaryRedirect || got.Header.Get("Location") != fmt.Sprintf(at, "New/Two") {
				t.Errorf("%s: %s to %q", fmt.Sprintf(at, old), got.Status, got.Header.Get("Location"))
			}
		}
		if got := stranger.do(http.MethodGet, fmt.Sprintf(at, "New/Two"), nil); got.StatusCode >= 400 {
			t.Errorf("%s: %s", at, got.Status)
		}
	}
	if got := c.do(http.MethodPost, "/api/datasets/"+repo+"/preupload/main", map[string]any{"files": []any{}}); got.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("a POST: %s", got.Status)
	}
	// A private repository's new name is told to nobody who may not see it.
	if err := hub.Configure("New/Two", hubtest.Settings{Private: true}); err != nil {
		t.Fatal(err)
	}
	stranger.do(http.MethodGet, "/api/datasets/"+repo, nil).want(t, http.StatusNotFound, "RepoNotFound", "")
	// A new repository of the old name is that one again.
	if err := hub.Create(repo, hubtest.Settings{}); err != nil {
		t.Fatal(err)
	}
	if got := c.do(http.MethodGet, "/api/datasets/"+repo, nil); got.StatusCode != http.StatusOK {
		t.Errorf("the name's new owner: %s", got.Status)
	}
	if err := hub.Move("New/Two", repo); source.KindOf(err) != source.KindExists {
		t.Errorf("onto an existing one: %v", err)
	}
	c.do(http.MethodPost, "/api/repos/move", map[string]any{"fromRepo": "no/where", "toRepo": "a/b", "type": "dataset"}).want(t, http.StatusNotFound, "RepoNotFound", "")
}

func TestSquashingKeepsTheFilesAndDropsTheHistory(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("a")}), hubtest.At(repo, "my/branch", map[string][]byte{"b.txt": []byte("b")}))
	c := connect(t, hub, "")
	before, err := hub.Paths(repo, "my/branch")
	if err != nil {
		t.Fatal(err)
	}
	c.do(http.MethodPost, "/api/datasets/"+repo+"/super-squash/"+url.PathEscape("my/branch"), map[string]any{"message": "one\n\nwhy"}).want(t, http.StatusOK, "", "")
	after, err := hub.Paths(repo, "my/branch")
	if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("files %v, then %v (%v)", before, after, err)
	}
	var log []struct{ Title, Message string }
	c.do(http.MethodGet, "/api/datasets/"+repo+"/commits/my%2Fbranch", nil).json(t, &log)
	if len(log) != 1 || log[0].Title != "one" || log[0].Message != "why" {
		t.Errorf("log %+v", log)
	}
	c.do(http.MethodPost, "/api/datasets/"+repo+"/tag/main", map[string]any{"tag": "v1"}).want(t, http.StatusOK, "", "")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/super-squash/v1", map[string]any{}).want(t, http.StatusBadRequest, "", "is a tag")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/super-squash/nowhere", map[string]any{"message": "m"}).want(t, http.StatusNotFound, "RevisionNotFound", "")
}
