package rangeio_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
)

// origin is a Reader of bytes that notes requests, answers late, and fails or
// holds what it is told to.
type origin struct {
	content []byte
	latency time.Duration
	hold    chan struct{} // not nil: requests wait for it
	fail    func(off int64) error

	mu      sync.Mutex
	asked   []rangeio.Range
	running int
	most    int
	closed  atomic.Bool
}

func (o *origin) ReadAt(ctx context.Context, p []byte, off int64) error {
	o.mu.Lock()
	o.asked = append(o.asked, rangeio.Range{Off: off, Len: int64(len(p))})
	o.running++
	o.most = max(o.most, o.running)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.running--
		o.mu.Unlock()
	}()
	if o.closed.Load() {
		return errors.New("closed")
	}
	if o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return source.AsError("read", ctx.Err())
		}
	}
	time.Sleep(o.latency)
	if o.closed.Load() || ctx.Err() != nil {
		return errors.New("closed")
	}
	if o.fail != nil {
		if err := o.fail(off); err != nil {
			return err
		}
	}
	copy(p, o.content[off:])
	return nil
}

func (o *origin) Size() int64  { return int64(len(o.content)) }
func (o *origin) Close() error { o.closed.Store(true); return nil }

func (o *origin) requests() []rangeio.Range {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := slices.Clone(o.asked)
	slices.SortFunc(out, func(a, b rangeio.Range) int { return int(a.Off - b.Off) })
	return out
}

func newOrigin(n int) *origin { return &origin{content: newMemory(n).content} }

func scheduler(t testing.TB, o rangeio.SchedulerOptions) *rangeio.Scheduler {
	t.Helper()
	s, err := rangeio.NewScheduler(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.Held() != 0 {
			t.Errorf("%d bytes are still held", s.Held())
		}
	})
	return s
}

func readRange(t *testing.T, r *rangeio.Reader, o *origin, x rangeio.Range) {
	t.Helper()
	p := make([]byte, x.Len)
	if err := r.ReadAt(t.Context(), p, x.Off); err != nil || !bytes.Equal(p, o.content[x.Off:x.End()]) {
		t.Fatalf("%v: %v, or other bytes", x, err)
	}
}

func closeReader(t *testing.T, r *rangeio.Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnnouncedRangesBecomeFewRequests(t *testing.T) {
	for name, c := range map[string]struct {
		expect, want []rangeio.Range
	}{
		"neighbours are merged":             {[]rangeio.Range{{0, 10}, {10, 10}}, []rangeio.Range{{0, 20}}},
		"small gaps are read along":         {[]rangeio.Range{{0, 10}, {20, 10}}, []rangeio.Range{{0, 30}}},
		"large gaps are not":                {[]rangeio.Range{{0, 10}, {21, 10}}, []rangeio.Range{{0, 10}, {21, 10}}},
		"long runs are cut in equal blocks": {[]rangeio.Range{{0, 90}, {90, 120}}, []rangeio.Range{{0, 70}, {70, 70}, {140, 70}}},
		"what goes back is a run of its own": {
			[]rangeio.Range{{500, 10}, {505 - 400, 10}}, []rangeio.Range{{105, 10}, {500, 10}}},
		"what overlaps is fetched once, and again if it is read again": {[]rangeio.Range{{0, 10}, {5, 10}}, []rangeio.Range{{0, 10}, {5, 5}, {10, 5}}},
		"what lies in a gap is fetched once":                           {[]rangeio.Range{{0, 10}, {20, 10}, {12, 5}}, []rangeio.Range{{0, 30}}},
		"empty ranges are nothing":                                     {[]rangeio.Range{{0, 0}, {7, 3}}, []rangeio.Range{{7, 3}}},
		"nothing":                                                      {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(1000)
			r := rangeio.New(o, rangeio.Options{Scheduler: scheduler(t, rangeio.SchedulerOptions{Gap: 10, FixedGap: true, Max: 100})})
			defer closeReader(t, r)
			r.Expect(t.Context(), c.expect)
			for _, x := range c.expect {
				readRange(t, r, o, x)
			}
			want := slices.DeleteFunc(slices.Clone(c.want), func(x rangeio.Range) bool { return x.Len == 0 })
			got := slices.DeleteFunc(o.requests(), func(x rangeio.Range) bool { return x.Len == 0 })
			if !slices.Equal(got, want) {
				t.Errorf("asked for %v, want %v", got, want)
			}
		})
	}
}

