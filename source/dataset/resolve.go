package dataset

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hubflight/hubflight/source"
)

const (
	defaultConfig = "default"
	defaultSplit  = "train"
	allSplits     = "all"
)

// Tree is what resolution looks at: the files of a snapshot in byte order of
// their paths, and the two files that may say how to read them.
type Tree struct {
	Files []source.File
	// Readme is README.md; nil if there is none.
	Readme []byte
	// HuggingfaceYAML is .huggingface.yaml, whose keys replace the README's; nil
	// if there is none.
	HuggingfaceYAML []byte
}

// Options are what a reader may say instead of the dataset's own description.
type Options struct {
	// DataDir re-roots the dataset: default inference below it, and DataFiles
	// relative to it. The README's data_files are not used then.
	DataDir string
	// DataFiles replaces the patterns of every config.
	DataFiles DataFiles

	revision   string   // that was asked for; "" is that of the tree's files
	sameCommit []string // further revisions that are at the tree's commit
}

// Layout is how a dataset is to be read. It has no configs if it has no data.
type Layout struct {
	// Configs in the order of the README, or the one config "default".
	Configs []Config
	// FromReadme is true if the README's configs say so.
	FromReadme bool

	empty error // why there are no configs
	// otherRevisions are those that patterns name and the tree is not known to be of.
	otherRevisions []string
}

// Config is one subset of a dataset.
type Config struct {
	Name string
	// Default is true for the config that is read if none is named.
	Default bool
	// Splits in resolution order.
	Splits []Split
	// Partial is true if the splits hold only the beginning of the data (a cut
	// conversion).
	Partial bool
	// Notes say what a reader may find surprising, for example a file that two
	// patterns name and that is read once.
	Notes []string
	// Err is why this config cannot be read; nil if it can. The others can.
	Err error
	// Native are the splits of a config that Err refuses because none of them is
	// in Parquet: what deleting its data would delete.
	Native []Split

	splitNames []string // in order, also where Err took the splits away
}

// Split is one split and its files in reading order, each of them once.
type Split struct {
	Name  string
	Files []source.File
}

const splitNamePattern = `'^\w+(\.\w+)*$'`

// splitName is Python's \w+(\.\w+)*: letters, digits and underscores of any
// script.
var splitName = regexp.MustCompile(`\A[\p{L}\p{N}_]+(\.[\p{L}\p{N}_]+)*\z`)

func isSplitName(name string) bool { return splitName.MatchString(name) }

// Resolve says which configs and splits a tree has and which files make them
// up. It is pure. Its own error is KindInvalid (an unreadable card, a bad option)
// or KindLimit; what concerns one config only is in that config's Err, and a tree
// without data gives a Layout without configs.
func Resolve(t Tree, o Options) (*Layout, error) {
	dir, problem := cleanDir(o.DataDir)
	if problem != "" {
		return nil, source.Errorf(source.KindInvalid, "data_dir", "data_dir %q %s", o.DataDir, problem)
	}
	if err := o.DataFiles.Validate(); err != nil {
		return nil, source.Errorf(source.KindInvalid, "data_files", "%s", strings.TrimPrefix(err.Error(), "data_files: "))
	}
	c, err := parseCard(t.Readme, t.HuggingfaceYAML)
	if err != nil {
		return nil, err
	}
	r := newResolver(t)
	r.of.Revision, r.sameCommit = cmp.Or(o.revision, r.of.Revision), o.sameCommit
	return r.resolve(c, dir, o.DataFiles)
}

func (r *resolver) resolve(c card, dir string, files DataFiles) (*Layout, error) {
	var l *Layout
	switch {
	case dir != "" || !files.IsZero():
		l = r.override(c, dir, files)
	case len(c.configs) == 0:
		l = r.inferred()
	default:
		l = r.fromCard(c)
	}
	if r.exhausted() {
		return nil, source.Errorf(source.KindLimit, "data files", "the patterns of the dataset's configs are too many for its %d files", len(r.paths)).WithFile(r.name, "").
			WithHint("choose files with data_files")
	}
	l.otherRevisions = r.otherRevisions
	return l, nil
}

// Bounds of one resolution. A hundred thousand files and no README take six
// million tests; a card can ask for any number.
const (
	maxPathTests = 200_000_000
	maxMatches   = 2_000_000
)

