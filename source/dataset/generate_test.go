package dataset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// generator makes repositories out of parts that matter to the rules.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

// generated is the case of one seed: a tree, a way of writing the card, and
// options.
func generated(seed uint64) repoCase {
	g := generator{rand.New(rand.NewPCG(seed, 20261121))}
	c := repoCase{Name: fmt.Sprintf("generated-%d", seed), Files: make(map[string]string)}
	for _, path := range g.tree() {
		c.Files[path] = "x"
	}
	if g.chance(90) {
		c.Files[".gitattributes"] = "*.parquet filter=lfs diff=lfs merge=lfs -text\n"
	}
	var names []string
	if g.chance(55) {
		var card string
		card, names = g.card()
		c.Files[readmeName] = card
	}
	if g.chance(8) {
		_, text, _ := strings.Cut(g.configs(&names), "\n")
		c.Files[huggingfaceYAML] = "configs:\n" + text
	}
	switch g.IntN(10) {
	case 0, 1:
		files := g.option()
		c.DataFiles = json.RawMessage(files)
	case 2:
		c.DataDir = g.pick("a", "b", "train", "data", "data/", "data/en", "_tmp", "nowhere", "./a")
	case 3:
		c.DataDir, c.DataFiles = g.pick("a", "data"), json.RawMessage(g.pick(`"*.parquet"`, `"**"`, `["*"]`, `{"x":"t*"}`))
	}
	if len(names) > 3 {
		names = names[:3]
	}
	c.Configs = append(slices.Compact(names), "nope")
	if g.chance(30) {
		c.Revision = g.pick("dev", "exp/long/name", "refs/pr/3", "v1.0", "v2/rc", strings.Repeat("0", 40))
	}
	return c
}

// tree is a list of paths in one of the styles that people have.
func (g generator) tree() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ext := g.pick(".parquet", ".parquet", ".parquet", ".parquet", ".parquet", ".csv", ".jsonl", ".snappy.parquet")
	switch g.IntN(7) {
	case 0: // push_to_hub
		for _, split := range []string{"train", "test", "validation", "extra", "été", "x.y", "train-sft"}[:2+g.IntN(4)] {
			n := 1 + g.IntN(3)
			for i := range n {
				add("data/%s-%05d-of-%05d%s", split, i, n, ext)
			}
		}
	case 1: // a folder per config
		for _, config := range []string{"en", "a", "b", "fr-x"}[:1+g.IntN(4)] {
			for _, split := range []string{"train", "test", "dev"}[:1+g.IntN(3)] {
				add("%s%s/%s-00000-of-00001%s", g.pick("", "data/"), config, split, ext)
			}
		}
	case 2: // files named by their split
		for _, split := range []string{"train", "test", "val", "training", "my-eval", "trainer"}[:1+g.IntN(6)] {
			add("%s%s%s", split, g.pick("", "_0", "-1", " 2", ".v1"), ext)
		}
	case 3: // folders named by their split
		for _, split := range []string{"train", "test", "validation", "dev-set", "train/train_1", "a/my-train"}[:1+g.IntN(6)] {
			add("%s%s/%s%s", g.pick("", "a/", "data/"), split, g.pick("x", "0000", "train", "y-1"), ext)
		}
	default: // anything
		for range 1 + g.IntN(7) {
			dir := g.pick("", "", "data/", "train/", "test/", "dev-set/", "a/", "a/validation/", "b/", "_tmp/", ".hidden/", "__dunder__/", "my train/", "x.eval.y/", "data/sub/", "10BT/", "data/en/")
			stem := g.pick("train", "test", "val", "x", "part", "training_2", "my-test", "a.dev.b", "trainer", "ünï", "7", "eval_0", "a[1]") +
				g.pick("", "", "", "-00000-of-00002", "-00001-of-00002", "-000001-of-000002", " 1", "_2")
			add("%s%s%s", dir, stem, g.pick(ext, ext, ext, ".parquet", ".csv", ".jsonl", ".txt", ".PARQUET", ".parquet.gz"))
		}
	}
	if g.chance(15) { // what is no data
		add("%s", g.pick("LICENSE", "scripts/test/run.py", "evaluation/run.sh", "test.py", "docs/guide.md", "NOTES.md", "dataset_infos.json.bak", "config.json", ".gitignore", "assets/logo.png", "train/_SUCCESS", "x/instruction.md", "pyproject.toml"))
	}
	return out
}

