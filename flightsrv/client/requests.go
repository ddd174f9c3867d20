package client

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/stats"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
)

// Requests are how many requests a server has sent to each origin for its client:
// to the Hub, to the storage that the Hub refers to (the CDN), to the dataset
// viewer. Repeated requests and redirects count.
type Requests = wire.Requests

// Requests sums up what the calls of this client that have ended have cost at the
// Hub and beside it, as far as the server says so.
func (c *Client) Requests() Requests {
	return Requests{Hub: c.spent.hub.Load(), CDN: c.spent.cdn.Load(), Viewer: c.spent.viewer.Load()}
}

// spent adds up the trailers of all calls; it is a stats.Handler, because that
// hears of the trailers of streams that nobody reads to their end, too. It costs
// the messages nothing: grpc puts them together for binary logs and traces only.
type spent struct{ hub, cdn, viewer atomic.Int64 }

// HandleRPC implements stats.Handler.
func (s *spent) HandleRPC(_ context.Context, event stats.RPCStats) {
	end, ok := event.(*stats.InTrailer)
	if !ok {
		return
	}
	for _, text := range end.Trailer.Get(wire.HeaderRequests) {
		if r, ok := wire.ParseRequests(text); ok {
			s.hub.Add(r.Hub)
			s.cdn.Add(r.CDN)
			s.viewer.Add(r.Viewer)
		}
	}
}

// TagRPC implements stats.Handler.
func (s *spent) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (s *spent) HandleConn(context.Context, stats.ConnStats) {}

// TagConn implements stats.Handler.
func (s *spent) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
