package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Config is every setting of the server. The key tag is the setting's name, the
// help tag its flag's help text.
type Config struct {
	Server Server
	Auth   Auth
	Hub    Hub
	Local  Local
	Plan   Plan
	Scan   Scan
	Memory Memory
	Cache  Cache
	Write  Write
	Log    Log
}

// Server is the listener and its limits.
type Server struct {
	Address        string        `key:"server.address" help:"HOST:PORT to listen on; port 0 takes a free one, empty listens on server.unix only"`
	Unix           string        `key:"server.unix" help:"path of a unix socket to listen on as well"`
	PortFile       string        `key:"server.port_file" help:"file to which the address listened on is written once the server is ready"`
	TLSCert        string        `key:"server.tls.cert" help:"PEM certificate chain; with server.tls.key turns on TLS"`
	TLSKey         string        `key:"server.tls.key" help:"PEM private key of server.tls.cert"`
	TLSClientCA    string        `key:"server.tls.client_ca" help:"PEM bundle; clients must present a certificate it has signed"`
	Advertise      []string      `key:"server.advertise" separator:"," help:"locations (grpc://host:port) put into every endpoint, for replicas; empty means: this connection"`
	Insecure       bool          `key:"server.insecure" help:"allow what is otherwise refused: listening beyond loopback without TLS or authentication"`
	MaxStreams     int           `key:"server.max_streams" help:"DoGet and DoPut streams, and actions that scan, open at once; one more is answered busy"`
	MaxMessage     Size          `key:"server.max_message" help:"largest message a client may send; gRPC holds a request of that size before it is known who sends it"`
	QueueTimeout   time.Duration `key:"server.queue_timeout" help:"how long a stream waits for its turn to decode before it is answered busy"`
	IdleTimeoutGet time.Duration `key:"server.idle_timeout_get" help:"a DoGet, a listing or an action whose client takes nothing for this long is ended"`
	IdleTimeoutPut time.Duration `key:"server.idle_timeout_put" help:"a DoPut whose client neither sends nor takes, or a commit whose client takes nothing, for this long is ended"`
	SharedMemory   bool          `key:"server.shared_memory" help:"exchange batches through shared memory with this user's clients of server.unix that ask for it (Linux)"`
	DrainGrace     time.Duration `key:"server.drain_grace" help:"how long running calls may finish after SIGTERM"`
}

// Auth says who may call.
type Auth struct {
	Mode      string `key:"auth.mode" help:"none (loopback and unix sockets only), token (bearer tokens of auth.token_file) or hub (the caller's bearer is the Hub token)"`
	TokenFile string `key:"auth.token_file" help:"lines of: principal sha256(token) read|write repository-globs…"`
}

// Hub is how the Hub is reached.
type Hub struct {
	Endpoint          string        `key:"hub.endpoint" help:"the Hub's address (default: HF_ENDPOINT, else the staging Hub if HUGGINGFACE_CO_STAGING, else the public one)"`
	Offline           bool          `key:"hub.offline" help:"ask the Hub nothing: only local folders can be read (also: HF_HUB_OFFLINE)"`
	ViewerEndpoint    string        `key:"hub.viewer_endpoint" help:"the dataset viewer's address: the one further origin that gets the Hub token (default: set only for the public Hub)"`
	TokenFile         string        `key:"hub.token_file" help:"file with the server's own Hub token (default: HF_TOKEN, else the login file)"`
	AcceptClientToken bool          `key:"hub.accept_client_token" help:"accept a caller's Hub token beside its own credential"`
	Connections       int           `key:"hub.connections" help:"connections to the Hub and its storage at once"`
	RetryAttempts     int           `key:"hub.retry.attempts" help:"tries of a request that may be repeated"`
	RetryDeadline     time.Duration `key:"hub.retry.deadline" help:"time after which a request is no longer repeated"`
	StallTimeout      time.Duration `key:"hub.stall_timeout" help:"a transfer without a byte for this long is given up and repeated"`
}

// Local is which folders of this machine may be read and written.
type Local struct {
	Roots []string `key:"local.roots" help:"folders whose datasets may be read and written as file:///folder/… (repeatable)"`
}

// Plan bounds planning.
type Plan struct {
	FootersMax int `key:"plan.footers_max" help:"footers read for one plan; a larger plan reads the first, the last and some between"`
}

