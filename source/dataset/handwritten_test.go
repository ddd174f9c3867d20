package dataset

import (
	"encoding/json"
	"fmt"
	"strings"
)

// handWritten are layouts of repositories that exist, cut down, and traps of the
// rules that were found in them.
func handWritten() []repoCase {
	cases := slicesOf(wellKnown(), traps())
	for i := range cases {
		if cases[i].Configs == nil {
			cases[i].Configs = []string{"default", "nope"}
		}
	}
	return cases
}

func slicesOf(lists ...[]repoCase) (out []repoCase) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func empty(paths ...string) map[string]string {
	m := make(map[string]string, len(paths))
	for _, p := range paths {
		m[p] = "x"
	}
	return m
}

func withCard(card string, paths ...string) map[string]string {
	m := empty(paths...)
	m[readmeName] = card
	return m
}

// shards names n files of a split as push_to_hub does.
func shards(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%05d-of-%05d.parquet", prefix, i, n))
	}
	return out
}

func pathsOf(lists ...[]string) (out []string) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// configEntry is one config in the form that convert-to-parquet writes.
func configEntry(name string, more string, splits ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- config_name: %s\n%s  data_files:\n", name, more)
	for _, s := range splits {
		split, path, _ := strings.Cut(s, "=")
		fmt.Fprintf(&b, "  - split: %s\n    path: %s\n", split, path)
	}
	return b.String()
}

func front(blocks ...string) string { return "---\n" + strings.Join(blocks, "") + "---\n# About\n" }

