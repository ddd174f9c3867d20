package flightsrv

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// parquetAction lists the files of a dataset's conversion to Parquet, in the
// shape of the dataset viewer or of the Hub.
func (s *Server) parquetAction(ctx context.Context, body []byte, emit func(any) error) (any, error) {
	var c wire.ParquetRequest
	if err := decode("parquet", body, maxCommand, &c); err != nil {
		return nil, err
	}
	ref, err := s.readable(ctx, "parquet", c.Dataset, c.Revision)
	if err != nil {
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
	whole, err := parquetResult(r, l)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	if len(raw) <= maxResult {
		return json.RawMessage(raw), nil
	}
	// What does not fit one Result goes ahead of it, in items.
	if r.Shape != dataset.ShapeHub {
		err = emitConversion(l.Conversion, emit)
		l.Conversion.Files, l.Conversion.Pending, l.Conversion.Failed = []source.ConvertedFile{}, []source.ConversionJob{}, []source.ConversionJob{}
	} else {
		err = emitURLs(l.URLs, emit)
		l.URLs = nil
	}
	if err != nil {
		return nil, err
	}
	return parquetResult(r, l)
}

// itemBytes is about how long an item of a listing gets; one entry may be longer.
const itemBytes = maxResult / 2

func emitConversion(c source.Conversion, emit func(any) error) error {
	err := inParts(c.Files, emit, func(part []source.ConvertedFile) any { return wire.ListingItem{Type: "item", Files: part} })
	if err == nil {
		err = inParts(c.Pending, emit, func(part []source.ConversionJob) any { return wire.ListingItem{Type: "item", Pending: part} })
	}
	if err == nil {
		err = inParts(c.Failed, emit, func(part []source.ConversionJob) any { return wire.ListingItem{Type: "item", Failed: part} })
	}
	return err
}

func emitURLs(urls map[string]map[string][]string, emit func(any) error) error {
	for _, config := range slices.Sorted(maps.Keys(urls)) {
		for _, split := range slices.Sorted(maps.Keys(urls[config])) {
			err := inParts(urls[config][split], emit, func(part []string) any {
				return wire.ListingItem{Type: "item", Config: config, Split: split, URLs: part}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// inParts emits a list in items of bounded length.
func inParts[T any](list []T, emit func(any) error, item func(part []T) any) error {
	from, size := 0, 0
	for i, entry := range list {
		raw, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		if size > 0 && size+len(raw) > itemBytes {
			if err := emit(item(list[from:i])); err != nil {
				return err
			}
			from, size = i, 0
		}
		size += len(raw) + 1
	}
	if from == len(list) {
		return nil
	}
	return emit(item(list[from:]))
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
