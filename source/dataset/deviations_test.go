package dataset

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// deviation is one way in which this package gives another answer than the
// datasets library, on purpose. The project's README lists them with the same
// reasons.
type deviation struct {
	name   string
	reason string
	covers func(c repoCase, ours, theirs answer) bool
}

// deviations is the whole list: what is not covered by it is a bug.
var deviations = []deviation{
	{
		name:   "a file is read once",
		reason: "a file that two patterns of a split name would give its rows twice",
		covers: func(_ repoCase, ours, theirs answer) bool { return bothRead(ours, theirs) && ours.equal(once(theirs)) },
	},
	{
		name:   "files of other formats are left out of a Parquet split",
		reason: "the library keeps what a card's pattern names, and fails when it reads it as Parquet",
		covers: func(_ repoCase, ours, theirs answer) bool {
			return bothRead(ours, theirs) && ours.equal(parquetOnly(once(theirs)))
		},
	},
	{
		name:   "a loading script is not looked at",
		reason: "the library refuses a repository with a script of its name, although its Parquet files can be read",
		covers: func(c repoCase, ours, theirs answer) bool {
			script := c.repo()[strings.IndexByte(c.repo(), '/')+1:] + ".py"
			return theirs.Class == "script" && ours.equal(resolved(c.without(func(p string) bool { return p == script }), ours.Asked))
		},
	},
	{
		name:   "a wrong config name is said first",
		reason: "the library looks at the files before it looks at the name, and says what is wrong with those",
		covers: func(_ repoCase, ours, theirs answer) bool {
			return theirs.Class != "" && slices.Contains([]string{"config unknown", "config missing", "several defaults"}, ours.Class)
		},
	},
	{
		name:   "several defaults concern only whoever names no config",
		reason: "a config that is named can be read, however many claim to be the default",
		covers: func(c repoCase, ours, theirs answer) bool {
			// What is read is what would be if no config claimed anything.
			return theirs.Class == "several defaults" && ours.Asked != "" && ours.equal(resolved(c.edited(withoutClaims), ours.Asked))
		},
	},
	{
		name:   "a split without files is left empty",
		reason: "the library finds no format for it and refuses all the others; here it is an error for who reads that split",
		covers: func(_ repoCase, _, theirs answer) bool {
			return theirs.Class == "formats differ" && strings.Contains(theirs.Text, "(None, {})")
		},
	},
	{
		name:   "a dataset_info names no config that is not there",
		reason: "in the library a card whose dataset_info has a config_name, and that has no configs, cannot be loaded without naming the config default",
		covers: func(c repoCase, _, theirs answer) bool {
			return theirs.Class == "config unknown" && strings.Contains(theirs.Text, "Available: ['default']") && len(cardConfigs(c)) == 0
		},
	},
	{
		name:   "configs are looked at one by one",
		reason: "the library takes the format from the first config (or, if that has no data_files, from the root) and fails for all if that fails",
		covers: func(c repoCase, ours, theirs answer) bool {
			configs := cardConfigs(c)
			asked := cmp.Or(ours.Asked, ours.Config)
			// What is read is what would be if the card had this config only.
			if len(configs) == 0 || asked == "" || !ours.equal(resolved(c.edited(func(card string) string { return onlyConfig(card, asked) }), asked)) {
				return false
			}
			if theirs.Class == "" { // read as the first config's format, that is, not at all
				return strings.HasPrefix(ours.Class, "format ") && noFiles(parquetOnly(theirs))
			}
			first := configs[0]
			return ours.Config != first.name || first.dataDir != "" || first.files == nil || strings.Contains(theirs.Text, "matching the patterns for config")
		},
	},
	{
		name:   "./ in front of a path means nothing",
		reason: "on the Hub the library finds no file by such a path, in a local folder it does",
		covers: func(c repoCase, ours, theirs answer) bool {
			return ours.Class == "" && strings.Contains(c.DataDir+string(c.DataFiles)+c.Files[readmeName]+c.Files[huggingfaceYAML], "./") && (theirs.Class != "" || within(once(theirs), ours))
		},
	},
	{
		name:   "what is no data decides nothing",
		reason: "scripts, documentation and names in upper case would choose the splits (and, .md and .toml, the format) of the data beside them",
		covers: func(c repoCase, ours, theirs answer) bool {
			// What is read is what would be if it were not there.
			return theirs.Class != "" && hasNoData(c) && ours.equal(resolved(c.without(isNoData), ours.Asked))
		},
	},
	{
		name:   "shards directly below the option data_dir are splits",
		reason: "with data_dir=data the library looks for data/data/…, and loses every split but train, validation and test",
		covers: func(c repoCase, ours, theirs answer) bool {
			n := len(theirs.Splits)
			return c.DataDir != "" && bothRead(ours, theirs) && len(ours.Splits) > n && answer{Splits: ours.Splits[:n]}.equal(answer{Splits: once(theirs).Splits})
		},
	},
	{
		name:   "names in a card are text",
		reason: "YAML 1.1 takes an unquoted 0625 for the number 405 and no for false, and the library fails on those",
		covers: func(c repoCase, ours, theirs answer) bool {
			return theirs.Class != "" && ours.Class == "" && strings.Contains(c.Files[readmeName], "config_name: 0625")
		},
	},
	{
		name:   "an address inside the same repository needs no revision",
		reason: "the library refuses hf://datasets/… without @revision, and does not pin it with one",
		covers: func(c repoCase, ours, theirs answer) bool {
			return theirs.Class == "foreign file" && strings.Contains(string(c.DataFiles), "hf://datasets/"+c.repo()+"/")
		},
	},
}

