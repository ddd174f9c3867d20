package spool

import (
	"io"
	"os"
	"sort"
)

// piece is a part of a file's bytes: in memory, or in the file of the disk at off.
type piece struct {
	at, n  int64
	memory []byte // nil: on disk
	off    int64
}

// pieces are a file's bytes in order.
type pieces []piece

// end is how many bytes there are.
func (p pieces) end() int64 {
	if len(p) == 0 {
		return 0
	}
	last := p[len(p)-1]
	return last.at + last.n
}

// onDisk appends n bytes that are on disk at off.
func (p pieces) onDisk(off, n int64) pieces {
	if last := len(p) - 1; last >= 0 && p[last].memory == nil && p[last].off+p[last].n == off {
		p[last].n += n
		return p
	}
	return append(p, piece{at: p.end(), n: n, off: off})
}

// inMemory appends bytes that stay where they are.
func (p pieces) inMemory(b []byte) pieces {
	if len(b) == 0 {
		return p
	}
	return append(p, piece{at: p.end(), n: int64(len(b)), memory: b})
}

// readAt reads from off on, as io.ReaderAt says.
func (p pieces) readAt(disk *os.File, b []byte, off int64) (n int, err error) {
	next := sort.Search(len(p), func(i int) bool { return p[i].at+p[i].n > off })
	for ; n < len(b) && next < len(p); next++ {
		from := off + int64(n) - p[next].at
		want := b[n:][:min(int64(len(b)-n), p[next].n-from)]
		if p[next].memory != nil {
			n += copy(want, p[next].memory[from:])
			continue
		}
		got, err := disk.ReadAt(want, p[next].off+from)
		n += got
		if got < len(want) {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
