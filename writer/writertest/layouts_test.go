package writertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/writer"
)

// layouts are datasets as they are found: path → text of a card, or "" for a
// Parquet file with one row of its own.
var layouts = map[string]map[string]string{
	"an empty folder":      {},
	"shards":               {"data/train-00000-of-00002.parquet": "", "data/train-00001-of-00002.parquet": "", "data/test-00000-of-00001.parquet": ""},
	"splits of other name": {"data/train-00000-of-00001.parquet": "", "data/train_sft-00000-of-00001.parquet": "", "data/random-00000-of-00001.parquet": ""},
	"parts":                {"part-00000.parquet": "", "part-00001.parquet": ""},
	"one file":             {"train.parquet": ""},
	"a file per split":     {"train.parquet": "", "test.parquet": "", "README.md": "# hi\n"},
	"a folder per split":   {"train/a.parquet": "", "train/b.parquet": "", "test/c.parquet": ""},
	"any names":            {"zebra.parquet": "", "sub/ant.parquet": ""},
	"a README with globs": {
		"README.md": "---\nconfigs:\n- config_name: plain_text\n  data_files:\n  - split: train\n    path: plain_text/train-*\n  - split: test\n    path: plain_text/test-*\n---\n",
		"plain_text/train-00000-of-00001.parquet": "", "plain_text/test-00000-of-00001.parquet": "",
	},
	"two configs": {
		"README.md":    "---\nconfigs:\n- config_name: v1\n  default: true\n  data_files: v1/*.parquet\n- config_name: '0625'\n  data_files:\n  - split: train\n    path: 0625/*\n---\n",
		"v1/x.parquet": "", "0625/y.parquet": "",
	},
	"configs with data_dir": {
		"README.md":       "---\nconfigs:\n- config_name: a\n  data_dir: a\n- config_name: b\n  data_dir: b\n  default: true\n---\n",
		"a/train.parquet": "", "b/train.parquet": "", "b/test.parquet": "",
	},
	"literal paths": {
		"README.md":     "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path:\n    - x/one.parquet\n    - two.parquet\n---\n",
		"x/one.parquet": "", "two.parquet": "",
	},
}

// content is config → split → ids in reading order.
type content map[string]map[string][]int64

// TestEveryLayoutStaysReadable: whatever is written, what was there is read as it
// was, and the target as its old rows followed by the new ones. (The same cases
// have been read back with the reference library.)
func TestEveryLayoutStaysReadable(t *testing.T) {
	targets := [][2]string{{"", ""}, {"", "test"}, {"", "extra"}, {"gen", ""}, {"0625", ""}, {"a", "val"}}
	for name, files := range layouts {
		for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
			for _, target := range targets {
				t.Run(fmt.Sprintf("%s %s %s to config %q split %q", name, mode, "rows", target[0], target[1]), func(t *testing.T) {
					checkLayout(t, files, mode, target[0], target[1])
				})
			}
		}
	}
}

func checkLayout(t *testing.T, files map[string]string, mode writer.Mode, config, split string) {
	t.Helper()
	r := newLocalRig(t)
	seed := map[string][]byte{}
	next := int64(0)
	for path, text := range files {
		if next++; text != "" {
			seed[path] = []byte(text)
		} else {
			seed[path] = parquetOf(t, next)
		}
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "set"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.seed(seed)
	want, defaultBefore := r.content()
	r.local(mode, to(config, split)).must([]int64{100}, []int64{101})
	got, defaultAfter := r.content()

	if config == "" {
		if config = defaultBefore; config == "" {
			config = "default"
		}
	}
	if split == "" {
		split = "train"
	}
	if want[config] == nil {
		want[config] = map[string][]int64{}
	}
	if mode == writer.ModeOverwrite {
		want[config][split] = nil
	}
	want[config][split] = append(want[config][split], 100, 101)
	equal(t, "content", got, want)
	if defaultBefore != "" {
		equal(t, "default config", defaultAfter, defaultBefore)
	}
}

// content resolves the folder and reads everything.
func (r *rig) content() (all content, defaultConfig string) {
	r.t.Helper()
	ref, err := source.ParseRef("file://" + filepath.Join(r.dir, "set"))
	if err != nil {
		r.t.Fatal(err)
	}
	store, err := r.roots.Store(ref)
	if err != nil {
		r.t.Fatal(err)
	}
	at, err := store.Resolve(context.Background(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	state, err := writer.LoadState(context.Background(), store, at)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := dataset.Resolve(dataset.Tree{Files: state.Files, Readme: state.Readme}, dataset.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	all = content{}
	for _, c := range l.Configs {
		if c.Err != nil {
			r.t.Fatal(c.Err)
		}
		if c.Default {
			defaultConfig = c.Name
		}
		all[c.Name] = map[string][]int64{}
		for _, s := range c.Splits {
			for _, f := range s.Files {
				raw, err := os.ReadFile(filepath.Join(r.dir, "set", f.Path))
				if err != nil {
					r.t.Fatal(err)
				}
				all[c.Name][s.Name] = append(all[c.Name][s.Name], ids(r.t, raw)...)
			}
		}
	}
	return all, defaultConfig
}
