package scan

import (
	"context"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan/column"
)

const (
	// Row groups are looked at some at a time, so that a file that is far away is
	// asked few times: as many as have so many bytes of indexes, and not more than
	// aheadGroups.
	aheadIndexBytes = 256 << 10
	aheadGroups     = 64
	// A layer is asked only if what it reads is at most a part of what it may save.
	worthShare = 8
)

// layerSet names layers that are not asked. Tests leave layers out one by one: the
// rows must not change.
type layerSet uint8

const (
	offStatistics layerSet = 1 << iota
	offBloom
	offDictionary
	offPageIndex
	offAll = offStatistics | offBloom | offDictionary | offPageIndex
)

// prospector decides what of a row group need not be read, from everything a file
// has beside its data: statistics, bloom filters, dictionary pages and the page
// index, in this order, each only for the row groups that the one before has left. A
// page index that came with the footer is asked before all that takes a read.
//
// What it reads is a hint. Whatever contradicts itself or the footer is left out of
// account, and is never an error; a failed read is one. It is safe for concurrent
// use.
type prospector struct {
	ft     *Footer
	file   source.File
	reader source.Reader
	bound  *filter.Bound // nil: every row is wanted
	flat   []*node       // of the filter's leaves: where they are in the file, nil if that cannot be pruned
	tested []unit        // what the filter looks at
	rest   []unit        // what is read of the rows that it keeps
	leaves []int         // that the task reads
	ahead  ahead         // is told what the filter will look at
	memory memory.Allocator
	off    layerSet

	mu    sync.Mutex
	queue []int // row groups that were not looked at yet, in order
	ready map[int]*prospect
}

// prospect is what is known of one row group.
type prospect struct {
	// layer is "" if rows are to be read, else what proved that none can match.
	layer string
	// spans are the rows that may match: ascending, with gaps between them, not
	// empty. Without filters, all.
	spans []rows

	p     *prospector
	group int

	mu    sync.Mutex
	raw   map[int][]byte // offset indexes; nil if they were not read yet
	known map[int][]column.Page
}

func newProspector(t *Task, plan *layout) *prospector {
	p := &prospector{
		ft: t.Footer, file: t.File, reader: t.Reader, bound: plan.bound, tested: plan.units[:plan.first], rest: plan.units[plan.first:], leaves: plan.leaves(),
		memory: t.Memory, off: t.Query.off, queue: t.Groups, ready: make(map[int]*prospect),
	}
	if p.bound != nil {
		for _, path := range p.bound.Paths() {
			p.flat = append(p.flat, p.ft.flat(path))
		}
	}
	return p
}

// holds bounds the memory that a prospector takes at a time.
func (p *prospector) holds() int64 {
	if p.bound == nil {
		return 0
	}
	largest := int64(aheadIndexBytes)
	for _, g := range p.queue {
		largest = max(largest, p.indexBytes(g))
	}
	const decoded = 3 // bytes of pages and bounds for each byte of index
	return largest*(1+decoded) + maxDictionary
}

