package rangeio

import (
	"math"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Defaults of SchedulerOptions, from measurements at 30 ms and 100 MB/s: there a
// round trip is worth about 3 MB of one connection, shared by several requests.
const (
	defaultGap      = 1 << 20
	defaultMax      = 8 << 20
	defaultInFlight = 16
	defaultAhead    = 256 << 20
)

// Bytes under way keep a line busy, two or three round trips' worth of them. More only
// make come later what is needed first, since all of them share the line: wayBytes of
// all Readers together, but leastWayBytes of each, and as soon as fewer are due one
// request more. From measurements of four Readers at 30 ms: on a line of 200 MB/s, of
// which a round trip is 6 MB, twice as many leave twice as much to be decoded when the
// last byte has come, and half as many leave the line idle; without a limit to the
// line, twice as many are not faster.
const (
	wayBytes      = 16 << 20
	leastWayBytes = 4 << 20
)

// gapPerSecond is what a second of round trip is worth: gaps of up to that many
// bytes are read rather than stepped over. 30 ms are worth the default gap.
const gapPerSecond = 1 << 25

// farSeconds of round trip are what gapPerSecond was measured at; below it, gaps
// shrink with the square. Not more than one byte of gaps is read along for every
// gapShare bytes that are wanted: of all that is announced with ExpectAll, and below
// nearSeconds of every run, whatever a busy machine makes of the latency; near, it is
// bytes that count.
const (
	farSeconds  = 0.030
	nearSeconds = 0.010
	gapShare    = 16
)

// SchedulerOptions tune all Readers of a process; zero values mean the defaults.
type SchedulerOptions struct {
	// Gap is the largest gap in bytes between two ranges that is read along
	// (1 MiB). Where the origin answers faster than in 30 ms, proportionally less
	// is.
	Gap int64
	// FixedGap keeps Gap whatever the origin's latency.
	FixedGap bool
	// Max is the largest request in bytes (8 MiB).
	Max int64
	// InFlight is how many requests one Reader has under way ahead of its reads (16).
	InFlight int
	// Ahead is how many bytes all Readers together hold ahead of their reads
	// (256 MiB); a single one holds no more than a quarter, or one request.
	Ahead int64
	// Disk keeps blocks beyond the life of a Reader; nil for none.
	Disk *Disk
	// Origin names who says what a file's content is, for a Disk that is shared with
	// others: what another origin gave for the same content id is not served.
	Origin string
}

// Validate refuses what cannot work.
func (o SchedulerOptions) Validate() error {
	if o.Gap < 0 || o.Max < 0 || o.Max > math.MaxInt32 || o.InFlight < 0 || o.Ahead < 0 {
		return source.Errorf(source.KindInvalid, "range reads", "gap, request size, requests in flight and bytes ahead cannot be negative, nor a request over 2 GiB")
	}
	return nil
}

// Scheduler decides how far the Readers of a process may read ahead, and with
// which requests. It is safe for concurrent use and starts no goroutine.
type Scheduler struct {
	gapMax   int64
	fixed    bool
	max      int64
	inFlight int
	ahead    int64
	disk     *Disk
	origin   string
	buffers  sync.Pool // of *[]byte with max bytes

	mu      sync.Mutex
	held    int64 // bytes held ahead by all Readers
	readers int   // that read ahead
	recent  [8]time.Duration
	samples int
}

// NewScheduler makes a Scheduler.
func NewScheduler(o SchedulerOptions) (*Scheduler, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{gapMax: o.Gap, fixed: o.FixedGap, max: o.Max, inFlight: o.InFlight, ahead: o.Ahead, disk: o.Disk, origin: o.Origin}
	if s.gapMax == 0 {
		s.gapMax = defaultGap
	}
	if s.max == 0 {
		s.max = defaultMax
	}
	if s.inFlight == 0 {
		s.inFlight = defaultInFlight
	}
	if s.ahead == 0 {
		s.ahead = defaultAhead
	}
	return s, nil
}

// Held is how many bytes are held ahead of reads at present.
func (s *Scheduler) Held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// join and leave count the Readers among which the budget is shared.
func (s *Scheduler) join() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
}

func (s *Scheduler) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers--
}

// take gives n bytes to a Reader that holds have already, or refuses. Nobody gets
// more than his share, so that a stream whose client stalls does not keep the
// others waiting; the first block of a Reader is only bound by the whole.
func (s *Scheduler) take(n, have int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := s.ahead / int64(max(s.readers, 4))
	if s.held+n > s.ahead || have > 0 && have+n > share {
		return false
	}
	s.held += n
	return true
}

// fills reports whether a Reader that waits for due bytes should ask for more.
func (s *Scheduler) fills(due int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return due < max(wayBytes/int64(max(s.readers, 1)), leastWayBytes)
}

// force gives n bytes for a read that somebody waits for.
func (s *Scheduler) force(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += n
}

func (s *Scheduler) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= n
}

// buffer returns n bytes of any content.
func (s *Scheduler) buffer(n int64) []byte {
	if n > s.max/2 && n <= s.max {
		if b, ok := s.buffers.Get().(*[]byte); ok {
			return (*b)[:n]
		}
		return make([]byte, s.max)[:n]
	}
	return make([]byte, n)
}

// reuse takes a buffer that nobody looks at any more.
func (s *Scheduler) reuse(b []byte) {
	if int64(cap(b)) == s.max {
		b = b[:s.max]
		s.buffers.Put(&b)
	}
}

// observe learns from how long a small request took. The least of the last few is
// kept: what is above it is queueing, ours or the machine's.
func (s *Scheduler) observe(bytes int64, took time.Duration) {
	if bytes > maxTailRead {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent[s.samples%len(s.recent)] = took
	s.samples++
}

// TripBytes is how many bytes may rather be read than wait for one more answer of
// the origin; nothing for a local file.
func (r *Reader) TripBytes() int64 {
	if r.scheduler == nil {
		return 0
	}
	bytes, _ := r.scheduler.gap()
	return bytes
}

// gap is how many bytes between two ranges are worth reading along, and how
// many wanted bytes there must be for each of them (0: no matter how many).
func (s *Scheduler) gap() (bytes, share int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed || s.samples == 0 {
		return s.gapMax, 0
	}
	least := s.recent[0]
	for _, d := range s.recent[:min(s.samples, len(s.recent))] {
		least = min(least, d)
	}
	// Several requests are under way at a time, so that a near origin's round trips
	// hide behind each other and only bytes count.
	nearness := min(1, least.Seconds()/farSeconds)
	if least.Seconds() < nearSeconds {
		share = gapShare
	}
	return min(s.gapMax, int64(least.Seconds()*gapPerSecond*nearness)), share
}
