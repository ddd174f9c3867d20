package scan

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
)

const (
	// maxIndexBytes is the longest column or offset index that is looked at. One of
	// a row group of 1 GiB in pages of 64 KiB has about 200 KiB.
	maxIndexBytes = 4 << 20
	// maxBloomBytes is the largest bloom filter that is looked at; writers stop at
	// 128 MiB.
	maxBloomBytes = 128 << 20
	// sectionGap: sections closer than this are read together.
	sectionGap = 4 << 10
	// Sections that lie scattered over more than scatteredShare times their bytes,
	// and over more than scatteredBytes, are read one by one, scatteredReads at a
	// time.
	scatteredShare = 8
	scatteredBytes = 1 << 20
	scatteredReads = 16
)

// section is a small part of a file beside its data: an index, a bloom filter, a
// dictionary page. One of length 0 does not exist.
type section struct{ off, len int64 }

func (s section) end() int64 { return s.off + s.len }

// indexSection is where a footer says that an index is, or nothing if that cannot
// be: indexes are never needed.
func indexSection(off *int64, length *int32, size int64) section {
	if off == nil || length == nil || *off < 4 || *length <= 0 || *length > maxIndexBytes || *off > size-int64(*length) {
		return section{}
	}
	return section{off: *off, len: int64(*length)}
}

// bloomSection is where a bloom filter is. Its length is known since format 2.10;
// of one without, the header is known.
func bloomSection(off *int64, length *int32, size int64) section {
	n := int64(bloomHeader)
	if length != nil {
		n = int64(*length)
	}
	if off == nil || *off < 4 || n < minBloomBytes || n > maxBloomBytes || *off > size-n {
		return section{}
	}
	return section{off: *off, len: n}
}

// tail is a part of the file that was read together with the footer.
type tail struct {
	off  int64
	data []byte
}

func (t tail) has(s section) bool {
	return s.len > 0 && s.off >= t.off && s.end() <= t.off+int64(len(t.data))
}

// keepTail keeps what the footer's read brought along of indexes and bloom filters.
func (ft *Footer) keepTail(t tail) {
	low := t.off + int64(len(t.data))
	for _, group := range ft.chunks {
		for _, c := range group {
			for _, s := range []section{c.columnIndex, c.offsetIndex, c.bloom} {
				if t.has(s) {
					low = min(low, s.off)
				}
			}
		}
	}
	if kept := t.data[low-t.off:]; len(kept) > 0 {
		ft.tail = tail{off: low, data: slices.Clone(kept)}
		ft.size += int64(len(kept))
	}
}

// sections is what has been read of a file's sections. The file's own reader
// merges and fetches ahead if that is worth it; here, neighbours are read at once.
type sections struct {
	file   source.File
	reader source.Reader
	tail   tail
	ahead  ahead
	parts  []tail // ascending, disjoint
}

// load makes sections readable with bytes. What was loaded before is forgotten.
func (h *sections) load(ctx context.Context, want []section) error {
	plan := h.plan(want)
	h.parts = make([]tail, len(plan))
	for i, r := range plan {
		h.parts[i] = tail{off: r.Off, data: make([]byte, r.Len)}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(1)
	if h.ahead.reader != nil && scattered(plan) {
		group.SetLimit(scatteredReads)
	} else if len(plan) > 1 {
		h.ahead.expect(plan)
	}
	for _, part := range h.parts {
		group.Go(func() error { return h.read(ctx, part) })
	}
	return group.Wait()
}

func (h *sections) read(ctx context.Context, part tail) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = source.Errorf(source.KindInternal, opScan, "panic: %v", p)
		}
	}()
	if err := ctx.Err(); err != nil {
		return err // another read has failed
	}
	if err := h.reader.ReadAt(ctx, part.data, part.off); err != nil {
		return readError(h.file, err)
	}
	return nil
}

// scattered reports whether a Reader that reads gaps along, to save requests,
// would read much more than it is asked for: bloom filters of small row groups lie
// that close together, and of a file that is searched for one row the gaps are
// nearly everything.
func scattered(plan []rangeio.Range) bool {
	if len(plan) < 2 {
		return false
	}
	wanted := int64(0)
	for _, r := range plan {
		wanted += r.Len
	}
	return plan[len(plan)-1].End()-plan[0].Off > scatteredShare*wanted+scatteredBytes
}

// expect tells the reader what load will read.
func (h *sections) expect(want []section) { h.ahead.expect(h.plan(want)) }

// plan is what has to be read to have sections: ascending, neighbours at once.
func (h *sections) plan(want []section) []rangeio.Range {
	var plan []rangeio.Range
	slices.SortFunc(want, func(a, b section) int { return cmp.Compare(a.off, b.off) })
	for _, s := range want {
		if s.len == 0 || h.tail.has(s) {
			continue
		}
		if n := len(plan); n > 0 && s.off-plan[n-1].End() <= sectionGap {
			plan[n-1].Len = max(plan[n-1].End(), s.end()) - plan[n-1].Off
			continue
		}
		plan = append(plan, rangeio.Range{Off: s.off, Len: s.len})
	}
	return plan
}

// bytes is a section that was loaded, or nil.
func (h *sections) bytes(s section) []byte {
	if h.tail.has(s) {
		return h.tail.data[s.off-h.tail.off:][:s.len]
	}
	for _, p := range h.parts {
		if p.has(s) {
			return p.data[s.off-p.off:][:s.len]
		}
	}
	return nil
}
