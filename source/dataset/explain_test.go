package dataset

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// indexed is a file with everything that spares reading: ids ascend, keys are
// unique and in no order, so that only their bloom filter excludes them.
func indexed(t testing.TB, first, n, perGroup int) []byte {
	t.Helper()
	fields := []arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "key", Type: arrow.BinaryTypes.String, Nullable: true},
	}
	return parquetOf(t, arrow.NewSchema(fields, nil), n, perGroup, func(b *array.RecordBuilder, row int) {
		b.Field(0).(*array.Int64Builder).Append(int64(first + row))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("key %06d", (first+row)*7919%1_000_003))
	}, parquet.WithPageIndexEnabled(true), parquet.WithBloomFilterEnabledFor("key", true),
		parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(512), parquet.WithBatchSize(32))
}

func TestExplainTellsWhichLayerSparesWhat(t *testing.T) {
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{
		"data/train-00000-of-00002.parquet": indexed(t, 0, 4000, 1000),
		"data/train-00001-of-00002.parquet": indexed(t, 4000, 4000, 1000),
	})
	p := planner(h)
	layers := func(plan *Plan) (out []string) {
		for _, f := range plan.Files {
			for _, g := range f.Groups {
				if g.Keep != (g.Layer == "") || (g.Candidates > 0) != g.Keep || (g.Read > 0) != g.Keep {
					t.Errorf("%s: %+v", f.Path, g)
				}
				if g.Candidates < g.Rows {
					g.Layer += "<"
				}
				out = append(out, g.Layer)
			}
		}
		return out
	}
	for text, want := range map[string][]string{
		`[["id",">=",1900],["id","<",2010]]`: {"statistics<", "<", "<", "statistics<", "statistics<", "statistics<", "statistics<", "statistics<"},
		`[["key","=","key 007919"]]`:         {"<", "bloom<", "bloom<", "bloom<", "bloom<", "bloom<", "bloom<", "bloom<"},
		`[["id",">=",0]]`:                    {"", "", "", "", "", "", "", ""},
	} {
		r := request(t)
		r.Query.Filters = filters(t, text)
		plan, err := p.Explain(t.Context(), source.HubToken{}, r, Admission{})
		if err != nil {
			t.Fatal(err)
		}
		if got := layers(plan); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
		// A plan reads footers only, and what explain finds out does not change it.
		h.reads = 0
		again := mustPlan(t, p, r)
		if h.reads > 0 || len(again.Partitions) != len(plan.Partitions) || again.TotalBytes != plan.TotalBytes {
			t.Errorf("%s: the plan took %d reads and has %d partitions, explain %d", text, h.reads, len(again.Partitions), len(plan.Partitions))
		}
	}
	r := request(t)
	r.Limit = 1500
	plan, err := p.Explain(t.Context(), source.HubToken{}, r, Admission{})
	if err != nil {
		t.Fatal(err)
	}
	// The first 1,500 of 4,000 rows lie in the first two of four row groups.
	for i, g := range slices.Concat(plan.Files[0].Groups, plan.Files[1].Groups) {
		if want := i < 2; g.Keep != want || (g.Layer == scan.LayerLimit) == want {
			t.Errorf("row group %d: %+v", i, g)
		}
	}
}

func TestExplainKeepsNoFootersRoomWhileItReadsWhatIsBesideTheFooter(t *testing.T) {
	const path = "data/train-00000-of-00001.parquet"
	content := indexed(t, 0, 40_000, 10_000)
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{path: content})
	p := NewPlanner(PlannerOptions{Open: h.open, FooterCacheBytes: 1})
	var beside, kept atomic.Int64
	h.during = func(r memRead) {
		if r.off+r.n == int64(len(content)) {
			return // the footer
		}
		beside.Add(1)
		if !p.footerRoom.TryAcquire(p.footerBytes) {
			kept.Add(1)
			return
		}
		p.footerRoom.Release(p.footerBytes)
	}
	r := request(t)
	r.Query.Filters = filters(t, `[["key","=","key 007919"]]`)
	l := &lessor{room: make(chan struct{}, 1)}
	if _, err := p.Explain(t.Context(), source.HubToken{}, r, Admission{Lease: l.lease}); err != nil {
		t.Fatal(err)
	}
	if beside.Load() == 0 || kept.Load() > 0 {
		t.Errorf("in %d of %d reads beside the footer its room was kept", kept.Load(), beside.Load())
	}
	if l.smallest.Load() <= scan.ExamineBytes {
		t.Errorf("%d bytes were leased: none for the footer", l.smallest.Load())
	}
}

// What a stream asks beside its data must fail like any other read.
func TestExplainFailsWithTheReadThatFails(t *testing.T) {
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{"data/train-00000-of-00001.parquet": indexed(t, 0, 40_000, 10_000)})
	p := planner(h)
	r := request(t)
	r.Query.Filters = filters(t, `[["key","=","key 007919"]]`)
	token := source.NewHubToken("somebody")
	if _, err := p.Plan(t.Context(), token, r); err != nil {
		t.Fatal(err)
	}
	h.denied[token] = true
	_, err := p.Explain(t.Context(), token, r, Admission{})
	wantError(t, err, source.KindDenied, "train-00000")
}
