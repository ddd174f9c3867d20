package writertest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// faultKinds are the ways in which a request can go wrong.
var faultKinds = map[string]hubtest.Fault{
	"error before effect":   {Status: http.StatusInternalServerError},
	"error after effect":    {After: true, Status: http.StatusInternalServerError},
	"hang before effect":    {Stall: time.Minute},
	"hang after effect":     {After: true, Stall: time.Minute},
	"reset before effect":   {Reset: true},
	"reset after effect":    {After: true, Reset: true},
	"garbage before effect": {Status: http.StatusOK, Body: "<html>not json"},
	"garbage after effect":  {After: true, Status: http.StatusOK, Body: "<html>not json"},
	"conflict":              {Status: http.StatusConflict, Body: `{"error":"another commit is in progress"}`},
}

// shape is a kind of job.
type shape struct {
	name       string
	options    []hubtest.Option
	mode       writer.Mode
	change     func(*writer.BeginRequest) // may be nil
	perCommit  int
	partitions [][]int64

	// What split train holds before and after, and split test always.
	before, after, other []int64
	// Where it holds nothing but these at any commit.
	atomic bool
	// The rows appear in a pull request, of which there is one in the end; main stays.
	pr bool
	// What the card says before and after; "" if that is not looked at.
	card string
	// stride is how many requests apart a quick run makes one fail; 1 is all.
	stride int
}

func shapes(t *testing.T) []shape {
	two := func(card string) map[string][]byte {
		files := map[string][]byte{"data/train-00000-of-00002.parquet": parquetOf(t, 1), "data/train-00001-of-00002.parquet": parquetOf(t, 2), "data/test-00000-of-00001.parquet": parquetOf(t, 3)}
		if card != "" {
			files["README.md"] = []byte(card)
		}
		return files
	}
	pair := [][]int64{{10}, {11}}
	// A quick run does the plainest job in full, and takes samples of the others.
	const some = 36
	return []shape{
		{name: "append", options: []hubtest.Option{oldData(t)}, mode: writer.ModeAppend, perCommit: 1, partitions: pair,
			before: []int64{1, 2}, after: []int64{1, 2, 10, 11}, stride: 1},
		{name: "append in parts", options: []hubtest.Option{hubtest.With(hubtest.Options{MultipartThreshold: 1, PartSize: 300}), oldData(t)}, mode: writer.ModeAppend, perCommit: 1, partitions: pair,
			before: []int64{1, 2}, after: []int64{1, 2, 10, 11}, stride: some},
		{name: "overwrite", options: []hubtest.Option{hubtest.Dataset(repo, two(raceCard))}, mode: writer.ModeOverwrite, perCommit: 1, partitions: pair,
			before: []int64{1, 2}, after: []int64{10, 11}, other: []int64{3}, card: "pretty_name: Rows # ours\n", stride: some},
		{name: "switch", options: []hubtest.Option{hubtest.Dataset(repo, switchRepos(t)["no README"])}, mode: writer.ModeOverwrite, change: bySwitch, perCommit: 2, partitions: [][]int64{{10}, {11}, {12}},
			before: from(0, 5), after: []int64{10, 11, 12}, other: []int64{9}, atomic: true, stride: some},
		{name: "create repo", mode: writer.ModeAppend, perCommit: 1, partitions: pair,
			after: []int64{10, 11}, stride: some},
		{name: "create pull request", options: []hubtest.Option{hubtest.Dataset(repo, two(""))}, mode: writer.ModeAppend, change: func(b *writer.BeginRequest) { b.CreatePR = true }, perCommit: 1, partitions: pair,
			before: []int64{1, 2}, after: []int64{1, 2, 10, 11}, other: []int64{3}, pr: true, stride: some},
		{name: "replace format", options: []hubtest.Option{csvRepo(t, csvRepos["no README"])}, mode: writer.ModeOverwrite, change: replacing, perCommit: 1, partitions: pair,
			after: []int64{10, 11}, atomic: true, stride: some},
	}
}

// TestEveryRequestOfAJobMayFail: the i-th request fails, for every i, in every
// way, in jobs of every shape. What a job says about itself is so, and asking again
// settles it.
func TestEveryRequestOfAJobMayFail(t *testing.T) {
	for n, s := range shapes(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			requests, stride := s.requests(t), counts(s.stride, 1)
			for k, name := range slices.Sorted(maps.Keys(faultKinds)) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					outcomes := map[string]int{}
					// Another first request for every shape and fault: together they
					// are at all places.
					for i := 1 + (7*k+3*n)%stride; i <= requests; i += stride {
						outcomes[s.fail(t, faultKinds[name], i)]++
					}
					t.Logf("of %d requests: %v", requests, outcomes)
				})
			}
		})
	}
}

// requests is how many the job sends if none of them fails.
func (s shape) requests(t *testing.T) int {
	t.Helper()
	f := s.failing(t, hubtest.Fault{}, 1<<30, 0)
	if _, hit := f.run(); hit || len(f.wrong) > 0 {
		t.Fatalf("the job without a fault: %v", f.wrong)
	}
	n := len(f.hub.Requests())
	if n < 15 {
		t.Fatalf("the job is done in %d requests: it has more", n)
	}
	return n
}

