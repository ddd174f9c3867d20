package parquetfile

import "io"

// slabSize is small enough that a file of a thousand columns holds little more than its pages.
const slabSize = 64 << 10

// slabs are pieces of memory that pages wait in. They are used again by the next row group, so that the collector is not what decides how
// much a group takes.
type slabs struct{ free [][]byte }

func (s *slabs) take() []byte {
	if last := len(s.free) - 1; last >= 0 {
		out := s.free[last]
		s.free = s.free[:last]
		return out
	}
	return make([]byte, 0, slabSize)
}

// queue is bytes in slabs: written at its end, then drained.
type queue struct {
	slabs *slabs
	full  [][]byte
	n     int64
}

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

// drain writes everything and gives the slabs back.
func (q *queue) drain(w io.Writer) error {
	var err error
	for i, slab := range q.full {
		if err == nil {
			_, err = w.Write(slab)
		}
		q.slabs.free = append(q.slabs.free, slab[:0])
		q.full[i] = nil
	}
	q.full, q.n = q.full[:0], 0
	return err
}
