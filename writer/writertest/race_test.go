package writertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// contender is one side of a race.
type contender struct {
	name       string
	overwrites bool
	foreign    bool // somebody else's commit, not a job
	hidden     bool // all its rows appear at once, in however many commits
	run        func(r *rig, first int64, perCommit int) error
}

const racePartitions = 5 // of one row each

func racingJob(mode writer.Mode, change func(*writer.BeginRequest)) func(*rig, int64, int) error {
	return func(r *rig, first int64, perCommit int) error {
		j := r.job(mode, change).perCommit(perCommit)
		j.w = r.newWriter(0) // replicas: no lock between them
		_, err := j.Run(from(first, 1), from(first+1, 1), from(first+2, 1), from(first+3, 1), from(first+4, 1))
		return err
	}
}

// push is somebody else's change, of files or of the card.
func push(change func(r *rig, first int64) hubtest.Change) func(*rig, int64, int) error {
	return func(r *rig, first int64, _ int) error {
		_, err := r.hub.Commit(repo, "main", change(r, first))
		return err
	}
}

func contenders(t *testing.T) map[string]contender {
	all := []contender{
		{name: "append", run: racingJob(writer.ModeAppend, nil)},
		{name: "overwrite", overwrites: true, run: racingJob(writer.ModeOverwrite, nil)},
		{name: "switch", hidden: true, run: racingJob(writer.ModeAppend, bySwitch)},
		{name: "switch overwrite", hidden: true, overwrites: true, run: racingJob(writer.ModeOverwrite, bySwitch)},
		{name: "push", foreign: true, hidden: true, run: push(func(_ *rig, first int64) hubtest.Change {
			return hubtest.Change{Add: map[string][]byte{fmt.Sprintf("data/train-%05d-of-00009.parquet", first): parquetOf(t, from(first, racePartitions)...)}}
		})},
		{name: "card", foreign: true, run: push(func(r *rig, _ int64) hubtest.Change {
			card, err := r.hub.Read(repo, "main", "README.md")
			if err != nil {
				card = nil // there is none yet
			}
			return hubtest.Change{Add: map[string][]byte{"README.md": []byte(editCard(string(card)))}}
		})},
	}
	out := map[string]contender{}
	for _, c := range all {
		out[c.name] = c
	}
	return out
}

// raceCard is a card whose numbers every commit of a job has to keep true, so that
// every commit changes it.
const raceCard = "---\npretty_name: Rows # ours\ndataset_info:\n  splits:\n  - name: train\n    num_bytes: 20\n    num_examples: 2\n  download_size: 500\n  dataset_size: 20\n---\n# Title\n"

// withRaceCard adds the card to the old data.
func withRaceCard() hubtest.Option {
	return hubtest.At(repo, "main", map[string][]byte{"README.md": []byte(raceCard)})
}

// span is how many requests a job sends that nobody disturbs.
type span struct{ requests, posts int }

func measure(t *testing.T, c contender, perCommit int) span {
	t.Helper()
	r := newRig(t, oldData(t), withRaceCard())
	if err := c.run(r, 10, perCommit); err != nil {
		t.Fatal(err)
	}
	return span{len(r.hub.Requests()), r.posts()}
}

// racing is one race: of which two, and at which request of the first the second
// begins.
type racing struct {
	a, b      contender
	perCommit int
	carded    bool // the dataset has a card at first
	at        hubtest.Fault
	stale     bool // the request is a commit, and its parent is no longer the head
}

// newRacing takes everything from the round's number. In every other round the other
// one comes between a plan and one of its commits; in the rest anywhere.
func newRacing(pair [2]contender, perCommit, round int, of span) racing {
	chance := rand.New(rand.NewPCG(uint64(round), uint64(perCommit)))
	x := racing{a: pair[0], b: pair[1], perCommit: perCommit, carded: round%2 == 0 || chance.IntN(2) == 0}
	if round%2 == 0 {
		x.at = hubtest.Fault{Method: http.MethodPost, Path: "/commit/", Nth: 1 + chance.IntN(of.posts)}
		x.stale = x.b.foreign
	} else {
		x.at = hubtest.Fault{Nth: 1 + chance.IntN(of.requests)}
	}
	return x
}

