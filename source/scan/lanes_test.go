package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
)

// Batch borders are part of what two workers must not change: a client that
// resumes by rows would not see it, but a measurement would.
func TestTwoWorkersGiveTheBatchesOfOne(t *testing.T) {
	for name, batch := range map[string]arrow.RecordBatch{"flat": flatBatch(4000), "nested": nestedBatch(1500, 11)} {
		data := write(t, batch, 130, parquet.WithPageIndexEnabled(true), parquet.WithDataPageSize(512))
		ft := footer(t, data)
		for _, f := range []string{"", `[["id",">=",333],["id","not in",[400,401,900]]]`, `[["id","<",0]]`} {
			for _, window := range [][2]int64{{0, -1}, {131, -1}, {7, 700}, {500, 1200}} {
				q := Query{BatchRows: 50, BatchBytes: 20_000}
				if f != "" {
					q.Filters = mustFilter(t, f)
				}
				task := Task{Footer: ft, Query: q, Skip: window[0], Limit: window[1], Workers: 1}
				want, serial, err := readInto(t, data, task)
				if err != nil {
					t.Fatal(err)
				}
				task.Workers = 2
				got, parallel, err := readInto(t, data, task)
				if err != nil {
					t.Fatal(err)
				}
				if len(parallel) != len(serial) {
					t.Fatalf("%s, filter %q, %v: %d batches, want %d", name, f, window, len(parallel), len(serial))
				}
				for i := range serial {
					if parallel[i].NumRows() != serial[i].NumRows() {
						t.Fatalf("%s, filter %q, %v: batch %d has %d rows, want %d", name, f, window, i, parallel[i].NumRows(), serial[i].NumRows())
					}
				}
				sameRows(t, got, want)
			}
		}
	}
}

func TestNothingOfOtherColumnsIsReadWithoutAHit(t *testing.T) {
	batch := flatBatch(4000)
	data := write(t, batch, 1000, parquet.WithStats(false))
	ft := footer(t, data)
	id := ft.leavesAt([]string{"id"})[0]
	for f, hits := range map[string]int{`[["id","=",-5]]`: 0, `[["id","=",2345]]`: 1} {
		reader := &listening{bytesReader: bytesReader{data: data}}
		benchScan(t, Task{File: testFile, Reader: reader, Footer: ft, Query: Query{Filters: mustFilter(t, f)}, Limit: -1})
		others := map[int]bool{} // row groups of which anything else was read
		for _, r := range reader.read {
			for g := range ft.NumRowGroups() {
				for leaf, c := range ft.chunks[g] {
					if leaf != id && r.Off < c.off+c.len && r.End() > c.off {
						others[g] = true
					}
				}
			}
		}
		if len(others) != hits || hits > 0 && !others[2] {
			t.Errorf("%s: other columns were read of row groups %v", f, others)
		}
	}
}

