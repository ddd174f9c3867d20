package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

const (
	// headerPeek holds nearly every page header; statistics of long strings make longer ones.
	headerPeek = 256
	// maxHeader is the longest header that is read.
	maxHeader = 16 << 20

	defaultMaxPageBytes = 256 << 20
	// maxMaxPageBytes keeps positions in pages within 31 bits.
	maxMaxPageBytes = 1<<31 - 1 - 2*maxHeader
)

// cursor walks a chunk's data pages. It stands in a page, of which left level entries are not consumed yet; the page is fetched and
// inflated by load, which who only skips never calls.
type cursor struct {
	chunk   *Chunk
	layout  layout
	limit   int64
	mem     memory.Allocator
	scratch *Scratch

	page int   // ordinal of the page worked on, for errors
	off  int64 // its offset

	next  int64 // without an offset index: where the next header is
	seen  int64 // level entries of the pages passed and of this one
	index int   // with an offset index: which page is next

	head    pageHeader
	bodyOff int64
	loaded  bool
	left    int64
	rows    int64 // rows that begin in the page; −1 if only its levels tell
	aligned bool  // the page is known to begin with a row

	dictAt   int64 // where the dictionary page's header is; −1 if there is none or it is not known yet
	dict     *dictionary
	def, rep hybrid
	values   values
	body     []byte // inflated pages; from mem

	flow       flow // a page of large values
	flowLevels []byte
}

// errSource marks what the Source says, which is not for this package to judge.
type errSource struct{ error }

func (e errSource) Unwrap() error { return e.error }

func (c *cursor) open(chunk *Chunk, l layout) error {
	c.chunk, c.layout = chunk, l
	c.values.layout, c.values.scratch = l, c.scratch
	if chunk.MaxRep > 0 && !wholeRows(chunk.Pages) {
		// Rows go on from page to page: such an index does not say where they are.
		walked := *chunk
		walked.Pages = nil
		chunk = &walked
		c.chunk = chunk
	}
	c.page, c.off = -1, chunk.Off
	c.next, c.dictAt = chunk.Off, -1
	if len(chunk.Pages) > 0 && chunk.Off < chunk.Pages[0].Off {
		c.dictAt = chunk.Off
	}
	return checkChunk(chunk)
}

// checkChunk compares a chunk's numbers with one another.
func checkChunk(c *Chunk) error {
	switch {
	case c.Values < 0 || c.Rows < 0 || c.Off < 0 || c.Len < 0 || c.Off > 1<<62 || c.Len > 1<<62:
		return errors.New("a negative size")
	case c.MaxRep == 0 && c.Values != c.Rows:
		return fmt.Errorf("%d values for %d rows", c.Values, c.Rows)
	}
	for i, p := range c.Pages {
		last := i == 0 && p.FirstRow != 0 || p.FirstRow > c.Rows || i > 0 && p.FirstRow < c.Pages[i-1].FirstRow
		if last || p.Size <= 0 || p.Off < c.Off || p.Off-c.Off > c.Len-int64(p.Size) {
			return fmt.Errorf("the offset index places page %d outside the chunk", i)
		}
	}
	return nil
}

// wholeRows says whether every page has rows of its own.
func wholeRows(pages []Page) bool {
	for i := 1; i < len(pages); i++ {
		if pages[i].FirstRow == pages[i-1].FirstRow {
			return false
		}
	}
	return true
}

func (c *cursor) release() {
	if c.dict != nil {
		c.dict.release()
		c.dict = nil
	}
	if c.body != nil {
		c.mem.Free(c.body)
		c.body = nil
	}
	if c.flow.cursor != nil {
		c.flow.release()
	}
}

// bytes asks the Source.
func (c *cursor) bytes(off, n int64) ([]byte, error) {
	if off < c.chunk.Off || n < 0 || n > c.chunk.Len-(off-c.chunk.Off) {
		return nil, errors.New("the chunk ends too early")
	}
	data, err := c.chunk.Source.Bytes(off, int(n))
	if err != nil {
		return nil, errSource{err}
	}
	if int64(len(data)) != n {
		return nil, errSource{fmt.Errorf("the source gave %d bytes of %d", len(data), n)}
	}
	return data, nil
}