// deviationOf names the first deviation that covers a difference, "" if none does.
func deviationOf(c repoCase, ours, theirs answer) string {
	for _, d := range deviations {
		if d.covers(c, ours, theirs) {
			return d.name
		}
	}
	return ""
}

func bothRead(ours, theirs answer) bool { return ours.Class == "" && theirs.Class == "" }

// once is the answer with every file of a split where it comes first only.
func once(a answer) answer {
	out := answer{Config: a.Config}
	for _, s := range a.Splits {
		kept := splitPaths{Name: s.Name, Paths: []string{}}
		for _, p := range s.Paths {
			if !slices.Contains(kept.Paths, p) {
				kept.Paths = append(kept.Paths, p)
			}
		}
		out.Splits = append(out.Splits, kept)
	}
	return out
}

func parquetOnly(a answer) answer {
	for i, s := range a.Splits {
		a.Splits[i].Paths = slices.DeleteFunc(slices.Clone(s.Paths), func(p string) bool { return !isParquetFile(baseName(p)) })
	}
	return a
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func cardConfigs(c repoCase) []cardConfig {
	parsed, err := parseCard([]byte(c.Files[readmeName]), []byte(c.Files[huggingfaceYAML]))
	if err != nil {
		return nil
	}
	return parsed.configs
}

// hasNoData reports whether the tree has files that the library's patterns see
// and that are no data here.
func hasNoData(c repoCase) bool {
	for p := range c.Files {
		if isNoData(p) {
			return true
		}
	}
	return false
}

func isNoData(path string) bool {
	base := baseName(path)
	return !isDataFile(base) && !neverData[base] && !strings.HasPrefix(base, ".")
}

// resolved is this package's answer to a case, or to what one would be that is
// changed a little, without a Hub.
func resolved(c repoCase, asked string) answer {
	o, err := c.options()
	if err != nil {
		return ourError(err)
	}
	t := Tree{}
	at := source.Snapshot{Name: c.repo(), Revision: "main", Commit: strings.Repeat("0", 40)}
	for _, p := range slices.Sorted(maps.Keys(c.Files)) {
		t.Files = append(t.Files, source.File{At: at, Path: p, Size: int64(len(c.Files[p]))})
	}
	if card, ok := c.Files[readmeName]; ok {
		t.Readme = []byte(card)
	}
	if text, ok := c.Files[huggingfaceYAML]; ok {
		t.HuggingfaceYAML = []byte(text)
	}
	l, err := Resolve(t, o)
	return ourAnswer(l, err, asked)
}

// without is the case without some of its files.
func (c repoCase) without(path func(string) bool) repoCase {
	c.Files = maps.Clone(c.Files)
	maps.DeleteFunc(c.Files, func(p, _ string) bool { return path(p) })
	return c
}

// edited is the case with another card.
func (c repoCase) edited(edit func(string) string) repoCase {
	c.Files = maps.Clone(c.Files)
	for _, name := range []string{readmeName, huggingfaceYAML} {
		if text, ok := c.Files[name]; ok {
			c.Files[name] = edit(text)
		}
	}
	return c
}

var claim = regexp.MustCompile(`(?m)^ +default: .*\n`)

// withoutClaims is a card in which no config says that it is the default.
func withoutClaims(card string) string { return claim.ReplaceAllString(card, "") }

// onlyConfig is a card, written line by line as here, without its other configs.
func onlyConfig(card, name string) string {
	var out strings.Builder
	keep := true
	for line := range strings.Lines(card) {
		if entry, ok := strings.CutPrefix(line, "- config_name:"); ok {
			keep = strings.Trim(entry, " \r\n'\"") == name
		} else if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "- ") {
			keep = true
		}
		if keep {
			out.WriteString(line)
		}
	}
	return out.String()
}

func noFiles(a answer) bool {
	return !slices.ContainsFunc(a.Splits, func(s splitPaths) bool { return len(s.Paths) > 0 })
}

// within reports whether all files of a are also in b, split by split.
func within(a, b answer) bool {
	for _, s := range a.Splits {
		i := slices.IndexFunc(b.Splits, func(t splitPaths) bool { return t.Name == s.Name })
		if i < 0 || slices.ContainsFunc(s.Paths, func(p string) bool { return !slices.Contains(b.Splits[i].Paths, p) }) {
			return false
		}
	}
	return true
}

func TestTheREADMEListsEveryDeviationWithItsReason(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(raw)), " ")
	for _, d := range deviations {
		if want := strings.ToUpper(d.name[:1]) + d.name[1:] + ": " + d.reason + "."; !strings.Contains(text, want) {
			t.Errorf("the README does not say %q", want)
		}
	}
}
