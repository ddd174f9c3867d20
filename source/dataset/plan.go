package dataset

import (
	"context"
	"errors"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// description is a selection with what its footers say and the schema that follows
// from them.
type description struct {
	*selection
	digests []*digest              // one per file; nil = its footer was not read
	schemas schemaSet              // of the files
	schema  *arrow.Schema          // of the stream, with metadata
	given   map[*arrow.Schema]bool // whether the stream's follows from a file's
}

// describe computes the schema, for GetSchema and for plans alike: from the same
// footers by the same steps. Only a plan has to decide about row groups.
func (p *Planner) describe(ctx context.Context, token source.HubToken, r Request, decide bool) (*description, error) {
	s, err := p.choose(ctx, token, r)
	if err != nil {
		return nil, err
	}
	d := &description{selection: s, digests: make([]*digest, len(s.files)), given: make(map[*arrow.Schema]bool)}
	if err := p.readFooters(ctx, d, r, sampled(len(s.files), p.footersMax), decide); err != nil {
		return nil, d.name(err)
	}
	if err := d.unify(r.Query); err != nil {
		return nil, d.name(err)
	}
	return d, nil
}

func (d *description) unify(q scan.Query) error {
	var schemas []scan.NamedSchema
	for i, f := range d.digests {
		if f != nil {
			schemas = append(schemas, scan.NamedSchema{File: d.files[i].Path, Schema: f.schema})
		}
	}
	whole, err := q.Unify(schemas)
	if err != nil {
		return err
	}
	out, err := q.Output(whole)
	if err != nil {
		return err
	}
	d.schema = d.facts.attach(out, featuresOf(schemas[0].Schema))
	return nil
}

// name says in an error which dataset it is about.
func (d *description) name(err error) error { return named(err, d.data.at) }

// readPrefix reads the footers that a limit without filters has to count: from
// the first file on, until there are enough rows.
func (p *Planner) readPrefix(ctx context.Context, d *description, r Request) error {
	if r.Limit < 0 || r.Query.Filters != nil {
		return nil
	}
	for rows, i := int64(0), 0; i < len(d.files) && rows < r.Limit; {
		var missing []int
		next := i
		for ; next < len(d.files) && len(missing) < p.parallel; next++ {
			if d.digests[next] == nil {
				missing = append(missing, next)
			}
		}
		if err := p.readFooters(ctx, d, r, missing, true); err != nil {
			return err
		}
		for ; i < next && rows < r.Limit; i++ {
			rows += d.digests[i].rows
		}
	}
	return nil
}

// plan prunes, splits and limits.
func (d *description) plan(r Request) (*Plan, error) {
	plan := &Plan{
		Facts: d.facts, Dataset: d.asked.at.Name, Revision: d.asked.at.Revision, Schema: d.schema,
		FilesTotal: len(d.files), Notes: d.notes,
	}
	for i := range d.files {
		report, parts, err := d.file(i, r)
		if err != nil {
			return nil, d.name(err)
		}
		plan.Files = append(plan.Files, report)
		plan.Partitions = append(plan.Partitions, parts...)
	}
	if r.Limit >= 0 {
		if r.Query.Filters == nil {
			plan.Partitions = limited(plan.Partitions, r.Limit)
		} else {
			plan.Partitions = d.serial(plan.Partitions, r.Limit)
		}
		plan.markKept()
	}
	for _, part := range plan.Partitions {
		if len(part.Files) > maxPartitionFiles {
			return nil, d.name(source.Errorf(source.KindLimit, "plan", "a limit with filters reads its files one after the other, and %d are too many", len(part.Files)).
				WithHint("choose fewer files with data_files, or leave the limit out"))
		}
	}
	plan.total(r)
	return plan, nil
}

// file decides about one file: its report, and its partitions if it is kept.
func (d *description) file(i int, r Request) (FileReport, []Partition, error) {
	f, footer := d.files[i], d.digests[i]
	report := FileReport{Path: f.Path, Size: f.Size, Rows: -1, Config: d.config, Split: f.split, Kept: true}
	base := d.partition(f, r)
	if footer == nil {
		// Not read: DoGet prunes it and checks that it can be cast.
		base.Rows, base.Bytes, base.NumGroups, base.Schema = -1, f.Size, -1, d.schema
		base.bytesKnown = false
		return report, []Partition{base}, nil
	}
	report.Rows = footer.rows
	if footer.err != nil {
		return report, nil, inFile(footer.err, f.Path)
	}
	report.Groups = footer.groups
	base.NumGroups, base.RowsExact = len(footer.groups), r.Query.Filters == nil
	if !d.gives(f.File, footer.schema, r.Query) {
		base.Schema = d.schema
	}
	var kept []scan.Decision
	for _, g := range footer.groups {
		if g.Keep || r.Query.Filters == nil {
			kept = append(kept, g)
		}
	}
	if len(kept) == 0 && r.Query.Filters != nil {
		report.Kept = false
		return report, nil, nil
	}
	return report, base.split(kept, r.MaxPartitionBytes), nil
}

func inFile(err error, path string) error {
	var e *source.Error
	if errors.As(err, &e) && e.Path == "" {
		out := *e
		out.Path = path
		return &out
	}
	return err
}

// gives reports whether the file's own schema leads to the stream's, so that the
// ticket does not have to carry it. A ticket has no room for source and partial:
// they follow from its commits and its path, or else from the schema it carries.
func (d *description) gives(f source.File, own *arrow.Schema, q scan.Query) bool {
	converted := d.facts.Source == SourceConverted
	if converted && d.facts.Sha == d.facts.DataSha || d.facts.Partial != (converted && strings.Contains(f.Path, "/partial-")) {
		return false
	}
	given, known := d.given[own]
	if !known {
		out, err := q.Output(own)
		given = err == nil && sameSchema(d.facts.attach(out, featuresOf(own)), d.schema)
		d.given[own] = given
	}
	return given
}

func (d *description) partition(f chosenFile, r Request) Partition {
	return Partition{
		Dataset: d.data.at.Name, Sha: d.facts.Sha, DataSha: d.facts.DataSha, Config: d.config, Split: d.facts.Split,
		FileSplit: f.split, File: f.File, Query: r.Query, Limit: -1, Source: d.facts.Source, Partial: d.facts.Partial,
		bytesKnown: true,
	}
}

// serial is a filtered limit: how many rows a file gives is known only by
// reading it, so one partition reads the kept files in order and stops.
func (d *description) serial(parts []Partition, limit int64) []Partition {
	if len(parts) == 0 || limit == 0 {
		return nil
	}
	one := parts[0]
	one.Groups, one.NumGroups, one.Limit, one.RowsExact = nil, -1, limit, false
	one.Rows, one.Bytes, one.Files = 0, 0, nil
	for i, part := range parts {
		if i == 0 || !sameFile(part, parts[i-1]) {
			one.Files = append(one.Files, part.File)
		}
		if part.Rows < 0 {
			one.Rows = limit
		}
		one.Rows = min(limit, one.Rows+max(part.Rows, 0))
		one.Bytes += part.Bytes
		one.bytesKnown = one.bytesKnown && part.bytesKnown
		if part.Schema != nil {
			one.Schema = part.Schema
		}
	}
	return []Partition{one}
}

// sameFile reports whether two neighbouring partitions are parts of one file (as
// opposed to one file read for two splits).
func sameFile(a, b Partition) bool { return a.File.Path == b.File.Path && a.FileSplit == b.FileSplit }

// markKept takes back the Kept of files whose partitions a limit dropped.
func (plan *Plan) markKept() {
	type key struct{ path, split string }
	left := make(map[key]bool)
	for _, part := range plan.Partitions {
		left[key{part.File.Path, part.FileSplit}] = true
	}
	if len(plan.Partitions) == 1 && plan.Partitions[0].Files != nil {
		return
	}
	for i := range plan.Files {
		f := &plan.Files[i]
		f.Kept = f.Kept && left[key{f.Path, f.Split}]
	}
}

// total sums up what the partitions say.
func (plan *Plan) total(r Request) {
	plan.RowsExact = r.Query.Filters == nil
	for _, f := range plan.Files {
		if f.Kept {
			plan.FilesKept++
		}
	}
	for _, part := range plan.Partitions {
		plan.RowsExact = plan.RowsExact && part.RowsExact
		plan.TotalRows += part.Rows
		if !part.bytesKnown || plan.TotalBytes < 0 {
			plan.TotalBytes = -1
			continue
		}
		plan.TotalBytes += part.Bytes
	}
	if !plan.RowsExact {
		plan.TotalRows = -1
	}
}
