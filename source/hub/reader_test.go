package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

const (
	sha   = "0123456789012345678901234567890123456789"
	token = "hf_canarycanarycanary"
)

// scripted is a Hub that resolves one file to a storage server of its own, which
// behaves as the test wants. It is for what the faithful stand-in does not do.
type scripted struct {
	hub, storage *httptest.Server
	content      []byte
	// serve answers a ranged read at storage; nil serves properly.
	serve func(w http.ResponseWriter, r *http.Request, n int)
	// locate changes where resolve redirects to.
	locate func(n int) string
	// say changes what resolve says beside that.
	say func(http.Header)

	reads, resolves atomic.Int64
	leaked          atomic.Bool // storage has seen an Authorization header
}

func newScripted(t *testing.T, size int) *scripted {
	t.Helper()
	s := &scripted{content: make([]byte, size)}
	random := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range s.content {
		s.content[i] = byte(random.Uint32())
	}
	s.storage = httptest.NewServer(http.HandlerFunc(s.serveStorage))
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	t.Cleanup(func() { s.hub.Close(); s.storage.Close() })
	return s
}

func (s *scripted) serveStorage(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		s.leaked.Store(true)
	}
	n := int(s.reads.Add(1))
	if s.serve != nil {
		s.serve(w, r, n)
		return
	}
	s.proper(w, r)
}

func (s *scripted) proper(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

func (s *scripted) serveHub(w http.ResponseWriter, r *http.Request) {
	n := int(s.resolves.Add(1))
	w.Header().Set("X-Repo-Commit", sha)
	w.Header().Set("X-Linked-Etag", `"`+s.oid()+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(s.content)))
	target := fmt.Sprintf("%s/object?signature=secret%d", s.storage.URL, n)
	if s.locate != nil {
		target = s.locate(n)
	}
	w.Header().Set("Location", target)
	if s.say != nil {
		s.say(w.Header())
	}
	w.WriteHeader(http.StatusFound)
}

func (s *scripted) oid() string {
	sum := sha256.Sum256(s.content)
	return hex.EncodeToString(sum[:])
}

func (s *scripted) file() source.File {
	return source.File{
		At:   source.Snapshot{Name: repo, Revision: "main", Commit: sha},
		Path: "data/x.parquet", Size: int64(len(s.content)), OID: s.oid(),
	}
}

