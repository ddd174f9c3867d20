package dataset

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// tag names what main of a repository on an embedded Hub is; with a message it is an annotated tag.
func tag(t *testing.T, run *hubtest.Running, repo, name, message string) {
	t.Helper()
	body := fmt.Sprintf(`{"tag":%q,"message":%q}`, name, message)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, run.HubURL+"/api/datasets/"+repo+"/tag/main", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("making the tag %s: %s", name, answer.Status)
	}
}

// TestEveryKindOfRevisionIsReadAsItStands gives each revision of a repository rows of its own.
func TestEveryKindOfRevisionIsReadAsItStands(t *testing.T) {
	const file = "data/train-00000-of-00001.parquet"
	at := func(first int) map[string][]byte { return map[string][]byte{file: flights(t, first, 10, 5)} }
	run := hubtest.New(t, hubtest.Dataset(repo, at(100)))
	old, err := run.Head(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	tag(t, run, repo, "v1.0", "the first one")
	tag(t, run, repo, "release/2024", "")
	for first, revision := range map[int]string{200: "dev", 300: "exp/long/name", 400: "refs/pr/7", 500: "main"} {
		if _, err := run.Commit(repo, revision, hubtest.Change{Add: at(first)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Commit(repo, source.ConvertedRevision, hubtest.Change{Add: map[string][]byte{"default/train/0000.parquet": flights(t, 600, 10, 5)}}); err != nil {
		t.Fatal(err)
	}
	client, err := hub.New(hub.Options{Endpoint: run.HubURL, AllowPrivateCDN: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fresh := func() *Planner {
		return NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
			return client.Dataset(ref.Repo, token), nil
		}})
	}
	p := fresh()
	for _, c := range []struct {
		revision, written string // written is what stands after the @ of a name
		first             int64
		source            string
	}{
		{"", "", 500, SourceNative},
		{"main", "main", 500, SourceNative},
		{"refs/heads/main", "refs%2Fheads%2Fmain", 500, SourceNative},
		{"dev", "dev", 200, SourceNative},
		{"exp/long/name", "exp%2Flong%2Fname", 300, SourceNative},
		{"v1.0", "v1.0", 100, SourceNative},
		{"release/2024", "release%2F2024", 100, SourceNative},
		{old, old, 100, SourceNative},
		{"refs/pr/7", "refs/pr/7", 400, SourceNative},
		{source.ConvertedRevision, source.ConvertedRevision, 600, SourceConverted},
	} {
		t.Run("revision="+c.revision, func(t *testing.T) {
			name := repo
			if c.written != "" {
				name += "@" + c.written
			}
			ref, err := source.ParseRef(name)
			if err != nil || ref.Revision != c.revision {
				t.Fatalf("%s names revision %q, %v", name, ref.Revision, err)
			}
			want, err := run.Head(repo, cmp.Or(c.revision, "main"))
			if err != nil {
				t.Fatal(err)
			}
			plan, got := readAll(t, p, Request{Ref: ref, Limit: -1})
			if !slices.Equal(got, between(c.first, c.first+10)) {
				t.Errorf("got rows %v", got)
			}
			if f := plan.Facts; f.DataSha != want || f.Source != c.source || (c.revision != "" && plan.Revision != c.revision) {
				t.Errorf("revision %q at %s: facts %+v", plan.Revision, want, f)
			}
			// The tickets hold commits, not names: a replica that has never heard of the revision reads the same.
			var again []int64
			for _, part := range plan.Partitions {
				part.File.At = source.Snapshot{}
				again = append(again, idsOf(t, fresh(), part, 0, -1)...)
			}
			if !slices.Equal(again, got) {
				t.Errorf("another server reads %v", again)
			}
		})
	}
	for _, revision := range []string{"v2.0", "exp", "exp/long", "refs/pr/8", "refs/heads/none", "release", strings.Repeat("0", 40)} {
		_, err := p.Plan(t.Context(), source.HubToken{}, Request{Ref: source.Ref{Repo: repo, Revision: revision}, Limit: -1})
		wantError(t, err, source.KindNotFound, revision[:min(8, len(revision))])
	}
	t.Run("a plan stays what it was when its branch moves on", func(t *testing.T) {
		r := Request{Ref: source.Ref{Repo: repo, Revision: "exp/long/name"}, Limit: -1}
		plan := mustPlan(t, p, r)
		if _, err := run.Commit(repo, "exp/long/name", hubtest.Change{Add: at(700)}); err != nil {
			t.Fatal(err)
		}
		if got := idsOf(t, p, plan.Partitions[0], 0, -1); !slices.Equal(got, between(300, 310)) {
			t.Errorf("got rows %v", got)
		}
		if _, got := readAll(t, fresh(), r); !slices.Equal(got, between(700, 710)) {
			t.Errorf("a new plan reads rows %v", got)
		}
	})
}

// The datasets library reads the commit that an address names, beside the one that is asked for. Here there is one commit, so an address
// of another is refused.
func TestAnAddressInDataFilesIsReadAtItsRevisionOrRefused(t *testing.T) {
	const repo, card = "org/addressed", "---\nconfigs:\n- config_name: default\n  data_files: hf://datasets/org/addressed@main/data/*.parquet\n---\n"
	run := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"data/train.parquet": flights(t, 0, 3, 3), readmeName: []byte(card)}))
	old, err := run.Head(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	tag(t, run, repo, "v1.0", "the first one")
	if _, err := run.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"data/train.parquet": flights(t, 1000, 3, 3)}}); err != nil {
		t.Fatal(err)
	}
	head, err := run.Head(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	p := replica(t, run)
	for _, c := range []struct {
		revision, address string
		first             int64 // -1: refused
	}{
		{"", "", 1000}, {"", "@main", 1000}, {"", "@" + head, 1000}, {"main", "@main", 1000}, {"main", "@refs%2Fheads%2Fmain", 1000},
		{head, "@main", 1000}, {head, "", 1000}, // as a client asks that has pinned what main was
		{"v1.0", "@v1.0", 0}, {"v1.0", "@" + old, 0}, {old, "@v1.0", 0},
		{"", "@v1.0", -1}, {"", "@" + old, -1}, {"v1.0", "@main", -1}, {"", "@nowhere", -1}, {old, "@main", -1},
	} {
		t.Run(fmt.Sprintf("%s of revision=%s", c.address, c.revision), func(t *testing.T) {
			r := Request{Ref: source.Ref{Repo: repo, Revision: c.revision}, Limit: -1, DataFiles: newDataFiles("hf://datasets/" + repo + c.address + "/data/train.parquet")}
			if c.first < 0 {
				_, err := p.Plan(t.Context(), source.HubToken{}, r)
				wantError(t, err, source.KindInvalid, fmt.Sprintf("read it with revision=%q", c.address[1:]))
				return
			}
			if _, got := readAll(t, p, r); !slices.Equal(got, between(c.first, c.first+3)) {
				t.Errorf("got rows %v, want them from %d on", got, c.first)
			}
		})
	}
	t.Run("in a README", func(t *testing.T) {
		for _, revision := range []string{"", head} {
			if _, got := readAll(t, p, Request{Ref: source.Ref{Repo: repo, Revision: revision}, Limit: -1}); !slices.Equal(got, between(1000, 1003)) {
				t.Errorf("got rows %v of revision %q", got, revision)
			}
		}
		_, err := p.Plan(t.Context(), source.HubToken{}, Request{Ref: source.Ref{Repo: repo, Revision: "v1.0"}, Limit: -1})
		wantError(t, err, source.KindInvalid, `names revision "main", and the dataset is read at revision "v1.0"`)
	})
}
