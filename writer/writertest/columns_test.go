package writertest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

var scoreSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "score", Type: arrow.PrimitiveTypes.Float64}}, nil)

// scores are rows of these ids with another second column than rows has.
func scores(ids ...int64) *batches {
	b := array.NewRecordBuilder(memory.DefaultAllocator, scoreSchema)
	defer b.Release()
	for _, id := range ids {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.Float64Builder).Append(float64(id))
	}
	return &batches{schema: scoreSchema, recs: []arrow.RecordBatch{b.NewRecordBatch()}}
}

// of makes a job stage other rows.
func (j *job) of(rows func(ids ...int64) *batches) *job {
	j.rows = rows
	return j
}

// ready makes a job begin and stage, and not commit.
func (j *job) ready(partitions ...[]int64) *job {
	j.t.Helper()
	if err := j.Begin(); err != nil {
		j.t.Fatal(err)
	}
	if err := j.StageAll(partitions...); err != nil {
		j.t.Fatal(err)
	}
	return j
}

// columnsOf are a Parquet file's columns, as a text.
func columnsOf(t *testing.T, raw []byte) string {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.MetaData().Schema.String()
}

// columns are the different schemas of the files of a commit's split train.
func (r *rig) columns(commit string) (different []string) {
	r.t.Helper()
	_, splits, err := r.layout(commit).Choose("", "train")
	if err != nil && source.KindOf(err) != source.KindNotFound {
		r.t.Fatal(err)
	}
	for _, s := range splits {
		for _, f := range s.Files {
			raw, err := r.hub.Read(repo, commit, f.Path)
			if err != nil {
				r.t.Fatal(err)
			}
			if text := columnsOf(r.t, raw); !slices.Contains(different, text) {
				different = append(different, text)
			}
		}
	}
	return different
}

// TestAnAppendToRowsThatGotOtherColumnsSinceItBeganIsAConflict: whoever comes first into
// an empty target decides about its columns, and so does an overwrite. The rows that are
// there stay as they are, however often the commit is repeated, and whoever writes again
// is told which column does not fit.
func TestAnAppendToRowsThatGotOtherColumnsSinceItBeganIsAConflict(t *testing.T) {
	for name, c := range map[string]struct {
		there  []hubtest.Option
		target func(*writer.BeginRequest)
		theirs writer.Mode
	}{
		"both were the first":           {nil, nil, writer.ModeAppend},
		"both were the first in parts":  {nil, parts("p"), writer.ModeAppend},
		"both were the first by switch": {nil, bySwitch, writer.ModeAppend},
		"an overwrite came between":     {[]hubtest.Option{oldData(t)}, nil, writer.ModeOverwrite},
	} {
		for _, replica := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, another replica %v", name, replica), func(t *testing.T) {
				r := newRig(t, c.there...)
				j := r.job(writer.ModeAppend, c.target).perCommit(2).ready([]int64{10}, []int64{11}, []int64{12})
				r.job(c.theirs, c.target).of(scores).must(from(20, 2))
				head := r.head()
				for range 2 {
					if replica {
						j.w = r.newWriter(0)
					}
					_, err := j.Commit()
					wantKind(t, err, source.KindConflict)
					if !strings.Contains(err.Error(), "id, score") {
						t.Errorf("the columns are not named: %v", err)
					}
				}
				equal(t, "head", r.head(), head)
				again := r.job(writer.ModeAppend, c.target)
				_, err := again.Run(from(30, 1))
				wantKind(t, err, source.KindInvalid)
				r.job(writer.ModeAppend, c.target).of(scores).must(from(40, 1))
				if len(r.columns("main")) != 1 && c.target == nil {
					t.Errorf("the split has the columns %s", r.columns("main"))
				}
			})
		}
	}
}

// TestAnAppendThatWasStagedWithoutItsBaseIsComparedAtTheCommit: its rows took the columns
// that they came with.
func TestAnAppendThatWasStagedWithoutItsBaseIsComparedAtTheCommit(t *testing.T) {
	r := newRig(t, oldData(t))
	head := r.head()
	unbased := func() *job {
		j := r.job(writer.ModeAppend, nil)
		j.stage = func(s *writer.StageRequest) { s.Base = "" }
		return j
	}
	_, err := unbased().of(scores).ready(from(10, 1)).Commit()
	wantKind(t, err, source.KindConflict)
	equal(t, "head", r.head(), head)
	unbased().must(from(10, 1))
}

// TestAFoldersAppendToRowsThatGotOtherColumnsIsAConflict: as in a repository.
func TestAFoldersAppendToRowsThatGotOtherColumnsIsAConflict(t *testing.T) {
	r := newLocalRig(t)
	j := r.local(writer.ModeAppend, nil).ready(from(10, 3))
	r.local(writer.ModeAppend, nil).of(scores).must(from(20, 2))
	_, err := j.Commit()
	wantKind(t, err, source.KindConflict)
	equal(t, "rows", r.readLocal("", ""), from(20, 2))
	r.local(writer.ModeAppend, nil).of(scores).must(from(30, 1))
	files, err := filepath.Glob(filepath.Join(r.dir, "set", "data", "*.parquet"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var texts []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, columnsOf(t, raw))
	}
	equal(t, "columns", texts[0], texts[1])
}

// TestAnAppendBetweenWhoseCommitsTheColumnsChangeIsAConflict: an overwrite took away what
// the first commits had added; to add it again would be to mix the two.
func TestAnAppendBetweenWhoseCommitsTheColumnsChangeIsAConflict(t *testing.T) {
	for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeErrorIfExists} {
		r := newRig(t)
		j := r.job(mode, nil).perCommit(1).ready([]int64{10}, []int64{11}, []int64{12})
		between := false
		_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
			if e.Progress != nil && e.Progress.Index == 2 && !between {
				between = true
				o := r.job(writer.ModeOverwrite, nil).of(scores)
				o.w = r.newWriter(0)
				o.must(from(20, 2))
			}
		})
		wantKind(t, err, source.KindConflict)
		equal(t, string(mode)+": rows", r.read("main", "", ""), from(20, 2))
	}
}

