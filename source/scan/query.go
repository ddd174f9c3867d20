package scan

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

const (
	defaultBatchRows      = 65536
	defaultBatchRowsSpark = 10000
	defaultBatchBytes     = 2 << 20
	// A batch below 4 MiB passes every gRPC client's default message limit.
	maxBatchBytes = 4<<20 - 64<<10
)

// Query is what is asked of every file of a dataset.
type Query struct {
	// Columns in the order of the output; nil is all of them.
	Columns []source.Column
	// RowsOnly asks for batches without columns, whose NumRows counts.
	RowsOnly bool
	// Filters choose the rows; nil is all of them.
	Filters *filter.Filter
	Logic   filter.Logic
	Profile Profile
	// BatchRows bounds a batch, and BatchBytes is about its size: at most an eighth
	// more, unless one row is larger. 0 is the default (65,536 rows, in the spark
	// profile 10,000; 2 MiB).
	BatchRows  int
	BatchBytes int64

	off layerSet // of pruning; tests only
}

// Validate refuses what no schema could make right.
func (q Query) Validate() error {
	switch {
	case q.RowsOnly && len(q.Columns) > 0:
		return refuse("rows_only and columns exclude each other")
	case !q.RowsOnly && q.Columns != nil && len(q.Columns) == 0:
		return refuse("no columns are selected").WithHint("leave columns out for all of them, or ask for rows_only")
	case q.BatchRows < 0 || q.BatchBytes < 0:
		return refuse("a batch size is negative")
	case q.Profile > Spark || q.Logic > filter.Spark:
		return refuse("unknown profile or logic")
	}
	for _, c := range q.Columns {
		if err := c.Validate(); err != nil {
			return refuse("%v", err)
		}
	}
	return nil
}

func refuse(format string, args ...any) *source.Error {
	return source.Errorf(source.KindInvalid, opPlan, format, args...)
}

// Output is the schema of the stream for a dataset's (or a file's) native
// schema. It also binds the filters, so that every unknown column, every type
// that the profile cannot carry and every literal that cannot be compared is
// refused here; errors name the column and the valid ones.
func (q Query) Output(dataset *arrow.Schema) (*arrow.Schema, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	meta := dataset.Metadata()
	if q.Filters != nil {
		schema, err := q.filterSchema(dataset)
		if err != nil {
			return nil, err
		}
		if _, err := q.Filters.Bind(schema, q.Logic); err != nil {
			return nil, err
		}
	}
	if q.RowsOnly {
		return arrow.NewSchema(nil, &meta), nil
	}
	chosen, err := project(dataset, q.Columns)
	if err != nil {
		return nil, err
	}
	if err := checkUnique(chosen, ""); err != nil {
		return nil, err
	}
	if q.Profile == Spark {
		if err := checkCaseless(chosen, ""); err != nil {
			return nil, err
		}
	}
	out := make([]arrow.Field, len(chosen))
	for i, f := range chosen {
		if out[i], err = q.Profile.mapField(f, f.Name); err != nil {
			return nil, err
		}
	}
	return arrow.NewSchema(out, &meta), nil
}

// checkUnique refuses fields of the same name: columns are found by name.
func checkUnique(fields []arrow.Field, path string) error {
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		where := f.Name
		if path != "" {
			where = path + "." + f.Name
		}
		if seen[f.Name] {
			return source.Errorf(source.KindUnsupported, opPlan, "there are several columns named %q", where).
				WithColumn(where).WithHint("select the other columns with the columns option")
		}
		seen[f.Name] = true
		if err := checkUnique(below(f.Type), where); err != nil {
			return err
		}
	}
	return nil
}

// filterSchema is what the filters are bound to: the native types, or under the
// spark logic the profile's. Only the filters' own columns are mapped, so that a
// column without a mapping elsewhere does no harm.
func (q Query) filterSchema(native *arrow.Schema) (*arrow.Schema, error) {
	if q.Logic != filter.Spark || q.Profile != Spark {
		return native, nil
	}
	wanted := make(map[string]bool)
	for _, c := range q.Filters.Columns() {
		if c.IsPath() {
			wanted[c.Path[0]] = true
		} else {
			wanted[c.Name] = true
		}
	}
	fields := make([]arrow.Field, 0, native.NumFields())
	for _, f := range native.Fields() {
		if wanted[f.Name] {
			var err error
			if f, err = q.Profile.mapField(f, f.Name); err != nil {
				return nil, err
			}
		}
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil), nil
}

func (q Query) batchRows() int {
	switch {
	case q.BatchRows > 0:
		return q.BatchRows
	case q.Profile == Spark:
		return defaultBatchRowsSpark
	}
	return defaultBatchRows
}

// BatchSize is about how many bytes a batch of the query has: BatchBytes within its
// bounds, or the default.
func (q Query) BatchSize() int64 {
	if q.BatchBytes > 0 {
		return min(q.BatchBytes, maxBatchBytes)
	}
	return defaultBatchBytes
}
