package flightsrv

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"path"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

const (
	headerAuthorization = "authorization"
	headerHubToken      = "x-hubflight-hub-token"
)

// AuthMode says who may call: the setting auth.mode.
type AuthMode string

// The modes.
const (
	// AuthNone: anybody who reaches the listener, which is loopback or a unix
	// socket.
	AuthNone AuthMode = "none"
	// AuthToken: holders of a server token from the token file, with its rights.
	AuthToken AuthMode = "token"
	// AuthHub: the bearer is the caller's Hub token; the Hub decides.
	AuthHub AuthMode = "hub"
)

// A Principal is a caller: a name for logs and fairness, what it may do, and the
// Hub token that its calls use.
type Principal struct {
	Name     string
	Write    bool
	globs    []string // dataset names it may touch; nil means all
	HubToken source.HubToken
}

// MayTouch reports whether the principal's rights cover a dataset.
func (p Principal) MayTouch(dataset string) bool {
	if p.globs == nil {
		return true
	}
	for _, g := range p.globs {
		if ok, err := path.Match(g, dataset); ok && err == nil {
			return true
		}
	}
	return false
}

// serverToken is one line of the token file. Only the digest of the secret is
// kept, and it is a different type from source.HubToken.
type serverToken struct {
	digest    [sha256.Size]byte
	principal Principal
}

// Auth decides who calls. The zero value is AuthNone without a Hub token.
type Auth struct {
	Mode AuthMode
	// OwnHubToken is used for callers that bring no Hub token of their own
	// (modes none and token).
	OwnHubToken source.HubToken
	// AcceptClientToken allows the x-hubflight-hub-token header.
	AcceptClientToken bool
	// Anonymous lets callers without a Hub token in, in mode hub: they read what
	// everybody may. It is for servers that only their own user reaches.
	Anonymous bool

	tokens []serverToken
}

// ReadTokenFile reads the lines "principal sha256(token) read|write glob…" of
// auth.token_file; empty lines and lines that begin with # are skipped.
func (a *Auth) ReadTokenFile(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		bad := func(why string) error { return fmt.Errorf("auth.token_file: line %d: %s", n, why) }
		if len(fields) < 3 {
			return bad("want: principal sha256(token) read|write repository-glob…")
		}
		digest, err := hex.DecodeString(fields[1])
		if err != nil || len(digest) != sha256.Size {
			return bad("the second word is not the hex sha256 of a token")
		}
		if fields[2] != "read" && fields[2] != "write" {
			return bad("the third word is neither read nor write")
		}
		globs := fields[3:]
		for _, g := range globs {
			if _, err := path.Match(g, "ns/name"); err != nil {
				return bad("a repository glob is malformed")
			}
		}
		if len(globs) == 0 {
			globs = nil
		}
		a.tokens = append(a.tokens, serverToken{digest: [sha256.Size]byte(digest), principal: Principal{Name: fields[0], Write: fields[2] == "write", globs: globs}})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("auth.token_file: %w", err)
	}
	if len(a.tokens) == 0 {
		return fmt.Errorf("auth.token_file: holds no token")
	}
	return nil
}

// principal finds out who calls.
func (a *Auth) principal(ctx context.Context) (Principal, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	bearer, err := bearerOf(md)
	if err != nil {
		return Principal{}, err
	}
	hub, err := a.clientHubToken(ctx, md)
	if err != nil {
		return Principal{}, err
	}
	switch a.Mode {
	case AuthToken:
		return a.tokenPrincipal(bearer, hub)
	case AuthHub:
		return hubPrincipal(bearer, hub, a.Anonymous)
	default:
		if hub.IsZero() {
			hub = a.OwnHubToken
		}
		return Principal{Name: "anyone", Write: true, HubToken: hub}, nil
	}
}

