package writertest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

func bySwitch(b *writer.BeginRequest) { b.Publish = writer.PublishSwitch }

// perCommit limits the operations of a commit.
func (j *job) perCommit(n int) *job {
	j.maxOps = &n
	return j
}

// switchCard is a card whose numbers have to stay true.
const switchCard = "---\nlicense: mit # ours\ndataset_info:\n  splits:\n  - name: train\n    num_bytes: 50\n    num_examples: 5\n  - name: test\n    num_bytes: 10\n    num_examples: 1\n  download_size: 5000\n  dataset_size: 60\n---\n# Title\n"

// switchRepos are datasets by what their README says.
func switchRepos(t *testing.T) map[string]map[string][]byte {
	files := func(card string) map[string][]byte {
		out := map[string][]byte{"data/test-00000-of-00001.parquet": parquetOf(t, 9)}
		for i := range 5 {
			out[fmt.Sprintf("data/train-%05d-of-00005.parquet", i)] = parquetOf(t, int64(i))
		}
		if card != "" {
			out["README.md"] = []byte(card)
		}
		return out
	}
	configs := func(train string) string {
		return "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: " + train + "\n  - split: test\n    path: data/test-*\n---\n"
	}
	return map[string]map[string][]byte{
		"no README":                files(""),
		"numbers":                  files(switchCard),
		"explicit configs":         files(configs("data/train-*")),
		"configs that find us too": files(configs("'**/train-*'")),
	}
}

// TestAReaderOfASwitchedJobSeesTheOldOrTheNewState samples every commit.
func TestAReaderOfASwitchedJobSeesTheOldOrTheNewState(t *testing.T) {
	t.Parallel()
	for name, files := range switchRepos(t) {
		for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				r := newRig(t, hubtest.Dataset(repo, files))
				old, fresh := from(0, 5), append(from(0, 5), 10, 11, 12)
				if mode == writer.ModeOverwrite {
					fresh = []int64{10, 11, 12}
				}
				j := r.job(mode, bySwitch).perCommit(2)
				result := j.must([]int64{10}, []int64{11}, []int64{12})
				equal(t, "atomic, resolves", []bool{result.Atomic, result.Resolves}, []bool{true, true})
				switches := 0
				last := old
				for _, commit := range result.Commits {
					got := r.read(commit, "", "train")
					if !slices.Equal(got, last) {
						switches++
						last = got
						equal(t, "new state", got, fresh)
					}
					equal(t, "the other split", r.read(commit, "", "test"), []int64{9})
				}
				equal(t, "switches", switches, 1)
				if mode == writer.ModeOverwrite {
					equal(t, "files", len(r.paths()), 4)
				}
				// What is there now can be written to in every other way.
				r.job(writer.ModeAppend, nil).must([]int64{20})
				equal(t, "an append", r.read("main", "", "train"), append(slices.Clone(fresh), 20))
				r.job(writer.ModeAppend, bySwitch).perCommit(1).must([]int64{30}, []int64{31})
				equal(t, "another switch", r.read("main", "", "train"), append(slices.Clone(fresh), 20, 30, 31))
				r.job(writer.ModeOverwrite, nil).must([]int64{40})
				equal(t, "an overwrite", r.read("main", "", "train"), []int64{40})
			})
		}
	}
}

func TestASwitchKeepsTheCardsNumbersTrue(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["numbers"]))
	result := r.job(writer.ModeOverwrite, bySwitch).perCommit(2).must([]int64{10}, []int64{11}, []int64{12})
	for i, commit := range result.Commits {
		raw, err := r.hub.Read(repo, commit, "README.md")
		if err != nil {
			t.Fatal(err)
		}
		card, rows := string(raw), len(r.read(commit, "", "train"))
		for _, want := range []string{fmt.Sprintf("num_examples: %d\n", rows), "num_examples: 1\n", "license: mit # ours\n", "# Title\n"} {
			if !strings.Contains(card, want) {
				t.Errorf("commit %d: the card has no %q:\n%s", i, want, card)
			}
		}
	}
}

