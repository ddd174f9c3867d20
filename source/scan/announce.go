package scan

import (
	"cmp"
	"context"
	"slices"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan/column"
)

// announcer is a Reader that fetches ahead what it is told will be read.
type announcer interface {
	Expect(ctx context.Context, ranges []rangeio.Range)
	// ExpectAll is for ranges of which none is waited for before the others are known.
	ExpectAll(ctx context.Context, ranges []rangeio.Range)
	// ExpectInOrder is for ranges whose order is worth requests.
	ExpectInOrder(ctx context.Context, ranges []rangeio.Range)
}

// ahead tells a Reader what will be read of it; the zero ahead tells nobody. Its
// ctx is that of all reading: the first announcement's bounds what is fetched for
// all of them.
type ahead struct {
	ctx    context.Context
	reader announcer
}

func newAhead(ctx context.Context, r source.Reader) ahead {
	reader, _ := r.(announcer)
	return ahead{ctx, reader}
}

func (a ahead) expect(ranges []rangeio.Range) {
	if a.reader != nil && len(ranges) > 0 {
		a.reader.Expect(a.ctx, ranges)
	}
}

// announce tells the Reader what all portions will ask for. With a filter that is
// known only when the prospector has looked at their row groups, and announces it.
func (a ahead) announce(t *Task, plan *layout, jobs []portion) {
	if a.reader == nil || plan.bound != nil {
		return
	}
	var ranges, last []rangeio.Range
	for i, job := range jobs {
		chunks := t.Footer.chunksOf(job.group, plan.units)
		if i > 0 && i == len(jobs)-1 {
			last = lastPlan(chunks)
		}
		switch {
		case last != nil:
		case i == len(jobs)-2:
			ranges = append(ranges, lastButOnePlan(chunks)...)
		default:
			ranges = append(ranges, readPlan(chunks)...)
		}
	}
	if len(ranges) > 0 {
		a.reader.ExpectAll(a.ctx, ranges)
	}
	if last != nil {
		a.reader.ExpectInOrder(a.ctx, last)
	}
}

// distant is a Reader that knows what a round trip to its origin is worth.
type distant interface {
	// TripBytes is how many bytes may rather be read than wait for one more answer.
	TripBytes() int64
}

const (
	// savedTrips are the answers that a filtered scan waits for, one after the other,
	// beside the first: indexes, what the filter looks at, and what it keeps, of which
	// the first few rows come before the rest.
	savedTrips = 3
	// decidingTrips are those of them before it knows which rows it wants.
	decidingTrips = 2
	// decidingShare of a file may at most be read for them in vain.
	decidingShare = 64
)

// announceEarly announces what row groups of a distant file may be asked for, before
// any answer says whether they will be: everything, if that is less than what waiting
// for the answers costs, else what decides about their rows. What the filter looks at
// comes first.
func (p *prospector) announceEarly(ctx context.Context, left []candidate) error {
	far, ok := p.ahead.reader.(distant)
	if !ok || len(p.rest) == 0 {
		return nil // of the filter's columns alone pages are read, after one answer
	}
	var tested, rest []rangeio.Range
	for _, c := range left {
		mine, err := c.places(ctx, p.tested)
		if err != nil {
			return err
		}
		others, err := c.places(ctx, p.rest)
		if err != nil {
			return err
		}
		want, _ := p.indexes(c)
		tested = slices.Concat(tested, p.sections().plan(want), mine)
		rest = append(rest, others...)
	}
	trip, deciding := far.TripBytes(), bytesIn(tested)
	switch {
	case deciding+bytesIn(rest) <= savedTrips*trip:
		p.ahead.expect(tested)
		p.ahead.expect(rest)
	case deciding <= min(decidingTrips*trip, p.reader.Size()/decidingShare):
		p.ahead.expect(tested)
	}
	return nil
}

