package hub_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
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
			began := time.Now()
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
			if n, took := l.usedUp.Load(), time.Since(began); n != 1 || took > time.Second {
				t.Errorf("the Hub was asked %d times, and being told took %v", n, took)
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
	if took := time.Since(began); took < time.Second || took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := l.usedUp.Load(); n > 8 {
		t.Errorf("%d requests for four answers", n)
	}
}
