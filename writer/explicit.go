package writer

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// writeCards gives every batch the README that is true after it: configs that
// find the files, where names alone do not, and a dataset_info without stale
// numbers.
func (p *planner) writeCards(c candidate, plan *Plan) error {
	// While files are being added the configs must find the old and the new;
	// once they are all there, those that an overwrite will delete are let go.
	during, after := p.State.Readme, p.State.Readme
	if c.explicit {
		var err error
		if after, err = p.explicitReadme(c, p.Job.Mode != ModeOverwrite); err != nil {
			return err
		}
		if during, err = p.explicitReadme(c, true); err != nil {
			return err
		}
	}
	left := 0
	for _, b := range plan.Batches {
		left += len(b.Adds)
	}
	info := newCardInfo(p, plan)
	was := p.State.Readme
	for i := range plan.Batches {
		b := &plan.Batches[i]
		base := during
		if left -= len(b.Adds); left == 0 {
			base, b.reading = after, 1
		}
		now, err := info.after(base, *b)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, was) {
			b.Readme, was = now, now
		}
	}
	return nil
}

// explicitReadme is the README whose configs list every config and split that
// resolved before, and the job's files; keep says whether the target split's old
// files stay listed.
func (p *planner) explicitReadme(c candidate, keep bool) ([]byte, error) {
	card, err := parseCard(p.State.Readme)
	if err != nil {
		return nil, err
	}
	configs := card.get("configs")
	if !p.before.FromReadme || configs == nil || configs.Kind != yaml.SequenceNode {
		if configs, err = p.inferredEntries(false); err != nil {
			return nil, err
		}
	}
	patterns, err := c.patterns()
	if err != nil {
		return nil, err
	}
	if err := p.enter(configs, patterns, keep); err != nil {
		return nil, err
	}
	p.keepDefault(configs)
	if err := card.set("configs", configs); err != nil {
		return nil, err
	}
	return card.bytes(), nil
}

// patterns are the globs that find the files of a candidate: the usual one, or,
// where that finds too much, one for exactly these names.
func (c candidate) patterns() ([]string, error) {
	if hasGlob(c.names.Prefix) || hasGlob(c.names.Suffix) {
		return nil, &unreadable{"the folder's name holds a character that globs read differently"}
	}
	if c.exact {
		return []string{c.names.Prefix + strings.Repeat("[0-9]", c.names.Width) + c.names.Suffix}, nil
	}
	return []string{c.names.Prefix + "*"}, nil
}

func hasGlob(text string) bool { return strings.ContainsAny(text, "*?[]") }

// replaces reports whether c is the config of another format whose files the job
// deletes.
func (p *planner) replaces(c dataset.Config) bool {
	return p.replacing() && c.Name == p.slot.config
}

// inferredEntries writes down what resolution inferred; native says whether files
// of another format that the job replaces are among it.
func (p *planner) inferredEntries(native bool) (*yaml.Node, error) {
	entries := sequence()
	for _, c := range p.before.Configs {
		if p.replaces(c) && !native {
			continue // enter makes its entry
		}
		if c.Err != nil && !p.replaces(c) {
			return nil, broken("config %s cannot be read now: %s", c.Name, text(c.Err))
		}
		files, err := p.splitsOf(c)
		if err != nil {
			return nil, err
		}
		entries.Content = append(entries.Content, mapping("config_name", scalar(c.Name), "data_files", files))
	}
	return entries, nil
}

// splitsOf writes a config's splits as data_files.
func (p *planner) splitsOf(c dataset.Config) (*yaml.Node, error) {
	out := sequence()
	for _, s := range slices.Concat(c.Splits, c.Native) {
		patterns, err := p.cover(s.Files)
		if err != nil {
			return nil, err
		}
		if len(patterns) > 0 {
			out.Content = append(out.Content, splitEntry(s.Name, patterns))
		}
	}
	return out, nil
}

func splitEntry(split string, patterns []string) *yaml.Node {
	return mapping("split", scalar(split), "path", pathNode(patterns))
}

func pathNode(patterns []string) *yaml.Node {
	if len(patterns) == 1 {
		return scalar(patterns[0])
	}
	list := sequence()
	for _, p := range patterns {
		list.Content = append(list.Content, scalar(p))
	}
	return list
}

// maxLiterals is the longest list of paths that is written into a card.
const maxLiterals = 1000

