package scan

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// Late materialisation: of a window of rows the columns that the filter looks at
// are decoded first; the others are decoded, and read, only for the rows that it
// keeps. Columns that are looked at and wanted are gathered from the window.

// window is some rows that the filter has looked at.
type window struct {
	rows []rows            // of the group
	n    int64             // how many
	data []arrow.ArrayData // the tested units
	kept []run             // places among the n rows
	hits int64             // how many
	size int64             // bytes of data
	next progress          // where the next window begins
}

// filtered decodes a portion of which the filter keeps some rows.
func (w *worker) filtered(ctx context.Context, job portion, p progress, emit func(piece) error) (progress, error) {
	for p.take != 0 && p.at < job.rows.to {
		var err error
		if p, err = w.nextWindows(ctx, job, p, emit); err != nil {
			return p, err
		}
	}
	return p, nil
}

// testedBytes is about how much is held of windows that were tested and keep rows.
const testedBytes = 4 << 20

// nextWindows is one window of filtered, or some; behind the last one p.at is the
// group's end. What several windows keep is announced at once: of a distant file every
// announcement is an answer to wait for.
func (w *worker) nextWindows(ctx context.Context, job portion, p progress, emit func(piece) error) (_ progress, err error) {
	var all []*window
	defer func() {
		for _, win := range all {
			releaseAll(win.data)
		}
	}()
	ahead, next := w.testsAhead(), p
	for size, hits := int64(0), int64(0); next.at < job.rows.to; {
		win, err := w.nextWindow(ctx, job, next)
		if err != nil {
			return p, err
		}
		all, next = append(all, win), win.next
		size, hits = size+win.size, hits+win.hits
		if enough := p.take >= 0 && hits >= p.done+p.skip+p.take; !ahead || enough || size >= testedBytes {
			break
		}
	}
	if err := w.expectKept(ctx, all, p); err != nil {
		return p, err
	}
	for _, win := range all {
		if p, err = w.window(ctx, win, p, emit); err != nil || p.take == 0 {
			return p, err
		}
		p.at, p.tested, p.testedSize = win.next.at, win.next.tested, win.next.testedSize
		p.done -= min(p.done, win.hits)
	}
	return p, nil
}

// testsAhead reports whether all of a row group is tested before other columns are
// read: if the file is distant, and what the filter looks at so small that it comes
// with an answer or two.
func (w *worker) testsAhead() bool {
	far, ok := w.hints.ahead.reader.(distant)
	return ok && bytesOf(w.task.Footer.chunksOf(w.group.group, w.plan.units[:w.plan.first])) <= decidingTrips*far.TripBytes()
}

// nextWindow tests the window that begins at p. The caller releases its data.
func (w *worker) nextWindow(ctx context.Context, job portion, p progress) (*window, error) {
	next, win := p, &window{}
	n, err := w.fitting(w.windowRows(job.group, &next), func(n int64) error {
		releaseAll(win.data)
		win = &window{}
		if win.rows, next.at = cutRows(w.group.hits.spans, p.at, n); len(win.rows) == 0 {
			return nil
		}
		return w.test(ctx, win)
	})
	if err != nil {
		releaseAll(win.data)
		return nil, err
	}
	if len(win.rows) == 0 {
		next.at = job.rows.to
	} else {
		next.tested = min(next.tested, n)
		next.testedSize = max((win.size+win.n-1)/win.n, p.testedSize/growth, 1)
	}
	if win.hits == 0 { // nothing of it will be asked for again
		releaseAll(win.data)
		win.data, win.size = nil, 0
	}
	win.next = next
	return win, nil
}

// windowRows is how many rows to test at once.
func (w *worker) windowRows(group int, p *progress) int64 {
	size := p.testedSize
	if size == 0 {
		size = w.footerSize(group, w.plan.units[:w.plan.first])
	}
	p.tested = grow(p.tested, min(windowRows, w.task.Query.BatchSize()/max(size, 1)))
	return p.tested
}

// cutRows takes the first n rows at or behind row at out of spans, and says
// where the next begin.
func cutRows(spans []rows, at, n int64) (out []rows, next int64) {
	for _, s := range spans {
		from := max(s.from, at)
		if from >= s.to {
			continue
		}
		if n == 0 {
			break
		}
		to := min(s.to, from+n)
		out, n, at = append(out, rows{from, to}), n-(to-from), to
	}
	return out, at
}

