package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/source"
)

// ScanOptions say how a Scan runs; the zero value is a good one.
type ScanOptions struct {
	// Parallel is how many partitions are read at once; default 4.
	Parallel int
	// Ordered gives the rows in file order. Without it batches come as they
	// arrive.
	Ordered bool
	// RetryFor is how long a broken or busy partition is tried again before the
	// scan fails; default 10 minutes.
	RetryFor time.Duration
}

// ahead is how many batches a partition may be ahead of its reader: one in hand
// and one on the way hide the round trip, more only takes memory.
const ahead = 2

// Scan reads every partition of a plan made now. A batch is valid until the next
// iteration; Retain it to keep it. Breaking out of the loop cancels everything.
func (d *Dataset) Scan(ctx context.Context, o ScanOptions) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		plan, err := d.Plan(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		d.client.ScanPlan(ctx, plan, o)(yield)
	}
}

// ScanPlan reads every partition of a plan.
func (c *Client) ScanPlan(ctx context.Context, plan *Plan, o ScanOptions) iter.Seq2[arrow.RecordBatch, error] {
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.RetryFor <= 0 {
		o.RetryFor = 10 * time.Minute
	}
	return func(yield func(arrow.RecordBatch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		for batch := range c.merge(ctx, plan, o, &running) {
			ok := yield(batch.rec, batch.err)
			if batch.rec != nil {
				batch.rec.Release()
			}
			if !ok || batch.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, source.AsError("scan", err))
		}
	}
}

// result is a batch or a partition's failure.
type result struct {
	rec arrow.RecordBatch
	err error
}

// merge starts readers, at most o.Parallel at once, and yields their batches: in
// file order, or as they come.
func (c *Client) merge(ctx context.Context, plan *Plan, o ScanOptions, running *sync.WaitGroup) iter.Seq[result] {
	read := func(p Partition, out chan<- result) {
		c.readPartition(ctx, plan.Schema, p, o.RetryFor, out)
	}
	return func(yield func(result) bool) {
		if o.Ordered {
			ordered(plan.Partitions, o.Parallel, running, read, yield)
		} else {
			unordered(ctx, plan.Partitions, o.Parallel, running, read, yield)
		}
	}
}

func ordered(parts []Partition, parallel int, running *sync.WaitGroup, read func(Partition, chan<- result), yield func(result) bool) {
	outs := make([]chan result, len(parts))
	started := 0
	for i := range parts {
		for ; started < len(parts) && started < i+parallel; started++ {
			out := make(chan result, ahead)
			outs[started] = out
			p := parts[started]
			running.Go(func() { defer close(out); read(p, out) })
		}
		for r := range outs[i] {
			if !yield(r) {
				drain(running, outs[i:started])
				return
			}
		}
	}
}

func unordered(ctx context.Context, parts []Partition, parallel int, running *sync.WaitGroup, read func(Partition, chan<- result), yield func(result) bool) {
	todo := make(chan Partition)
	out := make(chan result, ahead)
	var readers sync.WaitGroup
	for range min(parallel, len(parts)) {
		readers.Go(func() {
			for p := range todo {
				read(p, out)
			}
		})
	}
	running.Go(func() {
		defer close(todo)
		for _, p := range parts {
			select {
			case todo <- p:
			case <-ctx.Done():
				return
			}
		}
	})
	running.Go(func() { readers.Wait(); close(out) })
	for r := range out {
		if !yield(r) {
			drain(running, []chan result{out})
			return
		}
	}
}

// drain releases what readers had already queued when the consumer left. It runs
// beside them: their sends end when the context is cancelled.
func drain(running *sync.WaitGroup, outs []chan result) {
	for _, out := range outs {
		running.Go(func() {
			for r := range out {
				if r.rec != nil {
					r.rec.Release()
				}
			}
		})
	}
}

// readPartition streams one partition into out. A stream that breaks, or a server
// that is busy, is tried again from the row reached, until patience is used up.
func (c *Client) readPartition(ctx context.Context, schema *arrow.Schema, p Partition, patience time.Duration, out chan<- result) {
	var rows int64
	deadline := time.Now().Add(patience)
	for attempt := 0; ; attempt++ {
		before := rows
		err := guarded(func() error { return c.stream(ctx, schema, p.Ticket, &rows, out) })
		if err == nil || ctx.Err() != nil {
			return
		}
		if rows > before {
			attempt, deadline = 0, time.Now().Add(patience)
		}
		wait, again := retryWait(err, attempt)
		if rows > before && source.KindOf(err) == source.KindDeadline {
			wait, again = 0, true // whoever reads took longer over them than the server keeps a stream that does nothing
		}
		if !again || time.Now().Add(wait).After(deadline) {
			send(ctx, out, result{err: err})
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// stream runs one DoGet, leaving out the rows already delivered.
func (c *Client) stream(ctx context.Context, schema *arrow.Schema, ticket []byte, rows *int64, out chan<- result) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoGet(c.outgoing(ctx, "x-hubflight-skip-rows", strconv.FormatInt(*rows, 10)), &flight.Ticket{Ticket: ticket})
	if err != nil {
		return fromStatus("read", err)
	}
	reader, err := flight.NewRecordReader(&incoming{stream: stream})
	if err != nil {
		return fromStatus("read", err)
	}
	defer reader.Release()
	if !reader.Schema().Equal(schema) {
		return source.Errorf(source.KindInternal, "read", "the stream's schema is not the plan's:\n%v\n%v", reader.Schema(), schema)
	}
	for {
		rec, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus("read", err)
		}
		rec.Retain()
		if !send(ctx, out, result{rec: rec}) {
			rec.Release()
			return ctx.Err()
		}
		*rows += rec.NumRows()
	}
}

// guarded turns a panic of the decoder into an error: it runs on a goroutine of
// ours, where the caller could not recover from it.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = source.Errorf(source.KindInternal, "read", "the stream cannot be decoded: %v", r)
		}
	}()
	return f()
}

func send(ctx context.Context, out chan<- result, r result) bool {
	select {
	case out <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

// longestWait bounds what a server may ask for: a broken one could ask for centuries,
// which no clock can add up.
const longestWait = 24 * time.Hour

// retryWait says whether a failure may pass by itself, and how long to wait:
// what the server asks for, else doubling from 100 ms to 10 s, with jitter.
func retryWait(err error, attempt int) (time.Duration, bool) {
	var e *source.Error
	if !errors.As(err, &e) || (e.Kind != source.KindBusy && e.Kind != source.KindUpstream) {
		return 0, false
	}
	wait := min(e.RetryAfter, longestWait)
	if wait <= 0 {
		wait = min(100*time.Millisecond<<min(attempt, 10), 10*time.Second)
	}
	return wait + time.Duration(rand.Int64N(int64(wait)/2+1)), true
}
