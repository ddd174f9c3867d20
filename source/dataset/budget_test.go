package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan"
)

const (
	wideColumns = 6
	wideRows    = 30_000
	wideGroup   = 6_000
)

// wide is a file of columns that do not compress, in five row groups of 48 KB a
// column: id, c1 … c5.
func wide(t testing.TB) []byte {
	t.Helper()
	return wideOf(t, wideRows, wideGroup)
}

func wideOf(t testing.TB, rows, group int) []byte {
	t.Helper()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}
	for i := 1; i < wideColumns; i++ {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: arrow.PrimitiveTypes.Int64})
	}
	random := rand.New(rand.NewPCG(5, 2026))
	return parquetOf(t, arrow.NewSchema(fields, nil), rows, group, func(b *array.RecordBuilder, row int) {
		b.Field(0).(*array.Int64Builder).Append(int64(row))
		for i := 1; i < wideColumns; i++ {
			b.Field(i).(*array.Int64Builder).Append(random.Int64())
		}
	}, parquet.WithDictionaryDefault(false))
}

// wanted is what reading some columns of a file must cost: the merged runs of
// their chunks, in requests of at most limit bytes.
func wantedOf(t testing.TB, raw []byte, columns []string, gap, limit int64) (requests int, size int64) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var runs []rangeio.Range
	for g := range r.NumRowGroups() {
		group := r.MetaData().RowGroup(g)
		for c := range r.MetaData().Schema.NumColumns() {
			if !slices.Contains(columns, r.MetaData().Schema.Column(c).Name()) {
				continue
			}
			chunk, err := group.ColumnChunk(c)
			if err != nil {
				t.Fatal(err)
			}
			x := rangeio.Range{Off: chunk.DataPageOffset(), Len: chunk.TotalCompressedSize()}
			size += x.Len
			if last := len(runs) - 1; last >= 0 && x.Off-runs[last].End() <= gap {
				runs[last].Len = x.End() - runs[last].Off
			} else {
				runs = append(runs, x)
			}
		}
	}
	for _, run := range runs {
		requests += int((run.Len + limit - 1) / limit)
	}
	return requests, size
}

// tunedPlanner is a Planner of its own, with its own client and requests of these
// sizes.
func tunedPlanner(t testing.TB, endpoint, dir string, gap, limit int64) *Planner {
	t.Helper()
	client, err := hub.New(hub.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o := rangeio.SchedulerOptions{FixedGap: true, Gap: gap, Max: limit}
	if dir != "" {
		if o.Disk, err = rangeio.OpenDisk(dir, 1<<30, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = o.Disk.Close() })
	}
	s, err := rangeio.NewScheduler(o)
	if err != nil {
		t.Fatal(err)
	}
	return NewPlanner(PlannerOptions{Ranges: s, Parallel: 1, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
}

func TestAScanOfSeveralRunsMakesTheRequestsThatTheyNeed(t *testing.T) {
	const path = "data/train-00000-of-00001.parquet"
	raw := wide(t)
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000}), hubtest.Dataset(repo, map[string][]byte{path: raw}))
	for _, c := range []struct {
		columns    []string
		gap, limit int64
	}{
		{[]string{"id"}, 8 << 10, 1 << 20},
		{[]string{"id"}, 8 << 10, 10 << 10},
		{[]string{"id", "c2", "c4"}, 8 << 10, 32 << 10},
		{[]string{"id", "c1", "c2"}, 8 << 10, 64 << 10},
		{[]string{"id", "c5"}, 8 << 10, 8 << 20},
		{[]string{"id", "c1", "c2", "c3", "c4", "c5"}, 8 << 10, 256 << 10},
		{[]string{"id", "c3"}, 200 << 10, 8 << 20}, // the gaps are read along
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			want, size := wantedOf(t, raw, c.columns, c.gap, c.limit)
			dir := t.TempDir()
			p := tunedPlanner(t, run.HubURL, dir, c.gap, c.limit)
			r := request(t)
			for _, name := range c.columns {
				r.Query.Columns = append(r.Query.Columns, source.Col(name))
			}
			plan := mustPlan(t, p, r)
			run.ForgetRequests()
			scanned := func(p *Planner) (atHub, atCDN int, bytes int64) {
				t.Helper()
				if ids := idsOf(t, p, plan.Partitions[0], 0, -1); !slices.Equal(ids, between(0, wideRows)) {
					t.Errorf("%d rows", len(ids))
				}
				for _, r := range run.Requests() {
					bytes += r.Sent
				}
				atHub, atCDN = counted(run)
				return atHub, atCDN, bytes
			}
			if atHub, atCDN, bytes := scanned(p); atHub > 0 || atCDN < 1 || atCDN > want || c.gap < 100<<10 && bytes > size+size/20 {
				t.Errorf("with the address held: %d requests at the Hub, %d at storage for %d bytes; want 0 and %d for %d", atHub, atCDN, bytes, want, size)
			}
			if atHub, atCDN, _ := scanned(tunedPlanner(t, run.HubURL, "", c.gap, c.limit)); atHub > 1 || atCDN > want+1 {
				t.Errorf("from nothing: %d requests at the Hub, %d at storage; want 1 and %d", atHub, atCDN, want+1)
			}
			if atHub, atCDN, _ := scanned(tunedPlanner(t, run.HubURL, dir, c.gap, c.limit)); atHub > 1 || atCDN > 0 {
				t.Errorf("with a warm disk: %d requests at the Hub, %d at storage; want 1 and none", atHub, atCDN)
			}
		})
	}
}