// group decides about a row group. Groups are best asked for in order.
func (p *prospector) group(ctx context.Context, g int) (*prospect, error) {
	if p.bound == nil {
		return &prospect{p: p, group: g, spans: p.whole(g)}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.ready[g]; c != nil {
		delete(p.ready, g)
		return c, nil
	}
	for len(p.queue) > 0 && p.queue[0] < g {
		p.queue = p.queue[1:]
	}
	window := p.window(g)
	found, err := p.decide(ctx, window)
	if err != nil {
		return nil, err
	}
	if len(p.queue) > 0 && p.queue[0] == g {
		p.queue = p.queue[len(window):]
	}
	for _, c := range found[1:] {
		p.ready[c.group] = c
	}
	return found[0], nil
}

// window is the row groups to decide about together, the first of which is g.
func (p *prospector) window(g int) []int {
	if len(p.queue) == 0 || p.queue[0] != g {
		return []int{g}
	}
	n, total := 1, p.indexBytes(g)
	for n < min(len(p.queue), aheadGroups) {
		if total += p.indexBytes(p.queue[n]); total > aheadIndexBytes {
			break
		}
		n++
	}
	return p.queue[:n]
}

// indexBytes is the size of the page index of a row group, as far as it matters.
func (p *prospector) indexBytes(g int) int64 {
	total := int64(0)
	for _, leaf := range p.leaves {
		total += p.ft.chunks[g][leaf].offsetIndex.len
	}
	for _, n := range p.flat {
		if n != nil {
			total += p.ft.chunks[g][n.leaf].columnIndex.len
		}
	}
	return total
}

// dataBytes is what reading the whole row group takes.
func (p *prospector) dataBytes(g int) int64 {
	total := int64(0)
	for _, leaf := range p.leaves {
		total += p.ft.chunks[g][leaf].len
	}
	return total
}

func (p *prospector) whole(g int) []rows {
	if n := p.ft.GroupRows(g); n > 0 {
		return []rows{{0, n}}
	}
	return nil
}

// candidate is a row group that is being decided about.
type candidate struct {
	*prospect
	chances *filter.Chances
}

// decided notes that a layer has left nothing of the row group.
func (c *candidate) decided(layer string) bool {
	if c.layer == "" && !c.chances.Any() {
		c.layer, c.spans = layer, nil
	}
	return c.layer != ""
}

// decide asks one layer after the other about the row groups of a window.
func (p *prospector) decide(ctx context.Context, window []int) ([]*prospect, error) {
	all := make([]*prospect, len(window))
	var left []candidate
	for i, g := range window {
		c := candidate{&prospect{p: p, group: g, spans: p.whole(g)}, p.bound.Chances()}
		all[i] = c.prospect
		p.byStatistics(c)
		if !c.decided(LayerStatistics) {
			left = append(left, c)
		}
	}
	left, err := p.early(ctx, left)
	if err != nil {
		return nil, err
	}
	for _, layer := range []struct {
		off  layerSet
		name string
		ask  func(ctx context.Context, left []candidate) error
	}{
		{offBloom, LayerBloom, p.byBloom},
		{offDictionary, LayerDictionary, p.byDictionary},
		{offPageIndex, LayerPageIndex, p.byPageIndex},
	} {
		if p.off&layer.off != 0 || len(left) == 0 {
			continue
		}
		if err := layer.ask(ctx, left); err != nil {
			return nil, err
		}
		kept := left[:0]
		for _, c := range left {
			if !c.decided(layer.name) {
				kept = append(kept, c)
			}
		}
		left = kept
	}
	return all, p.announce(ctx, all)
}

// early asks what page indexes came with the footer, and announces what may be read of
// a distant file: the layers have answers to wait for. It returns the row groups that
// are left.
func (p *prospector) early(ctx context.Context, left []candidate) ([]candidate, error) {
	if len(p.rest) == 0 || len(left) == 0 {
		return left, nil
	}
	var known []candidate
	for _, c := range left {
		if want, ok := p.indexes(c); ok && len(p.sections().plan(want)) == 0 {
			known = append(known, c)
		}
	}
	if len(known) > 0 && p.off&offPageIndex == 0 {
		if err := p.byPageIndex(ctx, known); err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(left, func(c candidate) bool { return c.layer != "" })
	}
	return left, p.announceEarly(ctx, left)
}

// partial reports whether some rows of the group need not be looked at.
func (c *prospect) partial() bool { return countRows(c.spans) < c.p.ft.GroupRows(c.group) }

// byStatistics is what Query.Prune has done with the footer, once more: the layers
// to come need to know which conjunctions it left.
func (p *prospector) byStatistics(c candidate) {
	if p.off&offStatistics != 0 {
		return
	}
	c.chances.ByStats(func(leaf int) (filter.Stats, bool) {
		if n := p.flat[leaf]; n != nil {
			return p.ft.leafStats(c.group, n)
		}
		return filter.Stats{}, false
	})
}

// worth reports whether a layer may read sections about a row group. What came
// with the footer costs nothing.
func (p *prospector) worth(g int, want ...section) bool {
	cost := int64(0)
	for _, s := range want {
		if !p.ft.tail.has(s) {
			cost += s.len
		}
	}
	return cost*worthShare <= p.dataBytes(g)
}

func (p *prospector) sections() *sections {
	return &sections{file: p.file, reader: p.reader, tail: p.ft.tail, ahead: p.ahead}
}

// pages are a leaf's data pages, or nil if they are not known. The first call reads
// the offset indexes of all leaves of the task in this row group, unless the page
// index was asked before.
func (c *prospect) pages(ctx context.Context, leaf int) ([]column.Page, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == nil {
		h := c.p.sections()
		var want []section
		for _, l := range c.p.leaves {
			want = append(want, c.p.ft.chunks[c.group][l].offsetIndex)
		}
		if err := h.load(ctx, want); err != nil {
			return nil, err
		}
		c.keep(h)
	}
	return c.parse(leaf), nil
}

// keep notes the offset indexes that h has.
func (c *prospect) keep(h *sections) {
	c.raw = make(map[int][]byte)
	for _, leaf := range c.p.leaves {
		if data := h.bytes(c.p.ft.chunks[c.group][leaf].offsetIndex); data != nil {
			c.raw[leaf] = data
		}
	}
}

// parse decodes and checks an offset index once.
func (c *prospect) parse(leaf int) []column.Page {
	if pages, done := c.known[leaf]; done {
		return pages
	}
	if c.known == nil {
		c.known = make(map[int][]column.Page)
	}
	c.known[leaf] = nil
	pages, err := readOffsetIndex(c.raw[leaf])
	if err == nil && checkOffsetIndex(pages, c.p.ft.chunks[c.group][leaf], c.p.ft.GroupRows(c.group)) == nil {
		c.known[leaf] = pages
	}
	return c.known[leaf]
}

// bytes is what reading the spans takes at most: of each leaf the pages that hold
// some of their rows, and the dictionary.
func (c *prospect) bytes(ctx context.Context) (int64, error) {
	total := int64(0)
	if len(c.spans) == 0 {
		return 0, nil
	}
	n := c.p.ft.GroupRows(c.group)
	for _, leaf := range c.p.leaves {
		place := c.p.ft.chunks[c.group][leaf]
		if !c.partial() {
			total += place.len
			continue
		}
		pages, err := c.pages(ctx, leaf)
		if err != nil {
			return 0, err
		}
		if pages == nil {
			total += place.len
			continue
		}
		total += pages[0].Off - place.off
		for i, page := range pages {
			if overlap(c.spans, rows{page.FirstRow, page.FirstRow + pageRows(pages, i, n)}) {
				total += int64(page.Size)
			}
		}
	}
	return total, nil
}