// cover finds patterns that name exactly these files in this order: one glob if
// there is one, else their paths.
func (p *planner) cover(files []source.File) ([]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	prefix := commonPrefix(files)
	for _, try := range []string{strings.TrimRight(prefix, "0123456789"), prefix} {
		if !hasGlob(try) && try != "" && !strings.HasSuffix(try, "/") && p.matches(try, files) {
			return []string{try + "*"}, nil
		}
	}
	if len(files) > maxLiterals {
		return nil, broken("%d files of one split follow no pattern", len(files))
	}
	patterns := make([]string, len(files))
	for i, f := range files {
		if hasGlob(f.Path) {
			return nil, broken("the name of %s holds a character that globs read differently", f.Path)
		}
		patterns[i] = f.Path
	}
	return patterns, nil
}

// commonPrefix is what the paths begin with, at least up to the folder's slash;
// "" if they are in several folders.
func commonPrefix(files []source.File) string {
	first := files[0].Path
	n := len(first)
	for _, f := range files[1:] {
		if dirOf(f.Path) != dirOf(first) {
			return ""
		}
		i := 0
		for i < n && i < len(f.Path) && f.Path[i] == first[i] {
			i++
		}
		n = i
	}
	// A file alone: its stem, so that the glob does not name the next one's.
	if len(files) == 1 {
		return strings.TrimSuffix(first, path.Ext(first))
	}
	return first[:n]
}

// matches reports whether prefix* names exactly these files among all.
func (p *planner) matches(prefix string, files []source.File) bool {
	var found []string
	for _, f := range p.State.Files {
		if strings.HasPrefix(f.Path, prefix) && !strings.Contains(f.Path[len(prefix):], "/") {
			found = append(found, f.Path)
		}
	}
	return slices.EqualFunc(found, files, func(path string, f source.File) bool { return path == f.Path })
}

// enter adds the job's patterns to the target's entry, or makes one.
func (p *planner) enter(configs *yaml.Node, patterns []string, keep bool) error {
	entry := entryOf(configs, p.slot.config)
	if entry != nil && p.replacing() {
		// What else the entry says are options of the other format's reader.
		fresh := mapping("config_name", scalar(p.slot.config), "data_files", sequence(splitEntry(p.slot.split, patterns)))
		if mark := lookup(entry, "default"); mark != nil {
			put(fresh, "default", mark)
		}
		*entry = *fresh
		return nil
	}
	if entry == nil {
		configs.Content = append(configs.Content, mapping("config_name", scalar(p.slot.config),
			"data_files", sequence(splitEntry(p.slot.split, patterns))))
		return nil
	}
	files, err := p.entrySplits(entry)
	if err != nil {
		return err
	}
	for _, item := range files.Content {
		if name := lookup(item, "split"); name == nil || name.Value != p.slot.split {
			continue
		}
		if keep {
			patterns = merged(scalars(lookup(item, "path")), patterns)
		}
		put(item, "path", pathNode(patterns))
		put(entry, "data_files", files)
		return nil
	}
	files.Content = append(files.Content, splitEntry(p.slot.split, patterns))
	put(entry, "data_files", files)
	return nil
}

func entryOf(configs *yaml.Node, name string) *yaml.Node {
	for _, item := range configs.Content {
		item = deref(item)
		if n := lookup(item, "config_name"); n != nil && n.Value == name {
			return item
		}
	}
	return nil
}

// entrySplits is an entry's data_files as a list of {split, path} relative to the
// root of the dataset, in whatever form they are written.
func (p *planner) entrySplits(entry *yaml.Node) (*yaml.Node, error) {
	files := lookup(entry, "data_files")
	if dir := lookup(entry, "data_dir"); files == nil || dir != nil && dir.Value != "" {
		c, _ := config(p.before, p.slot.config)
		if c.Err != nil {
			return nil, broken("config %s cannot be read now: %s", c.Name, text(c.Err))
		}
		drop(entry, "data_dir")
		return p.splitsOf(c)
	}
	if files.Kind == yaml.SequenceNode && len(files.Content) > 0 && deref(files.Content[0]).Kind == yaml.MappingNode {
		return files, nil
	}
	return sequence(splitEntry("train", scalars(files))), nil
}

// scalars reads a scalar or a list of scalars.
func scalars(n *yaml.Node) []string {
	n = deref(n)
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}
	}
	var out []string
	for _, item := range n.Content {
		out = append(out, deref(item).Value)
	}
	return out
}

// merged appends what is not there yet.
func merged(old, more []string) []string {
	out := slices.Clone(old)
	for _, m := range more {
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// keepDefault marks the config that was the default only because it was the only
// one.
func (p *planner) keepDefault(configs *yaml.Node) {
	if len(configs.Content) < 2 {
		return
	}
	for _, c := range p.before.Configs {
		if !c.Default || c.Name == "default" {
			continue
		}
		if entry := entryOf(configs, c.Name); entry != nil {
			if mark := lookup(entry, "default"); mark == nil || mark.Value != "true" {
				put(entry, "default", boolean(true))
			}
		}
	}
}
