package hubtest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Misbehaviour is something that a real server, or something between it and the
// client, has been seen to do. Those that edit an answer let the request take
// effect.
type Misbehaviour uint8

// Each says what N is, if it is anything.
const (
	// IgnoreRange answers a range request with 200 and the whole file.
	IgnoreRange Misbehaviour = iota + 1
	// ShiftRange answers with a range that begins N bytes later (or earlier, if
	// N is negative) than what was asked for, and says so in Content-Range.
	ShiftRange
	// DropContentRange leaves Content-Range out of a 206.
	DropContentRange
	// WrongTotal adds N to the file's size in Content-Range and X-Linked-Size.
	WrongTotal
	// Unsatisfiable answers 416, whatever was asked for.
	Unsatisfiable
	// EndAfter sends N bytes of the body and ends the connection in good order.
	EndAfter
	// Lengthen says in Content-Length that there are N bytes more than are sent.
	Lengthen
	// Shorten says that there are N bytes fewer, and sends no more than it says.
	Shorten
	// Slow sends N bytes per second.
	Slow
	// Flip inverts bit N of the body.
	Flip
	// WrongETag names another content in ETag and X-Linked-ETag.
	WrongETag
	// Gzip answers compressed, without a range, if the client accepts gzip.
	Gzip
	// GzipUnasked does so although nobody asked.
	GzipUnasked
	// Garbage answers 200 with JSON that breaks off.
	Garbage
	// Expire lets the signature of a storage URL run out.
	Expire
	// Tamper makes the signature of a storage URL a wrong one.
	Tamper
	// RateLimited answers 429 of a quota that is used up and new in N seconds,
	// which only the RateLimit header tells.
	RateLimited
	// QuotaExceeded answers 429 of another limit: requests remain, and
	// Retry-After says N seconds.
	QuotaExceeded
	// TooMany answers 429 and tells nothing about when.
	TooMany
	// CommitInFlight answers 409: another commit is being made.
	CommitInFlight
	// SlowDown answers 503 as storage does.
	SlowDown
	// GatewayTimeout answers 504 with a page of HTML, as a gateway does that has
	// waited in vain: not at once, but after Delay, or a moment without one.
	GatewayTimeout
)

// misbehaviours are the names, as scripts write them.
var misbehaviours = [...]string{
	IgnoreRange: "ignore-range", ShiftRange: "shift-range", DropContentRange: "drop-content-range", WrongTotal: "wrong-total",
	Unsatisfiable: "unsatisfiable", EndAfter: "end", Lengthen: "lengthen", Shorten: "shorten", Slow: "slow", Flip: "flip",
	WrongETag: "wrong-etag", Gzip: "gzip", GzipUnasked: "gzip-unasked", Garbage: "garbage", Expire: "expire", Tamper: "tamper",
	RateLimited: "rate-limited", QuotaExceeded: "quota-exceeded", TooMany: "too-many", CommitInFlight: "commit-in-flight",
	SlowDown: "slow-down", GatewayTimeout: "gateway-timeout",
}

func (m Misbehaviour) String() string {
	if m == 0 || int(m) >= len(misbehaviours) {
		return fmt.Sprintf("misbehaviour(%d)", uint8(m))
	}
	return misbehaviours[m]
}

// numbered reports whether N means something.
func (m Misbehaviour) numbered() bool {
	switch m {
	case ShiftRange, WrongTotal, EndAfter, Lengthen, Shorten, Slow, Flip, RateLimited, QuotaExceeded:
		return true
	}
	return false
}

// ParseMisbehaviour reads a name.
func ParseMisbehaviour(name string) (Misbehaviour, bool) {
	for m, known := range misbehaviours {
		if known == name && name != "" {
			return Misbehaviour(m), true
		}
	}
	return 0, false
}

// gatewayPatience is how long a gateway waits that nobody has told a Delay; the
// real one waits a minute.
const gatewayPatience = 25 * time.Millisecond

