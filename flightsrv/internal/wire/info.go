package wire

// InfoMetadata is FlightInfo.app_metadata (wire.md §4).
type InfoMetadata struct {
	V          int    `json:"v"`
	Dataset    string `json:"dataset"`
	Revision   string `json:"revision"`
	Sha        string `json:"sha"`
	DataSha    string `json:"data_sha"`
	Config     string `json:"config"`
	Split      string `json:"split"`
	Source     string `json:"source"`
	Partial    bool   `json:"partial"`
	RowsExact  bool   `json:"rows_exact"`
	FilesTotal int    `json:"files_total"`
	FilesKept  int    `json:"files_kept"`
}

// EndpointMetadata is FlightEndpoint.app_metadata (wire.md §4).
type EndpointMetadata struct {
	V         int    `json:"v"`
	File      string `json:"file"`
	Config    string `json:"config"`
	Split     string `json:"split"`
	RowGroups []int  `json:"row_groups"` // null: not known, pruned when read
	Rows      int64  `json:"rows"`
	RowsExact bool   `json:"rows_exact"`
	Bytes     int64  `json:"bytes"`
}
