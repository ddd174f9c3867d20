package flightsrv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

const (
	shardRows = 5_000
	shards    = 2
)

// values are what the rows hold besides their id: nothing that compresses, so
// that a file is larger than what the request for its footer brings along. They
// are made once, as every run compares all of them.
var values = sync.OnceValue(func() (v struct {
	numbers []int64
	texts   []string
}) {
	r := rand.New(rand.NewPCG(1, 2026))
	for id := range 2 * shards * shardRows {
		v.numbers = append(v.numbers, r.Int64())
		v.texts = append(v.texts, fmt.Sprintf("row %d is %x", id, r.Uint64()))
	}
	return v
})

// shard is a Parquet file of rows whose every value follows from their id.
func shard(t testing.TB, first int64) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "number", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for id := first; id < first+shardRows; id++ {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.Int64Builder).Append(values().numbers[id])
		b.Field(2).(*array.StringBuilder).Append(values().texts[id])
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, shardRows/2, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)), pqarrow.DefaultWriterProps()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sharded is a repository of shards whose ids begin at first.
func sharded(t testing.TB, first int64) map[string][]byte {
	files := map[string][]byte{"README.md": []byte("# Rows\n")}
	for i := range shards {
		files[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, shards)] = shard(t, first+int64(i)*shardRows)
	}
	return files
}

// checker takes a scan's batches in order and compares every value.
type checker struct {
	rows int64
	bad  string
}

func (c *checker) take(b arrow.RecordBatch) {
	ids, numbers, texts := b.Column(0).(*array.Int64), b.Column(1).(*array.Int64), b.Column(2).(*array.String)
	want := values()
	for i := range ids.Len() {
		if c.rows >= shards*shardRows || ids.Value(i) != c.rows || numbers.Value(i) != want.numbers[c.rows] || texts.Value(i) != want.texts[c.rows] {
			c.bad = fmt.Sprintf("row %d is (%d, %d, %q)", c.rows, ids.Value(i), numbers.Value(i), texts.Value(i))
			return
		}
		c.rows++
	}
}

// readAs plans and scans everything as a caller that the service has not seen, so
// that nothing is in its caches.
func readAs(ctx context.Context, f *flighttest.Fixture, token string, patience time.Duration) (*checker, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // whatever hangs ends, as an error of a kind that judge refuses
	defer cancel()
	got := &checker{}
	c, err := client.Dial(ctx, f.Location, client.Options{HubToken: source.NewHubToken(token)})
	if err != nil {
		return got, err
	}
	for b, err := range c.Dataset(client.Read{Dataset: dataset}).Scan(ctx, client.ScanOptions{Ordered: true, Parallel: 2, RetryFor: patience}) {
		if err != nil {
			return got, errors.Join(err, c.Close())
		}
		got.take(b)
	}
	return got, c.Close()
}

// judge fails unless the rows are all there and right, or the error is one that a
// caller can act on.
func judge(t *testing.T, what string, got *checker, err error) (whole bool) {
	t.Helper()
	var typed *source.Error
	switch {
	case got.bad != "":
		t.Errorf("%s: wrong rows: %s (%v)", what, got.bad, err)
	case err == nil && got.rows != shards*shardRows:
		t.Errorf("%s: %d of %d rows, and no error", what, got.rows, shards*shardRows)
	case err == nil:
		return true
	case !errors.As(err, &typed):
		t.Errorf("%s: an untyped error: %v", what, err)
	default:
		switch typed.Kind {
		case source.KindBusy, source.KindUpstream, source.KindChanged, source.KindCorrupt:
		default:
			t.Errorf("%s: an error of kind %s: %v", what, typed.Kind, err)
		}
	}
	return false
}

// held counts what a process can leak: descriptors and goroutines.
func held(t testing.TB) (descriptors, goroutines int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not list a process's descriptors")
	}
	return len(entries), runtime.NumGoroutine()
}

// hubFaults are the ways in which one request fails, by name.
func hubFaults() map[string]hubtest.Fault {
	return map[string]hubtest.Fault{
		"500": {Status: 500}, "502": {Status: 502, Body: "<html>bad gateway</html>"}, "503": {Status: 503}, "storage slows down": {Do: hubtest.SlowDown}, "504": {Do: hubtest.GatewayTimeout},
		"429": {Do: hubtest.TooMany}, "429 now": {Do: hubtest.QuotaExceeded, N: 0}, "429 in an hour": {Do: hubtest.QuotaExceeded, N: 3600}, "429 of the quota": {Do: hubtest.RateLimited, N: 3600},
		"reset": hubtest.FailOn(0), "cut": {CutAfter: 1000}, "early end": {Do: hubtest.EndAfter, N: 500},
		"too long": {Do: hubtest.Lengthen, N: 10}, "too short": {Do: hubtest.Shorten, N: 10}, "200 for a range": {Do: hubtest.IgnoreRange},
		"shifted": {Do: hubtest.ShiftRange, N: 7}, "shifted back": {Do: hubtest.ShiftRange, N: -7}, "no range": {Do: hubtest.DropContentRange}, "other size": {Do: hubtest.WrongTotal, N: 1},
		"416": {Do: hubtest.Unsatisfiable}, "expired": {Do: hubtest.Expire}, "tampered": {Do: hubtest.Tamper}, "stall": {Stall: 5 * time.Second}, "stall in the body": {CutAfter: 100, Stall: 5 * time.Second},
		"garbage": {Do: hubtest.Garbage}, "gzip": {Do: hubtest.GzipUnasked}, "gzip by name only": {Status: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: "[]"}, "other etag": {Do: hubtest.WrongETag},
	}
}

