package dataset

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan"
)

const repo = "demo/flights"

// flightsHub has three train shards of 100 rows in 5 row groups each, and a test
// split of 10 rows.
func flightsHub(t testing.TB) *memHub {
	t.Helper()
	h := newMemHub()
	h.commit(repo, "main", flightFiles(t))
	return h
}

func flightFiles(t testing.TB) map[string][]byte {
	files := map[string][]byte{
		"README.md":                           []byte("# Flights\n"),
		"data/test-00000-of-00001.parquet":    flights(t, 0, 10, 10),
		"data/unused.parquet":                 []byte("not read"),
		"data/train-00000-of-00003.parquet":   flights(t, 0, 100, 20),
		"data/train-00001-of-00003.parquet":   flights(t, 100, 100, 20),
		"data/train-00002-of-00003.parquet":   flights(t, 200, 100, 20),
		"scripts/test/run.py":                 []byte("print()"),
		"data/.hidden-00000-of-00001.parquet": []byte("not read"),
	}
	return files
}

func planner(h *memHub) *Planner { return NewPlanner(PlannerOptions{Open: h.open, Parallel: 4}) }

func request(t testing.TB) Request {
	t.Helper()
	return Request{Ref: source.Ref{Repo: repo}, Limit: -1}
}

func filters(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustPlan(t testing.TB, p *Planner, r Request) *Plan {
	t.Helper()
	plan, err := p.Plan(t.Context(), source.HubToken{}, r)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func paths(plan *Plan) []string {
	var out []string
	for _, part := range plan.Partitions {
		out = append(out, part.File.Path)
	}
	return out
}

func wantError(t *testing.T, err error, kind source.Kind, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want [%s] with %q", kind, text)
	}
	if source.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want [%s] with %q", err, kind, text)
	}
}

