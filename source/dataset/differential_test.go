package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset/datasetslib"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// repoCase is one repository and one way of asking for it, for this package and
// for the datasets library.
type repoCase struct {
	Name  string
	Files map[string]string // path → content
	// Revision is where the files are; main then has others. "" is main, a sha (any) becomes that of their commit.
	Revision  string
	DataDir   string
	DataFiles json.RawMessage
	Configs   []string // asked for besides the default one
}

func (c repoCase) repo() string {
	return "org/" + strings.NewReplacer(" ", "-", "'", "").Replace(c.Name)
}

// answer is what one side makes of one config of a case.
type answer struct {
	Asked  string // the config that was asked for, "" for the default one
	Config string
	Splits []splitPaths
	// Class is the sort of error, "" if the config can be read as Parquet. Text is
	// the error's; Config is then the one that it is about, if there is one.
	Class, Text string
}

type splitPaths struct {
	Name  string
	Paths []string
}

func (a answer) String() string {
	if a.Class != "" {
		return fmt.Sprintf("error %s: %.300s", a.Class, a.Text)
	}
	return fmt.Sprintf("config %s: %q", a.Config, a.Splits)
}

func (a answer) equal(b answer) bool {
	if a.Class != "" || b.Class != "" {
		return a.Class == b.Class
	}
	return a.Config == b.Config && slices.EqualFunc(a.Splits, b.Splits, func(x, y splitPaths) bool {
		return x.Name == y.Name && slices.Equal(x.Paths, y.Paths)
	})
}

// verdict is what both sides say about one case.
type verdict struct {
	names        []string // of the configs, if the library got so far
	ours, theirs []answer // of the default config, then of the Configs
	ourNames     []string
}

// differentialCount is how many generated repositories are compared; the nightly
// run asks for more.
const (
	differentialCount = 300
	differentialEnv   = "HUBFLIGHT_DIFFERENTIAL"
)

// TestResolutionIsThatOfTheDatasetsLibrary gives the same repositories, on the
// embedded Hub, to this package and to load_dataset_builder, and compares config
// names, the default, splits, files in order, and the sort of error. What may
// differ is in the table of deviations, and each of them must occur.
func TestResolutionIsThatOfTheDatasetsLibrary(t *testing.T) {
	datasetslib.Python(t)
	count := differentialCount
	if text := os.Getenv(differentialEnv); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s=%q is no number", differentialEnv, text)
		}
	}
	cases := handWritten()
	if len(cases) < 30 {
		t.Errorf("%d hand-written cases", len(cases))
	}
	for seed := range count {
		cases = append(cases, generated(uint64(seed)))
	}
	run := serveCases(t, cases)
	theirs := askLibrary(t, run.HubURL, cases)
	client, err := hub.New(hub.Options{Endpoint: run.HubURL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := NewPlanner(PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
	used := make(map[string]int)
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			v := theirs[i]
			v.ours, v.ourNames = askOurs(t, p, c)
			compare(t, c, v, used)
		})
	}
	for _, d := range deviations {
		if used[d.name] == 0 {
			t.Errorf("no case shows the deviation %q: give it one, or take it out of the table", d.name)
		}
		t.Logf("%4d × %s", used[d.name], d.name)
	}
}

// serveCases puts the repositories on an embedded Hub, each case's files where its Revision says, with others on main then.
func serveCases(t *testing.T, cases []repoCase) *hubtest.Running {
	t.Helper()
	var options []hubtest.Option
	seen := make(map[string]bool)
	for _, c := range cases {
		if seen[c.repo()] {
			t.Fatalf("two cases are called %s", c.Name)
		}
		seen[c.repo()] = true
		files := make(map[string][]byte)
		for path, content := range c.Files {
			files[path] = []byte(content)
		}
		options = append(options, hubtest.Dataset(c.repo(), files))
	}
	run := hubtest.New(t, options...)
	for i, c := range cases {
		if c.Revision != "" {
			cases[i].Revision = setAside(t, run, c.repo(), c.Revision)
		}
	}
	return run
}