func wellKnown() []repoCase {
	glue := []string{"ax", "cola", "mnli", "sst2"}
	var glueCard, glueFiles []string
	for _, name := range glue {
		glueCard = append(glueCard, configEntry(name, "", "train="+name+"/train-*", "validation="+name+"/validation-*", "test="+name+"/test-*"))
		glueFiles = append(glueFiles, pathsOf(shards(name+"/train", 1), shards(name+"/validation", 1), shards(name+"/test", 1))...)
	}
	var mtebCard, mtebFiles []string
	for i := range 100 {
		name := fmt.Sprintf("l%02d-en", i)
		mtebCard = append(mtebCard, configEntry(name, "", "test="+name+"/test-*"))
		mtebFiles = append(mtebFiles, shards(name+"/test", 1)...)
	}
	fineweb := pathsOf(shards("data/CC-MAIN-2013-20/train", 3), shards("data/CC-MAIN-2024-10/train", 2),
		[]string{"sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet", "sample/100BT/000_00000.parquet"})
	finewebEntries := "configs:\n" + configEntry("default", "", "train=data/*/*") + configEntry("sample-10BT", "", "train=sample/10BT/*") +
		configEntry("CC-MAIN-2013-20", "", "train=data/CC-MAIN-2013-20/*")
	return []repoCase{
		{Name: "imdb", Files: withCard(imdbCard, imdbFiles...), Configs: []string{"plain_text"}},
		{Name: "imdb without its card", Files: empty(imdbFiles...)},
		{Name: "amazon_polarity", Files: withCard(front("configs:\n", configEntry("amazon_polarity", "  default: true\n", "train=amazon_polarity/train-*", "test=amazon_polarity/test-*")),
			pathsOf(shards("amazon_polarity/train", 4), shards("amazon_polarity/test", 1))...), Configs: []string{"amazon_polarity"}},
		{Name: "duorc", Files: withCard(front("dataset_info:\n- config_name: ParaphraseRC\n  features:\n  - name: x\n    dtype: string\n- config_name: SelfRC\n  features:\n  - name: x\n    dtype: string\n", "configs:\n", configEntry("ParaphraseRC", "", "train=ParaphraseRC/train-*", "test=ParaphraseRC/test-*"), configEntry("SelfRC", "", "train=SelfRC/train-*", "test=SelfRC/test-*")),
			pathsOf(shards("ParaphraseRC/train", 1), shards("ParaphraseRC/test", 1), shards("SelfRC/train", 1), shards("SelfRC/test", 1))...), Configs: []string{"SelfRC", "ParaphraseRC"}},
		{Name: "squad", Files: withCard(front("dataset_info:\n  config_name: plain_text\n  features:\n  - name: x\n    dtype: string\n", "configs:\n", configEntry("plain_text", "", "train=plain_text/train-*", "validation=plain_text/validation-*")),
			pathsOf(shards("plain_text/train", 1), shards("plain_text/validation", 1))...), Configs: []string{"plain_text"}},
		{Name: "glue", Files: withCard(front("configs:\n", strings.Join(glueCard, "")), glueFiles...), Configs: glue},
		{Name: "mteb with a hundred configs", Files: withCard(front("configs:\n", strings.Join(mtebCard, "")), mtebFiles...), Configs: []string{"l00-en", "l99-en"}},
		{Name: "wikipedia", Files: withCard(front("configs:\n", configEntry("20231101.ab", "", "train=20231101.ab/train-*"), configEntry("20231101.en", "", "train=20231101.en/train-*"), configEntry("20231101.simple", "", "train=20231101.simple/train-*")),
			pathsOf(shards("20231101.ab/train", 1), shards("20231101.en/train", 12), shards("20231101.simple/train", 1))...), Configs: []string{"20231101.en", "20231101.simple"}},
		{Name: "c4", Files: withCard(front("configs:\n", configEntry("en", "", "train=en/c4-train.*.json.gz", "validation=en/c4-validation.*.json.gz"), configEntry("af", "", "train=multilingual/c4-af.*.json.gz")),
			"en/c4-train.00000-of-01024.json.gz", "en/c4-train.00001-of-01024.json.gz", "en/c4-validation.00000-of-00008.json.gz", "multilingual/c4-af.tfrecord-00000-of-00064.json.gz"), Configs: []string{"en", "af"}},
		{Name: "fineweb", Files: withCard(front(finewebEntries), fineweb...), Configs: []string{"default", "sample-10BT", "CC-MAIN-2013-20"}},
		{Name: "fineweb by one file", Files: withCard(front(finewebEntries), fineweb...), DataFiles: json.RawMessage(`"sample/10BT/000_00000.parquet"`)},
		{Name: "fineweb in the given order", Files: withCard(front(finewebEntries), fineweb...), DataFiles: json.RawMessage(`["sample/10BT/001_00000.parquet","sample/10BT/000_00000.parquet"]`)},
		{Name: "fineweb by a folder", Files: withCard(front(finewebEntries), fineweb...), DataDir: "sample/10BT"},
		{Name: "fineweb by a folder and files", Files: empty(fineweb...), DataDir: "sample", DataFiles: json.RawMessage(`"10BT/*.parquet"`)},
		{Name: "infinity", Files: withCard(infinityCard, "0625/a.parquet", "3M/a.parquet", "7M/b.parquet", "7M/a.parquet", "7M_domains/code/t.parquet", "7M_domains/math/README.md", "7M_domains/deep/er/x.parquet", "Gen/a.parquet"),
			Configs: []string{"3M", "7M", "7M_domains", "0625"}},
		{Name: "ultrachat with two splits of its own", Files: withCard(front("configs:\n", configEntry("default", "", "train_sft=data/train_sft-*", "test_sft=data/test_sft-*", "train_gen=data/train_gen-*")),
			pathsOf(shards("data/train_sft", 3), shards("data/test_sft", 1), shards("data/train_gen", 3))...)},
		{Name: "pushed with splits of its own", Files: empty(pathsOf(shards("data/train_sft", 3), shards("data/test_sft", 1), shards("data/train", 2), []string{"data/extra.parquet"})...)},
		{Name: "mmlu with a folder per config", Files: withCard(front("configs:\n- config_name: anatomy\n  data_dir: anatomy\n- config_name: astronomy\n  data_dir: astronomy\n"),
			"anatomy/test-00000-of-00001.parquet", "anatomy/dev-00000-of-00001.parquet", "astronomy/test-00000-of-00001.parquet", "astronomy/validation-00000-of-00001.parquet"), Configs: []string{"anatomy", "astronomy"}},
		{Name: "images with metadata", Files: empty("train/metadata.csv", "train/0001.png", "train/0002.png", "test/metadata.jsonl", "test/0001.JPG")},
		{Name: "images with metadata in Parquet", Files: empty("metadata.parquet", "images/0001.png", "images/0002.png")},
		{Name: "audio in archives", Files: empty("data/train-000.tar", "data/train-001.tar", "data/test-000.tar")},
		{Name: "csv files", Files: withCard(front("license: mit\n"), "train.csv", "test.csv")},
		{Name: "the pile in lines", Files: empty("train/00.jsonl.zst", "train/01.jsonl.zst", "val.jsonl.zst", "test.jsonl.zst")},
		{Name: "a dump of pandas", Files: empty("0000.parquet", "0001.parquet", "0010.parquet", "2.parquet", "10.parquet")},
		{Name: "spark output", Files: empty("_SUCCESS", "part-00000-3f.snappy.parquet", "part-00001-3f.snappy.parquet")},
		{Name: "hive partitions", Files: empty("lang=de/part-0.parquet", "lang=en/part-0.parquet", "lang=en/part-1.parquet")},
		{Name: "a conversion's tree", Files: empty("default/train/0000.parquet", "default/test/0000.parquet", "other/partial-train/0000.parquet")},
		{Name: "standalone yaml", Files: map[string]string{huggingfaceYAML: "configs:\n" + configEntry("b", "", "train=b/*"), readmeName: front("configs:\n", configEntry("a", "", "train=a/*")), "a/x.parquet": "x", "b/y.parquet": "x"}, Configs: []string{"a", "b"}},
		{Name: "legacy infos", Files: map[string]string{"dataset_infos.json": `{"user--x": {"features": {"x": {"dtype": "string", "_type": "Value"}}}}`, "data/train-00000-of-00001.parquet": "x"}},
		{Name: "openhermes in one json", Files: withCard(front("license: mit\n"), "openhermes2_5.json")},
		{Name: "only a card", Files: withCard("# nothing\n")},
	}
}

