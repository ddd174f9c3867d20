package writertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset/datasetslib"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// resolved is what the reference library makes of a revision.
type resolved struct {
	Error   string                 `json:"error"`
	Default *string                `json:"default"`
	Configs map[string]configFiles `json:"configs"`
}

// configFiles are the files of a config's splits, or the sort of error that they cannot
// be told for.
type configFiles struct {
	files map[string][]string
	err   string
}

// UnmarshalJSON implements json.Unmarshaler: a text is an error.
func (s *configFiles) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &s.err); err == nil {
		return nil
	}
	var pairs [][2]json.RawMessage
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return err
	}
	s.files = map[string][]string{}
	for _, pair := range pairs {
		var name string
		var paths []string
		if err := errors.Join(json.Unmarshal(pair[0], &name), json.Unmarshal(pair[1], &paths)); err != nil {
			return err
		}
		s.files[name] = paths
	}
	return nil
}

type revision struct {
	Repo     string `json:"repo"`
	Revision string `json:"revision"`
}

// found is a repository as it may be found, and what is written to it.
type found struct {
	repo, readme  string
	paths         []string
	mode          writer.Mode
	config, split string
	publish       string
	perCommit     int
	partitions    int

	before, after string
	added         []string
	refused       error
}

func (f *found) String() string {
	return fmt.Sprintf("%s: %s of %d files to config %q split %q (%s, %d per commit)\nfiles %q\nREADME %q\nadded %q", f.repo, f.mode, f.partitions, f.config, f.split, f.publish, f.perCommit, f.paths, f.readme, f.added)
}

// chooser picks at random.
type chooser struct{ *rand.Rand }

func pick[T any](c chooser, from ...T) T { return from[c.IntN(len(from))] }

// newFound is the case of a seed.
func newFound(seed uint64) *found {
	c := chooser{rand.New(rand.NewPCG(seed, 20261121))}
	f := &found{repo: fmt.Sprintf("org/found-%d", seed), mode: pick(c, writer.ModeAppend, writer.ModeOverwrite), partitions: 1 + c.IntN(3),
		config: pick(c, "", "", "", "default", "gen", "en", "v1"), split: pick(c, "", "", "train", "test", "validation", "extra", "train_sft"),
		publish: pick(c, writer.PublishBatches, writer.PublishBatches, writer.PublishSwitch), perCommit: pick(c, 50, 50, 1, 2)}
	splits := []string{"train", "test", "validation", "extra", "train_sft", "random"}[:1+c.IntN(6)]
	add := func(format string, args ...any) { f.paths = append(f.paths, fmt.Sprintf(format, args...)) }
	var configs []string
	switch c.IntN(8) {
	case 0, 1: // push_to_hub and this project
		suffix := pick(c, "", "", "-0123456789abcdef")
		for _, s := range splits {
			n := 1 + c.IntN(3)
			for i := range n {
				add("data/%s-%05d-of-%05d%s.parquet", s, i, n, suffix)
			}
		}
		if c.IntN(3) == 0 {
			configs = append(configs, globs("default", "data/%s-*", splits, c.IntN(2) == 0))
		}
	case 2: // a folder per config, listed
		names := []string{"en", "v1", "'0625'", "fr-x"}[:1+c.IntN(4)]
		for i, name := range names {
			folder := pick(c, "", "sets/") + strings.Trim(name, "'")
			for _, s := range splits {
				add("%s/%s-00000-of-00001.parquet", folder, s)
			}
			switch c.IntN(3) {
			case 0:
				configs = append(configs, fmt.Sprintf("- config_name: %s\n  data_dir: %s\n", name, folder))
			default:
				configs = append(configs, globs(name, folder+"/%s-*", splits, i == 0))
			}
		}
	case 3: // files named by their split
		for _, s := range splits[:min(3, len(splits))] {
			add("%s%s.parquet", s, pick(c, "", "", "_0", "-1"))
		}
	case 4: // folders named by their split
		for _, s := range splits[:min(3, len(splits))] {
			for _, name := range []string{"a", "0000", "train"}[:1+c.IntN(3)] {
				add("%s%s/%s.parquet", pick(c, "", "", "data/"), s, name)
			}
		}
	case 5: // write_parquet
		for i := range 1 + c.IntN(3) {
			add("%spart-%05d.parquet", pick(c, "", "", "sub/"), i)
		}
	case 6: // any names
		for range 1 + c.IntN(4) {
			add("%s%s%d.parquet", pick(c, "", "x/", "data/", "a/b/"), pick(c, "zebra", "ant", "7", "my-set"), c.IntN(9))
		}
		if c.IntN(3) == 0 {
			configs = append(configs, "- config_name: "+pick(c, "default", "v1")+"\n  data_files: "+pick(c, "'**/*.parquet'", "'**'", "x/*")+"\n")
		}
	case 7: // paths, one by one
		var list strings.Builder
		for i := range 1 + c.IntN(3) {
			add("files/%d.parquet", i)
			fmt.Fprintf(&list, "    - files/%d.parquet\n", i)
		}
		configs = append(configs, "- config_name: "+pick(c, "default", "en")+"\n  data_files:\n  - split: train\n    path:\n"+list.String())
	}
	f.paths = slices.Compact(slices.Sorted(slices.Values(f.paths)))
	if c.IntN(5) == 0 {
		f.paths = append(f.paths, pick(c, "LICENSE", "docs/guide.md", "NOTES.md", "scripts/make.py", "assets/logo.png"))
	}
	switch {
	case len(configs) > 0:
		f.readme = "---\n" + pick(c, "", "license: mit # ours\n") + "configs:\n" + strings.Join(configs, "") + "---\n# A dataset\n"
	case c.IntN(3) == 0:
		f.readme = pick(c, "# hi\n", "---\nlicense: mit\n---\n# hi\n", "---\ndataset_info:\n  features:\n  - name: id\n    dtype: int64\n---\n")
	}
	return f
}

