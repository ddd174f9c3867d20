package parquetfile

import "golang.org/x/sys/unix"

// mapRegion is n bytes of memory that the collector knows nothing of. All of it is there at once: found page by page, as each is touched, a row
// group of text takes 12,000 faults, and a region is small beside what is held. Huge pages took 7 MiB more of each stream and no less time. ok is false
// if there is no memory.
func mapRegion(n int) (memory []byte, ok bool) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
	return memory, err == nil
}

func unmapRegion(memory []byte) { _ = unix.Munmap(memory) }
