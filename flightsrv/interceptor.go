package flightsrv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
)

const (
	headerRequestID = "x-request-id"
	// headerArrowStatus must be among the trailers for pyarrow to fill
	// extra_info with the status details; its value does not matter there.
	headerArrowStatus = "x-arrow-status"
	// headerRequests is the trailer that says what a call has cost at each origin.
	headerRequests = wire.HeaderRequests
)

var (
	validRequestID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)
	// The W3C form; its second part is the trace id.
	validTraceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// unary and stream are the two faces of the one interceptor.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	err = s.intercept(ctx, info.FullMethod, func(md metadata.MD) { _ = grpc.SetHeader(ctx, md) }, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) },
		func(ctx context.Context) (err error) { resp, err = next(ctx, req); return err })
	return resp, err
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx := ss.Context()
	if exempt(info.FullMethod) { // goes on until somebody ends it, as a drain does
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(s.watching, end)()
	}
	return s.intercept(ctx, info.FullMethod, func(md metadata.MD) { _ = ss.SetHeader(md) }, ss.SetTrailer,
		func(ctx context.Context) error { return next(srv, &contextStream{ServerStream: ss, ctx: ctx}) })
}

// contextStream is a ServerStream whose context carries the principal.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the interface asks for it: Context()
}

func (c *contextStream) Context() context.Context { return c.ctx }

// intercept surrounds one RPC. From the outside in: request id (so that every
// answer, also a refused one, has it), the log line and the status (so that they
// see everything below), recover (so that a bug costs one call), who calls.
func (s *Server) intercept(ctx context.Context, method string, setHeader, setTrailer func(metadata.MD), call func(context.Context) error) error {
	id := requestID(ctx)
	setHeader(metadata.Pairs(headerRequestID, id))
	op := operation(method)
	start := time.Now()

	var principal string
	err := guard(func() error {
		if exempt(method) {
			return call(ctx)
		}
		s.calls.enter()
		defer s.calls.leave()
		p, err := s.auth.principal(ctx)
		if err != nil {
			return err
		}
		principal = p.Name
		ctx, requests := source.CountRequests(withPrincipal(ctx, p))
		defer func() { setTrailer(metadata.Pairs(headerRequests, wire.RequestsOf(requests).String())) }()
		return call(ctx)
	})
	code := codes.OK
	if err != nil {
		st := toStatus(op, err, id)
		code = st.Code()
		setTrailer(metadata.Pairs(headerArrowStatus, "1"))
		s.logRPC(ctx, op, id, principal, start, code, err)
		return st.Err()
	}
	s.logRPC(ctx, op, id, principal, start, code, nil)
	return nil
}

// exempt reports whether a method is served to anybody: health checks and
// reflection tell nothing about data.
func exempt(method string) bool { return strings.HasPrefix(method, "/grpc.") }

// operation is the RPC's name in errors and logs: "/arrow.flight.protocol.
// FlightService/DoGet" → "DoGet".
func operation(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

func (s *Server) logRPC(ctx context.Context, op, id, principal string, start time.Time, code codes.Code, err error) {
	attrs := []slog.Attr{
		slog.String("rpc", op), slog.String("request", id), slog.String("principal", principal),
		slog.String("code", code.String()), slog.Duration("took", time.Since(start)),
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("traceparent")) == 1 {
		if m := validTraceparent.FindStringSubmatch(md.Get("traceparent")[0]); m != nil {
			attrs = append(attrs, slog.String("trace", m[1]))
		}
	}
	level := slog.LevelInfo
	if err != nil {
		attrs = append(attrs, slog.String("error", source.Clip(source.Redact(err.Error()), maxLogged)))
		if code == codes.Internal || code == codes.DataLoss {
			level = slog.LevelError
		}
	}
	s.log.LogAttrs(ctx, level, "rpc", attrs...)
}

// maxLogged is the most of an error that one line of the log has: a stack fits, and what
// a caller may send does not fill a disk.
const maxLogged = 16 << 10

// guard runs f and turns a panic into an internal error; the stack goes to the
// log through the error's text, never to the client.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = source.Errorf(source.KindInternal, "handle", "panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// requestID takes over the caller's id when it is a harmless word, and makes one
// otherwise.
func requestID(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(headerRequestID); len(v) == 1 && validRequestID.MatchString(v[0]) {
		return v[0]
	}
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails, by its documentation
	return hex.EncodeToString(raw[:])
}

// unimplemented is the answer to RPCs of the protocol that this server does not
// offer.
func unimplemented(what string) error {
	return source.Errorf(source.KindUnsupported, what, "this server does not offer %s", what)
}
