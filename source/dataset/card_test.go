package dataset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

func TestCardsSayWhichConfigsThereAre(t *testing.T) {
	ab := []string{"a.parquet", "b.parquet", "one/c.parquet"}
	rows := []resolution{
		{name: "other line ends and blanks around the block", readme: " \n---\r\nconfigs:\r\n- config_name: x\r\n  data_files: a.parquet\r\n--- \t\r\ntext", files: ab, want: []string{"a.parquet"}},
		{name: "a byte order mark in front of the block", readme: "\ufeff---\nconfigs:\n- config_name: x\n  data_files: a.parquet\n---\n", files: ab, want: []string{"a.parquet"}},
		{name: "a block that is not at the start is text", readme: "# Title\n---\nconfigs:\n- config_name: x\n  data_files: a.parquet\n---\n", files: ab, want: []string{"a.parquet", "b.parquet", "one/c.parquet"}},
		{name: "an empty block", readme: "---\n\n---\n", files: ab, want: []string{"a.parquet", "b.parquet", "one/c.parquet"}},
		{name: "a config without data_files is inferred", readme: "---\nconfigs:\n- config_name: x\n---\n", files: ab, want: []string{"a.parquet", "b.parquet", "one/c.parquet"}},
		{name: "a config with a data_dir only is inferred below it", readme: "---\nconfigs:\n- config_name: x\n  data_dir: ./one/\n---\n", files: ab, want: []string{"one/c.parquet"}},
		{name: "patterns are relative to the data_dir", readme: "---\nconfigs:\n- config_name: x\n  data_dir: one\n  data_files: '*.parquet'\n---\n", files: ab, want: []string{"one/c.parquet"}},
		{name: "a list is read in its order", readme: "---\nconfigs:\n- config_name: x\n  data_files: [b.parquet, '*.parquet']\n---\n", files: ab, want: []string{"b.parquet", "a.parquet"}},
		{name: "a slash behind a pattern means nothing", readme: "---\nconfigs:\n- config_name: x\n  data_files: ['one/*/', b.parquet/]\n---\n", files: ab, want: []string{"one/c.parquet", "b.parquet"}},
		{name: "paths of a split may be a list", readme: "---\nconfigs:\n- config_name: x\n  data_files:\n  - split: train\n    path: [b.parquet, one/*]\n---\n", files: ab, want: []string{"b.parquet", "one/c.parquet"}},
		{name: "of two configs of one name the last one counts", readme: "---\nconfigs:\n- config_name: x\n  data_files: a.parquet\n- config_name: x\n  data_files: b.parquet\n---\n", files: ab, want: []string{"b.parquet"}},
		{name: "of two equal keys the last one counts", readme: "---\nconfigs: []\nconfigs:\n- config_name: x\n  data_files: a.parquet\n  data_files: b.parquet\n---\n", files: ab, want: []string{"b.parquet"}},
		{name: "anchors and merge keys", readme: "---\nbase: &base\n  data_files: b.parquet\nconfigs:\n- <<: *base\n  config_name: x\n---\n", files: ab, want: []string{"b.parquet"}},
		{name: "dataset_info names the default where nothing else does", readme: "---\ndataset_info:\n  config_name: y\nconfigs:\n- config_name: x\n  data_files: a.parquet\n- config_name: y\n  data_files: b.parquet\n---\n", files: ab, want: []string{"b.parquet"}},
		{name: "dataset_info alone makes no config", readme: "---\ndataset_info:\n  config_name: y\n---\n", files: ab, config: "y", wantErr: "BuilderConfig 'y' not found. Available: ['default']", kind: source.KindNotFound},
		{name: "a default that says no is none", readme: "---\nconfigs:\n- config_name: x\n  default: no\n  data_files: a.parquet\n- config_name: y\n  default: true\n  data_files: b.parquet\n---\n", files: ab, want: []string{"b.parquet"}},
		{name: "unquoted words that YAML 1.1 takes for booleans stay names", readme: "---\nconfigs:\n- config_name: no\n  data_files: a.parquet\n- config_name: on\n  data_files: b.parquet\n---\n", files: ab, config: "no", want: []string{"a.parquet"}},

		{name: "no mapping", readme: "---\n- a\n---\n", files: ab, wantErr: "repo card metadata block should be a dict", kind: source.KindInvalid},
		{name: "no YAML", readme: "---\na: [\n---\n", files: ab, wantErr: "the metadata block is not YAML", kind: source.KindInvalid},
		{name: "configs that are no list", readme: "---\nconfigs: x\n---\n", files: ab, wantErr: "expected configs to be a list", kind: source.KindInvalid},
		{name: "the old list of names", readme: "---\nconfigs: [A, B]\n---\n", files: ab, wantErr: "each config must include `config_name`", kind: source.KindInvalid},
		{name: "characters that no config name may have", readme: "---\nconfigs:\n- config_name: a/b\n  data_files: a.parquet\n---\n", files: ab, wantErr: "bad characters", kind: source.KindInvalid},
		{name: "a dash in a split name", readme: "---\nconfigs:\n- config_name: x\n  data_files: [{split: a-b, path: a.parquet}]\n---\n", files: ab, wantErr: "dashes '-' are not allowed", kind: source.KindInvalid},
		{name: "strings and mappings mixed", readme: "---\nconfigs:\n- config_name: x\n  data_files: [a.parquet, {split: t, path: b.parquet}]\n---\n", files: ab, wantErr: "expected data_files in YAML", kind: source.KindInvalid},
		{name: "a third key", readme: "---\nconfigs:\n- config_name: x\n  data_files: [{split: t, path: b.parquet, extra: 1}]\n---\n", files: ab, wantErr: "expected data_files in YAML", kind: source.KindInvalid},
		{name: "a split twice", readme: "---\nconfigs:\n- config_name: x\n  data_files: [{split: t, path: b.parquet}, {split: t, path: a.parquet}]\n---\n", files: ab, wantErr: "some splits are duplicated in data_files", kind: source.KindInvalid},
		{name: "a pattern that leaves the dataset", readme: "---\nconfigs:\n- config_name: x\n  data_files: ../a.parquet\n---\n", files: ab, wantErr: ".. segment", kind: source.KindInvalid},
		{name: "a data_dir that leaves the dataset", readme: "---\nconfigs:\n- config_name: x\n  data_dir: a/../..\n---\n", files: ab, wantErr: ".. segment", kind: source.KindInvalid},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.check(t) })
	}
}

