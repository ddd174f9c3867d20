package flightsrv

import (
	"context"
	"encoding/json"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// parquetAction lists the files of a dataset's conversion to Parquet, in the
// shape of the dataset viewer or of the Hub.
func (s *Server) parquetAction(ctx context.Context, body []byte, _ func(any) error) (any, error) {
	var c wire.ParquetRequest
	if err := decode("parquet", body, maxCommand, &c); err != nil {
		return nil, err
	}
	ref, err := s.ref(c.Dataset, c.Revision)
	if err != nil {
		return nil, err
	}
	if err := authorize(ctx, "parquet", ref, false); err != nil {
		return nil, err
	}
	r := dataset.ParquetRequest{Ref: ref, Config: c.Config, Split: c.Split, Shape: c.Shape, Shard: -1}
	if c.Shard != nil {
		if *c.Shard < 0 {
			return nil, invalid("parquet", "shard %d is negative", *c.Shard)
		}
		r.Shard = *c.Shard
	}
	l, err := s.planner.Parquet(ctx, principalOf(ctx).HubToken, r)
	if err != nil {
		return nil, err
	}
	result, err := parquetResult(r, l)
	if err != nil {
		return nil, err
	}
	return bounded(result)
}

func parquetResult(r dataset.ParquetRequest, l dataset.ParquetListing) (any, error) {
	if r.Shape != dataset.ShapeHub {
		v := wire.ViewerListing{Type: "result", V: wireVersion, Conversion: l.Conversion, Reason: l.Reason}
		if l.Reason != "" {
			v.Conversion = source.Conversion{Files: []source.ConvertedFile{}, Pending: []source.ConversionJob{}, Failed: []source.ConversionJob{}}
		}
		return v, nil
	}
	h := wire.HubListing{Type: "result", V: wireVersion, Reason: l.Reason}
	var shape any
	switch {
	case r.Shard >= 0:
		if shards := l.URLs[r.Config][r.Split]; len(shards) == 1 {
			h.URL = shards[0]
		}
		return h, nil
	case r.Split != "":
		shape = orEmpty(l.URLs[r.Config][r.Split])
	case r.Config != "" && l.URLs[r.Config] != nil:
		shape = l.URLs[r.Config]
	case r.Config == "" && l.URLs != nil:
		shape = l.URLs
	default:
		shape = struct{}{}
	}
	raw, err := json.Marshal(shape)
	h.URLs = raw
	return h, err
}

func orEmpty(urls []string) []string {
	if urls == nil {
		return []string{}
	}
	return urls
}

// bounded refuses a listing that does not fit one Result, and says how to ask for
// less.
func bounded(result any) (any, error) {
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxResult {
		return nil, source.Errorf(source.KindLimit, "parquet", "the listing is %d bytes long; at most %d fit into one answer", len(raw), maxResult).
			WithHint("ask for one config, or one split of it")
	}
	return json.RawMessage(raw), nil
}
