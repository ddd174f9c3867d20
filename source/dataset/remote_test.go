package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	parquetgo "github.com/parquet-go/parquet-go"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/rangeio"
)

// quiet is how long nobody must have asked before what was asked is answered. It
// only has to be longer than the pause between requests that do not wait for one
// another; a busy machine is given time.
const quiet = 150 * time.Millisecond

// trips stands in front of both origins of a Hub and counts round trips instead
// of timing them: requests are held until no further one arrives, and then
// answered together. So requests that are under way at the same time cost one
// trip, and one that waits for another's answer costs a trip more, as over a
// distance.
type trips struct {
	mu    sync.Mutex
	held  []chan struct{}
	timer *time.Timer
	count int
	asked int
	sent  int64
}

func (c *trips) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-c.arrive()
		next.ServeHTTP(&weighed{ResponseWriter: w, trips: c}, r)
	})
}

// arrive gives what is closed when the trip is over.
func (c *trips) arrive() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := make(chan struct{})
	c.held = append(c.held, answer)
	c.asked++
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(quiet, c.answer)
	return answer
}

func (c *trips) answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) == 0 {
		return // a timer that could not be stopped any more
	}
	for _, held := range c.held {
		close(held)
	}
	c.held = nil
	c.count++
}

// since gives round trips, requests and bytes since it was called last.
func (c *trips) since() (count, asked int, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, asked, sent = c.count, c.asked, c.sent
	c.count, c.asked, c.sent = 0, 0, 0
	return count, asked, sent
}

type weighed struct {
	http.ResponseWriter
	trips *trips
}

func (w *weighed) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.trips.mu.Lock()
	defer w.trips.mu.Unlock()
	w.trips.sent += int64(n)
	return n, err
}

