package scan

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Turns are the decode slots that the streams of a process share. A slot is held
// while a piece is decoded, never while it waits for the consumer.
type Turns interface {
	// Take waits for a slot.
	Take(ctx context.Context) error
	// TryTake takes a slot that is free and that nobody waits for.
	TryTake() bool
	// Give gives it back.
	Give()
}

// Spare is memory beyond what Stream.Holds says, for decoding row groups ahead.
// A *semaphore.Weighted is one.
type Spare interface {
	TryAcquire(n int64) bool
	Release(n int64)
}

const (
	// spareBytes of pieces of a row group are decoded while the one before it is.
	// Half of a row group there doubles the speed of two cores, and most are below
	// 100 MiB of Arrow.
	spareBytes = 48 << 20
	// What was decoded ahead is forgotten when nobody has asked for so long. It
	// costs a local file a few milliseconds to decode it again, and a remote one
	// its requests.
	stallLocal  = time.Second
	stallRemote = 30 * time.Second
)

// lanes brings what several workers decode into order. Each portion under way is
// a lane, and the consumer takes from the first. A lane that has only finished
// ones before it is settled: it may go on as far as the queue allows. One that
// runs ahead of an unfinished one does so in spare memory and with slots that
// nobody else wants.
//
// When the consumer stalls, what waits beyond the queue is forgotten and its
// workers let go of all they hold; it is decoded again, to the same pieces, when
// the consumer comes back.
type lanes struct {
	jobs    []portion
	queue   int64 // bytes of pieces that may wait for the consumer
	most    int   // lanes that are decoded at once
	serial  bool  // skip and take go from portion to portion
	again   bool  // what was read may be read again: a stalled lane gives up its place, too
	stall   time.Duration
	spare   Spare // nil: no bound
	perLane int64 // what a lane ahead takes of it

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something has changed
	lanes   []*lane
	next    int      // of jobs
	begin   progress // of the next portion
	asked   time.Time
	waiting bool  // the consumer waits
	stalled bool  // it has not come for long
	hungry  bool  // it has waited since it last stalled
	end     error // of the stream: after the pieces that are left
}

// lane is a portion under way.
type lane struct {
	portion
	job    int
	begin  progress // where a worker begins
	from   progress // where the one that decodes it has begun: only it looks
	at     progress // behind what the consumer has taken
	pieces []piece
	bytes  int64
	ahead  bool // holds spare memory
	done   bool // decoded to its end, or to err
	err    error
	run    context.CancelFunc // not nil while a worker decodes it
	parked bool               // that worker is to stop
}

// wake tells everybody who waits that something has changed. l.mu is held.
func (l *lanes) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait lets go of l.mu until something changes or ctx ends. A worker that waits
// notices when the consumer has stalled.
func (l *lanes) wait(ctx context.Context) error {
	changed := l.changed
	var stalled <-chan time.Time
	if !l.stalled && !l.waiting {
		timer := time.NewTimer(time.Until(l.asked.Add(l.stall)))
		defer timer.Stop()
		stalled = timer.C
	}
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	case <-stalled:
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.waiting && !l.stalled && time.Since(l.asked) >= l.stall {
			l.park()
		}
	}
	return nil
}

// take gives the consumer the next piece; io.EOF is the end.
func (l *lanes) take(ctx context.Context) (piece, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = true
	if l.stalled {
		l.stalled = false
		l.wake() // there may be nothing to take, whose taking would wake the workers
	}
	defer func() { l.waiting, l.asked = false, time.Now(); l.wake() }()
	for {
		for len(l.lanes) > 0 && l.lanes[0].done && l.lanes[0].err == nil && len(l.lanes[0].pieces) == 0 {
			l.giveSpare(l.lanes[0])
			l.lanes = l.lanes[1:]
			l.wake()
		}
		switch {
		case len(l.lanes) == 0 && !l.more() && l.end == nil:
			l.end = io.EOF
		case len(l.lanes) > 0 && len(l.lanes[0].pieces) > 0:
			return l.lanes[0].pop(), nil
		case len(l.lanes) > 0 && l.lanes[0].err != nil && l.end == nil:
			l.end = l.lanes[0].err
			l.forget(1)
		}
		if l.end != nil {
			return piece{}, l.end
		}
		l.hungry = true
		if err := l.wait(ctx); err != nil {
			return piece{}, source.AsError(opScan, err)
		}
	}
}

