package flightsrv_test

import (
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/writer"
)

// numbered are rows of one column, id.
func numbered(ids ...int64) (*arrow.Schema, iter.Seq2[arrow.RecordBatch, error]) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	return schema, func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		b.Field(0).(*array.Int64Builder).AppendValues(ids, nil)
		rec := b.NewRecordBatch()
		defer rec.Release()
		yield(rec, nil)
	}
}

// TestZeroOperationsPerCommitIsOneCommitOfEverything sends 0 over the wire, where a
// number that is left out means 50: 120 files become one commit of the Hub, and not
// three.
func TestZeroOperationsPerCommitIsOneCommitOfEverything(t *testing.T) {
	const files, name = 120, "demo/one-commit"
	f := flighttest.New(t)
	job := uuid.NewString()
	begun, err := f.Client.Begin(t.Context(), writer.BeginRequest{V: 1, Job: job, Dataset: name, Mode: writer.ModeAppend, CreateRepo: true})
	if err != nil {
		t.Fatal(err)
	}
	// Two contents are enough: files of a job may be alike, and are told apart by
	// their partitions.
	var staged []writer.StagedFile
	for p := range 2 {
		schema, rows := numbered(int64(p))
		result, err := f.Client.Stage(t.Context(), writer.StageRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base,
			Mode: writer.ModeAppend, Partition: p, Attempt: "0"}, schema, rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		staged = append(staged, result.Files...)
	}
	commit := writer.CommitRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base, Mode: writer.ModeAppend, MaxOperations: new(int)}
	for p := range files {
		file := staged[p%2]
		file.Partition = p
		commit.Files = append(commit.Files, file)
	}
	f.Hub.ForgetRequests()
	result, err := f.Client.Commit(t.Context(), commit, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Commits) != 1 || !result.Atomic || result.PathsTotal != files || result.Rows != files {
		t.Errorf("the answer is %+v", result)
	}
	posts := 0
	for _, r := range f.Hub.Requests() {
		if r.Method == http.MethodPost && strings.Contains(r.Path, "/commit/") {
			posts++
		}
	}
	if posts != 1 {
		t.Errorf("%d commits were sent", posts)
	}
	var rows, sum int64
	for rec, err := range f.Client.Dataset(client.Read{Dataset: name}).Scan(t.Context(), client.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range rec.Column(0).(*array.Int64).Int64Values() {
			rows, sum = rows+1, sum+id
		}
	}
	if rows != files || sum != files/2 {
		t.Errorf("%d rows that add up to %d", rows, sum)
	}
}
