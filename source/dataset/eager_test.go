package dataset

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// atHub are the requests that the Hub's own origin has seen, without queries.
func atHub(run *hubtest.Running) []string {
	var out []string
	for _, r := range run.Requests() {
		if r.Origin == "hub" {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	run.ForgetRequests()
	return out
}

func TestAColdPlanAsksForEachThingOnce(t *testing.T) {
	for name, c := range map[string]struct {
		readme string // "" for none
		change func(*Request)
		most   int
	}{
		"with a README":         {"# Flights\n", nil, 3 + shardCount},
		"without one":           {"", nil, 3 + shardCount},
		"with a config":         {"---\nconfigs:\n- config_name: main\n  data_files: data/*.parquet\n---\n", nil, 3 + shardCount},
		"of one file":           {"# Flights\n", func(r *Request) { r.Ref.Path = "data/train-00001-of-00002.parquet" }, 3 + 1},
		"of a limit":            {"# Flights\n", func(r *Request) { r.Limit = 1 }, 3 + shardCount},
		"with a broken README":  {"---\nconfigs: [\n---\n", nil, 3 + shardCount},
		"of what is not there":  {"# Flights\n", func(r *Request) { r.Split = "nowhere" }, 3},
		"of a config of no use": {"---\nconfigs:\n- config_name: main\n  data_files: nothing/*.parquet\n---\n", nil, 3},
	} {
		t.Run(name, func(t *testing.T) {
			files := shardFiles(t, 0)
			delete(files, "README.md")
			if c.readme != "" {
				files["README.md"] = []byte(c.readme)
			}
			run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, Record: true}), hubtest.Dataset(repo, files))
			p := hubPlanner(t, run, "")
			p.parallel = 16
			r := request(t)
			if c.change != nil {
				c.change(&r)
			}
			run.ForgetRequests()
			_, err := p.Plan(t.Context(), source.HubToken{}, r)
			got := atHub(run)
			slices.Sort(got)
			if len(got) > c.most || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Errorf("%v: at most %d requests, none twice: %s", err, c.most, strings.Join(got, "\n"))
			}
		})
	}
}

// What was asked for early may be of another commit by the time the listing is
// there: a push comes between.
func TestAPushBetweenTheREADMEAndTheListingDoesNotMixThem(t *testing.T) {
	one := func(pattern string, first int) map[string][]byte {
		files := shardFiles(t, first)
		files["README.md"] = []byte("---\nconfigs:\n- config_name: main\n  data_files: data/" + pattern + "\n---\n")
		return files
	}
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000}), hubtest.Dataset(repo, one("*00000*", 0)))
	p := hubPlanner(t, run, "")
	open := p.open
	p.open = func(ctx context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		s, err := open(ctx, ref, token)
		return pushing{s, s.(eager), func() {
			if _, err := run.Commit(repo, "main", hubtest.Change{Add: one("*00001*", 1_000_000)}); err != nil {
				t.Error(err)
			}
		}}, err
	}
	plan := mustPlan(t, p, request(t))
	if len(plan.Partitions) != 1 || !strings.Contains(plan.Partitions[0].File.Path, "00001") {
		t.Fatalf("%d partitions, %v", len(plan.Partitions), plan.Files)
	}
	if got := idsOf(t, p, plan.Partitions[0], 0, -1); !slices.Equal(got, between(1_000_000+shardRows, 1_000_000+2*shardRows)) {
		t.Errorf("%d rows of something else", len(got))
	}
}

// pushing commits after the README has been read and before the revision is
// resolved.
type pushing struct {
	source.Store
	eager
	push func()
}

func (s pushing) ResolveWithNames(ctx context.Context, revision string) (source.Snapshot, []string, error) {
	time.Sleep(50 * time.Millisecond) // the README is here
	s.push()
	return s.eager.ResolveWithNames(ctx, revision)
}