func TestASwitchIntoAnEmptyDatasetShowsNothingBeforeIt(t *testing.T) {
	for _, target := range [][2]string{{"", ""}, {"gen", ""}, {"", "test"}} {
		r := newRig(t)
		j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { bySwitch(b); to(target[0], target[1])(b) }).perCommit(1)
		result := j.must([]int64{10}, []int64{11})
		for _, commit := range result.Commits[:3] {
			equal(t, "before the switch", r.read(commit, target[0], target[1]), nil)
		}
		equal(t, "commits", len(result.Commits), 4)
		equal(t, "rows", r.read("main", target[0], target[1]), []int64{10, 11})
		equal(t, "default", r.read("main", "", target[1]), []int64{10, 11})
	}
}

func TestASwitchIntoANewConfigLeavesTheOthers(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["no README"]))
	result := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { bySwitch(b); to("gen", "")(b) }).perCommit(1).must([]int64{10}, []int64{11})
	for _, commit := range result.Commits {
		equal(t, "default train", r.read(commit, "", "train"), from(0, 5))
	}
	equal(t, "gen", r.read("main", "gen", "train"), []int64{10, 11})
}

func TestASwitchOfOneCommitIsOneCommit(t *testing.T) {
	r := newRig(t, oldData(t))
	result := r.job(writer.ModeOverwrite, bySwitch).must([]int64{10})
	equal(t, "commits and atomic", []any{len(result.Commits), result.Atomic}, []any{1, true})
	if p := r.paths(); len(p) != 1 || !strings.HasPrefix(p[0], "data/train-00000-of-00001-") {
		t.Errorf("paths %v", p)
	}
}

// TestASwitchThatStopsAnywhereLeavesTheOldOrTheNewState: the driver dies after
// every commit; another replica continues.
func TestASwitchThatStopsAnywhereLeavesTheOldOrTheNewState(t *testing.T) {
	t.Parallel()
	for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
		for stop := 1; ; stop++ {
			r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["numbers"]))
			j := r.job(mode, bySwitch).perCommit(2)
			old, fresh := from(0, 5), append(from(0, 5), 10, 11, 12)
			if mode == writer.ModeOverwrite {
				fresh = []int64{10, 11, 12}
			}
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			commits := 0
			_, err := j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
				if e.Progress != nil {
					if commits++; commits == stop {
						cancel()
					}
				}
			})
			cancel()
			where := fmt.Sprintf("%s stopped after commit %d", mode, stop)
			if got := r.read("main", "", "train"); !slices.Equal(got, old) && !slices.Equal(got, fresh) {
				t.Errorf("%s: rows %v", where, got)
			}
			// Somebody else's commit in between changes nothing.
			if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"notes.md": []byte("x")}}); err != nil {
				t.Fatal(err)
			}
			j.w = r.newWriter(0)
			again, againErr := j.Commit()
			if againErr != nil {
				t.Fatal(where, againErr)
			}
			equal(t, where+": atomic", again.Atomic, true)
			equal(t, where+": rows in the end", r.read("main", "", "train"), fresh)
			want := 4 // the test split and the job's
			if mode == writer.ModeAppend {
				want = 9
			}
			equal(t, where+": files in the end", len(r.paths())-1, want) // notes.md
			if err == nil {
				break
			}
		}
	}
}

