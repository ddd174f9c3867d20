package scan

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

const (
	// Chunks closer than this are read together. Larger gaps are worth reading
	// only where requests are slow, which the Reader knows.
	mergeGap = 4 << 10
	// wholeBytes of compressed chunks are loaded with as few reads as the layout
	// allows, and are held until the row group ends: row groups of a thousand rows
	// are common, and would cost a read per column.
	wholeBytes = 4 << 20
	// sparseBytes are loaded as a whole where only some pages are wanted.
	sparseBytes = 256 << 10
	// windowBytes are shared by the windows of a larger row group. A window that
	// holds a few pages costs hardly more reads than a chunk in memory.
	windowBytes = 8 << 20
	minWindow   = 64 << 10
	maxWindow   = 1 << 20
	// jumpBytes are read where the reader jumps: page headers, mostly.
	jumpBytes = 4 << 10

	// What the library decodes is held in memory as a whole, up to
	// libraryBytes; a larger row group goes through larger windows, because the
	// library's reads are small.
	libraryBytes     = 256 << 20
	minLibraryWindow = 256 << 10
	maxLibraryWindow = 8 << 20
)

// chunkReader serves column chunks of one row group: small ones from memory,
// large ones through windows that slide over them, so that what is held does not
// grow with the row group. It is the seam to rangeio.
//
// It belongs to one worker.
type chunkReader struct {
	read  func(p []byte, off int64) error
	size  int64
	mem   memory.Allocator
	spans []*span // by offset
	pos   int64
}

// span is a part of the file that is read as a whole, or, if its window is set,
// piece by piece.
type span struct {
	off, len int64
	window   int64  // 0: load all
	sparse   bool   // only some pages are wanted: read on only while reads are contiguous
	step     int64  // what the next read of a sparse window may take
	until    int64  // where what was announced of a sparse window ends; 0: not known
	at       int64  // where data begins
	data     []byte // what is loaded
	block    []byte // what data is a part of
}

func (s *span) end() int64 { return s.off + s.len }

func (s *span) holds(off, n int64) bool {
	return off >= s.at && off+n <= s.at+int64(len(s.data)) && s.data != nil
}

// ownSpans are the spans of chunks that the column decoder reads. sparse means
// that only some of their pages are wanted.
func ownSpans(chunks []chunk, sparse bool) []*span {
	whole := int64(wholeBytes)
	if sparse {
		whole = sparseBytes
	}
	spans := planSpans(chunks, whole, min(max(windowBytes/max(int64(len(chunks)), 1), minWindow), maxWindow))
	for _, s := range spans {
		s.sparse, s.step = sparse, jumpBytes
	}
	return spans
}

// wholeSparse reports whether sparse chunks are loaded as a whole in spite of it.
func wholeSparse(chunks []chunk) bool {
	return bytesOf(chunks) <= sparseBytes
}

// librarySpans are the spans of chunks that the library reads, which are merged
// within a class only: of some classes nothing may be read.
func librarySpans(classes ...[]chunk) []*span {
	var spans []*span
	for _, chunks := range classes {
		window := libraryBytes / max(int64(len(chunks)), 1)
		spans = append(spans, planSpans(chunks, libraryBytes, min(max(window, minLibraryWindow), maxLibraryWindow))...)
	}
	slices.SortFunc(spans, func(a, b *span) int { return cmp.Compare(a.off, b.off) })
	return spans
}

// planSpans merges neighbouring chunks if all are to be loaded, which is decided
// by whole; else every chunk has a window.
func planSpans(chunks []chunk, whole, window int64) []*span {
	var spans []*span
	sorted := slices.Clone(chunks)
	slices.SortFunc(sorted, func(a, b chunk) int { return cmp.Compare(a.off, b.off) })
	if bytesOf(sorted) <= whole {
		window = 0
	}
	for _, c := range sorted {
		if c.len == 0 {
			continue
		}
		if n := len(spans); n > 0 && window == 0 {
			last := spans[n-1]
			if c.off-last.end() <= mergeGap {
				last.len = max(last.end(), c.off+c.len) - last.off
				continue
			}
		}
		spans = append(spans, &span{off: c.off, len: c.len, window: window})
	}
	return spans
}

// find returns the span that holds [off, off+n): the last that does not begin behind
// off, unless chunks overlap.
func (r *chunkReader) find(off, n int64) *span {
	behind := sort.Search(len(r.spans), func(i int) bool { return r.spans[i].off > off })
	for _, s := range slices.Backward(r.spans[:behind]) {
		if off+n <= s.end() {
			return s
		}
	}
	return nil
}

