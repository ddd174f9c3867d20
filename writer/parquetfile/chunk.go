package parquetfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

const (
	// pageRows is the most rows of a page, so that a page index can point at little; as other writers have it.
	pageRows = 20 * stepRows
	// The sizes are looked at after so many rows or bytes, whichever comes first: at places that depend on the rows alone.
	stepRows  = 1024
	stepBytes = 64 << 10
	// maxStatistic is the longest least or greatest value that is written.
	maxStatistic = 4096
)

// values takes the values of one leaf and encodes them page by page.
type values interface {
	loader
	pager
	dictionary
}

// loader takes a batch's values.
type loader interface {
	load(a arrow.Array, live []run) error // they are read until the next load
	cost(at, n int) int                   // PLAIN bytes of n of them, from the at-th on that is not added yet
	add(n int)                            // appends the next n to the page
}

// pager ends pages.
type pager interface {
	size() int                                             // bytes of the page so far
	page(levels []byte) (out []byte, enc parquet.Encoding) // the page's values behind its levels, until the next add; begins a new one
	bounds() (low, high []byte, ok bool)                   // of the page since the last call; PLAIN without lengths
	merge(low, high, otherLow, otherHigh []byte) (l, h []byte)
}

// dictionary is what a chunk's values are numbered by, as long as it pays.
type dictionary interface {
	pays() bool                             // false if it is too large, or there is none
	giveUp(soon bool)                       // values become PLAIN from here on; soon: those of the open page too
	entries(dst []byte) (out []byte, n int) // PLAIN
	restart(use bool)                       // for another chunk
}

// hashed are values that a bloom filter can have.
type hashed interface {
	hashInto(bloom metadata.BloomFilterBuilder)
}

// chunk writes one column of the open row group.
type chunk struct {
	column     *schema.Column
	maxDef     uint8
	maxRep     uint8
	compressor compressor
	values     values
	stored     queue // finished pages
	dicted     bool  // the open page, and those before it, have a dictionary
	useDict    bool
	stats      bool
	pageBytes  int
	newBloom   func() metadata.BloomFilterBuilder
	bloom      metadata.BloomFilterBuilder

	rep, def  []uint8 // of the open page; def is short of live entries at its end
	count     int     // entries of the open page
	nulls     int     // of these, the ones without a value
	rows      int     // of the open page
	cost      int     // PLAIN bytes of the open page's values, up to the last look
	stepped   int     // rows since the sizes were looked at
	stepCost  int     // and bytes
	pages     []page
	dictPages int // data pages that have the dictionary
	sumValues int64
	sumRaw    int64
	firstRow  int64
	work      *workspace
}

// page is what the indexes say of one.
type page struct {
	offset, firstRow int64 // offset: from the first data page
	size             int32 // with its header
	stats            metadata.EncodedStatistics
}

func newChunk(column *schema.Column, dt arrow.DataType, props *parquet.WriterProperties, s *slabs) (*chunk, error) {
	path := column.Path()
	c := &chunk{
		column: column, maxDef: uint8(column.MaxDefinitionLevel()), maxRep: uint8(column.MaxRepetitionLevel()), //nolint:gosec // checked by plant
		stored: queue{slabs: s}, work: &s.page, stats: props.StatisticsEnabledFor(path),
		useDict: props.DictionaryEnabledFor(path), pageBytes: int(props.DataPageSize()),
	}
	var err error
	if c.compressor, err = newCompressor(props, path); err != nil {
		return nil, err
	}
	limit := int(props.DictionaryPageSizeLimit())
	if c.values, err = newValues(column, dt, settings{limit: limit, stats: c.stats}); err != nil {
		return nil, err
	}
	// A filter into which nothing is hashed would say of every value that it is not there.
	if _, ok := c.values.(hashed); ok && props.BloomFilterEnabledFor(path) {
		c.newBloom = func() metadata.BloomFilterBuilder {
			return metadata.NewAdaptiveBlockSplitBloomFilter(uint32(min(props.MaxBloomFilterBytes(), 128<<20)), //nolint:gosec // 128 MiB
				props.BloomFilterCandidatesFor(path), props.BloomFilterFPPFor(path), column, memory.DefaultAllocator)
		}
	}
	return c, c.reset()
}

// reset begins the chunk of the next row group.
func (c *chunk) reset() error {
	c.values.restart(c.useDict)
	c.dicted = c.values.pays()
	c.pages, c.dictPages, c.sumValues, c.sumRaw, c.firstRow = c.pages[:0], 0, 0, 0, 0
	c.bloom = nil
	if c.newBloom != nil {
		c.bloom = c.newBloom()
		c.values.(hashed).hashInto(c.bloom)
	}
	return nil
}

// held is what the chunk's pages take, wherever they wait.
func (c *chunk) held() int64 { return c.stored.n + int64(c.values.size()) }