func (s *scripted) open(t *testing.T, o hub.Options) source.Reader {
	t.Helper()
	o.Endpoint = s.hub.URL
	r, err := clientWith(t, o).Dataset(repo, source.NewHubToken(token)).Open(t.Context(), s.file())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// stop answers requests that must not be left hanging when a test ends.
func hang(r *http.Request) { <-r.Context().Done() }

func TestAFaultyStorageGivesTheRightBytesOrAnError(t *testing.T) {
	contentRange := func(value string) func(*scripted, http.ResponseWriter, *http.Request) {
		return func(s *scripted, w http.ResponseWriter, r *http.Request) {
			if value != "" {
				w.Header().Set("Content-Range", value)
			}
			w.WriteHeader(http.StatusPartialContent)
			w.Write(s.content[:1000])
		}
	}
	status := func(code int) func(*scripted, http.ResponseWriter, *http.Request) {
		return func(_ *scripted, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, c := range []struct {
		name  string
		fault func(s *scripted, w http.ResponseWriter, r *http.Request)
		// kind is the error if the fault never ends; if it comes once, the read
		// must succeed unless fatal.
		kind source.Kind
	}{
		{"a 500", status(http.StatusInternalServerError), source.KindUpstream},
		{"a 503", status(http.StatusServiceUnavailable), source.KindUpstream},
		{"a 429", status(http.StatusTooManyRequests), source.KindBusy},
		{"an expired signature", status(http.StatusForbidden), source.KindUpstream},
		{"a 400", status(http.StatusBadRequest), source.KindUpstream},
		{"a 404", status(http.StatusNotFound), source.KindUpstream},
		{"a 416", status(http.StatusRequestedRangeNotSatisfiable), source.KindUpstream},
		{"an ignored range", func(s *scripted, w http.ResponseWriter, _ *http.Request) { w.Write(s.content) }, source.KindUpstream},
		{"no Content-Range", contentRange(""), source.KindUpstream},
		{"a shifted range", contentRange("bytes 1-1000/100000"), source.KindUpstream},
		{"a longer range", contentRange("bytes 0-1000/100000"), source.KindUpstream},
		{"an unknown size", contentRange("bytes 0-999/*"), source.KindUpstream},
		{"another size", contentRange("bytes 0-999/99999"), source.KindChanged},
		{"a lie about the length", contentRange("bytes 0-998/100000"), source.KindUpstream},
		{"several ranges", func(s *scripted, w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=0-499,500-999")
			s.proper(w, r)
		}, source.KindUpstream},
		{"an encoding nobody asked for", func(s *scripted, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Range", "bytes 0-999/100000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(s.content[:1000])
		}, source.KindUpstream},
		{"an early end", func(s *scripted, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/100000")
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(s.content[:10])
			panic(http.ErrAbortHandler)
		}, source.KindUpstream},
		{"more bytes than announced", func(s *scripted, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/100000")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush() // chunked: without a length
			w.Write(s.content[:1001])
		}, source.KindUpstream},
		{"a reset", func(*scripted, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, source.KindUpstream},
		{"a stall before the headers", func(_ *scripted, _ http.ResponseWriter, r *http.Request) { hang(r) }, source.KindUpstream},
		{"a stall in the body", func(s *scripted, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-999/100000")
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush()
			hang(r)
		}, source.KindUpstream},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t, 100_000)
			options := hub.Options{StallTimeout: 100 * time.Millisecond, Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond}}
			once := true
			s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 || !once {
					c.fault(s, w, r)
					return
				}
				s.proper(w, r)
			}
			r := s.open(t, options)
			p := make([]byte, 1000)
			if err := r.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, s.content[:1000]) {
				t.Fatalf("once: %v, or other bytes", err)
			}
			once = false
			err := r.ReadAt(t.Context(), p, 0)
			if source.KindOf(err) != c.kind {
				t.Fatalf("always: got %v, want kind %v", err, c.kind)
			}
			var typed *source.Error
			if !errors.As(err, &typed) || typed.Path == "" {
				t.Errorf("error names no file: %v", err)
			}
			if strings.Contains(err.Error(), "secret") || s.leaked.Load() {
				t.Errorf("a secret got out: %v", err)
			}
		})
	}
}

func TestABodyThatBreaksOffIsContinuedWhereItEnded(t *testing.T) {
	s := newScripted(t, 100_000)
	var sent atomic.Int64
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		var from, to int64
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.content)))
		w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
		w.WriteHeader(http.StatusPartialContent)
		part := s.content[from:min(to+1, from+30_000)]
		sent.Add(int64(len(part)))
		w.Write(part)
		if from+30_000 <= to {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	r := s.open(t, hub.Options{Retry: hub.RetryOptions{Attempts: 2, Base: time.Millisecond}})
	p := make([]byte, 100_000)
	if err := r.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, s.content) {
		t.Fatalf("error %v, or other bytes", err)
	}
	if got := sent.Load(); got != 100_000 {
		t.Errorf("storage sent %d bytes, want each once: 100000", got)
	}
}

