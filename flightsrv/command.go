package flightsrv

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/hubflight/hubflight/flightsrv/internal/strictjson"
	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan"
)

// wireVersion is the version that every body carries.
const wireVersion = wire.Version

// queryOf turns the parts that concern rows and columns into a scan.Query.
func queryOf(c *wire.ReadCommand) (scan.Query, error) {
	q := scan.Query{RowsOnly: c.RowsOnly, BatchRows: c.BatchRows, BatchBytes: c.BatchBytes}
	if c.Columns != nil {
		q.Columns = *c.Columns
	}
	var err error
	if q.Profile, err = parseOr(c.Profile, scan.ParseProfile); err != nil {
		return q, err
	}
	if q.Logic, err = parseOr(c.Logic, filter.ParseLogic); err != nil {
		return q, err
	}
	if len(c.Filters) > 0 && string(c.Filters) != "null" {
		if q.Filters, err = filter.Parse(c.Filters); err != nil {
			return q, err
		}
	}
	return q, nil
}

// parseOr parses text, or returns the zero value when there is none.
func parseOr[T any](text string, parse func(string) (T, error)) (T, error) {
	if text == "" {
		var zero T
		return zero, nil
	}
	return parse(text)
}

// request turns the whole command into a planner's request, if the caller may read
// the dataset that it names.
func (s *Server) request(ctx context.Context, op string, c *wire.ReadCommand) (dataset.Request, error) {
	if err := c.Validate(); err != nil {
		return dataset.Request{}, err
	}
	ref, err := s.readable(ctx, op, c.Dataset, c.Revision)
	if err != nil {
		return dataset.Request{}, err
	}
	q, err := queryOf(c)
	if err != nil {
		return dataset.Request{}, err
	}
	r := dataset.Request{
		Ref: ref, Config: c.Config, Split: c.Split, DataDir: c.DataDir,
		Query: q, Limit: -1, Conversion: c.Conversion, Partial: c.Partial, MaxPartitionBytes: c.MaxPartitionBytes,
	}
	if c.Limit != nil {
		r.Limit = *c.Limit
	}
	if len(c.DataFiles) > 0 {
		if err := json.Unmarshal(c.DataFiles, &r.DataFiles); err != nil {
			return r, invalid("read command", "data_files: %w", err)
		}
	}
	return r, nil
}

// readable is the dataset of a name, if the caller may read it.
func (s *Server) readable(ctx context.Context, op, name, revision string) (source.Ref, error) {
	ref, err := s.ref(name, revision)
	if err != nil {
		return ref, err
	}
	return ref, authorize(ctx, op, ref, false)
}

// ref parses a dataset name and adds a revision given beside it.
func (s *Server) ref(name, revision string) (source.Ref, error) {
	ref, err := source.ParseRef(name)
	if err != nil {
		return ref, err
	}
	if revision != "" {
		if ref.Revision != "" && ref.Revision != revision {
			return ref, invalid("dataset name", "%q names revision %q and the option revision says %q", name, ref.Revision, revision)
		}
		if why := source.ValidateRevision(revision); why != "" {
			return ref, invalid("dataset name", "revision %q %s", revision, why)
		}
		ref.Revision = revision
	}
	if ref.IsLocal() {
		if s.locate == nil {
			return ref, source.Errorf(source.KindDenied, "dataset name", "this server reads no local folders").
				WithHint("start it with --local.roots FOLDER")
		}
		return s.locate(ref)
	}
	return ref, nil
}

// readCommand decodes a descriptor: CMD is a wire.ReadCommand, PATH is
// [ref], [ref, config] or [ref, config, split].
func readCommand(d *flight.FlightDescriptor) (*wire.ReadCommand, error) {
	switch d.GetType() {
	case flight.DescriptorCMD:
		return decodeRead(d.GetCmd())
	case flight.DescriptorPATH:
		path := d.GetPath()
		if len(path) == 0 || len(path) > 3 {
			return nil, invalid("descriptor", "a path has 1 to 3 parts (dataset, config, split), not %d", len(path))
		}
		if n := len(strings.Join(path, "")); n > maxCommand {
			return nil, invalid("descriptor", "the path has %d bytes; at most %d are accepted", n, maxCommand)
		}
		c := &wire.ReadCommand{V: wireVersion, Dataset: path[0]}
		if len(path) > 1 {
			c.Config = path[1]
		}
		if len(path) > 2 {
			c.Split = path[2]
		}
		return c, nil
	}
	return nil, invalid("descriptor", "the descriptor is neither CMD nor PATH").
		WithHint(`send CMD {"v":1,"dataset":"ns/name"} or PATH ["ns/name"]`)
}

func decodeRead(raw []byte) (*wire.ReadCommand, error) {
	var c wire.ReadCommand
	if err := strictjson.Decode(raw, maxCommand, &c); err != nil {
		refused := invalid("read command", "%w", err)
		if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) { // a message of Flight SQL, most likely
			refused = refused.WithHint(`a command is JSON such as {"v":1,"dataset":"ns/name"}; Flight SQL is not spoken here`)
		}
		return nil, refused
	}
	return &c, nil
}

// decode reads a JSON body strictly; its errors are KindInvalid.
func decode(op string, raw []byte, limit int, v any) error {
	if err := strictjson.Decode(raw, limit, v); err != nil {
		return invalid(op, "%w", err)
	}
	return nil
}

func checkVersion(op string, v int) error { return wire.CheckVersion(op, v) }

func invalid(op, format string, args ...any) *source.Error { return wire.Invalid(op, format, args...) }

// ipcOptions turns a compression name into options of the Arrow encoder.
func ipcOptions(compression string) []ipc.Option {
	switch compression {
	case "lz4":
		return []ipc.Option{ipc.WithLZ4()}
	case "zstd":
		return []ipc.Option{ipc.WithZstd()}
	}
	return nil
}
