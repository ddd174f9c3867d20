package dataset

import (
	"context"
	"errors"
	"io"
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
	// Turns and Spare are scan.Task's.
	Turns scan.Turns
	Spare scan.Spare
}

func (a Admission) lease(ctx context.Context, n int64) (release func(), err error) {
	if a.Lease == nil {
		return func() {}, nil
	}
	return a.Lease(ctx, n)
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
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(countParallel)
	for _, part := range plan.Partitions {
		group.Go(func() (err error) {
			defer recovered(&err, "count", part.File.Path)
			n, err := p.countPartition(ctx, token, part, a)
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

func (p *Planner) countPartition(ctx context.Context, token source.HubToken, part Partition, a Admission) (rows int64, err error) {
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
