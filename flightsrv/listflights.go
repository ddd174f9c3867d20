package flightsrv

import (
	"context"
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// ListFlights lists the configs and splits of one dataset. There is no listing
// of everything: the Hub has hundreds of thousands of datasets, and some clients
// collect the stream before they look at it.
func (s *Server) ListFlights(criteria *flight.Criteria, stream flight.FlightService_ListFlightsServer) error {
	if len(criteria.GetExpression()) == 0 {
		return invalid("list flights", "the criteria are empty").WithHint(`say which dataset: {"dataset":"ns/name"}`)
	}
	var c wire.ListCriteria
	if err := decode("list flights", criteria.GetExpression(), maxCommand, &c); err != nil {
		return err
	}
	ctx := stream.Context()
	ref, err := s.readable(ctx, "list flights", c.Dataset, c.Revision)
	if err != nil {
		return err
	}
	_, splits, err := s.planner.Splits(ctx, principalOf(ctx).HubToken, ref)
	if err != nil {
		return err
	}
	return watched(ctx, "list flights", s.limits.IdleTimeoutGet, func(_ context.Context, wait await) error {
		for _, split := range splits {
			info, err := splitInfo(ref, split)
			if err != nil {
				return err
			}
			if err := wait(func() error { return stream.Send(info) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// splitInfo is a split as something to read: without endpoints, which a plan has.
func splitInfo(ref source.Ref, split dataset.SplitInfo) (*flight.FlightInfo, error) {
	command, err := json.Marshal(wire.ReadCommand{V: wireVersion, Dataset: ref.String(), Config: split.Config, Split: split.Split})
	if err != nil {
		return nil, err
	}
	rows := int64(-1)
	if split.Rows != nil {
		rows = *split.Rows
	}
	return &flight.FlightInfo{
		FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: command},
		TotalRecords:     rows, TotalBytes: split.Bytes,
	}, nil
}
