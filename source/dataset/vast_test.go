package dataset

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
)

// entriesEnv asks for another number of entries; the nightly run for a million.
const (
	entriesEnv = "HUBFLIGHT_ENTRIES"
	fewEntries = 30_000
)

// vast stands in front of a Hub and adds entries to every listing that it gives:
// pages of a thousand, made while they are sent, before the Hub's own.
type vast struct {
	next    http.Handler
	self    string
	entries int
	pages   atomic.Int64
}

const vastPage = 1000

func vastPath(i int) string {
	return fmt.Sprintf("pictures/of-things-that-nobody-has-ever-counted/%04d/%09d-%s.jpeg", i/vastPage, i, strings.Repeat("x", 90))
}

func (v *vast) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cursor, paged := strings.CutPrefix(r.URL.Query().Get("cursor"), "vast-")
	switch {
	case strings.Contains(r.URL.RawQuery, "siblings"):
		v.siblings(w, r)
	case strings.Contains(r.URL.Path, "/tree/") && (paged || r.URL.Query().Get("cursor") == "") && cursor != "end":
		v.pages.Add(1)
		from, _ := strconv.Atoi(cursor) // the first page has none: 0
		v.page(w, r, from)
	default:
		if cursor == "end" { // the Hub's own entries come now, as if nothing had been
			r.URL.RawQuery = "recursive=true&expand=false"
		}
		v.next.ServeHTTP(w, r)
	}
}

func (v *vast) page(w http.ResponseWriter, r *http.Request, from int) {
	to, next := min(from+vastPage, v.entries), "end"
	if to < v.entries {
		next = strconv.Itoa(to)
	}
	w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&expand=false&cursor=vast-%s>; rel="next"`, v.self, r.URL.EscapedPath(), next))
	out := bufio.NewWriter(w)
	defer out.Flush()
	separator := "["
	for i := from; i < to; i++ {
		fmt.Fprintf(out, `%s{"type":"file","oid":"%040x","size":%d,"path":%q,"lfs":{"oid":"%064x","size":%d,"pointerSize":132}}`, separator, i, i, vastPath(i), i, i)
		separator = ","
	}
	fmt.Fprint(out, "]")
}

// siblings is the answer about a repository with all names in it: longer than
// what is read of one answer.
func (v *vast) siblings(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	v.next.ServeHTTP(answer, r)
	out := bufio.NewWriter(w)
	defer out.Flush()
	fmt.Fprint(out, strings.TrimSuffix(strings.TrimSpace(answer.Body.String()), "}"), `,"siblings":[`)
	for i := range max(v.entries, 110_000) {
		fmt.Fprintf(out, `{"rfilename":%q},`, vastPath(i))
	}
	fmt.Fprint(out, `{"rfilename":"README.md"}]}`)
}

// liveHeap watches what the heap holds after each collection, until stop returns
// the most.
func liveHeap() (stop func() uint64) {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		var peak uint64
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			metrics.Read(sample)
			peak = max(peak, sample[0].Value.Uint64())
			select {
			case <-ticker.C:
			case <-done:
				most <- peak
				return
			}
		}
	}()
	return func() uint64 {
		runtime.GC()
		close(done)
		return <-most
	}
}

// A dataset of two Parquet files among very many others is planned and read, with
// memory in proportion to their number and no request but the pages.
func TestAMillionOtherFilesAreListedInBoundedMemory(t *testing.T) {
	const perEntry, apart = 600, 48 << 20
	entries := fewEntries
	if text := os.Getenv(entriesEnv); text != "" {
		var err error
		if entries, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s=%q is no number", entriesEnv, text)
		}
	}
	run := shardHub(t)
	v := &vast{next: run.Handler(), entries: entries - 4} // with the Hub's own: so many
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	v.self = server.URL
	client, err := hub.New(hub.Options{Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p := NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
	run.ForgetRequests()
	runtime.GC()
	stop := liveHeap()
	plan, err := p.Plan(t.Context(), source.HubToken{}, request(t))
	peak := stop()
	if err != nil {
		t.Fatal(err)
	}
	if most := uint64(entries)*perEntry + apart; peak > most {
		t.Errorf("%d entries took %d MiB; at most %d", entries, peak>>20, most>>20)
	}
	t.Logf("%d entries: %d MiB live at most", entries, peak>>20)
	if got, want := v.pages.Load(), int64(entries-4+vastPage-1)/vastPage; got != want {
		t.Errorf("%d pages were read, want %d", got, want)
	}
	// Of the Hub itself: the commit (twice: with names the answer was too long),
	// the README, the last page, and for each footer an address.
	if atHub, atCDN := counted(run); atHub > 4+shardCount || atCDN != shardCount {
		t.Errorf("%d requests besides the pages, %d at storage", atHub, atCDN)
	}
	var ids []int64
	for _, part := range plan.Partitions {
		ids = append(ids, idsOf(t, p, part, 0, -1)...)
	}
	if !slices.Equal(ids, between(0, shardCount*shardRows)) {
		t.Errorf("%d rows", len(ids))
	}
}

// One more than the bound is refused, not cut off; a million is the bound of the
// nightly run, and the default.
func TestAListingBeyondTheBoundIsRefused(t *testing.T) {
	bound, most := 3*vastPage+7, 0
	if os.Getenv(entriesEnv) != "" {
		bound = defaultEntriesMax
	} else {
		most = bound
	}
	run := shardHub(t)
	own, err := run.Paths(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	for more := range 2 {
		v := &vast{next: run.Handler(), entries: bound - len(own) + more}
		server := httptest.NewServer(v)
		t.Cleanup(server.Close)
		v.self = server.URL
		client, err := hub.New(hub.Options{Endpoint: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		p := NewPlanner(PlannerOptions{EntriesMax: most, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
			return client.Dataset(ref.Repo, token), nil
		}})
		_, err = p.Plan(t.Context(), source.HubToken{}, request(t))
		if (more == 0 && err != nil) || (more == 1 && source.KindOf(err) != source.KindLimit) {
			t.Errorf("%d entries beyond a bound of %d: got %v", more, bound, err)
		}
	}
}
