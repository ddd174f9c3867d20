package dataset

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// How Count came to its number.
const (
	FromFooters = "footers"
	FromScan    = "scan"
)

// countParallel is how many files a counting scan reads at a time, of those that have
// their memory.
const countParallel = 4

// Admission is what a call that reads more than footers shares with others. The zero
// value bounds nothing.
type Admission struct {
	// Lease waits for n bytes of memory. release, which is never nil, gives them back.
	// Who holds some asks for no more.
	Lease func(ctx context.Context, n int64) (release func(), err error)
	// TryLease is Lease that does not wait. Without it a call reads one file at a time.
	TryLease func(n int64) (release func(), ok bool)
	// Turns and Spare are scan.Task's.
	Turns scan.Turns
	Spare scan.Spare
}

// leases are those of one call. It waits in the queue for the first of its files only,
// and takes others along as far as there is room: behind its own files, which are read
// whole, its patience would run out and all their work be lost.
type leases struct {
	Admission
	mu      sync.Mutex
	waiting bool // in the queue, before which no other file may slip
	held    int
	changed chan struct{} // closed and replaced when one more has come or gone
}

func newLeases(a Admission) *leases { return &leases{Admission: a, changed: make(chan struct{})} }

// lease is Admission.Lease for one of the call's files.
func (l *leases) lease(ctx context.Context, n int64) (release func(), err error) {
	if l.Lease == nil {
		return func() {}, nil
	}
	for {
		l.mu.Lock()
		switch {
		case l.waiting:
		case l.held == 0:
			l.waiting = true
			l.mu.Unlock()
			release, err = l.Lease(ctx, n)
			l.change(1)
			return l.counted(release), err
		case l.TryLease != nil:
			if release, ok := l.TryLease(n); ok {
				l.held++
				l.mu.Unlock()
				return l.counted(release), nil
			}
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return func() {}, ctx.Err()
		}
	}
}

func (l *leases) counted(release func()) func() {
	return func() {
		release()
		l.change(-1)
	}
}

func (l *leases) change(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by > 0 {
		l.waiting = false
	}
	l.held += by
	close(l.changed)
	l.changed = make(chan struct{})
}

// Count returns the number of rows that the request would read. Without filters
// the footers say so, however many there are; with filters the files are read,
// but only the columns that the filters need, and each as far as it is admitted.
func (p *Planner) Count(ctx context.Context, token source.HubToken, r Request, a Admission) (rows int64, from string, err error) {
	if r.Query.Filters == nil {
		rows, err = p.countFooters(ctx, token, r)
		return rows, FromFooters, err
	}
	// Checked as it is given, before its columns are dropped.
	if _, err := p.Schema(ctx, token, r); err != nil {
		return 0, FromScan, err
	}
	r.Query.Columns, r.Query.RowsOnly = []source.Column{}, true
	plan, err := p.Plan(ctx, token, r)
	if err != nil {
		return 0, FromScan, err
	}
	var total atomic.Int64
	own := newLeases(a)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(countParallel)
	for _, part := range plan.Partitions {
		group.Go(func() (err error) {
			defer recovered(&err, "count", part.File.Path)
			n, err := p.countPartition(ctx, token, part, own)
			total.Add(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, FromScan, err
	}
	return total.Load(), FromScan, nil
}

func (p *Planner) countFooters(ctx context.Context, token source.HubToken, r Request) (int64, error) {
	d, err := p.describe(ctx, token, r, false)
	if err != nil {
		return 0, err
	}
	var missing []int
	for i, f := range d.digests {
		if f == nil {
			missing = append(missing, i)
		}
	}
	if err := p.readFooters(ctx, d, r, missing, false); err != nil {
		return 0, d.name(err)
	}
	rows := int64(0)
	for _, f := range d.digests {
		rows += f.rows
	}
	if r.Limit >= 0 {
		rows = min(rows, r.Limit)
	}
	return rows, nil
}

func (p *Planner) countPartition(ctx context.Context, token source.HubToken, part Partition, a *leases) (rows int64, err error) {
	s, err := p.Read(ctx, ReadParams{Token: token, Partition: part, Stop: -1, Turns: a.Turns, Spare: a.Spare})
	if err != nil {
		return 0, err
	}
	release := func() {}
	defer func() {
		if closing := s.Close(); err == nil {
			err = closing
		}
		release() // what was leased is free only when the scan has ended
	}()
	if release, err = a.lease(ctx, s.Holds()); err != nil {
		return 0, err
	}
	for {
		batch, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows += batch.NumRows()
		batch.Release()
	}
}
