package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/hubsink"
	"github.com/hubflight/hubflight/writer/localsink"
)

// service is a server with everything below it.
type service struct {
	server      *flightsrv.Server
	hubEndpoint string
	close       func()
}

// assemble puts the parts together: this is the one place where the Hub, the
// local folders, the planner, the writer and the Flight service meet.
func assemble(cfg config.Config, auth flightsrv.Auth, log *slog.Logger) (_ *service, err error) {
	var closers []func() error
	closeAll := func() {
		for _, closer := range slices.Backward(closers) {
			if cerr := closer(); cerr != nil {
				log.Warn("close", "error", source.Redact(cerr.Error()))
			}
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()

	hubClient, err := newHubClient(cfg, log)
	if err != nil {
		return nil, &usageError{err}
	}
	closers = append(closers, func() error { hubClient.Close(); return nil })
	roots, err := localfs.NewRoots(cfg.Local.Roots)
	if err != nil {
		return nil, &usageError{err}
	}
	closers = append(closers, roots.Close)

	ranges, closeCache, err := newRanges(cfg, hubClient.Endpoint(), log)
	if err != nil {
		return nil, &usageError{err}
	}
	closers = append(closers, closeCache)

	locate := locator(roots)
	planner := dataset.NewPlanner(dataset.PlannerOptions{
		Open: storeOpener(hubClient, roots, log), FootersMax: cfg.Plan.FootersMax, Ranges: ranges, Logger: log,
		FooterCacheBytes: footerCacheBytes(cfg), FooterBytes: cfg.MemoryBudget() / 8,
		QueueTimeout: cfg.Server.QueueTimeout,
	})
	w, err := writer.New(writer.Options{
		Open: sinkOpener(hubClient, roots, log), SpoolDir: cfg.Write.SpoolDir, SpoolBytes: int64(cfg.Write.SpoolBytes),
		CommitDeadline: cfg.Write.CommitDeadline, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	closers = append(closers, w.Close)
	encryption, err := tlsConfig(cfg)
	if err != nil {
		return nil, &usageError{err}
	}
	server := flightsrv.New(flightsrv.Options{
		Planner: planner, Writer: w, Locate: locate, Auth: auth, Version: programVersion(),
		HubEndpoint: hubClient.Endpoint(), Advertise: cfg.Server.Advertise, TLS: encryption, Logger: log,
		Limits: flightsrv.Limits{
			MaxStreams: cfg.Server.MaxStreams, MaxMessage: int(cfg.Server.MaxMessage), DecodeSlots: cfg.DecodeSlots(),
			QueueTimeout: cfg.Server.QueueTimeout, IdleTimeoutGet: cfg.Server.IdleTimeoutGet, IdleTimeoutPut: cfg.Server.IdleTimeoutPut,
			ScanMemory:     cfg.MemoryBudget() / 2, // the rest is for footers, uploads and what is not collected yet
			NoSharedMemory: !cfg.Server.SharedMemory,
		},
	})
	return &service{server: server, hubEndpoint: hubClient.Endpoint(), close: closeAll}, nil
}

// footerCacheBytes is cache.footers, within a quarter of the budget. 0 means that
// nothing is kept, which a cache of one byte does: to the planner 0 is its default.
func footerCacheBytes(cfg config.Config) int64 {
	return max(min(int64(cfg.Cache.Footers), cfg.MemoryBudget()/4), 1)
}

func newHubClient(cfg config.Config, log *slog.Logger) (*hub.Client, error) {
	client, err := hub.New(hub.Options{
		Endpoint: cmp.Or(cfg.Hub.Endpoint, hub.EndpointFromEnvironment()), ViewerEndpoint: cfg.Hub.ViewerEndpoint, UserAgent: "hubflight/" + release,
		Connections: cfg.Hub.Connections, StallTimeout: cfg.Hub.StallTimeout,
		Offline: cfg.Hub.Offline || hub.OfflineFromEnvironment(),
		Retry:   hub.RetryOptions{Attempts: cfg.Hub.RetryAttempts, Elapsed: cfg.Hub.RetryDeadline},
		Logger:  log,
	})
	if err != nil && cfg.Hub.Endpoint == "" {
		return nil, source.AsError("hub options", err).WithHint("the endpoint is that of the environment variable HF_ENDPOINT")
	}
	return client, err
}

// newRanges makes what all streams share in fetching from the Hub: the budget, and
// the cache on disk if one is configured.
func newRanges(cfg config.Config, endpoint string, log *slog.Logger) (*rangeio.Scheduler, func() error, error) {
	o := rangeio.SchedulerOptions{
		Gap: int64(cfg.Scan.RangeGap), Max: int64(cfg.Scan.RangeMax),
		InFlight: cfg.Scan.RangeParallel, Ahead: int64(cfg.Scan.PrefetchBytes), Origin: endpoint,
	}
	closeCache := func() error { return nil }
	if cfg.Cache.Dir != "" {
		disk, err := rangeio.OpenDisk(cfg.Cache.Dir, int64(cfg.Cache.Bytes), log)
		if err != nil {
			return nil, nil, fmt.Errorf("cache.dir: %w", err)
		}
		o.Disk, closeCache = disk, disk.Close
	}
	s, err := rangeio.NewScheduler(o)
	if err != nil {
		return nil, nil, errors.Join(err, closeCache())
	}
	return s, closeCache, nil
}

// locator splits the path of a local name into the dataset's folder and a tail.
func locator(roots *localfs.Roots) func(source.Ref) (source.Ref, error) {
	return func(ref source.Ref) (source.Ref, error) {
		folder, tail, err := roots.Split(ref)
		if err != nil {
			return ref, err
		}
		ref.Dir, ref.Path = folder, tail
		return ref, nil
	}
}

// storeOpener opens what is read. A reader that finds a folder's commit interrupted,
// because its server was killed, has it finished.
func storeOpener(client *hub.Client, roots *localfs.Roots, log *slog.Logger) dataset.Opener {
	return func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		if !ref.IsLocal() {
			return client.Dataset(ref.Repo, token), nil
		}
		store, err := roots.Store(ref)
		if err != nil {
			return nil, err
		}
		return store.Finishing(func(ctx context.Context, s *localfs.Store) error { return localsink.New(s, log).Recover(ctx) }), nil
	}
}

func sinkOpener(client *hub.Client, roots *localfs.Roots, log *slog.Logger) writer.Opener {
	memory := &hubsink.Memory{}
	return func(_ context.Context, ref source.Ref, token source.HubToken) (writer.Sink, error) {
		if !ref.IsLocal() {
			return hubsink.New(hubsink.Options{Client: client, Repo: ref.Repo, Token: token, Memory: memory, Logger: log}), nil
		}
		store, err := roots.Store(ref)
		if err != nil {
			return nil, err
		}
		return localsink.New(store, log), nil
	}
}

// newAuth decides whose Hub token calls use. With auth.mode=none anybody who
// reaches the TCP port of this machine could read with the server's own token, so
// one that is merely lying about is not used there, and one that was asked for is
// refused.
func newAuth(cfg config.Config, log *slog.Logger) (flightsrv.Auth, error) {
	auth := flightsrv.Auth{Mode: flightsrv.AuthMode(cfg.Auth.Mode), AcceptClientToken: cfg.Hub.AcceptClientToken}
	if auth.Mode == flightsrv.AuthToken {
		file, err := os.Open(cfg.Auth.TokenFile)
		if err != nil {
			return auth, fmt.Errorf("auth.token_file: %w", err)
		}
		defer func() { _ = file.Close() }() // read only
		if err := auth.ReadTokenFile(file); err != nil {
			return auth, err
		}
	}
	if auth.Mode == flightsrv.AuthHub {
		return auth, nil // every caller brings its own
	}
	open := auth.Mode == flightsrv.AuthNone && cfg.Server.Address != "" && !cfg.Server.Insecure
	token, err := ownHubToken(cfg)
	switch {
	case err != nil:
		return auth, err
	case token.IsZero():
	case open && cfg.Hub.TokenFile != "":
		return auth, fmt.Errorf("hub.token_file: with auth.mode=none every user of this machine could use this token: listen on server.unix only, choose auth.mode=token, or accept it with server.insecure")
	case open:
		log.Warn("the Hub token found in the environment is not used: every user of this machine could read with it",
			"hint", "clients send their own token; or listen on server.unix only, choose auth.mode=token, or set server.insecure")
	default:
		auth.OwnHubToken = token
	}
	return auth, nil
}

// maxTokenFile bounds a file that should hold one token.
const maxTokenFile = 64 << 10

func ownHubToken(cfg config.Config) (source.HubToken, error) {
	if cfg.Hub.TokenFile == "" {
		return hub.ReadTokenFromEnvironment()
	}
	file, err := os.Open(cfg.Hub.TokenFile)
	if err != nil {
		return source.HubToken{}, fmt.Errorf("hub.token_file: %w", err)
	}
	defer func() { _ = file.Close() }() // read only
	raw, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return source.HubToken{}, fmt.Errorf("hub.token_file: %w", err)
	}
	token := source.NewHubToken(string(raw))
	if token.IsZero() {
		return token, fmt.Errorf("hub.token_file: the file is empty")
	}
	return token, nil
}

// tlsConfig reads the certificates, or is nil without them.
func tlsConfig(cfg config.Config) (*tls.Config, error) {
	if !cfg.TLS() {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.Server.TLSCert, cfg.Server.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("server.tls.cert: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if cfg.Server.TLSClientCA != "" {
		pem, err := os.ReadFile(cfg.Server.TLSClientCA)
		if err != nil {
			return nil, fmt.Errorf("server.tls.client_ca: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("server.tls.client_ca: holds no certificate")
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

func newLogger(cfg config.Config, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // validated by config
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, opts))
	}
	return slog.New(slog.NewTextHandler(out, opts))
}
