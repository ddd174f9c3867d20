package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/localfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wide is a Parquet file of rows whose Arrow form is a kilobyte each: a small
// file that is a long stream, so that a server can die in the middle of it.
func wide(t testing.TB, first, rows int) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "pad", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	pad := strings.Repeat("x", 1000)
	for i := first; i < first+rows; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(pad)
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, 2000, nil, pqarrow.DefaultWriterProps()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// replica is a server over a folder that can be killed and replaced by another
// one at the same address.
type replica struct {
	address string
	kill    func()
}

func startReplica(t testing.TB, root, address string) *replica {
	t.Helper()
	roots, err := localfs.NewRoots([]string{root})
	if err != nil {
		t.Fatal(err)
	}
	srv := flightsrv.New(flightsrv.Options{
		Planner: dataset.NewPlanner(dataset.PlannerOptions{Open: func(_ context.Context, ref source.Ref, _ source.HubToken) (source.Store, error) {
			return roots.Store(ref)
		}}),
		Locate: func(ref source.Ref) (source.Ref, error) {
			folder, tail, err := roots.Split(ref)
			ref.Dir, ref.Path = folder, tail
			return ref, err
		},
		Auth: flightsrv.Auth{Mode: flightsrv.AuthNone},
	})
	var lis net.Listener
	for range 50 { // the port may need a moment
		if lis, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	return &replica{address: lis.Addr().String(), kill: func() {
		srv.Drain(0) // no grace: every connection is cut
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := roots.Close(); err != nil {
			t.Error(err)
		}
	}}
}

func TestAServerTokenMayEndInALineBreak(t *testing.T) {
	auth := flightsrv.Auth{Mode: flightsrv.AuthToken}
	if err := auth.ReadTokenFile(strings.NewReader(fmt.Sprintf("ana %x read", sha256.Sum256([]byte("secret"))))); err != nil {
		t.Fatal(err)
	}
	f := flighttest.New(t, flighttest.Auth(auth), flighttest.Tokens("secret\n", ""))
	if _, err := f.Client.Version(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACallersRequestIDGoesAlong(t *testing.T) {
	f := flighttest.New(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine-7", "authorization", "of somebody else")
	if _, err := f.Client.Version(ctx); err != nil || !strings.Contains(f.Log.String(), "request=mine-7") {
		t.Errorf("%v\n%s", err, f.Log)
	}
}

func TestAScanGoesOnWhereItWasWhenTheServerDiesAndAnotherTakesItsPlace(t *testing.T) {
	const rows = 16_000
	root := t.TempDir()
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("train-%05d-of-00002.parquet", i)), wide(t, i*rows, rows), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := startReplica(t, root, "127.0.0.1:0")
	c, err := client.Dial(t.Context(), "grpc://"+server.address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	var got int64
	deaths := 0
	for rec, err := range c.Dataset(client.Read{Dataset: "file://" + root}).Scan(t.Context(), client.ScanOptions{Ordered: true, Parallel: 2, RetryFor: 20 * time.Second}) {
		if err != nil {
			t.Fatalf("after %d rows: %v", got, err)
		}
		for _, id := range rec.Column(0).(*array.Int64).Int64Values() {
			if id != got {
				t.Fatalf("row %d has id %d", got, id)
			}
			got++
		}
		if got > int64(deaths)*rows { // once in each of the partitions, after its first batch
			deaths++
			server.kill()
			server = startReplica(t, root, server.address)
		}
	}
	server.kill()
	if got != 2*rows || deaths != 2 {
		t.Errorf("%d rows and %d deaths, want %d and 2", got, deaths, 2*rows)
	}
}

func TestAServerThatStaysAwayIsGivenUp(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "train.parquet"), wide(t, 0, 8000), 0o600); err != nil {
		t.Fatal(err)
	}
	server := startReplica(t, root, "127.0.0.1:0")
	c, err := client.Dial(t.Context(), "grpc://"+server.address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	plan, err := c.Dataset(client.Read{Dataset: "file://" + root}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.kill()
	var last error
	for _, err := range c.ScanPlan(t.Context(), plan, client.ScanOptions{RetryFor: 300 * time.Millisecond}) {
		last = err
	}
	if source.KindOf(last) != source.KindUpstream {
		t.Errorf("got %v", last)
	}
}

// folderOf is a local dataset of files of 300 rows each.
func folderOf(t testing.TB, f *flighttest.Fixture, files int) string {
	t.Helper()
	contents := map[string][]byte{}
	for i := range files {
		contents[fmt.Sprintf("train-%05d-of-%05d.parquet", i, files)] = flighttest.Numbers(t, i*300, 300)
	}
	return f.Folder("numbers", contents)
}

func TestABusyServerIsTriedAgainWhenItSaysSo(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{MaxStreams: 1}))
	name := f.Folder("wide", map[string][]byte{"train.parquet": wide(t, 0, 16_000)})
	hold, cancel := context.WithCancel(t.Context())
	defer cancel()
	started, held := make(chan struct{}), make(chan struct{})
	go func() { // takes the only stream until it is cancelled
		defer close(held)
		for range f.Client.Dataset(client.Read{Dataset: name}).Scan(hold, client.ScanOptions{}) {
			close(started)
			<-hold.Done()
			return
		}
	}()
	<-started
	time.AfterFunc(200*time.Millisecond, cancel)
	begin := time.Now()
	var rows int64
	for rec, err := range f.Client.Dataset(client.Read{Dataset: name}).Scan(t.Context(), client.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows += rec.NumRows()
	}
	<-held
	// The server asks for a second; a client that does not listen is back in 300 ms.
	if took := time.Since(begin); rows != 16_000 || took < time.Second {
		t.Errorf("%d rows after %s", rows, took)
	}
}

func TestCancelingAScanEndsItWithThatError(t *testing.T) {
	f := flighttest.New(t)
	name := folderOf(t, f, 6)
	for _, o := range []client.ScanOptions{{Ordered: true, Parallel: 3}, {Parallel: 3}} {
		ctx, cancel := context.WithCancel(t.Context())
		batches, last := 0, error(nil)
		for rec, err := range f.Client.Dataset(client.Read{Dataset: name}).Scan(ctx, o) {
			if last = err; rec != nil {
				batches++
			}
			cancel()
		}
		cancel()
		if source.KindOf(last) != source.KindCanceled {
			t.Errorf("%+v: %d batches, then %v", o, batches, last)
		}
	}
}

func TestLeavingAScanEarlyEndsItsStreams(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{MaxStreams: 4}))
	name := f.Folder("wide", map[string][]byte{"train-00000-of-00003.parquet": wide(t, 0, 6000), "train-00001-of-00003.parquet": wide(t, 6000, 6000), "train-00002-of-00003.parquet": wide(t, 12000, 6000)})
	d := f.Client.Dataset(client.Read{Dataset: name})
	for i := range 6 { // more often than the server has streams
		for rec, err := range d.Scan(t.Context(), client.ScanOptions{Parallel: 3, Ordered: i%2 == 0}) {
			if err != nil || rec.NumRows() == 0 {
				t.Fatal(rec, err)
			}
			break
		}
	}
	if n, err := d.Count(t.Context()); err != nil || n != 18_000 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestRowsThatWaitLongForTheirReaderAreReadAllTheSame: longer than the server keeps a
// stream whose client takes nothing.
func TestRowsThatWaitLongForTheirReaderAreReadAllTheSame(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{IdleTimeoutGet: 300 * time.Millisecond}))
	const all = 60_000
	name := f.Folder("patient", map[string][]byte{"train.parquet": wide(t, 0, all)})
	rows, next := 0, int64(0)
	for rec, err := range f.Client.Dataset(client.Read{Dataset: name}).Scan(t.Context(), client.ScanOptions{Ordered: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if rows == 0 {
			time.Sleep(2 * time.Second)
		}
		for _, id := range rec.Column(0).(*array.Int64).Int64Values() {
			if id != next {
				t.Fatalf("row %d has id %d", next, id)
			}
			next++
		}
		rows += int(rec.NumRows())
	}
	if rows != all {
		t.Errorf("%d of %d rows", rows, all)
	}
}

