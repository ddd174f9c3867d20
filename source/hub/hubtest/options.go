package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Rights is what a token may do. They are ordered: each includes those before.
type Rights uint8

const (
	// Public is a valid token of somebody who was invited nowhere: it reads
	// public repositories, and sees neither private nor gated content.
	Public Rights = iota + 1
	// Read reads everything, private and gated too, and may open pull requests.
	Read
	// Write creates, changes and deletes everything.
	Write
)

// ParseRights reads "public", "read" or "write".
func ParseRights(text string) (Rights, bool) {
	for r, name := range map[Rights]string{Public: "public", Read: "read", Write: "write"} {
		if name == text {
			return r, true
		}
	}
	return 0, false
}

// Options configures a Hub. The zero value is an open Hub with the real one's
// sizes: everybody may read and write.
type Options struct {
	// Tokens lists the valid tokens. If it is empty the Hub is open: callers
	// without a token and with any token may read and write everything.
	Tokens map[string]Rights
	// PageSize is how many entries a page of a listing has; 0 means 1000, and
	// 50 when a listing is expanded.
	PageSize int
	// SignatureTTL is how long a signed storage URL is good; 0 means 15 minutes.
	// Whole seconds, as the signature scheme counts.
	SignatureTTL time.Duration
	// LFSThreshold is the size in bytes from which a file is stored as LFS
	// whatever .gitattributes say; 0 means 10 MiB.
	LFSThreshold int64
	// MultipartThreshold is the size in bytes from which an LFS object is
	// uploaded in parts; 0 means 5 GB, the limit of a single PUT.
	MultipartThreshold int64
	// PartSize is the size of these parts; 0 means 64 MiB.
	PartSize int64
	// CDNURL is the storage origin's address as clients see it, without a final
	// slash. Serve fills it in.
	CDNURL string
	// SameHostCDN makes Serve announce the storage origin under the Hub's own
	// host name (another port). Go's http.Client forwards a token to such a
	// redirect, so it is the origin to test leaks with.
	SameHostCDN bool
	// PathPrefix is where the Hub begins on its origin ("/hf"), as behind a
	// proxy; "" is the root.
	PathPrefix string
	// PublicHrefs makes upload targets on the Hub, and the URL of a repository
	// that was created, name https://huggingface.co as mirrors do: clients have
	// to put their own endpoint there.
	PublicHrefs bool
	// ShuffledParts lists the parts of an upload in no order, as JSON objects
	// have none. The official JavaScript client needs them in order.
	ShuffledParts bool
	// PlainFiles is how resolve answers for plain git files.
	PlainFiles PlainFiles
	// XetHeaders announces every LFS file as one that Xet has too, without
	// serving Xet: plain HTTP works as ever, for clients that stay with it.
	XetHeaders bool
	// CommitTime is how long a commit takes. Others on the same repository are
	// told 409 meanwhile; with 0 they wait their turn.
	CommitTime time.Duration
	// RateLimits are announced on every answer of the Hub; the zero value is no
	// limits.
	RateLimits RateLimits
	// ViewerAddress makes Serve listen for the dataset viewer there; without it
	// the viewer is only found below /datasets-server on the Hub's own address.
	ViewerAddress string
	// Now is the clock of commits and signatures; nil means time.Now.
	Now func() time.Time
	// NoSync leaves out fsync: right for tests, whose files need not survive a
	// power cut.
	NoSync bool
	// Record keeps a log of requests for Requests.
	Record bool
	// Logger gets one line per request at debug level; nil discards.
	Logger *slog.Logger
}

// PlainFiles is one of the ways in which a Hub answers for plain git files.
type PlainFiles uint8

const (
	// Mixed answers for most with a redirect, often with a query in it, and for
	// some small ones directly: the file's hash decides.
	Mixed PlainFiles = iota
	// Redirected answers for all with a redirect.
	Redirected
	// Direct answers for all with their bytes.
	Direct
)

const (
	defaultPageSize     = 1000
	expandedPageSize    = 50
	defaultSignatureTTL = 15 * time.Minute
	defaultLFSThreshold = 10 << 20
	defaultMultipart    = 5_000_000_000
	defaultPartSize     = 64 << 20
)

func (o Options) withDefaults() Options {
	if o.SignatureTTL <= 0 {
		o.SignatureTTL = defaultSignatureTTL
	}
	if o.LFSThreshold <= 0 {
		o.LFSThreshold = defaultLFSThreshold
	}
	if o.MultipartThreshold <= 0 {
		o.MultipartThreshold = defaultMultipart
	}
	if o.PartSize <= 0 {
		o.PartSize = defaultPartSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate refuses options that cannot work: negative sizes and unknown rights.
func (o Options) Validate() error {
	if o.PageSize < 0 || o.LFSThreshold < 0 || o.MultipartThreshold < 0 || o.PartSize < 0 || o.SignatureTTL < 0 || o.CommitTime < 0 {
		return source.Errorf(source.KindInvalid, "embedded hub", "sizes and times cannot be negative")
	}
	if o.PathPrefix != "" && (o.PathPrefix[0] != '/' || strings.HasSuffix(o.PathPrefix, "/") || escapePath(o.PathPrefix) != o.PathPrefix) {
		return source.Errorf(source.KindInvalid, "embedded hub", "the path prefix %q is not of the form /name", o.PathPrefix)
	}
	if l := o.RateLimits; l.API < 0 || l.Resolvers < 0 || l.Pages < 0 || l.Commits < 0 || l.Window < 0 || o.PlainFiles > Direct {
		return source.Errorf(source.KindInvalid, "embedded hub", "a rate limit is negative or the way to answer for plain files is unknown")
	}
	for token, r := range o.Tokens {
		if token == "" || r < Public || r > Write {
			return source.Errorf(source.KindInvalid, "embedded hub", "a token is empty or has unknown rights")
		}
	}
	return nil
}

func (o Options) pageSize(expand bool) int {
	switch {
	case o.PageSize > 0:
		return o.PageSize
	case expand:
		return expandedPageSize
	}
	return defaultPageSize
}

// userName is the account behind a token: stable, and nothing of the token.
func userName(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "user-" + hex.EncodeToString(sum[:4])
}
