package hub

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// errStalled: the peer stopped moving bytes.
var errStalled = errors.New("no progress: the request stalled")

// A peer has made progress when this many bytes have moved, so that one which
// drips single bytes does not count as alive. The end of a body is progress by
// itself: it ends the wait.
const progressBytes = 16 << 10

// watchdog ends an attempt whose peer makes no progress for the stall time:
// while sending the body, while waiting for headers, while reading the answer.
// Only time spent inside a read or a write counts, so a slow caller is not taken
// for a slow peer.
type watchdog struct {
	next   http.RoundTripper
	stall  time.Duration
	answer time.Duration // bounds what calls allow; 0: it does not
}

func (w *watchdog) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	answer := callOf(ctx).answerWithin
	if w.answer > 0 {
		answer = min(answer, w.answer)
	}
	answer = max(answer, w.stall)
	timer := time.AfterFunc(answer, func() { cancel(errStalled) })

	out := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		timer.Reset(w.stall)
		watch := func(body io.ReadCloser) io.ReadCloser {
			return &sentBody{ReadCloser: body, timer: timer, stall: w.stall, answer: answer}
		}
		out.Body = watch(r.Body)
		if r.GetBody != nil {
			// The transport takes a second body when a kept connection turns out
			// to be dead.
			out.GetBody = func() (io.ReadCloser, error) {
				body, err := r.GetBody()
				if err != nil {
					return nil, err
				}
				return watch(body), nil
			}
		}
	}
	resp, err := w.next.RoundTrip(out)
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &readBody{
		ReadCloser: resp.Body, timer: timer, stall: w.stall,
		stalled: func() bool { return errors.Is(context.Cause(ctx), errStalled) },
		end:     func() { cancel(nil) },
	}
	return resp, nil
}

// sentBody is a request body; the transport reads it in its own goroutine.
type sentBody struct {
	io.ReadCloser
	timer         *time.Timer
	stall, answer time.Duration
	moved         int
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.moved += n
	switch {
	case err != nil: // all is sent: now the peer has its time to answer
		b.timer.Reset(b.answer)
	case b.moved >= progressBytes:
		b.moved = 0
		b.timer.Reset(b.stall)
	}
	return n, err
}

// readBody is an answer's body.
type readBody struct {
	io.ReadCloser
	timer   *time.Timer
	stall   time.Duration
	stalled func() bool
	end     func()        // gives back the attempt's context
	waited  time.Duration // inside reads, since the last progress
	moved   int
}

func (b *readBody) Read(p []byte) (int, error) {
	start := time.Now()
	b.timer.Reset(b.stall - b.waited)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.waited += time.Since(start)
	if b.moved += n; b.moved >= progressBytes {
		b.moved, b.waited = 0, 0
	}
	if err != nil && !errors.Is(err, io.EOF) && b.stalled() {
		err = errStalled
	}
	return n, err
}

func (b *readBody) Close() error {
	b.timer.Stop()
	b.end()
	return b.ReadCloser.Close()
}
