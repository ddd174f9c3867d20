package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hubflight/hubflight/source"
)

const (
	maxRedirects = 10
	maxJSON      = 16 << 20 // one answer, one page of a listing
)

// request is one request in the words of HTTP and, in call, in ours.
type request struct {
	call
	method string
	url    *url.URL
	header http.Header
	// body opens the body, at its start; nil for none.
	body   func() (io.ReadCloser, error)
	length int64
}

func bytesBody(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

// send sends one request through the layers, without following anything. The
// caller closes the answer's body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	out := &http.Request{
		Method: r.method, URL: r.url, Host: r.url.Host, Header: http.Header{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.header != nil {
		out.Header = r.header.Clone()
	}
	if r.body != nil {
		body, err := r.body()
		if err != nil {
			return nil, err
		}
		out.Body, out.GetBody, out.ContentLength = body, r.body, r.length
	}
	return c.transport.RoundTrip(out.WithContext(withCall(ctx, r.call)))
}

// follow sends a request and follows redirects by hand. stop, if not nil, sees
// each redirect and its target before it is followed, and may keep it as the
// answer. The URL returned is the one that answered.
//
// Redirects keep the method. A request with a body is only followed where the
// status says that its body goes along.
func (c *Client) follow(ctx context.Context, r request, stop func(*http.Response, *url.URL) bool) (*http.Response, *url.URL, error) {
	for hop := 0; ; hop++ {
		resp, err := c.send(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		location := resp.Header.Get("Location")
		if !isRedirect(resp.StatusCode) || location == "" {
			return resp, r.url, nil
		}
		target, err := c.endpoint.link(r.url, location)
		switch {
		case err != nil:
			err = fmt.Errorf("redirect refused: %w", err)
		case stop != nil && stop(resp, target):
			return resp, r.url, nil
		case hop == maxRedirects:
			err = fmt.Errorf("redirect refused: more than %d in a row", maxRedirects)
		case r.body != nil && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect:
			err = fmt.Errorf("redirect refused: status %d would lose the request's body", resp.StatusCode)
		}
		discard(resp)
		if err != nil {
			return nil, nil, &refusedAddressError{err}
		}
		r.url = target
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// apiCall is one call of the Hub's JSON interface.
type apiCall struct {
	op          string // for errors: "list files"
	revision    string // for errors, may be empty
	path        string // for errors, may be empty
	method      string
	url         *url.URL
	contentType string
	accept      string
	body        []byte // nil for none
	call
}

// do makes one call, with the token, and decodes the answer into out (nil: the
// answer's body is not looked at). Only redirects within the Hub are followed:
// renamed repositories use them.
func (d *Dataset) do(ctx context.Context, a apiCall, out any) (http.Header, error) {
	a.token = d.token
	a.buffer = maxJSON
	r := request{call: a.call, method: a.method, url: a.url, header: http.Header{}}
	if a.body != nil {
		r.body, r.length = bytesBody(a.body), int64(len(a.body))
		r.header.Set("Content-Type", a.contentType)
	}
	if a.accept != "" {
		r.header.Set("Accept", a.accept)
	}
	resp, _, err := d.client.follow(ctx, r, func(_ *http.Response, to *url.URL) bool {
		return !d.client.endpoint.isOwn(to)
	})
	if err != nil {
		return nil, d.broken(ctx, a.op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return nil, d.refused(a.op, a.revision, a.path, resp)
	}
	if out == nil {
		return resp.Header, nil
	}
	raw, err := io.ReadAll(resp.Body) // bounded: the transport buffered it
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return nil, source.Errorf(source.KindUpstream, a.op, "the Hub's answer is not the JSON expected: %w", err).WithFile(d.repo, a.path)
	}
	return resp.Header, nil
}

// broken makes the error of a request that got no answer.
func (d *Dataset) broken(ctx context.Context, op string, err error) *source.Error {
	e := &source.Error{Op: op, Ref: d.repo, Err: err}
	var refused *refusedAddressError
	var heldBack *heldBackError
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		e.Kind, e.Err = source.KindOf(ctx.Err()), ctx.Err()
	case errors.As(err, &heldBack):
		e.Kind, e.RetryAfter = source.KindBusy, heldBack.wait
		e.Hint = "the Hub limits this token's requests"
	case errors.Is(err, errOffline):
		e.Kind, e.Hint = source.KindUnsupported, "this server was told to stay offline (HF_HUB_OFFLINE or hub.offline); local folders can be read, the Hub's datasets need it to be asked who may read them"
	case errors.Is(err, errTokenShape):
		e.Kind = source.KindUnauthenticated
	case errors.Is(err, errTooLong):
		e.Kind = source.KindLimit
	// What follows is not upstream, which clients take for something that passes.
	case errors.As(err, &certificate):
		e.Kind, e.Msg = source.KindUnsupported, "the server's certificate is not accepted: "+certificate.Err.Error()
		e.Hint = "check the address (hub.endpoint, or HF_ENDPOINT); an authority of one's own belongs to this system's certificates, which on Linux SSL_CERT_FILE can name"
	case errors.As(err, &refused):
		e.Kind, e.Hint = source.KindUnsupported, "the Hub or its storage sent an address that this server does not follow"
	default:
		e.Kind, e.Msg = source.KindUpstream, "no usable answer: "+source.Clip(err.Error(), maxErrorText) // net/http repeats what it cannot read
	}
	return e
}
