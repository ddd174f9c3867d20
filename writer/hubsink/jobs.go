package hubsink

import (
	"context"

	"github.com/hubflight/hubflight/writer"
)

// maxTold is how many commits are looked through for all jobs: 20 pages.
const maxTold = 1000

// Jobs implements writer.Historian.
func (s *Sink) Jobs(ctx context.Context, revision, job string) (items []writer.JobItem, err error) {
	seen := 0
	for commit, err := range s.data.Commits(ctx, branchOr(revision)) {
		if err != nil {
			return nil, err
		}
		if r, ok := writer.ParseDescription(commit.Title + "\n" + commit.Message); ok && (job == "" || r.Job == job) {
			items = writer.Gather(items, commit.ID, commit.Date, commit.Title, r)
		}
		limit := maxTold
		if job != "" {
			limit = maxHistory
		}
		if seen++; seen >= limit {
			break
		}
	}
	return items, nil
}

var _ writer.Historian = (*Sink)(nil)
