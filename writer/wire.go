package writer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Version is the version of the wire structs below; it is 1 everywhere.
const Version = 1

// Mode says what happens to the files that the target holds already.
type Mode string

const (
	// ModeReplace is the documented write_parquet helper's own mode: files of the
	// same names are replaced, others stay. It is the default of the namings "parts"
	// and "file" and does not exist for "dataset".
	ModeReplace Mode = ""
	// ModeAppend adds rows after the existing ones.
	ModeAppend Mode = "append"
	// ModeOverwrite removes the existing rows.
	ModeOverwrite Mode = "overwrite"
	// ModeErrorIfExists refuses a target that holds files.
	ModeErrorIfExists Mode = "errorifexists"
	// ModeIgnore does nothing if the target holds files.
	ModeIgnore Mode = "ignore"
)

// Naming says how the files of a job are called.
type Naming string

const (
	// NamingDataset is the default: files of a dataset split.
	NamingDataset Naming = "dataset"
	// NamingParts is {dir}/part-{i:05d}.parquet.
	NamingParts Naming = "parts"
	// NamingFile is exactly dir.
	NamingFile Naming = "file"
)

// Values of publish.
const (
	PublishBatches = "batches"
	PublishSwitch  = "switch"
)

// Upload modes of a staged file.
const (
	UploadLFS     = "lfs"
	UploadRegular = "regular"
)

const (
	// DefaultMaxOperations is the number of operations of one commit: the number
	// of the documented helper, and what the Hub advises.
	DefaultMaxOperations = 50
	// MaxRegular is the largest file whose bytes travel in its staged record.
	MaxRegular = 256 << 10
	// MaxStagedFiles bounds a job; it is also what five digits can number.
	MaxStagedFiles = 100_000
	// DefaultMessage is the commit message of the documented helper.
	DefaultMessage = "Upload using PySpark"
)

// BeginRequest is the body of the action "begin".
type BeginRequest struct {
	V             int    `json:"v"`
	Job           string `json:"job"`
	Dataset       string `json:"dataset"`
	Revision      string `json:"revision,omitempty"`
	Config        string `json:"config,omitempty"`
	Split         string `json:"split,omitempty"`
	Mode          Mode   `json:"mode,omitempty"`
	Naming        Naming `json:"naming,omitempty"`
	Dir           string `json:"dir,omitempty"`
	CreateRepo    bool   `json:"create_repo,omitempty"`
	Private       *bool  `json:"private,omitempty"` // default true
	CreatePR      bool   `json:"create_pr,omitempty"`
	Publish       string `json:"publish,omitempty"`
	ReplaceFormat bool   `json:"replace_format,omitempty"`
	// FilesExpected is the number of files that the job will have, 0 if unknown.
	FilesExpected int `json:"files_expected,omitempty"`
	// Schema is a base64 IPC schema, "" if the caller does not know it.
	Schema string `json:"schema,omitempty"`
}

// Validate refuses what no job can be.
func (r BeginRequest) Validate() error {
	if r.FilesExpected < 0 {
		return invalid("begin", "files_expected is %d", r.FilesExpected)
	}
	if r.FilesExpected > MaxStagedFiles {
		return invalid("begin", "a job has at most %d files", MaxStagedFiles)
	}
	if len(r.Schema) > maxSchemaText {
		return &source.Error{Op: "begin", Kind: source.KindLimit, Msg: "the schema is larger than 4 MiB"}
	}
	if err := r.target().validatePublish("begin", r.Publish, r.ReplaceFormat); err != nil {
		return err
	}
	return r.target().validate("begin", r.V)
}

func (r BeginRequest) target() target {
	return target{job: r.Job, dataset: r.Dataset, revision: r.Revision, config: r.Config, split: r.Split, dir: r.Dir, mode: r.Mode, naming: r.Naming}
}

// IsPrivate is the value of private with its default.
func (r BeginRequest) IsPrivate() bool { return r.Private == nil || *r.Private }

// BeginResult is the answer of "begin".
type BeginResult struct {
	Type          string `json:"type"`
	V             int    `json:"v"`
	Job           string `json:"job"`
	Base          string `json:"base"`
	Revision      string `json:"revision"`
	Schema        string `json:"schema"`
	Skip          bool   `json:"skip"`
	Reason        string `json:"reason,omitempty"`
	CommitsNeeded int    `json:"commits_needed,omitempty"`
}