// globs is a config with a pattern for each split.
func globs(name, pattern string, splits []string, isDefault bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- config_name: %s\n", name)
	if isDefault && name != "default" {
		b.WriteString("  default: true\n")
	}
	b.WriteString("  data_files:\n")
	for _, s := range splits {
		fmt.Fprintf(&b, "  - split: %s\n    path: "+pattern+"\n", s, s)
	}
	return b.String()
}

// TestTheReferenceLibraryReadsEverythingAsBeforeAndTheJobsFilesBesides writes to
// seeded repositories and asks the datasets library for the files of every config and
// split before and after: the difference is exactly the job's files.
// HUBFLIGHT_WRITE=full has more of them.
func TestTheReferenceLibraryReadsEverythingAsBeforeAndTheJobsFilesBesides(t *testing.T) {
	t.Parallel() // it waits for Python half the time
	datasetslib.Python(t)
	n := counts(300, 3000)
	raw := parquetOf(t, 1)
	var options []hubtest.Option
	var all []*found
	for seed := range uint64(n) {
		f := newFound(seed)
		files := map[string][]byte{}
		for _, p := range f.paths {
			files[p] = raw
		}
		if f.readme != "" {
			files["README.md"] = []byte(f.readme)
		}
		options, all = append(options, hubtest.Dataset(f.repo, files)), append(all, f)
	}
	r := newRig(t, options...)
	var revisions []revision
	refused := map[source.Kind]int{}
	for _, f := range all {
		f.write(r)
		if f.refused != nil {
			refused[source.KindOf(f.refused)]++
			equal(t, f.String()+"\nhead after a refusal", f.after, f.before)
			continue
		}
		revisions = append(revisions, revision{f.repo, f.before}, revision{f.repo, f.after})
	}
	t.Logf("%d written, refused %v", len(revisions)/2, refused)
	if len(revisions)/2 < n*3/4 {
		t.Errorf("only %d of %d were written", len(revisions)/2, n)
	}
	answers := datasetslib.Ask[resolved](t, "testdata/resolve.py", r.hub.HubURL, revisions)
	at, unread := 0, 0
	for _, f := range all {
		if f.refused == nil && answers[at].unreadable() {
			unread++
			at += 2
		} else if f.refused == nil {
			if err := f.compare(answers[at], answers[at+1]); err != nil {
				t.Errorf("%v: %v\nbefore %v\nafter  %v", f, err, answers[at], answers[at+1])
			}
			at += 2
		}
	}
	t.Logf("%d could not be read before", unread)
	if unread > n/25 {
		t.Errorf("%d of %d could not be read before", unread, n)
	}
}