// announced is what is announced and the requests that are to come of it.
type announced map[string]struct{ expect, want []rangeio.Range }

func (cases announced) check(t *testing.T, o rangeio.SchedulerOptions, announce func(*rangeio.Reader, context.Context, []rangeio.Range)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(1000)
			r := rangeio.New(origin, rangeio.Options{Scheduler: scheduler(t, o)})
			defer closeReader(t, r)
			announce(r, t.Context(), c.expect)
			for _, x := range c.expect {
				readRange(t, r, origin, x)
			}
			if got := origin.requests(); !slices.Equal(got, c.want) {
				t.Errorf("asked for %v, want %v", got, c.want)
			}
		})
	}
}

func TestInOrderNoGapIsReadAlongThatIsAnnouncedForLater(t *testing.T) {
	announced{
		"halves of columns":     {[]rangeio.Range{{0, 10}, {20, 10}, {10, 10}, {30, 10}}, []rangeio.Range{{0, 10}, {10, 10}, {20, 10}, {30, 10}}},
		"neighbours":            {[]rangeio.Range{{0, 10}, {10, 10}, {30, 5}, {20, 10}}, []rangeio.Range{{0, 20}, {20, 10}, {30, 5}}},
		"a gap that nobody has": {[]rangeio.Range{{0, 10}, {15, 10}, {30, 10}}, []rangeio.Range{{0, 40}}},
		"a part of a gap":       {[]rangeio.Range{{0, 10}, {18, 10}, {12, 3}}, []rangeio.Range{{0, 10}, {12, 3}, {18, 10}}},
	}.check(t, rangeio.SchedulerOptions{Gap: 10, FixedGap: true, Max: 100}, (*rangeio.Reader).ExpectInOrder)
}

func TestOfAllThatIsAnnouncedGapsAreASmallShare(t *testing.T) {
	announced{
		"small ones":               {[]rangeio.Range{{0, 40}, {41, 40}, {82, 40}}, []rangeio.Range{{0, 122}}},
		"the smallest of several":  {[]rangeio.Range{{0, 40}, {45, 40}, {86, 40}, {130, 10}}, []rangeio.Range{{0, 40}, {45, 95}}},
		"none that is too large":   {[]rangeio.Range{{0, 10}, {15, 10}}, []rangeio.Range{{0, 10}, {15, 10}}},
		"none that comes later":    {[]rangeio.Range{{0, 100}, {104, 90}, {100, 4}}, []rangeio.Range{{0, 100}, {100, 4}, {104, 90}}},
		"what comes later is none": {[]rangeio.Range{{0, 100}, {105, 40}, {153, 43}, {100, 5}}, []rangeio.Range{{0, 100}, {100, 5}, {105, 91}}},
	}.check(t, rangeio.SchedulerOptions{Gap: 10, Max: 200}, (*rangeio.Reader).ExpectAll)
}

