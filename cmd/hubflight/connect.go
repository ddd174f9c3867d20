package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

// clientFlags are those of every verb that is a client of a server.
type clientFlags struct {
	server string
	asJSON bool
}

func (f *clientFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.server, "server", "", "`location` of a running server, such as grpc://127.0.0.1:8815 (default: HUBFLIGHT_SERVER, else one runs inside this command)")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	addSettings(cmd)
}

// readFlags are those of a verb that is about one dataset.
type readFlags struct {
	clientFlags
	revision string
}

func (f *readFlags) add(cmd *cobra.Command) {
	f.clientFlags.add(cmd)
	cmd.Flags().StringVar(&f.revision, "revision", "", "`branch`, tag, commit or refs/pr/N")
}

// addSettings adds the settings of the server that a verb runs without --server.
// The help names the few that such a short life needs, below the verb's own
// flags; the others work as well.
func addSettings(cmd *cobra.Command) {
	settings := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	config.AddFlags(settings)
	shown := pflag.NewFlagSet("shown", pflag.ContinueOnError)
	for _, name := range []string{"local.roots", "hub.endpoint", "hub.token_file", "config"} {
		flag := *settings.Lookup(name)
		shown.AddFlag(&flag)
	}
	settings.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = true
		cmd.Flags().AddFlag(flag)
	})
	cmd.SetUsageTemplate(wrapFlags(cmd.UsageTemplate()) +
		"\nWithout --server (these and all other settings of hubflight serve):\n" + strings.TrimRight(shown.FlagUsagesWrapped(helpWidth()), "\n") + "\n")
}

func (f *readFlags) read(dataset string) client.Read {
	return client.Read{Dataset: dataset, Revision: f.revision}
}

// withClient runs a verb against the server named by --server, or against one
// that lives in this process as long as the verb, behind a private unix socket.
func (f *clientFlags) withClient(cmd *cobra.Command, run func(ctx context.Context, c *client.Client) error) error {
	ctx := cmd.Context()
	location := f.server
	if !cmd.Flags().Changed("server") {
		location = os.Getenv("HUBFLIGHT_SERVER")
	}
	var options client.Options // a server of our own has the tokens already
	if location == "" {
		stop, own, err := startOwn(ctx, cmd)
		if err != nil {
			return err
		}
		defer stop()
		location = own
	} else {
		if err := f.unusedSettings(cmd); err != nil {
			return err
		}
		token, err := f.hubToken(cmd, location)
		if err != nil {
			return err
		}
		options = client.Options{HubToken: token, ServerToken: os.Getenv("HUBFLIGHT_SERVER_TOKEN")}
	}
	c, err := client.Dial(ctx, location, options)
	if err != nil {
		return &usageError{err}
	}
	return errors.Join(run(ctx, c), c.Close())
}

// unusedSettings refuses settings that would do nothing, because the server that they
// are of does not run: another one has a Hub, folders and a token of its own.
func (f *clientFlags) unusedSettings(cmd *cobra.Command) (err error) {
	settings := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	config.AddFlags(settings)
	settings.VisitAll(func(setting *pflag.Flag) {
		if !cmd.Flags().Changed(setting.Name) || err != nil {
			return
		}
		named := "--server names"
		if f.server == "" {
			named = "HUBFLIGHT_SERVER (unset it, or say --server \"\") names"
		}
		err = &usageError{fmt.Errorf("--%s is for the server that runs inside this command, and %s another one", setting.Name, named)}
	})
	return err
}

// hubToken is the token of the environment, where it can be sent: nobody has given it
// for this server, so that it never crosses a network in clear text.
func (f *clientFlags) hubToken(cmd *cobra.Command, location string) (source.HubToken, error) {
	token, err := hub.ReadTokenFromEnvironment()
	if err != nil || token.IsZero() {
		return token, err
	}
	if private, err := client.Private(location); err == nil && !private {
		fmt.Fprintf(cmd.ErrOrStderr(), "the Hub token of the environment is not sent to %s, which is reached without TLS\n", location)
		return source.HubToken{}, nil
	}
	return token, nil
}

// startOwn starts a server inside this process.
func startOwn(ctx context.Context, cmd *cobra.Command) (stop func(), location string, err error) {
	// Who may call, and from where, is for servers that others reach.
	cfg, _, err := config.Load(cmd.Flags(), "server", "auth")
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
	log := slog.New(slog.DiscardHandler)
	auth, err := newAuth(cfg, log)
	if err != nil {
		remove()
		return nil, "", &usageError{err}
	}
	svc, err := assemble(cfg, auth, log)
	if err != nil {
		remove()
		return nil, "", err
	}
	listeners, location, err := listen(ctx, cfg)
	if err != nil {
		svc.close()
		remove()
		return nil, "", source.AsError("start", err).WithHint("it listens in the system's temporary folder: TMPDIR says which")
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