// unreadable: the library reads nothing of a dataset whose card lists a config without
// files first (source/dataset looks at configs one by one). What is written to such a
// dataset it does not read either.
func (r resolved) unreadable() bool {
	return r.Error != "" && !r.empty()
}

// empty: there is no data file at all.
func (r resolved) empty() bool { return strings.Contains(r.Error, "doesn't contain any data files") }

// write runs the job.
func (f *found) write(r *rig) {
	r.t.Helper()
	head := func() string {
		head, err := r.hub.Head(f.repo, "main")
		if err != nil {
			r.t.Fatal(err)
		}
		return head
	}
	f.before = head()
	j := r.job(f.mode, func(b *writer.BeginRequest) {
		b.Dataset, b.Config, b.Split, b.Publish = f.repo, f.config, f.split, f.publish
	}).perCommit(f.perCommit)
	err := j.Begin()
	if err == nil {
		var partitions [][]int64
		for i := range f.partitions {
			partitions = append(partitions, []int64{int64(100 + i)})
		}
		err = j.StageAll(partitions...)
	}
	if err == nil {
		_, err = j.w.Commit(r.t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
			if e.Item != nil {
				f.added = append(f.added, e.Item.Path)
			}
		})
	}
	f.after = head()
	if f.refused = err; err != nil && source.KindOf(err) != source.KindInvalid && source.KindOf(err) != source.KindUnsupported && source.KindOf(err) != source.KindNotFound {
		r.t.Errorf("%v: %v", f, err)
	}
}

// data leaves out what is no data, which the library takes for it where a card says **.
func data(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool { return !strings.HasSuffix(name, ".parquet") })
}

// compare says what is not as it should be.
func (f *found) compare(before, after resolved) error {
	if after.Error != "" {
		return fmt.Errorf("nothing can be read any more")
	}
	want := map[string]map[string][]string{}
	for name, c := range before.Configs {
		want[name] = map[string][]string{}
		for split, files := range c.files {
			want[name][split] = data(files)
		}
	}
	config, split := f.config, f.split
	if config == "" {
		if config = "default"; before.Default != nil {
			config = *before.Default
		}
	}
	if split == "" {
		split = "train"
	}
	if want[config] == nil {
		want[config] = map[string][]string{}
	}
	if f.mode == writer.ModeOverwrite {
		want[config][split] = nil
	}
	want[config][split] = slices.Concat(want[config][split], f.added)
	if len(f.added) != f.partitions {
		return fmt.Errorf("%d files were added", len(f.added))
	}
	if before.Default != nil && (after.Default == nil || *before.Default != *after.Default) {
		return fmt.Errorf("the default config is another one")
	}
	if got := slices.Sorted(maps.Keys(after.Configs)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		return fmt.Errorf("configs %q", got)
	}
	for name, c := range after.Configs {
		if c.err != before.Configs[name].err {
			return fmt.Errorf("config %s: %s", name, c.err)
		}
		for split, files := range c.files {
			c.files[split] = data(files)
		}
		if c.err == "" && !maps.EqualFunc(c.files, want[name], slices.Equal) {
			return fmt.Errorf("config %s: got %v, want %v", name, c.files, want[name])
		}
	}
	return nil
}