func TestAListingIsUsedAgainAfterItsCallerWasLetIn(t *testing.T) {
	owner := source.NewHubToken("hf_owner")
	run := hubtest.New(t, hubtest.With(hubtest.Options{LFSThreshold: 1000, Record: true, Tokens: map[string]hubtest.Rights{"hf_owner": hubtest.Read}}),
		hubtest.Dataset(repo, shardFiles(t, 0)), hubtest.WithSettings(repo, hubtest.Settings{Private: true}))
	p := hubPlanner(t, run, "")
	clock := time.Now()
	p.listings.now = func() time.Time { return clock }
	plan := func() ([]string, error) {
		t.Helper()
		run.ForgetRequests()
		_, err := p.Plan(t.Context(), owner, request(t))
		return atHub(run), err
	}
	if _, err := plan(); err != nil {
		t.Fatal(err)
	}
	if got, err := plan(); err != nil || len(got) != 1 {
		t.Errorf("within a minute: %v, %v", got, err)
	}
	clock = clock.Add(2 * listingTTL)
	// Another client: what the Hub confirmed to the first is a minute old by now.
	p.open = hubPlanner(t, run, "").open
	if got, err := plan(); err != nil || len(got) != 2 || !strings.Contains(fmt.Sprint(got), "HEAD") {
		t.Errorf("later: %v, %v", got, err)
	}
	if got, err := plan(); err != nil || len(got) != 1 {
		t.Errorf("right after that: %v, %v", got, err)
	}
	clock = clock.Add(2 * listingTTL)
	p.open = hubPlanner(t, run, "").open
	pinned := request(t)
	pinned.Ref.Revision = mustPlanAs(t, p, owner).Facts.Sha
	clock = clock.Add(2 * listingTTL)
	p.open = hubPlanner(t, run, "").open
	run.ForgetRequests()
	if _, err := p.Plan(t.Context(), owner, pinned); err != nil {
		t.Error(err)
	}
	if got := atHub(run); len(got) != 1 {
		t.Errorf("a sha, later: %v", got)
	}
	// A right that was taken away meanwhile.
	clock = clock.Add(2 * listingTTL)
	run.Fault(hubtest.Fault{Origin: "hub", Status: http.StatusNotFound, Header: http.Header{"X-Error-Code": {"RepoNotFound"}}})
	p.open = hubPlanner(t, run, "").open
	if _, err := p.Plan(t.Context(), owner, pinned); err == nil {
		t.Error("a caller without rights gets a plan")
	}
}

func mustPlanAs(t *testing.T, p *Planner, token source.HubToken) *Plan {
	t.Helper()
	plan, err := p.Plan(t.Context(), token, request(t))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestListingsAreKeptWithinTheirBound(t *testing.T) {
	c := newListingCache()
	clock := time.Now()
	c.now = func() time.Time { return clock }
	whole := Tree{Files: make([]source.File, maxListingBytes/bytesPerTreeFile/3)}
	key := func(i int) listingKey { return listingKey{name: fmt.Sprint(i)} }
	for i := range 5 {
		c.put(key(i), whole)
		clock = clock.Add(time.Second)
	}
	for i := range 5 {
		if _, _, ok := c.get(key(i)); ok != (i >= 2) {
			t.Errorf("listing %d is there: %v", i, ok)
		}
	}
	c.put(key(9), Tree{Files: make([]source.File, maxListingBytes/bytesPerTreeFile+1)})
	if _, _, ok := c.get(key(9)); ok || c.bytes > maxListingBytes {
		t.Errorf("%d bytes are kept", c.bytes)
	}
	clock = clock.Add(listingKept)
	if _, _, ok := c.get(key(4)); ok || c.bytes != 0 || len(c.items) != 0 {
		t.Errorf("%d bytes are kept for ever", c.bytes)
	}
}

// What is guessed is thrown away: it must not take longer than what it is a guess at.
func TestTheFilesOfALargeDatasetAreGuessedAsFastAsTheyAreResolved(t *testing.T) {
	at := source.Snapshot{Name: repo, Revision: "main", Commit: strings.Repeat("0", 40)}
	var names []string
	var tree Tree
	for i := range maxGuessed {
		names = append(names, fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, maxGuessed))
		tree.Files = append(tree.Files, source.File{At: at, Path: names[i]})
	}
	began := time.Now()
	if _, err := Resolve(tree, Options{}); err != nil {
		t.Fatal(err)
	}
	resolved := time.Since(began)
	began = time.Now()
	if got, err := guess(at, names, nil, request(t)); err != nil || !slices.Equal(got, names) {
		t.Fatalf("%d files, %v", len(got), err)
	}
	if guessed := time.Since(began); guessed > 3*resolved+100*time.Millisecond {
		t.Errorf("guessing %d files takes %s, resolving them %s", maxGuessed, guessed, resolved)
	}
}