// Where a row group is decoded through windows, because it is large, requests are
// not as small as those.
func TestALargeRowGroupIsReadWithLargeRequests(t *testing.T) {
	const path, rows = "data/train-00000-of-00001.parquet", 160_000
	raw := wideOf(t, rows, rows)
	run := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{path: raw}))
	for _, limit := range []int64{1 << 20, 8 << 20} {
		want, size := wantedOf(t, raw, []string{"id", "c1", "c2", "c3", "c4", "c5"}, 0, limit)
		if size < 7<<20 {
			t.Fatalf("the row group has %d bytes", size)
		}
		p := tunedPlanner(t, run.HubURL, "", 8<<10, limit)
		plan := mustPlan(t, p, request(t))
		run.ForgetRequests()
		if ids := idsOf(t, p, plan.Partitions[0], 0, -1); !slices.Equal(ids, between(0, rows)) {
			t.Errorf("%d rows", len(ids))
		}
		if atHub, atCDN := counted(run); atHub > 0 || atCDN < 1 || atCDN > want {
			t.Errorf("requests of at most %d bytes: %d at the Hub, %d at storage; want 0 and %d", limit, atHub, atCDN, want)
		}
	}
}

// Each page of a listing beyond the first costs one request, and nothing else
// does; nor does an address that expires during a scan cost more than another.
func TestPagesAndExpiredAddressesCostOneRequestEach(t *testing.T) {
	files := shardFiles(t, 0)
	for i := range 15 {
		files[fmt.Sprintf("docs/%02d.txt", i)] = []byte("x")
	}
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, PageSize: 4}), hubtest.Dataset(repo, files))
	p := hubPlanner(t, run, "")
	plan := mustPlan(t, p, request(t))
	pages := 0
	for _, r := range run.Requests() {
		if strings.Contains(r.Path, "/tree/") {
			pages++
		}
	}
	if atHub, atCDN := counted(run); pages < 5 || atHub > 4+pages-1+shardCount || atCDN > shardCount {
		t.Errorf("%d pages, %d requests at the Hub, %d at storage", pages, atHub, atCDN)
	}
	for i, part := range plan.Partitions {
		run.ExpireSignatures()
		if got := idsOf(t, p, part, 0, -1); !slices.Equal(got, between(int64(i)*shardRows, int64(i+1)*shardRows)) {
			t.Errorf("%d rows", len(got))
		}
		if atHub, atCDN := counted(run); atHub != 1 || atCDN != 2 {
			t.Errorf("an expired address: %d requests at the Hub, %d at storage; want 1, and the one refused and one", atHub, atCDN)
		}
	}
}

// bare hides from the answers of listings what is optional in them: a Hub may name
// a file that Xet has by its git blob only, and by its content only when it is
// resolved.
type bare struct{ next http.Handler }

func (b bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/tree/") && !strings.Contains(r.URL.Path, "/paths-info/") {
		b.next.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	b.next.ServeHTTP(answer, r)
	var items []map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &items); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, item := range items {
		delete(item, "lfs")
	}
	_ = json.NewEncoder(w).Encode(items) // a client that has gone needs no answer
}

func TestXetBackedFilesAreReadOverPlainHTTP(t *testing.T) {
	run := shardHub(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, XetHeaders: true}))
	without := httptest.NewServer(bare{run.Handler()})
	t.Cleanup(without.Close)
	look, err := http.NewRequestWithContext(t.Context(), http.MethodHead, run.HubURL+"/datasets/"+repo+"/resolve/main/data/train-00000-of-00002.parquet", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(look)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // of a HEAD: empty
	if len(resp.Header.Get("X-Xet-Hash")) != 64 {
		t.Fatal("Xet is not announced: nothing would be tested")
	}
	for name, endpoint := range map[string]string{"listed with their contents' ids": run.HubURL, "listed without": without.URL} {
		t.Run(name, func(t *testing.T) {
			run.ForgetRequests()
			p := tunedPlanner(t, endpoint, t.TempDir(), 1<<20, 8<<20)
			r := request(t)
			r.Query = scan.Query{Columns: []source.Column{source.Col("id")}}
			var ids []int64
			for _, part := range mustPlan(t, p, r).Partitions {
				ids = append(ids, idsOf(t, p, part, 0, -1)...)
			}
			if !slices.Equal(ids, between(0, shardCount*shardRows)) {
				t.Errorf("%d rows", len(ids))
			}
			for _, asked := range run.Requests() {
				if strings.Contains(asked.Path, "xet") || strings.Contains(asked.Header.Get("Accept"), "xet") {
					t.Errorf("%s %s was asked for", asked.Method, asked.Path)
				}
				if asked.Origin == "cdn" && (asked.Bearer || asked.Header.Get("Range") == "") {
					t.Errorf("storage was asked for %s with the token, or for a whole file", asked.Path)
				}
			}
		})
	}
}