// TestASwitchMeetsOtherWriters: foreign commits land between the steps.
func TestASwitchMeetsOtherWriters(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 6; at++ {
		r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["no README"]))
		j := r.job(writer.ModeOverwrite, bySwitch).perCommit(2)
		if err := j.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
			t.Fatal(err)
		}
		commits := 0
		_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
			if e.Progress == nil {
				return
			}
			if commits++; commits != at {
				return
			}
			other := r.job(writer.ModeAppend, nil)
			other.w = r.newWriter(0)
			if _, err := other.Run([]int64{50}); err != nil {
				t.Error(err)
			}
		})
		if err != nil && source.KindOf(err) != source.KindConflict {
			t.Fatal(err)
		}
		got := r.read("main", "", "train")
		if !slices.Equal(got, []int64{10, 11, 12}) && !slices.Equal(got, []int64{10, 11, 12, 50}) {
			t.Errorf("foreign commit after %d of ours: rows %v (%v)", at, got, err)
		}
		equal(t, "the other split", r.read("main", "", "test"), []int64{9})
	}
}

func TestASwitchThatSomebodyUndidIsAConflict(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["no README"]))
	j := r.job(writer.ModeOverwrite, bySwitch).perCommit(2)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
		t.Fatal(err)
	}
	undone := false
	_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
		if undone || len(r.read("main", "", "train")) == 5 {
			return
		}
		undone = true
		card, err := r.hub.Read(repo, j.base.Base, "README.md")
		if err != nil {
			card = []byte("# nothing\n")
		}
		if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"README.md": card}}); err != nil {
			t.Error(err)
		}
	})
	wantKind(t, err, source.KindConflict)
}

// Behind the switch the job deletes the old files: not one that somebody has given another content
// since, and not one that somebody reads.
func TestAnOldFileThatSomebodyHasTakenSinceTheSwitchStays(t *testing.T) {
	const last = "data/train-00004-of-00005.parquet" // it is deleted last
	for name, take := range map[string]func(card []byte) map[string][]byte{
		"another content": func([]byte) map[string][]byte { return map[string][]byte{last: parquetOf(t, 77)} },
		"another config": func(card []byte) map[string][]byte {
			head, configs, ok := bytes.Cut(card, []byte("configs:\n"))
			indent, _, _ := bytes.Cut(configs, []byte("- "))
			if !ok {
				t.Errorf("the card has no configs: %s", card)
			}
			kept := fmt.Sprintf("configs:\n%[1]s- config_name: kept\n%[1]s  data_files: %[2]s\n", indent, last)
			return map[string][]byte{"README.md": slices.Concat(head, []byte(kept), configs)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, hubtest.Dataset(repo, switchRepos(t)["explicit configs"]))
			j := r.job(writer.ModeOverwrite, bySwitch).perCommit(2)
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}); err != nil {
				t.Fatal(err)
			}
			var want []byte
			_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
				if want != nil || e.Progress == nil || !slices.Equal(r.read("main", "", "train"), []int64{10, 11, 12}) {
					return
				}
				card, err := r.hub.Read(repo, "main", "README.md")
				if err != nil {
					t.Error(err)
				}
				if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: take(card)}); err != nil {
					t.Error(err)
				}
				if want, err = r.hub.Read(repo, "main", last); err != nil {
					t.Error(err)
				}
			})
			if err != nil || want == nil {
				t.Fatalf("%v; %d bytes are taken", err, len(want))
			}
			for i := range 5 {
				path := fmt.Sprintf("data/train-%05d-of-00005.parquet", i)
				got, err := r.hub.Read(repo, "main", path)
				if (path == last) != (err == nil) || path == last && !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", path, len(got), err)
				}
			}
			equal(t, "rows", r.read("main", "", "train"), []int64{10, 11, 12})
		})
	}
}

func TestNamesThatTheCallerChoseAreNotSwitched(t *testing.T) {
	r := newRig(t)
	wantKind(t, r.job(writer.ModeOverwrite, func(b *writer.BeginRequest) { parts("x")(b); bySwitch(b) }).Begin(), source.KindInvalid)
	wantKind(t, r.job(writer.ModeOverwrite, func(b *writer.BeginRequest) { parts("x")(b); b.ReplaceFormat = true }).Begin(), source.KindInvalid)
	equal(t, "requests", len(slices.DeleteFunc(r.hub.Requests(), func(q hubtest.Request) bool { return q.Method != http.MethodPost })), 0)
}
