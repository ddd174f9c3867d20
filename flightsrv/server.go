package flightsrv

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/hubflight/hubflight/flightsrv/internal/frame"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/writer"
)

// Options is what a Server is made of; cmd wires it.
type Options struct {
	Planner *dataset.Planner
	Writer  *writer.Writer
	// Locate splits the path of a local Ref into the dataset's folder and what
	// lies below it, and refuses what is outside the roots. nil: no local
	// datasets.
	Locate func(source.Ref) (source.Ref, error)
	Auth   Auth
	Limits Limits
	// Version is the program's version, for the version action.
	Version string
	// HubEndpoint is the Hub this server reads, for the version action and for
	// clients that name one.
	HubEndpoint string
	// Advertise is put into every endpoint as its locations.
	Advertise []string
	// TLS encrypts the TCP listeners; nil is plain text. Unix sockets stay plain.
	TLS *tls.Config
	// Logger gets one line per RPC; nil discards.
	Logger *slog.Logger
}

// Server is the Flight service on a gRPC server. Make it with New, give it
// listeners with Serve, end it with Drain.
type Server struct {
	flight.BaseFlightServer

	planner   *dataset.Planner
	writer    *writer.Writer
	locate    func(source.Ref) (source.Ref, error)
	auth      Auth
	limits    Limits
	version   string
	endpoint  string
	advertise []*flight.Location
	log       *slog.Logger

	gate        *gate
	memory      budget
	streams     *streams
	calls       calls
	grpc        *grpc.Server
	health      *health.Server
	watching    context.Context //nolint:containedctx // ends with the health checks that go on until somebody ends them
	endWatching context.CancelFunc
}

// New makes a Server; it listens nowhere yet.
func New(o Options) *Server {
	limits := o.Limits.withDefaults()
	s := &Server{
		planner: o.Planner, writer: o.Writer, locate: o.Locate, auth: o.Auth, limits: limits,
		version: o.Version, endpoint: o.HubEndpoint, log: o.Logger,
		gate: newGate(limits.DecodeSlots), memory: newBudget(limits.ScanMemory), streams: newStreams(limits.MaxStreams), calls: calls{began: time.Now()},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, uri := range o.Advertise {
		s.advertise = append(s.advertise, &flight.Location{Uri: uri})
	}
	s.grpc = grpc.NewServer(
		grpc.Creds(newTransport(o.TLS)),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(limits.MaxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxSendMsgSize(1<<30), // one row may be large; clients bound what they take
		grpc.ForceServerCodecV2(frame.NewCodec()),
		experimental.BufferPool(new(frame.Pool)),
		// Fewer, larger writes: 512 KiB against the default 32 KiB. Only connections
		// with something to write hold such a buffer.
		grpc.WriteBufferSize(512<<10),
		grpc.ReadBufferSize(128<<10),
		// A little above our own bound, so that one stream too many is answered
		// busy instead of waiting inside the client's transport.
		grpc.MaxConcurrentStreams(uint32(min(limits.MaxStreams, 1<<20))+64),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// The default of five minutes ends C++ and Java clients that ping more
		// often with ENHANCE_YOUR_CALM.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	flight.RegisterFlightServiceServer(s.grpc, s)
	s.health = health.NewServer()
	s.watching, s.endWatching = context.WithCancel(context.Background())
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	return s
}

// Serve accepts connections on every listener until Drain. It returns the first
// listener's failure, or nil after a Drain.
func (s *Server) Serve(listeners ...net.Listener) error {
	var tidying sync.WaitGroup
	served := make(chan struct{})
	tidying.Go(func() { s.streams.tidy(served) })
	defer tidying.Wait()
	defer close(served)
	errs := make(chan error, len(listeners))
	for _, lis := range listeners {
		go func() { errs <- guard(func() error { return s.grpc.Serve(roomy{lis}) }) }()
	}
	var first error
	for range listeners {
		// A drain may come before grpc has taken the listener: that is an end like
		// any other.
		if err := <-errs; err != nil && first == nil && !errors.Is(err, grpc.ErrServerStopped) {
			first = err
			s.grpc.Stop() // one lost listener ends them all: half a server helps nobody
		}
	}
	return first
}

// Idle reports for how long nobody has called: 0 while a call runs. Health checks
// and reflection do not count.
func (s *Server) Idle() time.Duration { return s.calls.idle() }

// lastWord is how long those who watch the server's health have to hear of its end.
const lastWord = 100 * time.Millisecond

// Drain stops accepting, lets running calls finish within grace and then ends
// them. GracefulStop alone waits for ever on a client that reads nothing, or that
// watches the server's health.
func (s *Server) Drain(grace time.Duration) {
	s.health.Shutdown()
	defer time.AfterFunc(lastWord, s.endWatching).Stop()
	finished := make(chan struct{})
	go func() { defer close(finished); s.grpc.GracefulStop() }()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-finished:
	case <-timer.C:
		s.grpc.Stop()
		<-finished
	}
}

// Handshake is not needed: every call carries its own credential. The default
// implementation would answer OK to anything.
func (s *Server) Handshake(flight.FlightService_HandshakeServer) error {
	return source.Errorf(source.KindUnsupported, "Handshake", "this server has no handshake: every call carries its own credential").
		WithHint(`send the token with every call, as the header "authorization: Bearer …"`)
}

// PollFlightInfo is not offered: plans are made within one call.
func (s *Server) PollFlightInfo(context.Context, *flight.FlightDescriptor) (*flight.PollInfo, error) {
	return nil, unimplemented("PollFlightInfo")
}

// DoExchange is not offered: reading is DoGet and writing is DoPut.
func (s *Server) DoExchange(flight.FlightService_DoExchangeServer) error {
	return unimplemented("DoExchange")
}

// transport is TLS on TCP and plain text on unix sockets, which the file system
// protects.
type transport struct {
	credentials.TransportCredentials
	plain credentials.TransportCredentials
}

func newTransport(conf *tls.Config) credentials.TransportCredentials {
	plain := insecure.NewCredentials()
	if conf == nil {
		return plain
	}
	return &transport{TransportCredentials: credentials.NewTLS(conf), plain: plain}
}

// ServerHandshake implements credentials.TransportCredentials.
func (t *transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.LocalAddr().Network() == "unix" {
		return t.plain.ServerHandshake(conn)
	}
	return t.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{TransportCredentials: t.TransportCredentials.Clone(), plain: t.plain.Clone()}
}
