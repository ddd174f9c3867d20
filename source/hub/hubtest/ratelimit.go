package hubtest

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RateLimits are how many requests a caller may make in a window of time: a
// token's holder, or an address without a token. 0 is no limit.
type RateLimits struct {
	// API is for /api/, Resolvers for URLs with /resolve/ in them, Pages for the
	// rest.
	API, Resolvers, Pages int
	// Window is the fixed window of those three; 0 is five minutes.
	Window time.Duration
	// Commits is for commits, per hour: a quota that the RateLimit header does
	// not tell about.
	Commits int
}

// The classes of requests, as the RateLimit header names them.
const (
	classAPI       = "api"
	classResolvers = "resolvers"
	classPages     = "pages"
	classCommits   = "commits" // never announced
)

const (
	defaultWindow = 5 * time.Minute
	// unlimited is what is announced where nothing is enforced: so much that a
	// client that spreads its requests over the window need not wait.
	unlimited = 1_000_000_000
)

func classOf(path string) string {
	switch {
	case strings.Contains(path, "/resolve/"):
		return classResolvers
	case strings.HasPrefix(path, "/api/"):
		return classAPI
	}
	return classPages
}

func (l RateLimits) of(class string) int {
	switch class {
	case classResolvers:
		return l.Resolvers
	case classAPI:
		return l.API
	case classCommits:
		return l.Commits
	}
	return l.Pages
}

func (l RateLimits) window(class string) time.Duration {
	switch {
	case class == classCommits:
		return time.Hour
	case l.Window > 0:
		return l.Window
	}
	return defaultWindow
}

// meter counts requests by caller and class in the present windows.
type meter struct {
	mu     sync.Mutex
	counts map[meterKey]*meterCount
}

type meterKey struct {
	caller [sha256.Size]byte
	class  string
}

type meterCount struct {
	until time.Time
	used  int
}

// maxCallers bounds the meter; counts that are over are dropped first.
const maxCallers = 10_000

// use counts a request and returns how many the caller has made in the window,
// with this one, and when the window ends.
func (m *meter) use(key meterKey, now time.Time, window time.Duration) (used int, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[meterKey]*meterCount{}
	}
	if len(m.counts) >= maxCallers {
		for k, c := range m.counts {
			if !now.Before(c.until) {
				delete(m.counts, k)
			}
		}
	}
	c := m.counts[key]
	if c == nil || !now.Before(c.until) {
		c = &meterCount{until: now.Truncate(window).Add(window)}
		m.counts[key] = c
	}
	c.used++
	return c.used, c.until
}

// meterCaller is who is counted: the holder of whatever token was sent, or the
// address.
func meterCaller(r *http.Request) [sha256.Size]byte {
	if sent := r.Header.Get("Authorization"); sent != "" {
		return sha256.Sum256([]byte(sent))
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return sha256.Sum256([]byte(host))
}

// limitRate announces the caller's quota, as every answer does, and refuses a
// request beyond it.
func (c *call) limitRate() error {
	limits, class := c.h.options.RateLimits, classOf(c.r.URL.EscapedPath())
	now, window := c.h.options.Now(), limits.window(class)
	used, until := c.h.meter.use(meterKey{meterCaller(c.r), class}, now, window)
	most := limits.of(class)
	if most == 0 {
		most = unlimited
	}
	seconds := secondsUntil(now, until)
	head := c.w.Header()
	head.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, class, max(most-used, 0), seconds))
	head.Set("RateLimit-Policy", ratePolicy(class, most, int(window.Seconds())))
	if used > most {
		return refuse(http.StatusTooManyRequests, "", "%s", tooManyText(class))
	}
	return nil
}

// limitCommits refuses commits beyond the hourly quota. The answer's RateLimit
// says that requests remain, which is true and no help.
func (c *call) limitCommits() error {
	most := c.h.options.RateLimits.Commits
	if most == 0 {
		return nil
	}
	now := c.h.options.Now()
	used, until := c.h.meter.use(meterKey{meterCaller(c.r), classCommits}, now, time.Hour)
	if used <= most {
		return nil
	}
	c.w.Header().Set("Retry-After", strconv.Itoa(secondsUntil(now, until)))
	return refuse(http.StatusTooManyRequests, "", commitQuotaText)
}

func secondsUntil(now, until time.Time) int {
	return int(max(until.Sub(now).Round(time.Second).Seconds(), 1))
}

func ratePolicy(class string, most, seconds int) string {
	return fmt.Sprintf(`"fixed window";"%s";q=%d;w=%d`, class, most, seconds)
}

func tooManyText(class string) string {
	return "Too Many Requests: you have reached your '" + class + "' rate limit."
}

const (
	commitQuotaText    = "Too Many Requests: you have exceeded our hourly quotas for action: commit. We invite you to retry later."
	commitInFlightText = "Another commit is in progress on this repository. Please retry later."
)
