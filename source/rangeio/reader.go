package rangeio

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hubflight/hubflight/source"
)

// Large enough for the footers of files with hundreds of columns and row groups;
// readers of larger ones fetch them a second time.
const defaultMaxTail = 1 << 20

// Options bounds a Reader. The zero value means the defaults.
type Options struct {
	// MaxTail is how many bytes of the file's end are remembered at most; 1 MiB if
	// zero, negative for none.
	MaxTail int64
}

// Stats counts what a Reader did.
type Stats struct {
	// Reads and BytesRead are what was asked of the Reader.
	Reads, BytesRead int64
	// Requests and BytesFetched are what was asked of the Reader below.
	Requests, BytesFetched int64
}

// Reader is a source.Reader that remembers the file's tail. It is safe for
// concurrent use, as the Reader below is.
type Reader struct {
	below   source.Reader
	maxTail int64

	mu   sync.RWMutex
	tail []byte // the last bytes of the file; never written to once set

	reads, bytesRead, requests, bytesFetched atomic.Int64
}

var _ source.Reader = (*Reader)(nil)

// New makes a Reader over r, which it owns: Close closes both.
func New(r source.Reader, o Options) *Reader {
	if o.MaxTail == 0 {
		o.MaxTail = defaultMaxTail
	}
	return &Reader{below: r, maxTail: max(o.MaxTail, 0)}
}

// Size is the length in bytes.
func (r *Reader) Size() int64 { return r.below.Size() }

// Close forgets the tail and closes the Reader below.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.tail, r.maxTail = nil, 0
	r.mu.Unlock()
	return r.below.Close()
}

// ReadAt fills p from off. What lies in the remembered tail costs no request;
// only what lies in front of it is fetched.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.reads.Add(1)
	r.bytesRead.Add(int64(len(p)))
	missing := int64(len(p))
	r.mu.RLock()
	tail := r.tail
	r.mu.RUnlock()
	begin := r.Size() - int64(len(tail))
	if len(tail) > 0 && off >= 0 && off+int64(len(p)) > begin && off+int64(len(p)) <= r.Size() {
		missing = max(begin-off, 0)
		copy(p[missing:], tail[off+missing-begin:])
	}
	// A read of nothing goes below too: the Reader below knows whether it is open
	// and where it ends.
	if missing > 0 || len(p) == 0 {
		if err := r.fetch(ctx, p[:missing], off); err != nil {
			return err
		}
	}
	r.remember(p, off)
	return ctx.Err()
}

func (r *Reader) fetch(ctx context.Context, p []byte, off int64) error {
	if len(p) > 0 {
		r.requests.Add(1)
		r.bytesFetched.Add(int64(len(p)))
	}
	return r.below.ReadAt(ctx, p, off)
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

// Stats returns what was counted so far.
func (r *Reader) Stats() Stats {
	return Stats{
		Reads: r.reads.Load(), BytesRead: r.bytesRead.Load(),
		Requests: r.requests.Load(), BytesFetched: r.bytesFetched.Load(),
	}
}
