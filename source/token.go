package source

import (
	"crypto/sha256"
	"log/slog"
	"strings"
)

// HubToken is Hugging Face's secret. It has no exported content: it prints as
// [redacted] everywhere, and only source/hub asks for the bytes, at the single
// place where a request to the Hub's own origin is signed. Our own server
// tokens are a different type (flightsrv), so the two cannot be mixed up.
type HubToken struct{ secret string }

// NewHubToken wraps a secret; surrounding white space and line ends are
// dropped, as huggingface_hub does.
func NewHubToken(secret string) HubToken {
	return HubToken{secret: strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(secret))}
}

// IsZero reports whether there is no token.
func (t HubToken) IsZero() bool { return t.secret == "" }

// Reveal returns the secret. Call it only to build a request header.
func (t HubToken) Reveal() string { return t.secret }

// TokenID tells tokens apart without being one: what maps and caches are keyed by.
type TokenID [sha256.Size]byte

// ID is the token's fingerprint; no token has one too. It goes into no log and no
// file: with it, a guessed token could be recognised.
func (t HubToken) ID() TokenID { return sha256.Sum256([]byte("hubflight token " + t.secret)) }

// String implements fmt.Stringer without the secret.
func (t HubToken) String() string {
	if t.IsZero() {
		return "[none]"
	}
	return "[redacted]"
}

// GoString keeps %#v from printing the secret.
func (t HubToken) GoString() string { return "source.HubToken(" + t.String() + ")" }

// LogValue implements slog.LogValuer without the secret.
func (t HubToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText keeps encoders from printing the secret.
func (t HubToken) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