// fail runs a job of which the i-th request fails. A request that hangs is given up
// soon; where that was too soon for a busy machine, whose sound requests take as long,
// the job is run again with more patience: only what the last one shows counts.
func (s shape) fail(t *testing.T, fault hubtest.Fault, i int) (outcome string) {
	t.Helper()
	patience := []time.Duration{0}
	if fault.Stall > 0 {
		patience = []time.Duration{400 * time.Millisecond, 4 * time.Second, 25 * time.Second}
	}
	var wrong []string
	for _, p := range patience {
		f := s.failing(t, fault, i, p)
		var hit bool
		if outcome, hit = f.run(); !hit {
			f.check(false, "no such request was sent")
		}
		if len(f.wrong) == 0 {
			return outcome
		}
		wrong = f.wrong
	}
	for _, w := range wrong {
		t.Errorf("request %d: %s", i, w)
	}
	return outcome
}

// failing is one job of which a request fails.
type failing struct {
	shape
	*job
	start string // the head before it; "" if there is no repository
	armed *hubtest.Armed
	wrong []string
}

func (s shape) failing(t *testing.T, fault hubtest.Fault, i int, patience time.Duration) *failing {
	t.Helper()
	r := newRig(t, s.options...)
	if patience > 0 {
		r.patience = patience
		r.w = r.newWriter(0)
	}
	start, err := r.hub.Head(repo, "main")
	if err != nil {
		start = ""
	}
	fault.Nth = i
	return &failing{shape: s, start: start, armed: r.hub.Fault(fault), job: r.job(s.mode, s.change).perCommit(s.perCommit)}
}

func (f *failing) check(ok bool, format string, args ...any) {
	if !ok {
		f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
	}
}

// run runs the job, and then again what failed of it: begin and stage as tasks that
// are tried again, commit as the same commit. hit is false if there is no such request.
func (f *failing) run() (outcome string, hit bool) {
	err := f.Begin()
	if err == nil {
		err = f.StageAll(f.partitions...)
		f.check(source.KindOf(err) != source.KindNotFound, "a file that was not kept, as if the dataset were not there: %v", err)
	}
	outcome = "ok"
	if err != nil {
		f.rows("after a failed stage", f.before)
		f.check(f.armed.Hits() > 0, "%v without a fault", err)
		outcome = "stage " + source.KindOf(err).String()
		f.staged = nil
		if err := f.Begin(); err != nil {
			f.check(false, "the repeated begin: %v", err)
			return outcome, true
		}
		if err := f.StageAll(f.partitions...); err != nil {
			f.check(false, "the repeated stage: %v", err)
			return outcome, true
		}
	}
	_, err = f.Commit()
	if f.armed.Hits() == 0 {
		f.check(err == nil, "%v without a fault", err)
		f.rows("without a fault", f.after)
		return "", false
	}
	if err == nil {
		f.rows("of a job that succeeded", f.after)
	} else {
		k := source.KindOf(err)
		f.check(outcome == "ok", "the commit after a repeated stage: %v", err)
		f.check(k == source.KindUnknownOutcome || k == source.KindUpstream || k == source.KindConflict, "%v", err)
		outcome = "commit " + k.String()
	}
	again, repeatErr := f.Commit()
	f.check(repeatErr == nil, "the repeat failed: %v", repeatErr)
	f.check(again.Already == (err == nil), "already is %v after %v", again.Already, err)
	f.rows("after the repeat", f.after)
	f.others()
	return outcome, true
}

// rows checks what readers find; the job's rows may be in a pull request.
func (f *failing) rows(when string, want []int64) {
	revision := "main"
	if f.pr {
		f.check(slices.Equal(f.train("main"), f.before), "rows of main %s: %v", when, f.train("main"))
		if revision = f.base.Revision; revision == "" {
			return // begin has not answered
		}
	}
	got := f.train(revision)
	f.check(slices.Equal(got, want), "rows %s: %v", when, got)
}

// train reads split train; a repository that is not there yet has no rows, nor has one
// in another format.
func (f *failing) train(revision string) []int64 {
	if _, err := f.hub.Head(repo, revision); err != nil {
		return nil
	}
	if _, _, err := f.layout(revision).Choose("", "train"); source.KindOf(err) == source.KindUnsupported {
		return nil
	}
	return f.read(revision, "", "train")
}

// others checks what must hold besides the rows.
func (f *failing) others() {
	revision := "main"
	if f.pr {
		revision = f.base.Revision
		_, err := f.hub.Head(repo, "refs/pr/2")
		f.check(revision == "refs/pr/1" && err != nil, "the job has more than one pull request; it uses %s", revision)
	}
	if f.other != nil {
		got := f.read(revision, "", "test")
		f.check(slices.Equal(got, f.other), "the other split: %v", got)
	}
	if f.card != "" {
		card, err := f.hub.Read(repo, revision, "README.md")
		f.check(err == nil && strings.Contains(string(card), f.card) && strings.Contains(string(card), "# Title\n"), "the card: %s, %v", card, err)
	}
	if !f.atomic {
		return
	}
	for _, s := range f.states(f.start) {
		f.check(slices.Equal(s.rows, f.before) || slices.Equal(s.rows, f.after), "rows %v at commit %s", s.rows, s.commit)
	}
}