func TestAPlanHasOnePartitionPerFile(t *testing.T) {
	h := flightsHub(t)
	plan := mustPlan(t, planner(h), request(t))
	want := []string{"data/train-00000-of-00003.parquet", "data/train-00001-of-00003.parquet", "data/train-00002-of-00003.parquet"}
	if got := paths(plan); !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	if plan.TotalRows != 300 || !plan.RowsExact || plan.FilesTotal != 3 || plan.FilesKept != 3 || plan.TotalBytes <= 0 {
		t.Errorf("got %d rows (exact %v), %d of %d files, %d bytes", plan.TotalRows, plan.RowsExact, plan.FilesKept, plan.FilesTotal, plan.TotalBytes)
	}
	for _, part := range plan.Partitions {
		if part.Rows != 100 || !part.RowsExact || part.Groups != nil || part.NumGroups != 5 || part.Schema != nil || part.FileSplit != "train" {
			t.Errorf("got partition %+v, want all of 5 row groups with 100 rows", part)
		}
		if err := part.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestAPlanReadsEachFooterOnceAndResolvesOnce(t *testing.T) {
	h := flightsHub(t)
	p := planner(h)
	mustPlan(t, p, request(t))
	if len(h.resolves) != 1 {
		t.Errorf("resolved %q, want one revision", h.resolves)
	}
	// README, three footers.
	if lists, opens, reads := h.counted(); lists != 1 || opens != 4 || reads != 4 {
		t.Errorf("the first plan listed %d times, opened %d files and read %d times; want 1, 4, 4", lists, opens, reads)
	}
	mustPlan(t, p, request(t))
	if lists, opens, _ := h.counted(); lists != 0 || opens != 0 {
		t.Errorf("the second plan listed %d times and opened %d files; want both from the caches", lists, opens)
	}
}

func TestAFooterIsKeptForTheTokenThatReadIt(t *testing.T) {
	h := flightsHub(t)
	p := planner(h)
	if _, err := p.Plan(t.Context(), source.NewHubToken("hf_owner"), request(t)); err != nil {
		t.Fatal(err)
	}
	other := source.NewHubToken("hf_other")
	h.mu.Lock()
	h.denied[other] = true
	h.mu.Unlock()
	_, err := p.Plan(t.Context(), other, request(t))
	wantError(t, err, source.KindDenied, "gated")
}

func TestPlansOfOneRequestAreEqual(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	r.Query.Filters = filters(t, `[["lang","in",["l03","l07"]]]`)
	first := mustPlan(t, planner(h), r)
	for range 5 {
		if again := mustPlan(t, planner(h), r); !reflect.DeepEqual(first, again) {
			t.Fatalf("got\n%+v\nthen\n%+v", first, again)
		}
	}
}

func TestStatisticsPruneFilesAndRowGroups(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	r.Query.Filters = filters(t, `[["lang","in",["l03","l07"]]]`)
	plan := mustPlan(t, planner(h), r)
	if got, want := paths(plan), []string{"data/train-00000-of-00003.parquet", "data/train-00001-of-00003.parquet"}; !slices.Equal(got, want) {
		t.Fatalf("got files %q, want %q", got, want)
	}
	if got := plan.Partitions[0].Groups; !slices.Equal(got, []int{3}) {
		t.Errorf("got row groups %v of the first file, want [3]", got)
	}
	if got := plan.Partitions[1].Groups; !slices.Equal(got, []int{2}) {
		t.Errorf("got row groups %v of the second file, want [2]", got)
	}
	if plan.RowsExact || plan.TotalRows != -1 || plan.FilesKept != 2 || plan.FilesTotal != 3 {
		t.Errorf("got %d rows (exact %v), %d of %d files", plan.TotalRows, plan.RowsExact, plan.FilesKept, plan.FilesTotal)
	}
	skipped := 0
	for _, f := range plan.Files {
		for _, g := range f.Groups {
			if !g.Keep {
				skipped++
				if g.Layer != scan.LayerStatistics {
					t.Errorf("row group %d of %s was skipped by %q", g.Group, f.Path, g.Layer)
				}
			}
		}
	}
	if skipped != 13 {
		t.Errorf("skipped %d row groups, want 13 of 15", skipped)
	}
}

func TestAFilterThatNothingMatchesGivesNoPartitionsButTheSchema(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	r.Query.Filters = filters(t, `[["lang","=","none"]]`)
	plan := mustPlan(t, planner(h), r)
	if len(plan.Partitions) != 0 || plan.FilesKept != 0 || plan.Schema.NumFields() != 2 {
		t.Errorf("got %d partitions, %d files kept, schema %s", len(plan.Partitions), plan.FilesKept, plan.Schema)
	}
}

func TestALimitKeepsTheFilesAndRowGroupsThatItNeeds(t *testing.T) {
	for _, limit := range []int64{0, 1, 20, 21, 100, 150, 300, 1000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			h := flightsHub(t)
			r := request(t)
			r.Limit = limit
			plan := mustPlan(t, planner(h), r)
			want := min(limit, 300)
			if plan.TotalRows != want || !plan.RowsExact {
				t.Errorf("got %d rows (exact %v), want %d", plan.TotalRows, plan.RowsExact, want)
			}
			if got, files := len(plan.Partitions), int((want+99)/100); got != files || plan.FilesKept != files {
				t.Errorf("got %d partitions and %d files, want %d", got, plan.FilesKept, files)
			}
			if n := len(plan.Partitions); n > 0 && want%100 != 0 {
				last := plan.Partitions[n-1]
				if last.Limit != want%100 || len(last.Groups) != int((want%100+19)/20) && last.Groups != nil {
					t.Errorf("the last partition has limit %d and row groups %v", last.Limit, last.Groups)
				}
			}
		})
	}
}

