package wire

import (
	"fmt"

	"github.com/hubflight/hubflight/source"
)

// HeaderRequests is the trailer of every answer: what the call has asked of each
// origin, such as "hub=7 cdn=4 viewer=0".
const HeaderRequests = "x-hubflight-requests"

// Requests are how many requests went to each origin, repeated ones and redirects
// included.
type Requests struct {
	Hub    int64 `json:"hub"`
	CDN    int64 `json:"cdn"`
	Viewer int64 `json:"viewer"`
}

// RequestsOf takes down what was counted.
func RequestsOf(r *source.Requests) Requests {
	return Requests{Hub: r.To(source.OriginHub), CDN: r.To(source.OriginCDN), Viewer: r.To(source.OriginViewer)}
}

// String is the trailer's form.
func (r Requests) String() string {
	return fmt.Sprintf("hub=%d cdn=%d viewer=%d", r.Hub, r.CDN, r.Viewer)
}

// ParseRequests reads the trailer's form.
func ParseRequests(text string) (r Requests, ok bool) {
	n, err := fmt.Sscanf(text, "hub=%d cdn=%d viewer=%d", &r.Hub, &r.CDN, &r.Viewer)
	return r, n == 3 && err == nil && r.Hub >= 0 && r.CDN >= 0 && r.Viewer >= 0
}