// StageRequest is the descriptor command of one task attempt's DoPut.
type StageRequest struct {
	V        int    `json:"v"`
	Op       string `json:"op"`
	Job      string `json:"job"`
	Dataset  string `json:"dataset"`
	Revision string `json:"revision,omitempty"`
	// Base is the commit that begin answered.
	Base   string `json:"base,omitempty"`
	Mode   Mode   `json:"mode,omitempty"`
	Config string `json:"config,omitempty"`
	Split  string `json:"split,omitempty"`
	Naming Naming `json:"naming,omitempty"`
	Dir    string `json:"dir,omitempty"`

	Partition int    `json:"partition,omitempty"`
	Attempt   string `json:"attempt,omitempty"`

	Encoding
}

// Encoding says how Parquet files are written. Zero values are the defaults.
type Encoding struct {
	// MaxBytesPerFile cuts files; default 500,000,000 bytes of Parquet.
	MaxBytesPerFile int64 `json:"max_bytes_per_file,omitempty"`
	// RowGroupBytes cuts row groups; default 128 MiB of Arrow data.
	RowGroupBytes int64 `json:"row_group_bytes,omitempty"`
	// RowGroupRows cuts row groups; default 1,048,576 rows.
	RowGroupRows int64 `json:"row_group_rows,omitempty"`
	// Compression is snappy (default), zstd, gzip, brotli, lz4 or none.
	Compression      string `json:"compression,omitempty"`
	CompressionLevel *int   `json:"compression_level,omitempty"`
	// UseDictionary is true (default), false, or the columns that use one.
	UseDictionary *Switch `json:"use_dictionary,omitempty"`
	// DataPageSize is the aimed size of a page; default 1 MiB.
	DataPageSize int64 `json:"data_page_size,omitempty"`
	// WriteStatistics is true (default), false, or the columns that have them.
	WriteStatistics *Switch `json:"write_statistics,omitempty"`
	// PageIndex is true by default.
	PageIndex *bool `json:"page_index,omitempty"`
	// BloomColumns get a bloom filter each; booleans cannot have one.
	BloomColumns []string `json:"bloom_columns,omitempty"`
	// KeepFeatures keeps the `huggingface` schema metadata; true by default.
	KeepFeatures *bool `json:"keep_features,omitempty"`
}

// Switch is a JSON true, false or list of column names: on for everything, off
// for everything, or on for these.
type Switch struct {
	All     bool
	Columns []string
}

// UnmarshalJSON reads a bool or a list of strings.
func (s *Switch) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &s.All); err == nil {
		s.Columns = nil
		return nil
	}
	if err := json.Unmarshal(raw, &s.Columns); err != nil || s.Columns == nil {
		return fmt.Errorf("want true, false or a list of column names")
	}
	s.All = false
	return nil
}

// MarshalJSON writes the form that was read.
func (s Switch) MarshalJSON() ([]byte, error) {
	if s.Columns != nil {
		return json.Marshal(s.Columns)
	}
	return json.Marshal(s.All)
}

// Validate refuses sizes that cannot work and unknown codecs.
func (r StageRequest) Validate() error {
	if r.Op != "" && r.Op != "stage" {
		return invalid("stage", "op is %q, not stage", r.Op)
	}
	if r.Partition < 0 {
		return invalid("stage", "partition is %d", r.Partition)
	}
	if len(r.Attempt) > 64 || strings.ContainsAny(r.Attempt, "/\\\x00\r\n") {
		return invalid("stage", "attempt is longer than 64 bytes or holds a slash")
	}
	if err := r.target().validate("stage", r.V); err != nil {
		return err
	}
	if err := validateBase("stage", r.Base); err != nil {
		return err
	}
	return r.Encoding.Validate()
}

func (r StageRequest) target() target {
	return target{job: r.Job, dataset: r.Dataset, revision: r.Revision, config: r.Config, split: r.Split, dir: r.Dir, mode: r.Mode, naming: r.Naming}
}

