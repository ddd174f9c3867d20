package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source/filelock"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the Arrow Flight server",
		Long: `Run the Arrow Flight server until SIGINT or SIGTERM.

Running calls then have server.drain_grace to finish; a second signal stops at
once. Every setting can be a flag, an environment variable (HUBFLIGHT_ and the key
in upper case with _ for dots; folders are separated as in PATH, addresses by
commas) or a key of the file given with --config; see "hubflight config print".`,
		Example: `  hubflight serve
  hubflight serve --server.address 127.0.0.1:8815 --local.roots /data
  HF_TOKEN=… hubflight serve --server.address "" --server.unix /run/user/1000/hubflight.sock`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := config.Load(cmd.Flags())
			if err != nil {
				return &usageError{err}
			}
			log := newLogger(cfg, cmd.ErrOrStderr())
			auth, err := newAuth(cfg, log)
			if err != nil {
				return &usageError{err}
			}
			return serveUntil(cmd.Context(), cfg, auth, log, announced(cfg))
		},
	}
	config.AddFlags(cmd.Flags())
	return cmd
}

// A ready function is called once a server listens. It may wrap the listeners, and
// returns a channel that ends the server by being closed; nil never does.
type ready func(svc *service, listeners []net.Listener, location string) ([]net.Listener, <-chan struct{}, error)

// announced tells scripts where the server listens.
func announced(cfg config.Config) ready {
	return func(_ *service, listeners []net.Listener, location string) ([]net.Listener, <-chan struct{}, error) {
		if cfg.Server.PortFile == "" {
			return listeners, nil, nil
		}
		if err := writePortFile(cfg.Server.PortFile, location); err != nil {
			return listeners, nil, &usageError{fmt.Errorf("server.port_file: %w", err)}
		}
		return listeners, nil, nil
	}
}

// serveUntil runs a server until ctx ends, or what ready returned, and then
// drains it.
func serveUntil(ctx context.Context, cfg config.Config, auth flightsrv.Auth, log *slog.Logger, then ready) error {
	// The collector works harder near the budget instead of letting garbage of
	// finished streams stand: decoded batches are large and short-lived.
	debug.SetMemoryLimit(cfg.MemoryBudget())
	svc, err := assemble(cfg, auth, log)
	if err != nil {
		return err
	}
	defer svc.close()
	listeners, location, err := listen(ctx, cfg)
	if err != nil {
		return &usageError{err}
	}
	listeners, over, err := then(svc, listeners, location)
	if err != nil {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	log.Info("serving", "location", location, "auth", string(auth.Mode), "hub", svc.hubEndpoint, "roots", len(cfg.Local.Roots))

	served := make(chan error, 1)
	go func() { served <- svc.server.Serve(listeners...) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-over:
	}
	log.Info("draining", "grace", cfg.Server.DrainGrace)
	svc.server.Drain(cfg.Server.DrainGrace)
	return <-served
}

// listen opens the listeners and returns the location that clients should use.
func listen(ctx context.Context, cfg config.Config) (listeners []net.Listener, location string, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	var lc net.ListenConfig
	if cfg.Server.Unix != "" {
		l, err := listenUnix(ctx, cfg.Server.Unix)
		if err != nil {
			return listeners, "", fmt.Errorf("server.unix: %w", err)
		}
		listeners = append(listeners, l)
		whole, err := filepath.Abs(cfg.Server.Unix) // clients know no other
		if err != nil {
			return listeners, "", fmt.Errorf("server.unix: %w", err)
		}
		location = "grpc+unix://" + whole
	}
	if cfg.Server.Address != "" {
		l, err := lc.Listen(ctx, "tcp", cfg.Server.Address)
		if err != nil {
			return listeners, "", fmt.Errorf("server.address: %w: choose another address, or port 0 for a free one", err)
		}
		scheme := "grpc://"
		if cfg.TLS() {
			scheme = "grpc+tls://"
		}
		listeners, location = append(listeners, l), scheme+l.Addr().String()
	}
	return listeners, location, nil
}

// maxSocketPath is what the path of a unix socket may have on macOS; Linux takes four
// bytes more. The systems only say that the argument is invalid.
const maxSocketPath = 103

// listenUnix replaces a socket that nobody answers on any more, and makes the new
// one private.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("another server answers on this socket"), conn.Close())
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("the path exists and is not a socket")
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil && len(path) > maxSocketPath {
		return nil, fmt.Errorf("%w: the path has %d bytes, and of a unix socket at most %d everywhere", err, len(path), maxSocketPath)
	}
	if err != nil {
		return nil, err
	}
	err = os.Chmod(path, 0o600)
	var made os.FileInfo
	if err == nil {
		made, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if unix, ok := l.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	return &ownSocket{Listener: l, path: path, made: made}, nil
}

// ownSocket is a unix socket whose path goes with it, unless that is another server's by
// now: somebody may have cleaned the folder up, and a new server have come.
type ownSocket struct {
	net.Listener
	path string
	made os.FileInfo
	once sync.Once
}

// Close implements net.Listener. The path goes first: what it leads to answers.
func (s *ownSocket) Close() error {
	s.once.Do(func() {
		if filelock.LeadsTo(s.path, s.made) {
			_ = os.Remove(s.path) // what is left the next server replaces
		}
	})
	return s.Listener.Close()
}
