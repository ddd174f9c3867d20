package dataset

import (
	"context"
	"log/slog"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan"
)

// Opener makes the Store of one dataset with one caller's rights.
type Opener func(ctx context.Context, ref source.Ref, token source.HubToken) (source.Store, error)

// PlannerOptions configure a Planner; zero values stand for the defaults.
type PlannerOptions struct {
	// Open is required.
	Open Opener
	// FootersMax is how many footers one plan reads (1,000). Of larger datasets
	// the first, the last and evenly spaced ones are read.
	FootersMax int
	// EntriesMax is how many files a listing may have (1,000,000); more are refused,
	// never left out.
	EntriesMax int
	// FooterCacheBytes bounds the parsed footers that are kept (256 MiB).
	FooterCacheBytes int64
	// FooterBytes bounds the footers that are being parsed, for all plans and streams
	// together (256 MiB). One that takes more is parsed alone.
	FooterBytes int64
	// QueueTimeout is how long a footer waits for its part of that (10 minutes).
	QueueTimeout time.Duration
	// Parallel is how many footers one plan reads at a time (16).
	Parallel int
	// Ranges decides about reading ahead and holds the cache on disk; nil is one
	// with the defaults, without a disk.
	Ranges *rangeio.Scheduler
	// Memory is where batches are decoded to; nil is one scan.Pool for all streams.
	Memory memory.Allocator
	// Logger gets debug lines; nil discards them.
	Logger *slog.Logger
}

const (
	defaultFootersMax       = 1000
	defaultEntriesMax       = 1_000_000 // about 300 bytes each
	defaultFooterCacheBytes = 256 << 20
	defaultFooterBytes      = 256 << 20
	defaultQueueTimeout     = 10 * time.Minute
	defaultParallel         = 16
)

// Planner turns requests into plans and partitions into batches. It is safe for
// concurrent use and holds nothing that a restart loses but caches.
type Planner struct {
	open       Opener
	footersMax int
	entriesMax int
	parallel   int
	footers    *footerCache
	listings   *listingCache
	ranges     *rangeio.Scheduler
	memory     memory.Allocator
	log        *slog.Logger

	// A footer's room is held while it is read, parsed and looked at, which waits for no
	// other room and for no client. It may wait for the Hub, who can keep one token
	// waiting: nobody waits for room any longer than patience.
	footerRoom  *semaphore.Weighted
	footerBytes int64 // the whole of it
	patience    time.Duration
}

// NewPlanner makes a Planner.
func NewPlanner(o PlannerOptions) *Planner {
	if o.FootersMax <= 0 {
		o.FootersMax = defaultFootersMax
	}
	if o.EntriesMax <= 0 {
		o.EntriesMax = defaultEntriesMax
	}
	if o.FooterCacheBytes <= 0 {
		o.FooterCacheBytes = defaultFooterCacheBytes
	}
	if o.FooterBytes <= 0 {
		o.FooterBytes = defaultFooterBytes
	}
	if o.QueueTimeout <= 0 {
		o.QueueTimeout = defaultQueueTimeout
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if o.Ranges == nil {
		// Defaults are valid.
		o.Ranges, _ = rangeio.NewScheduler(rangeio.SchedulerOptions{})
	}
	if o.Memory == nil {
		o.Memory = scan.NewPool()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Planner{
		open: o.Open, footersMax: o.FootersMax, entriesMax: o.EntriesMax, parallel: o.Parallel, memory: o.Memory, log: o.Logger,
		ranges: o.Ranges, footers: newFooterCache(o.FooterCacheBytes), listings: newListingCache(),
		footerRoom: semaphore.NewWeighted(o.FooterBytes), footerBytes: o.FooterBytes, patience: o.QueueTimeout,
	}
}

// Values of Request.Conversion and Request.Partial.
const (
	ConversionAuto   = "auto"   // the conversion if the dataset is not Parquet (default)
	ConversionNever  = "never"  // the dataset's own files only
	ConversionAlways = "always" // the conversion, even of Parquet and unverified
	PartialRefuse    = "refuse" // default
	PartialAllow     = "allow"
)

// Request is a read command: what to read and how.
type Request struct {
	// Ref names the dataset and the revision; its Path is a folder, a file or a
	// glob inside.
	Ref source.Ref
	// Config, Split: "" for the default ones; Split may be "all".
	Config, Split string
	DataDir       string
	DataFiles     DataFiles
	Query         scan.Query
	// Limit is the number of rows to read at most; −1 for all.
	Limit int64
	// Conversion and Partial are one of the constants, or "" for the default.
	Conversion, Partial string
	// MaxPartitionBytes splits larger files at row-group borders; 0 does not.
	MaxPartitionBytes int64
}

// Validate refuses values outside the documented ranges.
func (r Request) Validate() error {
	refuse := func(format string, args ...any) error {
		return source.Errorf(source.KindInvalid, "read command", format, args...)
	}
	switch r.Conversion {
	case "", ConversionAuto, ConversionNever, ConversionAlways:
	default:
		return refuse("conversion %q is none of auto, never, always", r.Conversion)
	}
	switch r.Partial {
	case "", PartialRefuse, PartialAllow:
	default:
		return refuse("partial %q is none of refuse, allow", r.Partial)
	}
	switch {
	case r.Limit < -1:
		return refuse("limit %d is negative", r.Limit)
	case r.MaxPartitionBytes < 0:
		return refuse("max_partition_bytes %d is negative", r.MaxPartitionBytes)
	case r.Ref.Name() == "":
		return refuse("the dataset is missing")
	}
	return nil
}

// Plan is the answer to a Request: what will be read, file by file.
type Plan struct {
	Facts Facts
	// Dataset is the canonical name, Revision what was asked for or the default
	// branch's name.
	Dataset, Revision string
	// Schema is that of every stream, with its metadata.
	Schema *arrow.Schema
	// Partitions in file order: each is one endpoint, one ticket, one task.
	Partitions []Partition
	// TotalRows and TotalBytes (compressed, of the chosen columns) are −1 where
	// they are not known.
	TotalRows, TotalBytes int64
	// RowsExact is true if TotalRows is what the streams will hold.
	RowsExact             bool
	FilesTotal, FilesKept int
	// Files tell what was kept and why, for explain.
	Files []FileReport
	// Notes say what a reader may find surprising.
	Notes []string
}

// FileReport is what the plan decided about one file.
type FileReport struct {
	Path string
	// Rows is −1 if the footer was not read.
	Size, Rows    int64
	Config, Split string
	// Groups has one decision per row group; nil if the footer was not read.
	Groups []scan.Decision
	Kept   bool
}

// Plan resolves a request to partitions. The same request on the same commit
// gives the same plan.
func (p *Planner) Plan(ctx context.Context, token source.HubToken, r Request) (*Plan, error) {
	_, plan, err := p.planned(ctx, token, r)
	return plan, err
}

func (p *Planner) planned(ctx context.Context, token source.HubToken, r Request) (*description, *Plan, error) {
	d, err := p.describe(ctx, token, r, true)
	if err != nil {
		return nil, nil, err
	}
	if err := p.readPrefix(ctx, d, r); err != nil {
		return nil, nil, d.name(err)
	}
	plan, err := d.plan(r)
	return d, plan, err
}

// Schema returns the schema that Plan gives for the same request.
func (p *Planner) Schema(ctx context.Context, token source.HubToken, r Request) (*arrow.Schema, error) {
	d, err := p.describe(ctx, token, r, false)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}
