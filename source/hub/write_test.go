package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func object(data []byte) hub.LFSObject {
	sum := sha256.Sum256(data)
	return hub.LFSObject{
		OID: hex.EncodeToString(sum[:]), Size: int64(len(data)),
		Open: func() (io.ReadSeekCloser, error) { return content{bytes.NewReader(data)}, nil },
	}
}

func blob(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) + seed + byte(i>>8)
	}
	return b
}

func newWritable(t *testing.T, o hubtest.Options) (*hubtest.Running, *hub.Client, *hub.Dataset) {
	t.Helper()
	o.Tokens = map[string]hubtest.Rights{token: hubtest.Write, token + "_read": hubtest.Read}
	h := hubtest.New(t, hubtest.With(o))
	c := client(t, h.HubURL)
	if existed, err := c.CreateRepo(t.Context(), source.NewHubToken(token), repo, true); existed || err != nil {
		t.Fatalf("create: existed %v, %v", existed, err)
	}
	return h, c, c.Dataset(repo, source.NewHubToken(token))
}

func head(t *testing.T, d *hub.Dataset) string {
	t.Helper()
	info, err := d.Info(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return info.Sha
}

func TestFilesAreUploadedAndCommitted(t *testing.T) {
	h, c, d := newWritable(t, hubtest.Options{MultipartThreshold: 50_000, PartSize: 20_000})
	ctx := t.Context()
	small, large := blob(30_000, 1), blob(90_001, 2)
	results, err := d.Preupload(ctx, "main", []hub.PreuploadFile{
		{Path: "data/a.parquet", Sample: small, Size: int64(len(small))}, {Path: "README.md", Sample: []byte("# hi"), Size: 4},
		{Path: "data/empty.parquet", Size: 0},
	})
	if err != nil || len(results) != 3 || results[0].Mode != hub.ModeLFS || results[1].Mode != hub.ModeRegular || results[2].Mode != hub.ModeRegular {
		t.Fatalf("preupload: %+v, %v", results, err)
	}
	objects := []hub.LFSObject{object(small), object(large), object(small)}
	missing, err := d.MissingLFS(ctx, "main", objects)
	if err != nil || !slices.Equal(missing, []string{objects[0].OID, objects[1].OID}) {
		t.Fatalf("missing: %q, %v", missing, err)
	}
	var last int64
	if err := d.UploadLFS(ctx, "main", objects, func(sent int64) { last = sent }); err != nil {
		t.Fatal(err)
	}
	if want := int64(len(small) + len(large)); last != want {
		t.Errorf("progress ended at %d, want %d", last, want)
	}
	if missing, err = d.MissingLFS(ctx, "main", objects); err != nil || len(missing) > 0 {
		t.Fatalf("missing after the upload: %q, %v", missing, err)
	}
	before := head(t, d)
	result, err := d.Commit(ctx, "main", hub.Commit{
		Summary: "add <files> & more", Description: "two", Parent: before,
		Files: []hub.RegularFile{{Path: "README.md", Content: []byte("# hi")}},
		LFS: []hub.LFSFile{{Path: "data/a.parquet", OID: objects[0].OID, Size: objects[0].Size},
			{Path: "data/sub dir/b%2F.parquet", OID: objects[1].OID, Size: objects[1].Size}},
	})
	if err != nil || result.OID != head(t, d) || result.PR != "" {
		t.Fatalf("commit: %+v, %v", result, err)
	}
	for path, want := range map[string][]byte{"README.md": []byte("# hi"), "data/a.parquet": small, "data/sub dir/b%2F.parquet": large} {
		if got, err := h.Read(repo, "main", path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	files, err := d.Paths(ctx, source.Snapshot{Name: repo, Commit: result.OID}, []string{"data/a.parquet", "nowhere", "data"})
	if err != nil || len(files) != 1 || files[0].OID != objects[0].OID || files[0].Size != objects[0].Size {
		t.Errorf("paths: %+v, %v", files, err)
	}
	if _, err := d.Commit(ctx, "main", hub.Commit{Summary: "remove", Parent: result.OID, Deletes: []string{"data/a.parquet"}}); err != nil {
		t.Fatal(err)
	}
	var titles []string
	for commit, err := range d.Commits(ctx, "main") {
		if err != nil {
			t.Fatal(err)
		}
		titles = append(titles, commit.Title)
	}
	if len(titles) < 3 || titles[0] != "remove" || titles[1] != "add <files> & more" {
		t.Errorf("titles %q", titles)
	}
	for _, r := range h.Requests() {
		if r.Bearer && (r.Origin == "cdn" || strings.Contains(r.Path, "lfs-multipart")) {
			t.Errorf("%s %s %s carried the token", r.Origin, r.Method, r.Path)
		}
	}
	if existed, err := c.CreateRepo(ctx, source.NewHubToken(token), repo, false); err != nil || !existed {
		t.Errorf("creating again: existed %v, %v", existed, err)
	}
}

func TestADatasetThatIsThereIsFoundByWhoMayNotCreateOne(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden} {
		h, c, _ := newWritable(t, hubtest.Options{})
		h.Fault(hubtest.Fault{Origin: "hub", Path: "/api/repos/create", Status: status})
		if existed, err := c.CreateRepo(t.Context(), source.NewHubToken(token), repo, true); !existed || err != nil {
			t.Errorf("status %d: existed %v, %v", status, existed, err)
		}
		if _, err := c.CreateRepo(t.Context(), source.NewHubToken(token), repo+"-more", true); err == nil {
			t.Errorf("status %d: a dataset was created", status)
		}
	}
}

func TestAPullRequestTakesCommitsWithoutTouchingItsBranch(t *testing.T) {
	h, _, d := newWritable(t, hubtest.Options{})
	ctx := t.Context()
	before := head(t, d)
	result, err := d.Commit(ctx, "main", hub.Commit{Summary: "propose", Parent: before, CreatePR: true,
		Files: []hub.RegularFile{{Path: "x.txt", Content: []byte("x")}}})
	if err != nil || result.PR != "refs/pr/1" || head(t, d) != before {
		t.Fatalf("%+v, %v", result, err)
	}
	num, err := d.CreatePR(ctx, "job 1", "text")
	if err != nil || num != 2 {
		t.Fatalf("pull request %d, %v", num, err)
	}
	if found, ok, err := d.FindPR(ctx, "job 1"); found != 2 || !ok || err != nil {
		t.Errorf("found %d, %v, %v", found, ok, err)
	}
	if _, ok, err := d.FindPR(ctx, "job"); ok || err != nil {
		t.Errorf("found what is not there: %v, %v", ok, err)
	}
	data := blob(1000, 3)
	o := object(data)
	if err := d.UploadLFS(ctx, "refs/pr/2", []hub.LFSObject{o}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Commit(ctx, "refs/pr/2", hub.Commit{Summary: "s", LFS: []hub.LFSFile{{Path: "y.parquet", OID: o.OID, Size: o.Size}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Read(repo, "refs/pr/2", "y.parquet"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	refs, err := d.Refs(ctx)
	if err != nil || len(refs.Branches) != 1 || refs.Branches[0].TargetCommit != before || len(refs.PullRequests) != 2 {
		t.Errorf("refs %+v, %v", refs, err)
	}
}

func TestWriteAccessIsToldBeforehand(t *testing.T) {
	_, c, d := newWritable(t, hubtest.Options{})
	if err := d.CheckWrite(t.Context()); err != nil {
		t.Error(err)
	}
	reader := c.Dataset(repo, source.NewHubToken(token+"_read"))
	if err := reader.CheckWrite(t.Context()); source.KindOf(err) != source.KindDenied {
		t.Errorf("a reader got %v", err)
	}
	if err := c.Dataset("org/nowhere", source.NewHubToken(token)).CheckWrite(t.Context()); source.KindOf(err) != source.KindNotFound {
		t.Errorf("a missing repository got %v", err)
	}
	if _, err := reader.Commit(t.Context(), "main", hub.Commit{Summary: "s", Deletes: []string{"x"}}); source.KindOf(err) != source.KindDenied {
		t.Errorf("a reader's commit got %v", err)
	}
}

func TestAFailedCommitSaysWhetherItMayHaveHappened(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  hubtest.Fault
		commit hub.Commit
		kind   source.Kind
		landed bool
	}{
		{name: "a stale parent", commit: hub.Commit{Parent: sha}, kind: source.KindConflict},
		{name: "another commit under way", fault: hubtest.Fault{Status: http.StatusConflict}, kind: source.KindConflict},
		{name: "a quota", fault: hubtest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}}, kind: source.KindBusy},
		{name: "an answer lost after it took effect", fault: hubtest.Fault{After: true, Reset: true}, kind: source.KindUnknownOutcome, landed: true},
		{name: "a 500 after it took effect", fault: hubtest.Fault{After: true, Status: 500}, kind: source.KindUnknownOutcome, landed: true},
		{name: "a 504 before", fault: hubtest.Fault{Status: 504, Body: "<html>"}, kind: source.KindUnknownOutcome},
		{name: "a reset before", fault: hubtest.Fault{Reset: true}, kind: source.KindUnknownOutcome},
		{name: "garbage for an answer", fault: hubtest.Fault{Status: 200, Body: "{}"}, kind: source.KindUnknownOutcome},
		{name: "half an answer", fault: hubtest.Fault{CutAfter: 10}, kind: source.KindUnknownOutcome, landed: true},
		{name: "an object that is not stored", commit: hub.Commit{LFS: []hub.LFSFile{{Path: "a.parquet", OID: strings.Repeat("ab", 32), Size: 1}}}, kind: source.KindStagedLost},
		{name: "a delete of what is not there", commit: hub.Commit{Deletes: []string{"nowhere"}}, kind: source.KindNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _, d := newWritable(t, hubtest.Options{})
			before := head(t, d)
			commit := c.commit
			commit.Summary = "s"
			if commit.Parent == "" {
				commit.Parent = before
			}
			if len(commit.LFS)+len(commit.Deletes) == 0 {
				commit.Files = []hub.RegularFile{{Path: "x.txt", Content: []byte("x")}}
			}
			if c.fault.Status != 0 || c.fault.Reset || c.fault.CutAfter > 0 {
				c.fault.Path = "/commit/"
				armed := h.Fault(c.fault)
				defer func() {
					if armed.Hits() != 1 {
						t.Errorf("the commit was sent %d times", armed.Hits())
					}
				}()
			}
			_, err := d.Commit(t.Context(), "main", commit)
			if source.KindOf(err) != c.kind {
				t.Fatalf("got %v, want kind %v", err, c.kind)
			}
			var typed *source.Error
			if c.kind == source.KindBusy && (!errors.As(err, &typed) || typed.RetryAfter < time.Hour) {
				t.Errorf("the wait is lost: %v", err)
			}
			if landed := head(t, d) != before; landed != c.landed {
				t.Errorf("landed: %v", landed)
			}
		})
	}
	t.Run("a caller who left", func(t *testing.T) {
		h, _, d := newWritable(t, hubtest.Options{})
		h.Fault(hubtest.Fault{Path: "/commit/", Stall: 600 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := d.Commit(ctx, "main", hub.Commit{Summary: "s", Files: []hub.RegularFile{{Path: "x", Content: []byte("x")}}})
		if source.KindOf(err) != source.KindUnknownOutcome || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a hub that was never reached", func(t *testing.T) {
		h, _, d := newWritable(t, hubtest.Options{})
		head(t, d) // leaves a connection that is dead by the time of the commit
		h.Close()
		_, err := d.Commit(t.Context(), "main", hub.Commit{Summary: "s", Files: []hub.RegularFile{{Path: "x", Content: []byte("x")}}})
		if source.KindOf(err) != source.KindUpstream {
			t.Fatalf("got %v, want kind upstream: nothing was sent", err)
		}
	})
}

func TestAnUploadSurvivesFaults(t *testing.T) {
	for _, f := range []hubtest.Fault{
		{Path: "/objects/batch", Status: 503, Nth: 1},
		{Origin: "cdn", Method: http.MethodPut, Status: 500, Nth: 1},
		{Origin: "cdn", Method: http.MethodPut, Status: 403, Nth: 2}, // expired
		{Origin: "cdn", Method: http.MethodPut, Reset: true, Nth: 3},
		{Origin: "cdn", Method: http.MethodPut, Reset: true, After: true, Nth: 2},
		{Path: "lfs-multipart", Status: 502, Nth: 1},
		{Path: "lfs-multipart", Status: 502, After: true, Nth: 1},
		{Path: "lfs-multipart", Reset: true, After: true, Nth: 1},
		{Path: "verify", Status: 500, Nth: 1},
	} {
		t.Run(fmt.Sprintf("%s%s %s #%d", f.Origin, f.Path, f.Method, f.Nth), func(t *testing.T) {
			h, _, d := newWritable(t, hubtest.Options{MultipartThreshold: 50_000, PartSize: 20_000})
			armed := h.Fault(f)
			objects := []hub.LFSObject{object(blob(1000, 4)), object(blob(90_001, 5))}
			var mu sync.Mutex
			var last int64
			if err := d.UploadLFS(t.Context(), "main", objects, func(n int64) {
				mu.Lock()
				defer mu.Unlock()
				if n < last {
					t.Errorf("progress fell from %d to %d", last, n)
				}
				last = n
			}); err != nil {
				t.Fatal(err)
			}
			if missing, err := d.MissingLFS(t.Context(), "main", objects); err != nil || len(missing) > 0 || last != 91_001 {
				t.Errorf("missing %q, %v; progress %d", missing, err, last)
			}
			if armed.Hits() != 1 {
				t.Errorf("the fault struck %d times", armed.Hits())
			}
		})
	}
}

func TestAnUploadThatCannotSucceedFailsClearly(t *testing.T) {
	data := blob(1000, 6)
	t.Run("the content is shorter than it says", func(t *testing.T) {
		h, _, d := newWritable(t, hubtest.Options{})
		o := object(data)
		o.Open = func() (io.ReadSeekCloser, error) { return content{bytes.NewReader(data[:900])}, nil }
		err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil)
		if err == nil || !strings.Contains(err.Error(), "shorter") {
			t.Fatalf("got %v", err)
		}
		h.Close()
	})
	t.Run("the content is not what its id says", func(t *testing.T) {
		_, _, d := newWritable(t, hubtest.Options{})
		o := object(data)
		o.Open = func() (io.ReadSeekCloser, error) { return content{bytes.NewReader(blob(1000, 7))}, nil }
		if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); err == nil {
			t.Fatal("no error")
		}
	})
	t.Run("storage keeps refusing", func(t *testing.T) {
		h, _, d := newWritable(t, hubtest.Options{})
		armed := h.Fault(hubtest.Fault{Origin: "cdn", Method: http.MethodPut, Status: 403})
		err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{object(data)}, nil)
		if source.KindOf(err) != source.KindUpstream || armed.Hits() != 3 {
			t.Fatalf("after %d tries: %v", armed.Hits(), err)
		}
	})
	t.Run("no right to write", func(t *testing.T) {
		_, c, _ := newWritable(t, hubtest.Options{})
		err := c.Dataset(repo, source.NewHubToken(token+"_read")).UploadLFS(t.Context(), "main", []hub.LFSObject{object(data)}, nil)
		if source.KindOf(err) != source.KindDenied {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a panic while reading the content", func(t *testing.T) {
		_, _, d := newWritable(t, hubtest.Options{})
		o := object(data)
		o.Open = func() (io.ReadSeekCloser, error) { panic("boom") }
		if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); source.KindOf(err) != source.KindInternal {
			t.Fatalf("got %v", err)
		}
	})
}

func TestCommitsThatMakeNoSenseAreNotSent(t *testing.T) {
	_, _, d := newWritable(t, hubtest.Options{})
	file := []hub.RegularFile{{Path: "x", Content: []byte("x")}}
	for name, c := range map[string]hub.Commit{
		"no summary":         {Files: file},
		"no operation":       {Summary: "s"},
		"a path twice":       {Summary: "s", Files: file, Deletes: []string{"x"}},
		"a path leading out": {Summary: "s", Deletes: []string{"../x"}},
		"a path into .git":   {Summary: "s", Deletes: []string{"a/.git/config"}},
		"a short parent":     {Summary: "s", Files: file, Parent: "abc"},
		"a bad oid":          {Summary: "s", LFS: []hub.LFSFile{{Path: "a", OID: "abc", Size: 1}}},
		"too much content":   {Summary: "s", Files: []hub.RegularFile{{Path: "x", Content: make([]byte, 65<<20)}}},
	} {
		if _, err := d.Commit(t.Context(), "main", c); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAPanicInAGoroutineOfTheTransportStaysAnError(t *testing.T) {
	// Content is read by the transport's own goroutine, where a panic would end
	// the process.
	_, _, d := newWritable(t, hubtest.Options{})
	o := object(blob(1000, 8))
	o.Open = func() (io.ReadSeekCloser, error) { return panicking{content{bytes.NewReader(nil)}}, nil }
	if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); err == nil {
		t.Fatal("no error")
	}
}

type panicking struct{ content }

func (panicking) Read([]byte) (int, error) { panic("boom") }
