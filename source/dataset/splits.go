package dataset

import (
	"context"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// SplitInfo is one split of one config, as the action "splits" lists it.
type SplitInfo struct {
	Config  string `json:"config"`
	Split   string `json:"split"`
	Default bool   `json:"default"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	// Rows is nil where counting would read too many footers.
	Rows *int64 `json:"rows"`
}

// maxCountedFiles is up to how many files Splits reads the footers for the rows.
const maxCountedFiles = 64

// Splits lists the configs and splits of a dataset that can be read, with the
// commit that they are of. A dataset in which no config can be read gives the
// first one's error.
func (p *Planner) Splits(ctx context.Context, token source.HubToken, ref source.Ref) (sha string, items []SplitInfo, err error) {
	r := Request{Ref: ref, Limit: -1}
	if err := r.Validate(); err != nil {
		return "", nil, err
	}
	asked, err := p.pin(ctx, token, r)
	if err != nil {
		return "", nil, err
	}
	o, err := p.origin(ctx, asked, r)
	if err != nil {
		return "", nil, named(err, asked.at)
	}
	var files []chosenFile
	for _, c := range o.layout.Configs {
		if c.Err != nil {
			continue
		}
		for _, s := range c.Splits {
			info := SplitInfo{Config: c.Name, Split: s.Name, Default: c.Default, Files: len(s.Files)}
			for _, f := range s.Files {
				info.Bytes += f.Size
				files = append(files, chosenFile{File: f, split: s.Name})
			}
			items = append(items, info)
		}
	}
	if len(items) == 0 {
		return "", nil, named(o.layout.firstError(), asked.at)
	}
	if len(files) <= maxCountedFiles {
		p.countSplits(ctx, o.data, files, items)
	}
	return asked.at.Commit, items, nil
}

// countSplits adds the rows. A footer that cannot be read costs the numbers, not
// the listing: reading that split will say what is wrong.
func (p *Planner) countSplits(ctx context.Context, data *pinned, files []chosenFile, items []SplitInfo) {
	counts := make([]int64, len(files))
	which := sampled(len(files), len(files))
	if err := p.eachFooter(ctx, data, files, which, func(i int, f *scan.Footer) { counts[i] = f.NumRows() }); err != nil {
		p.log.DebugContext(ctx, "rows of splits not counted", "dataset", data.at.Short(), "error", err)
		return
	}
	next := 0
	for i := range items {
		rows := int64(0)
		for range items[i].Files {
			rows += counts[next]
			next++
		}
		items[i].Rows = &rows
	}
}

// firstError is why nothing of the layout can be read.
func (l *Layout) firstError() error {
	for _, c := range l.Configs {
		if c.Err != nil {
			return c.Err
		}
	}
	_, err := l.chooseConfig("")
	if err == nil {
		err = source.Errorf(source.KindNotFound, "splits", "the dataset has no splits")
	}
	return err
}
