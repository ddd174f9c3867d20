package dataset

import (
	"encoding/json"

	"github.com/apache/arrow-go/v18/arrow"
)

const (
	factsKey       = "hubflight"   // our facts in a schema's metadata
	huggingfaceKey = "huggingface" // the features, as datasets writes them into footers
)

// Where the bytes of a dataset come from.
const (
	SourceNative    = "native"    // the repository's own files
	SourceConverted = "converted" // the Parquet conversion of the Hub
	SourceLocal     = "local"     // a folder of this machine
)

// Facts say which bytes a schema and its rows belong to. They travel in the
// schema metadata under "hubflight", the same in GetSchema, GetFlightInfo and
// every stream.
type Facts struct {
	V int `json:"v"`
	// Sha is the commit of the revision that was asked for, DataSha the commit
	// that the bytes are read from; they differ for a conversion.
	Sha     string `json:"sha"`
	DataSha string `json:"data_sha"`
	Config  string `json:"config"`
	// Split is the split that was chosen, or "all".
	Split  string `json:"split"`
	Source string `json:"source"`
	// Partial is true if the data is only the beginning of the dataset.
	Partial bool `json:"partial"`
}

// attach returns the schema with exactly two metadata keys: the facts, and the
// features of the first file if there are any.
func (f Facts) attach(s *arrow.Schema, features string) *arrow.Schema {
	text, err := json.Marshal(f)
	if err != nil {
		text = nil // strings and booleans always marshal
	}
	keys, values := []string{factsKey}, []string{string(text)}
	if features != "" {
		keys, values = []string{huggingfaceKey, factsKey}, []string{features, string(text)}
	}
	md := arrow.NewMetadata(keys, values)
	return arrow.NewSchema(s.Fields(), &md)
}

func featuresOf(s *arrow.Schema) string {
	text, _ := s.Metadata().GetValue(huggingfaceKey)
	return text
}

// sameSchema compares fields and metadata; arrow's Equal leaves the metadata out.
func sameSchema(a, b *arrow.Schema) bool {
	return a.Equal(b) && a.Metadata().Equal(b.Metadata())
}
