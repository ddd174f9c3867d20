package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// limited is a Hub that tells every holder of "Bearer used-up" to come back later,
// and counts who came.
type limited struct {
	*witness
	usedUp, others atomic.Int64
}

func newLimited(t *testing.T, header, value string, status int) *limited {
	l := &limited{}
	l.witness = newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") == "Bearer used-up":
			if l.usedUp.Add(1) == 1 {
				w.Header().Set(header, value)
				w.WriteHeader(status)
			}
		default:
			l.others.Add(1)
		}
		_, _ = w.Write([]byte(`{"id":"` + repo + `","sha":"` + sha + `"}`))
	})
	return l
}

func impatientClient(t *testing.T, url string) *hub.Client {
	t.Helper()
	c, err := hub.New(hub.Options{Endpoint: url, Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond, Max: time.Millisecond, Elapsed: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOneTokensQuotaHoldsBackAllItsRequestsAndNobodyElses(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"a quota that is used up, told beforehand": {"RateLimit", `"api";r=0;t=3600`, 200},
		"a refusal of the quota":                   {"RateLimit", `"api";r=0;t=3600`, 429},
		"a refusal that says when":                 {"Retry-After", "3600", 429},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, c.header, c.value, c.status)
			client := impatientClient(t, l.URL)
			ask := func(token string) error {
				_, err := client.Dataset(repo, source.NewHubToken(token)).Info(t.Context(), "")
				return err
			}
			if err := ask("used-up"); (err == nil) != (c.status == 200) {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					err := ask("used-up")
					var e *source.Error
					if !errors.As(err, &e) || e.Kind != source.KindBusy || e.RetryAfter < 50*time.Minute {
						t.Errorf("got %v", err)
					}
				})
			}
			all.Wait()
			if n := l.usedUp.Load(); n != 1 {
				t.Errorf("the Hub was asked %d times", n)
			}
			if err := errors.Join(ask("another"), ask("")); err != nil || l.others.Load() != 2 {
				t.Errorf("others: %v, %d requests", err, l.others.Load())
			}
			// Another class of requests has a quota of its own.
			if _, err := client.Dataset(repo, source.NewHubToken("used-up")).Blob(t.Context(), "", "README.md"); err != nil {
				t.Errorf("pages: %v", err)
			}
		})
	}
}

func TestAShortQuotaIsWaitedForOnceByAll(t *testing.T) {
	l := newLimited(t, "RateLimit", `"api";r=0;t=0`, 429)
	client := impatientClient(t, l.URL)
	began := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := client.Dataset(repo, source.NewHubToken("used-up")).Info(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took < time.Second {
		t.Errorf("it took %v", took)
	}
	if n := l.usedUp.Load(); n > 8 {
		t.Errorf("%d requests for four answers", n)
	}
}

func TestWhatIsAskedAheadWaitsForNoQuota(t *testing.T) {
	l := newLimited(t, "RateLimit", `"pages";r=0;t=1`, 429)
	d := impatientClient(t, l.URL).Dataset(repo, source.NewHubToken("used-up"))
	for range 2 {
		if _, err := d.Blob(t.Context(), "", "README.md"); source.KindOf(err) != source.KindBusy {
			t.Errorf("got %v", err)
		}
	}
	if n := l.usedUp.Load(); n != 1 {
		t.Errorf("the Hub was asked %d times", n)
	}
}

// Who has nobody to wait for is told at once, and what the Hub has said.
func TestAWaitThatGoesBeyondTheTimeIsNotBegun(t *testing.T) {
	for name, c := range map[string]struct{ elapsed, deadline time.Duration }{
		"the caller's":     {time.Hour, 30 * time.Second},
		"that of attempts": {30 * time.Second, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			w := newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			client, err := hub.New(hub.Options{Endpoint: w.URL, Retry: hub.RetryOptions{Elapsed: c.elapsed}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			defer cancel()
			began := time.Now()
			_, err = client.Dataset(repo, source.HubToken{}).Info(ctx, "")
			var e *source.Error
			if !errors.As(err, &e) || e.Kind != source.KindUpstream || e.RetryAfter != 61*time.Second {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 25*time.Second || asked.Load() != 1 {
				t.Errorf("%d requests in %s", asked.Load(), took)
			}
		})
	}
}

// The quota of commits is an hourly one that no header announces: it holds back
// commits of its token, and neither its reads, nor the uploads before a commit,
// nor anybody else.
func TestAUsedUpQuotaOfCommitsHoldsBackCommitsOnly(t *testing.T) {
	h := hubtest.New(t, hubtest.With(hubtest.Options{
		LFSThreshold: 1, RateLimits: hubtest.RateLimits{API: 1000, Resolvers: 1000, Pages: 1000, Commits: 2},
		Now: func() time.Time { return time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC) }, // no hour ends during the test
	}),
		hubtest.Dataset(repo, map[string][]byte{"data/a.parquet": blob(100, 1)}))
	c := impatientClient(t, h.HubURL)
	commit := func(token, path string) error {
		data := []byte(token + path)
		d, o := c.Dataset(repo, source.NewHubToken(token)), object(data)
		if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); err != nil {
			t.Errorf("uploading: %v", err)
		}
		_, err := d.Commit(t.Context(), "main", hub.Commit{Summary: "s", LFS: []hub.LFSFile{{Path: path, OID: o.OID, Size: o.Size}}})
		return err
	}
	posts := func() (n int) {
		for _, r := range h.Requests() {
			if r.Method == http.MethodPost && strings.Contains(r.Path, "/commit/") {
				n++
			}
		}
		return n
	}
	for i := range 2 {
		if err := commit("used-up", fmt.Sprintf("%d.parquet", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		err := commit("used-up", fmt.Sprintf("more%d.parquet", i))
		var e *source.Error
		if !errors.As(err, &e) || e.Kind != source.KindBusy || e.RetryAfter < time.Second {
			t.Errorf("commit %d beyond the quota: %v", i, err)
		}
	}
	if n := posts(); n != 3 {
		t.Errorf("%d commits were sent, want the two that landed and the one that was told to wait", n)
	}
	if _, err := readEverything(t, c.Dataset(repo, source.NewHubToken("used-up"))); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := commit("another", "other.parquet"); err != nil {
		t.Errorf("another token: %v", err)
	}
	// The other way round: a used-up quota of the API says nothing about commits.
	armed := h.Fault(hubtest.Fault{Path: "/api/datasets/", Method: http.MethodGet, Do: hubtest.RateLimited, N: 3600})
	if _, err := c.Dataset(repo, source.NewHubToken("third")).Info(t.Context(), "main"); source.KindOf(err) != source.KindBusy {
		t.Errorf("the API's quota: %v", err)
	}
	armed.Disarm()
	d := c.Dataset(repo, source.NewHubToken("third"))
	if _, err := d.Commit(t.Context(), "main", hub.Commit{Summary: "s", Files: []hub.RegularFile{{Path: "x", Content: []byte("x")}}}); err != nil {
		t.Errorf("a commit beside a used-up quota of the API: %v", err)
	}
}
