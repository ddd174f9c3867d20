package wire

// ListCriteria is ListFlights' expression (wire.md §9).
type ListCriteria struct {
	Dataset  string `json:"dataset"`
	Revision string `json:"revision,omitempty"`
}

// VersionResult is the result of the action version.
type VersionResult struct {
	Type        string           `json:"type"`
	V           int              `json:"v"`
	Version     string           `json:"version"`
	Wire        []int            `json:"wire"`
	HubEndpoint string           `json:"hub_endpoint"`
	AuthMode    string           `json:"auth_mode"`
	Limits      map[string]int64 `json:"limits"`
}

// SplitItem is one config and split; Rows is null where only footers would tell.
type SplitItem struct {
	Type    string `json:"type"`
	Config  string `json:"config"`
	Split   string `json:"split"`
	Default bool   `json:"default"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	Rows    *int64 `json:"rows"`
}

// CountResult is an exact number of rows, From "footers" or a "scan".
type CountResult struct {
	Type  string `json:"type"`
	V     int    `json:"v"`
	Rows  int64  `json:"rows"`
	Exact bool   `json:"exact"`
	From  string `json:"from"`
}

// ExplainItem is one file of a plan. Row groups beyond maxGroupsPerItem go into
// further items of the same file.
type ExplainItem struct {
	Type   string         `json:"type"`
	File   string         `json:"file"`
	Config string         `json:"config"`
	Split  string         `json:"split"`
	Size   int64          `json:"size"`
	Rows   int64          `json:"rows"`
	Kept   bool           `json:"kept"`
	Groups []ExplainGroup `json:"row_groups"`
}

// ExplainGroup is one row group: kept, or skipped by the named layer. Bytes are
// the compressed bytes of the columns that the query reads.
type ExplainGroup struct {
	Group int    `json:"group"`
	Kept  bool   `json:"kept"`
	Layer string `json:"layer,omitempty"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	// Candidates are the rows that may match as far as bloom filters, dictionaries
	// and page indexes tell; Read is what finding out takes at most, of Bytes.
	Candidates int64 `json:"candidates"`
	Read       int64 `json:"read"`
}

// ExplainResult is the plan's facts and the sums over its row groups.
type ExplainResult struct {
	Type string `json:"type"`
	InfoMetadata
	GroupsTotal int   `json:"row_groups_total"`
	GroupsKept  int   `json:"row_groups_kept"`
	BytesTotal  int64 `json:"bytes_total"`
	BytesKept   int64 `json:"bytes_kept"`
	RowsKept    int64 `json:"rows_kept"`
	// Candidates and BytesRead are the sums of the row groups' candidates and read.
	Candidates int64 `json:"candidates"`
	BytesRead  int64 `json:"bytes_read"`
	Partitions int   `json:"partitions"`
	// Notes say what a reader may not expect: a file named twice and read once,
	// a conversion whose freshness is not known.
	Notes []string `json:"notes,omitempty"`
}
