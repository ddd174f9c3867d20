package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
)

// maxReceive is the largest message taken: one row may be large, and a plan of
// many files is one message.
const maxReceive = 256 << 20

// Options are a connection's credentials.
type Options struct {
	// ServerToken is the server's own bearer token, if it wants one.
	ServerToken string
	// HubToken is sent beside it; the server uses it for the Hub only.
	HubToken source.HubToken
	// TLS is used with grpc+tls addresses; nil means the system's roots.
	TLS *tls.Config
}

// Client is a connection to one server. It is safe for concurrent use. Of a context's
// outgoing gRPC metadata x-request-id and traceparent go along, for the server's log.
type Client struct {
	conn    *grpc.ClientConn
	flight  flight.FlightServiceClient
	headers metadata.MD
	spent   *spent

	aliveEvery time.Duration // see the constant
}

// Dial prepares a connection to grpc://host:port, grpc+tls://host:port or
// grpc+unix:///path; the first call connects. A Hub token is refused on an
// unencrypted connection to another machine.
func Dial(_ context.Context, server string, o Options) (*Client, error) {
	target, creds, private, err := parseServer(server, o.TLS)
	if err != nil {
		return nil, err
	}
	headers := metadata.MD{}
	if token := strings.TrimSpace(o.ServerToken); token != "" { // one from a file ends in a line break
		headers.Set("authorization", "Bearer "+token)
	}
	if !o.HubToken.IsZero() {
		if !private {
			return nil, source.Errorf(source.KindInvalid, "dial", "a Hub token would travel unencrypted to %s", target).WithHint("use grpc+tls://")
		}
		headers.Set("x-hubflight-hub-token", o.HubToken.Reveal())
	}
	spent := new(spent)
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithStatsHandler(spent),
		grpc.WithReadBufferSize(1<<20), // fewer, larger reads of megabyte batches
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive), grpc.MaxCallSendMsgSize(maxReceive)),
		// DoAction and DoPut must not be repeated behind the caller's back.
		grpc.WithDisableRetry())
	if err != nil {
		return nil, source.Errorf(source.KindInvalid, "dial", "%w", err)
	}
	return &Client{conn: conn, flight: flight.NewFlightServiceClient(conn), headers: headers, spent: spent, aliveEvery: aliveEvery}, nil
}

// Private reports whether Dial takes a Hub token for a server: nobody between can
// listen, because it speaks TLS or runs on this machine.
func Private(server string) (bool, error) {
	_, _, private, err := parseServer(server, nil)
	return private, err
}

// Close ends the connection and everything that runs on it.
func (c *Client) Close() error { return c.conn.Close() }

// parseServer turns a location into a grpc target; private says that nobody
// between can listen.
func parseServer(server string, conf *tls.Config) (target string, creds credentials.TransportCredentials, private bool, err error) {
	u, err := url.Parse(server)
	if !strings.ContainsAny(server, "@?#") && !strings.Contains(server, "://") {
		return badServer("%q has no scheme", server)
	}
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return badServer("the server address has parts that it cannot have") // which may be secrets: not shown
	}
	switch u.Scheme {
	case "grpc", "grpc+tcp", "grpc+tls":
		// Without a port grpc would take 443, without a host this machine.
		if u.Hostname() == "" || u.Port() == "" || u.Path != "" {
			return badServer("%q does not name a host and a port", server)
		}
	case "grpc+unix":
		if u.Host != "" || u.Path == "" {
			return badServer("%q does not name an absolute path", server)
		}
		return "unix://" + u.Path, insecure.NewCredentials(), true, nil
	default:
		return badServer("%q is not a server address", server)
	}
	if u.Scheme != "grpc+tls" {
		ip := net.ParseIP(u.Hostname())
		return "dns:///" + u.Host, insecure.NewCredentials(), u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback()), nil
	}
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return "dns:///" + u.Host, credentials.NewTLS(conf), true, nil
}

func badServer(format string, args ...any) (string, credentials.TransportCredentials, bool, error) {
	return "", nil, false, source.Errorf(source.KindInvalid, "dial", format, args...).
		WithHint("use grpc://host:port, grpc+tls://host:port or grpc+unix:///path")
}

// outgoing is a call's context with the credentials and extra headers, and of the
// caller's own what the server's log takes over. The rest may be meant for others.
func (c *Client) outgoing(ctx context.Context, extra ...string) context.Context {
	headers := metadata.Join(c.headers, metadata.Pairs(extra...))
	callers, _ := metadata.FromOutgoingContext(ctx)
	for _, name := range []string{"x-request-id", "traceparent"} {
		headers.Append(name, callers.Get(name)...)
	}
	return metadata.NewOutgoingContext(ctx, headers)
}

// Action runs one action of wire.md, section 9. Every item and progress is given to
// each as raw JSON, which may be nil; what each returns ends the call and is returned
// as it is. The result is decoded into result, a pointer. A stream without a result is
// an error.
func (c *Client) Action(ctx context.Context, name string, body, result any, each func(json.RawMessage) error) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return source.Errorf(source.KindInvalid, name, "%w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoAction(c.outgoing(ctx), &flight.Action{Type: name, Body: raw})
	if err != nil {
		return fromStatus(name, err)
	}
	return drainResults(name, func() ([]byte, error) {
		r, err := stream.Recv()
		return r.GetBody(), err
	}, result, each)
}

// drainResults reads framed results until the one of type "result".
func drainResults(op string, next func() ([]byte, error), result any, each func(json.RawMessage) error) error {
	complete := false
	for {
		body, err := next()
		if errors.Is(err, io.EOF) {
			if complete {
				return nil
			}
			if op == "commit" || op == "write" {
				return source.Errorf(source.KindUnknownOutcome, op, "the server's answer ended without a result").
					WithHint("ask again with the same request")
			}
			return source.Errorf(source.KindInternal, op, "the server's answer ended without a result")
		}
		if err != nil {
			return fromStatus(op, err)
		}
		var frame struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(body, &frame); err != nil {
			return source.Errorf(source.KindInternal, op, "the server's answer is not JSON: %w", err)
		}
		switch {
		case frame.Type == "result":
			complete = true
			if err := json.Unmarshal(body, result); err != nil {
				return source.Errorf(source.KindInternal, op, "the server's result cannot be read: %w", err)
			}
		case each != nil:
			if err := each(body); err != nil {
				return err
			}
		}
	}
}

// items decodes every item of an action's answer for use.
func items[T any](op string, use func(T) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var item T
		if err := json.Unmarshal(raw, &item); err != nil {
			return source.Errorf(source.KindInternal, op, "an item of the server's answer cannot be read: %w", err)
		}
		return use(item)
	}
}

// Version is what the server says about itself.
type Version = wire.VersionResult

// Version asks the server for its version, Hub and limits.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	return v, c.Action(ctx, "version", struct{}{}, &v, nil)
}

// Split is one config and split of a dataset.
type Split = wire.SplitItem

// Splits lists the configs and splits of a dataset, and the commit they are of.
// revision "" is the default branch. Errors: KindNotFound (no such dataset or
// revision), KindDenied, and those of reaching the server and the Hub.
func (c *Client) Splits(ctx context.Context, dataset, revision string) (sha string, splits []Split, err error) {
	var result struct {
		Sha string `json:"sha"`
	}
	err = c.Action(ctx, "splits", wire.ListCriteria{Dataset: dataset, Revision: revision}, &result, items("splits", func(s Split) error {
		splits = append(splits, s)
		return nil
	}))
	return result.Sha, splits, err
}
