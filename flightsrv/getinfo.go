package flightsrv

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

const headerMaxInfo = "x-hubflight-max-info"

// GetFlightInfo plans a read: one endpoint per data file that can hold rows.
func (s *Server) GetFlightInfo(ctx context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	command, err := readCommand(d)
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(ctx, command)
	if err != nil {
		return nil, err
	}
	limit, err := infoLimit(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.flightInfo(d, command, plan, limit)
	if err != nil {
		return nil, err
	}
	// PATH is for humans and for generic clients, some of which read
	// app_metadata as msgpack: leave it empty there.
	if d.GetType() == flight.DescriptorCMD {
		if info.AppMetadata, err = json.Marshal(planMetadata(plan)); err != nil {
			return nil, err
		}
	}
	return info, nil
}

// plan checks the caller's rights and plans.
func (s *Server) plan(ctx context.Context, command *wire.ReadCommand) (*dataset.Plan, error) {
	r, err := s.request(ctx, "plan", command)
	if err != nil {
		return nil, err
	}
	return s.planner.Plan(ctx, principalOf(ctx).HubToken, r)
}

func planMetadata(p *dataset.Plan) wire.InfoMetadata {
	return wire.InfoMetadata{
		V: wireVersion, Dataset: p.Dataset, Revision: p.Revision, Sha: p.Facts.Sha, DataSha: p.Facts.DataSha,
		Config: p.Facts.Config, Split: p.Facts.Split, Source: p.Facts.Source, Partial: p.Facts.Partial,
		RowsExact: p.RowsExact, FilesTotal: p.FilesTotal, FilesKept: p.FilesKept,
	}
}

// flightInfo encodes a plan, refusing one that the client could not receive.
func (s *Server) flightInfo(d *flight.FlightDescriptor, command *wire.ReadCommand, plan *dataset.Plan, limit int) (*flight.FlightInfo, error) {
	info := &flight.FlightInfo{
		Schema: flight.SerializeSchema(plan.Schema, memory.DefaultAllocator), FlightDescriptor: d,
		TotalRecords: plan.TotalRows, TotalBytes: plan.TotalBytes, Ordered: true,
		Endpoint: make([]*flight.FlightEndpoint, 0, len(plan.Partitions)),
	}
	size := len(info.Schema)
	for _, p := range plan.Partitions {
		endpoint, err := s.endpointOf(p, command.Compression)
		if err != nil {
			return nil, err
		}
		// 64 bytes cover the protobuf framing of an endpoint without locations.
		if size += len(endpoint.Ticket.Ticket) + len(endpoint.AppMetadata) + 64*(1+len(s.advertise)); size > limit {
			return nil, source.Errorf(source.KindLimit, "plan", "the plan of %d partitions is larger than the %d bytes this client can receive", len(plan.Partitions), limit).
				WithHint("raise the client's receive limit and say so with the header %s, or narrow the plan with filters, split or data_files", headerMaxInfo)
		}
		info.Endpoint = append(info.Endpoint, endpoint)
	}
	return info, nil
}

func (s *Server) endpointOf(p dataset.Partition, compression string) (*flight.FlightEndpoint, error) {
	ticket, err := encodeTicket(p, compression)
	if err != nil {
		return nil, err
	}
	about, err := json.Marshal(wire.EndpointMetadata{
		V: wireVersion, File: p.File.Path, Config: p.Config, Split: p.FileSplit,
		RowGroups: p.Groups, Rows: p.Rows, RowsExact: p.RowsExact, Bytes: p.Bytes,
	})
	if err != nil {
		return nil, err
	}
	return &flight.FlightEndpoint{Ticket: &flight.Ticket{Ticket: ticket}, Location: s.advertise, AppMetadata: about}, nil
}

// infoLimit is how large a FlightInfo this client can receive.
func infoLimit(ctx context.Context) (int, error) {
	n, err := intHeader(ctx, headerMaxInfo, defaultInfo)
	return int(min(n, maxInfo)), err
}

// intHeader reads a non-negative integer header.
func intHeader(ctx context.Context, name string, absent int64) (int64, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(name)
	if len(values) == 0 {
		return absent, nil
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if len(values) > 1 || err != nil || n < 0 {
		return 0, invalid("headers", "%s is not one non-negative integer", name)
	}
	return n, nil
}
