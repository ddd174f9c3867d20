package dataset

import (
	"errors"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// standardSplits come first, in this order, wherever splits are inferred.
var standardSplits = []string{"train", "validation", "test"}

// splitKeywords are the names by which files and folders say their split.
var splitKeywords = map[string][]string{
	"train":      {"train", "training"},
	"validation": {"validation", "valid", "dev", "val"},
	"test":       {"test", "testing", "eval", "evaluation"},
}

const (
	nonWord    = "[-._ 0-9]" // what may stand beside a keyword
	fiveDigits = "[0-9][0-9][0-9][0-9][0-9]"
	shardGlob  = "-" + fiveDigits + "-of-" + fiveDigits + "*.*"
	shardedDir = "data"
)

// shardedName takes the split from a shard's name: everything before the last
// -NNNNN-of-NNNNN. (The reference's own expression is content with four digits
// at the end.)
var shardedName = regexp.MustCompile(`\A(.+)-[0-9]{5}-of-[0-9]{4}`)

// infer fills the config by the default rules below dir. The first stage in
// which any data file matches decides for the whole folder:
//
//  1. data/{split}-NNNNN-of-NNNNN*: any split name
//  2. **/*.eval: the split logs (a format of its own)
//  3. folders named by a keyword, 4. files named by a keyword
//  5. everything: train
//
// In the reference any file captures a stage (scripts/test/run.py hides the
// data beside it), and a stage of 5.2 gives every dataset with an instruction.md
// to a text format. Here only data files count, and documentation is none.
func (r *resolver) infer(c *Config, dir string) {
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	splits, err := r.sharded(prefix + shardedDir + "/")
	if err != nil {
		c.Err = err
		return
	}
	for _, stage := range keywordStages {
		if splits == nil {
			splits = r.stage(stage, prefix)
		}
	}
	if splits == nil {
		c.Err = r.noData("The directory at %s doesn't contain any data files", r.at(dir))
		return
	}
	r.fill(c, "", DataFiles{Splits: splits}, inferredPatterns)
}

// addShards adds the splits of shards directly below the folder that the option
// data_dir names, if no split has them: with data_dir=data the reference finds no
// others than the standard ones, because its pattern begins with data/ itself. A
// card's data_dir is read as the reference reads it, because a job that appended
// to a split which is there for us alone would write rows that nobody else sees.
func (r *resolver) addShards(c *Config, dir string) {
	if below, err := r.sharded(dir + "/" + shardedDir + "/"); err != nil || below != nil {
		return
	}
	found, err := r.sharded(dir + "/")
	if err != nil {
		return // a name that is no split's is no shard's here
	}
	taken := make(map[string]bool)
	for _, s := range c.Splits {
		taken[s.Name] = true
		for _, f := range s.Files {
			taken[f.Path] = true
		}
	}
	for _, s := range found {
		extra := Config{}
		r.fill(&extra, "", DataFiles{Splits: []SplitPatterns{s}}, inferredPatterns)
		if extra.Err != nil || taken[s.Split] || slices.ContainsFunc(extra.Splits[0].Files, func(f source.File) bool { return taken[f.Path] }) {
			continue
		}
		c.Splits = append(c.Splits, extra.Splits[0])
	}
}

// sharded is the first stage, for one folder.
func (r *resolver) sharded(folder string) ([]SplitPatterns, error) {
	g, err := compileGlob(folder + "*" + shardGlob)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, i := range r.matches(g) {
		p := r.paths[i]
		m := shardedName.FindStringSubmatch(p.base())
		if m == nil || !isSplitName(m[1]) {
			name := ""
			if m != nil {
				name = m[1]
			}
			return nil, source.Errorf(source.KindInvalid, "splits", "Split name should match %s but got '%s'", splitNamePattern, name).
				WithFile(r.name, p.file.Path).WithHint("rename the file, list it in the README's configs, or choose files with data_files")
		}
		names[m[1]] = true
	}
	if len(names) == 0 {
		return nil, nil
	}
	var out []SplitPatterns
	for _, name := range orderSplits(names) {
		out = append(out, SplitPatterns{Split: name, Patterns: []string{folder + name + shardGlob}})
	}
	return out, nil
}

// orderSplits puts the standard splits first and sorts the others.
func orderSplits(names map[string]bool) []string {
	var out, others []string
	for _, s := range standardSplits {
		if names[s] {
			out = append(out, s)
		}
	}
	for name := range names {
		if !slices.Contains(standardSplits, name) {
			others = append(others, name)
		}
	}
	sort.Strings(others)
	return append(out, others...)
}

// keywordStages are the stages after the first, as patterns per split.
var keywordStages = [][]SplitPatterns{
	{{Split: "logs", Patterns: []string{"**/*.eval"}}},
	keywordPatterns("**/K/**", "**/KS*/**", "**/*SK/**", "**/*SKS*/**"),
	keywordPatterns("**/KS*", "**/*SKS*"),
	{{Split: defaultSplit, Patterns: []string{"**"}}},
}

// keywordPatterns writes the forms for each keyword of each split: K is the
// keyword, S one character that is no letter.
func keywordPatterns(forms ...string) []SplitPatterns {
	var out []SplitPatterns
	for _, split := range standardSplits {
		s := SplitPatterns{Split: split}
		for _, keyword := range splitKeywords[split] {
			for _, form := range forms {
				s.Patterns = append(s.Patterns, strings.NewReplacer("K", keyword, "S", nonWord).Replace(form))
			}
		}
		out = append(out, s)
	}
	return out
}

// stage returns the splits of a stage that have files below prefix, nil if none.
func (r *resolver) stage(stage []SplitPatterns, prefix string) []SplitPatterns {
	var out []SplitPatterns
	for _, s := range stage {
		here := SplitPatterns{Split: s.Split}
		matched := false
		for _, pattern := range s.Patterns {
			here.Patterns = append(here.Patterns, prefix+pattern)
			matched = matched || r.any(prefix+pattern)
		}
		if matched {
			out = append(out, here)
		}
	}
	return out
}

func (r *resolver) any(pattern string) bool {
	g, err := compileGlob(pattern)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(r.paths, func(p treePath) bool {
		r.tests++
		return g.selects(p)
	})
}

func (r *resolver) at(dir string) string {
	if dir == "" {
		return r.name
	}
	return r.name + "/" + dir
}

// errNoData marks the errors of trees and patterns without any data file.
var errNoData = errors.New("no data files")

// noData is KindNotFound: there is nothing to read.
func (r *resolver) noData(format string, args ...any) error {
	e := source.Errorf(source.KindNotFound, "data files", format, args...)
	e.Err = errNoData
	return e
}

func isEmpty(err error) bool { return errors.Is(err, errNoData) }

// errOtherFormat marks the errors of datasets in another format than Parquet,
// which a conversion may make readable.
var errOtherFormat = errors.New("not parquet")

func (r *resolver) otherFormat(format string, paths []treePath) error {
	if format == "" {
		return r.noData("No (supported) data files found in %s", r.name)
	}
	found := strings.Join(formatsFound(paths), ", ")
	e := source.Errorf(source.KindUnsupported, "data files", "the dataset's format is %s (files of: %s); only Parquet can be read", format, found).
		WithFile(r.name, "")
	e.Err = errOtherFormat
	return e
}

func isOtherFormat(err error) bool { return errors.Is(err, errOtherFormat) }
