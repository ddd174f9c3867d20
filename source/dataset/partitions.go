package dataset

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// Partition is one endpoint of a plan: a file, or some row groups of it, or, for
// a limit with filters, several files in order. It is all that Read needs.
type Partition struct {
	// Dataset is the canonical name; ParseRef reads it.
	Dataset string
	// Sha is the commit that was asked for, DataSha the one the bytes are in.
	Sha, DataSha string
	Config       string
	// Split is the one that was asked for, possibly "all": it is part of the
	// stream's facts. FileSplit is the split that this file belongs to.
	Split, FileSplit string
	File             source.File
	// Files are all files to read, in order, File being the first; nil if it is
	// File alone.
	Files []source.File
	// Groups are the row groups to read, ascending; nil means all of them, or, in
	// a filtered read, those that statistics do not rule out.
	Groups []int
	// NumGroups is how many row groups the file has; −1 if its footer was not read.
	NumGroups int
	// Rows is an upper bound unless RowsExact, −1 if unknown; Bytes are the
	// compressed bytes that will be read, the file's size if that is not known.
	Rows, Bytes int64
	RowsExact   bool
	Query       scan.Query
	// Limit is where the stream ends, in output rows; −1 at the end of the data.
	Limit int64
	// Schema is the stream's, metadata included, where the file's own schema does
	// not lead to it; else nil.
	Schema  *arrow.Schema
	Source  string
	Partial bool

	groups     []scan.Decision // what Groups stands for, while planning
	bytesKnown bool
}

// Facts are those of the stream's schema metadata.
func (p Partition) Facts() Facts {
	return Facts{V: 1, Sha: p.Sha, DataSha: p.DataSha, Config: p.Config, Split: p.Split, Source: p.Source, Partial: p.Partial}
}

// split cuts the partition at row-group borders into pieces of at most maxBytes
// (0: one piece); a group larger than that is a piece of its own.
func (p Partition) split(kept []scan.Decision, maxBytes int64) []Partition {
	if maxBytes <= 0 || len(kept) == 0 {
		return []Partition{p.with(kept)}
	}
	var out []Partition
	start, sum := 0, int64(0)
	for i, g := range kept {
		if i > start && sum+g.Bytes > maxBytes {
			out = append(out, p.with(kept[start:i]))
			start, sum = i, 0
		}
		sum += g.Bytes
	}
	return append(out, p.with(kept[start:]))
}

// with sets the row groups and what follows from them.
func (p Partition) with(groups []scan.Decision) Partition {
	p.groups, p.Groups, p.Rows, p.Bytes = groups, nil, 0, 0
	for _, g := range groups {
		p.Rows += g.Rows
		p.Bytes += g.Bytes
	}
	if len(groups) != p.NumGroups {
		p.Groups = make([]int, len(groups))
		for i, g := range groups {
			p.Groups[i] = g.Group
		}
	}
	return p
}

// limited keeps the partitions that hold the first limit rows; the last one
// carries the rest and only the row groups it needs. The rows of all partitions
// up to there are known.
func limited(parts []Partition, limit int64) []Partition {
	var out []Partition
	for _, part := range parts {
		if limit <= 0 {
			break
		}
		if part.Rows > limit {
			n, rows := 0, int64(0)
			for rows < limit {
				rows += part.groups[n].Rows
				n++
			}
			part = part.with(part.groups[:n])
			part.Limit, part.Rows = limit, limit
		}
		limit -= part.Rows
		out = append(out, part)
	}
	return out
}

const maxPartitionFiles = 100_000

// Validate checks a partition that came from outside. What it names is checked
// by reading it.
func (p Partition) Validate() error {
	refuse := func(format string, args ...any) error {
		return source.Errorf(source.KindInvalid, "ticket", format, args...)
	}
	switch {
	case p.Dataset == "":
		return refuse("the dataset is missing")
	case p.Sha == "" || p.DataSha == "":
		return refuse("the commit is missing")
	case p.Limit < -1:
		return refuse("limit %d is negative", p.Limit)
	case p.Source != SourceNative && p.Source != SourceConverted && p.Source != SourceLocal:
		return refuse("source %q is none of native, converted, local", p.Source)
	case len(p.Files) > maxPartitionFiles:
		return refuse("%d files; at most %d are read in one stream", len(p.Files), maxPartitionFiles)
	case p.Files != nil && p.Groups != nil:
		return refuse("row groups of several files")
	case !slices.IsSorted(p.Groups) || len(p.Groups) > 0 && p.Groups[0] < 0:
		return refuse("the row groups are negative or not in order")
	}
	for i := 1; i < len(p.Groups); i++ {
		if p.Groups[i] == p.Groups[i-1] {
			return refuse("row group %d is named twice", p.Groups[i])
		}
	}
	for _, f := range p.reads() {
		problem := source.ValidatePath(f.Path)
		switch {
		case f.Path == "" || problem != "":
			return refuse("file path %q %s", f.Path, problem)
		case f.Size < 0 || f.Identity() == "":
			return refuse("file %q has no size or no identity", f.Path)
		}
	}
	return nil
}

// reads are the files in the order in which they are read.
func (p Partition) reads() []source.File {
	if p.Files != nil {
		return p.Files
	}
	return []source.File{p.File}
}