// Validate refuses sizes that cannot work and unknown codecs.
func (e Encoding) Validate() error {
	for _, size := range []struct {
		key     string
		value   int64
		atLeast int64
	}{
		{"max_bytes_per_file", e.MaxBytesPerFile, 1},
		{"row_group_bytes", e.RowGroupBytes, 1},
		{"row_group_rows", e.RowGroupRows, 1},
		{"data_page_size", e.DataPageSize, 64},
	} {
		if size.value != 0 && size.value < size.atLeast {
			return invalid("stage", "%s is %d; the least is %d", size.key, size.value, size.atLeast)
		}
	}
	if e.RowGroupBytes > maxRowGroupBytes {
		return (&source.Error{Op: "stage", Kind: source.KindLimit, Msg: fmt.Sprintf("row_group_bytes is %d; the most is %d", e.RowGroupBytes, int64(maxRowGroupBytes))}).
			WithHint("a row group is held in memory while it is written")
	}
	if e.DataPageSize > maxDataPageSize {
		return invalid("stage", "data_page_size is %d; the most is %d", e.DataPageSize, maxDataPageSize)
	}
	if _, err := codec(e.Compression); err != nil {
		return err
	}
	if e.CompressionLevel != nil {
		return validateLevel(e.Compression, *e.CompressionLevel)
	}
	return nil
}

// StagedFile is the record of one staged file. It is all that a replica needs to
// commit the file.
type StagedFile struct {
	Job       string `json:"job"`
	Dataset   string `json:"dataset"`
	Config    string `json:"config,omitempty"`
	Split     string `json:"split,omitempty"`
	Partition int    `json:"partition"`
	Attempt   string `json:"attempt,omitempty"`
	Index     int    `json:"index"`
	// OID is the hex sha256 of the file.
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Rows int64  `json:"rows"`
	// NumBytes is the size of the rows in memory (the card's dataset_size).
	NumBytes int64 `json:"num_bytes"`
	// Mode is lfs or regular.
	Mode string `json:"mode"`
	// Content is base64 of the zstd-compressed file, only for regular.
	Content string `json:"content,omitempty"`
	// SchemaHash is equal for files of equal column names and types.
	SchemaHash string `json:"schema_hash"`
}

// Validate refuses a record that no stage can have made.
func (f StagedFile) Validate() error {
	switch {
	case !jobID.MatchString(f.Job):
		return invalid("commit", "a staged record's job is not a UUID")
	case f.Partition < 0 || f.Index < 0 || f.Rows < 0 || f.Size <= 0 || f.NumBytes < 0:
		return invalid("commit", "the staged record of partition %d has a negative number or no bytes", f.Partition)
	case !hex64.MatchString(f.OID):
		return invalid("commit", "the staged record of partition %d has no sha256 as oid", f.Partition)
	case f.SchemaHash == "" || len(f.SchemaHash) > 64:
		return invalid("commit", "the staged record of partition %d has no schema_hash", f.Partition)
	case f.Mode != UploadLFS && f.Mode != UploadRegular:
		return invalid("commit", "the staged record of partition %d has mode %q, not lfs or regular", f.Partition, f.Mode)
	case f.Mode == UploadLFS && f.Content != "":
		return invalid("commit", "the staged record of partition %d has mode lfs and content", f.Partition)
	case f.Mode == UploadRegular && (f.Content == "" || f.Size > MaxRegular):
		return invalid("commit", "the staged record of partition %d has mode regular but no content, or more than %d bytes", f.Partition, MaxRegular)
	}
	return nil
}

// StageResult is the last PutResult of an attempt.
type StageResult struct {
	Type  string       `json:"type"`
	V     int          `json:"v"`
	Files []StagedFile `json:"files"`
}

// CommitRequest is the body of the action "commit".
type CommitRequest struct {
	V             int          `json:"v"`
	Job           string       `json:"job"`
	Dataset       string       `json:"dataset"`
	Revision      string       `json:"revision,omitempty"`
	Base          string       `json:"base"`
	Mode          Mode         `json:"mode,omitempty"`
	Config        string       `json:"config,omitempty"`
	Split         string       `json:"split,omitempty"`
	Naming        Naming       `json:"naming,omitempty"`
	Dir           string       `json:"dir,omitempty"`
	Publish       string       `json:"publish,omitempty"`
	ReplaceFormat bool         `json:"replace_format,omitempty"`
	Files         []StagedFile `json:"files"`
	// MaxOperations is the largest number of operations of a commit; absent is
	// 50, 0 is one commit for everything. What a commit can hold of files that
	// travel in it (Job.MaxContent) may need more of them, or refuse that one.
	MaxOperations *int   `json:"max_operations_per_commit,omitempty"`
	Message       string `json:"message,omitempty"`
}