// resolver holds the tree prepared for matching.
type resolver struct {
	name  string // the dataset's, for error texts
	of    source.Snapshot
	repo  string         // "" for a local folder
	paths []treePath     // in byte order
	index map[string]int // path → position in paths; made by find
	// How often a path was tested against a pattern, and how often it matched.
	tests, found int

	sameCommit, otherRevisions []string // as in Options and Layout
}

func newResolver(t Tree) *resolver {
	r := &resolver{paths: make([]treePath, len(t.Files))}
	for i, f := range t.Files {
		r.paths[i] = newTreePath(f)
	}
	slices.SortStableFunc(r.paths, func(a, b treePath) int { return cmp.Compare(a.file.Path, b.file.Path) }) // nearly always done
	r.name = "the dataset"
	if len(t.Files) > 0 && t.Files[0].At.Name != "" {
		at := t.Files[0].At
		r.name, r.of = at.Short(), at
		if !at.Local {
			r.repo = at.Name
		}
	}
	return r
}

// matches returns the positions of the data files that a pattern names. A card
// with thousands of configs meets a tree of many thousand files, so only those
// that begin like the pattern are looked at.
func (r *resolver) matches(g *glob) (out []int) {
	first := sort.Search(len(r.paths), func(i int) bool { return r.paths[i].file.Path >= g.prefix })
	for i := first; i < len(r.paths) && strings.HasPrefix(r.paths[i].file.Path, g.prefix) && !r.exhausted(); i++ {
		r.tests++
		if g.selects(r.paths[i]) {
			out = append(out, i)
			r.found++
		}
	}
	return out
}

func (r *resolver) exhausted() bool { return r.tests > maxPathTests || r.found > maxMatches }

// find returns the position of a path.
func (r *resolver) find(path string) (int, bool) {
	if r.index == nil {
		r.index = make(map[string]int, len(r.paths))
		for i, p := range r.paths {
			r.index[p.file.Path] = i
		}
	}
	i, ok := r.index[path]
	return i, ok
}

// inferred is a dataset without configs in its README: one config "default".
func (r *resolver) inferred() *Layout {
	c := Config{Name: defaultConfig, Default: true}
	r.infer(&c, "")
	if isEmpty(c.Err) {
		return &Layout{empty: c.Err}
	}
	return &Layout{Configs: []Config{c}}
}

func (r *resolver) fromCard(c card) *Layout {
	l := &Layout{FromReadme: true}
	for _, entry := range c.configs {
		config := Config{Name: entry.name, Err: entry.err}
		switch {
		case entry.err != nil:
		case entry.files != nil:
			r.fill(&config, entry.dataDir, *entry.files, cardPatterns)
		default:
			r.infer(&config, entry.dataDir)
		}
		l.Configs = append(l.Configs, config)
	}
	markDefaults(l, c)
	return l
}

// override is what data_dir and data_files do: the configs keep their names, and
// each of them has the files that the options name. Where no config would be the
// default, a config "default" is added, so that none has to be named.
func (r *resolver) override(c card, dir string, files DataFiles) *Layout {
	var made Config
	if files.IsZero() {
		r.infer(&made, dir)
		if made.Err == nil && dir != "" {
			r.addShards(&made, dir)
		}
	} else {
		r.fill(&made, dir, files, optionPatterns)
	}
	l := &Layout{FromReadme: len(c.configs) > 0}
	for _, entry := range c.configs {
		config := made
		config.Name = entry.name
		l.Configs = append(l.Configs, config)
	}
	markDefaults(l, c)
	for _, config := range l.Configs {
		if config.Default {
			return l
		}
	}
	if i := l.find(defaultConfig); i >= 0 {
		l.Configs[i].Default = true
		return l
	}
	made.Name, made.Default = defaultConfig, true
	l.Configs = append(l.Configs, made)
	return l
}

// markDefaults applies the rule: the only config, one named "default", one with
// a true "default:", and failing those the one that dataset_info names if it
// names one only. Two candidates are an error for whoever asks for the default.
func markDefaults(l *Layout, c card) {
	found := false
	for i := range l.Configs {
		config := &l.Configs[i]
		config.Default = len(l.Configs) == 1 || config.Name == defaultConfig || c.configs[i].isDefault
		found = found || config.Default
	}
	if !found && len(c.infoNames) == 1 {
		if i := l.find(c.infoNames[0]); i >= 0 {
			l.Configs[i].Default = true
		}
	}
}

func (l *Layout) find(config string) int {
	for i := range l.Configs {
		if l.Configs[i].Name == config {
			return i
		}
	}
	return -1
}

