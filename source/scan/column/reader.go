package column

import (
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Supported says whether a Reader can be made for a field. It looks at types, levels and codecs, not at bytes.
func Supported(f Field) bool {
	r := Reader{mem: memory.DefaultAllocator, limit: defaultMaxPageBytes}
	_, err := r.build(f, place{}, nil)
	return err == nil
}

// Reader decodes one field of one row group, in order. It belongs to one goroutine at a time.
type Reader struct {
	mem     memory.Allocator
	limit   int64
	scratch *Scratch
	own     bool // scratch is the Reader's
	root    *node
	leaves  []*leaf
	rows    int64 // not yet passed
	err     error
}

// NewReader prepares a field; nothing is read yet. The error is an *Error of kind Unsupported where Supported is false, and of kind
// Corrupt where a chunk contradicts itself.
func NewReader(f Field, o Options) (*Reader, error) {
	r := &Reader{mem: o.Memory, limit: o.MaxPageBytes, scratch: o.Scratch}
	if r.mem == nil {
		r.mem = memory.DefaultAllocator
	}
	if r.limit <= 0 {
		r.limit = defaultMaxPageBytes
	}
	r.limit = min(r.limit, maxMaxPageBytes)
	if r.scratch == nil {
		r.scratch, r.own = NewScratch(), true
	}
	var err error
	if r.root, err = r.build(f, place{}, nil); err != nil {
		return nil, &Error{Kind: Unsupported, Page: -1, Err: err}
	}
	for _, l := range r.leaves {
		c := l.chunk
		if err := l.open(c, l.cursor.layout); err != nil {
			return nil, &Error{Kind: Corrupt, Leaf: l.ordinal, Page: -1, Err: err}
		}
		if c.Rows != r.leaves[0].chunk.Rows {
			return nil, &Error{Kind: Corrupt, Leaf: l.ordinal, Page: -1, Err: errors.New("chunks of different rows")}
		}
	}
	r.rows = r.leaves[0].chunk.Rows
	return r, nil
}

var (
	errClosed = errors.New("column: the reader is closed")
	errSpans  = errors.New("column: spans beyond the row group")
)

// Read makes one array of the rows that spans take, counted from where the last Read ended; its position advances past all spans. The
// array has offset 0 and is the caller's to release. After an error every Read returns it again.
func (r *Reader) Read(spans []Span) (out arrow.ArrayData, err error) {
	if r.err != nil {
		return nil, r.err
	}
	taken, passed := int64(0), int64(0)
	for _, s := range spans {
		if s.Skip < 0 || s.Take < 0 || s.Skip > r.rows-passed || s.Take > r.rows-passed-s.Skip {
			return nil, errSpans
		}
		taken, passed = taken+s.Take, passed+s.Skip+s.Take
	}
	if taken > math.MaxInt32 {
		return nil, &Error{Kind: TooLarge, Page: -1, Err: errors.New("more than 2^31 rows in one array")}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fromPanic(p)
		}
		if err != nil {
			r.fail(err)
			out = nil
		}
	}()
	room := taken
	if len(spans) >= windowRuns {
		room += min(passed-taken, windowRows) // of the last window, before it is thinned
	}
	r.root.reset(int(room))
	for _, l := range r.leaves {
		if err := l.read(spans); err != nil {
			return nil, err
		}
	}
	r.rows -= passed
	out, err = r.root.finish()
	if err == nil && int64(out.Len()) != taken {
		n := out.Len()
		out.Release()
		return nil, misfit(fmt.Errorf("%d values for %d rows", n, taken))
	}
	return out, err
}

// read is one leaf's part of Read.
func (l *leaf) read(spans []Span) error {
	thins := l.thins()
	for len(spans) > 0 {
		if err := l.skip(spans[0].Skip); err != nil {
			return l.fault(err)
		}
		n, rows := 0, int64(0)
		if thins && len(spans) >= windowRuns && spans[0].Take > 0 {
			// Within the page, which is needed in any case: what lies in others nobody may have asked for.
			if err := l.ready(); err != nil {
				return l.fault(err)
			}
			n, rows = window(spans, min(l.left, windowRows))
		}
		var err error
		if n > 0 {
			err = l.takeWindow(spans[:n], rows)
		} else {
			n, err = 1, l.take(spans[0].Take)
		}
		if err != nil {
			return l.fault(err)
		}
		spans = spans[n:]
	}
	return nil
}

// fault names the place of an error.
func (l *leaf) fault(err error) error {
	var src errSource
	if errors.As(err, &src) {
		return fmt.Errorf("column: page %d at offset %d: %w", l.page, l.off, src.error)
	}
	var e *Error
	if errors.As(err, &e) {
		named := *e
		named.Leaf, named.Page, named.Off = l.ordinal, l.page, l.off
		return &named
	}
	return &Error{Kind: Corrupt, Leaf: l.ordinal, Page: l.page, Off: l.off, Err: err}
}

// fromPanic makes an error of a panic: the allocator's own errors as they are, everything else is bytes that the checks did not foresee.
func fromPanic(p any) error {
	var runtimeError interface{ RuntimeError() }
	err, ok := p.(error)
	if ok && !errors.As(err, &runtimeError) {
		return err
	}
	return &Error{Kind: Corrupt, Page: -1, Err: fmt.Errorf("the data cannot be decoded: %v", p)}
}

// fail ends the Reader.
func (r *Reader) fail(err error) {
	r.err = err
	r.free()
}

func (r *Reader) free() {
	r.root.release()
	for _, l := range r.leaves {
		l.cursor.release()
	}
	if r.own {
		r.scratch.Close()
	}
}

// Dictionary is the dictionary page of a leaf that is the whole field, as an array of the leaf's type; false if the chunk has none, or
// has no data at all. It says nothing about whether all data pages use it. The position does not change.
func (r *Reader) Dictionary() (out arrow.ArrayData, ok bool, err error) {
	if r.err != nil {
		return nil, false, r.err
	}
	if r.root.leaf == nil {
		return nil, false, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fromPanic(p)
		}
		if err != nil {
			r.fail(err)
			out, ok = nil, false
		}
	}()
	l := r.root.leaf
	found, err := l.findDictionary()
	if err != nil || !found {
		return nil, false, l.orFault(err)
	}
	l.sink.reset(l.dict.n)
	l.valid.appendOnes(l.dict.n)
	if err := l.dict.all(&l.sink, &r.scratch.indices); err != nil {
		return nil, false, l.fault(err)
	}
	out, err = l.sink.finish()
	return out, err == nil, l.orFault(err)
}

func (l *leaf) orFault(err error) error {
	if err == nil {
		return nil
	}
	return l.fault(err)
}

// Close gives page buffers back. Arrays that were read stay valid.
func (r *Reader) Close() {
	if r.err == nil {
		r.fail(errClosed)
	}
}
