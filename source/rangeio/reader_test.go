package rangeio_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Reader of bytes that remembers what was asked of it.
type memory struct {
	content []byte
	asked   [][2]int64 // offset, length
	fail    error
	closed  bool
}

func (m *memory) ReadAt(_ context.Context, p []byte, off int64) error {
	if m.fail != nil {
		return m.fail
	}
	if off < 0 || off+int64(len(p)) > m.Size() {
		return source.Errorf(source.KindInvalid, "read", "outside")
	}
	m.asked = append(m.asked, [2]int64{off, int64(len(p))})
	copy(p, m.content[off:])
	return nil
}

func (m *memory) Size() int64  { return int64(len(m.content)) }
func (m *memory) Close() error { m.closed = true; return nil }

func newMemory(n int) *memory {
	m := &memory{content: make([]byte, n)}
	for i := range m.content {
		m.content[i] = byte(i * 31)
	}
	return m
}

func check(t *testing.T, r *rangeio.Reader, m *memory, off, n int64, wantAsked ...[2]int64) {
	t.Helper()
	m.asked = nil
	p := make([]byte, n)
	if err := r.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, m.content[off:off+n]) {
		t.Fatalf("%d+%d: %v, or other bytes", off, n, err)
	}
	if len(m.asked) != len(wantAsked) {
		t.Fatalf("%d+%d: asked for %v, want %v", off, n, m.asked, wantAsked)
	}
	for i := range wantAsked {
		if m.asked[i] != wantAsked[i] {
			t.Errorf("%d+%d: asked for %v, want %v", off, n, m.asked, wantAsked)
		}
	}
}

func TestTheTailIsFetchedOnce(t *testing.T) {
	m := newMemory(1000)
	r := rangeio.New(m, rangeio.Options{})
	check(t, r, m, 0, 10, [2]int64{0, 10})
	check(t, r, m, 992, 8, [2]int64{992, 8})
	check(t, r, m, 992, 8)
	check(t, r, m, 995, 2)
	check(t, r, m, 900, 100, [2]int64{900, 92}) // only what is in front of the tail
	check(t, r, m, 900, 100)
	check(t, r, m, 800, 150, [2]int64{800, 100})
	check(t, r, m, 800, 100, [2]int64{800, 100})
	if got, want := r.Stats(), (rangeio.Stats{Reads: 8, BytesRead: 478, Requests: 5, BytesFetched: 310}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheTailIsBounded(t *testing.T) {
	m := newMemory(1000)
	r := rangeio.New(m, rangeio.Options{MaxTail: 50})
	check(t, r, m, 900, 100, [2]int64{900, 100})
	check(t, r, m, 950, 50, [2]int64{950, 50})
	check(t, r, m, 950, 50)
	check(t, r, m, 0, 1000, [2]int64{0, 950})
	none := rangeio.New(m, rangeio.Options{MaxTail: -1})
	check(t, none, m, 992, 8, [2]int64{992, 8})
	check(t, none, m, 992, 8, [2]int64{992, 8})
}

func TestWhatTheReaderBelowRefusesIsRefused(t *testing.T) {
	m := newMemory(100)
	r := rangeio.New(m, rangeio.Options{})
	check(t, r, m, 90, 10, [2]int64{90, 10})
	for _, at := range [][2]int64{{95, 6}, {100, 1}, {-1, 1}, {-5, 200}} {
		if err := r.ReadAt(t.Context(), make([]byte, at[1]), at[0]); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%v: got %v", at, err)
		}
	}
	m.fail = errors.New("boom")
	if err := r.ReadAt(t.Context(), make([]byte, 100), 0); !errors.Is(err, m.fail) {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.ReadAt(gone, make([]byte, 10), 90); source.KindOf(err) != source.KindCanceled {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); err != nil || !m.closed {
		t.Errorf("closed: %v, %v", m.closed, err)
	}
	if err := r.ReadAt(t.Context(), make([]byte, 10), 90); err == nil {
		t.Error("a closed reader serves its tail")
	}
}
