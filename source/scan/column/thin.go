package column

import "github.com/apache/arrow-go/v18/arrow"

// A filter that keeps every tenth row, wherever they are, asks for spans of a row or two. To pass the rows between them costs more
// than to decode them: each span goes through the page's levels and values once for the rows that are left out, and once for those
// that are taken. Spans that lie close together are therefore taken as one window, which is thinned in the sink (BenchmarkScattered:
// a tenth of an int64 column takes 24 instead of 40 ns for each row that is kept). Byte arrays are cheaper to pass than to copy.
const (
	windowRows   = 4096 // of a window: its values stay in the cache while they are thinned
	windowRuns   = 16   // spans of a window at least
	windowPeriod = 16   // rows of a window at most, for each of its spans
	windowGap    = 64   // rows between two spans at most
)

// window is how many of the spans are taken together, 0 for none, and the rows, at most as many as are given, that they cover behind
// the first span's Skip.
func window(spans []Span, most int64) (n int, rows int64) {
	rows = spans[0].Take
	for n = 1; n < len(spans) && rows <= most; n++ {
		s := spans[n]
		if s.Skip > windowGap || s.Take > windowPeriod*windowRuns {
			break
		}
		more := rows + s.Skip + s.Take
		if more > most || n+1 >= windowRuns && more > windowPeriod*int64(n+1) {
			break
		}
		rows = more
	}
	if n < windowRuns {
		return 0, 0
	}
	return n, rows
}

// thins says whether rows that nobody asks for may be decoded: where that costs little, and no value can be one that Arrow cannot hold.
func (l *leaf) thins() bool {
	s := &l.sink
	if l.nested != nil || s.convert != nil || s.decimal != nil {
		return false
	}
	word := s.width == 1 || s.width == 2 || s.width == 4 || s.width == 8
	return s.shape == shapeFixed && word || s.shape == shapeBool
}

// takeWindow appends what spans take of the next rows, all of them of the open page, with which the first span begins: its Skip is
// behind.
func (l *leaf) takeWindow(spans []Span, rows int64) error {
	s := &l.sink
	n, used, slots, zeros := s.n, s.used, s.valid.n, s.valid.zeros
	if err := l.take(rows); err != nil {
		return err
	}
	kept := l.cursor.scratch.kept[:0]
	at := int64(0)
	for i, span := range spans {
		if i > 0 {
			at += span.Skip
		}
		for range span.Take {
			kept = append(kept, uint32(at))
			at++
		}
	}
	if s.valid.zeros != zeros {
		kept = s.valid.thin(slots, zeros, kept)
	} else {
		s.valid.n = slots + len(kept)
	}
	s.thin(n, used, kept)
	return nil
}

// thin keeps of the slots behind the first n, of which zeros are null, those that rows name, in ascending order and counted from n. It
// returns which of the values behind those slots stay, in the memory of rows.
func (b *bitmap) thin(n, zeros int, rows []uint32) []uint32 {
	p, end := b.buf.Buf(), b.n
	kept := rows[:0]
	at, value := n, 0
	for i, row := range rows {
		next := n + int(row)
		value += countBits(p, at, next-at)
		at = next
		bit := p[next>>3] >> (next & 7) & 1
		// A slot's new place is not behind it: nothing is overwritten that is still to be read.
		q := &p[(n+i)>>3]
		*q = *q&^(1<<((n+i)&7)) | bit<<((n+i)&7)
		if bit != 0 {
			kept = append(kept, uint32(value))
		}
	}
	b.n = n + len(rows)
	b.zeros = zeros + len(rows) - len(kept)
	setBits(p, b.n, end-b.n) // what lies behind n is ones
	return kept
}

// thin keeps of the values behind the first n, which begin at used, those that kept names, in ascending order and counted from n. Each
// moves to a place that is not behind its own, so values that are still to be moved are where they were.
func (s *sink) thin(n, used int, kept []uint32) {
	end := s.used
	s.n = n + len(kept)
	switch s.shape {
	case shapeFixed:
		s.used = used + len(kept)*s.width
		thinFixed(s.data.Buf()[used:end], s.width, kept)
	case shapeBool:
		s.used = used + len(kept)
		thinBits(s.data.Buf(), used, kept)
		clearBits(s.data.Buf(), s.used, end-s.used) // what lies behind used is zero
	}
}

func thinFixed(data []byte, width int, kept []uint32) {
	switch width {
	case 1:
		gatherWords(data, data, kept)
	case 2:
		gatherWords(arrow.GetData[uint16](data), arrow.GetData[uint16](data), kept)
	case 4:
		gatherWords(arrow.GetData[uint32](data), arrow.GetData[uint32](data), kept)
	case 8:
		gatherWords(arrow.GetData[uint64](data), arrow.GetData[uint64](data), kept)
	}
}

func thinBits(data []byte, used int, kept []uint32) {
	for i, at := range kept {
		from, to := used+int(at), used+i
		bit := data[from>>3] >> (from & 7) & 1
		data[to>>3] = data[to>>3]&^(1<<(to&7)) | bit<<(to&7)
	}
}