// TestTwoAtATimeAreSomeSerialOrder races every pair, in jobs of one commit and of
// five: what is there in the end is what one after the other would have left, or one
// of them has ended in a conflict, and then the other one is whole. Whoever looks
// meanwhile sees what is between two commits of a job, and the card keeps what
// somebody else wrote into it.
func TestTwoAtATimeAreSomeSerialOrder(t *testing.T) {
	all := contenders(t)
	pairs := [][2]string{{"append", "append"}, {"append", "overwrite"}, {"overwrite", "overwrite"}, {"append", "push"}, {"overwrite", "push"},
		{"append", "card"}, {"overwrite", "card"}, {"switch", "append"}, {"switch", "card"}, {"switch overwrite", "card"}}
	spans := map[string]span{}
	for _, pair := range pairs {
		for _, perCommit := range []int{50, 1} {
			alone := fmt.Sprint(pair[0], perCommit)
			if _, known := spans[alone]; !known {
				spans[alone] = measure(t, all[pair[0]], perCommit)
			}
			of := spans[alone]
			t.Run(fmt.Sprintf("%s and %s, %d per commit", pair[0], pair[1], perCommit), func(t *testing.T) {
				t.Parallel()
				conflicts, stale := 0, 0
				for round := range counts(2, 200) {
					c, s := newRacing([2]contender{all[pair[0]], all[pair[1]]}, perCommit, round, of).run(t)
					conflicts, stale = conflicts+c, stale+s
				}
				t.Logf("%d ended in a conflict, %d commits came too late for their parent", conflicts, stale)
			})
		}
	}
}

// run is the race, and what must hold after it. It returns how many jobs ended in a
// conflict and how many commits were refused because the head had moved.
func (x racing) run(t *testing.T) (conflicts, stale int) {
	t.Helper()
	options := []hubtest.Option{oldData(t)}
	if x.carded {
		options = append(options, withRaceCard())
	}
	r := newRig(t, options...)
	base := r.head()
	other := make(chan error, 1)
	begin := func() { other <- x.b.run(r, 20, x.perCommit) }
	if !x.b.foreign {
		job := begin
		begin = func() { go job() }
	}
	fault := x.at
	fault.Meanwhile = begin
	armed := r.hub.Fault(fault)
	stop := r.sampler()
	errs := []error{x.a.run(r, 10, x.perCommit), nil}
	if armed.Hits() == 0 { // a dataset without a card takes fewer requests
		armed.Disarm()
		begin()
	}
	errs[1] = <-other
	heads := stop()
	for _, q := range r.hub.Requests() {
		if q.Status == http.StatusPreconditionFailed && strings.Contains(q.Path, "/commit/") {
			stale++
		}
	}
	if x.stale && stale == 0 {
		t.Errorf("%s: no commit was refused although the head had moved", x)
	}
	states := r.states(base)
	inOrder(t, heads, states)
	x.everyState(t, states)
	conflicts = x.end(t, states[len(states)-1].rows, errs)
	if x.b.name == "card" {
		keepsEdit(t, states)
	}
	if t.Failed() {
		t.Fatalf("%s", x)
	}
	return conflicts, stale
}

func (x racing) String() string {
	return fmt.Sprintf("%s and %s, %d per commit, card %v, met at the %d. request of %q", x.a.name, x.b.name, x.perCommit, x.carded, x.at.Nth, x.at.Path)
}

// ids of a side of the race.
func (x racing) ids(side int) []int64 { return from(int64(10*(side+1)), racePartitions) }

// everyState: at any commit there are whole files, the old rows go only when those of
// an overwrite are all there, and the card's numbers are true.
func (x racing) everyState(t *testing.T, states []state) {
	t.Helper()
	replaced := false // an overwrite has had all its rows there
	for _, s := range states {
		sorted := slices.Sorted(slices.Values(s.rows))
		if n := len(slices.Compact(sorted)); n != len(s.rows) {
			t.Errorf("commit %s: rows twice: %v", s.commit, s.rows)
		}
		for i, c := range []contender{x.a, x.b} {
			seen := among(x.ids(i), s.rows)
			replaced = replaced || c.overwrites && len(seen) == racePartitions
			x.part(t, s, i, seen)
		}
		if old := among([]int64{1, 2}, s.rows); len(old) == 1 || len(old) == 0 && !replaced {
			t.Errorf("commit %s: the old rows are not there: %v", s.commit, s.rows)
		}
		if x.b.name != "push" { // who pushes files by hand lets the card be wrong
			trueNumbers(t, s)
		}
	}
}

