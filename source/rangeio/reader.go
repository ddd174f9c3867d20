package rangeio

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	// defaultMaxTail is large enough for the footers of files with hundreds of
	// columns and row groups; readers of larger ones fetch them a second time.
	defaultMaxTail = 1 << 20
	// A read at the end of a file is made longer, to one part in tailShare of the
	// file, but not beyond maxTailRead: large files have large footers, and half a
	// megabyte costs less than a second round trip.
	tailShare   = 1024
	maxTailRead = 512 << 10
)

// Options say what a Reader may do. The zero value is a Reader of a local file:
// it remembers the tail and reads nothing ahead.
type Options struct {
	// MaxTail is how many bytes of the file's end are remembered at most; 1 MiB if
	// zero, negative for none.
	MaxTail int64
	// Scheduler lets the Reader read ahead, within its bounds; nil for a local
	// file.
	Scheduler *Scheduler
	// File is whose bytes these are. Only files with an OID are cached on disk.
	File source.File
	// Confirm returns nil if the origin has confirmed, within the last minute and
	// to this caller, that he may read File and that it has this OID. Without it
	// nothing is served from disk.
	Confirm func(ctx context.Context) error
}

// Stats counts what a Reader did.
type Stats struct {
	// Reads and BytesRead are what was asked of the Reader.
	Reads, BytesRead int64
	// Requests and BytesFetched are what was asked of the Reader below.
	Requests, BytesFetched int64
	// BytesCached came from disk.
	BytesCached int64
}

// Reader is a source.Reader that plans its requests. It is safe for concurrent
// use, as the Reader below is.
type Reader struct {
	below     source.Reader
	maxTail   int64
	scheduler *Scheduler // nil: one request per read
	cached    cacheKey   // zero: not cached
	confirm   func(ctx context.Context) error
	confirmed chan struct{} // holds one token while somebody confirms

	mu   sync.RWMutex
	tail []byte // the last bytes of the file; never written to once set
	plan ahead

	reads, bytesRead, requests, bytesFetched, bytesCached atomic.Int64
}

var _ source.Reader = (*Reader)(nil)

// streamer is a Reader below that tells how far a long read has come: that the
// first n bytes of p are the file's, and will not be written to again, whatever
// becomes of the rest. What is decoded first need not wait for the end of its
// request.
type streamer interface {
	StreamAt(ctx context.Context, p []byte, off int64, filled func(n int)) error
}

// New makes a Reader over r, which it owns: Close closes both.
func New(r source.Reader, o Options) *Reader {
	if o.MaxTail == 0 {
		o.MaxTail = defaultMaxTail
	}
	out := &Reader{below: r, maxTail: max(o.MaxTail, 0), scheduler: o.Scheduler, confirmed: make(chan struct{}, 1)}
	if o.Scheduler != nil && o.Scheduler.disk != nil && o.Confirm != nil && !o.File.At.Local {
		out.cached, out.confirm = keyOf(o.Scheduler.origin, o.File), o.Confirm
	}
	return out
}

// Size is the length in bytes.
func (r *Reader) Size() int64 { return r.below.Size() }

// Close ends what is under way and waits for it, forgets everything and closes
// the Reader below.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.tail, r.maxTail = nil, 0
	r.stopAhead()
	r.mu.Unlock()
	err := r.below.Close()
	r.plan.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropBlocks()
	return err
}

// ReadAt fills p from off. What lies in the remembered tail or was fetched ahead
// costs no request; what is announced but not there yet is waited for.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.reads.Add(1)
	r.bytesRead.Add(int64(len(p)))
	if off < 0 || off > r.Size() || int64(len(p)) > r.Size()-off || len(p) == 0 {
		// The Reader below knows whether it is open and where it ends.
		return r.below.ReadAt(ctx, p, off)
	}
	missing := r.fromTail(p, off)
	if missing > 0 && off+missing == r.Size() {
		if err := r.fetchTail(ctx, p, off); err != nil {
			return err
		}
		return ctx.Err()
	}
	for at := int64(0); at < missing; {
		n, err := r.piece(ctx, p[at:missing], off+at)
		if err != nil {
			return err
		}
		at += n
	}
	r.remember(p, off)
	return ctx.Err()
}