func traps() []repoCase {
	return []repoCase{
		{Name: "a script beside the data", Files: empty("data/train-00000-of-00001.parquet", "a-script-beside-the-data.py")},
		{Name: "a script folder", Files: empty("data.parquet", "scripts/test/run.py")},
		{Name: "instructions", Files: empty("a.parquet", "x/instruction.md")},
		{Name: "documentation", Files: empty("a.parquet", "NOTES.md", "CHANGES.md")},
		{Name: "documentation beside a named split", Files: empty("train.parquet", "docs/a.md", "docs/b.md")},
		{Name: "in two splits", Files: empty("train-test.parquet")},
		{Name: "matched twice", Files: empty("train/train_1/x.parquet", "train/y.parquet")},
		{Name: "hidden and special", Files: empty("a.parquet", "sub/b.parquet", ".hidden/c.parquet", "__x__/d.parquet", "_tmp/e.parquet")},
		{Name: "six digits", Files: empty("data/train-000000-of-000001.parquet", "data/custom-000000-of-000001.parquet")},
		{Name: "a dash in a split", Files: empty("data/train-sft-00000-of-00001.parquet")},
		{Name: "a shard's name twice", Files: empty("data/a-00000-of-00001-00000-of-00001.parquet")},
		{Name: "splits of any script", Files: empty("data/été_1-00000-of-00001.parquet", "data/日本-00000-of-00001.parquet")},
		{Name: "brackets", Files: empty("a[1].parquet", "a1.parquet", "a].parquet", "a-.parquet", "ab.parquet"), DataFiles: json.RawMessage(`["a[1].parquet","a[]].parquet","a[b-a].parquet","a[a-].parquet"]`)},
		{Name: "upper case", Files: empty("DATA.PARQUET")},
		{Name: "csv wins", Files: empty("a.csv", "b.csv", "c.parquet")},
		{Name: "a tie", Files: empty("a.csv", "b.json", "c.parquet")},
		{Name: "splits of two formats", Files: empty("train.parquet", "test.csv")},
		{Name: "suffixes", Files: empty("x.parquet.snappy", "y.snappy.parquet", "z.parquet", "w.geoparquet")},
		{Name: "data below data_dir", Files: empty("data/train-00000-of-00001.parquet", "data/custom-00000-of-00001.parquet"), DataDir: "data"},
		{Name: "keywords nearly", Files: empty("trainset.parquet", "Train.parquet", "untrained.parquet", "my train 3.parquet", "train1.parquet", "x.val.parquet", "a/my-train/x.parquet")},
		{Name: "folders in order", Files: empty("a/my-train/x.parquet", "a/train-v2/x.parquet", "training/z.parquet", "b/dev/q.parquet", "eval/w.parquet", "evaluation_2/v.parquet")},
		{Name: "a mixed folder in a card", Files: withCard(front("configs:\n", configEntry("default", "", "train=data/*")), "data/a.parquet", "data/b.parquet", "data/c.csv")},
		{Name: "a number for a name", Files: withCard(front("configs:\n", configEntry("0625", "", "train=a/*"), configEntry("b", "", "train=b/*")), "a/x.parquet", "b/x.parquet"), Configs: []string{"0625", "b"}},
		{Name: "a first config that is missing", Files: withCard(front("configs:\n", configEntry("a", "", "train=a/x.parquet"), configEntry("b", "  default: true\n", "train=b/*")), "b/x.parquet"), Configs: []string{"a", "b"}},
		{Name: "several defaults", Files: withCard(front("configs:\n", configEntry("default", "", "train=a/*"), configEntry("b", "  default: true\n", "train=b/*")), "a/x.parquet", "b/x.parquet"), Configs: []string{"b"}},
		{Name: "an own address", Files: empty("a.parquet", "b.parquet"), DataFiles: json.RawMessage(`"hf://datasets/org/an-own-address/a.parquet"`)},
		{Name: "a foreign address", Files: empty("a.parquet"), DataFiles: json.RawMessage(`"hf://datasets/org/an-own-address@main/a.parquet"`)},
		{Name: "a folder for a file", Files: empty("data/a.parquet"), DataFiles: json.RawMessage(`"data"`)},
		{Name: "one file by name", Files: empty("data/a.parquet", "data/b.parquet"), DataFiles: json.RawMessage(`{"test":"data/b.parquet"}`)},
		{Name: "hidden on request", Files: withCard(front("configs:\n- config_name: a\n  data_files: ['.h/*.parquet', '__d__/*', '*.parquet']\n"), ".h/a.parquet", ".h/.b.parquet", "__d__/c.parquet", "e.parquet", ".f.parquet"), Configs: []string{"a"}},
		{Name: "a card with a byte order mark", Files: withCard("\ufeff"+front("configs:\n", configEntry("a", "", "train=a/*")), "a/x.parquet", "b/x.parquet"), Configs: []string{"a"}},
		{Name: "patterns with a slash behind", Files: withCard(front("configs:\n- config_name: a\n  data_files: ['*/', 'b/**/', 'c/x.parquet/']\n"), "a.parquet", "b/c/d.parquet", "c/x.parquet", "c/y.parquet"), Configs: []string{"a"}},
		{Name: "a folder with a slash behind", Files: empty("b/d.parquet"), DataFiles: json.RawMessage(`"b/"`)},
		{Name: "a number for a path", Files: withCard(front("configs:\n- config_name: a\n  data_files: 3\n"), "3", "a.parquet"), Configs: []string{"a"}},
		{Name: "a path with a dot", Files: empty("a.parquet", "b/c.parquet"), DataFiles: json.RawMessage(`"./*.parquet"`)},
		{Name: "a card's folder with shards", Files: withCard(front("configs:\n- config_name: a\n  data_dir: data\n"), "data/train-00000-of-00001.parquet", "data/extra-00000-of-00001.parquet"), Configs: []string{"a"}},
		{Name: "an option beside an empty config", Files: withCard(front("configs:\n- config_name: a\n  data_files: x.parquet\n- config_name: b\n  data_dir: none\n"), "x.parquet", "y.parquet"), DataFiles: json.RawMessage(`"y.parquet"`), Configs: []string{"a"}},
	}
}