// Scan bounds decoding.
type Scan struct {
	Slots         int  `key:"scan.slots" help:"streams that decode at the same time; 0 is twice the number of cores"`
	PrefetchBytes Size `key:"scan.prefetch_bytes" help:"bytes that all streams together fetch from the Hub ahead of decoding; one stream takes a quarter of it at most"`
	RangeGap      Size `key:"scan.range_gap" help:"wanted ranges with at most so many bytes between them are fetched with one request; less where the Hub answers faster than in 30ms"`
	RangeMax      Size `key:"scan.range_max" help:"largest range that is fetched with one request"`
	RangeParallel int  `key:"scan.range_parallel" help:"requests that one stream has under way ahead of decoding"`
}

// Memory bounds the process.
type Memory struct {
	Budget Size `key:"memory.budget" help:"memory the server aims to stay within; 0 is half of what the machine or its container has"`
}

// Cache bounds what is kept in memory and on disk.
type Cache struct {
	Footers Size   `key:"cache.footers" help:"memory for parsed Parquet footers; at most a quarter of memory.budget is used, and 0 keeps none"`
	Dir     string `key:"cache.dir" help:"folder, private to this user, that keeps what was fetched from the Hub; several servers may share it; empty keeps nothing"`
	Bytes   Size   `key:"cache.bytes" help:"most that may lie in cache.dir; what was used longest ago goes first"`
}

// Write is where and how much is spooled.
type Write struct {
	SpoolDir       string        `key:"write.spool_dir" help:"folder for files on their way to the Hub (default: a private folder in the system's temporary folder)"`
	SpoolBytes     Size          `key:"write.spool_bytes" help:"most that may lie in the spool"`
	CommitDeadline time.Duration `key:"write.commit_deadline" help:"longest a commit may take, waits for Hub quotas included"`
}

// Log is what is written to stderr.
type Log struct {
	Level  string `key:"log.level" help:"debug, info, warn or error"`
	Format string `key:"log.format" help:"text or json"`
}

// Default returns the configuration of a server that was told nothing.
func Default() Config {
	return Config{
		Server: Server{
			Address:        "127.0.0.1:8815",
			MaxStreams:     4096,
			MaxMessage:     64 << 20,
			QueueTimeout:   10 * time.Minute,
			IdleTimeoutGet: 30 * time.Minute,
			IdleTimeoutPut: 2 * time.Minute,
			SharedMemory:   true,
			DrainGrace:     30 * time.Second,
		},
		Auth:  Auth{Mode: "none"},
		Hub:   Hub{AcceptClientToken: true, Connections: 32, RetryAttempts: 6, RetryDeadline: 90 * time.Second, StallTimeout: 20 * time.Second},
		Plan:  Plan{FootersMax: 1000},
		Scan:  Scan{PrefetchBytes: 256 << 20, RangeGap: 1 << 20, RangeMax: 8 << 20, RangeParallel: 16},
		Cache: Cache{Footers: 256 << 20, Bytes: 32 << 30},
		Write: Write{SpoolBytes: 16 << 30, CommitDeadline: 2 * time.Hour},
		Log:   Log{Level: "info", Format: "text"},
	}
}

// DecodeSlots returns scan.slots with its default filled in.
func (c Config) DecodeSlots() int {
	if c.Scan.Slots > 0 {
		return c.Scan.Slots
	}
	// Two a core: one decodes while the other waits for its next range.
	return 2 * runtime.GOMAXPROCS(0)
}

// TLS reports whether the TCP listener is encrypted.
func (c Config) TLS() bool { return c.Server.TLSCert != "" }

// Validate reports every problem of c at once, each beginning with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if c.Server.Address == "" && c.Server.Unix == "" {
		bad("server.address", "neither an address nor server.unix is set")
	}
	if (c.Server.TLSCert == "") != (c.Server.TLSKey == "") {
		bad("server.tls.cert", "certificate and key go together")
	}
	if c.Server.TLSClientCA != "" && !c.TLS() {
		bad("server.tls.client_ca", "needs server.tls.cert")
	}
	for _, loc := range c.Server.Advertise {
		u, err := url.Parse(loc)
		if err != nil || u.Hostname() == "" || u.Port() == "" || !slices.Contains([]string{"grpc", "grpc+tcp", "grpc+tls"}, u.Scheme) {
			bad("server.advertise", "%q is not a location such as grpc://host:8815", loc)
		}
	}
	switch c.Auth.Mode {
	case "none", "hub":
	case "token":
		if c.Auth.TokenFile == "" {
			bad("auth.token_file", "is needed with auth.mode=token")
		}
	default:
		bad("auth.mode", "%q is none of none, token, hub", c.Auth.Mode)
	}
	c.validateExposure(bad)
	c.validateBounds(bad)
	for _, key := range []struct{ name, value string }{{"hub.endpoint", c.Hub.Endpoint}, {"hub.viewer_endpoint", c.Hub.ViewerEndpoint}} {
		if key.value == "" {
			continue
		}
		if u, err := url.Parse(key.value); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" {
			bad(key.name, "is not an http(s) address without user and query")
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		bad("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		bad("log.format", "%q is neither text nor json", c.Log.Format)
	}
	return errors.Join(errs...)
}