// fromTail copies what the remembered tail has of p, and returns how many bytes
// in front of it are missing.
func (r *Reader) fromTail(p []byte, off int64) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	begin, end := r.Size()-int64(len(r.tail)), off+int64(len(p))
	if len(r.tail) == 0 || end <= begin {
		return int64(len(p))
	}
	missing := max(begin-off, 0)
	copy(p[missing:], r.tail[off+missing-begin:])
	return missing
}

// fetchTail reads to the end of the file, and somewhat more than was asked for
// where that may save a request.
func (r *Reader) fetchTail(ctx context.Context, p []byte, off int64) error {
	size := r.Size()
	r.mu.RLock()
	wanted := min(size/tailShare, maxTailRead, r.maxTail)
	r.mu.RUnlock()
	if r.scheduler == nil || int64(len(p)) >= wanted || r.planned(off) {
		for at := int64(0); at < int64(len(p)); {
			n, err := r.piece(ctx, p[at:], off+at)
			if err != nil {
				return err
			}
			at += n
		}
		r.remember(p, off)
		return nil
	}
	longer := make([]byte, wanted)
	if _, err := r.fetch(ctx, longer, Range{size - wanted, wanted}, nil, nil); err != nil {
		return err
	}
	copy(p, longer[off-(size-wanted):])
	r.remember(longer, size-wanted)
	return nil
}

// remember keeps a copy of p if it is a longer tail than the one that is known.
func (r *Reader) remember(p []byte, off int64) {
	if len(p) == 0 || off+int64(len(p)) != r.Size() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(len(p)) <= r.maxTail && len(p) > len(r.tail) {
		r.tail = append([]byte(nil), p...)
	}
}

// fetch fills p, the bytes at, from disk or from below. If wants are given and the
// disk has all of them, only they are filled, and partial is true. If filled is
// given, it may be told on the way how many bytes of p are there.
func (r *Reader) fetch(ctx context.Context, p []byte, at Range, wants []Range, filled func(n int)) (partial bool, err error) {
	if r.cached != (cacheKey{}) {
		hit, err := r.fromDisk(ctx, p, at, wants)
		if hit || err != nil {
			return wants != nil, err
		}
	}
	r.requests.Add(1)
	r.bytesFetched.Add(at.Len)
	began := time.Now()
	if below, ok := r.below.(streamer); ok && filled != nil {
		err = below.StreamAt(ctx, p, at.Off, filled)
	} else {
		err = r.below.ReadAt(ctx, p, at.Off)
	}
	if err != nil {
		return false, err
	}
	if r.scheduler != nil {
		r.scheduler.observe(at.Len, time.Since(began))
	}
	if r.cached != (cacheKey{}) {
		r.scheduler.disk.put(r.cached, at.Off, p)
	}
	return false, nil
}

// fromDisk serves from the disk cache, after the origin has confirmed the
// caller's right to the content.
func (r *Reader) fromDisk(ctx context.Context, p []byte, at Range, wants []Range) (hit bool, err error) {
	if wants == nil {
		wants = []Range{at}
	}
	disk, bytes := r.scheduler.disk, int64(0)
	for _, w := range wants {
		if !disk.get(r.cached, w.Off, p[w.Off-at.Off:][:w.Len]) {
			return false, nil
		}
		bytes += w.Len
	}
	select {
	case r.confirmed <- struct{}{}:
		defer func() { <-r.confirmed }()
	case <-ctx.Done():
		return false, source.AsError("read file", ctx.Err())
	}
	if err := r.confirm(ctx); err != nil {
		return false, err
	}
	r.bytesCached.Add(bytes)
	return true, nil
}

// Stats returns what was counted so far.
func (r *Reader) Stats() Stats {
	return Stats{
		Reads: r.reads.Load(), BytesRead: r.bytesRead.Load(),
		Requests: r.requests.Load(), BytesFetched: r.bytesFetched.Load(), BytesCached: r.bytesCached.Load(),
	}
}
