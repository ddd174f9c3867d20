package hub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// However much each attempt brings, a range is not read in more pieces than
// this: a server that hands out single bytes is not worth following.
const maxAttempts = 64

// Open confirms with the Hub that this caller may read f, and that the path at
// that commit is the content f names, before anything is read. A confirmation
// stands for one minute per (token, repository, commit, path).
func (d *Dataset) Open(ctx context.Context, f source.File) (source.Reader, error) {
	const op = "open file"
	why := source.ValidatePath(f.Path)
	switch {
	case f.Path == "" || strings.HasSuffix(f.Path, "/"):
		why = "names no file"
	case !commitID.MatchString(f.At.Commit):
		why = "is not pinned to a commit"
	case f.Identity() == "" || f.Size < 0:
		why = "comes without identity or size"
	}
	if why != "" {
		return nil, source.Errorf(source.KindInvalid, op, "path %q %s", source.Clip(f.Path, 80), why).WithFile(d.repo, "")
	}
	where, err := d.locate(ctx, f)
	if err != nil {
		return nil, err
	}
	return &Reader{dataset: d, file: f, where: where, located: where.url, reads: map[int]context.CancelFunc{}, refreshing: make(chan struct{}, 1)}, nil
}

// Reader reads ranges of one file, straight from where the Hub said its bytes
// are. It keeps that address, which is mostly signed and short-lived, until it is
// refused, then asks the Hub once for a new one.
type Reader struct {
	dataset *Dataset
	file    source.File

	mu     sync.Mutex
	closed bool
	reads  map[int]context.CancelFunc // under way, ended by Close
	count  int
	where  location
	// located is where the Hub said; where.url is that, or where storage redirects.
	located *url.URL
	// etag is what the present location calls its content. Ranges of one file
	// are never joined across different ones.
	etag string
	// refreshing holds one token while somebody asks for a new location.
	refreshing chan struct{}
}

var errClosed = errors.New("the reader is closed")

// Size returns the file's size, as the listing gave it and the Hub confirmed it.
func (r *Reader) Size() int64 { return r.file.Size }

// Close ends reads under way; later reads fail.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, cancel := range r.reads {
		cancel()
	}
	return nil
}

// ReadAt fills p from off. It survives what passes: resets, stalls, 5xx and 429
// (bounded by the client's retry options), early ends of bodies (continuing
// where they ended), and one expired address.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	return r.StreamAt(ctx, p, off, nil)
}

// StreamAt is ReadAt that tells, after each piece that has arrived, how many
// bytes from the beginning of p are the file's. What was told stays as it is,
// also if the read fails afterwards.
func (r *Reader) StreamAt(ctx context.Context, p []byte, off int64, filled func(n int)) error {
	const op = "read file"
	if off < 0 || off > r.file.Size || int64(len(p)) > r.file.Size-off {
		return r.fail(source.KindInvalid, op, fmt.Errorf("bytes %d to %d are outside the file's %d", off, off+int64(len(p)), r.file.Size))
	}
	ctx, end, ok := r.begin(ctx)
	defer end()
	if !ok {
		return r.fail(source.KindInvalid, op, errClosed)
	}
	if len(p) == 0 {
		return ctxError(ctx, op)
	}
	err := r.readAll(ctx, p, off, filled)
	if err != nil && r.isClosed() {
		return r.fail(source.KindInvalid, op, errClosed)
	}
	return err
}

// begin makes a read end when the Reader is closed; end must be called.
func (r *Reader) begin(ctx context.Context) (_ context.Context, end func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ctx, func() {}, false
	}
	ctx, cancel := context.WithCancel(ctx)
	r.count++
	id := r.count
	r.reads[id] = cancel
	return ctx, func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.reads, id)
	}, true
}

func (r *Reader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// ctxError is the caller's own end as one of our errors, or nil.
func ctxError(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return source.AsError(op, err)
	}
	return nil
}

