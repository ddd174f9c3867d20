package flightsrv

import (
	"context"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// jobsAction tells which write jobs there are: those of a dataset by its history,
// else those that this server knows of the caller. A caller sees its own jobs, and of
// others' what the history of a dataset that it may read tells.
func (s *Server) jobsAction(ctx context.Context, body []byte, emit func(any) error) (any, error) {
	var r struct {
		V        int    `json:"v,omitempty"`
		Dataset  string `json:"dataset,omitempty"`
		Revision string `json:"revision,omitempty"`
		Job      string `json:"job,omitempty"`
	}
	if err := decode("jobs", body, maxCommand, &r); err != nil {
		return nil, err
	}
	if r.V != 0 {
		if err := checkVersion("jobs", r.V); err != nil {
			return nil, err
		}
	}
	items, err := s.jobs(ctx, r.Dataset, r.Revision, r.Job)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if err := emit(item); err != nil {
			return nil, err
		}
	}
	return map[string]any{"type": "result", "v": wireVersion}, nil
}

func (s *Server) jobs(ctx context.Context, dataset, revision, job string) ([]writer.JobItem, error) {
	token := principalOf(ctx).HubToken
	if dataset != "" {
		if _, err := s.readable(ctx, "jobs", dataset, revision); err != nil {
			return nil, err
		}
		return s.writer.Jobs(ctx, token, dataset, revision, job)
	}
	var items []writer.JobItem
	for _, item := range s.writer.KnownJobs(ctx, token) {
		ref, err := s.ref(item.Dataset, "")
		if err != nil || authorize(ctx, "jobs", ref, false) != nil || job != "" && item.Job != job {
			continue // this caller may not read the dataset any more
		}
		if job != "" { // its history knows more
			return s.writer.Jobs(ctx, token, item.Dataset, item.Revision, job)
		}
		items = append(items, item)
	}
	if job != "" {
		return nil, source.Errorf(source.KindNotFound, "jobs", "this server does not know the job").
			WithHint("name the dataset too: its history tells every job that was committed")
	}
	return items, nil
}
