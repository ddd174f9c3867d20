package dataset

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

const csvRepo = "demo/csv"

var csvFiles = map[string][]byte{"a.csv": []byte("id\n1\n"), "b.csv": []byte("id\n2\n")}

// viewedPlanner reads an embedded Hub, with its dataset viewer.
func viewedPlanner(t *testing.T, options ...hubtest.Option) (*hubtest.Running, *Planner) {
	t.Helper()
	run := hubtest.New(t, options...)
	return run, replica(t, run)
}

// replica is one more planner, which has not seen anything yet.
func replica(t *testing.T, run *hubtest.Running) *Planner {
	t.Helper()
	client, err := hub.New(hub.Options{
		Endpoint: run.HubURL, ViewerEndpoint: run.ViewerURL, AllowPrivateCDN: true,
		Retry: hub.RetryOptions{Attempts: 2, Base: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
}

func csvRequest() Request { return Request{Ref: source.Ref{Repo: csvRepo}, Limit: -1} }

func TestAFreshConversionIsReadWithoutBeingAskedFor(t *testing.T) {
	run, p := viewedPlanner(t, hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, convertedFiles(t)))
	plan, got := readAll(t, p, csvRequest())
	if !slices.Equal(got, between(0, 20)) || plan.Facts.Source != SourceConverted || plan.Facts.Partial {
		t.Errorf("got rows %v, facts %+v", got, plan.Facts)
	}
	for revision, got := range map[string]string{"main": plan.Facts.Sha, source.ConvertedRevision: plan.Facts.DataSha} {
		if want, err := run.Head(csvRepo, revision); err != nil || got != want {
			t.Errorf("got commit %s of %s, want %s, %v", got, revision, want, err)
		}
	}
	if strings.Contains(strings.Join(plan.Notes, "\n"), "not verified") {
		t.Errorf("the viewer was asked, and the notes say %q", plan.Notes)
	}
	t.Run("also by a config's name, in numeric order", func(t *testing.T) {
		r := csvRequest()
		r.Config = "other-x"
		want := []string{"other-x/train/0000.parquet", "other-x/train/2000.parquet", "other-x/train/10000.parquet"}
		if got := paths(mustPlan(t, p, r)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("also at the commit that a client has pinned", func(t *testing.T) {
		r := csvRequest()
		r.Ref.Revision = plan.Facts.Sha
		if again := mustPlan(t, p, r); again.Facts != plan.Facts {
			t.Errorf("got facts %+v, want %+v", again.Facts, plan.Facts)
		}
	})
	t.Run("never stays never", func(t *testing.T) {
		r := csvRequest()
		r.Conversion = ConversionNever
		_, err := p.Plan(t.Context(), source.HubToken{}, r)
		wantError(t, err, source.KindUnsupported, "format is csv")
	})
	t.Run("splits lists it", func(t *testing.T) {
		_, items, err := p.Splits(t.Context(), source.HubToken{}, csvRequest().Ref)
		if err != nil || len(items) != 3 || items[0].Config != "default" || !items[0].Default || *items[0].Rows != 20 {
			t.Errorf("got %+v, %v", items, err)
		}
	})
	t.Run("a branch at another commit has none", func(t *testing.T) {
		if _, err := run.Commit(csvRepo, "dev", hubtest.Change{Add: map[string][]byte{"c.csv": []byte("id\n3\n")}}); err != nil {
			t.Fatal(err)
		}
		r := csvRequest()
		r.Ref.Revision = "dev"
		_, err := p.Plan(t.Context(), source.HubToken{}, r)
		wantError(t, err, source.KindUnsupported, "only the default branch is converted")
	})
	t.Run("a commit makes it stale", func(t *testing.T) {
		if _, err := run.Commit(csvRepo, "main", hubtest.Change{Add: map[string][]byte{"c.csv": []byte("id\n3\n")}}); err != nil {
			t.Fatal(err)
		}
		_, err := p.Plan(t.Context(), source.HubToken{}, csvRequest())
		wantError(t, err, source.KindUnsupported, "stale: it belongs to commit "+plan.Facts.Sha[:8])
	})
}

// Each state of a conversion has an error of its own: what it is, and what to do.
func TestAConversionThatCannotBeReadSaysWhy(t *testing.T) {
	both := []hubtest.Option{hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, convertedFiles(t))}
	partial := map[string][]byte{"default/partial-train/0000.parquet": flights(t, 0, 4, 4), "whole/train/0000.parquet": flights(t, 0, 3, 3)}
	for name, c := range map[string]struct {
		options []hubtest.Option
		state   hubtest.Conversion
		kind    source.Kind
		text    string
	}{
		"disabled":             {both, hubtest.Conversion{State: hubtest.Blocked}, source.KindUnsupported, "disabled on this dataset"},
		"failed as a whole":    {both, hubtest.Conversion{State: hubtest.Broken}, source.KindUnsupported, "conversion failed: An error occurred"},
		"failed":               {both, hubtest.Conversion{State: hubtest.Failed}, source.KindUnsupported, "conversion of config default failed"},
		"pending":              {both, hubtest.Conversion{State: hubtest.Pending}, source.KindBusy, "conversion of config default is pending"},
		"not ready":            {both, hubtest.Conversion{State: hubtest.NotReady}, source.KindBusy, "conversion is pending"},
		"stale":                {both, hubtest.Conversion{State: hubtest.Stale}, source.KindUnsupported, "stale"},
		"partial by its name":  {[]hubtest.Option{both[0], hubtest.At(csvRepo, source.ConvertedRevision, partial)}, hubtest.Conversion{}, source.KindUnsupported, `partial="allow"`},
		"partial by the flag":  {both, hubtest.Conversion{State: hubtest.Partial}, source.KindUnsupported, `partial="allow"`},
		"never converted":      {both[:1], hubtest.Conversion{}, source.KindBusy, "pending"},
		"not for this account": {both, hubtest.Conversion{State: hubtest.Fresh}, source.KindUnsupported, "no conversion of this dataset for this caller"},
	} {
		t.Run(name, func(t *testing.T) {
			options := slices.Clone(c.options)
			if c.state.State != hubtest.Recorded {
				options = append(options, hubtest.Converted(csvRepo, c.state))
			}
			run, p := viewedPlanner(t, options...)
			if name == "not for this account" {
				run.Fault(hubtest.Fault{Path: "/parquet", Origin: "viewer", Status: 401, Header: map[string][]string{"X-Error-Code": {"ExternalUnauthenticatedError"}}})
			}
			_, err := p.Plan(t.Context(), source.HubToken{}, csvRequest())
			wantError(t, err, c.kind, c.text)
			wantError(t, err, c.kind, csvRepo)
			if c.kind == source.KindBusy && source.AsError("", err).RetryAfter == 0 {
				t.Errorf("it does not say when to ask again: %v", err)
			}
		})
	}
}

func TestAPartialConversionIsReadOnRequestAndReported(t *testing.T) {
	_, p := viewedPlanner(t, hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, map[string][]byte{
		"default/partial-train/0000.parquet": flights(t, 0, 4, 4), "whole/train/0000.parquet": flights(t, 0, 3, 3),
	}))
	r := csvRequest()
	r.Partial = PartialAllow
	plan, got := readAll(t, p, r)
	if facts := factsOf(t, plan.Schema); !facts.Partial || !plan.Facts.Partial || !slices.Equal(got, between(0, 4)) {
		t.Errorf("got rows %v, facts %+v in the schema and %+v in the plan", got, facts, plan.Facts)
	}
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "partial conversion") {
		t.Errorf("got notes %q", plan.Notes)
	}
	r.Config, r.Partial = "whole", ""
	if plan := mustPlan(t, p, r); plan.Facts.Partial {
		t.Error("a whole config is called partial because another one is")
	}
}

func TestOnlyTheConfigThatIsPendingIsRefused(t *testing.T) {
	_, p := viewedPlanner(t, hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, convertedFiles(t)),
		hubtest.Converted(csvRepo, hubtest.Conversion{State: hubtest.Pending, Configs: []string{"other-x"}}))
	if plan := mustPlan(t, p, csvRequest()); len(plan.Partitions) != 2 {
		t.Errorf("got %d partitions", len(plan.Partitions))
	}
	r := csvRequest()
	r.Config = "other-x"
	_, err := p.Plan(t.Context(), source.HubToken{}, r)
	wantError(t, err, source.KindBusy, "conversion of config other-x is pending")
}

func TestAConversionHasTheDefaultConfigAndTheSplitOrderOfTheCard(t *testing.T) {
	files := map[string][]byte{"a.csv": []byte("id\n1\n"), "README.md": []byte("---\nconfigs:\n- config_name: zz\n  default: true\n  data_files:\n  - {split: late, path: a.csv}\n  - {split: early, path: a.csv}\n- config_name: aa\n  data_files: a.csv\n---\n")}
	_, p := viewedPlanner(t, hubtest.Dataset(csvRepo, files), hubtest.At(csvRepo, source.ConvertedRevision, map[string][]byte{
		"aa/train/0000.parquet": flights(t, 0, 2, 2), "zz/early/0000.parquet": flights(t, 2, 2, 2), "zz/late/0000.parquet": flights(t, 4, 2, 2),
	}))
	for _, conversion := range []string{ConversionAuto, ConversionAlways} {
		r := csvRequest()
		r.Split, r.Conversion = "all", conversion
		if got, want := paths(mustPlan(t, p, r)), []string{"zz/late/0000.parquet", "zz/early/0000.parquet"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", conversion, got, want)
		}
	}
}

// The Hub rewrites the conversion branch without history. While it still has the
// old commit, a ticket made before is answered with the rows that were planned;
// after that it is changed, and not as if the file had never been.
func TestATicketOfARewrittenConversionNeverGivesOtherRows(t *testing.T) {
	run, p := viewedPlanner(t, hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, convertedFiles(t)))
	plan := mustPlan(t, p, csvRequest())
	if _, err := run.Commit(csvRepo, source.ConvertedRevision, hubtest.Change{Orphan: true, Add: map[string][]byte{"default/train/0000.parquet": flights(t, 900, 10, 5)}}); err != nil {
		t.Fatal(err)
	}
	part := plan.Partitions[0]
	part.File.At = source.Snapshot{}
	if got := idsOf(t, p, part, 0, -1); !slices.Equal(got, between(0, 10)) {
		t.Errorf("got rows %v", got)
	}
	run.Fault(hubtest.Fault{Origin: "hub", Path: plan.Facts.DataSha, Status: 404, Header: map[string][]string{"X-Error-Code": {"RevisionNotFound"}}})
	_, err := replica(t, run).countPartition(t.Context(), source.HubToken{}, part, newLeases(Admission{}))
	wantError(t, err, source.KindChanged, "plan again")

	part.DataSha, _ = run.Head(csvRepo, source.ConvertedRevision) // a forged ticket: the new commit, the old file
	_, err = replica(t, run).countPartition(t.Context(), source.HubToken{}, part, newLeases(Admission{}))
	wantError(t, err, source.KindChanged, "plan again")
	again := mustPlan(t, p, csvRequest())
	if got := idsOf(t, p, again.Partitions[0], 0, -1); !slices.Equal(got, between(900, 910)) {
		t.Errorf("planned again, got rows %v", got)
	}
}

