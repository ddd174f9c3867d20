package flightsrv_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
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

// Two principals of a server whose Hub token they share, both with the right to write
// the dataset: neither sees, stops or takes over what the other has under way.
func TestAnOpenJobIsItsPrincipalsOwn(t *testing.T) {
	const id, dataset = "01890000-0000-7000-8000-00000000000d", "demo/own"
	auth := flightsrv.Auth{Mode: flightsrv.AuthToken}
	var lines strings.Builder
	for _, name := range []string{"ana", "bob"} {
		digest := sha256.Sum256([]byte(name + "-secret"))
		lines.WriteString(name + " " + hex.EncodeToString(digest[:]) + " write demo/*\n")
	}
	if err := auth.ReadTokenFile(strings.NewReader(lines.String())); err != nil {
		t.Fatal(err)
	}
	f := flighttest.New(t, flighttest.Auth(auth), flighttest.Tokens("ana-secret", ""))
	ana := f.Client
	bob, err := client.Dial(t.Context(), f.Location, client.Options{ServerToken: "bob-secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bob.Close() }()

	begun, err := ana.Begin(t.Context(), writer.BeginRequest{V: 1, Job: id, Dataset: dataset, Mode: "append", CreateRepo: true})
	if err != nil {
		t.Fatal(err)
	}
	stage := writer.StageRequest{V: 1, Job: id, Dataset: dataset, Revision: begun.Revision, Base: begun.Base, Mode: "append", Attempt: "0"}
	schema, rows := numbered(2)
	_, err = ana.Stage(t.Context(), stage, schema, func(yield func(arrow.RecordBatch, error) bool) {
		for rec, err := range rows {
			if !yield(rec, err) {
				return
			}
		}
		// The attempt is running. A job of the same id is bob's own, and goes with it.
		_, rows := numbered(3)
		other := stage
		other.Partition = 1
		_, staged := bob.Stage(t.Context(), other, schema, rows, nil)
		if err := errors.Join(staged, bob.Abort(t.Context(), id), bob.Abort(t.Context(), id)); err != nil {
			t.Error(err)
		}
	}, nil)
	if err != nil {
		t.Fatalf("ana's attempt, after bob has aborted: %v", err)
	}
	for _, in := range []string{"", dataset} {
		if items, err := bob.Jobs(t.Context(), in, "", ""); err != nil || len(items) != 0 {
			t.Errorf("bob sees in %q: %+v, %v", in, items, err)
		}
		told := func(job string) string {
			_, err := bob.Jobs(t.Context(), in, "", job)
			if source.KindOf(err) != source.KindNotFound {
				t.Fatalf("in %q bob finds job %s: %v", in, job, err)
			}
			text, _, _ := strings.Cut(err.Error(), " (request ")
			return strings.ReplaceAll(text, job, "JOB")
		}
		if hers, nobodys := told(id), told("01890000-0000-7000-8000-00000000000e"); hers != nobodys {
			t.Errorf("in %q bob is told of ana's job %q, of nobody's %q", in, hers, nobodys)
		}
		if items, err := ana.Jobs(t.Context(), in, "", id); err != nil || len(items) != 1 || items[0].Staged != 1 {
			t.Errorf("ana sees in %q: %+v, %v", in, items, err)
		}
	}
	if err := ana.Abort(t.Context(), id); err != nil {
		t.Error(err)
	}
	if items, err := ana.Jobs(t.Context(), "", "", ""); err != nil || len(items) != 0 {
		t.Errorf("after her own abort: %+v, %v", items, err)
	}
}