// misbehave does what Do says.
func (f Fault) misbehave(h *Hub, w http.ResponseWriter, r *http.Request, next http.Handler) {
	if status, head, body, ok := f.refusal(); ok {
		if f.After {
			next.ServeHTTP(&lostWriter{head: http.Header{}}, r)
		}
		if f.Do == GatewayTimeout && f.Delay == 0 {
			pause(r.Context(), gatewayPatience)
		}
		answer(w, status, head, body)
		return
	}
	switch f.Do {
	case Gzip, GzipUnasked:
		f.compress(w, r, next)
		return
	case IgnoreRange:
		r = withoutRange(r)
	case ShiftRange:
		r = shifted(r, f.N)
	case Expire:
		h.ExpireSignatures()
	case Tamper:
		r = tampered(r)
	}
	next.ServeHTTP(f.edit(w, r), r)
}

// refusal is the answer of those that do not look at the request.
func (f Fault) refusal() (status int, head http.Header, body string, ok bool) {
	seconds := strconv.FormatInt(f.N, 10)
	text := func(s string) string { return `{"error":` + strconv.Quote(s) + `}` }
	switch f.Do {
	case Unsatisfiable:
		return http.StatusRequestedRangeNotSatisfiable, http.Header{"Content-Range": {"bytes */177"}}, "", true
	case Garbage:
		return http.StatusOK, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, `[{"type":"file","path":"`, true
	case RateLimited:
		return http.StatusTooManyRequests, http.Header{"RateLimit": {`"api";r=0;t=` + seconds}, "RateLimit-Policy": {ratePolicy(classAPI, 1000, 300)}}, text(tooManyText("api")), true
	case QuotaExceeded:
		return http.StatusTooManyRequests, http.Header{"RateLimit": {`"api";r=990;t=200`}, "RateLimit-Policy": {ratePolicy(classAPI, 1000, 300)}, "Retry-After": {seconds}}, text(commitQuotaText), true
	case TooMany:
		return http.StatusTooManyRequests, nil, text("Too Many Requests"), true
	case CommitInFlight:
		return http.StatusConflict, http.Header{"X-Error-Message": {commitInFlightText}}, text(commitInFlightText), true
	case SlowDown:
		return http.StatusServiceUnavailable, http.Header{"Content-Type": {"application/xml"}}, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>", true
	case GatewayTimeout:
		return http.StatusGatewayTimeout, http.Header{"Content-Type": {"text/html"}}, "<html><head><title>504 Gateway Time-out</title></head><body><h1>504 Gateway Time-out</h1></body></html>", true
	}
	return 0, nil, "", false
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, status int, head http.Header, body string) {
	for k, v := range head {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client may have gone: that is its affair
}

// edit wraps the writer of an answer that is changed on its way.
func (f Fault) edit(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	e := &edited{ResponseWriter: w, most: -1}
	switch f.Do {
	case DropContentRange:
		e.head = func(h http.Header) { h.Del("Content-Range") }
	case WrongTotal:
		e.head = f.addToTotal
	case WrongETag:
		e.head = wrongETags
	case EndAfter:
		e.most, e.full = f.N, func() { endConnection(w) }
	case Lengthen, Shorten:
		by := f.N
		if f.Do == Shorten {
			by = -by
		}
		e.head = func(h http.Header) {
			n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
			if err != nil {
				return // chunked: there is no length to be wrong
			}
			n = max(n+by, 0)
			h.Set("Content-Length", strconv.FormatInt(n, 10))
			e.most = n
		}
	case Slow:
		e.body = func(p []byte, _ int64) {
			pause(r.Context(), time.Duration(float64(len(p))/float64(max(f.N, 1))*float64(time.Second)))
		}
		e.piece = int(max(f.N/20, 1))
	case Flip:
		e.body = func(p []byte, at int64) {
			if i := f.N/8 - at; i >= 0 && i < int64(len(p)) {
				p[i] ^= 1 << (f.N % 8)
			}
		}
	default:
		return w
	}
	return e
}

func (f Fault) addToTotal(h http.Header) {
	add := func(text string) string {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return text
		}
		return strconv.FormatInt(n+f.N, 10)
	}
	if at, total, ok := strings.Cut(h.Get("Content-Range"), "/"); ok {
		h.Set("Content-Range", at+"/"+add(total))
	}
	if size := h.Get("X-Linked-Size"); size != "" {
		h.Set("X-Linked-Size", add(size))
	}
}

