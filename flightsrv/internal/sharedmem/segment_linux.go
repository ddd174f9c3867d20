package sharedmem

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// name is what the segment's mappings are called in /proc/PID/maps.
const name = "hubflight"

// reserveStep is what a slot's memory grows by, so that batches of nearly equal size
// do not make it grow every time.
const reserveStep = 256 << 10

const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// New makes a segment of slots (at most 62) of slotBytes (a multiple of 4096) each,
// which takes memory as it is touched.
func New(slots, slotBytes int) (_ *Sender, err error) {
	size := segmentBytes(slots, slotBytes)
	if slots < 1 || slots > maxSlots || slotBytes < pageBytes || slotBytes%pageBytes != 0 || int64(slotBytes) > math.MaxUint32 || size > math.MaxInt {
		return nil, fmt.Errorf("no segment has %d slots of %d bytes", slots, slotBytes)
	}
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce) // never fails, by its documentation
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	s := &Sender{segment: segment{slots: slots, slotBytes: slotBytes}}
	s.announced = Announcement{PID: unix.Getpid(), FD: fd, Size: size, Nonce: hex.EncodeToString(nonce)}
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, errors.Join(fmt.Errorf("ftruncate: %w", err), unix.Close(fd))
	}
	if s.mem, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(fmt.Errorf("mmap: %w", err), unix.Close(fd))
	}
	if err := reserve(fd, 0, pageBytes); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.describe(nonce)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal: %w", err), s.Close())
	}
	return s, nil
}

// reserve makes sure that there is memory for a part of the segment: to touch what is
// not there would end the process where the system has no more to give.
func reserve(fd int, at, size int64) error {
	for {
		err := unix.Fallocate(fd, 0, at, size)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reserve makes sure that there is memory for the first size bytes of a slot.
func (s *Sender) reserve(slot, size int) bool {
	if size <= s.reserved[slot] {
		return true
	}
	size = min((size+reserveStep-1)/reserveStep*reserveStep, s.slotBytes)
	if err := reserve(s.announced.FD, int64(pageBytes+slot*s.slotBytes), int64(size)); err != nil {
		return false
	}
	s.reserved[slot] = size
	return true
}

// Close gives up this side's part of the segment; what the other side has mapped
// stays its own.
func (s *Sender) Close() error {
	return errors.Join(unix.Munmap(s.mem), unix.Close(s.announced.FD))
}

// Attach maps a segment that another process of this user has announced, once it is
// sure that it is the one, and says so to its maker. Slots of more than maxSlotBytes
// are refused.
func Attach(a Announcement, maxSlotBytes int64) (*Receiver, error) {
	if a.PID < 1 || a.FD < 0 || a.Size <= pageBytes || a.Size > min(pageBytes+maxSlots*maxSlotBytes, math.MaxInt) {
		return nil, fmt.Errorf("no segment has %d bytes in descriptor %d of process %d", a.Size, a.FD, a.PID)
	}
	// Should the numbers mean something else here, opening it neither waits nor
	// changes anything.
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", a.PID, a.FD), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // the mapping stays
	if err := verifyDescriptor(fd, a.Size); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, int(a.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	r := &Receiver{segment: segment{mem: mem}}
	err = r.verify(a)
	if err == nil && int64(r.slotBytes) > maxSlotBytes {
		err = fmt.Errorf("a slot has %d bytes; at most %d are accepted", r.slotBytes, maxSlotBytes)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.word(atAttached).Store(1)
	return r, nil
}

// verifyDescriptor makes sure that a mapping of the descriptor cannot fault and that
// its maker is this user.
func verifyDescriptor(fd int, size int64) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size != size {
		return fmt.Errorf("the descriptor is not memory of %d bytes", size)
	}
	if int(stat.Uid) != unix.Geteuid() {
		return fmt.Errorf("the memory belongs to user %d", stat.Uid)
	}
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return fmt.Errorf("the memory is not sealed")
	}
	return nil
}

// Close gives up this side's part of the segment.
func (r *Receiver) Close() error { return unix.Munmap(r.mem) }