// validateExposure refuses to offer data to a network without protection.
func (c Config) validateExposure(bad func(key, format string, args ...any)) {
	if c.Server.Address == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Server.Address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		bad("server.address", "%q is not HOST:PORT", c.Server.Address)
		return
	}
	if loopback(host) || c.Server.Insecure {
		return
	}
	if c.Auth.Mode == "none" {
		bad("server.address", "%q can be reached from other machines and auth.mode is none: choose auth.mode=token or hub, or accept it with server.insecure", c.Server.Address)
	}
	if c.Auth.Mode == "hub" && len(c.Local.Roots) > 0 && c.Server.TLSClientCA == "" {
		bad("local.roots", "%q can be reached from other machines, and with auth.mode=hub nobody decides who may read and write these folders: choose auth.mode=token, set server.tls.client_ca, or accept it with server.insecure", c.Server.Address)
	}
	if !c.TLS() {
		bad("server.address", "%q can be reached from other machines without TLS: set server.tls.cert and server.tls.key, or accept it with server.insecure", c.Server.Address)
	}
}

func (c Config) validateBounds(bad func(key, format string, args ...any)) {
	refuse(bad, []bound[int]{
		{"server.max_streams", c.Server.MaxStreams, 1, 1 << 20},
		{"hub.connections", c.Hub.Connections, 1, 4096},
		{"hub.retry.attempts", c.Hub.RetryAttempts, 1, 100},
		{"plan.footers_max", c.Plan.FootersMax, 1, 1 << 20},
		{"scan.slots", c.Scan.Slots, 0, 1 << 12},
		{"scan.range_parallel", c.Scan.RangeParallel, 1, 64},
	})
	refuse(bad, []bound[Size]{
		{"server.max_message", c.Server.MaxMessage, 1 << 20, 1 << 30},
		{"memory.budget", c.Memory.Budget, 0, 1 << 50},
		{"scan.prefetch_bytes", c.Scan.PrefetchBytes, 1 << 20, 1 << 40},
		{"scan.range_gap", c.Scan.RangeGap, 1, 64 << 20},
		{"scan.range_max", c.Scan.RangeMax, 64 << 10, 256 << 20},
		{"cache.footers", c.Cache.Footers, 0, 1 << 40},
		{"cache.bytes", c.Cache.Bytes, 1 << 20, 1 << 50},
		{"write.spool_bytes", c.Write.SpoolBytes, 1 << 20, 1 << 50},
	})
	refuse(bad, []bound[time.Duration]{
		{"server.queue_timeout", c.Server.QueueTimeout, time.Second, 24 * time.Hour},
		{"server.idle_timeout_get", c.Server.IdleTimeoutGet, time.Second, 24 * time.Hour},
		{"server.idle_timeout_put", c.Server.IdleTimeoutPut, time.Second, 24 * time.Hour},
		{"server.drain_grace", c.Server.DrainGrace, 0, time.Hour},
		{"hub.retry.deadline", c.Hub.RetryDeadline, time.Millisecond, time.Hour},
		{"hub.stall_timeout", c.Hub.StallTimeout, 100 * time.Millisecond, time.Hour},
		{"write.commit_deadline", c.Write.CommitDeadline, time.Second, 48 * time.Hour},
	})
}

// bound is a setting and the least and the greatest value that it may have.
type bound[T int | Size | time.Duration] struct {
	key           string
	value, lo, hi T
}

// refuse complains in the settings' own units.
func refuse[T int | Size | time.Duration](bad func(key, format string, args ...any), bounds []bound[T]) {
	for _, b := range bounds {
		if b.value < b.lo || b.value > b.hi {
			bad(b.key, "%v is outside %v…%v", b.value, b.lo, b.hi)
		}
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
