package dataset

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// Whole files, row groups, partitions and everything behind a limit are left out of
// a filtered plan; what it reads is still what the filter keeps of everything.
func TestAFilteredLimitedReadIsWhatTheFilterKeepsOfEverything(t *testing.T) {
	const files, perFile = 6, 400
	rng := rand.New(rand.NewPCG(8, 8))
	content := map[string][]byte{}
	for i := range files {
		content[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, files)] = flights(t, i*perFile, perFile, []int{400, 100, 37}[i%3])
	}
	h := newMemHub()
	h.commit(repo, "main", content)
	p := planner(h)
	keptLess, cut := 0, 0
	for range 60 {
		low := rng.IntN(files * perFile)
		text := []string{
			fmt.Sprintf(`[["id",">=",%d],["id","<",%d]]`, low, low+1+rng.IntN(900)),
			fmt.Sprintf(`[["lang","in",["l%02d","l%02d"]]]`, rng.IntN(66), rng.IntN(66)),
			fmt.Sprintf(`[[["id","=",%d]],[["id",">",%d]],[["lang","=","l%02d"]]]`, low, files*perFile-rng.IntN(500), rng.IntN(66)),
		}[rng.IntN(3)]
		var want []int64
		for _, part := range mustPlan(t, p, request(t)).Partitions {
			want = append(want, idsKept(t, p, part, text)...)
		}
		r := request(t)
		r.Query.Filters = filters(t, text)
		if rng.IntN(2) == 0 {
			r.Limit = int64(rng.IntN(300))
			want = want[:min(int64(len(want)), r.Limit)]
			cut++
		} else if rng.IntN(2) == 0 {
			r.MaxPartitionBytes = int64(1 + rng.IntN(4000))
		}
		plan := mustPlan(t, p, r)
		var got []int64
		for _, part := range plan.Partitions {
			got = append(got, idsOf(t, p, part, 0, -1)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s, limit %d, partitions of %d bytes: got %d rows, want %d", text, r.Limit, r.MaxPartitionBytes, len(got), len(want))
		}
		if plan.FilesKept < files {
			keptLess++
		}
	}
	if keptLess < 20 || cut < 10 {
		t.Errorf("of 60 plans %d left files out and %d had a limit", keptLess, cut)
	}
}

// idsKept are the ids of a partition that a filter keeps, row by row.
func idsKept(t *testing.T, p *Planner, part Partition, text string) []int64 {
	t.Helper()
	s, err := p.Read(t.Context(), ReadParams{Token: source.HubToken{}, Partition: part, Stop: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	bound, err := filters(t, text).Bind(s.Schema(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []int64
	for {
		batch, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		keep, err := bound.Eval(t.Context(), batch, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		for i := range keep.Len() {
			if keep.Value(i) {
				out = append(out, batch.Column(0).(*array.Int64).Value(i))
			}
		}
		keep.Release()
		batch.Release()
	}
}
