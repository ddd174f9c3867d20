package writertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

func TestAnAppendToNothingMakesADatasetSplit(t *testing.T) {
	r := newRig(t)
	j := r.job(writer.ModeAppend, nil)
	result := j.must(from(0, 4), from(4, 4))
	equal(t, "rows", r.read("main", "", ""), from(0, 8))
	equal(t, "result", []any{result.Rows, result.PathsTotal, result.Already, result.Atomic, result.Resolves, len(result.Commits)}, []any{int64(8), 2, false, true, true, 1})
	equal(t, "head", result.Head, r.head())
	for i, p := range r.paths() {
		if !strings.HasPrefix(p, fmt.Sprintf("data/train-%05d-of-00002-", i)) {
			t.Errorf("path %s", p)
		}
	}
}

func TestASecondAppendContinuesTheNumbersAndOnlyAdds(t *testing.T) {
	r := newRig(t)
	r.job(writer.ModeAppend, nil).must(from(0, 4), from(4, 4))
	before := r.paths()
	r.job(writer.ModeAppend, nil).must(from(8, 2))
	equal(t, "rows", r.read("main", "", ""), from(0, 10))
	equal(t, "old files", r.paths()[:2], before)
	if p := r.paths()[2]; !strings.HasPrefix(p, "data/train-00002-of-00003-") {
		t.Errorf("path %s", p)
	}
}

func TestOverwriteReplacesTheSplitAndLeavesTheOthers(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{
		"data/train-00000-of-00001.parquet":     parquetOf(t, 1, 2),
		"data/train_sft-00000-of-00001.parquet": parquetOf(t, 3, 4),
		"data/test-00000-of-00001.parquet":      parquetOf(t, 5),
	}))
	r.job(writer.ModeOverwrite, nil).must(from(10, 3))
	equal(t, "train", r.read("main", "", "train"), from(10, 3))
	equal(t, "train_sft", r.read("main", "", "train_sft"), []int64{3, 4})
	equal(t, "test", r.read("main", "", "test"), []int64{5})
}

func TestErrorIfExistsAndIgnoreAreDecidedByBegin(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"data/train-00000-of-00001.parquet": parquetOf(t, 1)}))
	wantKind(t, r.job(writer.ModeErrorIfExists, nil).Begin(), source.KindExists)
	j := r.job(writer.ModeIgnore, nil)
	if err := j.Begin(); err != nil || !j.base.Skip || j.base.Reason == "" {
		t.Fatalf("got %+v, %v", j.base, err)
	}
	// Another split of the same dataset is not there yet.
	r.job(writer.ModeErrorIfExists, to("", "test")).must(from(7, 2))
	equal(t, "test", r.read("main", "", "test"), from(7, 2))
	equal(t, "train", r.read("main", "", "train"), []int64{1})
}

func TestAnotherConfigIsListedBesideWhatResolvedBefore(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{
		"data/train-00000-of-00001.parquet": parquetOf(t, 1), "data/test-00000-of-00001.parquet": parquetOf(t, 2),
	}))
	r.job(writer.ModeAppend, to("gen", "")).must(from(10, 2))
	equal(t, "gen", r.read("main", "gen", ""), from(10, 2))
	equal(t, "default train", r.read("main", "", "train"), []int64{1})
	equal(t, "default test", r.read("main", "", "test"), []int64{2})
	r.job(writer.ModeAppend, to("gen", "")).must(from(12, 2))
	r.job(writer.ModeAppend, to("gen", "val")).must(from(20, 1))
	equal(t, "gen after an append", r.read("main", "gen", "train"), from(10, 4))
	equal(t, "gen val", r.read("main", "gen", "val"), []int64{20})
	r.job(writer.ModeOverwrite, to("gen", "")).must(from(30, 1))
	equal(t, "gen after an overwrite", r.read("main", "gen", "train"), []int64{30})
	equal(t, "default train in the end", r.read("main", "", "train"), []int64{1})
}

func TestAFirstConfigOfAnEmptyDatasetIsItsDefault(t *testing.T) {
	r := newRig(t)
	r.job(writer.ModeAppend, to("only", "")).must(from(0, 2))
	equal(t, "default", r.read("main", "", ""), from(0, 2))
	r.job(writer.ModeAppend, to("second", "")).must(from(5, 2))
	equal(t, "default stays", r.read("main", "", ""), from(0, 2))
	equal(t, "second", r.read("main", "second", ""), from(5, 2))
}

