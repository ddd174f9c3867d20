package hub_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

const streamed = 1 << 20

// breakOff serves the first half of the asked range and ends the connection.
func (s *scripted) breakOff(w http.ResponseWriter, r *http.Request) {
	var from, to int
	_, _ = fmt.Sscanf(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "%d-%d", &from, &to)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.content)))
	w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(s.content[from : from+(to-from)*2/3])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// stream reads the whole file and checks, each time it is told of bytes, that
// they are there, and at the end that they were left alone.
func stream(t *testing.T, s *scripted, want []byte) error {
	t.Helper()
	r := s.open(t, hub.Options{Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond}}).(*hub.Reader)
	p, last := make([]byte, streamed), 0
	err := r.StreamAt(t.Context(), p, 0, func(n int) {
		if n <= last || !bytes.Equal(p[last:n], want[last:n]) {
			t.Errorf("told of %d bytes after %d, or other bytes", n, last)
		}
		last = n
	})
	if last == 0 || !bytes.Equal(p[:last], want[:last]) {
		t.Errorf("told of %d bytes, or they were written to afterwards", last)
	}
	if err == nil && (last != streamed || !bytes.Equal(p, want)) {
		t.Errorf("told of %d bytes at the end, or other bytes", last)
	}
	return err
}

func TestAStreamTellsHowFarItIsWhateverInterruptsIt(t *testing.T) {
	for name, fault := range map[string]func(s *scripted, w http.ResponseWriter, r *http.Request, n int){
		"nothing":      func(s *scripted, w http.ResponseWriter, r *http.Request, _ int) { s.proper(w, r) },
		"an early end": func(s *scripted, w http.ResponseWriter, r *http.Request, _ int) { s.breakOff(w, r) },
		"an early end, then an expired address": func(s *scripted, w http.ResponseWriter, r *http.Request, n int) {
			if n == 2 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			s.breakOff(w, r)
		},
		"an early end, then another object of the same bytes": func(s *scripted, w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("ETag", fmt.Sprintf(`"object-%d"`, min(n, 2)))
			if n == 1 {
				s.breakOff(w, r)
			}
			s.proper(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t, streamed)
			s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
				if n > 3 {
					w.Header().Set("ETag", `"object-2"`)
					s.proper(w, r)
					return
				}
				fault(s, w, r, n)
			}
			if err := stream(t, s, bytes.Clone(s.content)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStreamThatGoesOnWithOtherBytesIsChanged(t *testing.T) {
	s := newScripted(t, streamed)
	first := bytes.Clone(s.content)
	s.serve = func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", fmt.Sprintf(`"object-%d"`, min(n, 2)))
		if n == 1 {
			s.breakOff(w, r)
		}
		// The Hub still calls it the same.
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append([]byte("other"), first[5:]...)))
	}
	if err := stream(t, s, first); source.KindOf(err) != source.KindChanged {
		t.Errorf("got %v, want kind changed", err)
	}
}
