package scan

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// aheadBatches of the asked size wait for the consumer.
const aheadBatches = 2

// Task is one file to stream.
type Task struct {
	File   source.File
	Reader source.Reader
	Footer *Footer
	// Groups are the row groups to read, in ascending order; nil prunes here.
	Groups []int
	Query  Query
	// Out is the stream's schema; nil is Query.Output(Footer.Schema()).
	Out *arrow.Schema
	// Skip leaves out that many output rows; Limit ends the output after that
	// many, counted from its row 0, before Skip; −1 is none.
	Skip, Limit int64
	// Memory is where arrays are decoded to; nil is a Pool of the stream's own.
	// One Pool may serve many streams.
	Memory memory.Allocator
	// Workers is how many row groups may be decoded at once; 0 is two, or as many
	// as there are cores.
	Workers int
	// Turns are the decode slots that the stream shares with others; nil is no
	// bound. Spare is memory for decoding ahead, likewise.
	Turns Turns
	Spare Spare

	stepBytes int64 // in place of maxDecodeBytes, for tests
}

// Stream is one file's batches, in file order. Next and Close are called by one
// goroutine at a time; workers decode ahead, bounded by bytes.
type Stream struct {
	schema  *arrow.Schema
	reader  source.Reader
	cancel  context.CancelFunc
	lanes   *lanes
	shape   shaper
	err     error // what Next says once nothing is ready, io.EOF included
	holds   int64
	start   func()    // starts the workers
	begin   sync.Once // at the first Next
	close   sync.Once
	workers sync.WaitGroup
}

// Open checks the task; decoding starts with the first Next, so that a stream
// whose consumer waits for its turn holds nothing but its footer. Open takes
// ownership of t.Reader, also when it fails. The stream lives as long as ctx:
// when it ends, Next fails and the workers stop.
func Open(ctx context.Context, t Task) (*Stream, error) {
	s, err := open(ctx, &t)
	if err != nil && t.Reader != nil {
		if e := t.Reader.Close(); e != nil {
			err = errors.Join(err, e)
		}
	}
	return s, err
}

func open(ctx context.Context, t *Task) (*Stream, error) {
	if t.Reader == nil || t.Footer == nil || t.Skip < 0 {
		return nil, source.Errorf(source.KindInternal, opOpen, "a task needs a reader, a footer and a skip that is not negative")
	}
	if t.Reader.Size() != t.Footer.meta.GetSourceFileSize() {
		return nil, source.Errorf(source.KindChanged, opOpen, "the file has %d bytes; its footer was read from %d", t.Reader.Size(), t.Footer.meta.GetSourceFileSize()).
			WithFile(t.File.At.Short(), t.File.Path)
	}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	plan, err := newLayout(t.Footer, t.Query, t.Out)
	if err != nil {
		return nil, err
	}
	if err := plan.checkOut(t.Footer); err != nil {
		return nil, err
	}
	hints := newProspector(t, plan)
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		schema: t.Out, reader: t.Reader, cancel: cancel, lanes: t.lanes(plan),
		shape: shaper{schema: t.Out, mem: t.Memory, maxRows: t.Query.batchRows(), maxBytes: t.Query.BatchSize()},
	}
	perWorker := t.workerBytes(plan)
	batch := t.Query.BatchSize()
	s.lanes.perLane = spareBytes + spareBytes/max(batch, 1)*plan.batchOverhead() + perWorker
	// Beside what waits in the queue: a piece that is made, one that is cut into
	// batches, and the batch that the consumer has.
	s.holds = perWorker + s.lanes.queue + 3*batch + (aheadBatches+3)*plan.batchOverhead() + hints.holds()
	s.start = func() {
		hints.ahead = newAhead(ctx, t.Reader)
		hints.ahead.announce(t, plan, s.lanes.jobs)
		for range min(s.lanes.most, len(s.lanes.jobs)) {
			s.workers.Add(1)
			go s.work(ctx, newWorker(ctx, t, plan, hints), &slot{turns: t.Turns})
		}
	}
	return s, nil
}

// lanes plans the portions of the task: without a filter Skip and Limit are
// known by row, with one they go along.
func (t *Task) lanes(plan *layout) *lanes {
	l := &lanes{
		changed: make(chan struct{}), asked: time.Now(), hungry: true,
		queue: aheadBatches * t.Query.BatchSize(), most: t.Workers, spare: t.Spare,
		serial: plan.bound != nil, again: true, stall: stallLocal,
	}
	if _, remote := t.Reader.(announcer); remote && !t.File.At.Local {
		l.again, l.stall = false, stallRemote
	}
	if l.most <= 0 {
		l.most = min(runtime.GOMAXPROCS(0), 2)
	}
	l.begin.take = -1
	if l.serial {
		l.begin.skip = t.Skip
		if t.Limit >= 0 {
			l.begin.take = max(t.Limit-t.Skip, 0)
		}
	}
	row := int64(0)
	for _, g := range t.Groups {
		n := t.Footer.GroupRows(g)
		r := rows{0, n}
		if !l.serial {
			r = rows{min(max(t.Skip-row, 0), n), n}
			if t.Limit >= 0 {
				r.to = min(max(t.Limit-row, 0), n)
			}
			row += n
		}
		if r.from < r.to {
			l.jobs = append(l.jobs, portion{group: g, rows: r})
		}
	}
	return l
}