func TestAnAppendContinuesTheNamesThatAreThere(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string // a part of the new file's path
	}{
		{"parts", []string{"part-00000.parquet", "part-00001.parquet"}, "part-00002-"},
		{"one file named for its split", []string{"train.parquet"}, "train_00000-"},
		{"one file of any name", []string{"zebra.parquet"}, "zebra_00000-"},
		{"numbers without padding", []string{"train_8.parquet", "train_9.parquet"}, "train_"},
		{"a folder named for its split", []string{"train/a.parquet"}, "train/a_00000-"},
		{"shards at the root", []string{"train-00000-of-00001.parquet"}, "train-00001-of-00003-"},
		{"shards in data", []string{"data/train-00000-of-00001.parquet"}, "data/train-00001-of-00003-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{}
			for i, f := range c.files {
				files[f] = parquetOf(t, int64(i))
			}
			r := newRig(t, hubtest.Dataset(repo, files))
			old := r.read("main", "", "")
			result := r.job(writer.ModeAppend, nil).must(from(10, 2), from(12, 2))
			equal(t, "rows", r.read("main", "", ""), append(old, from(10, 4)...))
			if !result.Resolves {
				t.Error("the result says that nothing resolves")
			}
			found := false
			for _, p := range r.paths() {
				found = found || strings.HasPrefix(p, c.want)
			}
			if !found {
				t.Errorf("paths %v, want one that begins with %s", r.paths(), c.want)
			}
			// And once more, on top of our own names.
			r.job(writer.ModeAppend, nil).must(from(14, 2))
			equal(t, "rows after a second append", r.read("main", "", ""), append(old, from(10, 6)...))
		})
	}
}

func TestAnAppendFollowsTheReadmesPatterns(t *testing.T) {
	readme := "---\n# a comment\nlicense: mit\nconfigs:\n- config_name: plain_text\n  data_files:\n  - split: train\n    path: plain_text/train-*\n  - split: test\n    path: one.parquet\ntags: [a, b]\n---\n# Title\n"
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{
		"README.md": []byte(readme), "plain_text/train-00000-of-00001.parquet": parquetOf(t, 1), "one.parquet": parquetOf(t, 2),
	}))
	r.job(writer.ModeAppend, nil).must(from(10, 1))
	equal(t, "train", r.read("main", "", "train"), []int64{1, 10})
	text, err := r.hub.Read(repo, "main", "README.md")
	if err != nil || string(text) != readme {
		t.Fatalf("the README changed although its pattern finds the file: %s (%v)", text, err)
	}
	// A literal path does not find another file: the README has to say more.
	r.job(writer.ModeAppend, to("", "test")).must(from(20, 1))
	equal(t, "test", r.read("main", "", "test"), []int64{2, 20})
	r.job(writer.ModeOverwrite, to("", "test")).must(from(30, 1))
	equal(t, "test after overwrite", r.read("main", "", "test"), []int64{30})
	equal(t, "train in the end", r.read("main", "", "train"), []int64{1, 10})
	text, err = r.hub.Read(repo, "main", "README.md")
	if err != nil || !strings.HasPrefix(string(text), "---\n# a comment\nlicense: mit\n") || !strings.HasSuffix(string(text), "tags: [a, b]\n---\n# Title\n") {
		t.Errorf("the rest of the README changed: %s (%v)", text, err)
	}
}

func TestASplitThatKeywordsDoNotNameIsMadeExplicit(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"part-00000.parquet": parquetOf(t, 1), "part-00001.parquet": parquetOf(t, 2)}))
	r.job(writer.ModeAppend, to("", "extra")).must(from(10, 1))
	equal(t, "extra", r.read("main", "", "extra"), []int64{10})
	equal(t, "train", r.read("main", "", "train"), []int64{1, 2})
}

