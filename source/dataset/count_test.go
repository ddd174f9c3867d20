package dataset

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

const (
	// A column's chunk is larger than what is read whole in any case.
	countGroups, countPerGroup = 2, 40_000
	countTextBytes             = 40
)

// countable is a file of ascending ids, some other numbers and long texts, with
// pages of some hundred rows.
func countable(t testing.TB, first int) []byte {
	fields := []arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "other", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "text", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}
	rng := rand.New(rand.NewPCG(7, uint64(first)))
	return parquetOf(t, arrow.NewSchema(fields, nil), countGroups*countPerGroup, countPerGroup, func(b *array.RecordBuilder, row int) {
		b.Field(0).(*array.Int64Builder).Append(int64(first + row))
		b.Field(1).(*array.Int64Builder).Append(rng.Int64())
		text := make([]byte, countTextBytes)
		for i := range text {
			text[i] = byte(rng.Uint32())
		}
		b.Field(2).(*array.BinaryBuilder).Append(text)
	}, parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(16<<10), parquet.WithBatchSize(256))
}

// columnsTouched tells how many bytes of each column's chunks were read.
func columnsTouched(t testing.TB, content []byte, reads []memRead) map[string]int64 {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for g := range f.NumRowGroups() {
		for c := range f.MetaData().Schema.NumColumns() {
			m, err := f.MetaData().RowGroup(g).ColumnChunk(c)
			if err != nil {
				t.Fatal(err)
			}
			from, to := m.DataPageOffset(), m.DataPageOffset()+m.TotalCompressedSize()
			for _, r := range reads {
				out[f.MetaData().Schema.Column(c).Name()] += max(min(to, r.off+r.n)-max(from, r.off), 0)
			}
		}
	}
	return out
}

func TestACountWithoutFiltersReadsFootersAndNothingElse(t *testing.T) {
	h := newMemHub()
	files := map[string][]byte{"data/train-00000-of-00002.parquet": countable(t, 0), "data/train-00001-of-00002.parquet": countable(t, countGroups*countPerGroup)}
	h.commit(repo, "main", files)
	p := planner(h)
	for attempt, want := range []int{2, 0} { // footers are remembered
		h.counted()
		rows, from, err := p.Count(t.Context(), source.HubToken{}, request(t), Admission{})
		if err != nil || rows != 2*countGroups*countPerGroup || from != FromFooters {
			t.Fatalf("%d rows from %s, %v", rows, from, err)
		}
		log := h.log
		if _, _, reads := h.counted(); reads != want {
			t.Errorf("attempt %d: %d reads, want %d", attempt, reads, want)
		}
		for _, r := range log {
			if size := int64(len(files[r.path])); r.off+r.n != size || r.n > size/10 {
				t.Errorf("%d bytes at %d of %s, which has %d, are not a footer", r.n, r.off, r.path, size)
			}
		}
	}
}

func TestACountWithFiltersReadsTheirColumnsAndOfTheseWhatPruningLeaves(t *testing.T) {
	const path = "data/train-00000-of-00001.parquet"
	content := countable(t, 0)
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{path: content})
	p := planner(h)
	mustPlan(t, p, request(t)) // the footer's read brings the end of the data along
	whole := columnsTouched(t, content, []memRead{{path, 0, int64(len(content))}})
	for _, c := range []struct {
		filter, column string
		want           int64
	}{
		{`[["id",">=",0]]`, "id", countGroups * countPerGroup},
		{`[["id",">=",39000],["id","<",40400]]`, "id", 1400},
		{`[["id","=",3100]]`, "id", 1},
		{`[["id","in",[-1,80000]]]`, "", 0},
		{`[["text","=","no such text"]]`, "text", 0},
	} {
		r := request(t)
		r.Query.Filters = filters(t, c.filter)
		// What a stream of the filter's columns may read is what explain says of them.
		r.Query.Columns = []source.Column{source.Col("id")}
		if c.column != "" {
			r.Query.Columns = []source.Column{source.Col(c.column)}
		}
		plan, err := p.Explain(t.Context(), source.HubToken{}, r, Admission{})
		if err != nil {
			t.Fatal(err)
		}
		most := int64(0)
		for _, g := range plan.Files[0].Groups {
			most += g.Read
		}
		r.Query.Columns = nil // and a count of a read of all columns does not read them
		h.counted()
		rows, from, err := p.Count(t.Context(), source.HubToken{}, r, Admission{})
		if err != nil || rows != c.want || from != FromScan {
			t.Errorf("%s: %d rows from %s, %v; want %d", c.filter, rows, from, err, c.want)
		}
		for name, n := range columnsTouched(t, content, h.log) {
			if name != c.column && n > 0 {
				t.Errorf("%s: %d bytes of column %s were read", c.filter, n, name)
			}
			if name == c.column && (n == 0 || n > most) {
				t.Errorf("%s: %d bytes of column %s were read, of %d; pruning leaves %d", c.filter, n, name, whole[name], most)
			}
		}
	}
}

