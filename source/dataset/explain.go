package dataset

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// Explain is Plan whose Files also tell what their streams would find out before
// they decode a row group: bloom filters, dictionary pages and page indexes of the
// kept files are read, each when it is admitted. The partitions are Plan's.
func (p *Planner) Explain(ctx context.Context, token source.HubToken, r Request, a Admission) (*Plan, error) {
	d, plan, err := p.planned(ctx, token, r)
	if err != nil {
		return nil, err
	}
	if r.Query.Filters == nil && r.Limit >= 0 {
		plan.behind(r.Limit)
	}
	own := newLeases(a)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.parallel)
	for i := range plan.Files {
		f := &plan.Files[i]
		if !f.Kept {
			f.leftOut()
			continue
		}
		if r.Query.Filters == nil || f.Groups == nil {
			continue // there is nothing to find out, or the stream prunes by itself
		}
		group.Go(func() (err error) {
			defer recovered(&err, "explain", f.Path)
			// Before the footer is there, and for it too: its room is for all footers, and
			// not kept while the Hub is asked.
			release, err := own.lease(ctx, scan.ExamineBytes+d.digests[i].bytes)
			defer release()
			if err == nil {
				f.Groups, err = p.examine(ctx, d, i, r.Query)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, d.name(err)
	}
	return plan, nil
}

// leftOut says of a file that is not read that its row groups are not: those that
// no filter excludes lie behind a limit.
func (f *FileReport) leftOut() {
	for g := range f.Groups {
		behindLimit(&f.Groups[g])
	}
}

// behind says of the row groups after the first limit rows that they are not read.
func (plan *Plan) behind(limit int64) {
	for i := range plan.Files {
		for g := range plan.Files[i].Groups {
			d := &plan.Files[i].Groups[g]
			if limit <= 0 {
				behindLimit(d)
			}
			limit -= d.Rows
		}
	}
}

func behindLimit(d *scan.Decision) {
	if d.Keep {
		d.Keep, d.Layer, d.Candidates, d.Read = false, scan.LayerLimit, 0, 0
	}
}

func (p *Planner) examine(ctx context.Context, d *description, i int, q scan.Query) (decisions []scan.Decision, err error) {
	r, err := p.openRanges(ctx, d.data.store, d.data.token, d.files[i].File)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := r.Close(); err == nil {
			err = closing
		}
	}()
	var footer *scan.Footer
	err = p.withFooter(ctx, d.data, d.files[i].File, func(f *scan.Footer) error {
		footer = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return q.Examine(ctx, r, footer, d.schema)
}
