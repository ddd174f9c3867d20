package snappy

import (
	"bytes"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// fenced gives n bytes of which the last lies in front of a page that nobody may
// touch.
func fenced(t *testing.T, n int) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	size := (n + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal("no memory to fence: ", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(all) })
	if err := syscall.Mprotect(all[size:], syscall.PROT_NONE); err != nil {
		t.Fatal("no fence: ", err)
	}
	return all[size-n : size : size]
}

func TestNothingIsReadOrWrittenBehindEitherBuffer(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	rng := rand.New(rand.NewPCG(5, 6))
	for _, raw := range shapes() {
		raw = raw[:3000]
		block := snappy.Encode(nil, raw)
		src, dst := fenced(t, len(block)), fenced(t, len(raw))
		copy(src, block)
		if err := Decode(dst, src); err != nil || !bytes.Equal(dst, raw) {
			t.Fatal("the block itself: ", err)
		}
		for range 3000 {
			copy(src, block)
			for range 1 + rng.IntN(3) {
				src[2+rng.IntN(len(src)-2)] = byte(rng.Uint32())
			}
			_ = Decode(dst, src) // a fault is a panic, and fails the test
		}
	}
}