func TestABadConfigDoesNotHideTheOthers(t *testing.T) {
	card := "---\nconfigs:\n- config_name: bad\n  data_files: {train: a.parquet}\n- config_name: good\n  data_files: b.parquet\n---\n"
	resolution{readme: card, files: []string{"a.parquet", "b.parquet"}, config: "good", want: []string{"b.parquet"}}.check(t)
	resolution{readme: card, files: []string{"a.parquet", "b.parquet"}, config: "bad", wantErr: "config \"bad\"", kind: source.KindInvalid}.check(t)
}

func TestTheStandaloneFileReplacesKeysOfTheCard(t *testing.T) {
	tree := treeOf("---\nconfigs:\n- config_name: x\n  data_files: a.parquet\n---\n", "a.parquet", "b.parquet")
	tree.HuggingfaceYAML = []byte("configs:\n- config_name: y\n  data_files: b.parquet\n")
	got, err := filesOf(t, tree, Options{}, "", "")
	if err != nil || len(got) != 1 || got[0] != "b.parquet" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestACardOfAbsurdSizeIsRefused(t *testing.T) {
	tree := treeOf("---\n"+strings.Repeat("# x\n", maxCardBytes/4)+"---\n", "a.parquet")
	_, err := Resolve(tree, Options{})
	wantError(t, err, source.KindLimit, "larger than")
}

func TestYAMLThatRefersToItselfEnds(t *testing.T) {
	for _, card := range []string{
		"---\nconfigs: &c\n- &a\n  <<: *a\n  config_name: x\n---\n",
		"---\na: &a {<<: *a}\nconfigs: [{<<: *a, config_name: x}]\n---\n",
	} {
		_, _ = Resolve(treeOf(card, "a.parquet"), Options{}) // must return
	}
}

func TestSmallCardsCannotAskForMuchWork(t *testing.T) {
	t.Run("merge keys that double sixty times", func(t *testing.T) {
		var card strings.Builder
		card.WriteString("---\na0: &a0 {x: y}\n")
		for i := 1; i <= 60; i++ {
			fmt.Fprintf(&card, "a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i-1, i-1)
		}
		card.WriteString("configs:\n- <<: *a60\n  config_name: x\n---\n")
		got, err := filesOf(t, treeOf(card.String(), "a.parquet"), Options{}, "", "")
		if err != nil || len(got) != 1 {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("one long list for every config", func(t *testing.T) {
		var card strings.Builder
		card.WriteString("---\nlist: &list [" + strings.Repeat("'**',", 5000) + "'**']\nconfigs:\n")
		for i := range 5000 {
			fmt.Fprintf(&card, "- {config_name: c%d, data_files: *list}\n", i)
		}
		card.WriteString("---\n")
		_, err := Resolve(treeOf(card.String(), "a.parquet"), Options{})
		wantError(t, err, source.KindLimit, "refers to itself too often")
	})
	t.Run("every config is the whole tree", func(t *testing.T) {
		// As after the first configs of a hundred thousand.
		r := newResolver(treeOf("", "a.parquet", "b.parquet"))
		r.found = maxMatches - 1
		_, err := r.resolve(card{}, "", DataFiles{})
		wantError(t, err, source.KindLimit, "too many for its 2 files")
	})
}
