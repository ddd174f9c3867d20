package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// checkedPlanner decodes to an allocator that finds what is not released.
func checkedPlanner(t *testing.T, h *memHub) *Planner {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	return NewPlanner(PlannerOptions{Open: h.open, Memory: mem})
}

// idsOf reads a partition and returns the column id; every batch must have the
// stream's schema.
func idsOf(t *testing.T, p *Planner, part Partition, skip, stop int64) []int64 {
	t.Helper()
	s, err := p.Read(t.Context(), ReadParams{Partition: part, Skip: skip, Stop: stop})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out []int64
	for {
		batch, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if !batch.Schema().Equal(s.Schema()) {
			t.Errorf("a batch has schema %s, the stream %s", batch.Schema(), s.Schema())
		}
		ids := batch.Column(0).(*array.Int64)
		out = append(out, ids.Int64Values()...)
		batch.Release()
	}
}

func between(from, to int64) []int64 {
	var out []int64
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestReadingEveryPartitionGivesTheRowsInOrder(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"whole files":   func(*Request) {},
		"by row groups": func(r *Request) { r.MaxPartitionBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			h := flightsHub(t)
			p := checkedPlanner(t, h)
			r := request(t)
			change(&r)
			var got []int64
			plan := mustPlan(t, p, r)
			for _, part := range plan.Partitions {
				got = append(got, idsOf(t, p, part, 0, -1)...)
			}
			if !slices.Equal(got, between(0, 300)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAPartitionIsReadByAnotherReplica(t *testing.T) {
	h := flightsHub(t)
	part := mustPlan(t, planner(h), request(t)).Partitions[1]
	// What travels in a ticket: no snapshot in the file.
	part.File.At = source.Snapshot{}
	part.groups, part.bytesKnown = nil, false
	if got := idsOf(t, checkedPlanner(t, h), part, 0, -1); !slices.Equal(got, between(100, 200)) {
		t.Errorf("got %v", got)
	}
}

func TestAStreamHasThePlannedSchema(t *testing.T) {
	h := flightsHub(t)
	p := checkedPlanner(t, h)
	r := request(t)
	r.Split = "all"
	r.Query.Columns = []source.Column{source.Col("lang"), source.Col("id")}
	plan := mustPlan(t, p, r)
	for _, part := range plan.Partitions {
		s, err := p.Read(t.Context(), ReadParams{Partition: part, Stop: -1})
		if err != nil {
			t.Fatal(err)
		}
		if !sameSchema(s.Schema(), plan.Schema) {
			t.Errorf("%s: got %s, want %s", part.File.Path, s.Schema(), plan.Schema)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSkipAndStopCutTheStream(t *testing.T) {
	h := flightsHub(t)
	p := checkedPlanner(t, h)
	plain := mustPlan(t, p, request(t)).Partitions[0]
	r := request(t)
	r.Query.Filters = filters(t, `[["id",">=",90]]`)
	r.Limit = 150
	serial := mustPlan(t, p, r).Partitions[0]
	for _, c := range []struct{ skip, stop int64 }{{0, -1}, {1, -1}, {20, -1}, {99, -1}, {100, -1}, {1000, -1}, {0, 0}, {0, 1}, {0, 20}, {19, 21}, {30, 30}, {40, 30}, {120, 140}} {
		t.Run(fmt.Sprintf("skip %d stop %d", c.skip, c.stop), func(t *testing.T) {
			cut := func(all []int64) []int64 {
				if c.stop >= 0 {
					all = all[:min(len(all), int(c.stop))]
				}
				return all[min(len(all), int(c.skip)):]
			}
			if got, want := idsOf(t, p, plain, c.skip, c.stop), cut(between(0, 100)); !slices.Equal(got, want) {
				t.Errorf("one file: got %v, want %v", got, want)
			}
			if got, want := idsOf(t, p, serial, c.skip, c.stop), cut(between(90, 240)); !slices.Equal(got, want) {
				t.Errorf("several files: got %v, want %v", got, want)
			}
		})
	}
}

func TestLimitsAreExact(t *testing.T) {
	h := flightsHub(t)
	p := checkedPlanner(t, h)
	for _, limit := range []int64{0, 1, 20, 100, 101, 299, 300, 301} {
		r := request(t)
		r.Limit = limit
		var got []int64
		for _, part := range mustPlan(t, p, r).Partitions {
			got = append(got, idsOf(t, p, part, 0, -1)...)
		}
		if !slices.Equal(got, between(0, min(limit, 300))) {
			t.Errorf("limit %d: got %v", limit, got)
		}
		r.Query.Filters = filters(t, `[["id",">",49]]`)
		got = nil
		for _, part := range mustPlan(t, p, r).Partitions {
			got = append(got, idsOf(t, p, part, 0, -1)...)
		}
		if !slices.Equal(got, between(50, min(50+limit, 300))) {
			t.Errorf("limit %d with a filter: got %v", limit, got)
		}
	}
}

func TestFilesOfOtherSchemasAreCast(t *testing.T) {
	field := func(name string, typ arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: typ, Nullable: true}
	}
	narrow := arrow.NewSchema([]arrow.Field{field("id", arrow.PrimitiveTypes.Int32)}, nil)
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{
		"a.parquet": parquetOf(t, narrow, 5, 5, func(b *array.RecordBuilder, row int) { b.Field(0).(*array.Int32Builder).Append(int32(row)) }),
		"b.parquet": flights(t, 5, 5, 5),
	})
	p := checkedPlanner(t, h)
	for name, filter := range map[string]string{"all": "", "one column is missing in a file": `[["lang","not in",["x"]]]`} {
		t.Run(name, func(t *testing.T) {
			r := request(t)
			if filter != "" {
				r.Query.Filters = filters(t, filter)
			}
			var got []int64
			for _, part := range mustPlan(t, p, r).Partitions {
				got = append(got, idsOf(t, p, part, 0, -1)...)
			}
			if !slices.Equal(got, between(0, 10)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAFileThatWasNotPlannedIsCheckedWhenItIsRead(t *testing.T) {
	h := newMemHub()
	text := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	h.commit(repo, "main", map[string][]byte{
		"a.parquet": flights(t, 0, 5, 5),
		"b.parquet": parquetOf(t, text, 1, 1, func(b *array.RecordBuilder, _ int) { b.Field(0).(*array.StringBuilder).Append("no number") }),
		"c.parquet": flights(t, 5, 5, 5),
	})
	p := NewPlanner(PlannerOptions{Open: h.open, FootersMax: 2})
	part := mustPlan(t, p, request(t)).Partitions[1]
	s, err := p.Read(t.Context(), ReadParams{Partition: part, Stop: -1})
	if err == nil {
		_, err = s.Next(t.Context())
		if closing := s.Close(); closing != nil {
			t.Error(closing)
		}
	}
	wantError(t, err, source.KindInvalid, "b.parquet")
	wantError(t, err, source.KindInvalid, "id")
}

func TestAFileWithoutRowsGivesItsSchema(t *testing.T) {
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{"a.parquet": flights(t, 0, 0, 1), "b.parquet": flights(t, 0, 2, 2)})
	p := checkedPlanner(t, h)
	plan := mustPlan(t, p, request(t))
	if len(plan.Partitions) != 2 || plan.TotalRows != 2 {
		t.Fatalf("got %d partitions, %d rows", len(plan.Partitions), plan.TotalRows)
	}
	if got := idsOf(t, p, plan.Partitions[0], 0, -1); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestATicketIsComparedAndNotTrusted(t *testing.T) {
	h := flightsHub(t)
	h.commit("demo/secret", "main", map[string][]byte{"train.parquet": flights(t, 7000, 10, 10)})
	p := planner(h)
	owner, stranger := source.NewHubToken("hf_owner"), source.NewHubToken("hf_stranger")
	secret, err := p.Plan(t.Context(), owner, Request{Ref: source.Ref{Repo: "demo/secret"}, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	public, err := p.Plan(t.Context(), stranger, request(t))
	if err != nil {
		t.Fatal(err)
	}
	read := func(token source.HubToken, part Partition) error {
		s, err := p.Read(t.Context(), ReadParams{Token: token, Partition: part, Stop: -1})
		if err != nil {
			return err
		}
		_, err = s.Next(t.Context())
		return errors.Join(err, s.Close())
	}
	t.Run("a public path with a private file's id", func(t *testing.T) {
		part := public.Partitions[0]
		part.File.OID, part.File.Size = secret.Partitions[0].File.OID, secret.Partitions[0].File.Size
		for _, token := range []source.HubToken{stranger, owner} {
			wantError(t, read(token, part), source.KindChanged, "id differs")
		}
	})
	t.Run("a row group that the file does not have", func(t *testing.T) {
		part := public.Partitions[0]
		part.Groups = []int{0, 5}
		wantError(t, read(stranger, part), source.KindInvalid, "row group 5 of a file that has 5")
	})
	t.Run("a commit that is gone", func(t *testing.T) {
		part := public.Partitions[0]
		part.DataSha = "ffffffffffffffffffffffffffffffffffffffff"
		wantError(t, read(stranger, part), source.KindChanged, "gone")
	})
	for name, change := range map[string]func(*Partition){
		"no dataset":             func(p *Partition) { p.Dataset = "" },
		"no commit":              func(p *Partition) { p.DataSha = "" },
		"a path upwards":         func(p *Partition) { p.File.Path = "../x.parquet" },
		"no identity":            func(p *Partition) { p.File.OID = "" },
		"a negative row group":   func(p *Partition) { p.Groups = []int{-1} },
		"row groups twice":       func(p *Partition) { p.Groups = []int{1, 1} },
		"row groups backwards":   func(p *Partition) { p.Groups = []int{1, 0} },
		"a negative limit":       func(p *Partition) { p.Limit = -2 },
		"an unknown source":      func(p *Partition) { p.Source = "elsewhere" },
		"row groups of nowhere":  func(p *Partition) { p.Files = []source.File{p.File}; p.Groups = []int{0} },
		"a dataset that is none": func(p *Partition) { p.Dataset = "a/b/c" },
	} {
		t.Run(name, func(t *testing.T) {
			part := public.Partitions[0]
			change(&part)
			if err := read(stranger, part); source.KindOf(err) != source.KindInvalid {
				t.Errorf("got %v, want [invalid]", err)
			}
		})
	}
}

func TestCountIsWhatReadingGives(t *testing.T) {
	h := flightsHub(t)
	p := checkedPlanner(t, h)
	for _, c := range []struct {
		filter string
		limit  int64
		want   int64
		from   string
	}{
		{"", -1, 300, FromFooters},
		{"", 42, 42, FromFooters},
		{`[["id",">=",150]]`, -1, 150, FromScan},
		{`[["id",">=",150]]`, 20, 20, FromScan},
		{`[["lang","in",["l03","l07"]]]`, -1, 40, FromScan},
		{`[["lang","=","none"]]`, -1, 0, FromScan},
	} {
		r := request(t)
		r.Limit = c.limit
		if c.filter != "" {
			r.Query.Filters = filters(t, c.filter)
		}
		rows, from, err := p.Count(t.Context(), source.HubToken{}, r, Admission{})
		if err != nil || rows != c.want || from != c.from {
			t.Errorf("%s limit %d: got %d from %s (%v), want %d from %s", c.filter, c.limit, rows, from, err, c.want, c.from)
		}
	}
}

func TestACancelledPlanStops(t *testing.T) {
	h := flightsHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := planner(h).Plan(ctx, source.HubToken{}, request(t))
	wantError(t, err, source.KindCanceled, "canceled")
}

func TestAColumnThatIsNullThroughoutAFileTakesTheOthersType(t *testing.T) {
	null := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "lang", Type: arrow.Null, Nullable: true},
	}, nil)
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{
		"a.parquet": parquetOf(t, null, 5, 5, func(b *array.RecordBuilder, row int) {
			b.Field(0).(*array.Int64Builder).Append(int64(row))
			b.Field(1).AppendNull()
		}),
		"b.parquet": flights(t, 5, 5, 5),
	})
	p := checkedPlanner(t, h)
	for filter, want := range map[string][]int64{"": between(0, 10), `[["lang","=","l01"]]`: between(5, 10), `[["lang","is null"]]`: between(0, 5), `[["lang","not in",["l01"]]]`: between(0, 5)} {
		r := request(t)
		if filter != "" {
			r.Query.Filters = filters(t, filter)
		}
		var got []int64
		plan := mustPlan(t, p, r)
		for _, part := range plan.Partitions {
			got = append(got, idsOf(t, p, part, 0, -1)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", filter, got, want)
		}
	}
}
