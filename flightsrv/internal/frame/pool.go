package frame

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

const (
	minPoolBits = 8  // 256 bytes
	maxPoolBits = 24 // 16 MiB; larger ones are left to the garbage collector
)

// Pool is gRPC's buffer pool without the clearing. gRPC's own clears the whole
// capacity of what it hands out, which costs more than the copies it serves;
// everybody who takes a buffer here overwrites all of it.
type Pool struct {
	classes [maxPoolBits - minPoolBits + 1]sync.Pool // of *[]byte, by power of two
}

var _ mem.BufferPool = (*Pool)(nil)

// Get returns a buffer of n bytes with whatever it held before.
func (p *Pool) Get(n int) *[]byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minPoolBits)
	if class > maxPoolBits {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[class-minPoolBits].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<class)
	return &b
}

// Put takes a buffer back; those of other makers are left to the collector.
func (p *Pool) Put(b *[]byte) {
	size := cap(*b)
	class := bits.Len(uint(size)) - 1
	if size == 1<<max(class, 0) && class >= minPoolBits && class <= maxPoolBits {
		p.classes[class-minPoolBits].Put(b)
	}
}
