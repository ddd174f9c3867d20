package writer

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// cardInfo keeps the dataset_info of a card true while a plan's batches are
// committed. The reference library refuses to load a split whose num_examples are
// not what it finds, so a number is either right or gone.
type cardInfo struct {
	p     *planner
	plan  *Plan
	index map[string]StagedFile // of the job, by path

	configs []dataset.Config // those whose numbers the job changes

	added   sums // files that this plan's batches have added so far
	own     sums // all files of the job that are there
	deleted int64
	left    map[string]bool // old files of the target split that are there
	touched bool            // a batch replaced or deleted something
}

// sums are what the card counts.
type sums struct{ rows, bytes, size int64 }

func (s *sums) add(f StagedFile) {
	s.rows += f.Rows
	s.bytes += f.NumBytes
	s.size += f.Size
}

func newCardInfo(p *planner, plan *Plan) *cardInfo {
	c := &cardInfo{p: p, plan: plan, index: map[string]StagedFile{}, left: map[string]bool{}, configs: p.counted(plan)}
	for i, path := range plan.Paths {
		c.index[path] = p.Job.Files[i]
		if there, ok := p.index[path]; ok && sameContent(there, p.Job.Files[i]) {
			c.own.add(p.Job.Files[i])
		}
	}
	for _, f := range p.slot.files {
		if _, own := c.index[f.Path]; !own {
			c.left[f.Path] = true
		}
	}
	return c
}

// counted are the configs whose splits a plan changes. Where the caller names the files,
// they are those that read one which comes or goes.
func (p *planner) counted(plan *Plan) []dataset.Config {
	if p.Job.Naming == NamingDataset {
		return []dataset.Config{{Name: p.slot.config, Default: p.slot.isDefault}}
	}
	changed := setOf(append(p.leaving(plan), plan.Paths...))
	reads := func(c dataset.Config) bool {
		return slices.ContainsFunc(c.Splits, func(s dataset.Split) bool {
			return slices.ContainsFunc(s.Files, func(f source.File) bool { return changed[f.Path] })
		})
	}
	configs := slices.Clone(p.before.Configs)
	after, err := resolve(tree{files: p.State.Files, readme: p.State.Readme}.after(p.State.At, plan.Batches).files, p.State.Readme, p.State.HuggingfaceYAML)
	if err == nil { // else the plan is refused
		configs = append(configs, after.Configs...)
	}
	return slices.DeleteFunc(configs, func(c dataset.Config) bool { return !reads(c) })
}

// after returns readme as it must be after one more batch.
func (c *cardInfo) after(readme []byte, b Batch) ([]byte, error) {
	for _, a := range b.Adds {
		c.added.add(a.File)
		c.own.add(a.File)
		if _, replaced := c.p.index[a.Path]; replaced {
			c.touched = true
		}
	}
	for _, path := range b.Deletes {
		c.touched = true
		c.deleted += c.p.index[path].Size
		delete(c.left, path)
	}
	return c.rewrite(readme)
}

// switched returns readme as it must be when the plan's files appear at once and
// what they replace is no longer read.
func (c *cardInfo) switched(readme []byte) ([]byte, error) {
	c.own, c.added = sums{}, sums{}
	for _, f := range c.p.Job.Files {
		c.own.add(f)
	}
	c.added = c.own
	for _, f := range c.p.outgoing() {
		c.deleted += f.Size
		delete(c.left, f.Path)
	}
	return c.rewrite(readme)
}

// rewrite makes a card's dataset_info say what has been counted.
func (c *cardInfo) rewrite(readme []byte) ([]byte, error) {
	if readme == nil {
		return nil, nil
	}
	card, err := parseCard(readme)
	if err != nil {
		return nil, err
	}
	info := card.get("dataset_info")
	changed := false
	for _, config := range c.configs {
		if entry := entryFor(info, config); entry != nil && c.update(entry) {
			changed = true
		}
	}
	if !changed {
		return readme, nil
	}
	if err := card.set("dataset_info", info); err != nil {
		return nil, err
	}
	return card.bytes(), nil
}

