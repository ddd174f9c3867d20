package scan

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan/column"
)

const (
	// maxDictionary is the largest dictionary that is looked at before the data,
	// inflated. Writers stop at 1 MiB.
	maxDictionary = 4 << 20
	// maxDictionaryDecoded is what it may become.
	maxDictionaryDecoded = 16 * maxDictionary
	// ExamineBytes is about the most memory that Query.Examine takes at one time: a
	// window of page indexes, and a dictionary.
	ExamineBytes = 4*aheadIndexBytes + maxDictionaryDecoded
	// wholeBloom: a smaller filter is read at once, a larger one block by block.
	wholeBloom = 16 << 10
)

// bloomProbe is what is asked of one bloom filter: hashes of values that it may not
// have.
type bloomProbe struct {
	candidate
	leaf   int // of the filter
	place  section
	filter bloomFilter
	known  bool // the header was read
	hashes map[string]uint64
}

// byBloom looks up the values that = and in ask for.
func (p *prospector) byBloom(ctx context.Context, left []candidate) error {
	probes := p.bloomProbes(left)
	if len(probes) == 0 {
		return nil
	}
	h := p.sections()
	// Headers, and the blocks as far as it can be told where they are.
	var want []section
	for i := range probes {
		want = append(want, probes[i].place.header())
		if guess, ok := guessBloom(probes[i].place); ok {
			probes[i].filter = guess
			want = append(want, probes[i].blocks()...)
		}
	}
	if err := h.load(ctx, want); err != nil {
		return err
	}
	want = nil
	for i := range probes {
		pr := &probes[i]
		f, err := readBloomHeader(h.bytes(pr.place.header()), pr.place, p.reader.Size())
		if pr.known = err == nil; !pr.known || f == pr.filter {
			continue
		}
		pr.filter = f
		want = append(want, pr.blocks()...)
	}
	more := p.sections()
	if len(want) > 0 {
		if err := more.load(ctx, want); err != nil {
			return err
		}
	}
	for _, pr := range probes {
		if pr.known {
			pr.chances.ByAbsence(pr.leaf, func(v filter.Value) bool { return pr.absent(v, h, more) })
		}
	}
	return nil
}

// bloomProbes lists what bloom filters can be asked.
func (p *prospector) bloomProbes(left []candidate) []bloomProbe {
	var out []bloomProbe
	for _, c := range left {
		for i, n := range p.flat {
			if n == nil || p.ft.chunks[c.group][n.leaf].bloom.len == 0 || !p.wholeValues(c.group, n) {
				continue
			}
			pr := bloomProbe{candidate: c, leaf: i, place: p.ft.chunks[c.group][n.leaf].bloom, hashes: make(map[string]uint64)}
			for _, v := range c.chances.Sought(i) {
				if hash, ok := bloomHash(v, p.ft.meta.Schema.Column(n.leaf), n.field.Type, p.bound.Type(i)); ok {
					pr.hashes[v.Key()] = hash
				}
			}
			cost := section{pr.place.off, bloomHeader + int64(len(pr.hashes))*bloomBlock}
			if len(pr.hashes) > 0 && p.worth(c.group, cost) {
				out = append(out, pr)
			}
		}
	}
	return out
}

// wholeValues reports whether the values that are stored are those that are read:
// narrow integers are stored in 32 bits, and cut to their width.
func (p *prospector) wholeValues(g int, n *node) bool {
	switch n.field.Type.ID() {
	case arrow.INT8, arrow.INT16, arrow.UINT8, arrow.UINT16:
		s, ok := p.ft.leafStats(g, n)
		return ok && s.Min != nil && s.Max != nil
	}
	return true
}

// blocks are the parts of the filter that its hashes need.
func (pr *bloomProbe) blocks() []section {
	if pr.filter.blocks.len <= wholeBloom {
		return []section{pr.filter.blocks}
	}
	out := make([]section, 0, len(pr.hashes))
	for _, hash := range pr.hashes {
		out = append(out, pr.filter.block(hash))
	}
	return out
}

// absent reports whether the filter knows that a value is not in the row group.
func (pr *bloomProbe) absent(v filter.Value, from ...*sections) bool {
	hash, ok := pr.hashes[v.Key()]
	if !ok {
		return false
	}
	for _, h := range from {
		if block := h.bytes(pr.filter.block(hash)); block != nil {
			return !bloomHas(block, hash)
		}
	}
	return false
}

