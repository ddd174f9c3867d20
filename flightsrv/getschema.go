package flightsrv

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// GetSchema answers the schema that GetFlightInfo would give for the same
// command, computed by the same function; its metadata pins the snapshot.
func (s *Server) GetSchema(ctx context.Context, d *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	command, err := readCommand(d)
	if err != nil {
		return nil, err
	}
	r, err := s.request(ctx, "schema", command)
	if err != nil {
		return nil, err
	}
	schema, err := s.planner.Schema(ctx, principalOf(ctx).HubToken, r)
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(schema, memory.DefaultAllocator)}, nil
}