func wrongETags(h http.Header) {
	for _, name := range []string{"Etag", "X-Linked-Etag"} {
		tag := strings.Trim(h.Get(name), `"`)
		if raw, err := hex.DecodeString(tag); err == nil && len(raw) > 0 {
			raw[0] ^= 1
			h.Set(name, quote(hex.EncodeToString(raw)))
		}
	}
}

func withoutRange(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}

// shifted asks for another range than the client did, of the same length.
func shifted(r *http.Request, by int64) *http.Request {
	text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	from, to, _ := strings.Cut(text, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok || err != nil {
		return r
	}
	first = max(first+by, 0)
	if last, err := strconv.ParseInt(to, 10, 64); err == nil {
		to = strconv.FormatInt(max(last+by, first), 10)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", first, to))
	return r
}

func tampered(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	query := r.URL.Query()
	query.Set("X-Amz-Signature", strings.Repeat("0", 64))
	r.URL.RawQuery = query.Encode()
	return r
}

// maxCompressed bounds an answer that is held to be compressed.
const maxCompressed = 256 << 20

func (f Fault) compress(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if f.Do == Gzip && !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		next.ServeHTTP(w, r)
		return
	}
	held := &heldWriter{head: w.Header()}
	next.ServeHTTP(held, withoutRange(r))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(held.body.Bytes())
	if err == nil {
		err = z.Close()
	}
	if err != nil || held.tooLong {
		breakConnection(w)
	}
	answer(w, held.status, http.Header{"Content-Encoding": {"gzip"}}, packed.String())
}

// heldWriter keeps an answer's body.
type heldWriter struct {
	head    http.Header
	status  int
	body    bytes.Buffer
	tooLong bool
}

func (h *heldWriter) Header() http.Header { return h.head }

func (h *heldWriter) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *heldWriter) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	if h.body.Len()+len(p) > maxCompressed {
		h.tooLong = true
		return 0, http.ErrContentLength
	}
	return h.body.Write(p)
}

// edited is an answer that is changed on its way.
type edited struct {
	http.ResponseWriter
	// head changes the header before it is sent.
	head func(http.Header)
	// body changes, or delays, bytes of the body that begin at an offset; they
	// come in pieces of at most piece bytes, if that is not 0.
	body  func(p []byte, at int64)
	piece int
	// most is how much of the body is sent; -1 is all of it. full is called when
	// there would be more; without it the rest is dropped.
	most int64
	full func()

	begun bool
	sent  int64
}

func (e *edited) WriteHeader(status int) {
	if !e.begun {
		e.begun = true
		if e.head != nil {
			e.head(e.Header())
		}
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *edited) Write(p []byte) (int, error) {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	for rest := p; len(rest) > 0; {
		part := rest
		if e.piece > 0 {
			part = part[:min(len(part), e.piece)]
		}
		if e.most >= 0 {
			part = part[:min(int64(len(part)), e.most-e.sent)]
		}
		if len(part) == 0 {
			if e.full != nil {
				e.full() // does not return
			}
			return len(p), nil
		}
		if err := e.send(part); err != nil {
			return 0, err
		}
		rest = rest[len(part):]
	}
	return len(p), nil
}

func (e *edited) send(part []byte) error {
	if e.body != nil {
		part = bytes.Clone(part) // it may be what is stored
		e.body(part, e.sent)
	}
	n, err := e.ResponseWriter.Write(part)
	e.sent += int64(n)
	if e.piece > 0 {
		flushWritten(e.ResponseWriter)
	}
	return err
}
