package writertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

func replacing(b *writer.BeginRequest) { b.ReplaceFormat = true }

// csvRepos are datasets whose default config is CSV.
var csvRepos = map[string]map[string]string{
	"no README":    {"train.csv": "id\n1\n", "test.csv": "id\n2\n"},
	"in data":      {"data/train-00000-of-00002.csv": "id\n1\n", "data/train-00001-of-00002.csv": "id\n1\n", "data/test-00000-of-00001.csv": "id\n2\n"},
	"with options": {"a/x.csv": "id\n1\n", "a/y.csv": "id\n2\n", "README.md": "---\nconfigs:\n- config_name: main\n  default: true\n  sep: ';'\n  data_files:\n  - split: train\n    path: a/x*.csv\n  - split: test\n    path: a/y.csv\n- config_name: other\n  data_files: o/*\n---\n# Title\n", "o/z.parquet": ""},
}

func csvRepo(t *testing.T, files map[string]string) hubtest.Option {
	out := map[string][]byte{"notes.md": []byte("kept")}
	for name, text := range files {
		if out[name] = []byte(text); text == "" {
			out[name] = parquetOf(t, 7)
		}
	}
	return hubtest.Dataset(repo, out)
}

func TestAConfigOfAnotherFormatIsRefusedUnlessItIsReplaced(t *testing.T) {
	t.Parallel()
	for name, files := range csvRepos {
		for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
			r := newRig(t, csvRepo(t, files))
			wantKind(t, r.job(mode, nil).Begin(), source.KindUnsupported)
			wantKind(t, r.job(writer.ModeErrorIfExists, replacing).Begin(), source.KindExists)
			for _, perCommit := range []int{50, 1} {
				t.Run(fmt.Sprintf("%s %s by %d", name, mode, perCommit), func(t *testing.T) { replaceCSV(t, files, mode, perCommit) })
			}
		}
	}
}

func replaceCSV(t *testing.T, files map[string]string, mode writer.Mode, perCommit int) {
	t.Helper()
	r := newRig(t, csvRepo(t, files))
	result := r.job(mode, replacing).perCommit(perCommit).must([]int64{10}, []int64{11})
	equal(t, "atomic, resolves", []bool{result.Atomic, result.Resolves}, []bool{true, true})
	equal(t, "rows", r.read("main", "", ""), []int64{10, 11})
	native := func(commit string) (n int) {
		paths, err := r.hub.Paths(repo, commit)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if strings.HasSuffix(p, ".csv") {
				n++
			}
		}
		return n
	}
	equal(t, "native files", native("main"), 0)
	for _, commit := range result.Commits {
		_, splits, err := r.layout(commit).Choose("", "")
		switch {
		case err != nil && source.KindOf(err) != source.KindUnsupported:
			t.Errorf("commit %s: %v", commit, err)
		case err == nil && (len(splits) != 1 || splits[0].Name != "train" || len(splits[0].Files) != 2):
			t.Errorf("commit %s: splits %v", commit, splits)
		}
	}
	if _, other := files["o/z.parquet"]; other {
		equal(t, "the other config", r.read("main", "other", ""), []int64{7})
		card, err := r.hub.Read(repo, "main", "README.md")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(card), "sep:") || !strings.Contains(string(card), "# Title") || !strings.Contains(string(card), "default: true") {
			t.Errorf("card:\n%s", card)
		}
	}
	again := r.job(writer.ModeAppend, nil)
	again.must([]int64{12})
	equal(t, "rows after an append", r.read("main", "", ""), from(10, 3))
}

func TestFilesOfAnotherFormatThatAnotherConfigReadsAreNotReplaced(t *testing.T) {
	r := newRig(t, csvRepo(t, map[string]string{"a/x.csv": "id\n1\n", "README.md": "---\nconfigs:\n- config_name: one\n  default: true\n  data_files: a/*.csv\n- config_name: two\n  data_files: a/x.csv\n---\n"}))
	j := r.job(writer.ModeOverwrite, replacing)
	_, err := j.Run([]int64{10})
	wantKind(t, err, source.KindInvalid)
	if !strings.Contains(err.Error(), "two") {
		t.Errorf("the other config is not named: %v", err)
	}
}

func TestALocalFolderOfAnotherFormatIsReplaced(t *testing.T) {
	r := newLocalRig(t)
	r.seed(map[string][]byte{"train.csv": []byte("id\n1\n"), "test.csv": []byte("id\n2\n")})
	result := r.local(writer.ModeAppend, replacing).must([]int64{10}, []int64{11})
	equal(t, "resolves", result.Resolves, true)
	got, _ := r.content()
	equal(t, "content", got, content{"default": {"train": {10, 11}}})
}
