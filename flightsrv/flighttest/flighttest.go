package flighttest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/hubsink"
	"github.com/hubflight/hubflight/writer/localsink"
)

// Fixture is a running service. It is closed by the test's cleanup.
type Fixture struct {
	Server   *flightsrv.Server
	Client   *client.Client
	Location string           // grpc://127.0.0.1:PORT, or with Unix grpc+unix:///…
	Root     string           // a folder that is a local root
	Spool    string           // where the writer keeps files on their way
	Hub      *hubtest.Running // the Hub it reads and writes
	HubHTTP  *hub.Client      // what it reads and writes that Hub with
	Log      *Log             // what the server logged

	t testing.TB
}

type setup struct {
	hub    []hubtest.Option
	http   hub.Options
	auth   flightsrv.Auth
	limits flightsrv.Limits
	token  source.HubToken
	bearer string
	spool  string
	room   int64
	memory memory.Allocator
	unix   bool
}

// Option changes what New makes.
type Option func(*setup)

// Hub gives the embedded Hub its repositories and settings.
func Hub(options ...hubtest.Option) Option { return func(s *setup) { s.hub = options } }

// HubClient sets how the service talks to the Hub: patience, repetition. The
// endpoint is always the embedded Hub's.
func HubClient(o hub.Options) Option { return func(s *setup) { s.http = o } }

// Auth sets who may call; the default is anybody, with their own Hub token.
func Auth(a flightsrv.Auth) Option { return func(s *setup) { s.auth = a } }

// Limits sets the server's bounds.
func Limits(l flightsrv.Limits) Option { return func(s *setup) { s.limits = l } }

// Unix has the service listen on a unix socket instead of a loopback port.
func Unix() Option { return func(s *setup) { s.unix = true } }

// Memory is what batches are decoded to; the default is the server's own pool.
func Memory(m memory.Allocator) Option { return func(s *setup) { s.memory = m } }

// Tokens are the credentials of Fixture.Client.
func Tokens(bearer, hubToken string) Option {
	return func(s *setup) { s.bearer, s.token = bearer, source.NewHubToken(hubToken) }
}

// Spool puts the writer's files on their way into dir ("" is a temporary folder),
// and bounds them to that many bytes; 0 is the writer's own bound.
func Spool(dir string, bytes int64) Option { return func(s *setup) { s.spool, s.room = dir, bytes } }

// New starts a service.
func New(t testing.TB, options ...Option) *Fixture {
	t.Helper()
	s := setup{
		auth: flightsrv.Auth{Mode: flightsrv.AuthNone, AcceptClientToken: true},
		http: hub.Options{Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond}},
	}
	for _, o := range options {
		o(&s)
	}
	f := &Fixture{t: t, Root: t.TempDir(), Spool: s.spool, Hub: hubtest.New(t, s.hub...), Log: &Log{}}
	if f.Spool == "" {
		f.Spool = t.TempDir()
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	logger := slog.New(slog.NewTextHandler(f.Log, nil))
	s.http.Endpoint, s.http.Logger = f.Hub.HubURL, logger
	hubClient, err := hub.New(s.http)
	must(err)
	f.HubHTTP = hubClient
	roots, err := localfs.NewRoots([]string{f.Root})
	must(err)
	planner := dataset.NewPlanner(dataset.PlannerOptions{Logger: logger, Memory: s.memory, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		if ref.IsLocal() {
			return roots.Store(ref)
		}
		return hubClient.Dataset(ref.Repo, token), nil
	}})
	memory := &hubsink.Memory{}
	w, err := writer.New(writer.Options{SpoolDir: f.Spool, SpoolBytes: s.room, Logger: logger, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (writer.Sink, error) {
		if !ref.IsLocal() {
			return hubsink.New(hubsink.Options{Client: hubClient, Repo: ref.Repo, Token: token, Memory: memory, Logger: logger}), nil
		}
		store, err := roots.Store(ref)
		if err != nil {
			return nil, err
		}
		return localsink.New(store, logger), nil
	}})
	must(err)
	f.Server = flightsrv.New(flightsrv.Options{Planner: planner, Writer: w, Auth: s.auth, Limits: s.limits, Version: "test", HubEndpoint: f.Hub.HubURL, Logger: logger,
		Locate: func(ref source.Ref) (source.Ref, error) {
			folder, tail, err := roots.Split(ref)
			ref.Dir, ref.Path = folder, tail
			return ref, err
		}})
	lis, err := s.listen(t)
	must(err)
	served := make(chan error, 1)
	go func() { served <- f.Server.Serve(lis) }()
	f.Location = "grpc://" + lis.Addr().String()
	if s.unix {
		f.Location = "grpc+unix://" + lis.Addr().String()
	}
	f.Client, err = client.Dial(t.Context(), f.Location, client.Options{ServerToken: s.bearer, HubToken: s.token})
	must(err)
	t.Cleanup(func() {
		_ = f.Client.Close() // the server is about to end anyway
		f.Server.Drain(time.Second)
		must(<-served)
		must(w.Close())
		must(roots.Close())
		hubClient.Close()
	})
	return f
}

func (s *setup) listen(t testing.TB) (net.Listener, error) {
	var lc net.ListenConfig
	if s.unix {
		return lc.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	}
	return lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
}

// Folder makes a local dataset below the root and returns its name.
func (f *Fixture) Folder(name string, files map[string][]byte) string {
	f.t.Helper()
	dir := filepath.Join(f.Root, name)
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	return "file://" + dir
}

// Log collects what the server logs.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Numbers is a Parquet file of rows first … first+rows−1 in row groups of 100: id
// int64 rising, name string with a null every tenth row, group string "g0" … of a
// hundred rows each.
func Numbers(t testing.TB, first, rows int) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "group", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := first; i < first+rows; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if i%10 == 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("name %d", i))
		}
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("g%d", i/100))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, 100, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