// add appends a batch's entries.
func (c *chunk) add(a arrow.Array, e entries) error {
	if err := c.values.load(a, e.live); err != nil {
		return err
	}
	for at := 0; at < e.n; {
		n, filled, rows, cost := c.step(e, at)
		c.take(e, at, n, filled)
		c.rows += rows
		c.stepped += rows
		c.stepCost += cost
		at += n
		if c.stepped >= stepRows || c.stepCost >= min(stepBytes, c.pageBytes) {
			c.cost += c.stepCost
			c.stepped, c.stepCost = 0, 0
			if err := c.look(); err != nil {
				return err
			}
		}
	}
	return nil
}

// step finds how many entries from at on are added before the sizes are looked at: whole rows.
func (c *chunk) step(e entries, at int) (n, filled, rows, cost int) {
	room, bytes := stepRows-c.stepped, min(stepBytes, c.pageBytes)-c.stepCost
	n, rows = nextRows(e, at, room)
	filled = c.filled(e, at, n)
	if cost = c.values.cost(0, filled); cost < bytes {
		return n, filled, rows, cost
	}
	n, filled, rows, cost = 0, 0, 0, 0
	for cost < bytes {
		more, _ := nextRows(e, at+n, 1)
		have := c.filled(e, at+n, more)
		cost += c.values.cost(filled, have)
		n, filled, rows = n+more, filled+have, rows+1
	}
	return n, filled, rows, cost
}

// nextRows returns the entries of the next rows, at most as many as asked for.
func nextRows(e entries, at, most int) (n, rows int) {
	if e.rep == nil {
		n = min(most, e.n-at)
		return n, n
	}
	for end := at; end < e.n; end++ {
		if e.rep[end] == 0 {
			if rows == most {
				return end - at, rows
			}
			rows++
		}
	}
	return e.n - at, rows
}

// filled counts the entries that have a value.
func (c *chunk) filled(e entries, at, n int) int {
	if e.def == nil {
		return n
	}
	return bytes.Count(e.def[at:at+n], []byte{live})
}

// take appends entries to the open page.
func (c *chunk) take(e entries, at, n, filled int) {
	if c.maxRep > 0 {
		c.rep = append(c.rep, e.rep[at:at+n]...)
	}
	if filled < n {
		c.def = fill(c.def, c.count-len(c.def), c.maxDef)
		from := len(c.def)
		c.def = append(c.def, e.def[at:at+n]...)
		for i, d := range c.def[from:] {
			c.def[from+i] = min(d, c.maxDef)
		}
		c.nulls += n - filled
	}
	c.count += n
	if filled > 0 {
		c.values.add(filled)
	}
}

// look ends the page if it is full, and the dictionary if it does not pay.
func (c *chunk) look() error {
	if c.dicted && !c.values.pays() {
		c.dicted = false
		// What is in no finished page yet need not have a dictionary at all, unless that page would become too large by it.
		soon := c.dictPages == 0 && c.cost <= 4*c.pageBytes
		if !soon && c.count > 0 {
			if err := c.endPage(); err != nil {
				return err
			}
		}
		c.values.giveUp(soon)
	}
	if c.rows >= pageRows || c.values.size() >= c.pageBytes {
		return c.endPage()
	}
	return nil
}

// endPage encodes, compresses and stores the open page.
func (c *chunk) endPage() error {
	levels := c.work.body[:0]
	if c.maxRep > 0 {
		levels = appendLevels(levels, c.rep, c.maxRep)
	}
	if c.maxDef > 0 {
		if c.nulls == 0 {
			levels = appendUniform(levels, c.maxDef, c.count)
		} else {
			c.def = fill(c.def, c.count-len(c.def), c.maxDef)
			levels = appendLevels(levels, c.def, c.maxDef)
		}
	}
	body, encoding := c.values.page(levels)
	c.work.body = levels // PLAIN may come in the values' own memory
	if encoding != parquet.Encodings.Plain {
		c.work.body = body
		c.dictPages++
	}
	p := page{offset: c.stored.n, firstRow: c.firstRow, stats: c.pageStats()}
	n := c.store(pageHeader{raw: len(body), values: c.count, encoding: encoding}, body)
	p.size = int32(n) //nolint:gosec // of a page, which is below 2 GiB
	c.pages = append(c.pages, p)
	c.sumValues += int64(c.count)
	c.firstRow += int64(c.rows)
	c.rep, c.def, c.count, c.nulls, c.rows, c.cost = c.rep[:0], c.def[:0], 0, 0, 0, 0
	return nil
}

// store appends a page to the finished ones.
func (c *chunk) store(h pageHeader, body []byte) int {
	packed := c.compressor.compress(c.work, body)
	h.compressed = len(packed)
	c.work.head = h.append(c.work.head[:0])
	c.stored.write(c.work.head)
	c.stored.write(packed)
	c.sumRaw += int64(len(c.work.head) + h.raw)
	return len(c.work.head) + len(packed)
}

func (c *chunk) pageStats() metadata.EncodedStatistics {
	s := metadata.EncodedStatistics{HasNullCount: true, NullCount: int64(c.nulls), AllNullValue: c.nulls == c.count, Signed: c.column.SortOrder() == schema.SortSIGNED}
	if low, high, ok := c.values.bounds(); ok && c.stats {
		s.SetMin(low).SetMax(high)
	}
	return s
}