func (ln *lane) pop() piece {
	p := ln.pieces[0]
	ln.pieces[0] = piece{}
	ln.pieces = ln.pieces[1:]
	ln.bytes -= p.bytes
	ln.at = p.next
	return p
}

// more reports whether portions are left to be begun.
func (l *lanes) more() bool {
	if l.next == len(l.jobs) || l.serial && l.begin.take == 0 {
		return false
	}
	for _, ln := range l.lanes {
		if ln.err != nil {
			return false
		}
	}
	return true
}

// start gives a worker a lane to decode, and a context for it, or nil when
// nothing is left. A lane ahead comes with a slot.
func (l *lanes) start(ctx context.Context, slot *slot) (*lane, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if ctx.Err() != nil {
			l.fail(source.AsError(opScan, context.Cause(ctx)))
		}
		if l.end != nil || len(l.lanes) == 0 && !l.more() {
			l.wake()
			return nil, nil
		}
		if ln := l.choose(slot); ln != nil {
			run, cancel := context.WithCancel(ctx)
			ln.run, ln.parked, ln.from = cancel, false, ln.begin
			return ln, run
		}
		_ = l.wait(ctx)
	}
}

// choose finds something to decode: the first lane that is not finished, or the
// next portion.
func (l *lanes) choose(slot *slot) *lane {
	if l.stalled {
		return nil
	}
	waiting, busy := int64(0), 0
	for _, ln := range l.lanes {
		if ln.run != nil {
			busy++
		} else if !ln.done && busy == 0 {
			return ln // it was parked
		}
		waiting += ln.bytes
	}
	switch {
	case !l.more():
		return nil
	case busy == 0 && waiting < l.queue:
		return l.open(false)
	case busy > 0 && busy < l.most && l.hungry && l.wanting() && !(l.serial && (l.begin.skip > 0 || l.begin.take >= 0)):
		if !slot.try() {
			return nil
		}
		if l.spare != nil && !l.spare.TryAcquire(l.perLane) {
			slot.give()
			return nil
		}
		return l.open(true)
	}
	return nil
}

func (l *lanes) open(ahead bool) *lane {
	ln := &lane{portion: l.jobs[l.next], job: l.next, begin: l.begin, at: l.begin, ahead: ahead}
	l.next++
	l.lanes = append(l.lanes, ln)
	return ln
}

// settled reports whether only finished lanes are before ln, and how many bytes
// wait in them and in ln.
func (l *lanes) settled(ln *lane) (yes bool, waiting int64) {
	for _, x := range l.lanes {
		waiting += x.bytes
		if x == ln {
			return true, waiting
		}
		if !x.done {
			break
		}
	}
	return false, ln.bytes
}

// put waits until a piece may join its lane. It owns the piece.
func (l *lanes) put(ctx context.Context, ln *lane, p piece) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil && !ln.parked {
		settled, waiting := l.settled(ln)
		limit := int64(spareBytes)
		if settled {
			limit = l.queue
		}
		if waiting == 0 || waiting+p.bytes <= limit {
			ln.pieces = append(ln.pieces, p)
			ln.bytes += p.bytes
			l.wake()
			return nil
		}
		_ = l.wait(ctx)
	}
	p.batch.Release()
	return context.Canceled
}

// turn waits until a lane may decode on: a settled one in the order of the
// slots, one ahead when a slot is idle.
func (l *lanes) turn(ctx context.Context, ln *lane, t *slot) error {
	l.mu.Lock()
	for {
		if err := ctx.Err(); err != nil {
			l.mu.Unlock()
			return err
		}
		if settled, _ := l.settled(ln); settled {
			l.mu.Unlock()
			return t.take(ctx)
		}
		if l.wanting() && t.try() {
			l.mu.Unlock()
			return nil
		}
		_ = l.wait(ctx)
	}
}