func TestALimitWithFiltersIsOnePartitionOfTheKeptFiles(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	r.Query.Filters = filters(t, `[["id",">=",150]]`)
	r.Limit = 70
	plan := mustPlan(t, planner(h), r)
	if len(plan.Partitions) != 1 {
		t.Fatalf("got %d partitions, want 1", len(plan.Partitions))
	}
	part := plan.Partitions[0]
	var got []string
	for _, f := range part.Files {
		got = append(got, f.Path)
	}
	if want := []string{"data/train-00001-of-00003.parquet", "data/train-00002-of-00003.parquet"}; !slices.Equal(got, want) {
		t.Errorf("got files %q, want %q", got, want)
	}
	if part.Limit != 70 || part.Rows != 70 || part.RowsExact || part.Groups != nil || plan.FilesKept != 2 {
		t.Errorf("got limit %d, rows %d (exact %v), row groups %v, %d files", part.Limit, part.Rows, part.RowsExact, part.Groups, plan.FilesKept)
	}
	r.Limit = 0
	if plan := mustPlan(t, planner(h), r); len(plan.Partitions) != 0 || plan.FilesKept != 0 {
		t.Errorf("limit 0 gives %d partitions and %d files", len(plan.Partitions), plan.FilesKept)
	}
}

func TestLargeFilesAreSplitAtRowGroups(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	whole := mustPlan(t, planner(h), r).Partitions[0]
	r.MaxPartitionBytes = whole.Bytes/2 + 1
	plan := mustPlan(t, planner(h), r)
	rows, groups := int64(0), []int{}
	for _, part := range plan.Partitions[:len(plan.Partitions)/3] {
		if part.Bytes > r.MaxPartitionBytes {
			t.Errorf("a partition has %d bytes, more than %d", part.Bytes, r.MaxPartitionBytes)
		}
		rows += part.Rows
		groups = append(groups, part.Groups...)
	}
	if rows != 100 || !slices.Equal(groups, []int{0, 1, 2, 3, 4}) || plan.FilesKept != 3 || plan.TotalRows != 300 {
		t.Errorf("got %d rows in row groups %v of the first file; %d files, %d rows", rows, groups, plan.FilesKept, plan.TotalRows)
	}
	r.MaxPartitionBytes = 1
	if plan := mustPlan(t, planner(h), r); len(plan.Partitions) != 15 {
		t.Errorf("got %d partitions, want one per row group", len(plan.Partitions))
	}
}

