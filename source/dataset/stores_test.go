package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/localfs"
)

// readAll plans and reads everything, and returns the column id.
func readAll(t *testing.T, p *Planner, r Request) (*Plan, []int64) {
	t.Helper()
	plan := mustPlan(t, p, r)
	var got []int64
	for _, part := range plan.Partitions {
		part.File.At = source.Snapshot{} // as a ticket brings it
		got = append(got, idsOf(t, p, part, 0, -1)...)
	}
	return plan, got
}

func TestALocalFolderIsReadLikeARepository(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range flightFiles(t) {
		full := filepath.Join(dir, "flights", path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots, err := localfs.NewRoots([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	defer roots.Close()
	p := NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, _ source.HubToken) (source.Store, error) {
		return roots.Store(ref)
	}})
	r := Request{Ref: source.Ref{Dir: filepath.Join(dir, "flights")}, Limit: -1}
	plan, got := readAll(t, p, r)
	if !slices.Equal(got, between(0, 300)) || plan.Facts.Source != SourceLocal || plan.Facts.Sha == "" {
		t.Errorf("got %d rows, facts %+v", len(got), plan.Facts)
	}
	t.Run("a file that was restored with its times", func(t *testing.T) {
		path := filepath.Join(dir, "flights", plan.Partitions[0].File.Path)
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path+".new", content, 0o600), os.Chtimes(path+".new", before.ModTime(), before.ModTime()), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
		// Whoever is told to plan again is not told so for ever.
		_, err = p.Read(t.Context(), ReadParams{Partition: mustPlan(t, p, r).Partitions[0], Stop: -1})
		wantError(t, err, source.KindChanged, "plan again")
		if again, got := readAll(t, p, r); !slices.Equal(got, between(0, 300)) || again.Facts.Sha != plan.Facts.Sha {
			t.Errorf("got %d rows, facts %+v", len(got), again.Facts)
		}
	})
	t.Run("a file that changed since the plan", func(t *testing.T) {
		path := filepath.Join(dir, "flights", plan.Partitions[0].File.Path)
		if err := os.WriteFile(path, flights(t, 5000, 50, 20), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := p.Read(t.Context(), ReadParams{Partition: plan.Partitions[0], Stop: -1})
		wantError(t, err, source.KindChanged, plan.Partitions[0].File.Path)
		if strings.Count(err.Error(), dir) > strings.Count(err.Error(), "file://"+dir) {
			t.Errorf("the error shows a path of the server: %v", err)
		}
	})
	t.Run("a conversion is no thing of folders", func(t *testing.T) {
		r := r
		r.Conversion = ConversionAlways
		_, err := p.Plan(t.Context(), source.HubToken{}, r)
		wantError(t, err, source.KindInvalid, "local folder")
	})
}

func TestARepositoryOfTheEmbeddedHubIsRead(t *testing.T) {
	run := hubtest.New(t, hubtest.Dataset(repo, flightFiles(t)), hubtest.PageSize(3),
		hubtest.Dataset("demo/csv", map[string][]byte{"a.csv": []byte("id\n1\n")}), hubtest.At("demo/csv", source.ConvertedRevision, convertedFiles(t)))
	client, err := hub.New(hub.Options{Endpoint: run.HubURL, AllowPrivateCDN: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
	plan, got := readAll(t, p, request(t))
	if !slices.Equal(got, between(0, 300)) || plan.Facts.Source != SourceNative || plan.Revision != "main" || len(plan.Facts.Sha) != 40 {
		t.Errorf("got %d rows, revision %s, facts %+v", len(got), plan.Revision, plan.Facts)
	}
	t.Run("a pinned commit is planned without asking for it", func(t *testing.T) {
		r := request(t)
		r.Ref.Revision = plan.Facts.Sha
		again := mustPlan(t, p, r)
		if !sameSchema(again.Schema, plan.Schema) || !slices.Equal(paths(again), paths(plan)) {
			t.Errorf("got %s and %q", again.Schema, paths(again))
		}
	})
	t.Run("a conversion", func(t *testing.T) {
		r := Request{Ref: source.Ref{Repo: "demo/csv"}, Limit: -1, Conversion: ConversionAlways}
		if plan, got := readAll(t, p, r); !slices.Equal(got, between(0, 20)) || plan.Facts.Source != SourceConverted {
			t.Errorf("got %v, facts %+v", got, plan.Facts)
		}
	})
	t.Run("a repository that is not there", func(t *testing.T) {
		_, err := p.Plan(t.Context(), source.HubToken{}, Request{Ref: source.Ref{Repo: "demo/none"}, Limit: -1})
		if kind := source.KindOf(err); kind != source.KindNotFound && kind != source.KindUnauthenticated {
			t.Errorf("got %v", err)
		}
	})
}