func (r CommitRequest) target() target {
	return target{job: r.Job, dataset: r.Dataset, revision: r.Revision, config: r.Config, split: r.Split, dir: r.Dir, mode: r.Mode, naming: r.Naming}
}

// Operations is max_operations_per_commit with its default; 0 is no limit.
func (r CommitRequest) Operations() int {
	if r.MaxOperations == nil {
		return DefaultMaxOperations
	}
	return *r.MaxOperations
}

// Validate refuses bodies that are no job; mixed datasets and schemas, and two
// attempts of one partition are refused by naming them.
func (r CommitRequest) Validate() error {
	if err := r.target().validate("commit", r.V); err != nil {
		return err
	}
	if r.Base == "" {
		return invalid("commit", "base is missing: it is in the answer of begin")
	}
	if err := validateBase("commit", r.Base); err != nil {
		return err
	}
	if err := r.target().validatePublish("commit", r.Publish, r.ReplaceFormat); err != nil {
		return err
	}
	if err := r.checkOperations(); err != nil {
		return err
	}
	if err := CheckMessage(r.Message); err != nil {
		return err
	}
	if len(r.Files) > MaxStagedFiles {
		return (&source.Error{Op: "commit", Kind: source.KindLimit, Msg: fmt.Sprintf("the job has %d files; the most is %d", len(r.Files), MaxStagedFiles)}).
			WithHint("use fewer partitions or a larger max_bytes_per_file")
	}
	return r.validateFiles()
}

func (r CommitRequest) checkOperations() error {
	if r.Operations() < 0 || r.Operations() > 10_000 {
		return invalid("commit", "max_operations_per_commit is %d; 0 (one commit) to 10000 are possible", r.Operations())
	}
	return nil
}

// CheckMessage refuses what cannot be a commit's message. A driver asks before a byte is
// staged.
func CheckMessage(message string) error {
	if len(message) > 1000 || strings.ContainsAny(message, "\x00\r\n") {
		return invalid("commit", "message is longer than 1000 bytes or has more than one line")
	}
	return nil
}

func (r CommitRequest) validateFiles() error {
	attempts := map[int]string{}
	seen := map[[2]int]bool{}
	for _, f := range r.Files {
		if err := f.Validate(); err != nil {
			return err
		}
		first := r.Files[0]
		switch {
		case f.Job != r.Job:
			return invalid("commit", "the staged file of partition %d belongs to job %s", f.Partition, f.Job)
		case f.Dataset != r.Dataset || f.Config != r.Config || f.Split != r.Split:
			return invalid("commit", "the staged file of partition %d was staged for %s (config %q, split %q)", f.Partition, f.Dataset, f.Config, f.Split)
		case f.SchemaHash != first.SchemaHash:
			return invalid("commit", "partitions %d and %d were staged with different schemas", first.Partition, f.Partition).
				WithHint("all tasks of a job must write the same columns and types")
		}
		if other, ok := attempts[f.Partition]; ok && other != f.Attempt {
			return invalid("commit", "partition %d is there twice: attempts %q and %q", f.Partition, other, f.Attempt).
				WithHint("commit exactly one attempt of each partition")
		}
		attempts[f.Partition] = f.Attempt
		if at := [2]int{f.Partition, f.Index}; seen[at] {
			return invalid("commit", "file %d of partition %d is there twice", f.Index, f.Partition)
		} else {
			seen[at] = true
		}
	}
	return nil
}

// Sorted returns the staged files by (partition, index).
func (r CommitRequest) Sorted() []StagedFile {
	files := slices.Clone(r.Files)
	slices.SortFunc(files, func(a, b StagedFile) int {
		if a.Partition != b.Partition {
			return a.Partition - b.Partition
		}
		return a.Index - b.Index
	})
	return files
}

// CommitEvent is one of a commit's reports: exactly one field is set.
type CommitEvent struct {
	Progress *CommitProgress
	Item     *CommitItem
}

// CommitProgress is sent after each commit, and at least every 20 s (then
// without a Commit).
type CommitProgress struct {
	Type       string `json:"type"`
	Commit     string `json:"commit,omitempty"`
	Index      int    `json:"index"`
	Of         int    `json:"of"`
	Operations int    `json:"operations"`
}