func TestTheSchemaCarriesTheFactsAndTheFeatures(t *testing.T) {
	h := newMemHub()
	features := `{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}`
	md := arrow.NewMetadata([]string{"huggingface", "pandas"}, []string{features, "{}"})
	schema := arrow.NewSchema([]arrow.Field{{Name: "label", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, &md)
	one := func(b *array.RecordBuilder, _ int) { b.Field(0).(*array.Int64Builder).Append(1) }
	sha := h.commit(repo, "main", map[string][]byte{
		"train-0.parquet": parquetOf(t, schema, 3, 3, one),
		"train-1.parquet": parquetOf(t, arrow.NewSchema(schema.Fields(), nil), 3, 3, one),
	})
	plan := mustPlan(t, planner(h), request(t))
	if got := featuresOf(plan.Schema); got != features {
		t.Errorf("got features %q, want them verbatim", got)
	}
	want := Facts{V: 1, Sha: sha, DataSha: sha, Config: "default", Split: "train", Source: SourceNative}
	if got := factsOf(t, plan.Schema); got != want || plan.Facts != want {
		t.Errorf("got facts %+v, want %+v", got, want)
	}
	text, _ := plan.Schema.Metadata().GetValue("hubflight")
	var keys map[string]any
	if err := json.Unmarshal([]byte(text), &keys); err != nil || len(keys) != 7 {
		t.Errorf("got %s, want the seven keys of the contract", text)
	}
	if keys := plan.Schema.Metadata().Keys(); !slices.Equal(keys, []string{"huggingface", "hubflight"}) {
		t.Errorf("got metadata %q", keys)
	}
	// The second file has no features, so its ticket must carry the schema.
	if plan.Partitions[0].Schema != nil || plan.Partitions[1].Schema == nil {
		t.Errorf("got schemas %v and %v, want the second only", plan.Partitions[0].Schema, plan.Partitions[1].Schema)
	}
	alone, err := planner(h).Schema(t.Context(), source.HubToken{}, request(t))
	if err != nil || !sameSchema(alone, plan.Schema) {
		t.Errorf("GetSchema gives %s (%v), the plan %s", alone, err, plan.Schema)
	}
}

func TestSchemasOfSeveralFilesAreUnified(t *testing.T) {
	field := func(name string, typ arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: typ, Nullable: true}
	}
	narrow := arrow.NewSchema([]arrow.Field{field("a", arrow.PrimitiveTypes.Int32)}, nil)
	wide := arrow.NewSchema([]arrow.Field{field("a", arrow.PrimitiveTypes.Int64), field("b", arrow.BinaryTypes.String)}, nil)
	text := arrow.NewSchema([]arrow.Field{field("a", arrow.BinaryTypes.String)}, nil)
	nothing := func(*array.RecordBuilder, int) {}
	t.Run("widening and missing columns", func(t *testing.T) {
		h := newMemHub()
		h.commit(repo, "main", map[string][]byte{"a.parquet": parquetOf(t, narrow, 0, 1, nothing), "b.parquet": parquetOf(t, wide, 0, 1, nothing)})
		plan := mustPlan(t, planner(h), request(t))
		if !plan.Schema.Equal(wide) {
			t.Errorf("got %s, want %s", plan.Schema, wide)
		}
		if plan.Partitions[0].Schema == nil || plan.Partitions[1].Schema != nil {
			t.Error("the narrow file's ticket must carry the schema, the other's need not")
		}
	})
	t.Run("a conflict names both files and the column", func(t *testing.T) {
		h := newMemHub()
		h.commit(repo, "main", map[string][]byte{"a.parquet": parquetOf(t, narrow, 0, 1, nothing), "b.parquet": parquetOf(t, text, 0, 1, nothing)})
		_, err := planner(h).Plan(t.Context(), source.HubToken{}, request(t))
		wantError(t, err, source.KindInvalid, "a.parquet")
		wantError(t, err, source.KindInvalid, "b.parquet")
	})
}

func TestBeyondFootersMaxSomeFootersAreRead(t *testing.T) {
	h := newMemHub()
	files := map[string][]byte{}
	for i := range 20 {
		files[fmt.Sprintf("train-%02d.parquet", i)] = flights(t, i*10, 10, 5)
	}
	h.commit(repo, "main", files)
	p := NewPlanner(PlannerOptions{Open: h.open, FootersMax: 5})
	plan := mustPlan(t, p, request(t))
	if len(h.opens) != 5 || len(plan.Partitions) != 20 || plan.TotalRows != -1 || plan.RowsExact || plan.TotalBytes != -1 {
		t.Errorf("opened %d files for %d partitions, %d rows (exact %v), %d bytes", len(h.opens), len(plan.Partitions), plan.TotalRows, plan.RowsExact, plan.TotalBytes)
	}
	slices.Sort(h.opens)
	if first, last := h.opens[0], h.opens[4]; first != "train-00.parquet" || last != "train-19.parquet" {
		t.Errorf("the first and the last file must be read, got %q", h.opens)
	}
	if part := plan.Partitions[1]; part.Groups != nil || part.NumGroups != -1 || part.Rows != -1 || part.Schema == nil {
		t.Errorf("got %+v for a file that was not read", part)
	}
	t.Run("a filter keeps what was not read", func(t *testing.T) {
		r := request(t)
		r.Query.Filters = filters(t, `[["id","=",0]]`)
		if plan := mustPlan(t, p, r); plan.FilesKept != 16 {
			t.Errorf("kept %d files, want the first and the 15 that were not read", plan.FilesKept)
		}
	})
	t.Run("a limit reads the footers that it counts", func(t *testing.T) {
		r := request(t)
		r.Limit = 35
		plan := mustPlan(t, p, r)
		if plan.TotalRows != 35 || !plan.RowsExact || len(plan.Partitions) != 4 {
			t.Errorf("got %d rows (exact %v) in %d partitions", plan.TotalRows, plan.RowsExact, len(plan.Partitions))
		}
	})
	t.Run("a count reads all of them", func(t *testing.T) {
		rows, from, err := p.Count(t.Context(), source.HubToken{}, request(t), Admission{})
		if err != nil || rows != 200 || from != FromFooters {
			t.Errorf("got %d from %s, %v", rows, from, err)
		}
	})
}

func TestAllSplitsComeInResolutionOrder(t *testing.T) {
	h := flightsHub(t)
	r := request(t)
	r.Split = "all"
	plan := mustPlan(t, planner(h), r)
	var got []string
	for _, part := range plan.Partitions {
		got = append(got, part.FileSplit)
		if part.Split != "all" {
			t.Errorf("a partition of split %s has the facts of split %s", part.FileSplit, part.Split)
		}
	}
	if !slices.Equal(got, []string{"train", "train", "train", "test"}) || plan.Facts.Split != "all" {
		t.Errorf("got splits %q, facts %+v", got, plan.Facts)
	}
}

func TestRequestsThatCannotBeAnswered(t *testing.T) {
	h := flightsHub(t)
	change := func(f func(r *Request)) Request {
		r := request(t)
		f(&r)
		return r
	}
	cases := []struct {
		name string
		r    Request
		kind source.Kind
		text string
	}{
		{"an unknown column lists the valid ones", change(func(r *Request) { r.Query.Columns = []source.Column{source.Col("nope")} }), source.KindInvalid, "lang"},
		{"an unknown filter column lists the valid ones", change(func(r *Request) { r.Query.Filters = filters(t, `[["nope","=",1]]`) }), source.KindInvalid, "lang"},
		{"a literal that cannot be compared", change(func(r *Request) { r.Query.Filters = filters(t, `[["id","=","x"]]`) }), source.KindInvalid, "id"},
		{"an unknown split", change(func(r *Request) { r.Split = "dev" }), source.KindNotFound, "Valid options are ['train', 'test']"},
		{"a slice", change(func(r *Request) { r.Split = "train[:10%]" }), source.KindInvalid, "slices and sums of splits are not supported"},
		{"a sum", change(func(r *Request) { r.Split = "train+test" }), source.KindInvalid, "use limit or filters"},
		{"an unknown config", change(func(r *Request) { r.Config = "x" }), source.KindNotFound, "Available: ['default']"},
		{"an unknown revision", change(func(r *Request) { r.Ref.Revision = "nope" }), source.KindNotFound, "nope"},
		{"an unknown conversion", change(func(r *Request) { r.Conversion = "maybe" }), source.KindInvalid, "auto, never, always"},
		{"a folder above the dataset", change(func(r *Request) { r.DataDir = "../x" }), source.KindInvalid, ".. segment"},
		{"a file that is no Parquet file", change(func(r *Request) { r.DataFiles = newDataFiles("data/unused.parquet") }), source.KindCorrupt, "data/unused.parquet"},
		{"files in a name and in an option", change(func(r *Request) { r.Ref.Path = "data/*.parquet"; r.DataDir = "data" }), source.KindInvalid, "already names files"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := planner(h).Plan(t.Context(), source.HubToken{}, c.r)
			wantError(t, err, c.kind, c.text)
		})
	}
}