// header reads the page header at off, of which at most most bytes are looked at.
func (c *cursor) header(off, most int64) (pageHeader, int64, error) {
	most = min(most, maxHeader)
	for peek := int64(headerPeek); ; peek *= 16 {
		n := min(peek, most)
		if n <= 0 {
			return pageHeader{}, 0, errors.New("the chunk ends too early")
		}
		data, err := c.bytes(off, n)
		if err != nil {
			return pageHeader{}, 0, err
		}
		h, size, err := readHeader(data)
		if errors.Is(err, errThriftEnd) && n < most {
			continue
		}
		return h, int64(size), err
	}
}

func (c *cursor) end() int64 { return c.chunk.Off + c.chunk.Len }

// more makes the next data page that is not empty current; false at the chunk's end. take says that its values will be wanted.
func (c *cursor) more(take bool) (bool, error) {
	c.left, c.loaded, c.aligned, c.rows = 0, false, false, -1
	if c.chunk.Pages != nil {
		return c.moreIndexed()
	}
	for c.left == 0 {
		if c.seen >= c.chunk.Values {
			return false, nil
		}
		c.page++
		c.off = c.next
		h, n, err := c.header(c.next, c.end()-c.next)
		if err != nil {
			return false, err
		}
		c.bodyOff = c.next + n
		if err := h.check(c.end()-c.bodyOff, c.limit); err != nil {
			return false, err
		}
		c.next = c.bodyOff + h.compressed
		switch {
		case h.kind == pageDictionary:
			if c.dictAt >= 0 || c.seen > 0 {
				return false, errors.New("a second dictionary page, or one behind data")
			}
			c.dictAt = c.off
			if take {
				if err := c.loadDictionary(); err != nil {
					return false, err
				}
			}
		case h.isData():
			if c.seen += h.values; c.seen > c.chunk.Values {
				return false, fmt.Errorf("the pages hold more than the chunk's %d values", c.chunk.Values)
			}
			c.head, c.left = h, h.values
			if h.kind == pageDataV2 {
				c.rows, c.aligned = h.rows, true
			}
		}
	}
	return true, c.countRows()
}

// countRows knows the rows of flat pages, and refuses impossible ones of others.
func (c *cursor) countRows() error {
	if c.chunk.MaxRep == 0 {
		if c.rows >= 0 && c.rows != c.left {
			return fmt.Errorf("%d values for %d rows", c.left, c.rows)
		}
		c.rows, c.aligned = c.left, true
	}
	if c.rows > c.left || c.rows < -1 {
		return fmt.Errorf("%d rows in %d values", c.rows, c.left)
	}
	return nil
}

// moreIndexed is more by the offset index: no byte is read. Of a repeated column only rows are known before the header is.
func (c *cursor) moreIndexed() (bool, error) {
	pages := c.chunk.Pages
	for c.index < len(pages) {
		first, last := pages[c.index].FirstRow, c.chunk.Rows
		if c.index++; c.index < len(pages) {
			last = pages[c.index].FirstRow
		}
		if last == first {
			continue
		}
		c.page, c.off = c.index-1, pages[c.index-1].Off
		c.rows, c.left, c.aligned = last-first, last-first, true
		return true, nil
	}
	return false, nil
}

// load fetches and inflates the current page and opens its decoders.
func (c *cursor) load() error {
	var body []byte
	var err error
	if c.chunk.Pages != nil {
		body, err = c.fetchIndexed()
	} else {
		body, err = c.fetch()
	}
	if err != nil {
		return err
	}
	if body == nil {
		c.loaded = true
		return c.openFlow(c.bodyOff)
	}
	if c.head.hasCRC && crc32.ChecksumIEEE(body) != c.head.crc {
		return errChecksum
	}
	c.loaded = true
	if c.head.kind == pageDataV2 {
		return c.openV2(body)
	}
	return c.openV1(body)
}

// fetch returns the current page's body, or nil if it is for a flow to read.
func (c *cursor) fetch() ([]byte, error) {
	if err := c.needDictionary(); err != nil {
		return nil, err
	}
	if c.flows() {
		return nil, nil
	}
	return c.bytes(c.bodyOff, c.head.compressed)
}