func TestAnExpiredAddressIsReplacedOnceForAllReaders(t *testing.T) {
	s := newScripted(t, 100_000)
	good := "signature=secret1"
	var mu sync.Mutex
	s.serve = func(w http.ResponseWriter, r *http.Request, _ int) {
		mu.Lock()
		valid := r.URL.RawQuery == good
		mu.Unlock()
		if !valid {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.proper(w, r)
	}
	d := clientWith(t, hub.Options{Endpoint: s.hub.URL}).Dataset(repo, source.NewHubToken(token))
	var readers []source.Reader
	var opening sync.WaitGroup
	for range 4 {
		opening.Go(func() {
			r, err := d.Open(t.Context(), s.file())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			readers = append(readers, r)
		})
	}
	opening.Wait()
	if got := s.resolves.Load(); got != 1 || len(readers) != 4 {
		t.Fatalf("%d resolves for %d Readers of one file, want 1", got, len(readers))
	}
	mu.Lock()
	good = "signature=secret2" // what the next resolve gives
	mu.Unlock()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			p := make([]byte, 1000)
			off := int64(i) * 1000
			if err := readers[i%4].ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, s.content[off:off+1000]) {
				t.Errorf("error %v, or other bytes", err)
			}
		})
	}
	group.Wait()
	if got := s.resolves.Load(); got != 2 {
		t.Errorf("%d resolves, want 2", got)
	}
	for _, r := range readers {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Each address serves one range. Whoever finds that another's is used up, too,
// goes on asking until one is his own.
func TestAddressesThatExpireAtOnceAreReplacedAsOftenAsItTakes(t *testing.T) {
	s := newScripted(t, 100_000)
	var mu sync.Mutex
	used := map[string]bool{}
	s.serve = func(w http.ResponseWriter, r *http.Request, _ int) {
		mu.Lock()
		again := used[r.URL.RawQuery]
		used[r.URL.RawQuery] = true
		mu.Unlock()
		if again {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.proper(w, r)
	}
	d := clientWith(t, hub.Options{Endpoint: s.hub.URL}).Dataset(repo, source.NewHubToken(token))
	for i := range int64(6) {
		for range 2 {
			r, err := d.Open(t.Context(), s.file())
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 1000)
			if err := r.ReadAt(t.Context(), p, i*1000); err != nil || !bytes.Equal(p, s.content[i*1000:][:1000]) {
				t.Errorf("error %v, or other bytes", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAFileThatMovedUnderAnExpiredAddressIsChanged(t *testing.T) {
	s := newScripted(t, 1000)
	r := s.open(t, hub.Options{})
	s.content = append([]byte("x"), s.content[1:]...) // another oid from now on
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.proper(w, r)
	}
	err := r.ReadAt(t.Context(), make([]byte, 10), 0)
	if source.KindOf(err) != source.KindChanged {
		t.Fatalf("got %v, want kind changed", err)
	}
}

func TestRangesOfDifferentObjectsAreNeverJoined(t *testing.T) {
	s := newScripted(t, 1000)
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", fmt.Sprintf(`"object-%d"`, n))
		s.proper(w, r)
	}
	r := s.open(t, hub.Options{})
	if err := r.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	// A new ETag makes the Reader ask the Hub, which says that the file is the
	// same: the new object is then taken as a whole.
	if err := r.ReadAt(t.Context(), make([]byte, 10), 10); err != nil {
		t.Fatal(err)
	}
	if got := s.resolves.Load(); got != 2 {
		t.Errorf("%d resolves, want 2", got)
	}
}

// Nobody has read from the address before either of them.
func TestRangesOfDifferentObjectsAreNotJoinedEitherThatAreReadAtOnce(t *testing.T) {
	s := newScripted(t, 1000)
	var both sync.WaitGroup
	both.Add(2)
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", fmt.Sprintf(`"object-%d"`, min(n, 3)))
		if n <= 2 {
			both.Done()
			both.Wait()
		}
		s.proper(w, r)
	}
	r := s.open(t, hub.Options{})
	var reads sync.WaitGroup
	for i := range int64(2) {
		reads.Go(func() {
			if err := r.ReadAt(t.Context(), make([]byte, 10), 10*i); err != nil {
				t.Error(err)
			}
		})
	}
	reads.Wait()
	if got := s.resolves.Load(); got != 2 {
		t.Errorf("%d resolves, want 2: of the second object the Hub has to say that it is the file", got)
	}
}

// The length of a redirect's own text is no size of a file.
func TestAFileIsReadWhoseAddressComesWithoutASize(t *testing.T) {
	s := newScripted(t, 1000)
	s.say = func(h http.Header) {
		h.Del("X-Linked-Size")
		h.Set("Content-Length", "278")
	}
	r := s.open(t, hub.Options{})
	p := make([]byte, 1000)
	if err := r.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, s.content) {
		t.Errorf("error %v, or other bytes", err)
	}
}

func TestADrippingServerIsCutOff(t *testing.T) {
	s := newScripted(t, 100_000)
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Content-Range", "bytes 0-99999/100000")
		w.WriteHeader(http.StatusPartialContent)
		for i := 0; r.Context().Err() == nil && i < len(s.content); i++ {
			w.Write(s.content[i : i+1])
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	r := s.open(t, hub.Options{StallTimeout: 100 * time.Millisecond, Retry: hub.RetryOptions{Attempts: 1}})
	start := time.Now()
	err := r.ReadAt(t.Context(), make([]byte, 100_000), 0)
	if source.KindOf(err) != source.KindUpstream || time.Since(start) > time.Minute {
		t.Fatalf("after %s: %v", time.Since(start), err)
	}
}

func TestACanceledReadLetsGoOfItsRequestAtOnce(t *testing.T) {
	for name, end := range map[string]func(cancel func(), r source.Reader){
		"by the caller": func(cancel func(), _ source.Reader) { cancel() },
		"by Close":      func(_ func(), r source.Reader) { r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t, 1000)
			started, released := make(chan struct{}), make(chan struct{})
			s.serve = func(w http.ResponseWriter, r *http.Request, _ int) {
				close(started)
				hang(r)
				close(released)
			}
			r := s.open(t, hub.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- r.ReadAt(ctx, make([]byte, 10), 0) }()
			<-started
			end(cancel, r)
			for what, c := range map[string]<-chan struct{}{"request": released} {
				select {
				case <-c:
				case <-time.After(time.Second):
					t.Fatalf("the %s was not released within a second", what)
				}
			}
			if err := <-done; err == nil {
				t.Fatal("the read succeeded")
			}
		})
	}
}

func TestWhatTheHubRefusesOneOfManyIsNotAskedAgainByEach(t *testing.T) {
	const attempts, many = 3, 8
	var asked atomic.Int64
	var waiting atomic.Bool
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		for end := time.Now().Add(10 * time.Second); !waiting.Load() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer failing.Close()
	d := clientWith(t, hub.Options{Endpoint: failing.URL, Retry: hub.RetryOptions{Attempts: attempts, Base: time.Millisecond}}).Dataset(repo, source.NewHubToken(token))
	f := newScripted(t, 1000).file()
	var opens sync.WaitGroup
	for range many {
		opens.Go(func() {
			if _, err := d.Open(t.Context(), f); source.KindOf(err) != source.KindUpstream || !strings.Contains(err.Error(), f.Path) {
				t.Errorf("got %v", err)
			}
		})
	}
	// One asks, and all others wait for what he is told.
	stacks := make([]byte, 4<<20)
	for end := time.Now().Add(10 * time.Second); bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("(*confirmations).ask(")) < many-1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("the others do not wait")
			break
		}
	}
	waiting.Store(true)
	opens.Wait()
	if got := asked.Load(); got != attempts {
		t.Errorf("%d requests of %d who open one file, want the %d of one", got, many, attempts)
	}
	// Whoever comes later asks for himself.
	if _, err := d.Open(t.Context(), f); source.KindOf(err) != source.KindUpstream || asked.Load() != 2*attempts {
		t.Errorf("later: %d requests, %v", asked.Load(), err)
	}
}

