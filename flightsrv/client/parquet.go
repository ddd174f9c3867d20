package client

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
)

// ParquetRequest says of which dataset, config and split the converted files are
// asked for.
type ParquetRequest = wire.ParquetRequest

// ParquetListing is the answer in the dataset viewer's shape.
type ParquetListing = wire.ViewerListing

// Parquet lists the files of a dataset's conversion to Parquet in the dataset
// viewer's shape. Without a conversion the list is empty and Reason says why.
func (c *Client) Parquet(ctx context.Context, r ParquetRequest) (ParquetListing, error) {
	var l ParquetListing
	if r.Shape == "hub" {
		return l, fmt.Errorf("parquet: the shape hub is answered by ParquetURLs")
	}
	err := c.Action(ctx, "parquet", r, &l, nil)
	l.Type, l.V = "", 0
	return l, err
}

// ParquetURLs lists the addresses of the converted files as the Hub's own route
// does: an object config → split → addresses, with a config split → addresses,
// with a split a list, with a shard a string. reason is set if there are none.
func (c *Client) ParquetURLs(ctx context.Context, r ParquetRequest) (urls json.RawMessage, reason string, err error) {
	r.Shape = "hub"
	var l wire.HubListing
	if err := c.Action(ctx, "parquet", r, &l, nil); err != nil {
		return nil, "", err
	}
	if r.Shard != nil {
		raw, err := json.Marshal(l.URL)
		return raw, l.Reason, err
	}
	return l.URLs, l.Reason, nil
}
