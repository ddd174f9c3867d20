package parquetfile

import (
	"io"
	"slices"
)

const (
	// slabSize is small enough that a file of a thousand columns holds little more than its pages.
	slabSize = 64 << 10
	// maxRegion is the most memory that is asked for at a time.
	maxRegion = 2 << 20
	// drainedSlabs are written at a time.
	drainedSlabs = 16
)

// slabs are pieces of memory that pages wait in. They are used again by the next row group, and are none of the collector's: it would let the heap
// grow by as much again before it looks, so that a long file took more than a short one.
type slabs struct {
	from    *Regions
	free    [][]byte
	out     int       // slabs that are in use
	page    workspace // of whichever column ends a page
	regions [][]byte  // what release gives back
	rest    []byte    // of the last region
	mapped  int       // bytes of all regions
}

func (s *slabs) take() []byte {
	s.out++
	if last := len(s.free) - 1; last >= 0 {
		out := s.free[last]
		s.free = s.free[:last]
		return out
	}
	if len(s.rest) == 0 {
		s.rest = s.region()
	}
	out := s.rest[:0:slabSize]
	s.rest = s.rest[slabSize:]
	return out
}

// region is memory for some slabs more: as much again as there is, so that a small file takes little.
func (s *slabs) region() []byte {
	n := min(max(s.mapped, 4*slabSize), maxRegion)
	memory, ok := s.from.take(n)
	if !ok {
		return make([]byte, n)
	}
	s.regions, s.mapped = append(s.regions, memory), s.mapped+n
	return memory
}

// release gives all memory back. Nobody may have a slab any more.
func (s *slabs) release() {
	for _, memory := range s.regions {
		s.from.give(memory)
	}
	*s = slabs{from: s.from}
}

func (s *slabs) give(slab []byte) {
	s.out--
	s.free = append(s.free, slab[:0])
}

// Scratch is where finished pages wait that memory is too small for.
type Scratch interface {
	// Append stores parts one after the other, and returns where the first is.
	Append(parts [][]byte) (at int64, err error)
	// ReadBack fills p with what was stored from at on.
	ReadBack(p []byte, at int64) error
	// Clear forgets everything that was stored.
	Clear() error
}

// queue is bytes: written at its end, then drained. They are in slabs, the first of them perhaps in scratch.
type queue struct {
	slabs *slabs
	away  []extent
	full  [][]byte
	n     int64
}

// extent is a piece of scratch.
type extent struct{ at, n int64 }

func (q *queue) write(p []byte) {
	q.n += int64(len(p))
	for len(p) > 0 {
		last := len(q.full) - 1
		if last < 0 || len(q.full[last]) == cap(q.full[last]) {
			q.full = append(q.full, q.slabs.take())
			last++
		}
		room := min(cap(q.full[last])-len(q.full[last]), len(p))
		q.full[last] = append(q.full[last], p[:room]...)
		p = p[room:]
	}
}

// spill moves the first slabs to scratch, at most n and no other than full ones.
func (q *queue) spill(to Scratch, n int) error {
	moved, bytes := 0, int64(0)
	for _, slab := range q.full[:min(n, len(q.full))] {
		if len(slab) < cap(slab) { // the last one
			break
		}
		moved, bytes = moved+1, bytes+int64(len(slab))
	}
	if moved == 0 {
		return nil
	}
	at, err := to.Append(q.full[:moved])
	if err != nil {
		return err
	}
	if last := len(q.away) - 1; last >= 0 && q.away[last].at+q.away[last].n == at {
		q.away[last].n += bytes
	} else {
		q.away = append(q.away, extent{at, bytes})
	}
	for _, slab := range q.full[:moved] {
		q.slabs.give(slab)
	}
	q.full = slices.Delete(q.full, 0, moved)
	return nil
}

// drain writes everything and gives the slabs back, unless w keeps them.
func (q *queue) drain(w *counted, from Scratch) error {
	err := q.fetch(w, from)
	if w.keeper != nil {
		if err == nil {
			err = w.keepAll(q.full)
		}
		q.full, q.away, q.n = nil, nil, 0
		return err
	}
	for part := range slices.Chunk(q.full, drainedSlabs) {
		if err == nil {
			err = w.writeAll(part)
		}
	}
	for i, slab := range q.full {
		q.slabs.give(slab)
		q.full[i] = nil
	}
	q.full, q.away, q.n = q.full[:0], q.away[:0], 0
	return err
}

// fetch writes what is in scratch.
func (q *queue) fetch(w io.Writer, from Scratch) error {
	if len(q.away) == 0 {
		return nil
	}
	buf := q.slabs.take()[:slabSize]
	defer q.slabs.give(buf)
	for _, e := range q.away {
		for e.n > 0 {
			part := buf[:min(e.n, slabSize)]
			if err := from.ReadBack(part, e.at); err != nil {
				return err
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
			e.at, e.n = e.at+int64(len(part)), e.n-int64(len(part))
		}
	}
	return nil
}