// setAside gives what main has to a revision, and main another file and another card. It returns the revision, which is the sha of the
// commit if a sha was asked for.
func setAside(t *testing.T, run *hubtest.Running, repo, revision string) string {
	t.Helper()
	sha, err := run.Head(repo, "main")
	switch {
	case err != nil:
	case len(revision) == 40:
		revision = sha
	case strings.HasPrefix(revision, "v"):
		tag(t, run, repo, revision, "as it was")
	default:
		_, err = run.Commit(repo, revision, hubtest.Change{Add: map[string][]byte{".aside": []byte(revision)}})
	}
	if err == nil {
		_, err = run.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"train/moved-on.csv": []byte("x"), "moved-on.csv": []byte("x"), readmeName: []byte("---\nconfigs:\n- config_name: moved-on\n  data_files: moved-on.csv\n---\n")}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// options are the case's as this package takes them.
func (c repoCase) options() (Options, error) {
	o := Options{DataDir: c.DataDir}
	if c.DataFiles == nil {
		return o, nil
	}
	return o, json.Unmarshal(c.DataFiles, &o.DataFiles)
}

func (c repoCase) hasOptions() bool { return c.DataDir != "" || c.DataFiles != nil }

// askOurs resolves the listing that the Hub gives.
func askOurs(t *testing.T, p *Planner, c repoCase) (answers []answer, names []string) {
	t.Helper()
	o, err := c.options()
	if err != nil {
		return slices.Repeat([]answer{ourError(err)}, len(c.Configs)+1), nil
	}
	pinned, err := p.pin(t.Context(), source.HubToken{}, Request{Ref: source.Ref{Repo: c.repo(), Revision: c.Revision}, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Resolve(pinned.tree, o)
	for _, name := range append([]string{""}, c.Configs...) {
		answers = append(answers, ourAnswer(l, err, name))
	}
	if l != nil {
		names = l.names()
	}
	return answers, names
}

func ourAnswer(l *Layout, err error, name string) answer {
	if err != nil {
		return ourError(err)
	}
	config, _, err := l.Choose(name, allSplits)
	if err != nil {
		a := ourError(err)
		if chosen, err := l.chooseConfig(name); err == nil {
			a.Config = chosen.Name
		}
		return a
	}
	a := answer{Config: config.Name}
	for _, s := range config.Splits {
		out := splitPaths{Name: s.Name, Paths: []string{}}
		for _, f := range s.Files {
			out.Paths = append(out.Paths, f.Path)
		}
		a.Splits = append(a.Splits, out)
	}
	return a
}

// errorClasses tells sorts of errors apart by what both sides write. The first
// that is found counts.
var errorClasses = []struct{ text, class string }{
	{"Config name is missing", "config missing"},
	{"BuilderConfig '", "config unknown"},
	{"several default configs", "several defaults"},
	{"bad characters from", "config name"},
	{"Bad characters from", "config name"},
	{"Couldn't infer the same data file format", "formats differ"},
	{"Invalid pattern: ", "pattern"},
	{"splits are duplicated", "splits duplicated"},
	{"Split name should match", "split name"},
	{"data_files in YAML", "card"},
	{"must include `config_name`", "card"},
	{"configs to be a list", "card"},
	{"repo card metadata block", "card"},
	{"doesn't belong to", "foreign file"},
	{"don't belong to", "foreign file"},
	{"doesn't contain any data files", "no data"},
	{"doesn't contain data files", "no data"},
	{"No (supported) data files", "no data"},
	{"Unable to find '", "file missing"},
	{"Couldn't find any data file at", "file missing"},
	{"is no more supported", "script"},
	{"scripts are no longer supported", "script"},
}

func classOf(text string) string {
	for _, c := range errorClasses {
		if strings.Contains(text, c.text) {
			return c.class
		}
	}
	return ""
}

func ourError(err error) answer {
	a := answer{Class: classOf(err.Error()), Text: err.Error()}
	if isOtherFormat(err) {
		_, format, _ := strings.Cut(err.Error(), "the dataset's format is ")
		a.Class = "format " + strings.Fields(format)[0]
	}
	if a.Class == "" {
		a.Class = source.KindOf(err).String()
	}
	return a
}

// askLibrary runs the library once over all cases.
func askLibrary(t *testing.T, endpoint string, cases []repoCase) []verdict {
	t.Helper()
	questions := make([]map[string]any, len(cases))
	for i, c := range cases {
		q := map[string]any{"repo": c.repo(), "configs": append([]any{nil}, anyOf(c.Configs)...)}
		if c.Revision != "" {
			q["revision"] = c.Revision
		}
		if c.DataDir != "" {
			q["data_dir"] = c.DataDir
		}
		if c.DataFiles != nil {
			q["data_files"] = c.DataFiles
		}
		questions[i] = q
	}
	out := make([]verdict, len(cases))
	for i, raw := range datasetslib.Ask[json.RawMessage](t, "testdata/reference.py", endpoint, questions) {
		var err error
		if out[i], err = parseVerdict(raw); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func anyOf(names []string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}

func parseVerdict(raw []byte) (v verdict, err error) {
	var reply struct {
		Configs []string
		Answers []struct {
			Config, Module, Error, Text string
			Splits                      [][2]json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return v, err
	}
	v.names = reply.Configs
	for _, r := range reply.Answers {
		a := answer{Config: r.Config}
		files := 0
		for _, s := range r.Splits {
			var one splitPaths
			if err := errors.Join(json.Unmarshal(s[0], &one.Name), json.Unmarshal(s[1], &one.Paths)); err != nil {
				return v, err
			}
			files += len(one.Paths)
			a.Splits = append(a.Splits, one)
		}
		switch {
		case r.Error != "":
			a.Text = r.Error + ": " + r.Text
			if a.Class = classOf(a.Text); a.Class == "" {
				a.Class = r.Error
			}
		case r.Module != parquetFormat:
			a.Class = "format " + r.Module
		case files == 0:
			a.Class = "no data" // the library says so when it reads
		}
		v.theirs = append(v.theirs, a)
	}
	return v, nil
}

// compare fails unless both sides agree or a deviation covers the difference.
func compare(t *testing.T, c repoCase, v verdict, used map[string]int) {
	t.Helper()
	if len(v.ours) != len(v.theirs) {
		t.Fatalf("%d answers, the library has %d", len(v.ours), len(v.theirs))
	}
	for i := range v.ours {
		ours, theirs := v.ours[i], v.theirs[i]
		if i > 0 {
			ours.Asked = c.Configs[i-1]
		}
		if ours.equal(theirs) {
			continue
		}
		if d := deviationOf(c, ours, theirs); d != "" {
			used[d]++
			continue
		}
		asked := "the default config"
		if i > 0 {
			asked = "config " + c.Configs[i-1]
		}
		t.Errorf("%s: got\n  %s\nthe library says\n  %s\n%s", asked, ours, theirs, c.describe())
	}
	names := v.names
	if n := len(v.ourNames); c.hasOptions() && n == len(names)+1 && v.ourNames[n-1] == defaultConfig {
		names = append(slices.Clone(names), defaultConfig) // the library makes it when the time comes: what the options name, where the card has no default
	}
	if len(v.names) > 0 && !slices.Equal(names, v.ourNames) {
		t.Errorf("got configs %q, the library has %q\n%s", v.ourNames, v.names, c.describe())
	}
}

func (c repoCase) describe() string {
	var paths []string
	for p := range c.Files {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return fmt.Sprintf("files %q\nrevision %q data_dir %q data_files %s\nREADME %q\n.huggingface.yaml %q", paths, c.Revision, c.DataDir, c.DataFiles, c.Files[readmeName], c.Files[huggingfaceYAML])
}