// lessor lends memory to one at a time, and counts.
type lessor struct {
	room            chan struct{}
	leases, taken   atomic.Int64
	turns, tried    atomic.Int64
	given, smallest atomic.Int64
}

func (l *lessor) lease(ctx context.Context, n int64) (func(), error) {
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
	if l.leases.Add(1) == 1 || n < l.smallest.Load() {
		l.smallest.Store(n)
	}
	l.taken.Add(1)
	return func() { l.taken.Add(-1); <-l.room }, nil
}

func (l *lessor) Take(context.Context) error { l.turns.Add(1); return nil }
func (l *lessor) TryTake() bool              { l.tried.Add(1); return false }
func (l *lessor) Give()                      { l.given.Add(1) }

// scannedCount is a Hub of so many files, a planner, and a request whose rows are
// counted by reading all of them.
func scannedCount(t *testing.T, files int) (*memHub, *Planner, Request) {
	t.Helper()
	h, contents := newMemHub(), map[string][]byte{}
	for i := range files {
		contents[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, files)] = countable(t, i*countGroups*countPerGroup)
	}
	h.commit(repo, "main", contents)
	r := request(t)
	r.Query.Filters = filters(t, `[["id",">=",0]]`)
	return h, planner(h), r
}

func TestACountAndAnExplainReadAFileWhenItsMemoryIsThere(t *testing.T) {
	const files = 6
	h, p, r := scannedCount(t, files)
	for name, call := range map[string]func(context.Context, Admission) error{
		"count": func(ctx context.Context, a Admission) error {
			rows, _, err := p.Count(ctx, source.HubToken{}, r, a)
			if err == nil && rows != files*countGroups*countPerGroup {
				t.Errorf("%d rows", rows)
			}
			return err
		},
		"explain": func(ctx context.Context, a Admission) error {
			_, err := p.Explain(ctx, source.HubToken{}, r, a)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lessor{room: make(chan struct{}, 1)}
			a := Admission{Lease: l.lease, Turns: l}
			if err := call(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if l.leases.Load() != files || l.smallest.Load() < 1<<20 || l.taken.Load() != 0 {
				t.Errorf("%d leases of %d bytes at least, %d of them not given back", l.leases.Load(), l.smallest.Load(), l.taken.Load())
			}
			if turns := l.turns.Load(); turns != l.given.Load() || (turns > 0) != (name == "count") {
				t.Errorf("%d turns were taken, %d given back", turns, l.given.Load())
			}
			l.room <- struct{}{} // nobody gives it back
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			h.counted()
			if err := call(ctx, a); source.KindOf(err) != source.KindDeadline {
				t.Errorf("without memory: %v", err)
			}
			if _, _, reads := h.counted(); reads > 0 {
				t.Errorf("without memory there were %d reads", reads)
			}
		})
	}
}

// impatient lends memory to some at a time, and lets nobody wait for it.
type impatient struct {
	*lessor
	beside chan struct{} // closed when two have some
	once   sync.Once
}

