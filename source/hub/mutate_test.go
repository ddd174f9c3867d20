package hub_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

// answersEnv asks for another number of damaged answers; the nightly run for many.
const answersEnv = "HUBFLIGHT_ANSWERS"

// damaged is an answer to a range request that is somehow wrong, made of a seed.
// Whatever it says about the bytes it sends may be wrong too, except that it never
// claims to be exactly what was asked for while it is not: nobody could tell.
type damaged struct {
	status       int
	header       http.Header
	body         []byte
	breaks, lies bool
}

func damage(r *rand.Rand, content []byte, from, to int64) damaged {
	size := int64(len(content))
	a, b := from, to // what is sent, both inclusive
	for range r.IntN(3) {
		switch r.IntN(4) {
		case 0:
			by := r.Int64N(5) - 2
			a, b = a+by, b+by
		case 1:
			b += r.Int64N(2000) - 1000
		case 2:
			a = r.Int64N(size)
		case 3:
			a, b = 0, size-1
		}
	}
	a = min(max(a, 0), size-1)
	b = min(max(b, a), size-1)
	d := damaged{status: http.StatusPartialContent, header: http.Header{"Etag": {`"one"`}}, body: content[a : b+1]}
	first, last, total := a, b, size
	for range r.IntN(3) {
		switch r.IntN(6) {
		case 0:
			first += r.Int64N(3) - 1
		case 1:
			last += r.Int64N(3) - 1
		case 2:
			total += r.Int64N(3) - 1
		case 3:
			first, last, total = r.Int64(), r.Int64(), r.Int64()
		case 4:
			first = -first
		case 5:
			last = first - 1
		}
	}
	claim := fmt.Sprintf("bytes %d-%d/%d", first, last, total)
	if r.IntN(4) == 0 {
		claim = []string{"", "bytes */" + fmt.Sprint(size), fmt.Sprintf("bytes %d-%d/*", first, last), fmt.Sprintf("octets %d-%d/%d", first, last, total), claim + ",", " " + claim, "bytes=" + claim, strings.Repeat("9", 30)}[r.IntN(8)]
	}
	if claim != "" {
		d.header.Set("Content-Range", claim)
	}
	if r.IntN(4) == 0 {
		d.status = []int{200, 200, 201, 203, 204, 206, 301, 400, 403, 404, 416, 429, 500, 503}[r.IntN(14)]
	}
	if r.IntN(6) == 0 {
		name := []string{"Content-Encoding", "Content-Type", "Etag"}[r.IntN(3)]
		d.header.Set(name, []string{"gzip", "multipart/byteranges; boundary=x", `"two"`, "identity"}[r.IntN(4)])
	}
	switch r.IntN(8) {
	case 0:
		d.breaks, d.body = true, d.body[:r.IntN(len(d.body)+1)]
	case 1:
		d.body = append(append([]byte{}, d.body...), "more"...)
	case 2:
		d.body = d.body[:r.IntN(len(d.body)+1)]
	}
	// The one thing that no client can see through.
	n := min(int64(len(d.body)), max(last-from+1, 0))
	d.lies = first == from && last <= to && total == size && (a != from || !bytes.Equal(d.body[:n], content[from:from+n])) ||
		a != from && d.status == http.StatusOK && from == 0
	return d
}

func (d damaged) serve(w http.ResponseWriter) {
	for name, values := range d.header {
		w.Header()[name] = values
	}
	if d.breaks {
		w.Header().Set("Content-Length", strconv.Itoa(len(d.body)+1))
	}
	w.WriteHeader(d.status)
	_, _ = w.Write(d.body) // not allowed with every status, and the client may have gone
	if d.breaks {
		panic(http.ErrAbortHandler)
	}
}

// Of very many wrong answers none brings a wrong byte: what is read is what the
// file holds, or an error with a kind.
func TestNoDamagedAnswerBringsAWrongByte(t *testing.T) {
	count := 1000
	if text := os.Getenv(answersEnv); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s=%q is no number", answersEnv, text)
		}
	}
	const size = 700_000 // more than two of the pieces in which long reads are told
	s := newScripted(t, size)
	var present atomic.Pointer[damaged]
	var bad atomic.Int64 // how many answers are still to be damaged
	s.serve = func(w http.ResponseWriter, r *http.Request, _ int) {
		if bad.Add(-1) >= 0 {
			present.Load().serve(w)
			return
		}
		w.Header().Set("ETag", `"one"`)
		s.proper(w, r)
	}
	client := clientWith(t, hub.Options{Endpoint: s.hub.URL, StallTimeout: 5 * time.Second, Retry: hub.RetryOptions{Attempts: 3, Base: time.Microsecond, Max: time.Microsecond}})
	var whole, refused, skipped int
	for seed := range count {
		random := rand.New(rand.NewPCG(uint64(seed), 4))
		from := random.Int64N(size - 1000)
		to := from + random.Int64N(5000)
		if random.IntN(6) == 0 {
			from, to = random.Int64N(2)*random.Int64N(1000), size-1-random.Int64N(2)*random.Int64N(1000)
		}
		to = min(to, size-1)
		answer := damage(random, s.content, from, to)
		if answer.lies {
			skipped++
			continue
		}
		present.Store(&answer)
		bad.Store(1 + random.Int64N(2)*1000) // once, or always
		r, err := client.Dataset(repo, source.NewHubToken(token)).Open(t.Context(), s.file())
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, to-from+1)
		told := 0
		err = r.(*hub.Reader).StreamAt(t.Context(), p, from, func(n int) {
			if told = n; !bytes.Equal(p[:n], s.content[from:from+int64(n)]) {
				t.Errorf("seed %d: told of %d bytes that are wrong", seed, n)
			}
		})
		if !bytes.Equal(p[:told], s.content[from:from+int64(told)]) {
			t.Errorf("seed %d: %d bytes that were told have changed", seed, told)
		}
		bad.Store(0)
		_ = r.Close()
		var typed *source.Error
		switch {
		case err == nil && !bytes.Equal(p, s.content[from:to+1]):
			t.Errorf("seed %d: wrong bytes for %d-%d: %d %v, %d bytes", seed, from, to, answer.status, answer.header, len(answer.body))
		case err == nil:
			whole++
		case !errors.As(err, &typed) || typed.Kind == source.KindInternal || typed.Kind == source.KindUnknown:
			t.Errorf("seed %d: %v", seed, err)
		default:
			refused++
		}
	}
	t.Logf("%d reads were whole, %d refused, %d answers were no test", whole, refused, skipped)
	if whole < count/10 || refused < count/10 || skipped > count/3 {
		t.Errorf("%d whole, %d refused, %d skipped: the answers are not varied enough", whole, refused, skipped)
	}
}
