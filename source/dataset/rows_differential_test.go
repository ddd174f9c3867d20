package dataset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset/datasetslib"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// libraryRows is what the datasets library reads of a config: Answers has one entry per split that was asked for.
type libraryRows struct {
	Error   string
	Answers []struct {
		IDs   map[string][]int64 `json:"ids"`
		Error string
	}
}

// TestASplitOfARevisionHasTheRowsOfTheDatasetsLibrary reads real files with both, so that the meaning of split (one, all of them, none
// named, a name that is not there) and of revision is compared by rows. Slices and sums are refused here, on purpose.
func TestASplitOfARevisionHasTheRowsOfTheDatasetsLibrary(t *testing.T) {
	datasetslib.Python(t)
	const several, cards, lone = "org/several", "org/cards", "org/lone"
	at := func(first int) map[string][]byte {
		return map[string][]byte{
			"data/validation-00000-of-00001.parquet": flights(t, first+300, 5, 5),
			"data/train-00001-of-00002.parquet":      flights(t, first+10, 10, 5),
			"data/train-00000-of-00002.parquet":      flights(t, first, 10, 5),
			"data/test-00000-of-00001.parquet":       flights(t, first+200, 5, 5),
		}
	}
	card := front("configs:\n", configEntry("en", "  default: true\n", "test=en/test-*", "train=en/train-*"), configEntry("fr", "", "held_out=fr/*"))
	run := hubtest.New(t, hubtest.Dataset(several, at(0)),
		hubtest.Dataset(cards, map[string][]byte{readmeName: []byte(card), "en/train-0.parquet": flights(t, 0, 4, 2), "en/test-0.parquet": flights(t, 10, 4, 2), "fr/a.parquet": flights(t, 20, 4, 2)}),
		hubtest.Dataset(lone, map[string][]byte{"test.parquet": flights(t, 0, 4, 2)}))
	old, err := run.Head(several, "main")
	if err != nil {
		t.Fatal(err)
	}
	tag(t, run, several, "v1.0", "the first one")
	for first, revision := range map[int]string{1000: "exp/long", 2000: "refs/pr/4", 3000: "main"} {
		if _, err := run.Commit(several, revision, hubtest.Change{Add: at(first)}); err != nil {
			t.Fatal(err)
		}
	}
	splits := []any{nil, "train", "test", "validation", "all", "nothing", "train+test", "train[:50%]"}
	var questions []map[string]any
	for _, revision := range []string{"", "main", "exp/long", "v1.0", old, "refs/pr/4", "nowhere"} {
		q := map[string]any{"repo": several, "splits": splits}
		if revision != "" {
			q["revision"] = revision
		}
		questions = append(questions, q)
	}
	for _, config := range []string{"", "en", "fr", "nope"} {
		q := map[string]any{"repo": cards, "splits": []any{nil, "train", "test", "held_out", "all"}}
		if config != "" {
			q["config"] = config
		}
		questions = append(questions, q)
	}
	questions = append(questions, map[string]any{"repo": lone, "splits": []any{nil, "train", "test", "all"}})

	theirs := datasetslib.Ask[libraryRows](t, "testdata/rows.py", run.HubURL, questions)
	client, err := hub.New(hub.Options{Endpoint: run.HubURL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
	for i, q := range questions {
		for k, split := range q["splits"].([]any) {
			name := fmt.Sprintf("%v config=%v revision=%v split=%v", q["repo"], q["config"], q["revision"], split)
			r := Request{Ref: source.Ref{Repo: q["repo"].(string)}, Limit: -1}
			r.Ref.Revision, _ = q["revision"].(string)
			r.Config, _ = q["config"].(string)
			r.Split, _ = split.(string)
			want, readable := rowsWanted(theirs[i], k, r.Split)
			plan, err := p.Plan(t.Context(), source.HubToken{}, r)
			if !readable {
				if err == nil || source.KindOf(err) == source.KindInternal {
					t.Errorf("%s: got %v; the library says %s", name, err, theirs[i].Error)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v; the library reads %v", name, err, want)
				continue
			}
			var got []int64
			for _, part := range plan.Partitions {
				got = append(got, idsOf(t, p, part, 0, -1)...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got rows %v, the library reads %v", name, got, want)
			}
		}
	}
}

// rowsWanted is what the library's answer says that we must read. Without a split it gives all of them by name; we give train, else the
// only one, and ask which otherwise.
func rowsWanted(theirs libraryRows, k int, split string) (ids []int64, readable bool) {
	if theirs.Error != "" || theirs.Answers[k].Error != "" || strings.ContainsAny(split, "[+") {
		return nil, false
	}
	by := theirs.Answers[k].IDs
	if split != "" {
		return by[""], true
	}
	if ids, ok := by[defaultSplit]; ok {
		return ids, true
	}
	for _, ids := range by {
		return ids, len(by) == 1
	}
	return nil, false
}