func TestAPathInTheNameIsAFolderAFileOrAGlob(t *testing.T) {
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{"a[1].parquet": flights(t, 0, 1, 1), "a1.parquet": flights(t, 0, 1, 1), "d/x.parquet": flights(t, 0, 1, 1), "d/y.parquet": flights(t, 0, 1, 1)})
	for path, want := range map[string][]string{
		"d":            {"d/x.parquet", "d/y.parquet"},
		"d/":           {"d/x.parquet", "d/y.parquet"},
		"d/y.parquet":  {"d/y.parquet"},
		"d/[x-z]*":     {"d/x.parquet", "d/y.parquet"},
		"a[1].parquet": {"a[1].parquet"},
	} {
		r := request(t)
		r.Ref.Path = path
		if got := paths(mustPlan(t, planner(h), r)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestSplitsListsWhatCanBeRead(t *testing.T) {
	h := flightsHub(t)
	sha, items, err := planner(h).Splits(t.Context(), source.HubToken{}, source.Ref{Repo: repo})
	if err != nil {
		t.Fatal(err)
	}
	if sha != h.branches[repo]["main"] || len(items) != 2 || items[0].Split != "train" || items[0].Files != 3 || *items[0].Rows != 300 || *items[1].Rows != 10 || !items[0].Default || items[0].Bytes <= 0 {
		t.Errorf("got %s %+v", sha, items)
	}
}

// factsOf reads the facts that a schema carries, as clients do.
func factsOf(t *testing.T, s *arrow.Schema) (facts Facts) {
	t.Helper()
	text, _ := s.Metadata().GetValue(factsKey)
	if err := json.Unmarshal([]byte(text), &facts); err != nil {
		t.Fatalf("the facts of the schema, %q: %v", text, err)
	}
	return facts
}

func TestAConflictOfTypesConcernsOnlyWhoReadsTheColumn(t *testing.T) {
	file := func(odd arrow.DataType, first int) []byte {
		schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "t", Type: odd}}, nil)
		return parquetOf(t, schema, 3, 3, func(b *array.RecordBuilder, row int) {
			b.Field(0).(*array.Int64Builder).Append(int64(first + row))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(row))
		})
	}
	const one, two = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{one: file(arrow.FixedWidthTypes.Timestamp_ms, 0), two: file(arrow.FixedWidthTypes.Timestamp_us, 3)})
	p := checkedPlanner(t, h)
	id := []source.Column{source.Col("id")}
	for name, c := range map[string]struct {
		change func(*Request)
		want   []int64
	}{
		"another column":             {func(r *Request) { r.Query.Columns = id }, between(0, 6)},
		"in the spark profile":       {func(r *Request) { r.Query.Columns, r.Query.Profile, r.Query.Logic = id, scan.Spark, filter.Spark }, between(0, 6)},
		"with a filter":              {func(r *Request) { r.Query.Columns, r.Query.Filters = id, filters(t, `[["id",">",1]]`) }, between(2, 6)},
		"with a filter and a limit":  {func(r *Request) { r.Query.Columns, r.Query.Filters, r.Limit = id, filters(t, `[["id",">",1]]`), 3 }, between(2, 5)},
		"one of the files, as a way": {func(r *Request) { r.DataFiles = newDataFiles(two) }, between(3, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			c.change(&r)
			if _, err := p.Schema(t.Context(), source.HubToken{}, r); err != nil {
				t.Fatal(err)
			}
			if _, got := readAll(t, p, r); !slices.Equal(got, c.want) {
				t.Errorf("got rows %v, want %v", got, c.want)
			}
		})
	}
	t.Run("rows can be counted", func(t *testing.T) {
		r := request(t)
		r.Query.Columns = id
		if rows, _, err := p.Count(t.Context(), source.HubToken{}, r, Admission{}); err != nil || rows != 6 {
			t.Errorf("got %d, %v", rows, err)
		}
	})
	for name, change := range map[string]func(*Request){
		"all columns":          func(*Request) {},
		"the column":           func(r *Request) { r.Query.Columns = []source.Column{source.Col("t")} },
		"a filter of the same": func(r *Request) { r.Query.Columns, r.Query.Filters = id, filters(t, `[["t","is null"]]`) },
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			change(&r)
			_, err := p.Schema(t.Context(), source.HubToken{}, r)
			wantError(t, err, source.KindInvalid, `column "t" is timestamp[ms`)
			_, err = p.Plan(t.Context(), source.HubToken{}, r)
			wantError(t, err, source.KindInvalid, two)
		})
	}
}