// telling are the faults of which one may be the end of a read: it would take long
// to pass, or the answer says that the file is another one, or an answer of the API
// is no answer and might be one tomorrow as well. Of all others, one costs nothing.
var telling = map[string]bool{"429 in an hour": true, "429 of the quota": true, "other size": true, "other etag": true, "416": true, "garbage": true, "too short": true}

// For each way of failing and each i: the i-th request that the service makes for
// a plan and a scan fails, and the client has all rows or an error with a kind.
// Afterwards, with the services still running, nothing is left of any of it.
func TestWhicheverRequestToTheHubFailsAReadIsWholeOrSaysWhyNot(t *testing.T) {
	files := sharded(t, 0)
	fixtures := map[string]*flighttest.Fixture{}
	for name, fault := range hubFaults() {
		o := hub.Options{Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond, Max: 5 * time.Millisecond, Elapsed: time.Minute}}
		if fault.Stall > 0 {
			o.StallTimeout = time.Second // elsewhere a busy machine is not to be taken for a stall
		}
		fixtures[name] = flighttest.New(t, flighttest.HubClient(o), flighttest.Hub(hubtest.With(hubtest.Options{LFSThreshold: 1000}), hubtest.Dataset(dataset, files)))
		got, err := readAs(t.Context(), fixtures[name], "hf_first", time.Millisecond)
		if !judge(t, name, got, err) {
			t.Fatal(err)
		}
	}
	settle := func() {
		for _, f := range fixtures {
			f.HubHTTP.Close() // idle connections are meant to stay: these are not
		}
	}
	settle()
	descriptors, goroutines := held(t)
	var waiting sync.WaitGroup
	for name, fault := range hubFaults() {
		if fault.Stall > 0 || fault.Do == hubtest.QuotaExceeded { // these wait much and work little
			waiting.Go(func() { failEach(t, name, fixtures[name], fault) })
			continue
		}
		failEach(t, name, fixtures[name], fault)
	}
	waiting.Wait()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		settle()
		nowDescriptors, nowGoroutines := held(t)
		if nowDescriptors <= descriptors && nowGoroutines <= goroutines {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d descriptors became %d, %d goroutines %d\n%s", descriptors, nowDescriptors, goroutines, nowGoroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// While a scan is under way, the branch is rewritten, the old addresses expire and
// the repository is renamed: what the plan pinned is read to its end, by the first
// stream and by one that begins only now.
func TestAForcePushInTheMiddleOfAScanChangesNothing(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(hubtest.With(hubtest.Options{LFSThreshold: 1000}), hubtest.Dataset(dataset, sharded(t, 0))))
	plan, err := f.Client.Dataset(client.Read{Dataset: dataset}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, pushed := &checker{}, false
	for b, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{Ordered: true, Parallel: 1, RetryFor: time.Millisecond}) {
		if err != nil {
			t.Fatal(err)
		}
		got.take(b)
		if !pushed {
			pushed = true
			if _, err := f.Hub.Commit(dataset, "main", hubtest.Change{Add: sharded(t, shards*shardRows), Orphan: true}); err != nil {
				t.Fatal(err)
			}
			f.Hub.ExpireSignatures()
			if err := f.Hub.Move(dataset, "demo/renamed"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got.bad != "" || got.rows != shards*shardRows {
		t.Errorf("%d rows %s", got.rows, got.bad)
	}
	// A new plan reads the new rows: those of the old one were not luck.
	again, err := f.Client.Dataset(client.Read{Dataset: dataset}).Plan(t.Context())
	if err != nil || again.Facts.Sha == plan.Facts.Sha {
		t.Errorf("the push was not seen: %v", err)
	}
}

// failEach gives each request its turn, and then fails all of them at one origin.
func failEach(t *testing.T, name string, f *flighttest.Fixture, fault hubtest.Fault) {
	whole, i := 0, 1
	var ends []error
	for ; !t.Failed(); i++ {
		fault.Nth = i
		armed := f.Hub.Fault(fault)
		got, err := readAs(t.Context(), f, fmt.Sprintf("hf_run%d", i), time.Millisecond)
		armed.Disarm()
		if judge(t, fmt.Sprintf("%s, request %d", name, i), got, err) {
			whole++
		} else {
			ends = append(ends, fmt.Errorf("request %d: %w", i, err))
		}
		if armed.Hits() == 0 {
			if i < 10 {
				t.Errorf("%s: only %d requests were made", name, i-1)
			}
			break
		}
	}
	if whole == 0 || whole < i && !telling[name] {
		t.Errorf("%s: %d of %d runs had all rows: %v", name, whole, i, errors.Join(ends...))
	}
	for _, origin := range []string{"hub", "cdn"} {
		fault.Nth, fault.Origin = 0, origin
		armed := f.Hub.Fault(fault)
		got, err := readAs(t.Context(), f, "hf_always_"+origin, time.Millisecond)
		armed.Disarm()
		judge(t, name+", all requests at the "+origin, got, err)
	}
}