// patternsFrom says who wrote the patterns, which decides how strictly a file
// that is not Parquet is taken.
type patternsFrom uint8

const (
	cardPatterns patternsFrom = iota
	optionPatterns
	inferredPatterns
)

// fill resolves the patterns of each split into the config, below dir.
func (r *resolver) fill(c *Config, dir string, files DataFiles, from patternsFrom) {
	c.splitNames = make([]string, len(files.Splits))
	for i, s := range files.Splits {
		c.splitNames[i] = s.Split
	}
	lists := make([][]treePath, len(files.Splits))
	formats := make([]string, len(files.Splits))
	var all []treePath
	for i, s := range files.Splits {
		var err error
		if lists[i], formats[i], err = r.split(c, s, dir, from); err != nil {
			c.Err = err
			return
		}
		all = append(all, lists[i]...)
	}
	if len(all) == 0 {
		c.Err = r.noData("No (supported) data files found in %s", r.name)
		return
	}
	if err := r.oneFormat(files.Splits, lists, formats); err != nil {
		c.Err = err
		return
	}
	for i, s := range files.Splits {
		if formats[i] != parquetFormat && len(lists[i]) > 0 {
			c.Splits, c.Err = nil, r.otherFormat(formats[i], all)
			c.Native = native(files.Splits, lists, formats)
			return
		}
		parquet, err := r.onlyParquet(lists[i], from)
		if err != nil {
			c.Splits, c.Err = nil, err
			return
		}
		c.Splits = append(c.Splits, Split{Name: s.Split, Files: parquet})
	}
}

// oneFormat refuses splits of different formats: the reference does, and the
// rows of only some splits are not the dataset. A split without files has none.
func (r *resolver) oneFormat(splits []SplitPatterns, lists [][]treePath, formats []string) error {
	var got []string
	differ := false
	first := ""
	for i, s := range splits {
		if len(lists[i]) == 0 {
			continue
		}
		if len(got) == 0 {
			first = formats[i]
		}
		differ = differ || formats[i] != first
		got = append(got, fmt.Sprintf("'%s': '%s'", s.Split, formats[i]))
	}
	if !differ {
		return nil
	}
	return source.Errorf(source.KindUnsupported, "data files", "Couldn't infer the same data file format for all splits. Got {%s}", strings.Join(got, ", ")).
		WithFile(r.name, "").WithHint("choose the Parquet files with data_files")
}

// native lists the splits of a config of another format; nil if one of them is
// in Parquet after all.
func native(splits []SplitPatterns, lists [][]treePath, formats []string) []Split {
	var out []Split
	for i, s := range splits {
		if formats[i] == parquetFormat {
			return nil
		}
		split := Split{Name: s.Split}
		for _, p := range lists[i] {
			split.Files = append(split.Files, p.file)
		}
		out = append(out, split)
	}
	return out
}

// split returns the data files of one split: pattern by pattern in the order
// given, each pattern's matches sorted by path. The reference reads a file again
// for each further pattern that names it; here it is read once, where it comes
// first, but votes for its format as often as it is named there.
func (r *resolver) split(c *Config, s SplitPatterns, dir string, from patternsFrom) (out []treePath, format string, err error) {
	var voters []treePath
	seen := make(map[int]bool)
	for _, pattern := range s.Patterns {
		found, err := r.pattern(c, pattern, dir, from)
		if err != nil {
			return nil, "", err
		}
		for _, i := range found {
			voters = append(voters, r.paths[i])
			if seen[i] {
				c.note("%s is named by several patterns of split %s and read once", r.paths[i].file.Path, s.Split)
				continue
			}
			seen[i] = true
			out = append(out, r.paths[i])
		}
	}
	return out, vote(voters), nil
}

const maxNotes = 20

func (c *Config) note(format string, args ...any) {
	if len(c.Notes) < maxNotes {
		c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
	}
}

// pattern returns the positions of the data files that one pattern names.
func (r *resolver) pattern(c *Config, pattern, dir string, from patternsFrom) ([]int, error) {
	full, err := r.relative(pattern, dir, from)
	if err != nil {
		return nil, err
	}
	g, err := compileGlob(full)
	if err != nil {
		return nil, err
	}
	if !g.magic {
		i, err := r.literal(full, pattern, from)
		if err != nil {
			return nil, err
		}
		return []int{i}, nil
	}
	if from == optionPatterns {
		if _, ok := r.find(full); ok {
			c.note("a file is named exactly %s, but [ ] in a pattern is a set of characters: write [[] for a bracket", full)
		}
	}
	return r.matches(g), nil
}

