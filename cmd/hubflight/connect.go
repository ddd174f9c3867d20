package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

// readFlags are what every reading verb understands.
type readFlags struct {
	server        string
	config, split string
	revision      string
	asJSON        bool
}

func (f *readFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.server, "server", os.Getenv("HUBFLIGHT_SERVER"), "`location` of a running server, such as grpc://127.0.0.1:8815; without it one runs inside this command")
	fs.StringVar(&f.config, "config-name", "", "the dataset's config (the Hub's subset)")
	fs.StringVar(&f.split, "split", "", `the split, or "all"`)
	fs.StringVar(&f.revision, "revision", "", "branch, tag, commit or refs/pr/N")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	config.AddFlags(fs)
	for _, hidden := range []string{"server.", "auth.", "write."} {
		fs.VisitAll(func(flag *pflag.Flag) {
			if len(flag.Name) > len(hidden) && flag.Name[:len(hidden)] == hidden {
				flag.Hidden = true // of no use to a command that ends
			}
		})
	}
}

func (f *readFlags) read(dataset string) client.Read {
	return client.Read{Dataset: dataset, Revision: f.revision, Config: f.config, Split: f.split}
}

// withClient runs a verb against the server named by --server, or against one
// that lives in this process as long as the verb, behind a private unix socket.
func (f *readFlags) withClient(cmd *cobra.Command, run func(ctx context.Context, c *client.Client) error) error {
	ctx := cmd.Context()
	token, err := hub.ReadTokenFromEnvironment()
	if err != nil {
		return err
	}
	options := client.Options{HubToken: token, ServerToken: os.Getenv("HUBFLIGHT_SERVER_TOKEN")}
	location := f.server
	if location == "" {
		stop, own, err := startOwn(ctx, cmd)
		if err != nil {
			return err
		}
		defer stop()
		location = own
	}
	c, err := client.Dial(ctx, location, options)
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, c), c.Close())
}

// startOwn starts a server inside this process.
func startOwn(ctx context.Context, cmd *cobra.Command) (stop func(), location string, err error) {
	cfg, _, err := config.Load(cmd.Flags())
	if err != nil {
		return nil, "", &usageError{err}
	}
	dir, err := os.MkdirTemp("", "hubflight-") // mode 0700: nobody else reaches the socket
	if err != nil {
		return nil, "", source.AsError("start", err)
	}
	remove := func() { _ = os.RemoveAll(dir) } // at worst an empty folder stays
	cfg.Server.Address, cfg.Server.Unix = "", filepath.Join(dir, "s")
	if cfg.Write.SpoolDir == "" {
		cfg.Write.SpoolDir = filepath.Join(dir, "spool")
	}
	svc, err := assemble(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		remove()
		return nil, "", err
	}
	listeners, location, err := listen(ctx, cfg)
	if err != nil {
		svc.close()
		remove()
		return nil, "", source.AsError("start", err)
	}
	served := make(chan error, 1)
	go func() { served <- svc.server.Serve(listeners...) }()
	return func() {
		svc.server.Drain(time.Second)
		<-served //nolint:errcheck // the verb has its answer; how its server ended does not matter
		svc.close()
		remove()
	}, location, nil
}