func TestAPartitionThatFailsFailsTheScan(t *testing.T) {
	f := flighttest.New(t)
	name := folderOf(t, f, 4)
	plan, err := f.Client.Dataset(client.Read{Dataset: name}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(f.Root, "numbers", plan.Partitions[2].Facts.File)); err != nil {
		t.Fatal(err)
	}
	for _, ordered := range []bool{true, false} {
		var rows int64
		var last error
		for rec, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{Ordered: ordered, Parallel: 2}) {
			if last = err; rec != nil {
				rows += rec.NumRows()
			}
		}
		if kind := source.KindOf(last); last == nil || kind == source.KindUpstream || rows > 900 {
			t.Errorf("ordered %t: %d rows, then %v", ordered, rows, last)
		}
		if ordered && rows != 600 {
			t.Errorf("the partitions before the broken one gave %d rows", rows)
		}
	}
}

func TestAStreamOfAnotherSchemaThanThePlansIsRefused(t *testing.T) {
	f := flighttest.New(t)
	d := f.Client.Dataset(client.Read{Dataset: folderOf(t, f, 1)})
	plan, err := d.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan.Schema = arrow.NewSchema(plan.Schema.Fields()[:2], nil)
	for rec, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{}) {
		if rec != nil || err == nil || !strings.Contains(err.Error(), "schema is not the plan's") {
			t.Errorf("got %v, %v", rec, err)
		}
	}
}

func TestAPlanWithoutPartitionsIsAnEmptyScan(t *testing.T) {
	f := flighttest.New(t)
	plan, err := f.Client.Dataset(client.Read{Dataset: folderOf(t, f, 2), Filters: []byte(`[["id","<",0]]`)}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ordered := range []bool{true, false} {
		for rec, err := range f.Client.ScanPlan(t.Context(), plan, client.ScanOptions{Ordered: ordered}) {
			if err != nil || rec.NumRows() > 0 {
				t.Errorf("got %v, %v", rec, err)
			}
		}
	}
}
