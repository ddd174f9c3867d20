package scan

import (
	"cmp"
	"context"
	"slices"

	"github.com/hubflight/hubflight/source/rangeio"
)

// announcer is a Reader that fetches ahead what it is told will be read.
type announcer interface {
	Expect(ctx context.Context, ranges []rangeio.Range)
}

// announce tells the Reader what all row groups will ask for, as far as that can
// be known.
func (d *decoder) announce(ctx context.Context) {
	reader, ok := d.task.Reader.(announcer)
	if !ok {
		return
	}
	var plan []rangeio.Range
	chunks := make([]chunk, 0, len(d.plan.order))
	row := int64(0)
	for _, g := range d.task.Groups {
		rows := d.task.Footer.GroupRows(g)
		if d.plan.bound == nil {
			if d.task.Limit >= 0 && row >= d.task.Limit {
				break
			}
			if row += rows; row <= d.task.Skip {
				continue // as in readGroup
			}
		}
		chunks = chunks[:0]
		for _, leaf := range d.plan.order {
			chunks = append(chunks, d.task.Footer.chunks[g][leaf])
		}
		plan = append(plan, readPlan(chunks)...)
	}
	reader.Expect(ctx, plan)
}

// readPlan is what a chunkReader of these chunks will ask for, in about that
// order: spans as a whole, or windows of chunks that are decoded side by side.
func readPlan(chunks []chunk) []rangeio.Range {
	var plan []rangeio.Range
	type due struct {
		rangeio.Range
		share float64 // of its chunk that comes before it
	}
	var windows []due
	for _, s := range planSpans(chunks) {
		if s.window == 0 {
			plan = append(plan, rangeio.Range{Off: s.off, Len: s.len})
			continue
		}
		for at := int64(0); at < s.len; at += s.window {
			windows = append(windows, due{rangeio.Range{Off: s.off + at, Len: min(s.window, s.len-at)}, float64(at) / float64(s.len)})
		}
	}
	slices.SortStableFunc(windows, func(a, b due) int { return cmp.Compare(a.share, b.share) })
	for _, w := range windows {
		plan = append(plan, w.Range)
	}
	return plan
}
