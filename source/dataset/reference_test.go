package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"
)

// referenceScript makes each tree in a folder and asks the datasets library for
// its configs, splits and files, as its own factory for local folders does.
const referenceScript = `
import json, os, sys, tempfile
os.environ["HF_HUB_OFFLINE"] = "1"
import logging; logging.disable(logging.CRITICAL)
from datasets.load import LocalDatasetModuleFactory
from datasets.data_files import DataFilesDict, DataFilesPatternsDict

def lists(d, base):
    return [[str(k), list(dict.fromkeys(os.path.relpath(p, base) for p in v))] for k, v in d.items()]

def ask(case):
    with tempfile.TemporaryDirectory(prefix="tree") as base:
        base = os.path.realpath(base)
        for p, text in case["files"].items():
            full = os.path.join(base, p)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
        try:
            m = LocalDatasetModuleFactory(base, data_dir=case.get("data_dir"), data_files=case.get("data_files")).get_module()
            bp = m.builder_configs_parameters
            out = []
            for c in bp.builder_configs:
                files = m.builder_kwargs.get("data_files", c.data_files)
                root = os.path.join(base, c.data_dir) if c.data_dir else base
                if isinstance(files, DataFilesPatternsDict):
                    files = files.resolve(root)
                out.append([c.name, lists(files, base)])
            return {"module": m.module_path.split(".")[-1], "configs": out, "default": bp.default_config_name}
        except Exception as e:
            return {"error": type(e).__name__ + ": " + str(e)}

json.dump([ask(c) for c in json.load(sys.stdin)], sys.stdout)
`

type referenceCase struct {
	Name      string            `json:"name"`
	Files     map[string]string `json:"files"`
	DataDir   string            `json:"data_dir,omitempty"`
	DataFiles json.RawMessage   `json:"data_files,omitempty"`
}

type referenceAnswer struct {
	Module  string              `json:"module"`
	Configs [][]json.RawMessage `json:"configs"`
	Default *string             `json:"default"`
	Error   string              `json:"error"`
}

// tree is the case as Resolve sees it.
func (c referenceCase) tree() Tree {
	var paths []string
	for p := range c.Files {
		paths = append(paths, p)
	}
	t := treeOf("", paths...)
	if text, ok := c.Files[readmeName]; ok {
		t.Readme = []byte(text)
	}
	return t
}

func empty(paths ...string) map[string]string {
	m := make(map[string]string, len(paths))
	for _, p := range paths {
		m[p] = ""
	}
	return m
}

func withCard(card string, paths ...string) map[string]string {
	m := empty(paths...)
	m[readmeName] = card
	return m
}