// readAll is ReadAt's loop over attempts.
func (r *Reader) readAll(ctx context.Context, p []byte, off int64, filled func(n int)) error {
	const op = "read file"
	got, refreshed, borrowed := 0, false, 0
	b := r.dataset.client.retry.start()
	for attempts := 1; ; attempts++ {
		where := r.present()
		n, err := r.attempt(ctx, where, p[got:], off+int64(got), told(filled, got))
		if got += n; got == len(p) {
			return nil
		}
		if n >= progressBytes && attempts < maxAttempts {
			// It moves: the count begins anew. Not for a handful of bytes before each
			// stall, which would make one read last for many stall timeouts.
			b = r.dataset.client.retry.start()
		}
		if ctx.Err() != nil {
			return r.fail(source.KindOf(ctx.Err()), op, ctx.Err())
		}
		var stale *staleAddressError
		var changed *otherContentError
		var wait *askedToWaitError
		switch {
		case err == nil: // fewer bytes than asked, soundly: go on
			if attempts >= maxAttempts {
				return r.fail(source.KindUpstream, op, fmt.Errorf("storage answers with too small pieces"))
			}
		case errors.As(err, &stale) && !refreshed, errors.As(err, &changed) && !refreshed:
			asked, err := r.refresh(ctx, where.location, borrowed >= maxBorrowed)
			if err != nil {
				return err
			}
			if refreshed = asked; !asked {
				borrowed++ // somebody else's address may have expired, too
			}
			if changed != nil && filled != nil && got > 0 {
				return r.again(ctx, p, off, got, filled)
			}
			if changed != nil {
				got = 0
			}
		case errors.As(err, &stale):
			return stale.err
		case errors.As(err, &changed):
			return r.fail(source.KindChanged, op, err)
		case errors.As(err, &wait):
			if !b.pause(ctx, wait.floor) {
				return r.interrupted(ctx, wait.err)
			}
		case passingError(err):
			if !b.pause(ctx, 0) {
				return r.interrupted(ctx, r.dataset.brokenFile(ctx, op, r.file, err))
			}
		default:
			return r.dataset.brokenFile(ctx, op, r.file, err)
		}
	}
}

// told counts the bytes of an attempt behind those that are there already.
func told(filled func(n int), got int) func(n int) {
	if filled == nil {
		return nil
	}
	return func(n int) { filled(got + n) }
}

// again reads what another content has interrupted anew from the refreshed
// address, without touching the beginning of p that was told: it must be the
// same.
func (r *Reader) again(ctx context.Context, p []byte, off int64, got int, filled func(n int)) error {
	anew := make([]byte, len(p))
	if err := r.readAll(ctx, anew, off, nil); err != nil {
		return err
	}
	if !bytes.Equal(anew[:got], p[:got]) {
		return r.fail(source.KindChanged, "read file", &otherContentError{"its first bytes differ from those of earlier requests"})
	}
	copy(p[got:], anew[got:])
	filled(len(p))
	return nil
}

// interrupted is err, unless the caller went away meanwhile.
func (r *Reader) interrupted(ctx context.Context, err *source.Error) error {
	if ctx.Err() != nil {
		return r.fail(source.KindOf(ctx.Err()), err.Op, ctx.Err())
	}
	return err
}

func (r *Reader) fail(kind source.Kind, op string, err error) *source.Error {
	e := &source.Error{Op: op, Kind: kind, Err: err, Ref: r.file.At.Short(), Path: r.file.Path}
	if kind == source.KindChanged {
		e.Hint = "plan again"
	}
	return e
}

func (r *Reader) present() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return place{r.where, r.located, r.etag}
}

// place is where an attempt reads, and what other attempts there have seen.
type place struct {
	location
	located *url.URL
	etag    string
}

// keep remembers where the bytes were found, and what their server calls them,
// unless the location was replaced meanwhile. It returns what they are called
// there, by whoever came first: several first attempts are under way at a time.
func (r *Reader) keep(from place, final *url.URL, etag string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.located != from.located {
		return cmp.Or(from.etag, etag)
	}
	if r.etag == "" {
		r.etag = etag
	}
	if r.where.url == from.url && r.etag == etag {
		r.where.url = final
	}
	return r.etag
}

// maxBorrowed is how many addresses that others were given a read tries before it
// asks for one itself.
const maxBorrowed = 3

// refresh replaces a location that was refused. Of many reads, of this Reader and
// of others of the same caller and file, that meet the same refusal, one asks the
// Hub; asked says that it was this one. The Hub confirms the file's identity again
// on the way.
func (r *Reader) refresh(ctx context.Context, refused location, force bool) (asked bool, err error) {
	select {
	case r.refreshing <- struct{}{}:
		defer func() { <-r.refreshing }()
	case <-ctx.Done():
		return false, r.fail(source.KindOf(ctx.Err()), "read file", ctx.Err())
	}
	r.mu.Lock()
	located, replaced := r.located, r.where.url != refused.url
	r.mu.Unlock()
	if replaced && !force {
		return false, nil
	}
	where, asked, err := r.dataset.locateAnew(ctx, r.file, located, force)
	if err != nil {
		return asked, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.where, r.located, r.etag = where, where.url, ""
	return asked, nil
}

// What can be wrong with one attempt, besides the network.
type (
	// staleAddressError: storage refuses the address. err is what to say if a new one
	// is refused as well.
	staleAddressError struct{ err *source.Error }
	// otherContentError: the address now gives other bytes than before.
	otherContentError struct{ why string }
	// askedToWaitError: the peer is busy or failing; floor is how long it asked us to
	// wait.
	askedToWaitError struct {
		err   *source.Error
		floor time.Duration
	}
)

func (e *staleAddressError) Error() string { return e.err.Error() }
func (e *otherContentError) Error() string { return "the file's content changed: " + e.why }
func (e *askedToWaitError) Error() string  { return e.err.Error() }

// attempt makes one ranged request and reads its body into p. It returns how many
// bytes of p are good, which may be some even with an error.
func (r *Reader) attempt(ctx context.Context, where place, p []byte, off int64, filled func(n int)) (int, error) {
	last := off + int64(len(p)) - 1
	resp, final, err := r.dataset.client.follow(ctx, request{
		// Not repeated below: the loop above counts attempts, and knows how far
		// this range has come.
		call: call{token: r.dataset.token}, method: http.MethodGet, url: where.url,
		header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, last)}},
	}, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if err := r.checkStatus(resp); err != nil {
		return 0, err
	}
	n, err := r.checkRange(resp, off, last)
	if err != nil {
		return 0, err
	}
	// Weak or strong does not matter here: equal text, equal object.
	now := resp.Header.Get("ETag")
	if r.keep(where, final, now) != now {
		return 0, &otherContentError{"its ETag differs from that of earlier ranges"}
	}
	if resp.ContentLength != int64(n) {
		filled = nil // a body without a length may turn out to be too long
	}
	read, err := readPieces(resp.Body, p[:n], filled)
	if err != nil {
		return read, &badAnswerError{fmt.Errorf("the body broke off after %d of %d bytes: %w", read, n, err)}
	}
	// Reading to the end gives the connection back; more bytes than announced
	// make the ones before them doubtful.
	var more [1]byte
	if extra, _ := resp.Body.Read(more[:]); extra > 0 {
		return 0, &badAnswerError{fmt.Errorf("the body is longer than its Content-Range")}
	}
	return read, nil
}

