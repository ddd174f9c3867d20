package wire

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Version is the only version of the contract there is.
const Version = 1

// ReadCommand is FlightDescriptor.CMD (wire.md §3), and the body of the actions
// explain and count. The zero value of every field but V and Dataset is its
// default.
type ReadCommand struct {
	V                 int              `json:"v"`
	Dataset           string           `json:"dataset"`
	Revision          string           `json:"revision,omitempty"`
	Config            string           `json:"config,omitempty"`
	Split             string           `json:"split,omitempty"`
	DataDir           string           `json:"data_dir,omitempty"`
	DataFiles         json.RawMessage  `json:"data_files,omitempty"`
	Columns           *[]source.Column `json:"columns,omitempty"`
	RowsOnly          bool             `json:"rows_only,omitempty"`
	Filters           json.RawMessage  `json:"filters,omitempty"`
	Logic             string           `json:"logic,omitempty"`
	Limit             *int64           `json:"limit,omitempty"`
	Profile           string           `json:"profile,omitempty"`
	Conversion        string           `json:"conversion,omitempty"`
	Partial           string           `json:"partial,omitempty"`
	MaxPartitionBytes int64            `json:"max_partition_bytes,omitempty"`
	BatchRows         int              `json:"batch_rows,omitempty"`
	BatchBytes        int64            `json:"batch_bytes,omitempty"`
	Compression       string           `json:"compression,omitempty"`
}

// Bounds of what a client may ask per batch. The lower bounds keep a hostile
// client from having a message made for every row of a large file.
const (
	maxBatchRows  = 1 << 20
	minBatchBytes = 64 << 10
	maxBatchBytes = 32 << 20
)

// Validate refuses values outside their lists and bounds.
func (c *ReadCommand) Validate() error {
	if err := CheckVersion("read command", c.V); err != nil {
		return err
	}
	for _, choice := range []struct{ key, value, allowed string }{
		{"conversion", c.Conversion, "auto|never|always"},
		{"partial", c.Partial, "refuse|allow"},
		{"compression", c.Compression, "none|lz4|zstd"},
	} {
		if choice.value != "" && !oneOf(choice.value, choice.allowed) {
			return Invalid("read command", "%s=%q is none of %s", choice.key, choice.value, strings.ReplaceAll(choice.allowed, "|", ", "))
		}
	}
	switch {
	case c.Limit != nil && *c.Limit < 0:
		return Invalid("read command", "limit=%d is negative", *c.Limit)
	case c.MaxPartitionBytes < 0:
		return Invalid("read command", "max_partition_bytes=%d is negative", c.MaxPartitionBytes)
	case c.BatchRows < 0 || c.BatchRows > maxBatchRows:
		return Invalid("read command", "batch_rows=%d is outside 1…%d", c.BatchRows, maxBatchRows)
	case c.BatchBytes != 0 && (c.BatchBytes < minBatchBytes || c.BatchBytes > maxBatchBytes):
		return Invalid("read command", "batch_bytes=%d is outside %d…%d", c.BatchBytes, minBatchBytes, maxBatchBytes)
	case c.RowsOnly && (c.Columns == nil || len(*c.Columns) > 0):
		return Invalid("read command", "rows_only goes with columns: []")
	case c.Columns != nil && len(*c.Columns) == 0 && !c.RowsOnly:
		return Invalid("read command", "columns is empty").WithHint("leave it out for all columns, or add rows_only for rows without columns")
	}
	return nil
}

// CheckVersion refuses any wire version but ours; a missing one is the caller's
// mistake, another one is this program's limit.
func CheckVersion(op string, v int) error {
	switch v {
	case Version:
		return nil
	case 0:
		return Invalid(op, `the key "v" is missing`).WithHint(`say "v":1`)
	}
	return source.Errorf(source.KindUnsupported, op, "wire version %d is not spoken here; this server speaks 1", v)
}

// Invalid is a KindInvalid error.
func Invalid(op, format string, args ...any) *source.Error {
	return source.Errorf(source.KindInvalid, op, format, args...)
}

func oneOf(value, allowed string) bool {
	return slices.Contains(strings.Split(allowed, "|"), value)
}
