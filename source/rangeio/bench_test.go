package rangeio_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/hubflight/hubflight/source/rangeio"
)

// BenchmarkRead reads a file of 64 MiB in windows from an origin that answers at
// once: what is left is the cost of standing in between. A block is 8 MiB, and
// with ahead=true everything was announced before.
func BenchmarkRead(b *testing.B) {
	const size = 64 << 20
	content := newMemory(size).content
	for _, ahead := range []bool{false, true} {
		for _, window := range []int64{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("ahead=%t/window=%d", ahead, window), func(b *testing.B) {
				s := scheduler(b, rangeio.SchedulerOptions{})
				p := make([]byte, window)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					r := rangeio.New(&origin{content: content}, rangeio.Options{Scheduler: s})
					if ahead {
						r.Expect(b.Context(), []rangeio.Range{{Off: 0, Len: size}})
					}
					for off := int64(0); off < size; off += window {
						if err := r.ReadAt(b.Context(), p, off); err != nil {
							b.Fatal(err)
						}
						if off%(1<<20) == 0 && !bytes.Equal(p, content[off:off+window]) {
							b.Fatalf("other bytes at %d", off)
						}
					}
					if stats := r.Stats(); stats.BytesRead != size || ahead && stats.Requests > size/(8<<20)+1 {
						b.Fatalf("%+v", stats)
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
