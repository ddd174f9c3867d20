package dataset

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// footerless is a Hub of files whose footers are nearly all of them, and how much one
// footer takes when it is decoded.
func footerless(t testing.TB, files, columns, groups int) (*memHub, int64) {
	t.Helper()
	var fields []arrow.Field
	for i := range columns {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: arrow.PrimitiveTypes.Int32})
	}
	raw := parquetOf(t, arrow.NewSchema(fields, nil), groups, 1, func(b *array.RecordBuilder, row int) {
		for _, f := range b.Fields() {
			f.(*array.Int32Builder).Append(int32(row))
		}
	})
	h, contents := newMemHub(), map[string][]byte{}
	for i := range files {
		contents[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, files)] = raw
	}
	h.commit(repo, "main", contents)
	store, err := h.open(t.Context(), source.Ref{Repo: repo}, source.HubToken{})
	if err != nil {
		t.Fatal(err)
	}
	at, err := store.Resolve(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	for f, err := range store.Files(t.Context(), at, "data") {
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.Open(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		footer, err := scan.ReadFooter(t.Context(), r, f)
		if err != nil {
			t.Fatal(err)
		}
		return h, footer.MemSize()
	}
	return h, 0
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAPlanForgetsAFooterOnceItKnowsWhatItSays(t *testing.T) {
	const files, columns, groups = 24, 300, 20
	h, size := footerless(t, files, columns, groups)
	r := request(t)
	r.Query.Columns = []source.Column{source.Col("c1")}
	p := NewPlanner(PlannerOptions{Open: h.open, FooterCacheBytes: 1})
	before := heap()
	d, plan, err := p.planned(t.Context(), source.HubToken{}, r)
	if err != nil || plan.TotalRows != files*groups || len(plan.Partitions) != files {
		t.Fatalf("%+v, %v", plan, err)
	}
	if held := heap() - before; held > 2*size {
		t.Errorf("a plan of %d files whose footers take %d bytes each holds %d bytes", files, size, held)
	}
	for _, g := range d.digests[1:] {
		if g.schema != d.digests[0].schema {
			t.Fatal("equal schemas are held several times")
		}
	}
	runtime.KeepAlive(plan)
}

func TestFootersOfAllPlansAreDecodedInOneRoom(t *testing.T) {
	h, _ := footerless(t, 6, 30, 2)
	p := NewPlanner(PlannerOptions{Open: h.open, FooterCacheBytes: 1, FooterBytes: 1000}) // less than one takes
	calls := map[string]func(context.Context) error{
		"plan": func(ctx context.Context) error { _, err := p.Plan(ctx, source.HubToken{}, request(t)); return err },
		"schema": func(ctx context.Context) error {
			_, err := p.Schema(ctx, source.HubToken{}, request(t))
			return err
		},
		"count": func(ctx context.Context) error {
			_, _, err := p.Count(ctx, source.HubToken{}, request(t), Admission{})
			return err
		},
		"explain": func(ctx context.Context) error {
			r := request(t)
			r.Query.Filters = filters(t, `[["c1",">=",0]]`)
			_, err := p.Explain(ctx, source.HubToken{}, r, Admission{})
			return err
		},
	}
	part := mustPlan(t, p, request(t)).Partitions[0]
	calls["read"] = func(ctx context.Context) error {
		s, err := p.Read(ctx, ReadParams{Partition: part, Stop: -1})
		if err == nil {
			err = s.Close()
		}
		return err
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			if !p.footerRoom.TryAcquire(p.footerBytes) {
				t.Fatal("room was not given back")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := call(ctx); source.KindOf(err) != source.KindDeadline {
				t.Errorf("without any room: %v", err)
			}
			patience := p.patience
			p.patience = time.Millisecond
			wantError(t, call(t.Context()), source.KindBusy, "train-0000")
			p.patience = patience
			p.footerRoom.Release(p.footerBytes)
			if err := call(t.Context()); err != nil {
				t.Error(err)
			}
			if !p.footerRoom.TryAcquire(p.footerBytes) {
				t.Fatal("room was not given back")
			}
			p.footerRoom.Release(p.footerBytes)
		})
	}
}

func TestEveryFileSchemaIsKeptThatDiffers(t *testing.T) {
	var set schemaSet
	named := func(i int) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: fmt.Sprint(i), Type: arrow.PrimitiveTypes.Int8}}, nil)
	}
	for i := range 2 * maxKnownSchemas {
		if got := set.same(named(i)); got.Field(0).Name != fmt.Sprint(i) {
			t.Errorf("%d became %s", i, got)
		}
	}
	if first, second := set.same(named(3)), set.same(named(3)); first != second || len(set.all) != maxKnownSchemas {
		t.Errorf("%d schemas are known", len(set.all))
	}
	md := arrow.NewMetadata([]string{"huggingface"}, []string{"{}"})
	if got := set.same(arrow.NewSchema(named(3).Fields(), &md)); got.Metadata().Len() != 1 {
		t.Error("a schema lost its metadata to another")
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct{ files, columns, groups int }{{200, 6, 2}, {40, 300, 20}} {
		h, _ := footerless(b, c.files, c.columns, c.groups)
		r := request(b)
		for name, cache := range map[string]int64{"cached": 0, "decoding": 1} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", c.files, c.columns, c.groups, name), func(b *testing.B) {
				p := NewPlanner(PlannerOptions{Open: h.open, FooterCacheBytes: cache})
				b.ReportAllocs()
				for b.Loop() {
					mustPlan(b, p, r)
				}
			})
		}
	}
}
