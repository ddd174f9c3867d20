package client

import (
	"context"
	"encoding/json"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
)

// ParquetRequest says of which dataset, config and split the converted files are
// asked for.
type ParquetRequest = wire.ParquetRequest

// ParquetListing is the answer in the dataset viewer's shape.
type ParquetListing = wire.ViewerListing

// maxListed bounds the entries of a listing, wherever they come from.
const maxListed = 1 << 20

// Parquet lists the files of a dataset's conversion to Parquet in the dataset
// viewer's shape. Without a conversion the list is empty and Reason says why.
func (c *Client) Parquet(ctx context.Context, r ParquetRequest) (ParquetListing, error) {
	if r.Shape == "hub" {
		return ParquetListing{}, source.Errorf(source.KindInvalid, "parquet", "the shape hub has no listing of this form").WithHint("call ParquetURLs")
	}
	var last ParquetListing
	l := ParquetListing{Conversion: source.Conversion{Files: []source.ConvertedFile{}, Pending: []source.ConversionJob{}, Failed: []source.ConversionJob{}}}
	add := func(files []source.ConvertedFile, pending, failed []source.ConversionJob) error {
		l.Files, l.Pending, l.Failed = append(l.Files, files...), append(l.Pending, pending...), append(l.Failed, failed...)
		return listed(len(l.Files) + len(l.Pending) + len(l.Failed))
	}
	err := c.Action(ctx, "parquet", r, &last, items("parquet", func(item wire.ListingItem) error {
		return add(item.Files, item.Pending, item.Failed)
	}))
	if err == nil {
		err = add(last.Files, last.Pending, last.Failed)
	}
	if err != nil {
		return ParquetListing{}, err
	}
	l.Partial, l.Reason = last.Partial, last.Reason
	return l, nil
}

// listed refuses a listing of too many entries.
func listed(n int) error {
	if n > maxListed {
		return source.Errorf(source.KindLimit, "parquet", "the listing has more than %d entries", maxListed).
			WithHint("ask for one config, or one split of it")
	}
	return nil
}

// ParquetURLs lists the addresses of the converted files as the Hub's own route
// does: an object config → split → addresses, with a config split → addresses,
// with a split a list, with a shard a string. reason is set if there are none.
func (c *Client) ParquetURLs(ctx context.Context, r ParquetRequest) (urls json.RawMessage, reason string, err error) {
	r.Shape = "hub"
	var l wire.HubListing
	parts, n := map[string]map[string][]string{}, 0
	err = c.Action(ctx, "parquet", r, &l, items("parquet", func(item wire.ListingItem) error {
		if parts[item.Config] == nil {
			parts[item.Config] = map[string][]string{}
		}
		parts[item.Config][item.Split] = append(parts[item.Config][item.Split], item.URLs...)
		n += len(item.URLs)
		return listed(n)
	}))
	switch {
	case err != nil:
		return nil, "", err
	case r.Shard != nil:
		urls, err = json.Marshal(l.URL)
	case n == 0: // it came in one piece
		urls = l.URLs
	case r.Split != "":
		urls, err = json.Marshal(parts[r.Config][r.Split])
	case r.Config != "":
		urls, err = json.Marshal(parts[r.Config])
	default:
		urls, err = json.Marshal(parts)
	}
	return urls, l.Reason, err
}
