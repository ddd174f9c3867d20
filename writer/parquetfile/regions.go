package parquetfile

import (
	"sync"
	"time"
)

// regionsWait is how long memory that nobody wants is kept at least, and at most twice as long.
const regionsWait = 5 * time.Second

// Regions are the memory of files that have ended, for those that come next: to find and clear it takes a thirtieth of the time that a file of text
// does. Never is more kept than files have had at once, nor more than a bound; what no file has wanted for some seconds is given back. Regions are
// safe for concurrent use; nil keeps nothing.
type Regions struct {
	most int

	mu    sync.Mutex
	free  [][]byte    // of maxRegion bytes, the last one taken first
	spare int         // of them, the first ones: not wanted since the last look
	look  *time.Timer // nil: none is due
}

// NewRegions keeps up to most bytes.
func NewRegions(most int64) *Regions { return &Regions{most: int(most / maxRegion)} }

// take is n bytes of memory; ok is false if there is none outside the collector's.
func (r *Regions) take(n int) (memory []byte, ok bool) {
	if r == nil || n != maxRegion {
		return mapRegion(n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.free) - 1
	if last < 0 {
		return mapRegion(n)
	}
	memory, r.free[last], r.free = r.free[last], nil, r.free[:last]
	r.spare = min(r.spare, last)
	return memory, true
}

// give takes memory back, which nobody has any more.
func (r *Regions) give(memory []byte) {
	if r != nil && len(memory) == maxRegion && r.keep(memory) {
		return
	}
	unmapRegion(memory)
}

func (r *Regions) keep(memory []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.free) >= r.most {
		return false
	}
	r.free = append(r.free, memory)
	if r.look == nil {
		r.spare, r.look = 0, time.AfterFunc(regionsWait, r.shrink)
	}
	return true
}

// shrink gives back what was not wanted since the last look.
func (r *Regions) shrink() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(r.spare)
	r.spare = len(r.free)
	if r.spare == 0 {
		r.look = nil
		return
	}
	r.look.Reset(regionsWait)
}

// Clear gives back all that is kept now.
func (r *Regions) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(len(r.free))
	r.spare = 0
}

// drop gives back the first n.
func (r *Regions) drop(n int) {
	for _, memory := range r.free[:n] {
		unmapRegion(memory)
	}
	kept := copy(r.free, r.free[n:])
	clear(r.free[kept:])
	r.free = r.free[:kept]
}
