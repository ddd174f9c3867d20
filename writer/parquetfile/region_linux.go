package parquetfile

import "golang.org/x/sys/unix"

// mapRegion is n bytes of memory that the collector knows nothing of, in huge pages where there are some: it is touched from one end to the other. ok is
// false if there is none.
func mapRegion(n int) (memory []byte, ok bool) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, false
	}
	if n >= hugePage {
		_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // without them it is only slower
	}
	return memory, true
}

func unmapRegion(memory []byte) { _ = unix.Munmap(memory) }