// places are the parts of some units that are read for rows which may match, by offset:
// pages, or chunks where every row may, their pages are not known or they are small.
func (c *prospect) places(ctx context.Context, units []unit) ([]rangeio.Range, error) {
	if chunks := c.p.ft.chunksOf(c.group, units); !c.partial() || wholeSparse(chunks) {
		return eachChunk(chunks), nil
	}
	var ranges []rangeio.Range
	for _, u := range units {
		for _, leaf := range u.order {
			pages, err := c.pages(ctx, leaf)
			if err != nil {
				return nil, err
			}
			more, _ := pageRanges(c.p.ft.chunks[c.group][leaf], pages, c.spans, c.p.ft.GroupRows(c.group), 0)
			ranges = append(ranges, more...)
		}
	}
	slices.SortFunc(ranges, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
	return ranges, nil
}

func bytesIn(ranges []rangeio.Range) int64 {
	total := int64(0)
	for _, r := range ranges {
		total += r.Len
	}
	return total
}

// eachChunk announces chunks one by one. They may be read side by side, some pages at
// a time: announced as one range, all of them would be done with as soon as the last
// one has been read.
func eachChunk(chunks []chunk) []rangeio.Range {
	ranges := make([]rangeio.Range, len(chunks))
	for i, c := range chunks {
		ranges[i] = rangeio.Range{Off: c.off, Len: c.len}
	}
	return ranges
}

// chunksOf are the chunks of some units in a row group.
func (ft *Footer) chunksOf(group int, units []unit) []chunk {
	var out []chunk
	for _, u := range units {
		for _, leaf := range u.order {
			out = append(out, ft.chunks[group][leaf])
		}
	}
	return out
}

// announce tells the Reader what the filter will look at in row groups of which it
// is known which rows may match.
func (p *prospector) announce(ctx context.Context, found []*prospect) error {
	if p.ahead.reader == nil {
		return nil
	}
	var ranges []rangeio.Range
	for _, c := range found {
		if c.layer != "" {
			continue
		}
		if chunks := p.ft.chunksOf(c.group, p.tested); !c.partial() || wholeSparse(chunks) {
			ranges = append(ranges, readPlan(chunks)...)
			continue
		}
		mine, err := c.places(ctx, p.tested)
		if err != nil {
			return err
		}
		ranges = append(ranges, mine...)
	}
	p.ahead.expect(ranges)
	return nil
}

// expect tells the Reader which parts of the other columns a worker will read,
// now that it is known which rows are kept: pages, or chunks where their pages
// are not known.
func (w *worker) expect(ctx context.Context, chosen []rows) error {
	if w.hints.ahead.reader == nil {
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
			more, seen := pageRanges(c, pages, chosen, w.task.Footer.GroupRows(w.group.group), w.group.expected[leaf])
			ranges, w.group.expected[leaf] = append(ranges, more...), seen
			if s := w.group.own[1].find(c.off, c.len); s != nil { // not one of the library's
				s.until = seen
			}
		}
	}
	slices.SortFunc(ranges, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
	w.hints.ahead.expect(ranges)
	return nil
}

// expectKept tells the Reader what all batches of some windows will ask for, so that
// they do not wait for one answer after the other. Where every row of them is kept, the
// next rows likely are, too (the filter is about the order of the rows): of a distant
// file some of them are announced as well, before the parts of the file that lie
// between are thrown away.
func (w *worker) expectKept(ctx context.Context, all []*window, p progress) error {
	if w.plan.first == len(w.plan.units) {
		return nil
	}
	var chosen []rows
	leave, dense := p.done+p.skip, p.take < 0
	for _, win := range all {
		from := min(leave, win.hits)
		leave -= from
		n := win.hits - from
		if p.take >= 0 {
			n = min(n, p.take-countRows(chosen))
		}
		chosen = append(chosen, win.place(cutRuns(win.kept, int(from), int(n)))...)
		dense = dense && win.hits == win.n
	}
	if len(chosen) == 0 {
		return nil
	}
	if dense {
		next, _ := cutRows(w.group.hits.spans, all[len(all)-1].next.at, w.rowsAhead())
		chosen = append(chosen, next...)
	}
	return w.expect(ctx, chosen)
}

// rowsAhead is of how many rows the other columns may rather be read in vain than
// wait for savedTrips answers.
func (w *worker) rowsAhead() int64 {
	far, ok := w.hints.ahead.reader.(distant)
	if !ok {
		return 0
	}
	bytes := bytesOf(w.task.Footer.chunksOf(w.group.group, w.plan.units[w.plan.first:]))
	rows := w.task.Footer.GroupRows(w.group.group)
	return savedTrips * far.TripBytes() / max(bytes/max(rows, 1), 1)
}

// pageRanges are the parts of a chunk that hold chosen rows of a group of n, behind
// what was announced before up to seen (0: nothing), and up to where they reach: the
// dictionary and pages, or all of it if its pages are not known.
func pageRanges(c chunk, pages []column.Page, chosen []rows, n, seen int64) ([]rangeio.Range, int64) {
	if len(pages) == 0 {
		if seen > 0 {
			return nil, seen
		}
		return []rangeio.Range{{Off: c.off, Len: c.len}}, c.off + c.len
	}
	var ranges []rangeio.Range
	if seen == 0 && pages[0].Off > c.off {
		ranges = append(ranges, rangeio.Range{Off: c.off, Len: pages[0].Off - c.off})
	}
	for _, p := range touched(pages, chosen, n) {
		if p.Off >= seen {
			ranges = append(ranges, rangeio.Range{Off: p.Off, Len: int64(p.Size)})
			seen = p.Off + int64(p.Size)
		}
	}
	return ranges, seen
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

const (
	// stripeBytes of a row group are announced as they lie, column after column; a
	// larger one in stripes of about that size, of which each column has its part.
	// Two of them are what one Reader may hold ahead.
	stripeBytes = 32 << 20
	// steadyStripeBytes is the size of stripes that come about as fast as they are
	// decoded.
	steadyStripeBytes = 8 << 20
	// leastStripeBytes is the smallest stripe of the last of several row groups; of the
	// last two, leastPartBytes is the smallest part of a column in a stripe, and
	// mostParts about how many parts each is cut into: each is a request.
	leastStripeBytes = 2 << 20
	leastPartBytes   = 512 << 10
	mostParts        = 48
)

// readPlan is what a chunkReader of these chunks will ask for, in about that
// order: as large parts as can be held, because each is a request. The windows
// over chunks that are decoded side by side are much smaller.
func readPlan(chunks []chunk) []rangeio.Range {
	spans, total := ownSpans(chunks, false), bytesOf(chunks)
	return inStripes(spans, stripes(total, stripeBytes), 0)
}

// lastButOnePlan takes the place of readPlan in the last but one of several row
// groups: what is decoded only when all of it has come is decoded while the last one
// comes, which then waits for the cores.
func lastButOnePlan(chunks []chunk) []rangeio.Range {
	spans, total := ownSpans(chunks, false), bytesOf(chunks)
	return inStripes(spans, stripes(total, steadyStripeBytes), max(leastPartBytes, total/mostParts))
}

// lastPlan takes the place of readPlan in the last of several row groups: nothing
// else is left to be decoded while its last column is on its way, nor to be fetched
// while it is decoded. Its last stripe is cut in half again and again, so that most
// rows are decoded before the last bytes come. It is nil for a row group that is
// too small for that.
func lastPlan(chunks []chunk) []rangeio.Range {
	spans, total := ownSpans(chunks, false), bytesOf(chunks)
	begins := stripes(total, stripeBytes)
	from := begins[len(begins)-1]
	for half := (1 - from) / 2; half*float64(total) >= leastStripeBytes; half /= 2 {
		from += half
		begins = append(begins, from)
	}
	if len(begins) == 1 {
		return nil
	}
	return inStripes(spans, begins, max(leastPartBytes, total/mostParts))
}

func bytesOf(chunks []chunk) int64 {
	total := int64(0)
	for _, c := range chunks {
		total += c.len
	}
	return total
}

// stripes are the shares of a row group's chunks at which its stripes of that size
// begin: 0, and more if it is large.
func stripes(total, size int64) []float64 {
	n := max((total+size-1)/size, 1)
	begins := make([]float64, n)
	for i := range begins {
		begins[i] = float64(i) / float64(n)
	}
	return begins
}

// inStripes cuts spans into parts, none smaller than a window or than least, and
// puts those that begin in a stripe before those of the next.
func inStripes(spans []*span, begins []float64, least int64) []rangeio.Range {
	type due struct {
		rangeio.Range
		stripe int
	}
	var parts []due
	for _, s := range spans {
		smallest := min(s.len, max(s.window, least))
		begin, stripe := int64(0), 0 // of the part that is being made
		for i, share := range begins[1:] {
			if end := int64(share * float64(s.len)); end-begin >= smallest && s.len-end >= smallest {
				parts = append(parts, due{rangeio.Range{Off: s.off + begin, Len: end - begin}, stripe})
				begin, stripe = end, i+1
			}
		}
		parts = append(parts, due{rangeio.Range{Off: s.off + begin, Len: s.len - begin}, stripe})
	}
	slices.SortStableFunc(parts, func(a, b due) int { return cmp.Compare(a.stripe, b.stripe) })
	plan := make([]rangeio.Range, len(parts))
	for i, p := range parts {
		plan[i] = p.Range
	}
	return plan
}