func (c *cursor) fetchIndexed() ([]byte, error) {
	p := c.chunk.Pages[c.index-1]
	if c.dictAt >= 0 && c.dict == nil {
		// The first page is encoded with the dictionary if there is one; others may not be.
		if c.index > 1 {
			h, _, err := c.header(p.Off, int64(p.Size))
			if err != nil {
				return nil, err
			}
			c.head = h
		}
		if c.index == 1 || usesDictionary(c.head.encoding) {
			if err := c.loadDictionary(); err != nil {
				return nil, err
			}
		}
	}
	if int64(p.Size) > c.limit+maxHeader {
		return nil, tooLarge(int64(p.Size), c.limit)
	}
	if int64(p.Size) >= leastFlow(c.chunk.Codec) {
		h, n, err := c.header(p.Off, int64(p.Size))
		if err != nil {
			return nil, err
		}
		if err := c.adopt(h, int64(p.Size)-n); err != nil {
			return nil, err
		}
		if c.flows() {
			c.bodyOff = p.Off + n
			return nil, nil
		}
	}
	data, err := c.bytes(p.Off, int64(p.Size))
	if err != nil {
		return nil, err
	}
	h, n, err := readHeader(data)
	if err != nil {
		return nil, err
	}
	if err := c.adopt(h, int64(len(data)-n)); err != nil {
		return nil, err
	}
	return data[n : n+int(h.compressed)], nil
}

// adopt makes h the header of the current page, of whose left bytes the body is, if it is what the offset index says.
func (c *cursor) adopt(h pageHeader, left int64) error {
	if err := h.check(left, c.limit); err != nil {
		return err
	}
	rows := c.rows
	switch {
	case !h.isData():
		return fmt.Errorf("page type %d where the offset index has a data page", h.kind)
	case h.kind == pageDataV2 && h.rows != rows || c.chunk.MaxRep == 0 && h.values != rows || h.values < rows || h.values > c.chunk.Values:
		return fmt.Errorf("%d values where the offset index has %d rows", h.values, rows)
	}
	c.head, c.left = h, h.values
	if usesDictionary(h.encoding) && c.dict == nil {
		return errNoDictionary
	}
	return nil
}

var errNoDictionary = errors.New("a dictionary-encoded page without a dictionary")

func tooLarge(n, limit int64) error {
	return &Error{Kind: TooLarge, Err: fmt.Errorf("the page has %d bytes; at most %d are read", n, limit)}
}

func usesDictionary(encoding int64) bool {
	return encoding == encPlainDictionary || encoding == encRLEDictionary
}

func (c *cursor) needDictionary() error {
	if !usesDictionary(c.head.encoding) || c.dict != nil {
		return nil
	}
	if c.dictAt < 0 {
		return errNoDictionary
	}
	return c.loadDictionary()
}

// loadDictionary reads the dictionary page; what it finds is kept until the Reader is closed.
func (c *cursor) loadDictionary() error {
	if c.dict != nil {
		return nil
	}
	end := c.end()
	if len(c.chunk.Pages) > 0 {
		end = c.chunk.Pages[0].Off
	}
	h, n, err := c.header(c.dictAt, end-c.dictAt)
	if err != nil {
		return err
	}
	if err := h.check(end-c.dictAt-n, c.limit); err != nil {
		return err
	}
	switch {
	case h.kind != pageDictionary:
		if c.chunk.Pages != nil {
			// Some writers leave a gap in front of the first page.
			c.dictAt = -1
			return nil
		}
		return errNoDictionary
	case h.encoding != encPlain && h.encoding != encPlainDictionary:
		return &Error{Kind: Unsupported, Err: fmt.Errorf("a dictionary of encoding %d", h.encoding)}
	case isBoolean(c.chunk):
		return errors.New("a dictionary of booleans")
	}
	size := h.uncompressed
	if c.chunk.Codec == compress.Codecs.Uncompressed {
		size = h.compressed
	}
	if err := checkRatio(c.chunk.Codec, size, h.compressed); err != nil {
		return err
	}
	block := c.mem.Allocate(int(size) + slack)
	defer func() {
		if block != nil { // also when the allocator panics, because of the limit
			c.mem.Free(block)
		}
	}()
	if err := c.inflateDictionary(block[:size], c.dictAt+n, &h); err != nil {
		return err
	}
	c.dict, err = newDictionary(c.layout, c.mem, block, int(size), h.values)
	block = nil // the dictionary's, or released
	return err
}

// inflateDictionary fills dst with the body at off.
func (c *cursor) inflateDictionary(dst []byte, off int64, h *pageHeader) error {
	if !h.hasCRC && h.compressed >= flowStored && piecewise(c.chunk.Codec) {
		return c.inflatePieces(dst, off, h.compressed)
	}
	body, err := c.bytes(off, h.compressed)
	if err != nil {
		return err
	}
	if h.hasCRC && crc32.ChecksumIEEE(body) != h.crc {
		return errors.New("the dictionary's checksum does not match")
	}
	return c.inflateTo(dst, body)
}

