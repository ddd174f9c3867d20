package hub

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// maxQuotas bounds the quotas that are remembered; those that are over go first.
const maxQuotas = 10_000

// quotas holds back requests that the Hub has already said it would refuse. All
// requests of one token share what one of them was told: when the quota is used
// up, or the Hub asks to wait, nobody sends another before that time, and nobody
// waits for what another token has used up. Waiting is the retry's business, which
// knows the caller's deadline.
//
// Quotas are counted by class, as the Hub does: the API, addresses of files, other
// pages; commits have an hourly one of their own.
type quotas struct {
	next     http.RoundTripper
	endpoint endpoint
	now      func() time.Time

	mu   sync.Mutex
	held map[quotaKey]time.Time // not before
}

type quotaKey struct {
	token source.TokenID
	class string
}

// heldBackError is a request that was not sent, because the Hub has asked this
// token to wait.
type heldBackError struct{ wait time.Duration }

func (e *heldBackError) Error() string {
	return fmt.Sprintf("the Hub limits this token's requests for another %s", e.wait.Round(time.Second))
}

func newQuotas(next http.RoundTripper, ep endpoint) *quotas {
	return &quotas{next: next, endpoint: ep, now: time.Now, held: map[quotaKey]time.Time{}}
}

func (q *quotas) RoundTrip(r *http.Request) (*http.Response, error) {
	if !q.endpoint.isOwn(r.URL) {
		return q.next.RoundTrip(r) // storage and viewer count by themselves, and per address
	}
	key := quotaKey{callOf(r.Context()).token.ID(), quotaClass(r)}
	if wait := q.wait(key); wait > 0 {
		closeBody(r)
		return nil, &heldBackError{wait}
	}
	resp, err := q.next.RoundTrip(r)
	if err == nil {
		q.learn(key, resp)
	}
	return resp, err
}

// quotaClass is which of the Hub's quotas a request counts against.
func quotaClass(r *http.Request) string {
	path := r.URL.EscapedPath()
	switch {
	case r.Method == http.MethodPost && strings.Contains(path, "/commit/"):
		return "commits"
	case strings.Contains(path, "/resolve/"):
		return "resolvers"
	case strings.Contains(path, "/api/"):
		return "api"
	}
	return "pages"
}

func (q *quotas) wait(key quotaKey) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	until, ok := q.held[key]
	if !ok {
		return 0
	}
	wait := until.Sub(q.now())
	if wait <= 0 {
		delete(q.held, key)
	}
	return wait
}

// learn reads from an answer until when nothing more is to be sent: the quota's
// reset if nothing is left of it, or what a refusal for too many requests asks for.
func (q *quotas) learn(key quotaKey, resp *http.Response) {
	wait := time.Duration(0)
	if resp.StatusCode == http.StatusTooManyRequests {
		wait = askedWait(resp)
	} else if left, reset, ok := rateLimit(resp.Header.Get("RateLimit")); ok && left == 0 && key.class != "commits" {
		wait = reset + time.Second // the header counts whole seconds
	}
	if wait <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if len(q.held) >= maxQuotas {
		for k, until := range q.held {
			if !until.After(now) {
				delete(q.held, k)
			}
		}
	}
	until := now.Add(wait)
	if len(q.held) < maxQuotas && until.After(q.held[key]) {
		q.held[key] = until
	}
}