func TestClosingStopsAllWorkers(t *testing.T) {
	data := write(t, flatBatch(30_000), 3000)
	ft := footer(t, data)
	for _, q := range []Query{{}, {Filters: mustFilter(t, `[["id",">",100]]`)}} {
		for _, batches := range []int{0, 1, 4} {
			mem := newChecked()
			spare := &lent{room: semaphore.NewWeighted(1 << 30)}
			s, err := Open(t.Context(), Task{
				File: testFile, Reader: &bytesReader{data: data}, Footer: ft, Memory: mem, Query: q, Limit: -1, Workers: 2, Spare: spare,
			})
			if err != nil {
				t.Fatal(err)
			}
			for range batches {
				b, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				b.Release()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			balanced(t, mem)
			if n := spare.out.Load(); n != 0 {
				t.Errorf("%d bytes of spare memory were not given back", n)
			}
		}
	}
}

// A consumer that is slower than one worker gains nothing from a second.
func TestNothingIsDecodedAheadWhileTheConsumerHasEnough(t *testing.T) {
	const batch = 100
	piecesOf := func(n int, bytes int64) *lane {
		ln := &lane{bytes: int64(n) * bytes, run: func() {}}
		for range n {
			ln.pieces = append(ln.pieces, piece{bytes: bytes})
		}
		return ln
	}
	for _, c := range []struct {
		lanes []*lane
		done  bool // the first
		opens bool
	}{
		{[]*lane{piecesOf(0, 0)}, false, true},
		{[]*lane{piecesOf(1, batch-1)}, false, true},
		{[]*lane{piecesOf(1, batch)}, false, false},
		{[]*lane{piecesOf(2, batch)}, false, false},
		{[]*lane{piecesOf(1, batch-1), piecesOf(9, batch)}, false, true}, // what is ahead is nothing to a consumer
		{[]*lane{piecesOf(1, batch-1), piecesOf(9, batch)}, true, false}, // now it is
	} {
		l := &lanes{jobs: make([]portion, 9), next: len(c.lanes), queue: 2 * batch, most: 3, hungry: true, changed: make(chan struct{}), lanes: c.lanes}
		if c.lanes[0].done = c.done; c.done {
			c.lanes[0].run = nil
		}
		if got := l.wanting(); got != c.opens {
			t.Errorf("%v: wanting %t", c, got)
		}
		opened := l.choose(&slot{}) != nil
		if opened != c.opens {
			t.Errorf("%v: a lane ahead was opened: %t", c, opened)
		}
	}
}

// lent is Spare memory that counts what is out.
type lent struct {
	room *semaphore.Weighted
	out  atomic.Int64
	ever atomic.Int64
}

func (l *lent) TryAcquire(n int64) bool {
	if !l.room.TryAcquire(n) {
		return false
	}
	l.out.Add(n)
	l.ever.Add(n)
	return true
}

func (l *lent) Release(n int64) {
	l.out.Add(-n)
	l.room.Release(n)
}

// slots are Turns that count.
type slots struct {
	room *semaphore.Weighted
	held atomic.Int64
	most atomic.Int64
}

func (s *slots) count() {
	n := s.held.Add(1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
}

func (s *slots) Take(ctx context.Context) error {
	if err := s.room.Acquire(ctx, 1); err != nil {
		return err
	}
	s.count()
	return nil
}

func (s *slots) TryTake() bool {
	if !s.room.TryAcquire(1) {
		return false
	}
	s.count()
	return true
}

func (s *slots) Give() {
	s.held.Add(-1)
	s.room.Release(1)
}

// inOrder are slots that nobody gets to decode ahead.
type inOrder struct{ *slots }

func (inOrder) TryTake() bool { return false }

func TestAStalledStreamHoldsLittleAndGoesOnWhereItWas(t *testing.T) {
	batch := flatBatch(30_000)
	data := write(t, batch, 3000)
	ft := footer(t, data)
	for _, f := range []string{"", `[["id","not in",[4,77,9000]]]`} {
		t.Run(fmt.Sprintf("filter %s", f), func(t *testing.T) {
			q := Query{BatchBytes: 64 << 10}
			if f != "" {
				q.Filters = mustFilter(t, f)
			}
			task := Task{File: testFile, Footer: ft, Query: q, Limit: -1, Workers: 1}
			want := mustRead(t, data, task)
			turns, spare, mem := &slots{room: semaphore.NewWeighted(2)}, &lent{room: semaphore.NewWeighted(1 << 30)}, newChecked()
			task.Reader, task.Workers, task.Turns, task.Spare, task.Memory = &bytesReader{data: data}, 2, turns, spare, mem
			s, err := Open(t.Context(), task)
			if err != nil {
				t.Fatal(err)
			}
			s.lanes.stall = 20 * time.Millisecond
			var got []arrow.RecordBatch
			for err == nil {
				var b arrow.RecordBatch
				if b, err = s.Next(t.Context()); err != nil {
					break
				}
				got = append(got, joinAll(t, s.Schema(), []arrow.RecordBatch{b}))
				b.Release()
				if n := len(got); n == 3 || n == 20 {
					little := func() bool {
						return int64(mem.CurrentAlloc()) <= 8*q.BatchBytes && turns.held.Load() == 0 && spare.out.Load() == 0
					}
					for wait := time.Now().Add(20 * time.Second); !little() && time.Now().Before(wait); {
						time.Sleep(time.Millisecond)
					}
					if !little() {
						t.Errorf("a stalled stream holds %d bytes, %d slots and %d bytes of spare memory",
							mem.CurrentAlloc(), turns.held.Load(), spare.out.Load())
					}
				}
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			schema := s.Schema()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sameRows(t, joinAll(t, schema, got), want)
			if spare.ever.Load() == 0 || turns.most.Load() < 2 {
				t.Error("nothing was decoded ahead")
			}
			balanced(t, mem)
		})
	}
}

// A consumer may stall while nothing is decoded yet: on a slow origin, or on a
// machine with too much to do. The workers must not sleep on when it comes back.
func TestAConsumerThatStalledBeforeTheFirstPieceIsServed(t *testing.T) {
	data := write(t, flatBatch(3000), 1000)
	blocked := make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	r := &bytesReader{data: data, fail: func(int64, int64) error { <-blocked; return nil }}
	ft := footer(t, data)
	// The second worker waits, and sees the stall.
	turns := inOrder{&slots{room: semaphore.NewWeighted(1)}}
	s, err := Open(t.Context(), Task{File: testFile, Reader: r, Footer: ft, Limit: -1, Workers: 2, Turns: turns})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	defer release()
	s.lanes.stall = 5 * time.Millisecond
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a batch of a file that nobody could read: %v", err)
	}
	until(t, s.lanes, "stalled", func() bool { return s.lanes.stalled })
	release()
	until(t, s.lanes, "parked", func() bool { return len(s.lanes.lanes) == 0 || s.lanes.lanes[0].run == nil })
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows := int64(0)
	for err = nil; err == nil; {
		var b arrow.RecordBatch
		if b, err = s.Next(long); err == nil {
			rows += b.NumRows()
			b.Release()
		}
	}
	if !errors.Is(err, io.EOF) || rows != 3000 {
		t.Errorf("%d rows, then %v", rows, err)
	}
}

// until waits for a state of the lanes.
func until(t *testing.T, l *lanes, what string, yes func() bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		ok := yes()
		l.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatalf("the stream is never %s", what)
}

func TestASmallLimitDecodesNothingAhead(t *testing.T) {
	data := write(t, flatBatch(10_000), 1000)
	ft := footer(t, data)
	for _, q := range []Query{{}, {Filters: mustFilter(t, `[["id",">=",0]]`)}} {
		reader := &listening{bytesReader: bytesReader{data: data}}
		benchScan(t, Task{File: testFile, Reader: reader, Footer: ft, Query: q, Limit: 5, Workers: 2})
		second := ft.chunks[1][0].off
		for _, r := range reader.read {
			if r.Off >= second {
				t.Errorf("filter %v: %d bytes at %d were read for the first five rows", q.Filters != nil, r.Len, r.Off)
			}
		}
	}
}

func TestAnErrorComesAfterTheRowsBeforeIt(t *testing.T) {
	data := write(t, flatBatch(4000), 1000)
	ft := footer(t, data)
	third := ft.chunks[2][0].off
	for _, workers := range []int{1, 2} {
		r := &bytesReader{data: data}
		r.fail = func(off, n int64) error {
			if off+n > third && off < third+1 {
				return source.Errorf(source.KindUpstream, "read", "the origin is gone")
			}
			return nil
		}
		s, err := Open(t.Context(), Task{File: testFile, Reader: r, Footer: ft, Limit: -1, Workers: workers, Query: Query{BatchRows: 500}})
		rows := int64(0)
		for err == nil {
			var b arrow.RecordBatch
			if b, err = s.Next(t.Context()); err == nil {
				rows += b.NumRows()
				b.Release()
			}
		}
		if source.KindOf(err) != source.KindUpstream || rows != 2000 {
			t.Errorf("%d workers: %d rows, then %v", workers, rows, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