func (l *impatient) TryLease(int64) (func(), bool) {
	select {
	case l.room <- struct{}{}:
	default:
		return func() {}, false
	}
	l.leases.Add(1)
	if l.taken.Add(1) > 1 {
		l.once.Do(func() { close(l.beside) })
	}
	return func() { l.taken.Add(-1); <-l.room }, true
}

func (l *impatient) Lease(_ context.Context, n int64) (func(), error) {
	if release, ok := l.TryLease(n); ok {
		return release, nil
	}
	return func() {}, source.Errorf(source.KindBusy, "read", "no memory became free")
}

// Take waits for what is read beside, where there is room for it.
func (l *impatient) Take(ctx context.Context) error {
	if cap(l.room) > 1 {
		select {
		case <-l.beside:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.lessor.Take(ctx)
}

func TestACountAndAnExplainAreNotInTheirOwnWay(t *testing.T) {
	const files = 6
	_, p, r := scannedCount(t, files)
	for _, room := range []int{1, files} {
		t.Run(fmt.Sprintf("room for %d", room), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			l := &impatient{lessor: &lessor{room: make(chan struct{}, room)}, beside: make(chan struct{})}
			a := Admission{Lease: l.Lease, TryLease: l.TryLease, Turns: l}
			rows, _, err := p.Count(ctx, source.HubToken{}, r, a)
			if err != nil || rows != files*countGroups*countPerGroup {
				t.Errorf("%d rows, %v", rows, err)
			}
			if _, err := p.Explain(ctx, source.HubToken{}, r, a); err != nil {
				t.Error(err)
			}
			if l.leases.Load() != 2*files || l.taken.Load() != 0 {
				t.Errorf("%d leases, %d of them not given back", l.leases.Load(), l.taken.Load())
			}
		})
	}
}

func TestACountOfADistantDatasetTakesListingsAndFooters(t *testing.T) {
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, Record: true}), hubtest.Dataset(repo, shardFiles(t, 0)))
	p := hubPlanner(t, run, "")
	run.ForgetRequests()
	rows, from, err := p.Count(t.Context(), source.HubToken{}, request(t), Admission{})
	if err != nil || rows != shardCount*shardRows || from != FromFooters {
		t.Fatalf("%d rows from %s, %v", rows, from, err)
	}
	if h, c := counted(run); h > 4+shardCount || c > shardCount {
		t.Errorf("%d requests at the Hub, %d at storage", h, c)
	}
	if _, _, err := p.Count(t.Context(), source.HubToken{}, request(t), Admission{}); err != nil {
		t.Fatal(err)
	}
	if h, c := counted(run); h > 1 || c > 0 {
		t.Errorf("a second count: %d requests at the Hub, %d at storage", h, c)
	}
}

func TestAFilteredCountOfADistantFileDownloadsOneOfItsColumns(t *testing.T) {
	const groups, perGroup, columns = 4, 40_000, 16
	content := numbers(t, columns, groups, perGroup)
	counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": content})
	p := distantPlanner(t, endpoint)
	mustPlan(t, p, distantRequest(t, nil, ""))
	counter.since()
	for filter, want := range map[string]struct {
		rows  int64
		share float64
	}{
		`[["c07",">=",{"$dec":"-9223372036854775808"}]]`: {groups * perGroup, 1.0 / columns},
		fmt.Sprintf(`[["id",">=",%d]]`, perGroup*4-100):  {100, 1.0 / columns / groups / 2},
	} {
		rows, from, err := p.Count(t.Context(), source.HubToken{}, distantRequest(t, nil, filter), Admission{})
		if err != nil || rows != want.rows || from != FromScan {
			t.Fatalf("%s: %d rows from %s, %v", filter, rows, from, err)
		}
		count, asked, sent := counter.since()
		share := float64(sent) / float64(len(content))
		t.Logf("%s: %d round trips, %d requests, %d of %d bytes, %.2f %%", filter, count, asked, sent, len(content), share*100)
		if share > want.share*1.1+0.002 { // and listings
			t.Errorf("%s: %.2f %% of the file were read, at most %.2f %%", filter, share*100, want.share*100)
		}
	}
}
