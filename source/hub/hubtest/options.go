package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
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
	if o.PageSize < 0 || o.LFSThreshold < 0 || o.MultipartThreshold < 0 || o.PartSize < 0 || o.SignatureTTL < 0 {
		return source.Errorf(source.KindInvalid, "embedded hub", "sizes and times cannot be negative")
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
