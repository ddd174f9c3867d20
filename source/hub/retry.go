package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// RetryOptions bounds the repetition of requests that may be repeated. The zero
// value means the defaults.
type RetryOptions struct {
	// Attempts in all, the first included; 6 if zero, 1 for no repetition.
	Attempts int
	// Base is the longest first wait, doubled with every attempt; 500 ms if zero.
	Base time.Duration
	// Max is the longest wait of our own choosing; 8 s if zero. What the Hub asks
	// for is honoured beyond that.
	Max time.Duration
	// Elapsed bounds the time from the first attempt to the start of the last;
	// 90 s if zero. The caller's deadline bounds it too.
	Elapsed time.Duration
}

func (o RetryOptions) withDefaults() RetryOptions {
	if o.Attempts == 0 {
		o.Attempts = 6
	}
	if o.Base == 0 {
		o.Base = 500 * time.Millisecond
	}
	if o.Max == 0 {
		o.Max = 8 * time.Second
	}
	if o.Elapsed == 0 {
		o.Elapsed = 90 * time.Second
	}
	return o
}

func (o RetryOptions) validate() error {
	if o.Attempts < 1 || o.Base < 0 || o.Max < 0 || o.Elapsed < 0 {
		return fmt.Errorf("retry: attempts must be at least 1 and times not negative")
	}
	return nil
}

// backoff is the state of one sequence of attempts.
type backoff struct {
	options RetryOptions
	started time.Time
	failed  int
}

func (o RetryOptions) start() *backoff { return &backoff{options: o, started: time.Now()} }

// pause waits before the next attempt: with full jitter over a doubling bound,
// and never less than floor, which the peer asked for. It returns false, at
// once, if there is to be no next attempt: too many, too late, or the caller
// would be gone before.
func (b *backoff) pause(ctx context.Context, floor time.Duration) bool {
	b.failed++
	if b.failed >= b.options.Attempts {
		return false
	}
	bound := b.options.Base << min(b.failed-1, 20)
	if bound <= 0 || bound > b.options.Max { // the shift may overflow
		bound = b.options.Max
	}
	wait := floor + time.Duration(rand.Int64N(int64(bound)+1))
	until := time.Now().Add(wait)
	if until.Sub(b.started) > b.options.Elapsed {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && until.After(deadline) {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retrying repeats what may be repeated while it fails in ways that pass.
type retrying struct {
	next    http.RoundTripper
	options RetryOptions
	log     *slog.Logger
}

func (t *retrying) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	b := t.options.start()
	for attempt := 1; ; attempt++ {
		start := time.Now()
		resp, err := t.next.RoundTrip(r)
		t.trace(r, resp, err, attempt, time.Since(start))
		var heldBack *heldBackError
		if !callOf(ctx).repeatable && !errors.As(err, &heldBack) || callOf(ctx).impatient || ctx.Err() != nil {
			return resp, err
		}
		floor, again := passing(resp, err)
		if !again || r.Body != nil && r.GetBody == nil || !b.pause(ctx, floor) {
			return resp, err
		}
		discard(resp)
		if r, err = rewound(r); err != nil {
			return nil, err
		}
	}
}

func (t *retrying) trace(r *http.Request, resp *http.Response, err error, attempt int, took time.Duration) {
	if !t.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("host", r.URL.Host), slog.String("path", r.URL.Path),
		slog.String("range", r.Header.Get("Range")), slog.Int("status", status),
		slog.Int("attempt", attempt), slog.Duration("took", took),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", source.Redact(err.Error())))
	}
	t.log.LogAttrs(r.Context(), slog.LevelDebug, "hub request", attrs...)
}

// rewound is r with its body at the start again.
func rewound(r *http.Request) (*http.Request, error) {
	if r.Body == nil {
		return r, nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	out := r.WithContext(r.Context())
	out.Body = body
	return out, nil
}

// passing tells whether a failure may pass by itself, and how long the peer asked
// to wait.
func passing(resp *http.Response, err error) (floor time.Duration, again bool) {
	var heldBack *heldBackError
	if errors.As(err, &heldBack) {
		return heldBack.wait, true // it was not even sent
	}
	if err != nil {
		return 0, passingError(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return askedWait(resp), true
	}
	return 0, false
}

// passingError: of what can go wrong without an answer, everything passes except
// what we decided ourselves, whom to believe included. (What the caller brought about is seen in its
// context, not in the error: a dial that timed out calls itself a deadline too.)
func passingError(err error) bool {
	var refused *refusedAddressError
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &refused) && !errors.As(err, &certificate) && !errors.Is(err, errTooLong) &&
		!errors.Is(err, errOffline) && !errors.Is(err, errTokenShape) && !errors.Is(err, errBodyShort)
}

// askedWait reads how long the peer wants us to wait: the rate limit's reset if
// the limit is what was hit, else Retry-After. One second is added, as the
// headers count whole seconds.
func askedWait(resp *http.Response) time.Duration {
	if resp.StatusCode == http.StatusTooManyRequests {
		if left, reset, ok := rateLimit(resp.Header.Get("RateLimit")); ok && left == 0 {
			return reset + time.Second
		}
	}
	text := resp.Header.Get("Retry-After")
	if secs, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(secs, maxAskedSeconds)+1) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		if d := time.Until(at); d > 0 {
			return min(d, maxAskedSeconds*time.Second) + time.Second
		}
	}
	return 0
}

// Who asks for more than a day gets a day: it is beyond every deadline, so the
// caller is told instead of trying too early.
const maxAskedSeconds = 24 * 60 * 60

// rateLimit reads `"api";r=0;t=55`: requests left, and the time until reset.
func rateLimit(text string) (left int, reset time.Duration, ok bool) {
	var haveR, haveT bool
	for _, part := range strings.Split(text, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > maxAskedSeconds {
			continue
		}
		switch key {
		case "r":
			left, haveR = n, true
		case "t":
			reset, haveT = time.Duration(n)*time.Second, true
		}
	}
	return left, reset, haveR && haveT
}

// discard reads the little that is left of an answer nobody wants, so that its
// connection can be used again, and closes it.
func discard(resp *http.Response) {
	if resp == nil {
		return
	}
	// Best effort: a body that fails here only costs the connection.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}