func (c *cursor) inflateTo(dst, src []byte) error {
	if c.chunk.Codec == compress.Codecs.Uncompressed {
		copy(dst, src)
		return nil
	}
	return c.scratch.inflate(c.chunk.Codec, dst, src, c.limit)
}

// inflate returns the n bytes that data stand for: data themselves if they are not compressed, otherwise the cursor's page buffer.
func (c *cursor) inflate(data []byte, n int64) ([]byte, error) {
	if c.chunk.Codec == compress.Codecs.Uncompressed {
		return data, nil
	}
	if n == 0 {
		return nil, nil
	}
	if err := checkRatio(c.chunk.Codec, n, int64(len(data))); err != nil {
		return nil, err
	}
	if int64(len(c.body)) < n+slack {
		if c.body != nil {
			c.mem.Free(c.body)
			c.body = nil
		}
		// A little more, since the pages of a chunk are rarely of one size.
		c.body = c.mem.Allocate(int(n + n/16 + slack))
	}
	return c.body[:n], c.scratch.inflate(c.chunk.Codec, c.body[:n], data, c.limit)
}

// openV1: levels and values are compressed together.
func (c *cursor) openV1(body []byte) error {
	data, err := c.inflate(body, c.head.uncompressed)
	if err != nil {
		return err
	}
	if data, err = c.openLevelsV1(data); err != nil {
		return err
	}
	return c.openValues(data)
}

// openLevelsV1 takes the levels off data.
func (c *cursor) openLevelsV1(data []byte) (rest []byte, err error) {
	if c.chunk.MaxRep > 0 {
		if data, err = c.openLevels(&c.rep, data, c.chunk.MaxRep, c.head.repEnc); err != nil {
			return nil, err
		}
	}
	if c.chunk.MaxDef > 0 {
		if data, err = c.openLevels(&c.def, data, c.chunk.MaxDef, c.head.defEnc); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// openLevels takes a block of levels off data: its length in four bytes, and runs.
func (c *cursor) openLevels(h *hybrid, data []byte, most int16, encoding int64) ([]byte, error) {
	width := levelWidth(most)
	if encoding == encBitPacked {
		size := (c.head.values*int64(width) + 7) / 8
		if size > int64(len(data)) {
			return nil, errRunEnd
		}
		h.resetPacked(data[:size], width)
		return data[size:], nil
	}
	if encoding != encRLE {
		return nil, &Error{Kind: Unsupported, Err: fmt.Errorf("levels of encoding %d", encoding)}
	}
	if len(data) < 4 {
		return nil, errRunEnd
	}
	size := binary.LittleEndian.Uint32(data)
	if int64(size) > int64(len(data)-4) {
		return nil, errRunEnd
	}
	h.reset(data[4:4+size], width)
	return data[4+size:], nil
}

// openV2: levels are in front of the values, and are not compressed.
func (c *cursor) openV2(body []byte) error {
	c.openLevelsV2(body)
	levels := c.head.repBytes + c.head.defBytes
	data := body[levels:]
	if !c.head.plainValues {
		var err error
		if data, err = c.inflate(data, c.head.uncompressed-levels); err != nil {
			return err
		}
	}
	return c.openValues(data)
}

func (c *cursor) openLevelsV2(body []byte) {
	rep, def := c.head.repBytes, c.head.defBytes
	if c.chunk.MaxRep > 0 {
		c.rep.reset(body[:rep], levelWidth(c.chunk.MaxRep))
	}
	if c.chunk.MaxDef > 0 {
		c.def.reset(body[rep:rep+def], levelWidth(c.chunk.MaxDef))
	}
}

func (c *cursor) openValues(data []byte) error {
	m, ok := encodingMode(c.head.encoding, c.layout, c.chunk)
	if !ok {
		return &Error{Kind: Unsupported, Err: fmt.Errorf("encoding %d of physical type %s", c.head.encoding, c.chunk.Physical)}
	}
	c.values.dict = c.dict
	if c.layout.shape == shapeNull {
		return nil
	}
	return c.values.open(m, data, int(min(c.head.values, 1<<31)))
}
