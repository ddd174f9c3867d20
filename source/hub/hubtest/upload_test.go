package hubtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestAnUploadIsPutVerifiedAndCommitted(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	content := []byte("PAR1 bytes of a file")
	plan := c.batch(content)
	upload, verify := plan.Objects[0].Actions["upload"], plan.Objects[0].Actions["verify"]
	if plan.Transfer != "basic" || !strings.HasPrefix(upload.Href, hub.CDNURL) || !strings.HasPrefix(verify.Href, hub.HubURL) {
		t.Fatalf("batch %+v", plan)
	}
	proof := map[string]any{"oid": hash(content), "size": len(content)}
	c.do(http.MethodPost, strings.TrimPrefix(verify.Href, hub.HubURL), proof).want(t, http.StatusNotFound, "", "was not uploaded")
	if got := c.do(http.MethodPut, upload.Href, content); got.StatusCode != http.StatusOK || got.Header.Get("ETag") == "" {
		t.Fatalf("PUT: %s %s", got.Status, got.body)
	}
	c.do(http.MethodPost, strings.TrimPrefix(verify.Href, hub.HubURL), proof).want(t, http.StatusOK, "", "")
	if again := c.batch(content); again.Objects[0].Actions != nil || again.Objects[0].Error != nil {
		t.Errorf("a stored object is to be sent again: %+v", again.Objects[0])
	}
	c.commit("main", "", lfsLine("a.parquet", content)).want(t, http.StatusOK, "", "")
	if raw, err := hub.Read(repo, "main", "a.parquet"); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("stored %q (%v)", raw, err)
	}
}

func TestWrongBytesAreNoticedByVerifyAndByTheCommit(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	content := []byte("the right bytes")
	actions := c.batch(content).Objects[0].Actions
	// The storage cannot know what it was to be given: it says yes.
	if got := c.do(http.MethodPut, actions["upload"].Href, []byte("the wrong bytes")); got.StatusCode != http.StatusOK {
		t.Fatalf("PUT: %s", got.Status)
	}
	c.do(http.MethodPost, strings.TrimPrefix(actions["verify"].Href, hub.HubURL), map[string]any{"oid": hash(content), "size": len(content)}).want(t, http.StatusNotFound, "", "")
	c.commit("main", "", lfsLine("a.parquet", content)).want(t, http.StatusBadRequest, "", "does not exist")
}

func TestTheStorageWantsALength(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	href := c.batch([]byte("abc")).Objects[0].Actions["upload"].Href
	chunked := struct{ io.Reader }{strings.NewReader("abc")} // hides the length
	if got := c.do(http.MethodPut, href, chunked); got.StatusCode != http.StatusLengthRequired {
		t.Errorf("chunked: %s", got.Status)
	}
	if got := c.do(http.MethodPut, href, nil); got.StatusCode != http.StatusNotImplemented {
		t.Errorf("empty: %s", got.Status)
	}
}

func TestLargeObjectsAreUploadedInParts(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{MultipartThreshold: 10, PartSize: 4}), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	content := []byte("0123456789ab!") // four parts, the last of one byte
	plan := c.batch(content)
	header := plan.Objects[0].Actions["upload"].Header
	if plan.Transfer != "multipart" || header["chunk_size"] != "4" || header["upload_id"] == "" || len(header) != 6 {
		t.Fatalf("batch %+v", plan)
	}
	type part struct {
		PartNumber int    `json:"partNumber"`
		ETag       string `json:"etag"`
	}
	var parts []part
	for i, key := range []string{"00001", "00002", "00003", "00004"} {
		got := c.do(http.MethodPut, header[key], content[i*4:min(i*4+4, len(content))])
		if got.StatusCode != http.StatusOK {
			t.Fatalf("part %s: %s %s", key, got.Status, got.body)
		}
		parts = append(parts, part{i + 1, got.Header.Get("ETag")})
	}
	done := plan.Objects[0].Actions["upload"].Href
	complete := func(p []part) answer {
		// A full URL: this request has no token.
		return c.do(http.MethodPost, done, map[string]any{"oid": hash(content), "parts": p}, "Content-Type", lfsMedia)
	}
	swapped := slices.Clone(parts)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	complete(swapped).want(t, http.StatusBadRequest, "", "InvalidPartOrder")
	unquoted := slices.Clone(parts)
	unquoted[2].ETag = strings.Trim(unquoted[2].ETag, `"`)
	complete(unquoted).want(t, http.StatusBadRequest, "", "InvalidPart")
	complete(parts[:3]).want(t, http.StatusBadRequest, "", "does not match")
	if got := c.do(http.MethodPost, strings.Replace(done, "uploadId=", "uploadId=0", 1), map[string]any{"oid": hash(content), "parts": parts}); got.StatusCode != http.StatusForbidden {
		t.Errorf("a changed completion URL: %s", got.Status)
	}
	complete(parts).want(t, http.StatusOK, "", "")
	c.commit("main", "", lfsLine("a.parquet", content)).want(t, http.StatusOK, "", "")
	if raw, err := hub.Read(repo, "main", "a.parquet"); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("stored %q (%v)", raw, err)
	}
}