func TestAListingSaysNoConversionOnlyWhereThereIsNone(t *testing.T) {
	list := func(t *testing.T, state hubtest.State, origin, shape string) (ParquetListing, error) {
		t.Helper()
		run, p := viewedPlanner(t, hubtest.Dataset(csvRepo, csvFiles), hubtest.At(csvRepo, source.ConvertedRevision, convertedFiles(t)), hubtest.Converted(csvRepo, hubtest.Conversion{State: state}))
		if origin != "" {
			run.Fault(hubtest.Fault{Path: "/parquet", Origin: origin, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}})
		}
		return p.Parquet(t.Context(), source.HubToken{}, ParquetRequest{Ref: source.Ref{Repo: csvRepo}, Shape: shape, Shard: -1})
	}
	t.Run("a conversion under way is the reason", func(t *testing.T) {
		l, err := list(t, hubtest.NotReady, "", ShapeViewer)
		if err != nil || len(l.Conversion.Files) != 0 || !strings.Contains(l.Reason, "pending") {
			t.Errorf("got %+v, %v", l, err)
		}
	})
	for shape, origin := range map[string]string{ShapeViewer: "viewer", ShapeHub: "hub"} {
		t.Run("a limit of the "+shape+" is no reason", func(t *testing.T) {
			l, err := list(t, hubtest.Fresh, origin, shape)
			wantError(t, err, source.KindBusy, csvRepo)
			if wait := source.AsError("", err).RetryAfter; wait < time.Hour || l.Reason != "" {
				t.Errorf("got a wait of %s and the reason %q", wait, l.Reason)
			}
		})
	}
}