// literal finds the file that a pattern without wildcards names.
func (r *resolver) literal(full, pattern string, from patternsFrom) (int, error) {
	i, ok := r.find(full)
	if !ok {
		err := source.Errorf(source.KindNotFound, "data files", "Couldn't find any data file at %s", full).WithFile(r.name, "")
		for _, p := range r.paths {
			if strings.HasPrefix(p.file.Path, strings.TrimSuffix(full, "/")+"/") {
				return 0, err.WithHint("%s is a folder: name it with data_dir, or write %s/*.parquet", pattern, strings.TrimSuffix(pattern, "/"))
			}
		}
		return 0, err
	}
	base := r.paths[i].base()
	if !r.paths[i].data || from == optionPatterns && !isParquetFile(base) {
		return 0, source.Errorf(source.KindUnsupported, "data files", "only Parquet files can be read").WithFile(r.name, full).
			WithHint("Parquet files end in .parquet, .geoparquet or .gpq")
	}
	return i, nil
}

// relative joins a pattern to its folder. A full hf:// name of the same
// repository is accepted and read at the pinned commit, so that it must not name
// another.
func (r *resolver) relative(pattern, dir string, from patternsFrom) (string, error) {
	refuse := func(what string) *source.Error {
		return source.Errorf(source.KindInvalid, "data files", "%q %s", pattern, what).WithFile(r.name, "")
	}
	if strings.Contains(pattern, "://") {
		ref, err := source.ParseRef(pattern)
		if err != nil || ref.IsLocal() || ref.Repo != r.repo || r.repo == "" {
			return "", refuse("doesn't belong to " + r.name + ": data files are paths inside the dataset")
		}
		if !r.isAt(ref.Revision) {
			if !slices.Contains(r.otherRevisions, ref.Revision) {
				r.otherRevisions = append(r.otherRevisions, ref.Revision)
			}
			err := refuse(fmt.Sprintf("names revision %q, and the dataset is read at revision %q, which is another commit", ref.Revision, r.of.Revision))
			if from == cardPatterns {
				return "", err.WithHint("a README can only name files of its own commit: choose files with data_files, and the revision with revision=%q", ref.Revision)
			}
			return "", err.WithHint("read it with revision=%q, or leave @%s out of data_files", ref.Revision, ref.Revision)
		}
		return ref.Path, nil
	}
	for strings.HasPrefix(pattern, "./") {
		pattern = strings.TrimPrefix(pattern, "./")
	}
	full := pattern
	if dir != "" {
		full = dir + "/" + pattern
	}
	if problem := source.ValidatePath(full); problem != "" {
		return "", refuse(problem)
	}
	return strings.TrimSuffix(full, "/"), nil // files are meant, as */ is * for the reference
}

// isAt reports whether a revision is known to be the tree's own; "" is.
func (r *resolver) isAt(revision string) bool {
	return revision == "" || revision == r.of.Revision || revision == r.of.Commit || slices.Contains(r.sameCommit, revision)
}

// onlyParquet drops what is not Parquet from a split whose format is. An
// archive is refused: the reference reads what is inside, and leaving it out in
// silence would lose rows.
func (r *resolver) onlyParquet(paths []treePath, from patternsFrom) ([]source.File, error) {
	out := make([]source.File, 0, len(paths))
	for _, p := range paths {
		base := p.base()
		switch {
		case isParquetFile(base):
			out = append(out, p.file)
		case from != optionPatterns && strings.HasSuffix(base, ".zip"):
			return nil, source.Errorf(source.KindUnsupported, "data files", "archives cannot be read").WithFile(r.name, p.file.Path).
				WithHint("choose the Parquet files with data_files")
		}
	}
	return out, nil
}

// cleanDir trims the slashes around a folder's name and says what is wrong with
// it, or "".
func cleanDir(dir string) (clean, problem string) {
	clean = strings.Trim(strings.TrimPrefix(dir, "./"), "/")
	if clean == "." {
		clean = ""
	}
	switch {
	case len(clean) > maxPatternLength:
		return "", "is too long"
	case hasMagic(clean):
		return "", "is a pattern: use data_files"
	}
	return clean, source.ValidatePath(clean)
}