func TestBatchesAreChecked(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_w": hubtest.Write, "hf_r": hubtest.Read}), hubtest.Dataset(repo, nil))
	writer, reader := connect(t, hub, "hf_w"), connect(t, hub, "hf_r")
	target := "/datasets/" + repo + ".git/info/lfs/objects/batch"
	body := func(change map[string]any) map[string]any {
		b := map[string]any{"operation": "upload", "transfers": []string{"basic"}, "hash_algo": "sha_256", "ref": map[string]string{"name": "main"}, "objects": []any{map[string]any{"oid": hash(nil), "size": 3}}}
		for k, v := range change {
			b[k] = v
		}
		return b
	}
	writer.do(http.MethodPost, target, body(nil)).want(t, http.StatusNotAcceptable, "", "")
	media := []string{"Content-Type", lfsMedia, "Accept", lfsMedia}
	writer.do(http.MethodPost, target, body(nil), media...).want(t, http.StatusOK, "", "")
	writer.do(http.MethodPost, target, body(map[string]any{"ref": map[string]string{"name": "nowhere"}}), media...).want(t, http.StatusNotFound, "RevisionNotFound", "")
	writer.do(http.MethodPost, target, body(map[string]any{"hash_algo": "md5"}), media...).want(t, http.StatusConflict, "", "hash")
	writer.do(http.MethodPost, target, body(map[string]any{"objects": make([]any, 257)}), media...).want(t, http.StatusRequestEntityTooLarge, "", "256")
	reader.do(http.MethodPost, target, body(nil), media...).want(t, http.StatusForbidden, "", "write token")
	reader.do(http.MethodPost, target, body(map[string]any{"ref": nil}), media...).want(t, http.StatusOK, "", "") // for a pull request
	var out batchAnswer
	writer.do(http.MethodPost, target, body(map[string]any{"objects": []any{map[string]any{"oid": "x", "size": 3}}}), media...).json(t, &out)
	if out.Objects[0].Error == nil || out.Objects[0].Error.Code != http.StatusUnprocessableEntity {
		t.Errorf("a bad oid: %+v", out.Objects[0])
	}
}

func TestPreuploadDecidesBySizeAttributesAndIgnoreRules(t *testing.T) {
	hub := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 100}), hubtest.Dataset(repo, map[string][]byte{
		".gitignore": []byte("# no\n*.tmp\nbuild/\n!keep.tmp\n"), "a.txt": []byte("text"), "a.parquet": []byte("PAR1"),
	}))
	c := connect(t, hub, "")
	file := func(path string, size int) map[string]any {
		return map[string]any{"path": path, "sample": base64.StdEncoding.EncodeToString([]byte("PAR1")), "size": size}
	}
	type result struct {
		Path, UploadMode, OID string
		ShouldIgnore          *bool
	}
	ask := func(body map[string]any) map[string]result {
		t.Helper()
		var out struct{ Files []result }
		c.do(http.MethodPost, "/api/datasets/"+repo+"/preupload/main", body).json(t, &out)
		by := map[string]result{}
		for _, f := range out.Files {
			if f.ShouldIgnore == nil {
				t.Fatalf("%s has no shouldIgnore", f.Path)
			}
			by[f.Path] = f
		}
		return by
	}
	got := ask(map[string]any{"files": []any{file("new.parquet", 5), file("a.txt", 99), file("b.txt", 100), file("x/y.tmp", 1), file("keep.tmp", 1), file("build/z.txt", 1), file("a.parquet", 4)}})
	for path, want := range map[string]string{"new.parquet": "lfs", "a.txt": "regular", "b.txt": "lfs", "a.parquet": "lfs"} {
		if got[path].UploadMode != want || *got[path].ShouldIgnore {
			t.Errorf("%s: %+v, want %s", path, got[path], want)
		}
	}
	for path, want := range map[string]bool{"x/y.tmp": true, "keep.tmp": false, "build/z.txt": true} {
		if *got[path].ShouldIgnore != want {
			t.Errorf("%s is ignored: %v", path, !want)
		}
	}
	if got["a.parquet"].OID != hash([]byte("PAR1")) || len(got["a.txt"].OID) != 40 || got["new.parquet"].OID != "" {
		t.Errorf("oids %+v", got)
	}
	if without := ask(map[string]any{"gitAttributes": "", "files": []any{file("new.parquet", 5)}}); without["new.parquet"].UploadMode != "regular" {
		t.Errorf("a small Parquet file without rules: %+v", without)
	}
	c.do(http.MethodPost, "/api/datasets/"+repo+"/preupload/main", map[string]any{"files": slices.Repeat([]any{file("x", 1)}, 257)}).want(t, http.StatusBadRequest, "", "256")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/preupload/nowhere", map[string]any{"files": []any{file("x", 1)}}).want(t, http.StatusNotFound, "RevisionNotFound", "")
}