// view gives n bytes from off, valid until the next view of the same span.
func (r *chunkReader) view(s *span, off, n int64) ([]byte, error) {
	if !s.holds(off, n) {
		if err := r.load(s, off, n); err != nil {
			return nil, err
		}
	}
	return s.data[off-s.at:][:n], nil
}

// load makes a span hold at least n bytes from off.
func (r *chunkReader) load(s *span, off, n int64) error {
	switch {
	case s.window == 0:
		off, n = s.off, s.len
	case !s.sparse:
		n = max(n, min(s.window, s.end()-off))
	default:
		if contiguous := s.data != nil && off >= s.at && off <= s.at+int64(len(s.data)); contiguous {
			s.step = min(2*s.step, s.window)
		} else {
			s.step = jumpBytes
		}
		end := s.end()
		if s.until > off {
			end = s.until // what lies behind would be one more answer to wait for, for nothing
		}
		n = max(n, min(s.step, end-off))
	}
	have := s.slide(r.mem, off, n)
	if err := r.read(s.data[have:], off+have); err != nil {
		s.drop(r.mem)
		return err
	}
	return nil
}

// slide makes room for n bytes from off and returns how many of them are there
// already: a window that moves on reads nothing twice.
func (s *span) slide(mem memory.Allocator, off, n int64) int64 {
	var kept []byte
	if s.data != nil && off > s.at && off < s.at+int64(len(s.data)) {
		kept = s.data[off-s.at:]
	}
	kept = kept[:min(int64(len(kept)), n)]
	size := int64(len(s.block))
	if n > size || size > 2*max(n, s.window) { // a giant page has passed
		block := mem.Allocate(int(max(n, min(s.window, s.len))))
		copy(block, kept)
		s.drop(mem)
		s.block = block
	} else {
		copy(s.block, kept)
	}
	s.at, s.data = off, s.block[:n]
	return int64(len(kept))
}

func (s *span) drop(mem memory.Allocator) {
	if s.block != nil {
		mem.Free(s.block)
	}
	s.block, s.data = nil, nil
}

// ReadAt implements io.ReaderAt.
func (r *chunkReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.size {
		return 0, errors.New("read outside the file")
	}
	var eof error
	if rest := r.size - off; int64(len(p)) > rest {
		p, eof = p[:rest], io.EOF
	}
	n := int64(len(p))
	s := r.find(off, n)
	if s == nil || s.window != 0 && n > s.window {
		// Beyond what was planned (old writers' dictionary headers), or a page
		// larger than a window.
		if err := r.read(p, off); err != nil {
			return 0, err
		}
		return len(p), eof
	}
	data, err := r.view(s, off, n)
	if err != nil {
		return 0, err
	}
	copy(p, data)
	return len(p), eof
}

// Seek implements io.Seeker, which the library's interface asks for and its
// readers of known metadata do not use.
func (r *chunkReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek in front of the file")
	}
	r.pos = offset
	return offset, nil
}

// close gives the memory back.
func (r *chunkReader) close() {
	for _, s := range r.spans {
		s.drop(r.mem)
	}
}

// chunkSource is one chunk of a chunkReader; it implements column.Source.
type chunkSource struct {
	reader *chunkReader
	span   *span
}

// Bytes gives n bytes from off.
func (c chunkSource) Bytes(off int64, n int) ([]byte, error) {
	if off < c.span.off || n < 0 || int64(n) > c.span.end()-off {
		return nil, errors.New("read outside the chunk")
	}
	return c.reader.view(c.span, off, int64(n))
}

// ReadInto fills p from off: what no window holds is read into p directly, if p is larger than what a window would hold of it.
func (c chunkSource) ReadInto(off int64, p []byte) error {
	n := int64(len(p))
	if off < c.span.off || n > c.span.end()-off {
		return errors.New("read outside the chunk")
	}
	if c.span.window > 0 && n >= minWindow && !c.span.overlaps(off, n) {
		return c.reader.read(p, off)
	}
	data, err := c.reader.view(c.span, off, n)
	copy(p, data)
	return err
}

func (s *span) overlaps(off, n int64) bool {
	return s.data != nil && off < s.at+int64(len(s.data)) && off+n > s.at
}
