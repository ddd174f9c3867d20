package dataset

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		covers: func(_ repoCase, _, theirs answer) bool { return theirs.Class == "script" },
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
		covers: func(_ repoCase, _, theirs answer) bool { return theirs.Class == "several defaults" },
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
			if len(configs) == 0 {
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
		covers: func(c repoCase, _, theirs answer) bool { return theirs.Class != "" && hasNoData(c) },
	},
	{
		name:   "shards directly below data_dir are splits",
		reason: "with data_dir=data the library looks for data/data/…, and loses every split but train, validation and test",
		covers: func(c repoCase, ours, theirs answer) bool {
			n := len(theirs.Splits)
			return (c.DataDir != "" || slices.ContainsFunc(cardConfigs(c), func(k cardConfig) bool { return k.name == ours.Config && k.dataDir != "" })) && bothRead(ours, theirs) && len(ours.Splits) > n && answer{Splits: ours.Splits[:n]}.equal(answer{Splits: once(theirs).Splits})
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
		if base := baseName(p); !isDataFile(base) && !neverData[base] && !strings.HasPrefix(base, ".") {
			return true
		}
	}
	return false
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