// namedCases are the layouts that people have; data-file names only, because
// other files decide less here than there on purpose.
func namedCases() []referenceCase {
	return []referenceCase{
		{Name: "imdb", Files: withCard(imdbCard, imdbFiles...)},
		{Name: "imdb without card", Files: empty(imdbFiles...)},
		{Name: "infinity", Files: withCard(infinityCard, "0625/a.parquet", "3M/a.parquet", "7M/b.parquet", "7M/a.parquet", "7M_domains/code/t.parquet", "7M_domains/math/README.md", "7M_domains/deep/er/x.parquet", "Gen/a.parquet")},
		{Name: "fineweb", Files: withCard(finewebCard, finewebFiles...)},
		{Name: "fineweb data_dir", Files: empty(finewebFiles...), DataDir: "sample/10BT"},
		{Name: "fineweb data_files", Files: empty(finewebFiles...), DataFiles: json.RawMessage(`["sample/10BT/001_00000.parquet","sample/10BT/*.parquet"]`)},
		{Name: "data_files per split", Files: empty("a1.parquet", "a2.parquet", "b.parquet"), DataFiles: json.RawMessage(`{"train":"a*.parquet","test":["b.parquet"]}`)},
		{Name: "missing data file", Files: empty("a.parquet"), DataFiles: json.RawMessage(`"nope.parquet"`)},
		{Name: "pattern without match", Files: empty("a.parquet"), DataFiles: json.RawMessage(`"nope*.parquet"`)},
		{Name: "brackets", Files: empty("a[1].parquet", "a1.parquet", "a].parquet", "a-.parquet", "ab.parquet"), DataFiles: json.RawMessage(`["a[1].parquet","a[]].parquet","a[!-1\\]].parquet","a[b-a].parquet","a[a-].parquet"]`)},
		{Name: "shards and extra", Files: empty("data/train-00000-of-00002.parquet", "data/train-00001-of-00002-abcd.parquet", "data/b-c.parquet", "data/x.y-00000-of-00001.parquet", "data/sub/test-00000-of-00001.parquet")},
		{Name: "shard name twice", Files: empty("data/a-00000-of-00001-00000-of-00001.parquet")},
		{Name: "bad split name", Files: empty("data/train-sft-00000-of-00001.parquet")},
		{Name: "unicode split", Files: empty("data/été_1-00000-of-00001.parquet", "data/日本-00000-of-00001.parquet")},
		{Name: "six digits", Files: empty("data/train-000000-of-000001.parquet", "data/custom-000000-of-000001.parquet")},
		{Name: "csv wins", Files: empty("a.csv", "b.csv", "c.parquet")},
		{Name: "tie", Files: empty("a.csv", "b.json", "c.parquet")},
		{Name: "suffixes", Files: empty("x.parquet.snappy", "y.snappy.parquet", "z.parquet")},
		{Name: "metadata names", Files: empty("metadata.csv", "a.parquet", "metadata.jsonl")},
		{Name: "card with data_dir", Files: withCard("---\nconfigs:\n- config_name: a\n  data_dir: one\n- config_name: b\n  data_dir: two\n  default: true\n---\n", "one/train.parquet", "one/test.parquet", "two/x.parquet")},
		// The library looks for the patterns at the root to infer the format.
		{Name: "card with data_dir and data_files (here only)", Files: withCard("---\nconfigs:\n- config_name: a\n  data_dir: one\n  data_files: '*.parquet'\n---\n", "one/train.parquet", "one/test.parquet", "two/x.parquet")},
		{Name: "card hidden folder asked for", Files: withCard("---\nconfigs:\n- config_name: a\n  data_files: ['.h/*.parquet', '__d__/*', '*.parquet']\n---\n", ".h/a.parquet", ".h/.b.parquet", "__d__/c.parquet", "e.parquet", ".f.parquet")},
		{Name: "card several defaults", Files: withCard("---\nconfigs:\n- config_name: a\n  default: true\n  data_files: x.parquet\n- config_name: default\n  data_files: x.parquet\n---\n", "x.parquet")},
		{Name: "card dataset_info default", Files: withCard("---\ndataset_info:\n  config_name: b\nconfigs:\n- config_name: a\n  data_files: x.parquet\n- config_name: b\n  data_files: x.parquet\n---\n", "x.parquet")},
		{Name: "card duplicate split", Files: withCard("---\nconfigs:\n- config_name: a\n  data_files: [{split: t, path: x.parquet}, {split: t, path: x.parquet}]\n---\n", "x.parquet")},
		{Name: "empty", Files: withCard("# nothing\n")},
		{Name: "keywords near misses", Files: empty("trainset.parquet", "Train.parquet", "untrained.parquet", "my train 3.parquet", "train1.parquet", "x.val.parquet", "a/my-train/x.parquet")},
		{Name: "folders order", Files: empty("a/my-train/x.parquet", "a/train-v2/x.parquet", "training/z.parquet", "b/dev/q.parquet", "eval/w.parquet", "evaluation_2/v.parquet")},
	}
}

// seededCase makes a tree of names put together from parts that matter to the
// rules.
func seededCase(seed uint64) referenceCase {
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	dirs := []string{"", "", "data/", "train/", "test/", "dev-set/", "a/", "a/validation/", "_tmp/", ".hidden/", "__dunder__/", "my train/", "x.eval.y/", "data/sub/", "10BT/"}
	files := make(map[string]string)
	for range 1 + r.IntN(7) {
		stem := pick("train", "test", "val", "x", "part", "training_2", "my-test", "a.dev.b", "trainer", "ünï", "7", "eval_0") +
			pick("", "", "-00000-of-00002", "-00001-of-00002", "-000001-of-000002", " 1", "_2")
		files[pick(dirs...)+stem+pick(".parquet", ".parquet", ".parquet", ".parquet", ".csv", ".jsonl", ".snappy.parquet")] = ""
	}
	c := referenceCase{Name: fmt.Sprintf("seed %d", seed), Files: files}
	switch r.IntN(5) {
	case 0:
		c.DataFiles = json.RawMessage(pick(`"**/*.parquet"`, `"*/*.parquet"`, `["*.parquet","**"]`, `{"a":"data/*","b":"**/t*"}`, `"[a-t]*/?*"`, `".*/*"`, `"__*__/*.parquet"`))
	case 1:
		c.DataDir = pick("a", "train", "data", "_tmp")
	}
	return c
}

