package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// errPrivate: a link leads where only a link from a private endpoint may lead.
var errPrivate = errors.New("the address is inside a private network")

// Ranges that no link may lead to, whatever the endpoint: link-local (cloud
// metadata lives there), multicast and reserved space.
var neverDialled = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	// Forms that hold an IPv4 address inside: 6to4, NAT64, Teredo, compatible.
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"),
}

// Ranges that links may lead to only if the endpoint is in such a range too.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),
}

func checkAddr(ip netip.Addr, allowPrivate bool) error {
	ip = ip.Unmap().WithZone("")
	for _, p := range neverDialled {
		if p.Contains(ip) {
			return fmt.Errorf("the address is link-local, reserved or embeds another")
		}
	}
	if allowPrivate {
		return nil
	}
	for _, p := range privateRanges {
		if p.Contains(ip) {
			return errPrivate
		}
	}
	// The rest of ::/96 holds IPv4 addresses too ("compatible", long obsolete).
	if ip.Is6() && netip.MustParsePrefix("::/96").Contains(ip) {
		return errPrivate
	}
	return nil
}

// guardedDialer connects to what the operator configured as it is, and to
// everything else only after looking at the address that the name resolved to:
// at that point there is no second look-up that could answer differently.
type guardedDialer struct {
	trusted      map[string]bool // host:port of endpoint, viewer and proxies
	allowPrivate bool
}

func (g guardedDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	if !g.trusted[strings.ToLower(address)] {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("the dialled address is not an IP address")
			}
			if err := checkAddr(ap.Addr(), g.allowPrivate); err != nil {
				return &refusedAddressError{err}
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// refusedAddressError marks a connection that policy forbade: not worth a retry.
type refusedAddressError struct{ err error }

func (r *refusedAddressError) Error() string { return r.err.Error() }
func (r *refusedAddressError) Unwrap() error { return r.err }
