package client

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/ipcguard"
)

// Read says which rows and columns of which dataset: the read command of the
// wire contract. Only Dataset is required.
type Read = wire.ReadCommand

// Columns is a projection by top-level names or dotted paths, in this order.
func Columns(names ...string) *[]source.Column {
	columns := make([]source.Column, len(names))
	for i, n := range names {
		columns[i] = source.Col(n)
	}
	return &columns
}

// Dataset is one read of a dataset; it holds no resources.
type Dataset struct {
	client *Client
	read   Read
}

// Dataset prepares a read.
func (c *Client) Dataset(read Read) *Dataset {
	read.V = wire.Version
	return &Dataset{client: c, read: read}
}

// Schema returns the schema of the stream, the one that Plan has. Its metadata key
// "hubflight" names the snapshot. Errors: KindInvalid (the request), KindNotFound,
// KindDenied, KindUnsupported (a format or a type that cannot be read), KindCorrupt
// (a file), and those of reaching the server and the Hub; Plan, Scan, Count and
// Explain have the same.
func (d *Dataset) Schema(ctx context.Context) (*arrow.Schema, error) {
	desc, err := d.descriptor()
	if err != nil {
		return nil, err
	}
	result, err := d.client.flight.GetSchema(d.client.outgoing(ctx), desc)
	if err != nil {
		return nil, fromStatus("schema", err)
	}
	return ipcguard.Schema(result.GetSchema())
}

func (d *Dataset) descriptor() (*flight.FlightDescriptor, error) {
	if err := d.read.Validate(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(d.read)
	if err != nil {
		return nil, source.Errorf(source.KindInvalid, "read command", "%w", err)
	}
	return &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: raw}, nil
}

// Plan is what will be read: a schema and partitions in file order.
type Plan struct {
	Schema *arrow.Schema
	// Facts about the snapshot: commit, config, split, files kept of files in all.
	Facts wire.InfoMetadata
	// Rows of the output, and Bytes that the chosen columns take compressed in the
	// files; −1 when they are not known without reading.
	Rows, Bytes int64
	// Partitions in file order; none if no file can hold a row.
	Partitions []Partition
}

// Partition is one endpoint: a ticket that any replica serves, any number of
// times.
type Partition struct {
	Ticket    []byte
	Locations []string
	Facts     wire.EndpointMetadata
}

// Plan asks the server what it would read. The plan is of one commit, and stays good
// for as long as the Hub has its files: it may be read any number of times.
func (d *Dataset) Plan(ctx context.Context) (*Plan, error) {
	desc, err := d.descriptor()
	if err != nil {
		return nil, err
	}
	info, err := d.client.flight.GetFlightInfo(d.client.outgoing(ctx, "x-hubflight-max-info", strconv.Itoa(maxReceive)), desc)
	if err != nil {
		return nil, fromStatus("plan", err)
	}
	plan := &Plan{Rows: info.GetTotalRecords(), Bytes: info.GetTotalBytes()}
	if plan.Schema, err = ipcguard.Schema(info.GetSchema()); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(info.GetAppMetadata(), &plan.Facts); err != nil {
		return nil, source.Errorf(source.KindInternal, "plan", "the plan's facts cannot be read: %w", err)
	}
	for _, e := range info.GetEndpoint() {
		p := Partition{Ticket: e.GetTicket().GetTicket()}
		for _, loc := range e.GetLocation() {
			p.Locations = append(p.Locations, loc.GetUri())
		}
		if err := json.Unmarshal(e.GetAppMetadata(), &p.Facts); err != nil {
			return nil, source.Errorf(source.KindInternal, "plan", "a partition's facts cannot be read: %w", err)
		}
		plan.Partitions = append(plan.Partitions, p)
	}
	return plan, nil
}

// Count returns the exact number of rows: from footers alone without filters, else
// from the columns that the filters name.
func (d *Dataset) Count(ctx context.Context) (int64, error) {
	n, err := d.Counted(ctx)
	return n.Rows, err
}

// Counted is a number of rows, and whether "footers" or a "scan" gave it.
type Counted = wire.CountResult

// Counted is Count that says where the number comes from.
func (d *Dataset) Counted(ctx context.Context) (Counted, error) {
	if err := d.read.Validate(); err != nil {
		return Counted{}, err
	}
	var result Counted
	return result, d.client.Action(ctx, "count", d.read, &result, nil)
}

// Explanation is a plan's row groups and why each is read or skipped.
type Explanation struct {
	Files  []ExplainedFile    `json:"files"`
	Totals wire.ExplainResult `json:"totals"`
}

// ExplainedFile and ExplainedGroup are what an Explanation says of one file and of
// one of its row groups.
type (
	ExplainedFile  = wire.ExplainItem
	ExplainedGroup = wire.ExplainGroup
)

// Explain asks why each row group is read or skipped.
func (d *Dataset) Explain(ctx context.Context) (*Explanation, error) {
	if err := d.read.Validate(); err != nil {
		return nil, err
	}
	var e Explanation
	err := d.client.Action(ctx, "explain", d.read, &e.Totals, items("explain", func(item ExplainedFile) error {
		if n := len(e.Files); n > 0 && e.Files[n-1].File == item.File && e.Files[n-1].Split == item.Split && e.Files[n-1].Config == item.Config {
			e.Files[n-1].Groups = append(e.Files[n-1].Groups, item.Groups...) // a file with many groups comes in several items
			return nil
		}
		e.Files = append(e.Files, item)
		return nil
	}))
	if err != nil {
		return nil, err
	}
	return &e, nil
}
