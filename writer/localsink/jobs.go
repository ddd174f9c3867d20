package localsink

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hubflight/hubflight/writer"
)

// maxTold is how many jobs are told at once.
const maxTold = 1000

// Jobs implements writer.Historian: the answers that commits have left.
func (s *Sink) Jobs(ctx context.Context, _, job string) ([]writer.JobItem, error) {
	f, err := s.open()
	if err != nil {
		return nil, err
	}
	defer f.close()
	d, err := f.root.Open(doneDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, s.wrap("jobs", err)
	}
	entries, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, s.wrap("jobs", err)
	}
	var items []writer.JobItem
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		info, err := e.Info()
		if !ok || job != "" && id != job || err != nil || info.Size() == 0 {
			continue // no record, only the name of one, or gone by now
		}
		items = append(items, writer.JobItem{Job: id, State: writer.JobComplete, Updated: info.ModTime().UTC().Format(time.RFC3339Nano)})
	}
	slices.SortFunc(items, func(a, b writer.JobItem) int { return strings.Compare(b.Updated, a.Updated) })
	items = items[:min(len(items), maxTold)]
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var in intent
		if _, err := f.readJSON(path.Join(doneDir, items[i].Job+".json"), &in); err != nil {
			return nil, err
		}
		items[i].Commits, items[i].Of = in.Result.Commits, len(in.Result.Commits)
	}
	return items, nil
}

var _ writer.Historian = (*Sink)(nil)