// distantHub is a Hub whose answers take a counted trip; it gives its address.
func distantHub(t *testing.T, files map[string][]byte) (*trips, string) {
	t.Helper()
	counter := &trips{}
	storage := httptest.NewUnstartedServer(nil)
	h, err := hubtest.Open(t.TempDir(), hubtest.Options{LFSThreshold: 1000, NoSync: true, CDNURL: "http://" + storage.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Commit(repo, "main", hubtest.Change{Add: files}); err != nil {
		t.Fatal(err)
	}
	storage.Config.Handler = counter.wrap(h.CDN())
	storage.Start()
	t.Cleanup(storage.Close)
	api := httptest.NewServer(counter.wrap(h.Handler()))
	t.Cleanup(api.Close)
	return counter, api.URL
}

// distantPlanner knows nothing yet, and reads ahead as the server does.
func distantPlanner(t *testing.T, endpoint string) *Planner {
	t.Helper()
	client, err := hub.New(hub.Options{Endpoint: endpoint, AllowPrivateCDN: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ranges, err := rangeio.NewScheduler(rangeio.SchedulerOptions{FixedGap: true})
	if err != nil {
		t.Fatal(err)
	}
	return NewPlanner(PlannerOptions{Ranges: ranges, Parallel: 4, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
}

// numbers is a file of sorted ids and otherwise of columns that do not compress,
// so that bytes can be told from columns and row groups.
func numbers(t *testing.T, columns, groups, perGroup int) []byte {
	t.Helper()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}
	for i := 1; i < columns; i++ {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%02d", i), Type: arrow.PrimitiveTypes.Int64})
	}
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithDictionaryDefault(false), parquet.WithMaxRowGroupLength(int64(perGroup)), parquet.WithDataPageSize(64<<10), parquet.WithPageIndexEnabled(true))
	w, err := pqarrow.NewFileWriter(schema, &out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for g := range groups {
		for row := range perGroup {
			b.Field(0).(*array.Int64Builder).Append(int64(g*perGroup + row))
			for c := 1; c < columns; c++ {
				b.Field(c).(*array.Int64Builder).Append(rng.Int64())
			}
		}
		rec := b.NewRecordBatch()
		err := w.Write(rec)
		rec.Release()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func distantRequest(t *testing.T, columns []string, filter string) Request {
	t.Helper()
	r := request(t)
	for _, name := range columns {
		r.Query.Columns = append(r.Query.Columns, source.Col(name))
	}
	if filter != "" {
		r.Query.Filters = filters(t, filter)
	}
	return r
}

func TestTwoOfSixteenColumnsOfADistantFileTakeFewRoundTrips(t *testing.T) {
	// The columns between the two are more than a gap that is read along.
	const groups, perGroup, most, tries = 4, 40_000, 6, 3
	file := numbers(t, 16, groups, perGroup)
	counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
	var plan *Plan
	read := func(name string, p *Planner, planning int) (count int) {
		if ids := idsOf(t, p, plan.Partitions[0], 0, -1); len(ids) != groups*perGroup {
			t.Fatalf("%d rows", len(ids))
		}
		count, asked, sent := counter.since()
		t.Logf("%s: %d round trips, %d requests, %d of %d bytes, after %d for the plan", name, count, asked, sent, len(file), planning)
		if share := float64(sent) / float64(len(file)); share > 2.0/16*1.1 {
			t.Errorf("%s: %.1f %% of the file were read for 2 of 16 columns", name, share*100)
		}
		return planning + count
	}
	// A machine that is too busy makes two trips of one, but never one of two.
	for try := 1; ; try++ {
		p := distantPlanner(t, endpoint)
		counter.since()
		plan = mustPlan(t, p, distantRequest(t, []string{"id", "c07"}, ""))
		planning, _, _ := counter.since()
		switch all := read("plan and rows", p, planning); {
		case planning < 3 || all <= planning:
			t.Fatalf("%d round trips for the plan, %d with the rows: they are not counted", planning, all)
		case all > most && try == tries:
			t.Errorf("%d round trips from nothing to the last row; at most %d", all, most)
		case all > most:
			continue
		}
		break
	}
	if count := read("a ticket, by a server that knows nothing", distantPlanner(t, endpoint), 0); count > most {
		t.Errorf("%d round trips to read what a ticket says; at most %d", count, most)
	}
}

func TestANeedleInADistantFileIsFoundInAFewPercentOfIt(t *testing.T) {
	const groups, perGroup, most = 64, 4_000, 0.03
	file := numbers(t, 8, groups, perGroup)
	counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
	p := distantPlanner(t, endpoint)
	plan := mustPlan(t, p, distantRequest(t, nil, fmt.Sprintf(`[["id","=",%d]]`, 41*perGroup+7)))
	ids := idsOf(t, p, plan.Partitions[0], 0, -1)
	_, _, sent := counter.since()
	if len(ids) != 1 || ids[0] != 41*perGroup+7 {
		t.Fatalf("found %v", ids)
	}
	share := float64(sent) / float64(len(file))
	t.Logf("%d of %d bytes, %.2f %%, footer and listings included", sent, len(file), share*100)
	if share > most {
		t.Errorf("%.1f %% of the file were read for one row; at most %.0f %%", share*100, most*100)
	}
}

// page is a row of texts by address, in no order.
type page struct {
	ID   int64  `parquet:"id"`
	URL  string `parquet:"url"`
	Text []byte `parquet:"text"`
}

func urlOf(id int) string {
	sum := sha256.Sum256(fmt.Append(nil, id))
	return hex.EncodeToString(sum[:])
}

// pagesFile is what parquet-go writes of n pages, perhaps with a bloom filter of
// their addresses.
func pagesFile(t *testing.T, groups, perGroup int, bloom bool) []byte {
	t.Helper()
	options := []parquetgo.WriterOption{parquetgo.PageBufferSize(64 << 10), parquetgo.Compression(&parquetgo.Uncompressed)}
	if bloom {
		options = append(options, parquetgo.BloomFilters(parquetgo.SplitBlockFilter(10, "url")))
	}
	rng := rand.New(rand.NewPCG(6, 6))
	return grouped(t, groups, perGroup, options, func(id int) page {
		return page{ID: int64(id), URL: urlOf(id), Text: noise(rng, 300)}
	})
}

// grouped is a file that parquet-go writes of rows in row groups.
func grouped[T any](t *testing.T, groups, perGroup int, options []parquetgo.WriterOption, row func(id int) T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := parquetgo.NewGenericWriter[T](&out, options...)
	for g := range groups {
		rows := make([]T, perGroup)
		for i := range rows {
			rows[i] = row(g*perGroup + i)
		}
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// noise is n bytes that do not compress.
func noise(rng *rand.Rand, n int) []byte {
	text := make([]byte, n)
	for k := range text {
		text[k] = byte(rng.Uint32())
	}
	return text
}

func TestANeedleByAnUnsortedKeyIsFoundThroughBloomFiltersInAFewPercentOfTheFile(t *testing.T) {
	const groups, perGroup, most = 64, 1_000, 0.03
	found := func(t *testing.T, bloom bool, key string, want ...int64) float64 {
		file := pagesFile(t, groups, perGroup, bloom)
		counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
		p := distantPlanner(t, endpoint)
		plan := mustPlan(t, p, distantRequest(t, nil, fmt.Sprintf(`[["url","=",%q]]`, key)))
		ids := idsOf(t, p, plan.Partitions[0], 0, -1)
		if !slices.Equal(ids, want) {
			t.Fatalf("found %v, want %v", ids, want)
		}
		count, asked, sent := counter.since()
		share := float64(sent) / float64(len(file))
		t.Logf("bloom filters %v: %d round trips, %d requests, %d of %d bytes, %.2f %%, footer and listings included", bloom, count, asked, sent, len(file), share*100)
		return share
	}
	if share := found(t, true, urlOf(41*perGroup+7), 41*perGroup+7); share > most {
		t.Errorf("%.1f %% of the file were read for one row; at most %.0f %%", share*100, most*100)
	}
	if share := found(t, true, urlOf(-1)); share > most {
		t.Errorf("%.1f %% of the file were read for no row; at most %.0f %%", share*100, most*100)
	}
	// Nothing else tells where the key is, or this would not be about bloom filters.
	if share := found(t, false, urlOf(41*perGroup+7), 41*perGroup+7); share < 2*most {
		t.Errorf("without bloom filters %.1f %% of the file were read", share*100)
	}
}

// sheet is a row whose last column is done with in one read, long before the others.
type sheet struct {
	ID   int64  `parquet:"id"`
	Text []byte `parquet:"text"`
	Kind string `parquet:"kind,dict"`
}

// sheetsFile is a file of sheets, of which those from row late on are of another kind.
func sheetsFile(t *testing.T, groups, perGroup, bytesPerRow, late int) []byte {
	t.Helper()
	options := []parquetgo.WriterOption{parquetgo.PageBufferSize(64 << 10), parquetgo.Compression(&parquetgo.Uncompressed)}
	rng := rand.New(rand.NewPCG(7, 7))
	return grouped(t, groups, perGroup, options, func(id int) sheet {
		kind := "early"
		if id >= late {
			kind = "late"
		}
		return sheet{ID: int64(id), Text: noise(rng, bytesPerRow), Kind: kind}
	})
}

func TestWhatDecidesAboutALargeRowGroupOfADistantFileTakesOneRoundTrip(t *testing.T) {
	const groups, perGroup, late, most, tries = 6, 8_000, 28_000, 2, 3 // in the fourth row group
	file := sheetsFile(t, groups, perGroup, 500, late)
	counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
	for try := 1; ; try++ { // a machine that is too busy makes two trips of one
		p := distantPlanner(t, endpoint)
		plan := mustPlan(t, p, distantRequest(t, nil, `[["kind","=","late"],["id","<",32000]]`))
		counter.since()
		ids := idsOf(t, p, plan.Partitions[0], 0, -1)
		count, asked, sent := counter.since()
		if len(ids) != 4*perGroup-late || ids[0] != late {
			t.Fatalf("%d rows", len(ids))
		}
		t.Logf("%d round trips, %d requests, %d of %d bytes", count, asked, sent, len(file))
		if count > most && try < tries {
			continue
		}
		if count > most {
			t.Errorf("%d round trips from the plan to the last row; at most %d", count, most)
		}
		return
	}
}

func TestARowGroupOfADistantFileThatIsFetchedAsAWholeIsFetchedOnce(t *testing.T) {
	const groups, perGroup, bytesPerRow, from, to = 4, 6_000, 400, 7_000, 11_000 // of the second row group
	file := sheetsFile(t, groups, perGroup, bytesPerRow, groups*perGroup)
	counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
	p := distantPlanner(t, endpoint)
	plan := mustPlan(t, p, distantRequest(t, nil, fmt.Sprintf(`[["id",">=",%d],["id","<",%d]]`, from, to)))
	counter.since()
	ids := idsOf(t, p, plan.Partitions[0], 0, -1)
	count, asked, sent := counter.since()
	if len(ids) != to-from || ids[0] != from {
		t.Fatalf("%d rows", len(ids))
	}
	t.Logf("%d round trips, %d requests, %d bytes", count, asked, sent)
	if group := float64(len(file)) / groups; float64(sent) > 1.1*group || float64(sent) < 0.9*group {
		t.Errorf("%d bytes came, of a row group of %.0f", sent, group)
	}
}

func TestTheFirstRowsOfADistantFileTakeThreeRoundTrips(t *testing.T) {
	const most = 3
	file := numbers(t, 16, 4, 10_000)
	for name, knowing := range map[string]bool{"after the plan": true, "a ticket, by a server that knows nothing": false} {
		t.Run(name, func(t *testing.T) {
			counter, endpoint := distantHub(t, map[string][]byte{"README.md": []byte("# far\n"), "data/train-00000-of-00001.parquet": file})
			p := distantPlanner(t, endpoint)
			plan := mustPlan(t, p, distantRequest(t, nil, ""))
			if !knowing {
				p = distantPlanner(t, endpoint)
			}
			planning, _, _ := counter.since()
			s, err := p.Read(t.Context(), ReadParams{Partition: plan.Partitions[0], Stop: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			batch, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer batch.Release()
			count, asked, sent := counter.since()
			t.Logf("%d rows after %d round trips, %d requests, %d of %d bytes; the plan took %d", batch.NumRows(), count, asked, sent, len(file), planning)
			if batch.NumRows() < 1 || count < 1 || count > most {
				t.Errorf("%d rows after %d round trips; at most %d", batch.NumRows(), count, most)
			}
		})
	}
}