// workerBytes estimates what a worker holds of the file: windows over the chunks
// of a row group and, per column, an inflated page and a dictionary; with a filter,
// windows of rows that it has tested. Columns that the library reads are held as a
// whole. Where a row of what the file lacks is larger than a batch, so is a step.
func (t *Task) workerBytes(plan *layout) int64 {
	const pageBytes = 1 << 20 // what writers aim at
	largest := int64(0)
	own := make([]bool, len(plan.units))
	for k, g := range t.Groups {
		bytes, window, library := int64(0), int64(0), int64(0)
		for i, u := range plan.units {
			if k == 0 {
				own[i] = t.Footer.decodes(u, g)
			}
			for _, leaf := range u.order {
				c := t.Footer.chunks[g][leaf]
				if own[i] {
					window += min(c.len, maxWindow)
					bytes += min(c.uncompressed, 2*pageBytes)
				} else {
					library += c.len
				}
			}
		}
		largest = max(largest, bytes+min(window, windowBytes)+min(library, libraryBytes))
	}
	if plan.bound != nil {
		largest += testedBytes
	}
	return largest + max(plan.lacks-t.Query.BatchSize(), 0)
}

// prepare fills in what the task left open.
func (t *Task) prepare(ctx context.Context) error {
	if err := t.Query.Validate(); err != nil {
		return err
	}
	if t.Out == nil {
		out, err := t.Query.Output(t.Footer.schema)
		if err != nil {
			return inFile(t.File, err)
		}
		t.Out = out
	}
	if t.Groups == nil {
		decisions, err := t.Query.Prune(ctx, t.Footer)
		if err != nil {
			return err
		}
		t.Groups = []int{}
		for _, d := range decisions {
			if d.Keep {
				t.Groups = append(t.Groups, d.Group)
			}
		}
	}
	last := -1
	for _, g := range t.Groups {
		if g <= last || g >= t.Footer.NumRowGroups() {
			return source.Errorf(source.KindInvalid, opOpen, "row groups %v: the file has %d, and they are read in order", t.Groups, t.Footer.NumRowGroups()).
				WithFile(t.File.At.Short(), t.File.Path)
		}
		last = g
	}
	if t.Memory == nil {
		t.Memory = NewPool()
	}
	return nil
}

// Holds estimates the most memory in bytes that the stream takes at one time, but
// for pages that are larger than usual. Decoding ahead takes more, if the Task has
// Spare memory to give.
func (s *Stream) Holds() int64 { return s.holds }

// Schema is the schema of every batch.
func (s *Stream) Schema() *arrow.Schema { return s.schema }

// Next returns the next batch, which the caller releases, or io.EOF. After an
// error it returns the same error for ever, unless the error is that ctx ended.
func (s *Stream) Next(ctx context.Context) (arrow.RecordBatch, error) {
	s.begin.Do(func() { s.start() })
	for {
		if ctx.Err() != nil {
			return nil, source.AsError(opScan, context.Cause(ctx))
		}
		if batch := s.shape.next(); batch != nil {
			return batch, nil
		}
		if s.err != nil {
			return nil, s.err
		}
		p, err := s.lanes.take(ctx)
		switch {
		case err == nil:
			if err := s.shape.push(p.batch); err != nil {
				s.err = source.AsError(opScan, err) // what cannot be joined is the file's fault
			}
		case errors.Is(err, io.EOF):
			if s.err = s.shape.flush(); s.err == nil {
				s.err = io.EOF
			}
		case ctx.Err() != nil:
			return nil, err
		default:
			s.err = err
		}
	}
}

// Close stops the workers, waits for them, releases what they had ready and gives
// the Reader back. It may be called more than once.
func (s *Stream) Close() error {
	var err error
	s.close.Do(func() {
		s.cancel()
		s.begin.Do(func() {}) // it never started, and never will
		s.workers.Wait()
		s.lanes.close()
		s.shape.drop()
		if s.err == nil {
			s.err = source.Errorf(source.KindCanceled, opScan, "the stream is closed")
		}
		err = s.reader.Close()
	})
	return err
}

// work is a worker's goroutine.
func (s *Stream) work(ctx context.Context, w *worker, t *slot) {
	defer s.workers.Done()
	defer w.close()
	for {
		ln, run := s.lanes.start(ctx, t)
		if ln == nil {
			return
		}
		at, err := s.decode(run, w, ln, t)
		t.give()
		s.lanes.finish(ln, at, err)
	}
}

// decode runs a lane to its end or to the first error. Whatever a decoder panics
// about in a foreign file ends here.
func (s *Stream) decode(ctx context.Context, w *worker, ln *lane, t *slot) (at progress, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = w.panicError(p)
		}
		if err != nil {
			err = w.named(ctx, err)
		}
	}()
	if err := s.lanes.turn(ctx, ln, t); err != nil {
		return ln.from, err
	}
	return w.run(ctx, ln.portion, ln.from, func(p piece) error {
		t.give()
		if err := s.lanes.put(ctx, ln, p); err != nil {
			return err
		}
		return s.lanes.turn(ctx, ln, t)
	})
}
