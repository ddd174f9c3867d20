package hubtest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestTheNthMatchingRequestFails(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	c := connect(t, hub, "")
	armed := hub.Fault(hubtest.Fault{Method: http.MethodGet, Path: "/refs", Nth: 2, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}, Body: "slow down"})
	for i, want := range []int{200, 429, 200} {
		got := c.do(http.MethodGet, "/api/datasets/"+repo+"/refs", nil)
		if got.StatusCode != want || (want == 429) != (got.Header.Get("Retry-After") == "3") {
			t.Errorf("request %d: %s", i, got.Status)
		}
		if got = c.do(http.MethodGet, "/api/datasets/"+repo, nil); got.StatusCode != http.StatusOK {
			t.Errorf("another route: %s", got.Status)
		}
	}
	if armed.Hits() != 1 {
		t.Errorf("it struck %d times", armed.Hits())
	}
}

func TestACommitMayTakeEffectAlthoughItsAnswerIsLost(t *testing.T) {
	for name, tc := range map[string]struct {
		fault hubtest.Fault
		lands bool
	}{
		"500 before":   {hubtest.Fault{Status: http.StatusInternalServerError}, false},
		"500 after":    {hubtest.Fault{Status: http.StatusInternalServerError, After: true}, true},
		"reset before": {hubtest.Fault{Reset: true}, false},
		"reset after":  {hubtest.Fault{Reset: true, After: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			hub := hubtest.New(t, hubtest.Dataset(repo, nil))
			start := head(t, hub, "main")
			tc.fault.Path = "/commit/"
			hub.Fault(tc.fault)
			body := []byte(line("header", map[string]any{"summary": "s"}) + "\n" + fileLine("a", "a"))
			got, err := connect(t, hub, "").try(http.MethodPost, "/api/datasets/"+repo+"/commit/main", body, "Content-Type", "application/x-ndjson")
			switch {
			case tc.fault.Reset && got.Response != nil:
				t.Errorf("answered %s before the reset", got.Status)
			case !tc.fault.Reset && (err != nil || got.StatusCode != tc.fault.Status):
				t.Errorf("answered %v (%v)", got.Response, err)
			}
			if landed := head(t, hub, "main") != start; landed != tc.lands {
				t.Errorf("landed: %v, want %v", landed, tc.lands)
			}
		})
	}
}

func TestAFaultMayActWhileARequestIsHeld(t *testing.T) {
	for _, after := range []bool{false, true} {
		hub := hubtest.New(t, hubtest.Dataset(repo, nil))
		start := head(t, hub, "main")
		seen := make(chan string, 1)
		hub.Fault(hubtest.Fault{Path: "/commit/", After: after, Meanwhile: func() {
			sha, err := hub.Head(repo, "main")
			if err != nil {
				t.Error(err)
			}
			seen <- sha
		}})
		body := []byte(line("header", map[string]any{"summary": "s"}) + "\n" + fileLine("a", "a"))
		got, err := connect(t, hub, "").try(http.MethodPost, "/api/datasets/"+repo+"/commit/main", body, "Content-Type", "application/x-ndjson")
		if answered := err == nil && got.Response != nil && got.StatusCode == http.StatusOK; answered == after {
			t.Errorf("after %v: answered %v (%v)", after, got.Response, err)
		}
		if landed := <-seen != start; landed != after {
			t.Errorf("after %v: it had landed: %v", after, landed)
		}
		if head(t, hub, "main") == start {
			t.Errorf("after %v: it did not land", after)
		}
	}
}

func TestADownloadIsCutOrStalled(t *testing.T) {
	content := make([]byte, 1<<20)
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": content}))
	c := connect(t, hub, "")
	cut := hub.Fault(hubtest.Fault{Origin: "cdn", CutAfter: 300_000, Nth: 1})
	got, err := c.try(http.MethodGet, c.resolve("a.parquet"), nil)
	if err == nil || got.StatusCode != http.StatusOK || len(got.body) > 300_000 {
		t.Errorf("cut: %v, %d bytes", err, len(got.body))
	}
	cut.Disarm()
	hub.Fault(hubtest.Fault{Origin: "cdn", Stall: 50 * time.Millisecond, Nth: 1})
	began := time.Now()
	if _, err := c.try(http.MethodGet, c.resolve("a.parquet"), nil); err == nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("stall: %v after %v", err, time.Since(began))
	}
	if got := c.do(http.MethodGet, c.resolve("a.parquet"), nil); len(got.body) != len(content) {
		t.Errorf("afterwards: %s, %d bytes", got.Status, len(got.body))
	}
}

func TestRequestsAreCountedWithoutSecrets(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_secret": hubtest.Read}), hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	c := connect(t, hub, "hf_secret")
	hub.ForgetRequests()
	c.do(http.MethodGet, c.resolve("a.parquet"), nil, "Range", "bytes=0-1")
	got := hub.Requests()
	if len(got) != 2 {
		t.Fatalf("requests %+v", got)
	}
	if r := got[0]; r.Origin != "hub" || !r.Bearer || r.Status != http.StatusFound || r.Path != "/datasets/"+repo+"/resolve/main/a.parquet" {
		t.Errorf("first %+v", r)
	}
	if r := got[1]; r.Origin != "cdn" || r.Bearer || r.Status != http.StatusPartialContent || r.Sent != 2 || r.Header.Get("Range") != "bytes=0-1" {
		t.Errorf("second %+v", r)
	}
	for _, r := range got {
		if r.Header.Get("Authorization") != "" || r.Query.Get("X-Amz-Signature") != "" {
			t.Errorf("a secret is in %+v", r)
		}
	}
}