func TestLaterAnnouncementsComeBehindEarlierOnes(t *testing.T) {
	for name, c := range map[string]struct {
		first, second, want []rangeio.Range
	}{
		"behind":                              {[]rangeio.Range{{0, 10}}, []rangeio.Range{{10, 10}}, []rangeio.Range{{0, 10}, {10, 10}}},
		"in front":                            {[]rangeio.Range{{500, 10}}, []rangeio.Range{{400, 10}}, []rangeio.Range{{400, 10}, {500, 10}}},
		"the same again":                      {[]rangeio.Range{{0, 30}}, []rangeio.Range{{0, 30}}, []rangeio.Range{{0, 30}}},
		"a part of it":                        {[]rangeio.Range{{0, 30}}, []rangeio.Range{{10, 5}}, []rangeio.Range{{0, 30}}},
		"its end and more":                    {[]rangeio.Range{{0, 30}}, []rangeio.Range{{20, 20}}, []rangeio.Range{{0, 30}, {30, 10}}},
		"around it":                           {[]rangeio.Range{{10, 10}}, []rangeio.Range{{0, 30}}, []rangeio.Range{{0, 10}, {10, 10}, {20, 10}}},
		"no gap is merged over what is known": {[]rangeio.Range{{10, 5}}, []rangeio.Range{{0, 10}, {15, 5}}, []rangeio.Range{{0, 10}, {10, 5}, {15, 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(1000)
			r := rangeio.New(o, rangeio.Options{Scheduler: scheduler(t, rangeio.SchedulerOptions{Gap: 10, FixedGap: true, Max: 100})})
			defer closeReader(t, r)
			r.Expect(t.Context(), c.first)
			r.Expect(t.Context(), c.second)
			for _, x := range c.want {
				readRange(t, r, o, x)
			}
			if got := o.requests(); !slices.Equal(got, c.want) {
				t.Errorf("asked for %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatWasReadMayBeAnnouncedAgain(t *testing.T) {
	o := newOrigin(1000)
	s := scheduler(t, rangeio.SchedulerOptions{Gap: 10, FixedGap: true, Max: 100})
	r := rangeio.New(o, rangeio.Options{Scheduler: s})
	defer closeReader(t, r)
	for range 3 {
		r.Expect(t.Context(), []rangeio.Range{{0, 250}})
		readRange(t, r, o, rangeio.Range{Off: 0, Len: 250})
		if s.Held() != 0 {
			t.Errorf("%d bytes are held after everything was read", s.Held())
		}
	}
	if got := len(o.requests()); got != 9 {
		t.Errorf("%d requests", got)
	}
}

func TestGapsShrinkWithTheLatency(t *testing.T) {
	o := newOrigin(1 << 20)
	s := scheduler(t, rangeio.SchedulerOptions{})
	ranges := []rangeio.Range{{1000, 1000}, {900_000, 1000}}
	measured := rangeio.New(o, rangeio.Options{Scheduler: s, MaxTail: -1})
	defer closeReader(t, measured)
	readRange(t, measured, o, rangeio.Range{Off: 1<<20 - 1000, Len: 1000}) // nearly no time
	o.asked = nil
	measured.Expect(t.Context(), ranges)
	for _, x := range ranges {
		readRange(t, measured, o, x)
	}
	if got := o.requests(); !slices.Equal(got, ranges) {
		t.Errorf("a fast origin is asked for %v", got)
	}
}

// What a long request takes is the line's doing, however many there are.
func TestOnlySmallRequestsTellTheLatency(t *testing.T) {
	s := scheduler(t, rangeio.SchedulerOptions{})
	r := rangeio.New(newOrigin(1000), rangeio.Options{Scheduler: s})
	defer closeReader(t, r)
	s.Observe(1000, 15*time.Millisecond)
	want := r.TripBytes()
	for range 20 {
		s.Observe(8<<20, 400*time.Millisecond)
	}
	if got := r.TripBytes(); got != want || got == 0 {
		t.Errorf("a trip is worth %d bytes, and %d after long requests", want, got)
	}
}

// A busy machine makes a near origin look less near than it is.
func TestFromANearOriginFewBytesAreReadForNothing(t *testing.T) {
	o := newOrigin(4 << 20)
	s := scheduler(t, rangeio.SchedulerOptions{Gap: 1 << 20})
	near := rangeio.New(o, rangeio.Options{Scheduler: s, MaxTail: -1})
	defer closeReader(t, near)
	s.Observe(1000, 4*time.Millisecond)
	var ranges []rangeio.Range
	wanted := int64(0)
	for off := int64(0); off < 3<<20; off += 16_000 { // gaps of 2 kB and, every third, of 500 bytes
		n := int64(14_000)
		if len(ranges)%3 == 2 {
			n = 15_500
		}
		ranges = append(ranges, rangeio.Range{Off: off, Len: n})
		wanted += n
	}
	near.Expect(t.Context(), ranges)
	for _, x := range ranges {
		readRange(t, near, o, x)
	}
	read, requests := int64(0), o.requests()
	for _, x := range requests {
		read += x.Len
	}
	if waste := read - wanted; waste == 0 || waste*16 > wanted || len(requests) == len(ranges) {
		t.Errorf("%d requests for %d ranges, %d bytes of gaps beside %d wanted", len(requests), len(ranges), waste, wanted)
	}
}

func TestReadingAheadIsBoundedAndReadsAreNot(t *testing.T) {
	o := newOrigin(10_000)
	o.hold = make(chan struct{})
	s := scheduler(t, rangeio.SchedulerOptions{Max: 100, InFlight: 3, Ahead: 2000, Gap: 1, FixedGap: true})
	r := rangeio.New(o, rangeio.Options{Scheduler: s})
	defer closeReader(t, r)
	r.Expect(t.Context(), []rangeio.Range{{0, 10_000}})
	waitFor(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.running == 3 })
	if s.Held() != 300 {
		t.Errorf("%d bytes held with 3 in flight", s.Held())
	}
	close(o.hold)
	waitFor(t, func() bool { return s.Held() == 500 }) // its share
	// Behind what was fetched: it does not wait for its turn.
	readRange(t, r, o, rangeio.Range{Off: 9_000, Len: 50})
	for off := int64(0); off < 9_000; off += 100 {
		readRange(t, r, o, rangeio.Range{Off: off, Len: 100})
		if s.Held() > 700 {
			t.Fatalf("%d bytes held", s.Held())
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.most > 4 {
		t.Errorf("%d requests at once", o.most)
	}
	if n := len(o.asked); n > 100 {
		t.Errorf("%d requests", n)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestManyReadersShareTheBudget(t *testing.T) {
	s := scheduler(t, rangeio.SchedulerOptions{Max: 100, InFlight: 8, Ahead: 800})
	var readers []*rangeio.Reader
	for range 20 {
		r := rangeio.New(newOrigin(5000), rangeio.Options{Scheduler: s})
		r.Expect(t.Context(), []rangeio.Range{{0, 5000}})
		readers = append(readers, r)
	}
	time.Sleep(20 * time.Millisecond)
	if s.Held() > 800 {
		t.Errorf("%d bytes held", s.Held())
	}
	// The last one was given nothing ahead, and reads all the same.
	o := newOrigin(5000)
	last := rangeio.New(o, rangeio.Options{Scheduler: s})
	last.Expect(t.Context(), []rangeio.Range{{0, 5000}})
	readRange(t, last, o, rangeio.Range{Off: 0, Len: 5000})
	for _, r := range append(readers, last) {
		closeReader(t, r)
	}
}

func TestReadersThatAreClosedLeaveTheirShareToOthers(t *testing.T) {
	s := scheduler(t, rangeio.SchedulerOptions{Max: 100, InFlight: 8, Ahead: 800})
	for range 20 {
		r := rangeio.New(newOrigin(5000), rangeio.Options{Scheduler: s})
		r.Expect(t.Context(), []rangeio.Range{{0, 5000}})
		closeReader(t, r)
	}
	r := rangeio.New(newOrigin(5000), rangeio.Options{Scheduler: s})
	defer closeReader(t, r)
	r.Expect(t.Context(), []rangeio.Range{{0, 5000}})
	waitFor(t, func() bool { return s.Held() == 200 }) // a quarter, as if it were the first one
}

func TestAFailureIsToldOnceAndLeavesNothing(t *testing.T) {
	o := newOrigin(1000)
	broken := errors.New("broken")
	var failing atomic.Bool
	failing.Store(true)
	o.fail = func(off int64) error {
		if failing.Load() && off == 300 {
			return broken
		}
		if failing.Load() && off == 600 {
			panic("a bug below")
		}
		return nil
	}
	r := rangeio.New(o, rangeio.Options{Scheduler: scheduler(t, rangeio.SchedulerOptions{Max: 100, InFlight: 2})})
	defer closeReader(t, r)
	r.Expect(t.Context(), []rangeio.Range{{0, 1000}})
	for _, c := range []struct {
		off  int64
		want source.Kind
	}{{300, source.KindUnknown}, {600, source.KindInternal}} {
		err := r.ReadAt(t.Context(), make([]byte, 100), c.off)
		if err == nil || c.want == source.KindUnknown && !errors.Is(err, broken) || c.want != source.KindUnknown && source.KindOf(err) != c.want {
			t.Errorf("%d: %v", c.off, err)
		}
	}
	failing.Store(false)
	for range 2 { // what failed ahead, meanwhile, is told once too
		_ = r.ReadAt(t.Context(), make([]byte, 1000), 0)
	}
	readRange(t, r, o, rangeio.Range{Off: 0, Len: 1000})
}

func TestCloseEndsWhatIsUnderWayAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, how := range []string{"close", "context"} {
		o := newOrigin(1000)
		o.hold = make(chan struct{})
		r := rangeio.New(o, rangeio.Options{Scheduler: scheduler(t, rangeio.SchedulerOptions{Max: 100})})
		ctx, cancel := context.WithCancel(t.Context())
		r.Expect(ctx, []rangeio.Range{{0, 1000}})
		done := make(chan error, 1)
		go func() { done <- r.ReadAt(t.Context(), make([]byte, 150), 0) }()
		time.Sleep(5 * time.Millisecond)
		if how == "context" {
			cancel()
			if err := <-done; err == nil {
				t.Error("a read outlives the stream's context")
			}
			closeReader(t, r)
		} else {
			closeReader(t, r)
			if err := <-done; err == nil {
				t.Error("a read outlives its Reader")
			}
		}
		cancel()
		if err := r.ReadAt(t.Context(), make([]byte, 10), 0); err == nil {
			t.Error("a closed Reader reads")
		}
		closeReader(t, r)
	}
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before })
}

func TestFootersOfLargeFilesComeWithOneRequest(t *testing.T) {
	o := newOrigin(80 << 20)
	r := rangeio.New(o, rangeio.Options{Scheduler: scheduler(t, rangeio.SchedulerOptions{})})
	defer closeReader(t, r)
	size := o.Size()
	readRange(t, r, o, rangeio.Range{Off: size - 65536, Len: 65536})
	readRange(t, r, o, rangeio.Range{Off: size - 78_000, Len: 50_000})
	if got := o.requests(); len(got) != 1 || got[0].Len != size/1024 {
		t.Errorf("asked for %v", got)
	}
}

// Whatever is announced, read, repeated and read at the same time, the bytes are
// the file's.
func TestSeededReadsGiveTheFilesBytes(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 7))
		o := newOrigin(5000)
		disk := openDisk(t, t.TempDir(), 1<<20)
		options := rangeio.SchedulerOptions{
			Gap: 1 + rng.Int64N(50), FixedGap: true, Max: 50 + rng.Int64N(400), InFlight: 1 + rng.IntN(5), Ahead: 100 + rng.Int64N(3000), Disk: disk,
		}
		s := scheduler(t, options)
		for range 3 {
			r := rangeio.New(o, rangeio.Options{Scheduler: s, File: fileOf(1), Confirm: func(context.Context) error { return nil }})
			var plan []rangeio.Range
			for at := rng.Int64N(100); at < 4900; at += 1 + rng.Int64N(200) {
				n := 1 + rng.Int64N(min(300, 5000-at))
				plan = append(plan, rangeio.Range{Off: at, Len: n})
				at += n
			}
			first := rng.IntN(len(plan) + 1)
			r.Expect(t.Context(), plan[:first])
			var wait sync.WaitGroup
			wait.Go(func() {
				r.Expect(t.Context(), plan[first/2:]) // some for the second time, while reads are under way
			})
			for w := range 2 {
				rng := rand.New(rand.NewPCG(seed, uint64(w)))
				wait.Go(func() {
					for _, x := range plan {
						if rng.IntN(5) == 0 { // something else
							x.Off = rng.Int64N(4999)
							x.Len = 1 + rng.Int64N(5000-x.Off)
						}
						p := make([]byte, x.Len)
						if err := r.ReadAt(t.Context(), p, x.Off); err != nil || !bytes.Equal(p, o.content[x.Off:x.End()]) {
							t.Errorf("seed %d: %v: %v, or other bytes", seed, x, err)
							return
						}
					}
				})
			}
			wait.Wait()
			closeReader(t, r)
			o.closed.Store(false)
		}
	}
}