// part: what is seen of a side is nothing, all, or what its commits so far have added,
// of which another's overwrite may have taken away the first.
func (x racing) part(t *testing.T, s state, side int, seen []int64) {
	t.Helper()
	c, other := x.a, x.b
	if side == 1 {
		c, other = other, c
	}
	ids, n := x.ids(side), len(seen)
	switch {
	case n == 0 || n == racePartitions:
	case c.hidden || x.perCommit >= racePartitions:
		t.Errorf("commit %s: %d of the %d rows of %s, which come at once: %v", s.commit, n, racePartitions, c.name, s.rows)
	case seen[n-1]-seen[0] != int64(n-1), seen[0] != ids[0] && !other.overwrites:
		t.Errorf("commit %s: of %s the rows %v", s.commit, c.name, seen)
	}
}

// among are those ids that are in rows.
func among(ids, rows []int64) (out []int64) {
	for _, id := range ids {
		if slices.Contains(rows, id) {
			out = append(out, id)
		}
	}
	return out
}

// end checks what is there when both have ended.
func (x racing) end(t *testing.T, got []int64, errs []error) (conflicts int) {
	t.Helper()
	// has: the rows of a side are all there, or none is.
	has := func(ids []int64) bool {
		n := len(among(ids, got))
		if n != 0 && n != len(ids) && errs[0] == nil && errs[1] == nil {
			t.Errorf("%d of %d rows: %v", n, len(ids), got)
		}
		return n == len(ids)
	}
	sides := []contender{x.a, x.b}
	overwritten := false
	for i, c := range sides {
		switch kind := source.KindOf(errs[i]); {
		case errs[i] == nil:
			overwritten = overwritten || c.overwrites
		case kind == source.KindConflict && !c.foreign:
			conflicts++
		default:
			t.Errorf("%s: %v", c.name, errs[i])
		}
	}
	if conflicts == 2 {
		t.Errorf("both ended in a conflict: %v", errs)
	}
	for i, c := range sides {
		if errs[i] != nil || c.name == "card" {
			continue
		}
		// Whatever succeeded is there, unless an overwrite came after it.
		if other := sides[1-i]; !has(x.ids(i)) && !(other.overwrites && errs[1-i] == nil) {
			t.Errorf("the rows of %s are not all there: %v", c.name, got)
		}
	}
	if conflicts == 0 && has([]int64{1, 2}) == overwritten {
		t.Errorf("old rows beside an overwrite %v: %v", overwritten, got)
	}
	if x.a.overwrites && x.b.overwrites && conflicts == 0 && has(x.ids(0)) == has(x.ids(1)) {
		t.Errorf("two overwrites left %v", got)
	}
	return conflicts
}

// TestSpeculativeAttemptsNeverShow: several attempts of every partition run at once,
// some of them after the commit; exactly the chosen ones are there.
func TestSpeculativeAttemptsNeverShow(t *testing.T) {
	for seed := range uint64(counts(10, 500)) {
		chance := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, oldData(t))
		j := r.job(writer.ModeAppend, nil)
		if err := j.Begin(); err != nil {
			t.Fatal(err)
		}
		const partitions = 3
		attempts := 2 + chance.IntN(3)
		staged := [partitions][][]writer.StagedFile{}
		var done sync.WaitGroup
		for p := range partitions {
			staged[p] = make([][]writer.StagedFile, attempts)
			for a := range attempts {
				done.Go(func() {
					files, err := j.Stage(p, fmt.Sprint(a), rows(from(int64(100*p+10*a+100), 2)...))
					if err != nil {
						t.Error(err)
					}
					staged[p][a] = files
				})
			}
		}
		done.Wait()
		want := []int64{1, 2}
		for p := range partitions {
			a := chance.IntN(attempts)
			j.staged = append(j.staged, staged[p][a]...)
			want = append(want, from(int64(100*p+10*a+100), 2)...)
		}
		if _, err := j.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Stage(0, "late", rows(7, 8)); err != nil {
			t.Errorf("seed %d: a late attempt: %v", seed, err)
		}
		if err := j.w.Abort(t.Context(), j.token, j.begin.Job); err != nil {
			t.Error(err)
		}
		equal(t, fmt.Sprintf("seed %d: rows", seed), r.read("main", "", ""), want)
	}
}

