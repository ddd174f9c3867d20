package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
)

// connections chooses between kept connections and one for this request alone.
type connections struct{ kept, single http.RoundTripper }

func (c *connections) RoundTrip(r *http.Request) (*http.Response, error) {
	if callOf(r.Context()).fresh {
		return c.single.RoundTrip(r)
	}
	return c.kept.RoundTrip(r)
}

// counted tells the call that a request is part of where it went.
type counted struct {
	next     http.RoundTripper
	endpoint endpoint
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	source.CountRequest(r.Context(), c.endpoint.originOf(r.URL))
	return c.next.RoundTrip(r)
}

// slots bounds the requests under way. A slot is held until the answer's body is
// closed.
type slots struct {
	next         http.RoundTripper
	endpoint     endpoint
	hub, storage *semaphore.Weighted
}

func (s *slots) RoundTrip(r *http.Request) (*http.Response, error) {
	sem := s.storage
	if s.endpoint.isOwn(r.URL) {
		sem = s.hub
	}
	if err := sem.Acquire(r.Context(), 1); err != nil {
		closeBody(r)
		return nil, err
	}
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		sem.Release(1)
		return nil, err
	}
	resp.Body = &onClose{ReadCloser: resp.Body, do: func() { sem.Release(1) }}
	return resp, nil
}

// onClose runs do once, when the body is closed.
type onClose struct {
	io.ReadCloser
	once sync.Once
	do   func()
}

func (b *onClose) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.do)
	return err
}

// headerTrace names a request in the Hub's logs.
const headerTrace = "X-Amzn-Trace-Id"

// signing puts the fixed headers and, on requests to the Hub, the token and a name
// of this very request, for the Hub's logs and our errors. It is the only place
// that reveals a token, and it forgets whatever Authorization came from elsewhere.
type signing struct {
	next      http.RoundTripper
	endpoint  endpoint
	userAgent string
}

var errTokenShape = errors.New("the Hub token holds characters that no header can carry")

func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Del("Authorization")
	out.Header.Set("User-Agent", s.userAgent)
	out.Header.Set("Accept-Encoding", "identity")
	if s.endpoint.maySign(r.URL) {
		out.Header.Set(headerTrace, uuid.NewString())
	}
	if token := callOf(r.Context()).token; !token.IsZero() && s.endpoint.maySign(r.URL) {
		value := "Bearer " + token.Reveal()
		if !httpguts.ValidHeaderFieldValue(value) {
			closeBody(r)
			return nil, errTokenShape
		}
		out.Header.Set("Authorization", value)
	}
	return s.next.RoundTrip(out)
}

// sound refuses answers in encodings that were not asked for and reads small
// answers whole.
type sound struct{ next http.RoundTripper }

// errTooLong: the answer is longer than its kind of answer may be.
var errTooLong = errors.New("the answer is too long")

func (s *sound) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	encoding := resp.Header.Get("Content-Encoding")
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		resp.Body.Close()
		return nil, &badAnswerError{fmt.Errorf("the answer is encoded as %q, which was not asked for", source.Clip(encoding, 40))}
	}
	limit := callOf(r.Context()).buffer
	if limit == 0 || r.Method == http.MethodHead || resp.StatusCode >= 300 {
		return resp, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	resp.Body.Close()
	switch {
	case err != nil:
		return nil, &badAnswerError{fmt.Errorf("the answer broke off: %w", err)}
	case int64(len(raw)) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, limit)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

// badAnswerError is an answer that no sound server gives; the next may be better.
type badAnswerError struct{ err error }

func (b *badAnswerError) Error() string { return b.err.Error() }
func (b *badAnswerError) Unwrap() error { return b.err }

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}