// entryFor finds a config's part of dataset_info.
func entryFor(info *yaml.Node, config dataset.Config) *yaml.Node {
	if info == nil {
		return nil
	}
	items := info.Content
	if info.Kind == yaml.MappingNode {
		items = []*yaml.Node{info}
	}
	for _, item := range items {
		item = deref(item)
		n := lookup(item, "config_name")
		if n != nil && n.Value == config.Name || n == nil && (config.Name == "default" || config.Default) {
			return item
		}
	}
	return nil
}

// update makes the entry true and reports whether it changed anything.
func (c *cardInfo) update(entry *yaml.Node) bool {
	changed := false
	if c.p.DropFeatures && lookup(entry, "features") != nil {
		drop(entry, "features")
		changed = true
	}
	splits := lookup(entry, "splits")
	if splits == nil {
		return changed
	}
	if !c.updateSplits(entry, splits) {
		for _, key := range []string{"splits", "download_size", "dataset_size"} {
			drop(entry, key)
		}
	}
	return true
}

// updateSplits sets the numbers of the target split; false means that they are
// not known.
func (c *cardInfo) updateSplits(entry, splits *yaml.Node) bool {
	if splits.Kind != yaml.SequenceNode || c.p.Job.Naming != NamingDataset {
		return false
	}
	var split *yaml.Node
	for _, s := range splits.Content {
		if n := lookup(s, "name"); n != nil && n.Value == c.p.slot.split {
			split = deref(s)
		}
	}
	oldRows, rowsKnown := number(lookup(split, "num_examples"))
	oldBytes, bytesKnown := number(lookup(split, "num_bytes"))
	now := c.own
	switch {
	case len(c.left) == 0: // what is visible is the job's
	case c.touched || !rowsKnown:
		return false
	default:
		now = sums{rows: oldRows + c.added.rows, bytes: oldBytes + c.added.bytes}
	}
	if c.p.replacing() { // the config's other splits go with their format
		splits.Content = nil
		if split != nil {
			splits.Content = append(splits.Content, split)
		}
	}
	if split == nil {
		bytesKnown = true
		split = mapping("name", scalar(c.p.slot.split))
		splits.Content = append(splits.Content, split)
	}
	if len(c.left) == 0 || bytesKnown {
		put(split, "num_bytes", integer(now.bytes))
	}
	put(split, "num_examples", integer(now.rows))
	shift(entry, "download_size", c.added.size-c.deleted, true)
	shift(entry, "dataset_size", now.bytes-oldBytes, bytesKnown)
	return true
}

// number reads an integer scalar.
func number(n *yaml.Node) (int64, bool) {
	if n == nil || n.Kind != yaml.ScalarNode {
		return 0, false
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	return v, err == nil && v >= 0
}

// shift adds to a number of the entry, or removes it if the result is not known.
func shift(entry *yaml.Node, key string, by int64, known bool) {
	n := lookup(entry, key)
	if n == nil {
		return
	}
	v, ok := number(n)
	if !ok || !known || v+by < 0 {
		drop(entry, key)
		return
	}
	put(entry, key, integer(v+by))
}

// hasFeatures reports whether the card declares features for a config, which an
// overwrite with another schema would make wrong.
func hasFeatures(s *State, config string, isDefault bool) bool {
	card, err := parseCard(s.Readme)
	if err != nil || s.Readme == nil {
		return false
	}
	return lookup(entryFor(card.get("dataset_info"), dataset.Config{Name: config, Default: isDefault}), "features") != nil
}

// firstFile is a file of a split whose schema stands for the split's.
func (s slot) firstFile() (source.File, bool) {
	if len(s.files) == 0 {
		return source.File{}, false
	}
	return s.files[0], true
}