func TestAPullRequestNeedsNoRightToWriteButACommitThatIsSound(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_p": hubtest.Public, "hf_w": hubtest.Write}), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "hf_p")
	start := head(t, hub, "main")
	post := func(rev, lines string) answer {
		return c.do(http.MethodPost, "/api/datasets/"+repo+"/commit/"+rev+"?create_pr=1", []byte(line("header", map[string]any{"summary": "proposal", "parentCommit": start})+"\n"+lines), "Content-Type", "application/x-ndjson")
	}
	post("main", line("deletedFile", map[string]any{"path": "no"})).want(t, http.StatusNotFound, "EntryNotFound", "")
	post(start, fileLine("a", "a")).want(t, http.StatusNotFound, "RevisionNotFound", "")
	got := post("main", fileLine("a", "a"))
	var out struct{ PullRequestURL, CommitOid string }
	got.json(t, &out)
	// The refused one left nothing behind, so this is the first.
	if out.PullRequestURL != hub.HubURL+"/datasets/"+repo+"/discussions/1" || out.CommitOid != head(t, hub, "refs/pr/1") || head(t, hub, "main") != start {
		t.Fatalf("got %s", got.body)
	}
	c.commit("main", "", fileLine("b", "b")).want(t, http.StatusForbidden, "", "")
	c.commit("refs%2Fpr%2F1", "", fileLine("b", "b")).want(t, http.StatusForbidden, "", "")
	connect(t, hub, "hf_w").commit("refs%2Fpr%2F1", out.CommitOid, fileLine("b", "b")).want(t, http.StatusOK, "", "")
}

func TestDiscussionsAreListedNewestFirstInPages(t *testing.T) {
	hub := hubtest.New(t, hubtest.PageSize(4), hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	for i := range 11 {
		c.do(http.MethodPost, "/api/datasets/"+repo+"/discussions", map[string]any{"title": fmt.Sprint("t", i+1), "description": "d", "pullRequest": i != 5}).want(t, http.StatusOK, "", "")
	}
	var titles []string
	for p := 0; ; p++ {
		var page struct {
			Count, Start int
			Discussions  []struct{ Title string }
		}
		c.do(http.MethodGet, fmt.Sprintf("/api/datasets/%s/discussions?type=pull_request&p=%d", repo, p), nil).json(t, &page)
		if page.Count != 10 || page.Start != len(titles) {
			t.Fatalf("page %d: %+v", p, page)
		}
		for _, d := range page.Discussions {
			titles = append(titles, d.Title)
		}
		if len(titles) >= page.Count {
			break
		}
	}
	if want := []string{"t11", "t10", "t9", "t8", "t7", "t5", "t4", "t3", "t2", "t1"}; !slices.Equal(titles, want) {
		t.Errorf("titles %v, want %v", titles, want)
	}
	c.do(http.MethodGet, "/api/datasets/"+repo+"/discussions/12", nil).want(t, http.StatusNotFound, "", "")
}

func TestWhatChangesADiscussionOpensNoOther(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	c.do(http.MethodPost, "/api/datasets/"+repo+"/discussions", map[string]any{"title": "one", "pullRequest": true}).want(t, http.StatusOK, "", "")
	for _, change := range []string{"title", "comment", "status", "merge"} {
		c.do(http.MethodPost, "/api/datasets/"+repo+"/discussions/1/"+change, map[string]any{"title": "two"}).want(t, http.StatusNotFound, "", "cannot be changed")
	}
	var all struct{ Count int }
	c.do(http.MethodGet, "/api/datasets/"+repo+"/discussions", nil).json(t, &all)
	if all.Count != 1 {
		t.Errorf("there are %d discussions", all.Count)
	}
}
