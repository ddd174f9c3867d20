package source

import (
	"context"
	"sync/atomic"
)

// Origin is a server that is not ours.
type Origin uint8

const (
	// OriginHub answers for repositories: commits, listings, where a file is.
	OriginHub Origin = iota
	// OriginCDN holds the bytes of files.
	OriginCDN
	// OriginViewer is the dataset viewer, which knows conversions.
	OriginViewer
	origins
)

// Requests counts what one call has asked of each origin: every request that left,
// repeated ones and redirects included. It is safe for concurrent use.
type Requests struct{ counts [origins]atomic.Int64 }

type requestsKey struct{}

// CountRequests gives a context in which requests are counted. What several calls
// share is counted for the one that asked.
func CountRequests(ctx context.Context) (context.Context, *Requests) {
	r := new(Requests)
	return context.WithValue(ctx, requestsKey{}, r), r
}

// CountRequest notes that a request leaves.
func CountRequest(ctx context.Context, to Origin) {
	if r, ok := ctx.Value(requestsKey{}).(*Requests); ok && to < origins {
		r.counts[to].Add(1)
	}
}

// To is how many requests went to an origin so far.
func (r *Requests) To(o Origin) int64 {
	if o >= origins {
		return 0
	}
	return r.counts[o].Load()
}
