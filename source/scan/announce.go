package scan

import (
	"cmp"
	"context"
	"slices"

	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan/column"
)

// announcer is a Reader that fetches ahead what it is told will be read.
type announcer interface {
	Expect(ctx context.Context, ranges []rangeio.Range)
}

// announce tells the Reader what all portions will ask for, as far as that can
// be known: with a filter, what it looks at.
func announce(ctx context.Context, t *Task, plan *layout, jobs []portion) {
	reader, ok := t.Reader.(announcer)
	if !ok {
		return
	}
	units := plan.units
	if plan.bound != nil {
		units = units[:plan.first]
	}
	var ranges []rangeio.Range
	var chunks []chunk
	for _, job := range jobs {
		chunks = chunks[:0]
		for _, u := range units {
			for _, leaf := range u.order {
				chunks = append(chunks, t.Footer.chunks[job.group][leaf])
			}
		}
		ranges = append(ranges, readPlan(chunks)...)
	}
	reader.Expect(ctx, ranges)
}

// expect tells the Reader which parts of the other columns a worker will read,
// now that it is known which rows are kept: pages, or chunks where their pages
// are not known.
func (w *worker) expect(ctx context.Context, chosen []rows) error {
	reader, ok := w.task.Reader.(announcer)
	if !ok {
		return nil
	}
	var ranges []rangeio.Range
	for _, u := range w.plan.units[w.plan.first:] {
		for _, leaf := range u.order {
			c := w.task.Footer.chunks[w.group.group][leaf]
			pages, err := w.group.hits.pages(ctx, leaf)
			if err != nil {
				return err
			}
			seen := w.group.expected[leaf]
			if len(pages) == 0 {
				if seen == 0 {
					ranges = append(ranges, rangeio.Range{Off: c.off, Len: c.len})
				}
				w.group.expected[leaf] = c.off + c.len
				continue
			}
			if seen == 0 && pages[0].Off > c.off { // the dictionary
				ranges = append(ranges, rangeio.Range{Off: c.off, Len: pages[0].Off - c.off})
			}
			for _, p := range touched(pages, chosen, w.task.Footer.GroupRows(w.group.group)) {
				if p.Off >= seen {
					ranges = append(ranges, rangeio.Range{Off: p.Off, Len: int64(p.Size)})
					seen = p.Off + int64(p.Size)
				}
			}
			w.group.expected[leaf] = seen
		}
	}
	if len(ranges) > 0 {
		slices.SortFunc(ranges, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
		reader.Expect(ctx, ranges)
	}
	return nil
}

// touched are the pages of a group of n rows that hold chosen rows.
func touched(pages []column.Page, chosen []rows, n int64) []column.Page {
	var out []column.Page
	at := 0
	for i, p := range pages {
		end := n
		if i+1 < len(pages) {
			end = pages[i+1].FirstRow
		}
		for at < len(chosen) && chosen[at].to <= p.FirstRow {
			at++
		}
		if at < len(chosen) && chosen[at].from < end {
			out = append(out, p)
		}
	}
	return out
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
	for _, s := range ownSpans(chunks, false) {
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
