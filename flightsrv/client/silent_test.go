package client_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// silent is a Flight server whose answers end well and without a result, as a proxy's
// do whose server was killed.
type silent struct{ flight.BaseFlightServer }

func (*silent) DoAction(*flight.Action, flight.FlightService_DoActionServer) error { return nil }

func (*silent) DoPut(stream flight.FlightService_DoPutServer) error {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// dial runs a server that stands in for ours, and connects to it.
func dial(t *testing.T, service flight.FlightServer) *client.Client {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	flight.RegisterFlightServiceServer(server, service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	t.Cleanup(func() { server.Stop(); <-served })
	c, err := client.Dial(t.Context(), "grpc://"+lis.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestWhatEndsWithoutAResultMayHaveBeenCommitted(t *testing.T) {
	c := dial(t, &silent{})
	_, begun := c.Begin(t.Context(), writer.BeginRequest{})
	_, staged := c.Stage(t.Context(), writer.StageRequest{}, idSchema, idBatches(1, nil), nil)
	_, committed := c.Commit(t.Context(), writer.CommitRequest{}, nil)
	_, written := c.Write(t.Context(), writer.WriteRequest{}, idSchema, idBatches(1, nil), nil)
	for _, step := range []struct {
		name string
		err  error
		want source.Kind
	}{
		{"begin", begun, source.KindInternal}, {"stage", staged, source.KindInternal},
		{"commit", committed, source.KindUnknownOutcome}, {"write", written, source.KindUnknownOutcome},
	} {
		if source.KindOf(step.err) != step.want {
			t.Errorf("%s: got %v, want %v", step.name, step.err, step.want)
		}
	}
}

// garbled is a Flight server whose answers have items of another form than ours.
type garbled struct{ flight.BaseFlightServer }

func (*garbled) DoAction(_ *flight.Action, stream flight.FlightService_DoActionServer) error {
	for _, body := range []string{`{"type":"item","job":1,"file":1,"config":1,"files":1}`, `{"type":"result"}`} {
		if err := stream.Send(&flight.Result{Body: []byte(body)}); err != nil {
			return err
		}
	}
	return nil
}

func TestEveryErrorIsOfTheOneType(t *testing.T) {
	c := dial(t, &garbled{})
	read := client.Read{Dataset: "ns/name"}
	_, _, splits := c.Splits(t.Context(), "ns/name", "")
	_, jobs := c.Jobs(t.Context(), "ns/name", "", "")
	explanation, explain := c.Dataset(read).Explain(t.Context())
	_, parquet := c.Parquet(t.Context(), client.ParquetRequest{Dataset: "ns/name"})
	_, _, urls := c.ParquetURLs(t.Context(), client.ParquetRequest{Dataset: "ns/name"})
	for op, err := range map[string]error{"splits": splits, "jobs": jobs, "explain": explain, "parquet": errors.Join(parquet, urls)} {
		var e *source.Error
		if !errors.As(err, &e) || e.Kind != source.KindInternal || e.Op != op {
			t.Errorf("%s: got %v", op, err)
		}
	}
	if explanation != nil {
		t.Errorf("half an explanation came with the error: %+v", explanation)
	}
	_, shape := c.Parquet(t.Context(), client.ParquetRequest{Dataset: "ns/name", Shape: "hub"})
	if source.KindOf(shape) != source.KindInvalid {
		t.Errorf("the shape hub: got %v", shape)
	}
}