// wanting reports whether the consumer may soon have to wait: less than half of
// the queue is ready for it. Lanes ahead rest while it is not so, because a
// consumer that is slower than one worker gains nothing from a second, and what
// they decode would fill memory that no cache holds any more when it is sent.
func (l *lanes) wanting() bool {
	ready := int64(0)
	for _, ln := range l.lanes {
		ready += ln.bytes
		if !ln.done {
			break
		}
	}
	return ready*2 < l.queue
}

// finish is a worker's last word about a lane.
func (l *lanes) finish(ln *lane, at progress, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln.run()
	ln.run = nil
	if ln.parked {
		l.giveSpare(ln)
	} else {
		ln.done, ln.err = true, err
		if l.serial {
			l.begin.skip, l.begin.take = at.skip, at.take
		}
	}
	l.wake()
}

// fail ends the stream. l.mu is held.
func (l *lanes) fail(err error) {
	if l.end == nil {
		l.end = err
	}
	l.wake()
}

func (l *lanes) giveSpare(ln *lane) {
	if ln.ahead && l.spare != nil {
		l.spare.Release(l.perLane)
	}
	ln.ahead = false
}

// park lets go of what a stalled consumer does not need yet. l.mu is held.
func (l *lanes) park() {
	l.stalled, l.hungry = true, false
	for i, ln := range l.lanes {
		if i > 0 && ln.ahead {
			l.forget(i)
			break
		}
	}
	if len(l.lanes) > 0 && l.again {
		l.cut(l.lanes[0])
	}
	l.wake()
}

// cut keeps of the first lane what fits the queue, and stops its worker.
func (l *lanes) cut(ln *lane) {
	last, kept := ln.at, 0
	for bytes := int64(0); kept < len(ln.pieces); kept++ {
		if bytes += ln.pieces[kept].bytes; kept > 0 && bytes > l.queue {
			break
		}
		last = ln.pieces[kept].next
	}
	if kept == len(ln.pieces) && ln.run == nil {
		l.giveSpare(ln) // finished, and small
		return
	}
	l.forget(1)
	ln.drop(kept)
	ln.begin, ln.done, ln.err = last, false, nil
	if ln.run != nil {
		ln.parked = true
		ln.run()
	} else {
		l.giveSpare(ln)
	}
}

// forget drops the lanes from one on.
func (l *lanes) forget(from int) {
	if from >= len(l.lanes) {
		return
	}
	for _, ln := range l.lanes[from:] {
		ln.drop(0)
		if ln.run != nil {
			ln.parked = true
			ln.run()
		} else {
			l.giveSpare(ln)
		}
	}
	l.next, l.begin = l.lanes[from].job, l.lanes[from].begin
	l.lanes = l.lanes[:from:from]
}

// drop releases all pieces but the first n.
func (ln *lane) drop(n int) {
	for _, p := range ln.pieces[n:] {
		ln.bytes -= p.bytes
		p.batch.Release()
	}
	ln.pieces = ln.pieces[:n:n]
}

// close releases what is left, when no worker runs any more.
func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(source.Errorf(source.KindCanceled, opScan, "the stream is closed"))
	for _, ln := range l.lanes {
		ln.drop(0)
		l.giveSpare(ln)
	}
	l.lanes = nil
}

// slot is a worker's hold on a decode slot.
type slot struct {
	turns Turns // nil: as many as are wanted
	held  bool
}

func (s *slot) take(ctx context.Context) error {
	if s.held || s.turns == nil {
		return nil
	}
	err := s.turns.Take(ctx)
	s.held = err == nil
	return err
}

func (s *slot) try() bool {
	if s.turns == nil || s.held {
		return true
	}
	s.held = s.turns.TryTake()
	return s.held
}

func (s *slot) give() {
	if s.held {
		s.turns.Give()
	}
	s.held = false
}