// byDictionary tests the values of dictionary pages, where there are no others.
func (p *prospector) byDictionary(ctx context.Context, left []candidate) error {
	ahead := p.sections()
	var want []section
	for _, c := range left {
		for i := range p.flat {
			if s, ok := p.dictionary(c, i); ok {
				want = append(want, s)
			}
		}
	}
	ahead.expect(want)
	for _, c := range left {
		for i := range p.flat {
			s, ok := p.dictionary(c, i)
			if !ok || !c.chances.Any() {
				continue
			}
			h := p.sections()
			if err := h.load(ctx, []section{s}); err != nil {
				return err
			}
			if err := p.byEntries(ctx, c, i, s, h.bytes(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dictionary is the dictionary page of one of the filter's leaves, if it holds all
// values of the row group and is worth reading.
func (p *prospector) dictionary(c candidate, leaf int) (section, bool) {
	n := p.flat[leaf]
	if n == nil || !c.chances.Tests(leaf) || p.ft.meta.Schema.Column(n.leaf).PhysicalType() == parquet.Types.Int96 {
		return section{}, false
	}
	place := p.ft.chunks[c.group][n.leaf]
	s := section{place.off, place.data - place.off}
	if s.len < minPageBytes || s.len >= place.len || s.len > maxDictionary || !p.worth(c.group, s) {
		return section{}, false
	}
	return s, p.ft.onlyDictionary(c.group, n.leaf)
}

// onlyDictionary reports whether every data page of a chunk takes its values from
// the dictionary, as its writer counted.
func (ft *Footer) onlyDictionary(group, leaf int) bool {
	const (
		dataPage, dataPageV2           = 0, 3
		plainDictionary, rleDictionary = 2, 8
	)
	pages := int32(0)
	for _, s := range ft.meta.RowGroups[group].Columns[leaf].MetaData.EncodingStats {
		if s == nil || s.Count < 0 {
			return false
		}
		if s.PageType != dataPage && s.PageType != dataPageV2 || s.Count == 0 {
			continue
		}
		if s.Encoding != plainDictionary && s.Encoding != rleDictionary {
			return false
		}
		pages++
	}
	return pages > 0
}

// byEntries decodes a dictionary page and tests its entries. What is wrong with it
// is for whoever reads the data to say.
func (p *prospector) byEntries(ctx context.Context, c candidate, leaf int, s section, data []byte) error {
	n := p.flat[leaf]
	mem := &meter{mem: p.memory, limit: maxDictionaryDecoded}
	mem.begin()
	entries, err := p.entries(c.group, n, s, data, mem)
	if entries == nil || err != nil {
		return nil // not known, then
	}
	defer entries.Release()
	values, err := converter{gatherer{mem}}.convert(entries, n.field.Type, p.bound.Type(leaf), n.field.Name)
	if err != nil {
		return nil // an entry that cannot be converted may be in no row
	}
	defer values.Release()
	arr := array.MakeFromData(values)
	defer arr.Release()
	return c.chances.ByValues(ctx, leaf, arr)
}

// entries decodes a dictionary page.
func (p *prospector) entries(g int, n *node, s section, data []byte, mem memory.Allocator) (arrow.ArrayData, error) {
	desc := p.ft.meta.Schema.Column(n.leaf)
	place := p.ft.chunks[g][n.leaf]
	rd, err := column.NewReader(column.Field{
		Type: n.read, Def: desc.MaxDefinitionLevel(), Rep: desc.MaxRepetitionLevel(),
		Leaf: &column.Chunk{
			Physical: desc.PhysicalType(), TypeLength: desc.TypeLength(), MaxDef: desc.MaxDefinitionLevel(), MaxRep: desc.MaxRepetitionLevel(),
			Codec:  compress.Compression(p.ft.meta.RowGroups[g].Columns[n.leaf].MetaData.Codec),
			Values: place.values, Rows: p.ft.GroupRows(g), Off: s.off, Len: s.len, Source: part{s, data},
		},
	}, column.Options{Memory: mem, MaxPageBytes: maxDictionary})
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	entries, ok, err := rd.Dictionary()
	if !ok || err != nil || entries == nil {
		return nil, err
	}
	return storageData(entries), nil
}

// part is the part of a chunk that is in memory.
type part struct {
	section
	data []byte
}

var errPart = errors.New("beyond the dictionary page")

// Bytes implements column.Source.
func (p part) Bytes(off int64, n int) ([]byte, error) {
	if off < p.off || off+int64(n) > p.end() {
		return nil, errPart
	}
	return p.data[off-p.off:][:n], nil
}

// byPageIndex finds the rows of the pages that may match.
func (p *prospector) byPageIndex(ctx context.Context, left []candidate) error {
	var want []section
	var asked []candidate
	for _, c := range left {
		mine, ok := p.indexes(c)
		if ok && p.worth(c.group, mine...) {
			asked, want = append(asked, c), append(want, mine...)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	h := p.sections()
	if err := h.load(ctx, want); err != nil {
		return err
	}
	for _, c := range asked {
		c.keep(h)
		c.spans = p.spans(c, h)
		if len(c.spans) == 0 {
			c.layer = LayerPageIndex
		}
	}
	return nil
}

// indexes are the sections to read of a row group: the offset indexes of all
// leaves, which will be needed to leave pages out, and the column indexes of the
// filter's; false if there is no pair of the filter's.
func (p *prospector) indexes(c candidate) ([]section, bool) {
	const onePage = 16 // a longer offset index may have several pages
	var out []section
	useful := false
	for i, n := range p.flat {
		if n == nil || !c.chances.Mentions(i) {
			continue
		}
		place := p.ft.chunks[c.group][n.leaf]
		if place.columnIndex.len > 0 && place.offsetIndex.len > onePage {
			out, useful = append(out, place.columnIndex), true
		}
	}
	for _, leaf := range p.leaves {
		if s := p.ft.chunks[c.group][leaf].offsetIndex; s.len > 0 {
			out = append(out, s)
		}
	}
	return out, useful
}

// spans are the rows that a conjunction may keep: those for which every one of its
// leaves has a page that may match.
func (p *prospector) spans(c candidate, h *sections) []rows {
	stats := make([][]filter.Stats, len(p.flat))
	pages := make([][]column.Page, len(p.flat))
	for i, n := range p.flat {
		if n != nil && c.chances.Mentions(i) {
			pages[i], stats[i] = p.pageStats(c, n, h)
		}
	}
	var out []rows
	for _, conjunction := range c.chances.Conjunctions() {
		mine := c.spans
		for i := range p.flat {
			if stats[i] == nil {
				continue
			}
			var may []rows
			for k := range stats[i] {
				s := &stats[i][k]
				if c.chances.MayMatch(conjunction, i, s) {
					may = addRows(may, rows{pages[i][k].FirstRow, pages[i][k].FirstRow + s.Rows})
				}
			}
			mine = intersect(mine, may)
		}
		out = unite(out, mine)
	}
	return out
}

// pageStats is what the column index says about the pages of a leaf, or nil.
func (p *prospector) pageStats(c candidate, n *node, h *sections) ([]column.Page, []filter.Stats) {
	data := h.bytes(p.ft.chunks[c.group][n.leaf].columnIndex)
	pages := c.parse(n.leaf)
	if data == nil || pages == nil {
		return nil, nil
	}
	index, err := readColumnIndex(data, len(pages))
	if err != nil {
		return nil, nil
	}
	nulls := int64(-1)
	if st := p.ft.meta.RowGroups[c.group].Columns[n.leaf].MetaData.Statistics; st != nil && st.NullCount != nil {
		nulls = *st.NullCount
	}
	total := p.ft.GroupRows(c.group)
	if index.check(pages, total, nulls) != nil {
		return nil, nil
	}
	out := make([]filter.Stats, len(pages))
	for i := range pages {
		out[i] = p.pageStat(n, index, i, pageRows(pages, i, total))
	}
	return pages, out
}

// pageStat is what a column index says about page i.
func (p *prospector) pageStat(n *node, x columnIndex, i int, count int64) filter.Stats {
	s := filter.Stats{Nulls: -1, Rows: count}
	if x.nulls != nil {
		s.Nulls = x.nulls[i]
	}
	switch {
	case x.allNull[i]:
		s.Nulls = count
	case p.ft.correctBounds(n.leaf, x.min[i], x.max[i]):
		// Nothing says whether bounds were shortened, so byte strings may be.
		cut := p.ft.storedAsBytes(n.leaf)
		p.ft.bound(&s, n, x.min[i], x.max[i], cut)
		s.Exact = !cut
	}
	return s
}
