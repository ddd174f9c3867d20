package scan

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

// Layers name what decided about a row group: what proved that no row
// can match, or that none is asked for.
const (
	LayerStatistics = "statistics"
	LayerBloom      = "bloom"
	LayerDictionary = "dictionary"
	LayerPageIndex  = "page index"
	LayerLimit      = "limit" // there are enough rows before it
)

// Decision is what becomes of one row group.
type Decision struct {
	Group int
	Keep  bool
	Layer string // "" if kept
	Rows  int64
	Bytes int64 // compressed bytes of the leaves that the query reads
	// Candidates are the rows that may match, Read the bytes that finding out takes
	// at most: 0 if the group is not kept; without the page index Rows and Bytes.
	Candidates, Read int64
}

// Prune decides for every row group of a file whether a row of it can match the
// filters. A filter's column that the file lacks is null in every row. A cancelled
// ctx ends the work, which takes terms × row groups.
func (q Query) Prune(ctx context.Context, ft *Footer) ([]Decision, error) {
	var bound *filter.Bound
	if q.Filters != nil {
		schema, err := q.filterSchema(ft.schema)
		if err != nil {
			return nil, err
		}
		if bound, err = q.Filters.BindWithMissing(schema, q.Logic); err != nil {
			return nil, inFile(ft.file, err)
		}
	}
	leaves := q.leaves(ft, bound)
	out := make([]Decision, ft.NumRowGroups())
	for g := range out {
		if err := ctx.Err(); err != nil {
			return nil, inFile(ft.file, err)
		}
		d := Decision{Group: g, Keep: true, Rows: ft.GroupRows(g)}
		for _, leaf := range leaves {
			d.Bytes += ft.chunks[g][leaf].len
		}
		if bound != nil && q.off&offStatistics == 0 && !bound.MayMatch(ft.groupStats(g)) {
			d.Keep, d.Layer = false, LayerStatistics
		} else {
			d.Candidates, d.Read = d.Rows, d.Bytes
		}
		out[g] = d
	}
	return out, nil
}

// Examine is Prune with everything that a stream of the file would ask before it
// decodes a row group: bloom filters, dictionary pages and the page index, which it
// reads from r. out is the stream's schema.
func (q Query) Examine(ctx context.Context, r source.Reader, ft *Footer, out *arrow.Schema) ([]Decision, error) {
	decisions, err := q.Prune(ctx, ft)
	if err != nil || q.Filters == nil {
		return decisions, err
	}
	t := Task{File: ft.file, Reader: r, Footer: ft, Query: q, Groups: []int{}, Out: out, Memory: memory.DefaultAllocator}
	for _, d := range decisions {
		if d.Keep {
			t.Groups = append(t.Groups, d.Group)
		}
	}
	plan, err := newLayout(ft, q, t.Out)
	if err != nil {
		return nil, err
	}
	p := newProspector(&t, plan)
	p.ahead, p.tested, p.rest = newAhead(ctx, r), nil, nil // what is found out is announced, what the filter would look at is not
	for _, g := range t.Groups {
		c, err := p.group(ctx, g)
		if err != nil {
			return nil, err
		}
		d := &decisions[g]
		d.Keep, d.Layer, d.Candidates = c.layer == "", c.layer, countRows(c.spans)
		if d.Read, err = c.bytes(ctx); err != nil {
			return nil, err
		}
	}
	return decisions, nil
}

// leaves lists the Parquet leaves that the query reads of a file, in order.
func (q Query) leaves(ft *Footer, bound *filter.Bound) []int {
	wanted := make(map[int]bool)
	mark := func(path []string) {
		for _, leaf := range ft.leavesAt(path) {
			wanted[leaf] = true
		}
	}
	switch {
	case q.RowsOnly:
	case q.Columns == nil:
		for _, n := range ft.roots {
			mark([]string{n.field.Name})
		}
	default:
		for _, c := range q.Columns {
			// A column that this file lacks costs nothing.
			if path, err := resolveColumn(ft.schema, c); err == nil {
				mark(path)
			}
		}
	}
	if bound != nil {
		for _, path := range bound.Paths() {
			mark(path)
		}
	}
	out := make([]int, 0, len(wanted))
	for leaf := range wanted {
		out = append(out, leaf)
	}
	slices.Sort(out)
	return out
}

// leavesAt lists the leaves at and below a path; none if it does not exist.
func (ft *Footer) leavesAt(path []string) []int {
	n := ft.root(path[0])
	for _, name := range path[1:] {
		for n != nil && n.repeated && len(n.children) == 1 {
			n = n.children[0] // list elements have no name in a path
		}
		if n == nil {
			return nil
		}
		n = n.child(name)
	}
	if n == nil {
		return nil
	}
	return n.leaves(nil)
}

// inFile names the file in an error about it.
func inFile(f source.File, err error) error {
	e := *source.AsError(opPlan, err)
	return e.WithFile(f.At.Short(), f.Path)
}