// TestResolveAgreesWithTheDatasetsLibrary compares whole answers. Where the
// library refuses, or would read another format than Parquet, it is enough that
// this package refuses too.
func TestResolveAgreesWithTheDatasetsLibrary(t *testing.T) {
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with the datasets library")
	}
	if err := exec.Command(python, "-c", "import datasets").Run(); err != nil {
		t.Skip("HUBFLIGHT_PYTHON has no datasets library")
	}
	cases := namedCases()
	for seed := range uint64(120) {
		cases = append(cases, seededCase(seed))
	}
	for i, answer := range askReference(t, python, cases) {
		t.Run(cases[i].Name, func(t *testing.T) { compareReference(t, cases[i], answer) })
	}
}

func askReference(t *testing.T, python string, cases []referenceCase) []referenceAnswer {
	t.Helper()
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", referenceScript)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var answers []referenceAnswer
	if err := json.Unmarshal(raw, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

func compareReference(t *testing.T, c referenceCase, answer referenceAnswer) {
	t.Helper()
	o := Options{DataDir: c.DataDir}
	if c.DataFiles != nil {
		if err := json.Unmarshal(c.DataFiles, &o.DataFiles); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Resolve(c.tree(), o)
	got, want := describeLayout(l, err), describeAnswer(answer)
	if deviates(c, got) {
		return
	}
	if answer.Error != "" || answer.Module != parquetFormat {
		if !strings.HasPrefix(got, "error") {
			t.Errorf("the library says %s %q\ngot %s\nfiles %q, data_dir %q, data_files %s", answer.Module, answer.Error, got, names(c), c.DataDir, c.DataFiles)
		}
		return
	}
	if c.DataDir != "" && strings.HasPrefix(got, want) {
		return // followed by splits of shards that the library does not find
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s\nfiles %q, data_dir %q, data_files %s", got, want, names(c), c.DataDir, c.DataFiles)
	}
}

// deviates tells the cases in which this package knowingly gives more.
func deviates(c referenceCase, got string) bool {
	switch {
	case strings.HasSuffix(c.Name, "(here only)"):
		return true
	case strings.Contains(string(c.DataFiles), `"b":`) && strings.Contains(got, " []"):
		return true // a split without files is an error only for who reads it
	}
	return false
}

func names(c referenceCase) []string {
	var out []string
	for p := range c.Files {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

// describeLayout writes a layout as lines; a layout whose default cannot be read
// is an error. What no other config has is left out: options apply to one.
func describeLayout(l *Layout, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	if _, _, err := l.Choose("", allSplits); err != nil && (len(l.Configs) < 2 || strings.Contains(err.Error(), "several default")) {
		return "error: " + err.Error()
	}
	var b strings.Builder
	for _, config := range l.Configs {
		if config.Err != nil {
			return "error: " + config.Err.Error()
		}
		fmt.Fprintf(&b, "%s\n", config.Name)
		for _, s := range config.Splits {
			var paths []string
			for _, f := range s.Files {
				paths = append(paths, f.Path)
			}
			fmt.Fprintf(&b, "  %s %q\n", s.Name, paths)
		}
	}
	return b.String()
}

func describeAnswer(a referenceAnswer) string {
	var b strings.Builder
	for _, config := range a.Configs {
		var name string
		var splits [][]json.RawMessage
		_ = json.Unmarshal(config[0], &name)
		_ = json.Unmarshal(config[1], &splits)
		fmt.Fprintf(&b, "%s\n", name)
		for _, s := range splits {
			var split string
			var paths []string
			_ = json.Unmarshal(s[0], &split)
			_ = json.Unmarshal(s[1], &paths)
			// Files of other formats that a card's pattern names fail when they are
			// read there, and are left out here.
			paths = slices.DeleteFunc(paths, func(p string) bool { return !isParquetFile(p[strings.LastIndexByte(p, '/')+1:]) })
			fmt.Fprintf(&b, "  %s %q\n", split, paths)
		}
	}
	return b.String()
}
