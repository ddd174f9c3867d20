package flightsrv_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// scanned are the ids of a read, in order, and the commit that they are of.
func scanned(t *testing.T, f *flighttest.Fixture, read client.Read) (ids []int64, sha string) {
	t.Helper()
	plan, err := f.Client.Dataset(read).Plan(t.Context())
	if err != nil {
		t.Fatalf("%+v: %v", read, err)
	}
	for rec, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{Ordered: true}) {
		if err != nil {
			t.Fatalf("%+v: %v", read, err)
		}
		ids = append(ids, rec.Column(0).(*array.Int64).Int64Values()...)
	}
	return ids, plan.Facts.Sha
}

// rowsToPropose is one batch of flighttest.Numbers' columns.
func rowsToPropose(first, n int64) (*arrow.Schema, iter.Seq2[arrow.RecordBatch, error]) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "group", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	return schema, func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		for i := first; i < first+n; i++ {
			b.Field(0).(*array.Int64Builder).Append(i)
			b.Field(1).(*array.StringBuilder).Append("new")
			b.Field(2).(*array.StringBuilder).Append("proposed")
		}
		rec := b.NewRecordBatch()
		defer rec.Release()
		yield(rec, nil)
	}
}

func TestBranchesAndWhatAWriteProposesAreReadThroughTheService(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t), hubtest.At(dataset, "exp/long", map[string][]byte{
		"data/train-00000-of-00002.parquet": flighttest.Numbers(t, 5000, 300),
	})))
	for _, read := range []client.Read{{Dataset: dataset + "@exp%2Flong"}, {Dataset: dataset, Revision: "exp/long"}} {
		if got, sha := scanned(t, f, read); !slices.Equal(got, slices.Concat(span(5000, 300), span(300, 300))) || len(sha) != 40 {
			t.Errorf("%+v: %d rows of %s", read, len(got), sha)
		}
	}
	before, head := scanned(t, f, client.Read{Dataset: dataset})
	schema, batches := rowsToPropose(9000, 20)
	done, err := f.Client.Write(t.Context(), writer.WriteRequest{V: writer.Version, Job: "01890000-0000-7000-8000-0000000000aa", Dataset: dataset,
		Mode: writer.ModeAppend, CreatePR: true}, schema, batches, nil)
	if err != nil || done.PR == 0 {
		t.Fatalf("the write answers %+v, %v", done, err)
	}
	proposed := writer.PRRevision(done.PR)
	for _, read := range []client.Read{{Dataset: dataset + "@" + proposed}, {Dataset: dataset, Revision: proposed}} {
		got, sha := scanned(t, f, read)
		slices.Sort(got) // where appended files stand is the writer's business
		if !slices.Equal(got, slices.Concat(before, span(9000, 20))) || sha != done.Head {
			t.Errorf("%+v: %d rows of %s, proposed were 20 after %d at %s", read, len(got), sha, len(before), done.Head)
		}
	}
	if after, sha := scanned(t, f, client.Read{Dataset: dataset}); !slices.Equal(after, before) || sha != head {
		t.Errorf("main has %d rows at %s, before there were %d at %s", len(after), sha, len(before), head)
	}
}