func TestWriteParquetIntoADirectory(t *testing.T) {
	r := newRig(t)
	result := r.job(writer.ModeReplace, parts("")).must(from(0, 2), from(2, 2), from(4, 2))
	equal(t, "paths", r.paths(), []string{"part-00000.parquet", "part-00001.parquet", "part-00002.parquet"})
	equal(t, "rows", r.read("main", "", ""), from(0, 6))
	equal(t, "resolves", result.Resolves, true)

	result = r.job(writer.ModeReplace, parts("")).must(from(10, 2))
	equal(t, "stale", result.Stale, []string{"part-00001.parquet", "part-00002.parquet"})
	equal(t, "rows with stale parts", r.read("main", "", ""), []int64{10, 11, 2, 3, 4, 5})
	if result.Hint == "" {
		t.Error("stale parts without a hint")
	}
	r.job(writer.ModeAppend, parts("")).must(from(20, 1))
	equal(t, "append continues", r.paths()[3], "part-00003.parquet")
	r.job(writer.ModeOverwrite, parts("")).must(from(30, 1), from(31, 1))
	equal(t, "overwrite deletes stale parts", r.paths(), []string{"part-00000.parquet", "part-00001.parquet"})
	equal(t, "rows in the end", r.read("main", "", ""), []int64{30, 31})
	wantKind(t, r.job(writer.ModeErrorIfExists, parts("")).Begin(), source.KindExists)
}

func TestWriteParquetToOneFile(t *testing.T) {
	r := newRig(t)
	file := func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingFile, "sub/data.parquet" }
	r.job(writer.ModeReplace, file).must(from(0, 9))
	r.job(writer.ModeReplace, file).must(from(5, 2))
	equal(t, "paths", r.paths(), []string{"sub/data.parquet"})
	equal(t, "rows", r.read("main", "", ""), from(5, 2))
	pq := r.job(writer.ModeReplace, func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingFile, "x.pq" })
	if result := pq.must(from(0, 1)); result.Resolves || result.Hint == "" {
		t.Errorf("a .pq file is found by no split, but the result is %+v", result)
	}
}

// TestOneFileIsOnePartition: a second one would take the first one's place.
func TestOneFileIsOnePartition(t *testing.T) {
	file := func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingFile, "one.parquet" }
	r := newRig(t)
	for _, make := range []func(writer.Mode, func(*writer.BeginRequest)) *job{r.job, r.local} {
		_, err := make(writer.ModeReplace, file).Run(from(0, 2), nil, from(2, 3))
		wantKind(t, err, source.KindInvalid)
		if err != nil && !strings.Contains(err.Error(), "partitions 0, 2") {
			t.Errorf("the partitions are not named: %v", err)
		}
		make(writer.ModeReplace, file).must(nil, from(2, 3))
	}
	equal(t, "rows", r.read("main", "", ""), from(2, 3))
	equal(t, "rows of the folder", r.readLocal("", ""), from(2, 3))
}

// TestAFileIsNotAppendedTo: begin says so, before a row is sent.
func TestAFileIsNotAppendedTo(t *testing.T) {
	r := newRig(t)
	file := func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingFile, "one.parquet" }
	r.job(writer.ModeAppend, file).must(from(0, 2))
	err := r.job(writer.ModeAppend, file).Begin()
	wantKind(t, err, source.KindExists)
	if !strings.Contains(err.Error(), "parts") {
		t.Errorf("the way out is not named: %v", err)
	}
}

func TestAPathInTheNameIsTheFolder(t *testing.T) {
	r := newRig(t)
	r.job(writer.ModeReplace, func(b *writer.BeginRequest) {
		b.Naming, b.Dataset = writer.NamingParts, "hf://datasets/"+repo+"/some/where"
	}).must(from(0, 1))
	equal(t, "paths", r.paths(), []string{"some/where/part-00000.parquet"})
}