// Who goes away has been refused nothing.
func TestACancelledOpenIsNobodyElsesError(t *testing.T) {
	s := newScripted(t, 1000)
	first, leave := make(chan struct{}), make(chan struct{})
	s.locate = func(n int) string {
		if n == 1 {
			close(first)
			<-leave
		}
		return s.storage.URL + "/object"
	}
	d := clientWith(t, hub.Options{Endpoint: s.hub.URL}).Dataset(repo, source.NewHubToken(token))
	ctx, cancel := context.WithCancel(t.Context())
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := d.Open(ctx, s.file())
		gone <- err
	}()
	<-first
	go func() {
		r, err := d.Open(t.Context(), s.file())
		if err == nil {
			err = r.Close()
		}
		stays <- err
	}()
	time.Sleep(20 * time.Millisecond) // it waits for the first one's answer
	cancel()
	if err := <-gone; source.KindOf(err) != source.KindCanceled {
		t.Errorf("got %v", err)
	}
	if err := <-stays; err != nil {
		t.Errorf("the other got %v", err)
	}
	close(leave)
}

func TestBytesAreServedOnlyAfterTheHubConfirmedThemToThisCaller(t *testing.T) {
	s := newScripted(t, 1000)
	c := client(t, s.hub.URL)
	mine, other := source.NewHubToken(token), source.NewHubToken(token+"2")
	open := func(tok source.HubToken, want int64) {
		t.Helper()
		r, err := c.Dataset(repo, tok).Open(t.Context(), s.file())
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if got := s.resolves.Load(); got != want {
			t.Errorf("%d resolves, want %d", got, want)
		}
	}
	open(mine, 1)
	open(mine, 1)  // confirmed within the minute
	open(other, 2) // nothing is known about this caller
	forged := s.file()
	forged.OID = strings.Repeat("ab", 32)
	if _, err := c.Dataset(repo, mine).Open(t.Context(), forged); source.KindOf(err) != source.KindChanged {
		t.Errorf("a forged identity gave %v", err)
	}
}
