package hub

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// The hosts under which the Hub names itself in its own answers. Behind another
// endpoint (a mirror, a stand-in) links to them mean that endpoint.
var selfNames = []string{"https://huggingface.co", "https://hub-ci.huggingface.co"}

// origin is what a token may be bound to: host names alone are not enough,
// because another port or another scheme is another server.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		switch o.scheme {
		case "https":
			o.port = "443"
		case "http":
			o.port = "80"
		case "socks5", "socks5h": // a proxy's
			o.port = "1080"
		}
	}
	return o
}

func (o origin) address() string { return net.JoinHostPort(o.host, o.port) }

// endpoint is the configured Hub: where it is, and what follows from that for
// addresses that come from the network.
type endpoint struct {
	base   *url.URL // without a slash at the end of its path
	origin origin
	viewer *url.URL // nil if there is none
	// allowPrivate: links may lead to loopback and private addresses.
	allowPrivate bool
}

func newEndpoint(o Options) (endpoint, error) {
	base, err := parseBase("endpoint", o.Endpoint)
	if err != nil {
		return endpoint{}, err
	}
	ep := endpoint{base: base, origin: originOf(base)}
	ep.allowPrivate = o.AllowPrivateCDN || isPrivateHost(ep.origin.host)
	if o.ViewerEndpoint != "" {
		if ep.viewer, err = parseBase("viewer endpoint", o.ViewerEndpoint); err != nil {
			return endpoint{}, err
		}
		if ep.origin.scheme == "https" && ep.viewer.Scheme != "https" {
			return endpoint{}, fmt.Errorf("viewer endpoint is plain http beside an https endpoint; the token would travel in the clear")
		}
	}
	return ep, nil
}

func parseBase(what, text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is not a URL", what) // url's error would repeat a password
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s must begin with http:// or https://", what)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s has no host", what)
	case u.User != nil:
		return nil, fmt.Errorf("%s holds a user or password", what)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%s holds a query or fragment", what)
	}
	return u, nil
}

// join builds {base}/{prefix}/{segments…}. The prefix is already escaped; every
// segment is escaped whole. Path and RawPath are set together: setting Path alone
// turns %2F into a slash.
func (e endpoint) join(prefix string, segments ...string) *url.URL {
	var b strings.Builder
	b.WriteString(e.base.EscapedPath())
	b.WriteByte('/')
	b.WriteString(prefix)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(escapeSegment(s))
	}
	return e.withPath(b.String())
}

// resolve builds the URL of a file's bytes: the revision is one segment, the
// path keeps its slashes.
func (e endpoint) resolve(repo, revision, path string) *url.URL {
	return e.file("resolve", repo, revision, path)
}

// file is resolve, or raw: the git blob instead of what an LFS pointer stands for.
func (e endpoint) file(route, repo, revision, path string) *url.URL {
	return e.withPath(e.base.EscapedPath() + "/datasets/" + escapeKeepingSlashes(repo) +
		"/" + route + "/" + escapeSegment(revision) + "/" + escapeKeepingSlashes(path))
}

func (e endpoint) withPath(escaped string) *url.URL {
	u := *e.base
	u.RawPath = escaped
	// What was escaped here unescapes: the error cannot happen.
	u.Path, _ = url.PathUnescape(escaped)
	return &u
}

// escapeSegment escapes everything but A-Z a-z 0-9 _ . - ~, as the Hub's own
// client does; url.PathEscape leaves more alone.
func escapeSegment(s string) string { return escape(s, false) }

func escapeKeepingSlashes(s string) string { return escape(s, true) }

func escape(s string, keepSlash bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '_', c == '.', c == '-', c == '~', keepSlash && c == '/':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// originOf says whose server u is on. A viewer below the Hub's own address is the
// Hub.
func (e endpoint) originOf(u *url.URL) source.Origin {
	switch {
	case e.isOwn(u):
		return source.OriginHub
	case e.maySign(u):
		return source.OriginViewer
	}
	return source.OriginCDN
}

// isOwn reports whether a token of the Hub may be sent to u.
func (e endpoint) isOwn(u *url.URL) bool { return originOf(u) == e.origin }

// maySign reports whether a request to u may carry the Hub token: the endpoint
// and the configured viewer, by scheme, host and port.
func (e endpoint) maySign(u *url.URL) bool {
	return e.isOwn(u) || e.viewer != nil && originOf(u) == originOf(e.viewer)
}

// rewrite turns a link that names the public Hub into one of this endpoint.
func (e endpoint) rewrite(link string) string {
	for _, name := range selfNames {
		rest, ok := strings.CutPrefix(link, name)
		if ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
			return e.base.String() + rest
		}
	}
	return link
}

// link parses an address that came from the network and refuses those that no
// Hub has reason to send: other schemes, credentials, plain http from https, and
// literal private addresses. (What a name resolves to is checked when dialling.)
func (e endpoint) link(from *url.URL, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the address is not a URL")
	}
	if from != nil {
		u = from.ResolveReference(u)
	}
	u.Fragment, u.RawFragment = "", ""
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is not followed", u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("the address has no host")
	case u.User != nil:
		return nil, fmt.Errorf("the address holds a user or password")
	case e.origin.scheme == "https" && u.Scheme != "https":
		return nil, fmt.Errorf("a step down from https to http is not followed")
	}
	if !e.isOwn(u) {
		if err := e.checkHost(u.Hostname()); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// checkHost refuses literal addresses that links may not lead to.
func (e endpoint) checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkAddr(ip, e.allowPrivate)
	}
	if isPrivateHost(host) && !e.allowPrivate {
		return errPrivate
	}
	return nil
}

func isPrivateHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && checkAddr(ip, false) != nil
}
