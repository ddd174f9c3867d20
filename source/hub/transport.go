package hub

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
)

// call is what one request is allowed to do, beyond what HTTP says about it. It
// travels in the request's context, where every layer reads its part.
type call struct {
	// token signs the request if, and only if, it goes to the Hub.
	token source.HubToken
	// repeatable: sending it twice has the effect of sending it once.
	repeatable bool
	// answerWithin is how long the headers of the answer may take after the
	// request has been sent; the stall timeout if zero.
	answerWithin time.Duration
	// buffer is how many bytes of the answer are read here and now, so that an
	// answer that breaks in the middle is repeated like one that never came.
	// Zero leaves the body to the caller. A longer answer is an error.
	buffer int64
	// fresh: the request gets a connection of its own. On a kept one that has
	// died meanwhile, nobody could tell whether it was sent.
	fresh bool
	// impatient: not worth waiting for, not even for a quota.
	impatient bool
}

type callKey struct{}

func withCall(ctx context.Context, c call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) call {
	c, _ := ctx.Value(callKey{}).(call)
	return c
}

// newTransport builds the onion that every request passes, innermost first.
// There is no http.Client around it: it would follow redirects by its own rules
// about tokens (it compares host names only) and put whole URLs, signatures
// included, into its errors.
func newTransport(o Options, ep endpoint) (http.RoundTripper, *http.Transport, *earlyConnections) {
	// 0. Connections. HTTP/1.1 on purpose: parallel range reads are faster over
	// several connections, and giving one up cannot disturb the others. No
	// compression: a compressed answer has no usable length, and may be a bomb.
	// Some of them are opened before they are needed. What goes out on them is
	// counted for the call that it is for.
	base := baseTransport(o, ep)
	single := base.Clone()
	single.DisableKeepAlives = true
	most := min(o.Connections, earlyPerServer)
	if o.Offline {
		most = 0
	}
	early := newEarlyConnections(base, most)
	var rt http.RoundTripper = &counted{next: &connections{kept: base, single: single}, endpoint: ep}
	if o.Offline {
		rt = offline{}
	}

	// 1. A watchdog per attempt, next to the wire: it sees the bytes that move,
	// in both directions, and nothing that waits for a slot or a retry.
	rt = &watchdog{next: rt, stall: o.StallTimeout, answer: o.AnswerTimeout}

	// 2. A bound on requests under way. Inside the retry, so that nobody holds a
	// slot while waiting for the next attempt; around the watchdog, so that
	// waiting for a slot is not mistaken for a stalled peer. Storage has slots of
	// its own: long uploads must not keep a listing waiting.
	rt = &slots{
		next: rt, endpoint: ep,
		hub:     semaphore.NewWeighted(int64(o.Connections)),
		storage: semaphore.NewWeighted(int64(o.Connections)),
	}

	// 3. The token, decided by the address of this very request. Inside the
	// retry only because it must be inside everything that could change it.
	rt = &signing{next: rt, endpoint: ep, userAgent: o.UserAgent}

	// 4. What the Hub says to its users beside its answers. Where retried answers
	// pass, too: a warning comes with a refusal as well.
	rt = &notices{next: rt, endpoint: ep, log: o.Logger, said: map[string]bool{}}

	// 5. What no caller should have to check: encodings nobody asked for, and
	// small answers read whole. Inside the retry: such damage is worth another
	// attempt.
	rt = &sound{next: rt}

	// 6. What the Hub would refuse is not sent. Inside the retry, which waits, and
	// outside the slots: who has to wait holds none.
	rt = newQuotas(rt, ep)

	// 7. Repetition, around everything that can fail in a way that passes.
	return &retrying{next: rt, options: o.Retry, log: o.Logger}, base, early
}

func baseTransport(o Options, ep endpoint) *http.Transport {
	trusted := map[string]bool{ep.origin.address(): true}
	if ep.viewer != nil {
		trusted[originOf(ep.viewer).address()] = true
	}
	proxy := httpproxy.FromEnvironment()
	for _, text := range []string{proxy.HTTPProxy, proxy.HTTPSProxy} {
		if text != "" && !strings.Contains(text, "://") {
			text = "http://" + text // as httpproxy itself reads it
		}
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			trusted[originOf(u).address()] = true
		}
	}
	choose := proxy.ProxyFunc()
	return &http.Transport{
		DialContext:            guardedDialer{trusted: trusted, allowPrivate: ep.allowPrivate}.DialContext,
		Proxy:                  func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
		DisableCompression:     true,
		MaxIdleConns:           2 * o.Connections,
		MaxIdleConnsPerHost:    o.Connections,
		IdleConnTimeout:        60 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}
