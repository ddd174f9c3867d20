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

func TestWhatEndsWithoutAResultMayHaveBeenCommitted(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	flight.RegisterFlightServiceServer(server, &silent{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	defer func() { server.Stop(); <-served }()
	c, err := client.Dial(t.Context(), "grpc://"+lis.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

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