func (a *Auth) tokenPrincipal(bearer string, hub source.HubToken) (Principal, error) {
	digest := sha256.Sum256([]byte(bearer))
	var found *Principal
	for i := range a.tokens {
		// Every token is compared, in constant time: the answer's timing tells
		// nothing about which one was near.
		if subtle.ConstantTimeCompare(digest[:], a.tokens[i].digest[:]) == 1 {
			found = &a.tokens[i].principal
		}
	}
	if bearer == "" || found == nil {
		return Principal{}, unauthenticated("this server wants a token of its own").
			WithHint("set the option server_token or the environment variable HUBFLIGHT_SERVER_TOKEN")
	}
	p := *found
	if p.HubToken = hub; hub.IsZero() {
		p.HubToken = a.OwnHubToken
	}
	return p, nil
}

func hubPrincipal(bearer string, hub source.HubToken, anonymous bool) (Principal, error) {
	if bearer != "" {
		hub = source.NewHubToken(bearer)
	}
	if hub.IsZero() && anonymous {
		return Principal{Name: "anyone", Write: true}, nil
	}
	if hub.IsZero() {
		return Principal{}, unauthenticated("this server wants the caller's Hub token").
			WithHint("set the option token or the environment variable HF_TOKEN")
	}
	digest := sha256.Sum256([]byte(hub.Reveal()))
	return Principal{Name: "hub-" + hex.EncodeToString(digest[:4]), Write: true, HubToken: hub}, nil
}

func bearerOf(md metadata.MD) (string, error) {
	values := md.Get(headerAuthorization)
	if len(values) == 0 {
		return "", nil
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "bearer") || strings.TrimSpace(token) == "" {
		return "", unauthenticated("the authorization header is not one token").
			WithHint(`send it as "authorization: Bearer …"; names and passwords are not known here`)
	}
	return strings.TrimSpace(token), nil
}

// clientHubToken reads the Hub token a caller sends beside its own credential.
// It is accepted only where it cannot be overheard, and never ignored.
func (a *Auth) clientHubToken(ctx context.Context, md metadata.MD) (source.HubToken, error) {
	values := md.Get(headerHubToken)
	if len(values) == 0 {
		return source.HubToken{}, nil
	}
	if !a.AcceptClientToken {
		return source.HubToken{}, source.Errorf(source.KindDenied, "authenticate", "this server does not accept a caller's Hub token").
			WithHint("leave out the token option, or ask the operator for hub.accept_client_token")
	}
	if !privateTransport(ctx) {
		return source.HubToken{}, source.Errorf(source.KindDenied, "authenticate", "a Hub token was sent over an unencrypted connection from another machine").
			WithHint("use grpc+tls:// or a connection on this machine; consider the token exposed")
	}
	token := source.NewHubToken(values[0])
	if len(values) > 1 || token.IsZero() {
		return source.HubToken{}, unauthenticated("the %s header is not one token", headerHubToken)
	}
	return token, nil
}

// privateTransport reports whether the call came over TLS, a unix socket or
// loopback.
func privateTransport(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	if _, tls := p.AuthInfo.(credentials.TLSInfo); tls {
		return true
	}
	switch addr := p.Addr.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	}
	return p.Addr != nil && p.Addr.Network() == "bufconn"
}

func unauthenticated(format string, args ...any) *source.Error {
	return source.Errorf(source.KindUnauthenticated, "authenticate", format, args...)
}

type principalKey struct{}

// withPrincipal also tells the writer, to which a job is its principal's own.
func withPrincipal(ctx context.Context, p Principal) context.Context {
	return writer.OnBehalfOf(context.WithValue(ctx, principalKey{}, p), p.Name)
}

func principalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// authorize checks that the caller may read, or write, a dataset.
func authorize(ctx context.Context, op string, ref source.Ref, write bool) error {
	p := principalOf(ctx)
	if !p.MayTouch(ref.Name()) {
		return source.Errorf(source.KindDenied, op, "%q may not touch %s on this server", p.Name, ref.Name())
	}
	if write && !p.Write {
		return source.Errorf(source.KindDenied, op, "%q may only read on this server", p.Name)
	}
	return nil
}
