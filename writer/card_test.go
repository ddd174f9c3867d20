package writer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

func TestSettingAKeyReplacesItsLinesOnly(t *testing.T) {
	const text = "---\nlicense: mit # yes\n# about a\na:\n- 1\n- x: 2\n\n# about b\nb: 'no'\n---\n# Title\n---\nbody\n"
	for name, c := range map[string]struct{ in, key, want string }{
		"a block":        {text, "a", "---\nlicense: mit # yes\n# about a\na: new\n\n# about b\nb: 'no'\n---\n# Title\n---\nbody\n"},
		"the last key":   {text, "b", "---\nlicense: mit # yes\n# about a\na:\n- 1\n- x: 2\n\n# about b\nb: new\n---\n# Title\n---\nbody\n"},
		"a new key":      {text, "c", "---\nlicense: mit # yes\n# about a\na:\n- 1\n- x: 2\n\n# about b\nb: 'no'\nc: new\n---\n# Title\n---\nbody\n"},
		"no card":        {"", "c", "---\nc: new\n---\n"},
		"no YAML":        {"# Title\n", "c", "---\nc: new\n---\n# Title\n"},
		"flow style":     {"---\n{a: 1, b: 2}\n---\n", "a", "---\na: new\nb: 2\n---\n"},
		"a BOM in front": {"\ufeff---\nlicense: mit\n---\n", "c", "\ufeff---\nlicense: mit\nc: new\n---\n"},
		"a last comment": {"---\na: 1\nb:\n- x\n\n# the end\n---\n", "b", "---\na: 1\nb: new\n\n# the end\n---\n"},
		"a last text":    {"---\na: 1\nb: |\n  x\n  # y\n---\n", "b", "---\na: 1\nb: new\n---\n"},
		"odd line ends":  {"---\nname: \"x\u2028y\u0085z\"\r\na: 1\nb: 2\r\nc: 3\nd: 4\ne: 5\n---\n", "a", "---\nname: \"x\u2028y\u0085z\"\r\na: new\nb: 2\r\nc: 3\nd: 4\ne: 5\n---\n"},
		"duplicate keys": {"---\na: 1\na: 2\n---\n", "a", "---\na: 1\na: new\n---\n"},
	} {
		t.Run(name, func(t *testing.T) {
			card, err := parseCard([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if err := card.set(c.key, scalar("new")); err != nil {
				t.Fatal(err)
			}
			if got := string(card.bytes()); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestACommentBelowAChangedKeyIsThereOnce(t *testing.T) {
	for _, text := range []string{"---\na:\n- 1\n# about b\nb: 2\n---\n", "---\na:\n- 1\n\n# the end\n---\n"} {
		for _, end := range []string{"\n", "\r\n"} {
			card, err := parseCard([]byte(strings.ReplaceAll(text, "\n", end)))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := card.set("a", card.get("a")); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.ReplaceAll(string(card.bytes()), "\r", ""); got != text {
				t.Errorf("got %q, want %q", got, text)
			}
		}
	}
}

func TestNamesThatYAMLReadsDifferentlyAreQuoted(t *testing.T) {
	for text, want := range map[string]string{"train": "train", "0625": "'0625'", "no": "'no'", "7M": "'7M'", "data/train-*": "data/train-*", "*.parquet": "'*.parquet'", "a: b": "'a: b'"} {
		got, err := encode(scalar(text))
		if err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestABrokenCardIsRefused(t *testing.T) {
	for _, text := range []string{"---\n- a\n---\n", "---\na: [\n---\n"} {
		if _, err := parseCard([]byte(text)); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// state is a tree of files with a card.
func state(readme string, files ...string) *State {
	s := &State{At: source.Snapshot{Name: "a/b", Commit: strings.Repeat("0", 40)}}
	for _, f := range files {
		s.Files = append(s.Files, source.File{Path: f, Size: 100, OID: "old"})
	}
	if readme != "" {
		s.Readme = []byte(readme)
	}
	return s
}

func planOf(t *testing.T, s *State, mode Mode, files int, change func(*PlanInput)) *Plan {
	t.Helper()
	in := PlanInput{State: s, Job: Job{ID: testJob, Mode: mode, Naming: NamingDataset, Split: "train"}}
	for i := range files {
		f := record(i, "", 0)
		f.Size, f.Rows, f.NumBytes = 10, 5, 50
		in.Job.Files = append(in.Job.Files, f)
	}
	if change != nil {
		change(&in)
	}
	plan, err := NewPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

const infoCard = "---\ndataset_info:\n  features:\n  - name: id\n    dtype: int64\n  splits:\n  - name: train\n    num_bytes: 1000\n    num_examples: 20\n  - name: test\n    num_bytes: 10\n    num_examples: 2\n  download_size: 300\n  dataset_size: 1010\n---\nx\n"

func TestDatasetInfoIsTrueAfterEveryCommit(t *testing.T) {
	files := []string{"data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"}
	t.Run("an append adds", func(t *testing.T) {
		plan := planOf(t, state(infoCard, files...), ModeAppend, 3, func(in *PlanInput) { in.Job.MaxOperations = 2 })
		want := strings.NewReplacer("num_bytes: 1000", "num_bytes: 1100", "num_examples: 20", "num_examples: 30", "300", "320", "dataset_size: 1010", "dataset_size: 1110").Replace(infoCard)
		if got := string(plan.Batches[0].Readme); got != want {
			t.Errorf("first commit: got\n%s\nwant\n%s", got, want)
		}
		if got := string(plan.Batches[1].Readme); !strings.Contains(got, "num_examples: 35") || !strings.Contains(got, "download_size: 330") {
			t.Errorf("second commit: got\n%s", got)
		}
	})
	t.Run("an overwrite counts anew", func(t *testing.T) {
		plan := planOf(t, state(infoCard, files...), ModeOverwrite, 1, func(in *PlanInput) { in.DropFeatures = true })
		got := string(plan.Batches[0].Readme)
		for _, want := range []string{"num_examples: 5\n", "num_bytes: 50\n", "download_size: 210\n", "dataset_size: 60\n", "num_examples: 2\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		if strings.Contains(got, "features") {
			t.Errorf("the features of another schema stay:\n%s", got)
		}
	})
	t.Run("a new split is added", func(t *testing.T) {
		plan := planOf(t, state(infoCard, files...), ModeAppend, 1, func(in *PlanInput) { in.Job.Split = "val" })
		if got := string(plan.Batches[0].Readme); !strings.Contains(got, "- name: val\n") || !strings.Contains(got, "num_examples: 20") {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("numbers that are not known are removed", func(t *testing.T) {
		card := strings.Replace(infoCard, "    num_examples: 20\n", "", 1)
		plan := planOf(t, state(card, files...), ModeAppend, 1, nil)
		got := string(plan.Batches[0].Readme)
		if strings.Contains(got, "splits") || strings.Contains(got, "_size") || !strings.Contains(got, "features") {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("a card without numbers stays", func(t *testing.T) {
		if plan := planOf(t, state("---\nlicense: mit\n---\n", files...), ModeAppend, 1, nil); plan.Batches[0].Readme != nil {
			t.Errorf("got\n%s", plan.Batches[0].Readme)
		}
	})
}

// TestTheNumbersOfEveryConfigThatAFileOfItsOwnNameChangesAreRemoved: how many rows such a
// file replaces is not known, and the reference library refuses to load other numbers.
func TestTheNumbersOfEveryConfigThatAFileOfItsOwnNameChangesAreRemoved(t *testing.T) {
	const card = "---\nconfigs:\n- config_name: a\n  default: true\n  data_files: a/*\n- config_name: b\n  data_files: b/*\ndataset_info:\n" +
		"- config_name: a\n  splits:\n  - name: train\n    num_examples: 20\n  download_size: 300\n" +
		"- config_name: b\n  splits:\n  - name: train\n    num_examples: 30\n  download_size: 400\n---\n"
	files := []string{"a/part-00000.parquet", "b/part-00000.parquet", "b/part-00001.parquet"}
	for name, c := range map[string]struct {
		naming  Naming
		dir     string
		mode    Mode
		removed []string
	}{
		"parts of the default":      {NamingParts, "a", ModeAppend, []string{"20", "300"}},
		"parts of another":          {NamingParts, "b", ModeAppend, []string{"30", "400"}},
		"fewer parts of another":    {NamingParts, "b", ModeOverwrite, []string{"30", "400"}},
		"a file of another":         {NamingFile, "b/part-00001.parquet", ModeReplace, []string{"30", "400"}},
		"a file that nothing reads": {NamingFile, "c/x.parquet", ModeReplace, nil},
	} {
		plan := planOf(t, state(card, files...), c.mode, 1, func(in *PlanInput) { in.Job.Naming, in.Job.Dir, in.Job.Split = c.naming, c.dir, "" })
		got := card
		for _, b := range plan.Batches {
			if b.Readme != nil {
				got = string(b.Readme)
			}
		}
		for _, n := range []string{"20", "300", "30", "400"} {
			if is, want := strings.Contains(got, ": "+n+"\n"), !slices.Contains(c.removed, n); is != want {
				t.Errorf("%s: %s is there: %v, in\n%s", name, n, is, got)
			}
		}
	}
}

func TestWhatCannotStayReadableIsRefused(t *testing.T) {
	job := func(mode Mode, config, split string) Job {
		return Job{ID: testJob, Mode: mode, Naming: NamingDataset, Config: config, Split: split, Files: []StagedFile{record(0, "", 0)}}
	}
	for name, c := range map[string]struct {
		state *State
		job   Job
		want  source.Kind
	}{
		"another format":                          {state("", "a.csv", "b.csv"), job(ModeAppend, "", "train"), source.KindUnsupported},
		"a file of two splits":                    {state("", "train-test.parquet"), job(ModeOverwrite, "", "train"), source.KindInvalid},
		"no config is the default":                {state("---\nconfigs:\n- config_name: a\n  data_files: a/*\n- config_name: b\n  data_files: b/*\n---\n", "a/x.parquet", "b/y.parquet"), job(ModeAppend, "", "train"), source.KindInvalid},
		"a config called default beside another":  {state("---\nconfigs:\n- config_name: a\n  data_files: a/*\n---\n", "a/x.parquet"), job(ModeAppend, "default", "train"), source.KindInvalid},
		"a card that cannot be read":              {state("---\na: [\n---\n", "a/x.parquet"), job(ModeAppend, "", "train"), source.KindInvalid},
		"names that are used up":                  {state("", "data/train-99999-of-99999.parquet"), job(ModeAppend, "", "train"), source.KindLimit},
		"another split's files would be read too": {state("---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: '**'\n---\n", "x.parquet"), job(ModeAppend, "a", "test"), source.KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewPlan(PlanInput{State: c.state, Job: c.job}); source.KindOf(err) != c.want {
				t.Errorf("got %v, want kind %s", err, c.want)
			}
		})
	}
}

func TestATakenNameGetsALongerSuffix(t *testing.T) {
	s := state("", "data/train-00000-of-00001.parquet")
	short := planOf(t, s, ModeAppend, 1, nil).Paths[0]
	s = state("", "data/train-00000-of-00001.parquet", short)
	// The number is another one now, so that only an overwrite meets the name.
	first := planOf(t, state("", "data/train-00000-of-00001.parquet"), ModeOverwrite, 1, nil).Paths[0]
	long := planOf(t, state("", "data/train-00000-of-00001.parquet", first), ModeOverwrite, 1, nil).Paths[0]
	if long == first || len(long) != len(first)+8 {
		t.Errorf("got %s beside %s", long, first)
	}
	_ = s
}

func TestLFSRulesAreAddedWhereThereAreNone(t *testing.T) {
	for attributes, want := range map[string]bool{
		"*.parquet filter=lfs diff=lfs merge=lfs -text\n": true,
		"data/** filter=lfs\n":                            true,
		"*.parquet filter=lfs\ndata/* -filter\n":          false,
		"# *.parquet filter=lfs\n*.bin filter=lfs\n":      false,
		"": false,
	} {
		if got := isLFS([]byte(attributes), "data/x.parquet"); got != want {
			t.Errorf("%q: got %v", attributes, got)
		}
	}
	s := state("", "data/train-00000-of-00001.parquet")
	s.Attributes = []byte("*.bin filter=lfs")
	plan := planOf(t, s, ModeAppend, 1, nil)
	lines := string(plan.Batches[0].Attributes)
	if !strings.HasPrefix(lines, "*.bin filter=lfs\ndata/train-*-of-00002-") || !isLFS([]byte(lines), plan.Paths[0]) || isLFS([]byte(lines), "data/train-00000-of-00001.parquet") {
		t.Errorf("got %q", lines)
	}
}

// Git itself is asked, where it is installed, about every form of a rule: it has to
// name the job's files, whatever the folder's name means in a pattern, and no others.
func TestGitReadsTheLFSRulesOfAnyFolder(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip(err)
	}
	repo := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), git, append([]string{"-C", repo}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("init", "-q")
	lfs := func(path string) bool {
		t.Helper()
		return strings.HasSuffix(run("check-attr", "-z", "filter", "--", path), "\x00filter\x00lfs\x00")
	}
	large, small := StagedFile{Mode: UploadLFS, Size: 1 << 20, OID: "x", Rows: 1}, StagedFile{Mode: UploadRegular, Size: 10, OID: "y", Rows: 1, Partition: 1}
	for dir, other := range map[string]string{
		"#x": "x", "!x": "x", "[attr]x": "ax", `"q"`: "q", "a b": "ab", "a\tb": "ab", "a[1]": "a1", "a*": "ab", "a?": "ab", "x#!\"]": "x", "ä": "a",
	} {
		for form, job := range map[string]Job{
			"one file": {Naming: NamingFile, Dir: dir + "/" + dir + ".parquet", Files: []StagedFile{large}},
			"parts":    {Naming: NamingParts, Dir: dir, Files: []StagedFile{large, large}},
			"by name":  {Naming: NamingParts, Dir: dir, Files: []StagedFile{large, small}},
			"root":     {Naming: NamingFile, Dir: dir + ".parquet", Files: []StagedFile{large}},
		} {
			if err := validateDir("write", job.Dir); err != nil {
				t.Fatal(err)
			}
			job.ID, job.Mode = testJob, ModeAppend
			if job.Naming == NamingFile {
				job.Mode = ModeOverwrite
			}
			plan, err := NewPlan(PlanInput{State: state(""), Job: job})
			if err != nil {
				t.Fatalf("%q, %s: %v", dir, form, err)
			}
			rules := plan.Batches[0].Attributes
			if err := os.WriteFile(filepath.Join(repo, ".gitattributes"), rules, 0o600); err != nil {
				t.Fatal(err)
			}
			for i, path := range plan.Paths {
				if got, want := lfs(path), job.Files[i].Mode == UploadLFS; got != want {
					t.Errorf("%q, %s: git takes %q for LFS: %v, by\n%s", dir, form, path, got, rules)
				}
			}
			if beside := strings.ReplaceAll(plan.Paths[0], dir, other); lfs(beside) {
				t.Errorf("%q, %s: git takes %q for LFS too, by\n%s", dir, form, beside, rules)
			}
		}
	}
}
