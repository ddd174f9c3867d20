package scan

import (
	"errors"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

const (
	// Chunks closer than this are read together. Larger gaps are worth reading
	// only where requests are slow, which the Reader knows.
	mergeGap = 4 << 10
	// mergeMax bounds a merged read, so that the first column need not wait for
	// the whole row group.
	mergeMax = 8 << 20
	// maxGroupBytes of compressed chunks are held in memory at once. A larger row
	// group is read through one window per chunk.
	maxGroupBytes = 256 << 20
	minWindow     = 256 << 10
	maxWindow     = 8 << 20
)

// chunkReader serves one row group's column chunks to the Parquet library: a
// small row group from memory, fetched with as few reads as its layout allows, a
// large one through windows. It is the seam to rangeio, which hears from
// readPlan what all the row groups of a stream will ask for.
//
// It belongs to the decoding goroutine. The first failed read is kept, because
// the library wraps errors in ways that lose them.
type chunkReader struct {
	read   func(p []byte, off int64) error
	size   int64
	mem    memory.Allocator
	ranges []*span
	pos    int64
	err    error
}

// span is a part of the file that is read as a whole, or, if its window is set,
// piece by piece.
type span struct {
	off, len int64
	window   int64 // 0: load all
	at       int64 // where data begins
	data     []byte
}

// newChunkReader plans the reads of chunks.
func newChunkReader(read func(p []byte, off int64) error, size int64, mem memory.Allocator, chunks []chunk) *chunkReader {
	return &chunkReader{read: read, size: size, mem: mem, ranges: planSpans(chunks)}
}

// planSpans decides which parts of the file are held in memory for the chunks of
// one row group.
func planSpans(chunks []chunk) []*span {
	var spans []*span
	sorted := slices.Clone(chunks)
	slices.SortFunc(sorted, func(a, b chunk) int {
		switch {
		case a.off < b.off:
			return -1
		case a.off > b.off:
			return 1
		}
		return 0
	})
	total := int64(0)
	for _, c := range sorted {
		total += c.len
	}
	window := int64(0)
	if total > maxGroupBytes {
		window = min(max(maxGroupBytes/int64(len(sorted)), minWindow), maxWindow)
	}
	for _, c := range sorted {
		if c.len == 0 {
			continue
		}
		if n := len(spans); n > 0 && window == 0 {
			last := spans[n-1]
			end := max(last.off+last.len, c.off+c.len)
			if c.off-(last.off+last.len) <= mergeGap && end-last.off <= mergeMax || c.off+c.len <= last.off+last.len {
				last.len = end - last.off
				continue
			}
		}
		spans = append(spans, &span{off: c.off, len: c.len, window: window})
	}
	return spans
}

// inMemory reports whether chunks are loaded whole.
func (r *chunkReader) inMemory() bool { return len(r.ranges) > 0 && r.ranges[0].window == 0 }

// bytes gives a chunk that is held in memory; it is valid until close.
func (r *chunkReader) bytes(c chunk) ([]byte, error) {
	s := r.find(c.off, c.len)
	if s == nil || s.window != 0 {
		return nil, errors.New("the chunk was not planned")
	}
	if err := r.load(s, s.off, s.len); err != nil {
		return nil, err
	}
	return s.data[c.off-s.off:][:c.len], nil
}

// find returns the span that holds [off, off+n).
func (r *chunkReader) find(off, n int64) *span {
	for _, s := range r.ranges {
		if off >= s.off && off+n <= s.off+s.len {
			return s
		}
	}
	return nil
}

// load makes a span hold n bytes from off.
func (r *chunkReader) load(s *span, off, n int64) error {
	if s.data != nil && off >= s.at && off+n <= s.at+int64(len(s.data)) {
		return nil
	}
	have := int64(0)
	if end := s.at + int64(len(s.data)); s.data != nil && off > s.at && off < end {
		// A window moves on: what it has already is not read again.
		next := r.mem.Allocate(int(n))
		have = int64(copy(next, s.data[off-s.at:]))
		r.drop(s)
		s.data = next
	} else if int64(len(s.data)) != n {
		r.drop(s)
		s.data = r.mem.Allocate(int(n))
	}
	s.at = off
	if err := r.read(s.data[have:], off+have); err != nil {
		r.drop(s)
		if r.err == nil {
			r.err = err
		}
		return err
	}
	return nil
}

func (r *chunkReader) drop(s *span) {
	if s.data != nil {
		r.mem.Free(s.data)
		s.data = nil
	}
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
	switch {
	case s == nil, s.window != 0 && n > s.window:
		// Beyond what was planned (old writers' dictionary headers), or a page
		// larger than a window.
		if err := r.read(p, off); err != nil {
			if r.err == nil {
				r.err = err
			}
			return 0, err
		}
		return len(p), eof
	case s.window == 0:
		if err := r.load(s, s.off, s.len); err != nil {
			return 0, err
		}
	default:
		inWindow := s.data != nil && off >= s.at && off+n <= s.at+int64(len(s.data))
		if !inWindow {
			if err := r.load(s, off, min(s.window, s.off+s.len-off)); err != nil {
				return 0, err
			}
		}
	}
	copy(p, s.data[off-s.at:])
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
	for _, s := range r.ranges {
		r.drop(s)
	}
}
