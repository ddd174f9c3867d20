package writer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// tree is a State's files as a batch leaves them.
type tree struct {
	files  []source.File
	readme []byte
}

// after applies batches. The files stay in byte order.
func (t tree) after(at source.Snapshot, batches []Batch) tree {
	gone, readme := map[string]bool{}, false
	var fresh []source.File
	for _, b := range batches {
		for _, d := range b.Deletes {
			gone[d] = true
		}
		for _, a := range b.Adds {
			gone[a.Path] = true
			fresh = append(fresh, source.File{At: at, Path: a.Path, Size: a.File.Size, OID: a.File.OID})
		}
		if b.Readme != nil {
			t.readme, readme = b.Readme, true
		}
	}
	if readme && !present(t.files, ReadmePath) {
		fresh = append(fresh, source.File{At: at, Path: ReadmePath, Size: int64(len(t.readme))})
	}
	byPath := func(a, b source.File) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(fresh, byPath)
	files := make([]source.File, 0, len(t.files)+len(fresh))
	for _, f := range t.files {
		if gone[f.Path] {
			continue
		}
		for len(fresh) > 0 && fresh[0].Path < f.Path {
			files, fresh = append(files, fresh[0]), fresh[1:]
		}
		files = append(files, f)
	}
	return tree{files: append(files, fresh...), readme: t.readme}
}

// runs divides batches at those after which the tree has to be resolved. Of a run
// of batches that only add files, or only delete some, under one README, the first
// and the last are enough. A set of patterns finds more in more files and less in
// fewer, and which set is the one that counts depends on which of them find
// anything: if it is the same after the first and after the last, it is the same
// between, and what it finds there is what it finds at the fuller end, less what is
// not there yet or any more.
func runs(batches []Batch) [][]Batch {
	var out [][]Batch
	from := 0
	for i := range batches {
		inner := i > 0 && i+1 < len(batches) && batches[i-1].continues(batches[i]) && batches[i].continues(batches[i+1])
		if !inner {
			out = append(out, batches[from:i+1])
			from = i + 1
		}
	}
	return out
}

// continues reports whether next changes the tree in the same direction as b.
func (b Batch) continues(next Batch) bool {
	adds, deletes := len(b.Adds) > 0, len(b.Deletes) > 0
	return adds != deletes && adds == (len(next.Adds) > 0) && deletes == (len(next.Deletes) > 0) && b.Step == next.Step && b.reading == next.reading
}

// verify runs dataset resolution on the tree as it is between the parts. It
// returns whether the job's files are found in the end, or *unreadable.
func (p *planner) verify(plan *Plan, parts [][]Batch) (resolves bool, err error) {
	t := tree{files: p.State.Files, readme: p.State.Readme}
	own, deleted := setOf(plan.Paths), map[string]bool{}
	layout := p.before
	for i, part := range parts {
		t = t.after(p.State.At, part)
		for _, b := range part {
			for _, d := range b.Deletes {
				deleted[d] = true
			}
		}
		if layout, err = resolve(t.files, t.readme, p.State.HuggingfaceYAML); err != nil {
			return false, &unreadable{text(err)}
		}
		v := view{p: p, after: layout, own: own, deleted: deleted, last: i == len(parts)-1}
		for _, path := range plan.Paths {
			if present(t.files, path) {
				v.present = append(v.present, path)
			}
		}
		if err := v.check(); err != nil {
			return false, err
		}
	}
	return finds(layout, plan.Paths), nil
}

// present is a binary search: the files are in byte order.
func present(files []source.File, path string) bool {
	_, ok := slices.BinarySearchFunc(files, path, func(f source.File, path string) int { return strings.Compare(f.Path, path) })
	return ok
}

// finds reports whether every path is in some readable split.
func finds(l *dataset.Layout, paths []string) bool {
	if l == nil {
		return false
	}
	found := map[string]bool{}
	for _, c := range l.Configs {
		if c.Err != nil {
			continue
		}
		for _, s := range c.Splits {
			for _, f := range s.Files {
				found[f.Path] = true
			}
		}
	}
	for _, path := range paths {
		if !found[path] {
			return false
		}
	}
	return true
}

// view compares the layout after one batch with the one before the job.
type view struct {
	p       *planner
	after   *dataset.Layout
	own     map[string]bool // paths of the job
	present []string        // those that are there after the batch, in order
	deleted map[string]bool
	last    bool // nothing of the job is left to do
}

func broken(format string, args ...any) error { return &unreadable{fmt.Sprintf(format, args...)} }

// check is the postcondition of a batch.
func (v view) check() error {
	for _, before := range v.p.before.Configs {
		after, ok := config(v.after, before.Name)
		if !ok {
			return broken("config %s would no longer be there", before.Name)
		}
		if err := v.sameConfig(before, after); err != nil {
			return err
		}
	}
	for _, after := range v.after.Configs {
		if err := v.mayHave(after); err != nil {
			return err
		}
	}
	if v.p.Job.Naming != NamingDataset {
		return nil
	}
	return v.checkSplit()
}

func config(l *dataset.Layout, name string) (dataset.Config, bool) {
	for _, c := range l.Configs {
		if c.Name == name {
			return c, true
		}
	}
	return dataset.Config{}, false
}

func splitOf(c dataset.Config, name string) (dataset.Split, bool) {
	for _, s := range c.Splits {
		if s.Name == name {
			return s, true
		}
	}
	return dataset.Split{}, false
}