// write ends the chunk: dictionary page first, then the data pages.
func (c *chunk) write(w *counted, scratch Scratch, meta *metadata.ColumnChunkMetaDataBuilder) error {
	if c.count > 0 {
		if err := c.endPage(); err != nil {
			return err
		}
	}
	c.stepped, c.stepCost = 0, 0
	info := metadata.ChunkMetaInfo{NumValues: c.sumValues, IndexPageOffset: -1}
	start := w.n
	if c.dictPages > 0 {
		info.DictPageOffset = start
		if err := c.writeDictionary(w); err != nil {
			return err
		}
	}
	info.DataPageOffset = w.n
	for i := range c.pages {
		c.pages[i].offset += w.n
	}
	if err := c.stored.drain(w, scratch); err != nil {
		return err
	}
	info.CompressedSize, info.UncompressedSize = w.n-start, c.sumRaw
	if c.stats {
		meta.SetStats(c.chunkStats())
	}
	counts := metadata.EncodingStats{DataEncodingStats: map[parquet.Encoding]int32{}}
	plain := len(c.pages) - c.dictPages
	if plain > 0 {
		counts.DataEncodingStats[parquet.Encodings.Plain] = int32(plain) //nolint:gosec // pages of a chunk
	}
	if c.dictPages > 0 {
		counts.DictEncodingStats = map[parquet.Encoding]int32{parquet.Encodings.Plain: 1}
		counts.DataEncodingStats[parquet.Encodings.RLEDict] = int32(c.dictPages) //nolint:gosec // as above
	}
	if err := meta.Finish(info, c.dictPages > 0, c.dictPages > 0 && plain > 0, counts); err != nil {
		return err
	}
	// The library takes the counts from a map in whatever order: equal rows have to be equal files.
	if stats := meta.Contents().MetaData.EncodingStats; len(stats) > 1 && stats[len(stats)-2].Encoding > stats[len(stats)-1].Encoding && plain > 0 {
		slices.Reverse(stats[len(stats)-2:])
	}
	return nil
}

func (c *chunk) writeDictionary(w io.Writer) error {
	body, n := c.values.entries(c.work.body[:0])
	c.work.body = body
	packed := c.compressor.compress(c.work, body)
	c.work.head = pageHeader{dictionary: true, raw: len(body), compressed: len(packed), values: n, encoding: parquet.Encodings.Plain}.append(c.work.head[:0])
	c.sumRaw += int64(len(c.work.head) + len(body))
	if _, err := w.Write(c.work.head); err != nil {
		return err
	}
	_, err := w.Write(packed)
	return err
}

// chunkStats joins those of the pages.
func (c *chunk) chunkStats() metadata.EncodedStatistics {
	out := metadata.EncodedStatistics{HasNullCount: true, AllNullValue: true, Signed: c.column.SortOrder() == schema.SortSIGNED}
	known := true
	for _, p := range c.pages {
		out.NullCount += p.stats.NullCount
		if p.stats.AllNullValue {
			continue
		}
		out.AllNullValue = false
		switch {
		case !p.stats.HasMin:
			known = known && c.column.PhysicalType() != parquet.Types.ByteArray // a page of NaN says nothing of the others
		case out.HasMin:
			low, high := c.values.merge(out.Min, out.Max, p.stats.Min, p.stats.Max)
			out.SetMin(low).SetMax(high)
		default:
			out.SetMin(p.stats.Min).SetMax(p.stats.Max)
		}
	}
	if !known {
		out.HasMin, out.HasMax, out.Min, out.Max = false, false, nil, nil
	}
	return out
}

// describe gives the chunk's pages to the page index.
func (c *chunk) describe(index *metadata.PageIndexBuilder, i int) error {
	offsets, err := index.GetOffsetIndexBuilder(i)
	if err != nil {
		return err
	}
	for _, p := range c.pages {
		if err := offsets.AddPage(p.offset, p.firstRow, p.size); err != nil {
			return err
		}
	}
	if err := offsets.Finish(0); err != nil || !c.stats {
		return err
	}
	columns, err := index.GetColumnIndexBuilder(i)
	if err != nil {
		return err
	}
	for i := range c.pages {
		if err := columns.AddPage(&c.pages[i].stats); err != nil {
			return err
		}
	}
	return columns.Finish()
}

// appendLevels appends levels with their length before them.
func appendLevels(dst []byte, levels []uint8, most uint8) []byte {
	at := len(dst)
	dst = appendHybrid(append(dst, 0, 0, 0, 0), levels, uint(bits.Len8(most)))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // of a page
	return dst
}

// appendUniform appends n times the same level.
func appendUniform(dst []byte, level uint8, n int) []byte {
	at := len(dst)
	dst = appendRun(append(dst, 0, 0, 0, 0), uint32(level), n, uint(bits.Len8(level)))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // of a page
	return dst
}
