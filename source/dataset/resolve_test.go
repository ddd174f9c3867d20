package dataset

import (
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// treeOf makes a tree of the named files, in byte order, with a README if it is
// not empty.
func treeOf(readme string, paths ...string) Tree {
	at := source.Snapshot{Name: "user/ds", Revision: "main", Commit: "0123456789abcdef0123456789abcdef01234567"}
	var t Tree
	if readme != "" {
		t.Readme = []byte(readme)
		paths = append(slices.Clone(paths), "README.md")
	}
	sort.Strings(paths)
	for _, p := range paths {
		t.Files = append(t.Files, source.File{At: at, Path: p, Size: 1, OID: "oid-" + p})
	}
	return t
}

// filesOf resolves and chooses, and returns the paths in order, or the error's text.
func filesOf(t *testing.T, tree Tree, o Options, config, split string) ([]string, error) {
	t.Helper()
	l, err := Resolve(tree, o)
	if err != nil {
		return nil, err
	}
	return chosen(l, config, split)
}

func chosen(l *Layout, config, split string) ([]string, error) {
	_, splits, err := l.Choose(config, split)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range splits {
		for _, f := range s.Files {
			out = append(out, f.Path)
		}
	}
	return out, nil
}

const imdbCard = `---
configs:
- config_name: plain_text
  data_files:
  - split: train
    path: plain_text/train-*
  - split: test
    path: plain_text/test-*
  - split: unsupervised
    path: plain_text/unsupervised-*
---
# IMDB
`

var imdbFiles = []string{
	"plain_text/test-00000-of-00001.parquet",
	"plain_text/train-00000-of-00001.parquet",
	"plain_text/unsupervised-00000-of-00001.parquet",
}

const infinityCard = `---
configs:
- config_name: '3M'
  data_files: [{split: train, path: 3M/*}]
- config_name: '7M'
  data_files: [{split: train, path: 7M/*}]
- config_name: '0625'
  data_files: [{split: train, path: 0625/*}]
- config_name: 'Gen'
  data_files: [{split: train, path: Gen/*}]
- config_name: '7M_domains'
  data_files: [{split: train, path: 7M_domains/*/*}]
---
`

var infinityFiles = []string{
	"0625/train-00000-of-00001.parquet", "3M/train-00000-of-00001.parquet",
	"7M/train-00000-of-00002.parquet", "7M/train-00001-of-00002.parquet",
	"7M_domains/code/train.parquet", "7M_domains/math/train.parquet", "7M_domains/math/README.md", "7M_domains/deep/er/x.parquet",
	"Gen/train-00000-of-00001.parquet",
}

const finewebCard = `---
configs:
- config_name: default
  data_files: [{split: train, path: data/*/*}]
- config_name: sample-10BT
  data_files: [{split: train, path: sample/10BT/*}]
---
`

var finewebFiles = []string{
	"data/CC-MAIN-2013-20/train-00000-of-00002.parquet", "data/CC-MAIN-2013-20/train-00001-of-00002.parquet",
	"data/CC-MAIN-2014-10/train-00000-of-00001.parquet",
	"sample/10BT/000_00000.parquet", "sample/10BT/001_00000.parquet",
}

// resolution is one row of the reference's conformance table: what a repository
// and options give, in order, or a part of the error's text.
type resolution struct {
	name    string
	readme  string
	files   []string
	options Options
	config  string
	split   string
	want    []string
	wantErr string
	kind    source.Kind
}

func (r resolution) check(t *testing.T) {
	t.Helper()
	got, err := filesOf(t, treeOf(r.readme, r.files...), r.options, r.config, r.split)
	if r.wantErr != "" {
		if err == nil {
			t.Fatalf("got %q, want an error with %q", got, r.wantErr)
		}
		if !strings.Contains(err.Error(), r.wantErr) {
			t.Errorf("got error %q, want it to hold %q", err, r.wantErr)
		}
		if kind := source.KindOf(err); kind != r.kind {
			t.Errorf("got kind %s, want %s", kind, r.kind)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, r.want) {
		t.Errorf("got  %q\nwant %q", got, r.want)
	}
}

func files(patterns ...string) Options { return Options{DataFiles: newDataFiles(patterns...)} }

func TestResolveGivesTheFilesOfTheConformanceTable(t *testing.T) {
	rows := []resolution{
		{name: "1 readme config with three splits reads train", readme: imdbCard, files: imdbFiles,
			want: []string{"plain_text/train-00000-of-00001.parquet"}},
		{name: "2 a custom split", readme: imdbCard, files: imdbFiles, split: "unsupervised",
			want: []string{"plain_text/unsupervised-00000-of-00001.parquet"}},
		{name: "3 without readme the custom split is unreachable", files: imdbFiles, split: "unsupervised",
			wantErr: "Split unsupervised is invalid. Valid options are ['train', 'test']", kind: source.KindNotFound},
		{name: "3 without readme train is found by its name", files: imdbFiles,
			want: []string{"plain_text/train-00000-of-00001.parquet"}},
		{name: "4 an unknown split lists the valid ones in order", readme: imdbCard, files: imdbFiles, split: "validation",
			wantErr: "Split validation is invalid. Valid options are ['train', 'test', 'unsupervised']", kind: source.KindNotFound},
		{name: "5 shards in data may have any split name", split: "random",
			files: []string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet", "data/random-00000-of-00001.parquet", "data/extra.parquet"},
			want:  []string{"data/random-00000-of-00001.parquet"}},
		{name: "5 a file beside the shards is in no split", split: "all",
			files: []string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet", "data/random-00000-of-00001.parquet", "data/extra.parquet"},
			want:  []string{"data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet", "data/random-00000-of-00001.parquet"}},
		{name: "6 a split name with a dash is refused and the file named", files: []string{"data/train-sft-00000-of-00001.parquet"},
			wantErr: `Split name should match '^\w+(\.\w+)*$' but got 'train-sft' (user/ds@01234567, file=data/train-sft-00000-of-00001.parquet)`, kind: source.KindInvalid},
		{name: "7 files named by split are sorted as text", files: []string{"train_0.parquet", "train_2.parquet", "train_10.parquet", "test_0.parquet", "test_1.parquet"},
			want: []string{"train_0.parquet", "train_10.parquet", "train_2.parquet"}},
		{name: "8 folders named by split hide other files", files: []string{"data/train/x.parquet", "data/test/y.parquet", "other.parquet"}, split: "all",
			want: []string{"data/train/x.parquet", "data/test/y.parquet"}},
		{name: "9 a file that two patterns match is read once", files: []string{"train/train_1/x.parquet", "train/y.parquet"},
			want: []string{"train/train_1/x.parquet", "train/y.parquet"}},
		{name: "10 hidden and dunder folders are left out, single underscores are not", files: []string{"a.parquet", "sub/b.parquet", ".hidden/c.parquet", "__x__/d.parquet", "_tmp/e.parquet"},
			want: []string{"_tmp/e.parquet", "a.parquet", "sub/b.parquet"}},
		{name: "11 a script in a test folder does not decide the splits", files: []string{"data.parquet", "scripts/test/run.py"},
			want: []string{"data.parquet"}},
		{name: "12 no data", files: []string{"README.md", ".gitattributes"},
			wantErr: "The directory at user/ds@01234567 doesn't contain any data files", kind: source.KindNotFound},
		{name: "13 several configs and no default", readme: "---\nconfigs:\n- config_name: A\n  data_files: a.parquet\n- config_name: B\n  data_files: b.parquet\n---\n", files: []string{"a.parquet", "b.parquet"},
			wantErr: "Config name is missing. Please pick one among the available configs: ['A', 'B']", kind: source.KindInvalid},
		{name: "14 an unknown config lists the others", readme: "---\nconfigs:\n- config_name: A\n  data_files: a.parquet\n- config_name: B\n  data_files: b.parquet\n---\n", files: []string{"a.parquet", "b.parquet"}, config: "C",
			wantErr: "BuilderConfig 'C' not found. Available: ['A', 'B']", kind: source.KindNotFound},
		{name: "15 default: true", readme: "---\nconfigs:\n- config_name: v1\n  data_files: a.parquet\n  default: true\n- config_name: v2\n  data_files: b.parquet\n---\n", files: []string{"a.parquet", "b.parquet"},
			want: []string{"a.parquet"}},
		{name: "16 a config named default beside another default", readme: "---\nconfigs:\n- config_name: default\n  data_files: a.parquet\n- config_name: v2\n  default: yes\n  data_files: b.parquet\n---\n", files: []string{"a.parquet", "b.parquet"},
			wantErr: "Dataset has several default configs: 'default' and 'v2'.", kind: source.KindInvalid},
		{name: "17 a config whose folder is the prefix of another's", readme: infinityCard, files: infinityFiles, config: "7M",
			want: []string{"7M/train-00000-of-00002.parquet", "7M/train-00001-of-00002.parquet"}},
		{name: "18 exactly two levels, documentation skipped", readme: infinityCard, files: infinityFiles, config: "7M_domains",
			want: []string{"7M_domains/code/train.parquet", "7M_domains/math/train.parquet"}},
		{name: "19 a config name of digits is a string", readme: infinityCard, files: infinityFiles, config: "0625",
			want: []string{"0625/train-00000-of-00001.parquet"}},
		{name: "19 also where the card does not quote it", readme: strings.ReplaceAll(infinityCard, "'", ""), files: infinityFiles, config: "0625",
			want: []string{"0625/train-00000-of-00001.parquet"}},
		{name: "20 folders then shards", readme: finewebCard, files: finewebFiles,
			want: finewebFiles[:3]},
		{name: "21 one data file, no config needed", readme: finewebCard, files: finewebFiles, options: files("sample/10BT/000_00000.parquet"),
			want: []string{"sample/10BT/000_00000.parquet"}},
		{name: "22 data files in the order given", readme: finewebCard, files: finewebFiles, options: files("sample/10BT/001_00000.parquet", "sample/10BT/000_00000.parquet"),
			want: []string{"sample/10BT/001_00000.parquet", "sample/10BT/000_00000.parquet"}},
		{name: "23 a glob is sorted", readme: finewebCard, files: finewebFiles, options: files("sample/10BT/*.parquet"),
			want: finewebFiles[3:]},
		{name: "24 data_dir with slashes around it", readme: finewebCard, files: finewebFiles, options: Options{DataDir: "/sample/10BT/"},
			want: finewebFiles[3:]},
		{name: "25 data_files relative to data_dir", readme: finewebCard, files: finewebFiles, options: Options{DataDir: "sample", DataFiles: newDataFiles("10BT/*.parquet")},
			want: finewebFiles[3:]},
		{name: "26 ** inside a segment", files: []string{"a.parquet"}, options: files("**.parquet"),
			wantErr: "Invalid pattern: '**' can only be an entire path component", kind: source.KindInvalid},
		{name: "27 a missing file", files: []string{"a.parquet"}, options: files("nope.parquet"),
			wantErr: "Couldn't find any data file at nope.parquet", kind: source.KindNotFound},
		{name: "27 a pattern without match", files: []string{"a.parquet"}, options: files("nope*.parquet"),
			wantErr: "No (supported) data files found in user/ds", kind: source.KindNotFound},
		{name: "28 data_files per split", files: []string{"a1.parquet", "a2.parquet", "b.parquet"}, split: "test",
			options: Options{DataFiles: DataFiles{Splits: []SplitPatterns{{"train", []string{"a*.parquet"}}, {"test", []string{"b.parquet"}}}}},
			want:    []string{"b.parquet"}},
		{name: "29 a folder as data file", readme: finewebCard, files: finewebFiles, options: files("sample/10BT"),
			wantErr: "name it with data_dir", kind: source.KindNotFound},
		{name: "38 a mapping is no form of data_files in a card", readme: "---\nconfigs:\n- config_name: a\n  data_files: {train: x.parquet}\n---\n", files: []string{"x.parquet"},
			wantErr: "expected data_files in YAML to be either a string or a list of strings or a list of dicts with two keys: 'split' and 'path'", kind: source.KindInvalid},
		{name: "39 a card naming an absent file", readme: "---\nconfigs:\n- config_name: a\n  data_files: x.parquet\n---\n", files: []string{"y.parquet"},
			wantErr: "Couldn't find any data file at x.parquet", kind: source.KindNotFound},
		{name: "39 a glob without match is an empty split that others survive", readme: "---\nconfigs:\n- config_name: a\n  data_files: [{split: train, path: y*}, {split: test, path: z*}]\n---\n", files: []string{"y.parquet"},
			want: []string{"y.parquet"}},
		{name: "39 and an error where it is the one to read", readme: "---\nconfigs:\n- config_name: a\n  data_files: [{split: train, path: y*}, {split: test, path: z*}]\n---\n", files: []string{"y.parquet"}, split: "test",
			wantErr: "No (supported) data files found for split test", kind: source.KindNotFound},
		{name: "40 the format is what most files have", files: []string{"a.csv", "b.csv", "c.parquet"},
			wantErr: "the dataset's format is csv (files of: csv, parquet); only Parquet can be read", kind: source.KindUnsupported},
		{name: "41 upper case is no data file", files: []string{"DATA.PARQUET"},
			wantErr: "doesn't contain any data files", kind: source.KindNotFound},
		{name: "42b shards with a custom split below data_dir=data", files: []string{"data/train-00000-of-00001.parquet", "data/custom-00000-of-00001.parquet"}, options: Options{DataDir: "data"}, split: "custom",
			want: []string{"data/custom-00000-of-00001.parquet"}},
		{name: "42c shards with a custom split below a card's data_dir", readme: "---\nconfigs:\n- config_name: en\n  data_dir: en\n---\n", files: []string{"en/train-00000-of-00001.parquet", "en/custom-00000-of-00001.parquet"}, split: "custom",
			wantErr: "Split custom is invalid. Valid options are ['train']", kind: source.KindNotFound},
		{name: "44 a full name of the same repository", files: []string{"x.parquet", "y.parquet"}, options: files("hf://datasets/user/ds@main/x.parquet"),
			want: []string{"x.parquet"}},
		{name: "44 a full name without revision", files: []string{"x.parquet", "y.parquet"}, options: files("hf://datasets/user/ds/x.parquet"),
			want: []string{"x.parquet"}},
		{name: "44 another repository", files: []string{"x.parquet"}, options: files("hf://datasets/user/other@main/x.parquet"),
			wantErr: "doesn't belong to user/ds", kind: source.KindInvalid},
		{name: "44 a full name at the pinned commit", files: []string{"x.parquet"}, options: files("hf://datasets/user/ds@0123456789abcdef0123456789abcdef01234567/x.parquet"),
			want: []string{"x.parquet"}},
		{name: "44 a full name at another revision", files: []string{"x.parquet"}, options: files("hf://datasets/user/ds@v1.0/*.parquet"),
			wantErr: `names revision "v1.0", and the dataset is read at revision "main"`, kind: source.KindInvalid},
		{name: "44 another revision in a card", readme: "---\nconfigs:\n- config_name: a\n  data_files: hf://datasets/user/ds@v1.0/x.parquet\n---\n", files: []string{"x.parquet"},
			wantErr: `a README can only name files of its own commit`, kind: source.KindInvalid},
		{name: "44 another server", files: []string{"x.parquet"}, options: files("https://example.org/x.parquet"),
			wantErr: "doesn't belong to user/ds", kind: source.KindInvalid},
		{name: "49 documentation does not decide the format", files: []string{"a.parquet", "NOTES.md", "CHANGES.md"},
			want: []string{"a.parquet"}},
		{name: "50 an instruction file is no dataset", files: []string{"a.parquet", "x/instruction.md"},
			want: []string{"a.parquet"}},
		{name: "51 documentation beside a named split", files: []string{"train.parquet", "docs/a.md", "docs/b.md"},
			want: []string{"train.parquet"}},
		{name: "52 one file in two splits: train", files: []string{"train-test.parquet"},
			want: []string{"train-test.parquet"}},
		{name: "52 one file in two splits: test", files: []string{"train-test.parquet"}, split: "test",
			want: []string{"train-test.parquet"}},
		{name: "53 brackets are a class", files: []string{"a[1].parquet", "a1.parquet"}, options: files("a[1].parquet"),
			want: []string{"a1.parquet"}},
		{name: "54 six digits are no shards", files: []string{"data/train-000000-of-000001.parquet", "data/custom-000000-of-000001.parquet"},
			want: []string{"data/train-000000-of-000001.parquet"}},
		{name: "54 so a custom split is unreachable", files: []string{"data/train-000000-of-000001.parquet", "data/custom-000000-of-000001.parquet"}, split: "custom",
			wantErr: "Split custom is invalid. Valid options are ['train']", kind: source.KindNotFound},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.check(t) })
	}
}

func TestResolveNotesWhatMaySurprise(t *testing.T) {
	l, err := Resolve(treeOf("", "train/train_1/x.parquet", "train/y.parquet"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(l.Configs[0].Notes, "\n"); !strings.Contains(notes, "train/train_1/x.parquet is named by several patterns") {
		t.Errorf("got notes %q, want one about the file that is read once", notes)
	}
	l, err = Resolve(treeOf("", "a[1].parquet", "a1.parquet"), files("a[1].parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(l.Configs[0].Notes, "\n"); !strings.Contains(notes, "set of characters") {
		t.Errorf("got notes %q, want a hint about brackets", notes)
	}
}
