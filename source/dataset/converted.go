package dataset

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// convertedPath is {config}/[partial-]{split}[-partN]/{NNNN}.parquet. Split names
// hold no dash, config names may.
var convertedPath = regexp.MustCompile(`\A([^/]+)/(partial-)?([^/-]+)(?:-part([0-9]{1,9}))?/([0-9]{4,9})\.parquet\z`)

// shard is one file of a converted tree with its place in the split.
type shard struct {
	config, split string
	partial       bool
	part, number  int
	file          source.File
}

func parseShard(f source.File) (shard, bool) {
	m := convertedPath.FindStringSubmatch(f.Path)
	if m == nil || strings.HasPrefix(m[1], ".") || !isSplitName(m[3]) {
		return shard{}, false
	}
	s := shard{config: m[1], split: m[3], partial: m[2] != "", file: f}
	s.part, _ = strconv.Atoi(m[4]) // at most nine digits; none is part 0
	s.number, _ = strconv.Atoi(m[5])
	return s, true
}

// resolveConverted is Resolve for the tree of a conversion: the first folder is
// the config, the second the split. Shards are ordered by part and number, not by
// name. A config that was cut off (split folders beginning "partial-") has an
// Err unless allowPartial; with it, it is marked Partial.
func resolveConverted(t Tree, allowPartial bool) (*Layout, error) {
	r := newResolver(t)
	configs := make(map[string][]shard)
	var names []string
	for _, f := range t.Files {
		s, ok := parseShard(f)
		if !ok {
			continue
		}
		if configs[s.config] == nil {
			names = append(names, s.config)
		}
		configs[s.config] = append(configs[s.config], s)
	}
	if len(names) == 0 {
		return &Layout{empty: r.noData("The conversion at %s doesn't contain any data files", r.name)}, nil
	}
	// The Hub lists the default config first, the others by name.
	slices.SortFunc(names, func(a, b string) int {
		if (a == defaultConfig) != (b == defaultConfig) {
			if a == defaultConfig {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	l := &Layout{}
	for _, name := range names {
		c := convertedConfig(name, configs[name])
		c.Default = len(names) == 1 || name == defaultConfig
		if c.Partial && !allowPartial {
			c.refusePartial(r.name)
		}
		l.Configs = append(l.Configs, c)
	}
	return l, nil
}

func convertedConfig(name string, shards []shard) Config {
	c := Config{Name: name}
	slices.SortStableFunc(shards, func(a, b shard) int {
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.number, b.number))
	})
	splits := make(map[string][]source.File)
	seen := make(map[string]bool)
	for _, s := range shards {
		c.Partial = c.Partial || s.partial
		seen[s.split] = true
		splits[s.split] = append(splits[s.split], s.file)
	}
	for _, split := range orderSplits(seen) {
		c.Splits = append(c.Splits, Split{Name: split, Files: splits[split]})
	}
	if c.Partial {
		c.Notes = []string{partialNote}
	}
	return c
}

const partialNote = "partial conversion: about the first 5 GB of the data"

func (c *Config) refusePartial(dataset string) {
	c.Splits = nil
	c.Err = source.Errorf(source.KindUnsupported, "conversion", "the Parquet conversion of config %s is partial: it holds only about the first 5 GB", c.Name).
		WithFile(dataset, "").WithHint("partial=\"allow\" reads what there is")
}

// markPartial does the same for a conversion that is read by data_dir or
// data_files, whose folders mean nothing then: what was cut off is never taken
// for the whole.
func markPartial(l *Layout, dataset string, allowPartial bool) {
	for i := range l.Configs {
		c := &l.Configs[i]
		for _, s := range c.Splits {
			c.Partial = c.Partial || slices.ContainsFunc(s.Files, func(f source.File) bool {
				shard, ok := parseShard(f)
				return ok && shard.partial
			})
		}
		switch {
		case c.Partial && !allowPartial:
			c.refusePartial(dataset)
		case c.Partial:
			c.note(partialNote)
		}
	}
}

// looksConverted reports whether a tree has the shape of a conversion and
// nothing that says otherwise.
func looksConverted(t Tree) bool {
	if t.Readme != nil || t.HuggingfaceYAML != nil {
		return false
	}
	shards := 0
	for _, f := range t.Files {
		if _, ok := parseShard(f); ok {
			shards++
		} else if isDataFile(f.Path[strings.LastIndexByte(f.Path, '/')+1:]) {
			return false
		}
	}
	return shards > 0
}