// CommitItem names one path that the job wrote.
type CommitItem struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	Rows int64  `json:"rows"`
}

// CommitResult is the answer of "commit".
type CommitResult struct {
	Type string `json:"type"`
	V    int    `json:"v"`
	// Head is the commit at which the job is complete.
	Head       string   `json:"head"`
	Commits    []string `json:"commits"`
	PathsTotal int      `json:"paths_total"`
	Rows       int64    `json:"rows"`
	// PR is the number of the pull request that was written to, 0 for none.
	PR int `json:"pr,omitempty"`
	// Already is true if an earlier request had committed all of it.
	Already bool `json:"already"`
	// Atomic is true if readers saw nothing between before and after.
	Atomic bool `json:"atomic"`
	// Resolves is true if dataset resolution finds the files.
	Resolves bool `json:"resolves"`
	// Stale are files of an earlier, longer write that are still there.
	Stale []string `json:"stale,omitempty"`
	// Hint says what to do about files that do not resolve or are stale.
	Hint string `json:"hint,omitempty"`
}

// WriteRequest is the descriptor command of a one-stream job, "write": the keys
// of begin, stage and commit together.
type WriteRequest struct {
	V             int    `json:"v"`
	Op            string `json:"op"`
	Job           string `json:"job"`
	Dataset       string `json:"dataset"`
	Revision      string `json:"revision,omitempty"`
	Config        string `json:"config,omitempty"`
	Split         string `json:"split,omitempty"`
	Mode          Mode   `json:"mode,omitempty"`
	Naming        Naming `json:"naming,omitempty"`
	Dir           string `json:"dir,omitempty"`
	CreateRepo    bool   `json:"create_repo,omitempty"`
	Private       *bool  `json:"private,omitempty"`
	CreatePR      bool   `json:"create_pr,omitempty"`
	Publish       string `json:"publish,omitempty"`
	ReplaceFormat bool   `json:"replace_format,omitempty"`
	FilesExpected int    `json:"files_expected,omitempty"`
	Partition     int    `json:"partition,omitempty"`
	Attempt       string `json:"attempt,omitempty"`

	Encoding

	MaxOperations *int   `json:"max_operations_per_commit,omitempty"`
	Message       string `json:"message,omitempty"`
}

// Validate checks the three steps that the request consists of.
func (r WriteRequest) Validate() error {
	if r.Op != "" && r.Op != "write" {
		return invalid("write", "op is %q, not write", r.Op)
	}
	if err := r.begin("").Validate(); err != nil {
		return err
	}
	if err := CheckMessage(r.Message); err != nil {
		return err
	}
	if err := r.commit(BeginResult{}, nil).checkOperations(); err != nil {
		return err
	}
	return r.stage(BeginResult{Revision: r.Revision}).Validate()
}

func (r WriteRequest) begin(schema string) BeginRequest {
	return BeginRequest{V: r.V, Job: r.Job, Dataset: r.Dataset, Revision: r.Revision, Config: r.Config, Split: r.Split,
		Mode: r.Mode, Naming: r.Naming, Dir: r.Dir, CreateRepo: r.CreateRepo, Private: r.Private, CreatePR: r.CreatePR,
		Publish: r.Publish, ReplaceFormat: r.ReplaceFormat, FilesExpected: r.FilesExpected, Schema: schema}
}

func (r WriteRequest) stage(b BeginResult) StageRequest {
	return StageRequest{V: r.V, Op: "stage", Job: r.Job, Dataset: r.Dataset, Revision: b.Revision, Base: b.Base, Mode: r.Mode,
		Config: r.Config, Split: r.Split, Naming: r.Naming, Dir: r.Dir, Partition: r.Partition, Attempt: r.Attempt, Encoding: r.Encoding}
}

func (r WriteRequest) commit(b BeginResult, files []StagedFile) CommitRequest {
	return CommitRequest{V: r.V, Job: r.Job, Dataset: r.Dataset, Revision: b.Revision, Base: b.Base, Mode: r.Mode, Config: r.Config,
		Split: r.Split, Naming: r.Naming, Dir: r.Dir, Publish: r.Publish, ReplaceFormat: r.ReplaceFormat, Files: files,
		MaxOperations: r.MaxOperations, Message: r.Message}
}
