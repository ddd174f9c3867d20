package flightsrv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
)

// padded is a Parquet file whose stream is far longer than what the transport
// buffers: rows of four kilobytes.
func padded(t testing.TB, rows int) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "pad", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	pad := strings.Repeat("x", 4<<10)
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(pad)
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, 1000, nil, pqarrow.DefaultWriterProps()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDrainDoesNotWaitForAClientThatReadsNothing(t *testing.T) {
	f := flighttest.New(t)
	name := f.Folder("padded", map[string][]byte{"train.parquet": padded(t, 8000)})
	plan, err := f.Client.Dataset(client.Read{Dataset: name}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := raw(t, f).DoGet(ctx, &flight.Ticket{Ticket: plan.Partitions[0].Ticket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it runs; the rest is left unread
		t.Fatal(err)
	}
	begin := time.Now()
	f.Server.Drain(300 * time.Millisecond)
	if took := time.Since(begin); took < 300*time.Millisecond || took > time.Minute {
		t.Errorf("draining took %s", took)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the client is told %v", err)
	}
}

func TestDrainDoesNotWaitForAClientThatWatchesTheServersHealth(t *testing.T) {
	f := flighttest.New(t)
	conn, err := grpc.NewClient("dns:///"+strings.TrimPrefix(f.Location, "grpc://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if health, err := watch.Recv(); err != nil || health.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", health, err)
	}
	begin := time.Now()
	f.Server.Drain(20 * time.Second)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("draining took %s", took)
	}
	if health, err := watch.Recv(); err != nil || health.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the client is told %v, %v", health, err)
	}
}

func TestDrainLetsARunningReadFinishAndTakesNoNewOnes(t *testing.T) {
	f := flighttest.New(t)
	name := f.Folder("padded", map[string][]byte{"train.parquet": padded(t, 4000)})
	d := f.Client.Dataset(client.Read{Dataset: name})
	plan, err := d.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	var rows int64
	for rec, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{RetryFor: time.Millisecond}) {
		if err != nil {
			t.Fatal(err)
		}
		if rows == 0 {
			go func() { defer close(drained); f.Server.Drain(20 * time.Second) }()
			for time.Sleep(10 * time.Millisecond); ; time.Sleep(10 * time.Millisecond) {
				if _, err := d.Count(t.Context()); source.KindOf(err) == source.KindUpstream {
					break
				}
			}
		}
		rows += rec.NumRows()
	}
	if rows != 4000 {
		t.Errorf("%d rows", rows)
	}
	select {
	case <-drained:
	case <-time.After(5 * time.Second):
		t.Error("the drain goes on although nothing runs any more")
	}
}

func TestAPanicCostsOneCall(t *testing.T) {
	var log flighttest.Log
	// Locating is the first thing that a handler of this package does with a
	// name, on its own goroutine for some RPCs: a bug there stands for any.
	broken := flightsrv.New(flightsrv.Options{
		Locate: func(source.Ref) (source.Ref, error) { panic("secret of the inside") },
		Auth:   flightsrv.Auth{Mode: flightsrv.AuthNone},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- broken.Serve(lis) }()
	defer func() {
		broken.Drain(time.Second)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient("dns:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c := flight.NewFlightServiceClient(conn)

	calls := map[string]func() error{
		"a unary call": func() error {
			_, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"file:///x"}`))
			return err
		},
		"a stream out": func() error {
			stream, err := c.DoAction(t.Context(), &flight.Action{Type: "count", Body: []byte(`{"v":1,"dataset":"file:///x"}`)})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a stream in, on a goroutine of its own": func() error {
			stream, err := c.DoPut(t.Context())
			if err != nil {
				return err
			}
			body := fmt.Sprintf(`{"v":1,"op":"stage","job":%q,"dataset":"file:///x","mode":"append","partition":0,"attempt":"0"}`, putJob)
			if err := stream.Send(&flight.FlightData{FlightDescriptor: command(body)}); err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		},
	}
	for range 2 { // the second round finds the server alive
		for name, call := range calls {
			err := call()
			if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	if text := log.String(); strings.Count(text, "secret of the inside") < 6 || !strings.Contains(text, "drain_test.go") {
		t.Errorf("the log does not say what happened:\n%s", text)
	}
}

func TestADrainBeforeServingIsNoFailure(t *testing.T) {
	s := flightsrv.New(flightsrv.Options{})
	s.Drain(time.Second)
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(lis); err != nil {
		t.Errorf("got %v", err)
	}
	if err := lis.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener was left open: %v", err)
	}
}
