package wire

import (
	"encoding/json"

	"github.com/hubflight/hubflight/source"
)

// ParquetRequest is the body of the action parquet.
type ParquetRequest struct {
	Dataset  string `json:"dataset"`
	Revision string `json:"revision,omitempty"`
	Config   string `json:"config,omitempty"`
	Split    string `json:"split,omitempty"`
	// Shape is "viewer" (default) or "hub".
	Shape string `json:"shape,omitempty"`
	// Shard is the number of one file, in the shape hub.
	Shard *int `json:"shard,omitempty"`
}

// ListingItem is a part of a listing that does not fit one Result: what it holds
// comes before what later items and the result hold. In the viewer's shape the
// lists are its own; in the Hub's, URLs are some of one split's.
type ListingItem struct {
	Type    string                 `json:"type"`
	Files   []source.ConvertedFile `json:"parquet_files,omitempty"`
	Pending []source.ConversionJob `json:"pending,omitempty"`
	Failed  []source.ConversionJob `json:"failed,omitempty"`
	Config  string                 `json:"config,omitempty"`
	Split   string                 `json:"split,omitempty"`
	URLs    []string               `json:"urls,omitempty"`
}

// ViewerListing is the result in the viewer's shape: its own keys, and the
// reason if there is no conversion.
type ViewerListing struct {
	Type string `json:"type,omitempty"`
	V    int    `json:"v,omitempty"`
	source.Conversion
	Reason string `json:"reason,omitempty"`
}

// HubListing is the result in the Hub's shape. URLs is what the Hub's own route
// answers: config → split → addresses, split → addresses, or addresses; URL is the
// one of a shard.
type HubListing struct {
	Type   string          `json:"type,omitempty"`
	V      int             `json:"v,omitempty"`
	URLs   json.RawMessage `json:"urls,omitempty"`
	URL    string          `json:"url,omitempty"`
	Reason string          `json:"reason,omitempty"`
}