// card is a README, and the names of the configs in it.
func (g generator) card() (text string, names []string) {
	switch g.IntN(8) {
	case 0:
		return g.pick("# title\n", "", "---\n---\n", "---\nlicense: mit\n---\n# x\n", "---\nlicense: mit\n", "\n\n---\nlicense: mit\n---\n", "---\r\nlicense: mit\r\n---\r\n"), nil
	case 1:
		name := g.pick("default", "foo")
		return "---\ndataset_info:\n" + g.pick("  config_name: "+name+"\n  features:\n  - name: x\n    dtype: string\n", "- config_name: "+name+"\n  features:\n  - name: x\n    dtype: string\n", "  features:\n  - name: x\n    dtype: string\n") + "---\n", nil
	case 2:
		return g.badCard(), nil
	}
	text = g.configs(&names)
	if g.chance(20) {
		text += "dataset_info:\n  config_name: " + g.pick("a", "b", "default") + "\n  features:\n  - name: x\n    dtype: string\n"
	}
	return "---\n" + g.pick("", "license: mit\n") + text + "---\n# A dataset\n", names
}

// badCard is one that the library refuses, or reads otherwise than meant.
func (g generator) badCard() string {
	return "---\n" + g.pick(
		"configs: a\n",
		"configs: [a, b]\n",
		"configs:\n- data_files: x.parquet\n",
		"configs: {}\n",
		"configs: []\n",
		"configs:\n- config_name: a\n  data_files: {train: '*.parquet'}\n",
		"configs:\n- config_name: a\n  data_files:\n  - {split: train-x, path: '*.parquet'}\n",
		"configs:\n- config_name: a\n  data_files:\n  - {split: t, path: '*.parquet'}\n  - {split: t, path: '**'}\n",
		"configs:\n- config_name: a\n  data_files:\n  - {split: t, path: '*.parquet', more: 1}\n",
		"configs:\n- config_name: a\n  data_files:\n  - {split: t}\n",
		"configs:\n- config_name: a\n  data_files: ['*.parquet', {split: t, path: '**'}]\n",
		"configs:\n- config_name: a/b\n  data_files: '**'\n",
		"configs:\n- config_name: a\n  default: true\n  data_files: '**'\n- config_name: default\n  data_files: '**'\n",
		"configs:\n- config_name: a\n  data_files: '**'\n- config_name: a\n  data_files: '*.parquet'\n",
		"configs:\n- config_name: a\n  data_files: 3\n",
		"configs:\n- config_name: a\n  data_files: []\n",
		"configs:\n- config_name: a\n  data_files: '**.parquet'\n",
		"- a\n- b\n",
	) + "---\n"
}

// configs is the block of that name.
func (g generator) configs(names *[]string) string {
	var b strings.Builder
	b.WriteString("configs:\n")
	n := 1 + g.IntN(3)
	defaults := g.IntN(3 * n)
	used := make(map[string]bool)
	for i := range n {
		name := g.pick("a", "b", "default", "en", "'0625'", "fr-x", "\"7M\"")
		if used[name] {
			continue
		}
		used[name] = true
		*names = append(*names, strings.Trim(name, `'"`))
		fmt.Fprintf(&b, "- config_name: %s\n", name)
		if i == defaults {
			fmt.Fprintf(&b, "  default: %s\n", g.pick("true", "yes", "1", "false"))
		}
		if g.chance(20) {
			fmt.Fprintf(&b, "  data_dir: %s\n", g.pick("a", "data", "train", "data/en", "./a"))
			if g.chance(60) {
				continue
			}
		}
		pattern := func() string {
			return g.pick("'*'", "'**'", "'*.parquet'", "data/*", "'data/*/*'", "a/*", "'**/*.parquet'", "'**/t*'", "train.parquet", "'**/train-*'", "'[a-t]*'", "'*/*-00000-of-*'", "data/train-00000-of-00001.parquet", "'.*/*'", "'_*/**'", "'__*/*'", "nothing-*", "'t?ain*'", "'./*.parquet'", "'*.{csv,parquet}'")
		}
		switch g.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "  data_files: %s\n", pattern())
		case 1:
			fmt.Fprintf(&b, "  data_files:\n  - %s\n  - %s\n", pattern(), pattern())
		case 2:
			fmt.Fprintf(&b, "  data_files:\n  - split: train\n    path: %s\n  - split: %s\n    path: %s\n", pattern(), g.pick("test", "été", "x.y", "'1'"), pattern())
		case 3:
			fmt.Fprintf(&b, "  data_files:\n  - split: test\n    path:\n    - %s\n    - %s\n", pattern(), pattern())
		}
	}
	return b.String()
}

// option is a data_files option.
func (g generator) option() string {
	return g.pick(`"**/*.parquet"`, `"*/*.parquet"`, `["*.parquet","**"]`, `{"a":"data/*","b":"**/t*"}`, `"[a-t]*/?*"`, `".*/*"`, `"__*__/*.parquet"`,
		`{"train":["train*","**/train*"],"test":"test*"}`, `[{"split":"x","path":"**"},{"split":"y","path":["*.parquet"]}]`, `"train.parquet"`, `"missing.parquet"`,
		`"data"`, `"**.parquet"`, `"a[1].parquet"`, `"data/*-0000[01]-of-*"`, `"*.{csv,parquet}"`, `["*.csv","*.parquet"]`, `"**/[!t]*.parquet"`, `"./*.parquet"`)
}
