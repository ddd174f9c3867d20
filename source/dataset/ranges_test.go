package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/rangeio"
)

const (
	shardRows  = 60_000
	shardCount = 2
)

// shardFiles are larger than what a footer's request brings along.
func shardFiles(t testing.TB, first int) map[string][]byte {
	files := map[string][]byte{"README.md": []byte("# Flights\n")}
	for i := range shardCount {
		files[fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, shardCount)] = flights(t, first+i*shardRows, shardRows, 10_000)
	}
	return files
}

// hubPlanner plans over the embedded Hub, with a disk cache if dir is set. A busy
// machine is not taken for a Hub that stalls.
func hubPlanner(t testing.TB, run *hubtest.Running, dir string) *Planner {
	t.Helper()
	return stallPlanner(t, run, dir, 0)
}

// stallPlanner is a hubPlanner that gives up what makes no progress for a time.
func stallPlanner(t testing.TB, run *hubtest.Running, dir string, stall time.Duration) *Planner {
	t.Helper()
	client, err := hub.New(hub.Options{
		Endpoint: run.HubURL, AllowPrivateCDN: true, StallTimeout: stall,
		Retry: hub.RetryOptions{Attempts: 3, Base: time.Millisecond, Max: 5 * time.Millisecond, Elapsed: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o := rangeio.SchedulerOptions{FixedGap: true}
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
	t.Cleanup(func() {
		if s.Held() != 0 {
			t.Errorf("%d bytes are still held", s.Held())
		}
	})
	return NewPlanner(PlannerOptions{Ranges: s, Parallel: 1, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
}

// counted is how many requests each origin has seen since the last call.
func counted(run *hubtest.Running) (atHub, atCDN int) {
	for _, r := range run.Requests() {
		if r.Origin == "hub" {
			atHub++
		} else {
			atCDN++
		}
	}
	run.ForgetRequests()
	return atHub, atCDN
}

func shardHub(t testing.TB, more ...hubtest.Option) *hubtest.Running {
	options := []hubtest.Option{hubtest.With(hubtest.Options{LFSThreshold: 1000, Record: true}), hubtest.Dataset(repo, shardFiles(t, 0))}
	return hubtest.New(t, append(options, more...)...)
}

func TestRequestsStayWithinTheirBudget(t *testing.T) {
	run, dir := shardHub(t), t.TempDir()
	p := hubPlanner(t, run, dir)
	run.ForgetRequests()
	check := func(what string, maxHub, maxCDN int) {
		t.Helper()
		if h, c := counted(run); h > maxHub || c > maxCDN {
			t.Errorf("%s: %d requests at the Hub, %d at storage; at most %d and %d", what, h, c, maxHub, maxCDN)
		}
	}
	plan := mustPlan(t, p, request(t))
	check("the first plan", 4+shardCount, shardCount)
	again := mustPlan(t, p, request(t))
	check("the second plan", 1, 0)
	pinned := request(t)
	pinned.Ref.Revision = again.Facts.Sha
	mustPlan(t, p, pinned)
	check("a plan of a sha", 0, 0)
	for i, part := range plan.Partitions {
		if got := idsOf(t, p, part, 0, -1); !slices.Equal(got, between(int64(i)*shardRows, int64(i+1)*shardRows)) {
			t.Errorf("%d rows", len(got))
		}
		check("a scan while the address is held", 0, 1)
	}
	// Another process, with the cache of the first.
	q := hubPlanner(t, run, dir)
	plan = mustPlan(t, q, request(t))
	for _, part := range plan.Partitions {
		idsOf(t, q, part, 0, -1)
	}
	check("plan and scan with a warm cache", 4+shardCount, 0)
	// Without any plan: one address, a footer, a run.
	bare := hubPlanner(t, run, "")
	idsOf(t, bare, plan.Partitions[0], 0, -1)
	check("a scan from nothing", 1, 2)
}

// The attack: a ticket joins a public repository's path with a private file's
// content id, and everything about that content lies in the caches.
func TestCachesNeverCrossCallers(t *testing.T) {
	owner, other := source.NewHubToken("hf_owner"), source.NewHubToken("hf_other")
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, Record: true, Tokens: map[string]hubtest.Rights{"hf_owner": hubtest.Read, "hf_other": hubtest.Public}}),
		hubtest.Dataset(repo, shardFiles(t, 0)), hubtest.WithSettings(repo, hubtest.Settings{Private: true}),
		hubtest.Dataset("demo/public", shardFiles(t, 1_000_000)))
	dir := t.TempDir()
	p := hubPlanner(t, run, dir)
	read := func(p *Planner, token source.HubToken, part Partition) (int64, error) {
		s, err := p.Read(t.Context(), ReadParams{Token: token, Partition: part, Stop: -1})
		if err != nil {
			return 0, err
		}
		defer s.Close()
		ids, err := appendIDs(t.Context(), s, nil)
		return int64(len(ids)), err
	}
	secret, err := p.Plan(t.Context(), owner, request(t))
	if err != nil {
		t.Fatal(err)
	}
	public, err := p.Plan(t.Context(), other, Request{Ref: source.Ref{Repo: "demo/public"}, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := read(p, owner, secret.Partitions[0]); err != nil || n != shardRows {
		t.Fatalf("%d rows, %v", n, err)
	}
	forged := public.Partitions[0]
	forged.File.OID, forged.File.Size = secret.Partitions[0].File.OID, secret.Partitions[0].File.Size
	sameSize := public.Partitions[0]
	sameSize.File.OID = forged.File.OID
	moved := secret.Partitions[0]
	moved.Dataset = "demo/public"
	for name, part := range map[string]Partition{"its own repository": secret.Partitions[0], "a public path": forged, "a public path and size": sameSize, "another repository": moved} {
		for cache, q := range map[string]*Planner{"warm memory and disk": p, "warm disk": hubPlanner(t, run, dir)} {
			for _, token := range []source.HubToken{other, {}} {
				if n, err := read(q, token, part); err == nil || n != 0 {
					t.Errorf("%s, %s: %d rows, %v", name, cache, n, err)
				}
			}
		}
	}
	if n, err := read(p, other, public.Partitions[0]); err != nil || n != shardRows {
		t.Errorf("what is public: %d rows, %v", n, err)
	}
}

// appendIDs reads a stream to its end.
func appendIDs(ctx context.Context, s Stream, ids []int64) ([]int64, error) {
	for {
		b, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return ids, err
		}
		ids = append(ids, b.Column(0).(*array.Int64).Int64Values()...)
		b.Release()
	}
}

// planAndScan returns the ids of everything.
func planAndScan(ctx context.Context, p *Planner, r Request) ([]int64, error) {
	plan, err := p.Plan(ctx, source.HubToken{}, r)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, part := range plan.Partitions {
		s, err := p.Read(ctx, ReadParams{Partition: part, Stop: -1})
		if err != nil {
			return nil, err
		}
		ids, err = appendIDs(ctx, s, ids)
		if err = errors.Join(err, s.Close()); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func TestWhicheverRequestFailsRowsAreRightOrThereIsAnError(t *testing.T) {
	want := between(0, shardCount*shardRows)
	for name, fault := range map[string]hubtest.Fault{
		"500": {Status: 500}, "502": {Status: 502}, "503": {Status: 503}, "429": {Do: hubtest.TooMany},
		"429, wait": {Do: hubtest.QuotaExceeded, N: 0}, "reset": {Reset: true}, "cut": {CutAfter: 1000}, "early end": {Do: hubtest.EndAfter, N: 500},
		"too long": {Do: hubtest.Lengthen, N: 10}, "too short": {Do: hubtest.Shorten, N: 10}, "200 for a range": {Do: hubtest.IgnoreRange},
		"shifted": {Do: hubtest.ShiftRange, N: 7}, "no range": {Do: hubtest.DropContentRange}, "other size": {Do: hubtest.WrongTotal, N: 1},
		"416": {Do: hubtest.Unsatisfiable}, "expired": {Do: hubtest.Expire}, "stall": {Stall: time.Second}, "garbage": {Do: hubtest.Garbage},
		"gzip": {Do: hubtest.GzipUnasked}, "other etag": {Do: hubtest.WrongETag},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait, as they were asked to
			run := shardHub(t)
			survived := 0
			for i := 1; ; i++ {
				p := stallPlanner(t, run, "", fault.Stall/2)
				fault.Nth = i
				armed := run.Fault(fault)
				ids, err := planAndScan(t.Context(), p, request(t))
				armed.Disarm()
				var typed *source.Error
				switch {
				case err == nil && !slices.Equal(ids, want):
					t.Fatalf("request %d: wrong rows: %d of %d", i, len(ids), len(want))
				case err != nil && !errors.As(err, &typed):
					t.Errorf("request %d: an untyped error: %v", i, err)
				case err == nil:
					survived++
				}
				if armed.Hits() == 0 {
					t.Logf("%d of %d runs had all rows", survived, i)
					break
				}
			}
			if survived == 0 {
				t.Error("no run had all rows")
			}
		})
	}
}

func TestAForcePushInTheMiddleOfAScanChangesNothing(t *testing.T) {
	run := shardHub(t)
	p := hubPlanner(t, run, "")
	plan := mustPlan(t, p, request(t))
	var ids []int64
	for i, part := range plan.Partitions {
		s, err := p.Read(t.Context(), ReadParams{Partition: part, Stop: -1})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := run.Commit(repo, "main", hubtest.Change{Add: shardFiles(t, 5_000_000), Orphan: true}); err != nil {
				t.Fatal(err)
			}
		}
		ids, err = appendIDs(t.Context(), s, ids)
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(ids, between(0, shardCount*shardRows)) {
		t.Errorf("%d rows, and not those of the plan", len(ids))
	}
}
