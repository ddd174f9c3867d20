package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/hubflight/hubflight/source"
)

// DefaultEndpoint is the address of the Hub itself.
const DefaultEndpoint = "https://huggingface.co"

const (
	defaultUserAgent   = "hubflight"
	defaultConnections = 32
	// Shorter than the Hub's own 60 s for an answer would give up on slow but
	// sound requests; bodies and range reads move long before.
	defaultStall = 20 * time.Second
)

// Options configures a Client. The zero value is the public Hub with defaults.
type Options struct {
	// Endpoint is the Hub's base URL, possibly with a path ("http://host/hf").
	Endpoint string
	// ViewerEndpoint is the dataset viewer's base URL; empty is the public viewer
	// for the public Hub and none for any other. It is the one further origin that
	// is given the Hub token.
	ViewerEndpoint string
	// UserAgent is sent with every request: "program/version".
	UserAgent string
	// Connections bounds the requests under way to the Hub and, separately, to
	// storage; 32 if zero.
	Connections int
	// Retry bounds the repetition of requests that may be repeated.
	Retry RetryOptions
	// StallTimeout is how long a request may make no progress; 20 s if zero.
	StallTimeout time.Duration
	// AnswerTimeout bounds how long an answer may take after the request is sent,
	// where a call allows more than StallTimeout; 0 leaves that to each call (a
	// commit: 150 s).
	AnswerTimeout time.Duration
	// AllowPrivateCDN lets redirects and upload links lead to loopback and
	// private addresses. It is implied when the endpoint is such an address.
	AllowPrivateCDN bool
	// Offline refuses every request, before anything is looked up or connected to.
	Offline bool
	// Logger gets one debug line per request, and the Hub's own warnings; nil is
	// silence.
	Logger *slog.Logger
}

// Client talks to one Hub. It is safe for concurrent use. Close gives back its
// idle connections.
type Client struct {
	endpoint  endpoint
	transport http.RoundTripper
	base      *http.Transport
	retry     RetryOptions
	confirmed *confirmations
	early     *earlyConnections
	storage   atomic.Pointer[url.URL] // the server, and no more, to which the Hub sent us last
	log       *slog.Logger
}

// New makes a client. It does no I/O; errors are KindInvalid and name the option.
func New(o Options) (*Client, error) {
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	if o.ViewerEndpoint == "" {
		o.ViewerEndpoint = viewerFor(o.Endpoint)
	}
	if o.UserAgent == "" {
		o.UserAgent = defaultUserAgent
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = defaultStall
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Retry = o.Retry.withDefaults()
	if err := o.validate(); err != nil {
		return nil, &source.Error{Op: "hub options", Kind: source.KindInvalid, Err: err}
	}
	ep, err := newEndpoint(o)
	if err != nil {
		return nil, &source.Error{Op: "hub options", Kind: source.KindInvalid, Err: err}
	}
	transport, base, early := newTransport(o, ep)
	return &Client{
		endpoint:  ep,
		transport: transport,
		base:      base,
		retry:     o.Retry,
		confirmed: newConfirmations(),
		early:     early,
		log:       o.Logger,
	}, nil
}

func (o Options) validate() error {
	var errs []error
	if o.Connections < 1 {
		errs = append(errs, fmt.Errorf("connections is %d; at least 1", o.Connections))
	}
	if o.StallTimeout < 0 {
		errs = append(errs, fmt.Errorf("stall timeout is %s; it cannot be negative", o.StallTimeout))
	}
	if o.AnswerTimeout < 0 {
		errs = append(errs, fmt.Errorf("answer timeout is %s; it cannot be negative", o.AnswerTimeout))
	}
	return errors.Join(append(errs, o.Retry.validate())...)
}

// Endpoint returns the Hub's base URL, without a slash at the end.
func (c *Client) Endpoint() string { return c.endpoint.base.String() }

// Close gives back idle connections. Requests under way are not touched.
func (c *Client) Close() {
	c.early.close()
	c.base.CloseIdleConnections()
}

// Dataset names one repository ("ns/name", or "name" for the old ids) and the
// rights with which it is read and written. It costs nothing: the repository
// need not exist. repo must come from a validated source.Ref.
func (c *Client) Dataset(repo string, token source.HubToken) *Dataset {
	return &Dataset{client: c, repo: repo, token: token}
}

// Dataset is one repository with one caller's rights. It implements
// source.Store and is safe for concurrent use.
type Dataset struct {
	client *Client
	repo   string
	token  source.HubToken
}

var _ source.Store = (*Dataset)(nil)

// api builds {endpoint}/api/datasets/{repo}/{segments…}; each segment is escaped
// whole, so that a revision with a slash stays one segment.
func (d *Dataset) api(segments ...string) *url.URL {
	return d.client.endpoint.join("api/datasets/"+escapeKeepingSlashes(d.repo), segments...)
}