func (v view) isTarget(config, split string) bool {
	return v.p.Job.Naming == NamingDataset && config == v.p.slot.config && split == v.p.slot.split
}

// sameConfig: what a config was read as, it still is, except for the job's files.
func (v view) sameConfig(before, after dataset.Config) error {
	if before.Default != after.Default {
		return broken("config %s would no longer be the default, or become it", before.Name)
	}
	empty := source.KindOf(before.Err) == source.KindNotFound
	switch {
	case before.Err == nil && after.Err != nil && !v.emptied(before):
		return broken("config %s could no longer be read: %s", before.Name, text(after.Err))
	case before.Err != nil && after.Err == nil && !empty && !(v.p.replacing() && before.Name == v.p.slot.config):
		return broken("config %s cannot be read now (%s), and would be read as the new files only", before.Name, text(before.Err))
	case before.Err == nil && after.Err == nil:
		return v.sameSplits(before, after)
	}
	return nil // there was nothing to read, or it is what the job deletes
}

func (v view) sameSplits(before, after dataset.Config) error {
	for _, was := range before.Splits {
		if v.isTarget(before.Name, was.Name) {
			continue
		}
		is, ok := splitOf(after, was.Name)
		if !ok && len(v.others(was.Files)) > 0 {
			return broken("split %s of config %s would no longer be there", was.Name, before.Name)
		}
		if !slices.Equal(v.others(was.Files), v.others(is.Files)) {
			return broken("split %s of config %s would have other files", was.Name, before.Name)
		}
		if v.p.Job.Naming == NamingDataset && len(v.others(is.Files)) != len(is.Files) {
			return broken("split %s of config %s would get the new files", was.Name, before.Name)
		}
	}
	return nil
}

// emptied reports whether the job deletes everything that a config has.
func (v view) emptied(c dataset.Config) bool {
	for _, s := range c.Splits {
		if len(v.others(s.Files)) > 0 {
			return false
		}
	}
	return len(v.present) == 0
}

// others are the paths that are neither the job's nor deleted by it.
func (v view) others(files []source.File) []string {
	out := []string{}
	for _, f := range files {
		if !v.own[f.Path] && !v.deleted[f.Path] {
			out = append(out, f.Path)
		}
	}
	return out
}

// mayHave: configs and splits that were not there hold the job's files only.
func (v view) mayHave(after dataset.Config) error {
	before, known := config(v.p.before, after.Name)
	if !known {
		if len(v.p.before.Configs) > 0 && (v.p.Job.Naming != NamingDataset || after.Name != v.p.slot.config) {
			return broken("config %s would appear", after.Name)
		}
		if after.Default && slices.ContainsFunc(v.p.before.Configs, func(c dataset.Config) bool { return c.Default }) {
			return broken("config %s would be a second default", after.Name)
		}
	}
	for _, s := range after.Splits {
		if _, ok := splitOf(before, s.Name); ok || before.Err != nil {
			continue
		}
		if v.p.Job.Naming == NamingDataset && !v.isTarget(after.Name, s.Name) {
			return broken("split %s of config %s would appear", s.Name, after.Name)
		}
		if len(v.others(s.Files)) > 0 {
			return broken("split %s of config %s would get files of others", s.Name, after.Name)
		}
	}
	return nil
}

// checkSplit: the target split is its old files followed by the job's; after an
// overwrite the job's only.
func (v view) checkSplit() error {
	target, _ := config(v.after, v.p.slot.config)
	if target.Err != nil {
		return broken("config %s could not be read: %s", v.p.slot.config, text(target.Err))
	}
	if v.p.Job.Config == "" && !target.Default {
		return broken("config %s would not be the default", v.p.slot.config)
	}
	split, _ := splitOf(target, v.p.slot.split)
	is := make([]string, len(split.Files))
	var own, old []string
	for i, f := range split.Files {
		is[i] = f.Path
		if v.own[f.Path] {
			own = append(own, f.Path)
		} else {
			old = append(old, f.Path)
		}
	}
	want := v.others(v.p.slot.files)
	switch {
	case !slices.Equal(own, v.present):
		return broken("split %s would not hold the new files in their order", v.p.slot.split)
	// Once all new files are there, an overwrite may stop listing the old ones.
	case v.p.Job.Mode == ModeOverwrite && len(old) == 0 && len(own) == len(v.own):
	case !slices.Equal(old, want):
		return broken("split %s would not hold its old files in their order", v.p.slot.split)
	// While an overwrite is under way, and where other jobs' files came between
	// this job's batches, only the order within each is fixed.
	case v.p.Job.Mode == ModeOverwrite && !v.last, v.p.Past.Batches > 0:
		return nil
	case !slices.Equal(is, append(want, v.present...)):
		return broken("split %s would not be read as its old files followed by the new ones", v.p.slot.split)
	}
	return nil
}

// sameContent reports whether a file of the tree is a staged file: by its sha256
// if the tree has one, else by git's id of its bytes.
func sameContent(f source.File, s StagedFile) bool {
	if f.Size != s.Size {
		return false
	}
	if f.OID != "" {
		return f.OID == s.OID
	}
	if s.Mode != UploadRegular {
		return false
	}
	raw, err := s.Bytes()
	return err == nil && source.GitBlobID(raw) == f.ETag
}
