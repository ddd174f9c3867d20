package hub

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/hubflight/hubflight/source"
)

const (
	maxNotice = 500
	// maxNotices bounds the texts that are remembered; a Hub with more to say is
	// not listened to any longer.
	maxNotices = 256
)

// notices logs what the Hub has to tell its users beside its answers, in headers
// "X-HF-Warning: topic; message", each text once. Storage is not listened to.
type notices struct {
	next     http.RoundTripper
	endpoint endpoint
	log      *slog.Logger

	mu   sync.Mutex
	said map[string]bool
}

func (n *notices) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := n.next.RoundTrip(r)
	if err != nil || !n.endpoint.maySign(r.URL) {
		return resp, err
	}
	for _, text := range resp.Header.Values("X-HF-Warning") {
		if text = source.Redact(clean(text, maxNotice)); n.first(text) {
			topic, message, found := strings.Cut(text, ";")
			if !found {
				topic, message = "", text
			}
			n.log.Warn("the Hub says", "warning", strings.TrimSpace(message), "topic", strings.TrimSpace(topic))
		}
	}
	return resp, nil
}

func (n *notices) first(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == "" || n.said[text] || len(n.said) == maxNotices {
		return false
	}
	n.said[text] = true
	return true
}

// errOffline is every request's answer while the Hub is not to be asked.
var errOffline = errors.New("the Hub is not asked")

// offline is in the place of all connections.
type offline struct{}

func (offline) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	return nil, errOffline
}