// TestAnAppendAfterSomebodyElsesReadsNoFileThatItKnows: the split begins with the file
// whose columns the job was staged for, and those are compared for nothing.
func TestAnAppendAfterSomebodyElsesReadsNoFileThatItKnows(t *testing.T) {
	r, j := straight(t)
	other := r.job(writer.ModeAppend, nil)
	other.w = r.newWriter(0)
	other.must(from(5, 1))
	n := len(r.hub.Requests())
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, what := range r.asked(n) {
		if strings.Contains(what, ".parquet") {
			t.Errorf("the commit asked %s", what)
		}
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 3, 5, 10, 11})
}

// TestTwoThatWriteDifferentColumnsLeaveASplitOfOne races jobs whose rows have different
// columns, in jobs of one commit and of five, from an empty dataset: in the end the split
// has the columns of one, and whoever could not be beside it ended in a conflict, or, if
// it began too late for that, was told which column does not fit.
func TestTwoThatWriteDifferentColumnsLeaveASplitOfOne(t *testing.T) {
	job := func(mode writer.Mode, change func(*writer.BeginRequest), rows func(...int64) *batches) func(*rig, int64, int) error {
		return func(r *rig, first int64, perCommit int) error {
			j := r.job(mode, change).perCommit(perCommit).of(rows)
			j.w = r.newWriter(0) // replicas: no lock between them
			_, err := j.Run(from(first, 1), from(first+1, 1), from(first+2, 1), from(first+3, 1), from(first+4, 1))
			return err
		}
	}
	kinds := map[string]func(rows func(...int64) *batches) contender{
		"append": func(rows func(...int64) *batches) contender {
			return contender{name: "append", run: job(writer.ModeAppend, nil, rows)}
		},
		"switch": func(rows func(...int64) *batches) contender {
			return contender{name: "switch", hidden: true, run: job(writer.ModeAppend, bySwitch, rows)}
		},
		"overwrite": func(rows func(...int64) *batches) contender {
			return contender{name: "overwrite", overwrites: true, run: job(writer.ModeOverwrite, nil, rows)}
		},
	}
	for _, pair := range [][2]string{{"append", "append"}, {"append", "switch"}, {"switch", "append"}, {"append", "overwrite"}, {"overwrite", "append"}, {"overwrite", "overwrite"}} {
		for _, perCommit := range []int{50, 1} {
			t.Run(fmt.Sprintf("%s and %s, %d per commit", pair[0], pair[1], perCommit), func(t *testing.T) {
				t.Parallel()
				x := racing{a: kinds[pair[0]](rows), b: kinds[pair[1]](scores), perCommit: perCommit}
				alone := newRig(t, hubtest.Dataset(repo, nil))
				if err := x.a.run(alone, 10, perCommit); err != nil {
					t.Fatal(err)
				}
				requests := len(alone.hub.Requests())
				refused := 0
				for round := range counts(4, 200) {
					chance := rand.New(rand.NewPCG(uint64(round), uint64(perCommit)))
					x.at = hubtest.Fault{Nth: 1 + chance.IntN(requests)}
					if round%2 == 0 {
						x.at = hubtest.Fault{Method: "POST", Path: "/commit/", Nth: 1 + chance.IntN(alone.posts())}
					}
					refused += x.ofOneSchema(t)
				}
				t.Logf("%d were refused", refused)
			})
		}
	}
}

// ofOneSchema is a race from an empty dataset, and what must hold after it. It returns
// how many jobs were refused.
func (x racing) ofOneSchema(t *testing.T) (refused int) {
	t.Helper()
	r := newRig(t, hubtest.Dataset(repo, nil))
	base := r.head()
	other := make(chan error, 1)
	begin := func() { go func() { other <- x.b.run(r, 20, x.perCommit) }() }
	fault := x.at
	fault.Meanwhile = begin
	armed := r.hub.Fault(fault)
	errs := []error{x.a.run(r, 10, x.perCommit), nil}
	if armed.Hits() == 0 { // it took fewer requests than when it was alone
		armed.Disarm()
		begin()
	}
	errs[1] = <-other
	for i, c := range []contender{x.a, x.b} {
		switch kind := source.KindOf(errs[i]); {
		case errs[i] == nil:
		case (kind == source.KindConflict || kind == source.KindInvalid && strings.Contains(errs[i].Error(), "column=")):
			refused++
		default:
			t.Errorf("%s: %v", c.name, errs[i])
		}
	}
	rows := r.read("main", "", "")
	for i, c := range []contender{x.a, x.b} {
		if n := len(among(x.ids(i), rows)); errs[i] == nil && n != racePartitions && !(errs[1-i] == nil && []contender{x.b, x.a}[i].overwrites) {
			t.Errorf("%s has succeeded, and %d of its rows are there: %v", c.name, n, rows)
		}
	}
	if got := r.columns("main"); len(got) != 1 {
		t.Errorf("the split has %d schemas", len(got))
	}
	if !x.a.overwrites && !x.b.overwrites { // an overwrite adds before it deletes
		for _, s := range r.states(base) {
			if got := r.columns(s.commit); len(got) > 1 {
				t.Errorf("at commit %s the split has %d schemas", s.commit, len(got))
			}
		}
	}
	if errs[0] != nil && errs[1] != nil {
		t.Errorf("both were refused: %v", errs)
	}
	if t.Failed() {
		t.Fatalf("%s: %v", x, errs)
	}
	return refused
}
