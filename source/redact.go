package source

import (
	"regexp"
	"strings"
)

// What must never be shown: Hub tokens (hf_…, and the api_… of old), anything
// after "Bearer" or "Basic", the query of a URL (signatures live there) and
// user:password in front of a host. Over-matching is fine; missing is not.
var secrets = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+`), "$1 [redacted]"},
	{regexp.MustCompile(`\b(hf|api|hfl)_[A-Za-z0-9_]{6,}`), "[redacted]"},
	{regexp.MustCompile(`(https?://[^\s"'?#<>]*)[?#][^\s"'<>)]*`), "$1?[redacted]"},
	{regexp.MustCompile(`(https?://)[^\s/"']+@`), "$1[redacted]@"},
}

// Redact removes tokens, signed queries and passwords from a text that may be
// shown, logged or sent. It is the last line of defence: code still must not
// put secrets into messages.
func Redact(text string) string {
	for _, s := range secrets {
		text = s.re.ReplaceAllString(text, s.with)
	}
	return text
}

// Clip shortens a text that an error quotes to n bytes and an ellipsis. It never
// leaves half a character: a gRPC status whose text is not UTF-8 loses its details.
func Clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