// collidingJobs are two jobs whose files get the same eight digits.
func collidingJobs() (a, b string) {
	seen := map[string]string{}
	source := rand.NewChaCha8([32]byte{6})
	for {
		id, err := uuid.NewRandomFromReader(source)
		if err != nil {
			panic(err) // the generator does not fail
		}
		short := writer.Job{ID: id.String()}.Short(8)
		if other, ok := seen[short]; ok {
			return other, id.String()
		}
		seen[short] = id.String()
	}
}

// TestJobsWithTheSameDigitsKeepTheirFilesApart: the second job's names are taken.
func TestJobsWithTheSameDigitsKeepTheirFilesApart(t *testing.T) {
	first, second := collidingJobs()
	for _, mode := range []writer.Mode{writer.ModeOverwrite, writer.ModeAppend} {
		r := newRig(t, oldData(t))
		one := r.job(writer.ModeOverwrite, func(b *writer.BeginRequest) { b.Job = first })
		one.must(from(10, 2))
		two := r.job(mode, func(b *writer.BeginRequest) { b.Job = second })
		two.must(from(20, 2))
		want := from(20, 2)
		if mode == writer.ModeAppend {
			want = append(from(10, 2), want...)
		}
		equal(t, string(mode), r.read("main", "", ""), want)
		if mode == writer.ModeOverwrite && !strings.Contains(r.paths()[0], writer.Job{ID: second}.Short(16)) {
			t.Errorf("the name is not told apart by more digits: %v", r.paths())
		}
		again, err := one.Commit()
		if err != nil || !again.Already {
			t.Errorf("the first job's answer: %+v, %v", again, err)
		}
	}
}

// TestADriverThatDiesDuringFiveCommitsIsContinued, by the same job or by another.
func TestADriverThatDiesDuringFiveCommitsIsContinued(t *testing.T) {
	for _, mode := range []writer.Mode{writer.ModeAppend, writer.ModeOverwrite} {
		for stop := range 6 { // 0: between stage and commit
			r := newRig(t, oldData(t))
			j := r.job(mode, nil).perCommit(1)
			if mode == writer.ModeOverwrite {
				j.perCommit(2)
			}
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll([]int64{10}, []int64{11}, []int64{12}, []int64{13}, []int64{14}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if stop == 0 {
				cancel()
			}
			commits := 0
			_, err := j.w.Commit(ctx, j.token, j.body(), func(e writer.CommitEvent) {
				if e.Progress != nil && e.Progress.Commit != "" {
					if commits++; commits == stop {
						cancel()
					}
				}
			})
			cancel()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s stopped after %d: %v", mode, stop, err)
			}
			for _, id := range []int64{1, 2} {
				if got := r.read("main", "", ""); mode == writer.ModeAppend && !slices.Contains(got, id) {
					t.Errorf("stopped after %d: row %d is gone: %v", stop, id, got)
				}
			}
			j.w = r.newWriter(0)
			if _, err := j.Commit(); err != nil {
				t.Fatalf("%s continued after %d: %v", mode, stop, err)
			}
			want := from(10, 5)
			if mode == writer.ModeAppend {
				want = append([]int64{1, 2}, want...)
			}
			equal(t, fmt.Sprintf("%s continued after %d", mode, stop), r.read("main", "", ""), want)
		}
	}
}

// TestStagedOnOneReplicaCommittedOnAnother, and asked for on a third.
func TestStagedOnOneReplicaCommittedOnAnother(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	for p := range 3 {
		j.w = r.newWriter(0)
		files, err := j.Stage(p, "0", rows(int64(10+p)))
		if err != nil {
			t.Fatal(err)
		}
		j.staged = append(j.staged, files...)
	}
	j.w = r.newWriter(0)
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	items, err := r.newWriter(0).Jobs(t.Context(), j.token, repo, "", j.begin.Job)
	if err != nil || len(items) != 1 || items[0].State != writer.JobComplete {
		t.Errorf("%+v, %v", items, err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 10, 11, 12})
}