// window hands on the rows that are kept. Until its end the progress of a window
// stays where it began. One that is taken up again may have another number of
// rows, if it did not fit into memory then or does not now; its kept rows are
// counted from the same row.
func (w *worker) window(ctx context.Context, win *window, p progress, emit func(piece) error) (progress, error) {
	drop := min(p.skip, max(win.hits-p.done, 0))
	p.skip, p.done = p.skip-drop, p.done+drop
	for p.done < win.hits && p.take != 0 {
		most := min(win.hits-p.done, w.step(w.group.group, &p))
		if p.take > 0 {
			most = min(most, p.take)
		}
		var batch arrow.RecordBatch
		n, err := w.fitting(most, func(n int64) (err error) {
			batch, err = w.pick(ctx, win, p.done, n, &p)
			return err
		})
		if err != nil {
			return p, err
		}
		if p.take > 0 {
			p.take -= n
		}
		if p.done += n; n < most {
			p.step = n
		}
		if err := emit(piece{batch, batchBytes(batch, 0, n), p}); err != nil {
			return p, err
		}
	}
	return p, nil
}

// test decodes what the filter looks at and asks it which rows to keep.
func (w *worker) test(ctx context.Context, win *window) (err error) {
	for _, r := range win.rows {
		win.n += r.to - r.from
	}
	if win.data, err = w.decode(ctx, 0, w.plan.first, win.rows); err != nil {
		return err
	}
	win.size = sizeOf(win.data)
	rec, err := w.record(w.plan.schema, w.plan.tested, win.data, win.n)
	if err != nil {
		return err
	}
	defer rec.Release()
	keep, err := w.plan.bound.Eval(ctx, rec, w.mem)
	if err != nil {
		return err
	}
	defer keep.Release()
	if int64(keep.Len()) != win.n {
		return source.Errorf(source.KindInternal, opScan, "the filter answered %d of %d rows", keep.Len(), win.n)
	}
	kept, total := runsOf(keep)
	win.kept, win.hits = kept, int64(total)
	return nil
}

// pick makes the output of n kept rows of a window from the one numbered from.
func (w *worker) pick(ctx context.Context, win *window, from, n int64, p *progress) (arrow.RecordBatch, error) {
	runs := cutRuns(win.kept, int(from), int(n))
	all := n == win.n
	data := make([]arrow.ArrayData, 0, len(w.plan.units))
	defer func() { releaseAll(data) }()
	for at, d := range win.data {
		switch {
		case all, !w.plan.wants(at):
			d.Retain()
		default:
			d = w.conv.take(d, runs, int(n))
		}
		data = append(data, d)
	}
	chosen := win.place(runs)
	if err := w.expect(ctx, chosen); err != nil {
		return nil, err
	}
	others, err := w.decode(ctx, w.plan.first, len(w.plan.units), chosen)
	data = append(data, others...)
	if err != nil {
		return nil, err
	}
	batch, err := w.record(w.task.Out, w.plan.output, data, n)
	if err == nil {
		p.learn(batchBytes(batch, 0, n), n)
	}
	return batch, err
}

// cutRuns is n of the values of runs, from the one numbered from.
func cutRuns(runs []run, from, n int) []run {
	var out []run
	for _, r := range runs {
		if n == 0 {
			break
		}
		if from >= r.n {
			from -= r.n
			continue
		}
		k := min(r.n-from, n)
		out = append(out, run{r.off + from, k})
		from, n = 0, n-k
	}
	return out
}

// place turns places among a window's rows into rows of the group.
func (win *window) place(runs []run) []rows {
	out := make([]rows, 0, len(runs))
	base, at := int64(0), 0 // the first place of win.rows[at]
	for _, r := range runs {
		for off, n := int64(r.off), int64(r.n); n > 0; {
			for off-base >= win.rows[at].to-win.rows[at].from {
				base += win.rows[at].to - win.rows[at].from
				at++
			}
			from := win.rows[at].from + off - base
			k := min(n, win.rows[at].to-from)
			out = append(out, rows{from, from + k})
			off, n = off+k, n-k
		}
	}
	return out
}
