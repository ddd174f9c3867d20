package flightsrv_test

import (
	"testing"

	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

func TestJobsAreListedByDatasetAndById(t *testing.T) {
	f := flighttest.New(t)
	const id = "01890000-0000-7000-8000-00000000000b"
	if _, err := f.Client.Begin(t.Context(), writer.BeginRequest{V: 1, Job: id, Dataset: "demo/jobs", Mode: "append", CreateRepo: true}); err != nil {
		t.Fatal(err)
	}
	for _, dataset := range []string{"", "demo/jobs"} {
		for _, job := range []string{"", id} {
			items, err := f.Client.Jobs(t.Context(), dataset, "", job)
			if err != nil || len(items) != 1 || items[0].Job != id || items[0].State != writer.JobOpen || items[0].Dataset != "demo/jobs" {
				t.Errorf("dataset %q, job %q: %+v, %v", dataset, job, items, err)
			}
		}
		if _, err := f.Client.Jobs(t.Context(), dataset, "", "01890000-0000-7000-8000-00000000000c"); source.KindOf(err) != source.KindNotFound {
			t.Errorf("an unknown job: %v", err)
		}
	}
	if err := f.Client.Abort(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if items, err := f.Client.Jobs(t.Context(), "", "", ""); err != nil || len(items) != 0 {
		t.Errorf("after an abort: %+v, %v", items, err)
	}
}
