package scan

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

const (
	// minClassBits: blocks below 256 bytes are not worth a free list.
	minClassBits = 8
	// maxClassBits: blocks above 1 GiB are left to the garbage collector.
	maxClassBits = 30
	// classesPerDoubling bounds the waste of rounding up to 25 %.
	classesPerDoubling = 4

	defaultPoolBytes = 256 << 20
)

// Pool is a memory.Allocator over free lists by size class, four per power of
// two. Decoding into it costs a third less CPU than into fresh memory, because
// neither the allocator nor the collector is asked once it is warm.
//
// Memory is handed out zeroed, like that of every arrow-go allocator: pqarrow's
// list reader takes offsets[0] of an empty batch from fresh memory, and its
// bitmap writers set bits without clearing the others. A block goes back with
// Free, which arrow calls when the last reference to a buffer is released; a
// block that is never freed is simply collected. Safe for concurrent use.
type Pool struct {
	max int64 // bytes kept for reuse; what is freed beyond is dropped

	mu   sync.Mutex
	kept int64
	free [(maxClassBits - minClassBits + 1) * classesPerDoubling][][]byte
}

var _ memory.Allocator = (*Pool)(nil)

// NewPool makes a Pool that keeps at most 256 MiB of free blocks.
func NewPool() *Pool { return newPoolOf(defaultPoolBytes) }

// newPoolOf keeps at most maxBytes of free blocks.
func newPoolOf(maxBytes int64) *Pool { return &Pool{max: maxBytes} }

// Allocate returns size zeroed bytes.
func (p *Pool) Allocate(size int) []byte {
	if size < 0 {
		panic("scan: negative allocation")
	}
	class, block := sizeClass(size)
	if class < 0 {
		return make([]byte, size)
	}
	b := p.pop(class)
	if b == nil {
		return make([]byte, size, block)
	}
	b = b[:size]
	clear(b)
	return b
}

// Reallocate returns size bytes that begin with those of b; the rest is zeroed.
// b must not be used afterwards.
func (p *Pool) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) && size >= cap(b)/2 {
		// The same block serves, as long as that wastes less than half of it.
		old := len(b)
		b = b[:size]
		if size > old {
			clear(b[old:])
		}
		return b
	}
	class, block := sizeClass(size)
	var out []byte
	if class >= 0 {
		out = p.pop(class)
	}
	if out == nil {
		out = make([]byte, size, max(size, block))
	}
	out = out[:size]
	clear(out[copy(out, b):])
	p.Free(b)
	return out
}

// Dirty is the same Pool, handing out memory as it is: for decoders that write
// every byte.
func (p *Pool) Dirty() memory.Allocator { return dirtyPool{p} }

type dirtyPool struct{ *Pool }

// Allocate returns size bytes of any content.
func (p dirtyPool) Allocate(size int) []byte {
	if size < 0 {
		panic("scan: negative allocation")
	}
	class, block := sizeClass(size)
	if class < 0 {
		return make([]byte, size)
	}
	if b := p.pop(class); b != nil {
		return b[:size]
	}
	return make([]byte, size, block)
}

// Reallocate returns size bytes that begin with those of b. b must not be used
// afterwards.
func (p dirtyPool) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) && size >= cap(b)/2 {
		return b[:size]
	}
	out := p.Allocate(size)
	copy(out, b)
	p.Free(b)
	return out
}

// Free takes a block back. Blocks of other allocators are ignored.
func (p *Pool) Free(b []byte) {
	size := cap(b)
	class, block := sizeClass(size)
	if class < 0 || block != size {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept+int64(size) > p.max {
		return
	}
	p.kept += int64(size)
	p.free[class] = append(p.free[class], b[:0])
}

func (p *Pool) pop(class int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[class]
	if len(list) == 0 {
		return nil
	}
	b := list[len(list)-1]
	list[len(list)-1] = nil
	p.free[class] = list[:len(list)-1]
	p.kept -= int64(cap(b))
	return b
}

// sizeClass returns the index of the free list for n bytes and the size of its
// blocks, or -1 if blocks of that size are not pooled.
func sizeClass(n int) (class, block int) {
	if n <= 1<<minClassBits {
		if n == 0 {
			return -1, 0
		}
		return 0, 1 << minClassBits
	}
	b := bits.Len(uint(n-1)) - 1 // 2^b < n ≤ 2^(b+1)
	if b >= maxClassBits {
		return -1, 0
	}
	quarter := 1 << (b - 2)
	k := (n - 1<<b + quarter - 1) / quarter
	return (b-minClassBits)*classesPerDoubling + k, 1<<b + k*quarter
}

// meter is the allocator of one stream. It counts what a step of the decoder
// takes, and past the limit it panics with overBudget, which is the only way to
// stop the library in the middle of a bomb; the root of the decoding goroutine
// makes an error of it. What consumers hold of earlier steps does not count, nor
// do the few KiB that some of the library's decoders forget. Blocks may be freed
// from any goroutine, also after the stream has ended.
type meter struct {
	mem   memory.Allocator
	limit int64
	used  atomic.Int64
	base  atomic.Int64 // used when the step began
	over  atomic.Bool  // the step has met the limit
	// lenient is set while pqarrow opens readers on a goroutine that nobody
	// recovers; what it allocates then is small.
	lenient atomic.Bool
}

// begin starts a step.
func (m *meter) begin() {
	m.base.Store(m.used.Load())
	m.over.Store(false)
}

// exceeded reports whether the step has met the limit.
func (m *meter) exceeded() bool { return m.over.Load() }

type overBudget struct{ limit int64 }

func (o overBudget) Error() string {
	return fmt.Sprintf("decoding needs more than %d MiB at once", o.limit>>20)
}

func (m *meter) charge(n int) {
	if m.used.Add(int64(n))-m.base.Load() > m.limit && !m.lenient.Load() {
		m.used.Add(-int64(n))
		m.over.Store(true)
		panic(overBudget{m.limit})
	}
}

// Allocate counts and delegates.
func (m *meter) Allocate(size int) []byte {
	m.charge(size)
	return m.mem.Allocate(size)
}

// Reallocate counts the growth and delegates.
func (m *meter) Reallocate(size int, b []byte) []byte {
	m.recharge(size - len(b))
	return m.mem.Reallocate(size, b)
}

func (m *meter) recharge(grow int) {
	if grow > 0 {
		m.charge(grow)
	} else {
		m.used.Add(int64(grow))
	}
}

// Free counts and delegates.
func (m *meter) Free(b []byte) {
	m.used.Add(-int64(len(b)))
	m.mem.Free(b)
}

// dirty is the same meter over memory that may hold anything, if there is such.
func (m *meter) dirty() memory.Allocator {
	if pool, ok := m.mem.(interface{ Dirty() memory.Allocator }); ok {
		return dirtyMeter{m, pool.Dirty()}
	}
	return m
}

type dirtyMeter struct {
	*meter
	mem memory.Allocator
}

// Allocate counts and delegates.
func (m dirtyMeter) Allocate(size int) []byte {
	m.charge(size)
	return m.mem.Allocate(size)
}

// Reallocate counts the growth and delegates.
func (m dirtyMeter) Reallocate(size int, b []byte) []byte {
	m.recharge(size - len(b))
	return m.mem.Reallocate(size, b)
}

// Free counts and delegates.
func (m dirtyMeter) Free(b []byte) {
	m.used.Add(-int64(len(b)))
	m.mem.Free(b)
}
