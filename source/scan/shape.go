package scan

import (
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// firstRows is the size of a stream's first batch, so that a consumer sees
// something early.
const firstRows = 1024

// shaper makes batches of the asked size from pieces of any size: small pieces
// are put together (row groups of a hundred rows are common), large ones are cut
// without copying. A piece of about the right size passes through untouched.
type shaper struct {
	schema   *arrow.Schema
	mem      memory.Allocator
	maxRows  int
	maxBytes int64

	started bool
	pending []arrow.RecordBatch
	rows    int64
	bytes   int64
	ready   []whole // what next cuts
}

// whole is rows that are cut into batches of even rows, or fewer.
type whole struct {
	batch    arrow.RecordBatch
	at, even int64
}

// push takes over a piece, and next what it makes ready.
func (s *shaper) push(piece arrow.RecordBatch) error {
	if piece.NumRows() == 0 {
		piece.Release()
		return nil
	}
	if !s.started {
		s.started = true
		k := min(piece.NumRows(), firstRows, s.fit(piece, 0, piece.NumRows()))
		if k == piece.NumRows() {
			s.ready = append(s.ready, whole{piece, 0, k})
			return nil
		}
		s.ready = append(s.ready, whole{piece.NewSlice(0, k), 0, k})
		rest := piece.NewSlice(k, piece.NumRows())
		piece.Release()
		piece = rest
	}
	n, size := piece.NumRows(), batchBytes(piece, 0, piece.NumRows())
	if s.bytes+size > s.most() || s.rows+n > int64(s.maxRows) {
		// Together they would have to be copied, and cut again.
		if err := s.flush(); err != nil {
			piece.Release()
			return err
		}
	}
	s.pending = append(s.pending, piece)
	s.rows += n
	s.bytes += size
	// Half a batch is worth sending; waiting for the other half would only copy.
	if s.bytes*2 < s.maxBytes && s.rows*2 < int64(s.maxRows) {
		return nil
	}
	return s.flush()
}

// flush makes everything ready that is pending.
func (s *shaper) flush() error {
	if len(s.pending) == 0 {
		return nil
	}
	all, err := s.join()
	s.pending, s.rows, s.bytes = nil, 0, 0
	if err != nil {
		return err
	}
	n, most := all.NumRows(), s.most()
	parts := max((n+int64(s.maxRows)-1)/int64(s.maxRows), (batchBytes(all, 0, n)+most-1)/most, 1)
	even := (n + parts - 1) / parts // of about the same size, instead of a rest
	s.ready = append(s.ready, whole{all, 0, even})
	return nil
}

// next cuts off the next batch of the right size, or returns nil. Of thousands of
// columns the slices of a batch take more than its rows, so none is made early.
func (s *shaper) next() arrow.RecordBatch {
	if len(s.ready) == 0 {
		return nil
	}
	w := &s.ready[0]
	n := w.batch.NumRows()
	k := s.fit(w.batch, w.at, min(w.even, n-w.at))
	if w.at+k < n {
		w.at += k
		return w.batch.NewSlice(w.at-k, w.at)
	}
	last := w.batch
	if w.at > 0 {
		last = w.batch.NewSlice(w.at, n)
		w.batch.Release()
	}
	s.ready[0] = whole{}
	s.ready = s.ready[1:]
	return last
}

// join makes one batch of the pending ones.
func (s *shaper) join() (arrow.RecordBatch, error) {
	pending := s.pending
	defer func() {
		for _, p := range pending {
			p.Release()
		}
	}()
	if len(pending) == 1 {
		pending[0].Retain()
		return pending[0], nil
	}
	cols := make([]arrow.Array, 0, s.schema.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i := range s.schema.NumFields() {
		parts := make([]arrow.Array, len(pending))
		for j, p := range pending {
			parts[j] = p.Column(i)
		}
		col, err := array.Concatenate(parts, s.mem)
		if err != nil {
			return nil, err
		}
		cols = append(cols, col)
	}
	return array.NewRecordBatch(s.schema, cols, s.rows), nil
}

// most is how large a batch may be. A piece is decoded to be as large as a batch,
// but the sizes of its rows were guessed from those before: if it were cut as soon
// as it is a little larger, all batches would be halves.
func (s *shaper) most() int64 { return min(s.maxBytes*9/8, maxBatchBytes) }

// fit is how many of n rows from at make a batch that is not too large; at
// least one.
func (s *shaper) fit(b arrow.RecordBatch, at, n int64) int64 {
	return Fit(b, at, min(n, int64(s.maxRows)), s.most())
}

// Fit is how many of n rows from at take no more than limit bytes as a batch of their
// own; at least one.
func Fit(b arrow.RecordBatch, at, n, limit int64) int64 {
	if batchBytes(b, at, n) <= limit {
		return n
	}
	tooMany := sort.Search(int(n), func(k int) bool { return batchBytes(b, at, int64(k)+1) > limit })
	return max(int64(tooMany), 1)
}

// drop releases what is pending and what is ready.
func (s *shaper) drop() {
	for _, p := range s.pending {
		p.Release()
	}
	for _, w := range s.ready {
		w.batch.Release()
	}
	s.pending, s.ready = nil, nil
}

// batchBytes is the size of n rows from at: what the buffers of a copy of them
// would hold.
func batchBytes(b arrow.RecordBatch, at, n int64) int64 {
	total := int64(0)
	for _, c := range b.Columns() {
		total += sliceBytes(c.Data(), int(at), int(n))
	}
	return total
}

// sliceBytes reads sizes off the offsets, so that it costs nothing per row.
func sliceBytes(d arrow.ArrayData, at, n int) int64 {
	total := int64(n+7) / 8
	at += d.Offset()
	switch t := d.DataType().(type) {
	case *arrow.NullType:
		return 0
	case *arrow.StructType:
		for _, c := range d.Children() {
			total += sliceBytes(c, at, n)
		}
	case *arrow.FixedSizeListType:
		size := int(t.Len())
		total += sliceBytes(d.Children()[0], at*size, n*size)
	case *arrow.LargeListType:
		low, high := extent[int64](d, at, n)
		total += 8*int64(n) + sliceBytes(d.Children()[0], low, high-low)
	case arrow.ListLikeType:
		low, high := extent[int32](d, at, n)
		total += 4*int64(n) + sliceBytes(d.Children()[0], low, high-low)
	case *arrow.StringType, *arrow.BinaryType:
		low, high := extent[int32](d, at, n)
		total += 4*int64(n) + int64(high-low)
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		low, high := extent[int64](d, at, n)
		total += 8*int64(n) + int64(high-low)
	case arrow.FixedWidthDataType:
		total += int64(n) * int64(t.BitWidth()+7) / 8
	}
	return total
}

func extent[T int32 | int64](d arrow.ArrayData, at, n int) (low, high int) {
	offsets := offsetsOf[T](d)
	if n == 0 || at+n >= len(offsets) {
		return 0, 0
	}
	return int(offsets[at]), int(offsets[at+n])
}
