package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source"
)

// embeddedFlags are those of `hubflight embedded`.
type embeddedFlags struct {
	serve bool
	tcp   bool
	idle  time.Duration
	wait  time.Duration
}

// newEmbeddedCommand makes the verb by which client libraries get at the server
// that one user's programs on one machine share. People run `hubflight serve`.
//
// Who holds PATH.lock is the server. Who holds PATH.start is starting one: of
// sixteen processes that need a server at the same time, one starts it and the
// others find it. Both locks end with their process, so that a crash leaves
// nothing that has to be cleaned up.
func newEmbeddedCommand() *cobra.Command {
	var f embeddedFlags
	cmd := &cobra.Command{
		Use:    "embedded PATH",
		Hidden: true,
		Short:  "Find, or start, the server that this user's programs share, and print where it is",
		Long: `Find, or start, the server that this user's programs on this machine share, and
print its address. PATH says which: its folder is made, private to the user, and
holds PATH.sock, PATH.lock and PATH.log. Whoever wants another configuration
chooses another PATH.

The server outlives the command and its session, and ends by itself when nobody
has called it for a while. It serves callers with their own Hub tokens and has
none itself.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := place{base: args[0], tcp: f.tcp}
			if err := at.prepare(); err != nil {
				return err
			}
			if !f.serve {
				return findOrStart(cmd, at, f.wait)
			}
			cfg, _, err := config.Load(cmd.Flags())
			if err != nil {
				return &usageError{err}
			}
			return serveEmbedded(cmd.Context(), at, cfg, f.idle, newLogger(cfg, cmd.ErrOrStderr()))
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.serve, "serve", false, "be the server instead of finding it")
	fs.BoolVar(&f.tcp, "tcp", false, "listen on a port of loopback, behind a secret in PATH.json, for systems without unix sockets")
	fs.DurationVar(&f.idle, "idle", 10*time.Minute, "end after so long without a call")
	fs.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for the server to start")
	config.AddFlags(fs)
	return cmd
}

// findOrStart prints the address of the server at a place, starting it if there
// is none.
func findOrStart(cmd *cobra.Command, at place, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), patience)
	defer cancel()
	location, ok := at.answering(ctx)
	if !ok {
		turn, err := acquire(ctx, at.base+".start")
		if err != nil {
			return source.Errorf(source.KindBusy, "start server", "somebody else has been starting it for %s", patience).WithHint("see %s.log", at.base)
		}
		defer turn.release()
		if location, err = startEmbedded(ctx, at); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), location)
	return err
}

// startEmbedded starts a server unless one has appeared meanwhile, and waits until
// it answers.
func startEmbedded(ctx context.Context, at place) (location string, err error) {
	if location, ok := at.answering(ctx); ok {
		return location, nil
	}
	// What a dead server has published must not be taken for the new one's, which
	// holds the lock from its first moment on: its port may be a stranger's by now.
	if err := os.Remove(at.base + ".json"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", source.AsError("start server", err)
	}
	self, err := os.Executable()
	if err != nil {
		return "", source.AsError("start server", err)
	}
	log, err := os.OpenFile(at.base+".log", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", source.AsError("start server", err)
	}
	defer func() { _ = log.Close() }() // the server has its own
	// The same command line, as the server.
	server := exec.Command(self, append([]string{os.Args[1], "--serve"}, os.Args[2:]...)...) //nolint:gosec,noctx // ourselves; it outlives us
	server.Stdout, server.Stderr = log, log
	server.Env = withoutHubSettings(os.Environ())
	detach(server)
	if err := server.Start(); err != nil {
		return "", source.AsError("start server", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()
	for {
		if location, ok := at.answering(ctx); ok {
			return location, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case err := <-exited:
			return "", at.failed(fmt.Sprintf("the server ended at once (%v)", err))
		case <-ctx.Done():
			_ = server.Process.Kill() // it must not come up later, unasked
			return "", at.failed("the server did not answer in time")
		}
	}
}

// withoutHubSettings leaves out of an environment what belongs to one caller: its
// tokens and its choice of a Hub.
func withoutHubSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "HF_") && !strings.HasPrefix(e, "HUGGING") && !strings.HasPrefix(e, "HUBFLIGHT_SERVER") {
			kept = append(kept, e)
		}
	}
	return kept
}

// serveEmbedded is the server: until it is told to end, or nobody has called for
// so long, or it has lost its place.
func serveEmbedded(ctx context.Context, at place, cfg config.Config, idle time.Duration, log *slog.Logger) error {
	first, cancel := context.WithTimeout(ctx, 5*time.Second) // those who only look whether it is held let go at once
	defer cancel()
	own, err := acquire(first, at.base+".lock")
	if err != nil {
		return source.Errorf(source.KindExists, "start server", "another one is running here")
	}
	defer own.release()
	if _, err := fmt.Fprintln(own.file, os.Getpid()); err != nil { // for people who look around
		return source.AsError("start server", err)
	}
	cfg.Server.Address, cfg.Server.Unix = "", at.base+".sock"
	if at.tcp {
		cfg.Server.Address, cfg.Server.Unix = "127.0.0.1:0", ""
	}
	if cfg.Memory.Budget == 0 {
		cfg.Memory.Budget = config.Size(cfg.MemoryBudget() / 2) // the programs it serves are on the same machine
	}
	secret, auth, err := at.auth()
	if err != nil {
		return err
	}
	return serveUntil(ctx, cfg, auth, log, func(svc *service, listeners []net.Listener, location string) ([]net.Listener, <-chan struct{}, error) {
		for i := range listeners {
			listeners[i] = &ownersListener{Listener: listeners[i], then: own.release}
		}
		if at.tcp {
			if err := at.publish(location, secret); err != nil {
				return listeners, nil, err
			}
		}
		return listeners, at.watch(ctx, svc.server, idle), nil
	})
}

// place is where an embedded server's files are: PATH and an ending.
type place struct {
	base string
	tcp  bool
}

// published is PATH.json, of a server behind a secret.
type published struct {
	Location string `json:"location"`
	Token    string `json:"token"`
}

// Validate implements what everything decoded has.
func (p published) Validate() error {
	if !strings.HasPrefix(p.Location, "grpc://127.0.0.1:") || len(p.Token) < 32 {
		return errors.New("not an address on loopback and a secret")
	}
	return nil
}

// maxPublished bounds PATH.json.
const maxPublished = 4 << 10

// auth decides who may call: on a unix socket whoever passed its listener, with
// or without a Hub token; on loopback whoever has read the secret.
func (at place) auth() (secret string, auth flightsrv.Auth, err error) {
	if !at.tcp {
		return "", flightsrv.Auth{Mode: flightsrv.AuthHub, Anonymous: true, AcceptClientToken: true}, nil
	}
	secret = rand.Text() + rand.Text()
	digest := sha256.Sum256([]byte(secret))
	auth = flightsrv.Auth{Mode: flightsrv.AuthToken, AcceptClientToken: true}
	return secret, auth, auth.ReadTokenFile(strings.NewReader("embedded " + hex.EncodeToString(digest[:]) + " write"))
}

// publish tells where the server listens, and the secret, in one step.
func (at place) publish(location, secret string) error {
	raw, err := json.Marshal(published{Location: location, Token: secret})
	if err != nil {
		return err
	}
	return writePortFile(at.base+".json", string(raw))
}

// answering reports the address of the server if one answers.
func (at place) answering(ctx context.Context) (location string, ok bool) {
	var dialer net.Dialer
	if !at.tcp {
		conn, err := dialer.DialContext(ctx, "unix", at.base+".sock")
		if err != nil {
			return "", false
		}
		return "grpc+unix://" + at.base + ".sock", speaks(ctx, conn)
	}
	// A port may belong to somebody else by now: what is published counts only as
	// long as its server lives.
	if lock, err := tryAcquire(at.base + ".lock"); err == nil && lock != nil {
		lock.release()
		return "", false
	}
	file, err := os.Open(at.base + ".json")
	if err != nil {
		return "", false
	}
	defer func() { _ = file.Close() }() // read only
	var p published
	raw, err := io.ReadAll(io.LimitReader(file, maxPublished))
	if err != nil || json.Unmarshal(raw, &p) != nil || p.Validate() != nil {
		return "", false
	}
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(p.Location, "grpc://"))
	if err != nil {
		return "", false
	}
	return p.Location, speaks(ctx, conn)
}

// speaks reports whether a server says the first word, as HTTP/2 has it, and closes
// the connection. That a connection is accepted proves nothing: the kernel still
// does that for a process that has been killed and is not gone yet.
func speaks(ctx context.Context, conn net.Conn) bool {
	defer func() { _ = conn.Close() }() // nothing was written
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline) // a connection that refuses fails to read, too
	}
	n, err := conn.Read(make([]byte, 1))
	return n == 1 && err == nil
}

// failed is the error of a server that did not come up, with its last words.
func (at place) failed(why string) error {
	raw, _ := os.ReadFile(at.base + ".log") // best effort: it explains, no more
	if len(raw) > 2000 {
		raw = raw[len(raw)-2000:]
	}
	words := cmp.Or(string(bytes.TrimSpace(raw)), "it said nothing")
	return source.Errorf(source.KindInternal, "start server", "%s: %s", why, source.Redact(words))
}

// watch closes its channel when the server should end: nobody called for so long,
// or its files are no longer where clients look for them.
func (at place) watch(ctx context.Context, server *flightsrv.Server, idle time.Duration) <-chan struct{} {
	over := make(chan struct{})
	file := at.base + ".sock"
	if at.tcp {
		file = at.base + ".json"
	}
	began, err := os.Lstat(file)
	go func() {
		defer close(over)
		tick := time.NewTicker(max(min(time.Second, idle/4), 10*time.Millisecond))
		defer tick.Stop()
		for server.Idle() < idle && err == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if now, lerr := os.Lstat(file); lerr != nil || !os.SameFile(began, now) {
				return
			}
		}
	}()
	return over
}
