package flightsrv

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/hubflight/hubflight/source"
)

// calling is the context of a call with headers, from a peer; nil is one that nothing
// is known of.
func calling(t *testing.T, from *peer.Peer, headers ...string) context.Context {
	t.Helper()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(headers...))
	if from == nil {
		return ctx
	}
	return peer.NewContext(ctx, from)
}

func tcp(address string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(address), Port: 4711} }

func TestAHubTokenIsTakenOnlyWhereNobodyListens(t *testing.T) {
	for name, c := range map[string]struct {
		from  *peer.Peer
		taken bool
	}{
		"loopback":                     {&peer.Peer{Addr: tcp("127.0.0.1")}, true},
		"loopback of IPv6":             {&peer.Peer{Addr: tcp("::1")}, true},
		"a unix socket":                {&peer.Peer{Addr: &net.UnixAddr{Net: "unix"}}, true},
		"another machine, TLS":         {&peer.Peer{Addr: tcp("192.0.2.1"), AuthInfo: credentials.TLSInfo{}}, true},
		"another machine":              {&peer.Peer{Addr: tcp("192.0.2.1")}, false},
		"a machine of the same net":    {&peer.Peer{Addr: tcp("10.0.0.1")}, false},
		"who knows where":              {&peer.Peer{}, false},
		"a call without any transport": {nil, false},
	} {
		auth := Auth{Mode: AuthNone, AcceptClientToken: true}
		who, err := auth.principal(calling(t, c.from, headerHubToken, "hf_theirs"))
		switch {
		case !c.taken && source.KindOf(err) != source.KindDenied:
			t.Errorf("%s: got %v", name, err)
		case c.taken && (err != nil || who.HubToken.Reveal() != "hf_theirs"):
			t.Errorf("%s: the token is not used: %v", name, err)
		}
	}
}

// A token that is not taken is never left out in silence: the call would go on as somebody else's.
func TestATokenThatIsNotTakenIsRefused(t *testing.T) {
	own := source.NewHubToken("hf_ofTheServer")
	here := &peer.Peer{Addr: tcp("127.0.0.1")}
	for name, c := range map[string]struct {
		auth    Auth
		headers []string
		want    source.Kind
	}{
		"where none is accepted":  {Auth{Mode: AuthNone, OwnHubToken: own}, []string{headerHubToken, "hf_theirs"}, source.KindDenied},
		"two of them":             {Auth{Mode: AuthNone, OwnHubToken: own, AcceptClientToken: true}, []string{headerHubToken, "hf_a", headerHubToken, "hf_b"}, source.KindUnauthenticated},
		"an empty one":            {Auth{Mode: AuthNone, OwnHubToken: own, AcceptClientToken: true}, []string{headerHubToken, ""}, source.KindUnauthenticated},
		"two bearers":             {Auth{Mode: AuthHub}, []string{headerAuthorization, "Bearer hf_a", headerAuthorization, "Bearer hf_b"}, source.KindUnauthenticated},
		"a bearer of nothing":     {Auth{Mode: AuthHub}, []string{headerAuthorization, "Bearer  "}, source.KindUnauthenticated},
		"no bearer of either one": {Auth{Mode: AuthHub}, nil, source.KindUnauthenticated},
	} {
		if who, err := c.auth.principal(calling(t, here, c.headers...)); source.KindOf(err) != c.want {
			t.Errorf("%s: got %q, %v", name, who.Name, err)
		}
	}
}