// pieceBytes is how often a long read tells how far it has come.
const pieceBytes = 256 << 10

// readPieces is io.ReadFull that tells how far it has come, if somebody listens.
func readPieces(body io.Reader, p []byte, filled func(n int)) (int, error) {
	if filled == nil {
		return io.ReadFull(body, p)
	}
	got := 0
	for got < len(p) {
		n, err := io.ReadFull(body, p[got:min(got+pieceBytes, len(p))])
		if got += n; err != nil {
			return got, err
		}
		filled(got)
	}
	return got, nil
}

// checkStatus sorts out the answers that hold no bytes of the file.
func (r *Reader) checkStatus(resp *http.Response) error {
	const op = "read file"
	switch status := resp.StatusCode; status {
	case http.StatusOK, http.StatusPartialContent:
		return nil
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
		http.StatusRequestedRangeNotSatisfiable:
		// Expired signatures come as 400, 401 or 403. A missing object or a range
		// refused within a known size also deserve one fresh look.
		e := r.fail(source.KindUpstream, op, readAnswer(resp))
		e.Hint = "storage refuses an address that the Hub has just given"
		return &staleAddressError{e}
	default:
		floor, again := passing(resp, nil)
		e := r.dataset.refusedFile(op, r.file, resp)
		if again {
			return &askedToWaitError{e, floor}
		}
		return &staleAddressError{e}
	}
}

// checkRange accepts an answer only if it says that its body is the wanted bytes
// of a file of the right size, and returns how many of them it is.
func (r *Reader) checkRange(resp *http.Response, off, last int64) (int, error) {
	size := r.file.Size
	if resp.StatusCode == http.StatusOK {
		// The range was ignored. That is only right if all was asked for.
		if off == 0 && last == size-1 && resp.ContentLength == size {
			return int(size), nil
		}
		return 0, &badAnswerError{fmt.Errorf("the server ignores ranges")}
	}
	from, to, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case !ok:
		return 0, &badAnswerError{fmt.Errorf("the answer does not say which bytes it holds")}
	case total != size:
		return 0, &otherContentError{fmt.Sprintf("its size is %d, not %d", total, size)}
	case from != off || to > last || to < from:
		return 0, &badAnswerError{fmt.Errorf("asked for bytes %d-%d, got %d-%d", off, last, from, to)}
	case resp.ContentLength >= 0 && resp.ContentLength != to-from+1:
		return 0, &badAnswerError{fmt.Errorf("the answer's length is %d, its range %d-%d", resp.ContentLength, from, to)}
	}
	return int(to - from + 1), nil
}

// parseContentRange reads "bytes 0-99/1234"; every part must be there.
func parseContentRange(text string) (from, to, total int64, ok bool) {
	rest, ok := strings.CutPrefix(text, "bytes ")
	if !ok {
		return 0, 0, 0, false
	}
	span, size, ok := strings.Cut(rest, "/")
	if !ok {
		return 0, 0, 0, false
	}
	a, b, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, 0, false
	}
	var errs [3]error
	from, errs[0] = strconv.ParseInt(a, 10, 64)
	to, errs[1] = strconv.ParseInt(b, 10, 64)
	total, errs[2] = strconv.ParseInt(size, 10, 64)
	for _, err := range errs {
		if err != nil {
			return 0, 0, 0, false
		}
	}
	return from, to, total, from >= 0 && to >= from && total > to
}