func TestZeroRows(t *testing.T) {
	t.Run("an append of nothing commits nothing", func(t *testing.T) {
		r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"data/train-00000-of-00001.parquet": parquetOf(t, 1)}))
		head := r.head()
		result := r.job(writer.ModeAppend, nil).must(nil, nil)
		equal(t, "head", []string{r.head(), result.Head}, []string{head, head})
		equal(t, "commits", len(result.Commits), 0)
	})
	t.Run("an overwrite leaves one file with the schema", func(t *testing.T) {
		r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"data/train-00000-of-00001.parquet": parquetOf(t, 1)}))
		r.job(writer.ModeOverwrite, nil).must(nil, nil)
		equal(t, "files", len(r.paths()), 1)
		equal(t, "rows", len(r.read("main", "", "")), 0)
	})
	t.Run("so does write_parquet", func(t *testing.T) {
		r := newRig(t)
		r.job(writer.ModeReplace, parts("")).must(nil)
		equal(t, "files", r.paths(), []string{"part-00000.parquet"})
	})
	t.Run("empty partitions add no file", func(t *testing.T) {
		r := newRig(t)
		r.job(writer.ModeOverwrite, nil).must(nil, from(0, 2), nil, from(2, 2))
		equal(t, "files", len(r.paths()), 2)
		equal(t, "rows", r.read("main", "", ""), from(0, 4))
	})
	t.Run("an overwrite that staged nothing at all is refused", func(t *testing.T) {
		r := newRig(t)
		j := r.job(writer.ModeOverwrite, nil)
		_, err := j.Run()
		wantKind(t, err, source.KindInvalid)
	})
}

func TestPullRequestsCollectTheJob(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"data/train-00000-of-00001.parquet": parquetOf(t, 1)}))
	head := r.head()
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreatePR = true })
	result := j.must(from(10, 1))
	equal(t, "main", r.head(), head)
	if result.PR == 0 || j.base.Revision != writer.PRRevision(result.PR) {
		t.Fatalf("pr %d, revision %s", result.PR, j.base.Revision)
	}
	equal(t, "rows of the pull request", r.read(j.base.Revision, "", ""), []int64{1, 10})
	base := j.base
	if err := j.Begin(); err != nil || j.base.Revision != base.Revision {
		t.Errorf("a repeated begin opened %s, the first %s (%v)", j.base.Revision, base.Revision, err)
	}
}

func TestManyFilesAreChainedCommits(t *testing.T) {
	r := newRig(t)
	j := r.job(writer.ModeAppend, nil)
	var parts [][]int64
	for i := range int64(120) {
		parts = append(parts, from(i, 1))
	}
	var seen []string
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(parts...); err != nil {
		t.Fatal(err)
	}
	items := 0
	result, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
		if e.Progress != nil {
			seen = append(seen, fmt.Sprintf("%d/%d:%d", e.Progress.Index, e.Progress.Of, e.Progress.Operations))
		}
		if e.Item != nil {
			items++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "progress", seen, []string{"1/3:50", "2/3:50", "3/3:20"})
	equal(t, "items", items, 120)
	equal(t, "commits", len(result.Commits), 3)
	equal(t, "atomic", result.Atomic, false)
	equal(t, "rows", r.read("main", "", ""), from(0, 120))
	equal(t, "posts", r.posts(), 3)
}

func TestOneStreamCanBeAWholeJob(t *testing.T) {
	r := newRig(t)
	result, err := r.w.Write(t.Context(), r.token, writer.WriteRequest{V: 1, Op: "write", Job: "0190b5a0-0000-7000-8000-000000000000",
		Dataset: repo, Mode: writer.ModeAppend, CreateRepo: true}, rows(from(0, 10)...), nil, nil)
	if err != nil || result.Rows != 10 {
		t.Fatal(result, err)
	}
	equal(t, "rows", r.read("main", "", ""), from(0, 10))
}

// TestAStreamWhoseRowsAreNotWantedIsReadToItsEnd: a client may send all of them before it
// asks for the answer.
func TestAStreamWhoseRowsAreNotWantedIsReadToItsEnd(t *testing.T) {
	r := newRig(t, oldData(t))
	head, in := r.head(), rows(from(20, 10)...)
	result, err := r.w.Write(t.Context(), r.token, writer.WriteRequest{V: 1, Op: "write", Job: "0190b5a0-0000-7000-8000-000000000001",
		Dataset: repo, Mode: writer.ModeIgnore}, in, nil, nil)
	if err != nil || result.Rows != 0 || result.Hint == "" || len(in.recs) != 0 {
		t.Errorf("got %+v, %v, and %d batches are left", result, err, len(in.recs))
	}
	equal(t, "head", r.head(), head)
}
