package flightsrv

import (
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
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
	for _, split := range splits {
		command, err := json.Marshal(ReadCommand{V: wireVersion, Dataset: ref.String(), Config: split.Config, Split: split.Split})
		if err != nil {
			return err
		}
		rows := int64(-1)
		if split.Rows != nil {
			rows = *split.Rows
		}
		err = stream.Send(&flight.FlightInfo{
			FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: command},
			TotalRecords:     rows, TotalBytes: split.Bytes,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
