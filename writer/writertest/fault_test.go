package writertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// oldData is a dataset of one file with the rows 1 and 2.
func oldData(t testing.TB) hubtest.Option {
	return hubtest.Dataset(repo, map[string][]byte{"data/train-00000-of-00001.parquet": parquetOf(t, 1, 2)})
}

func TestBeginRefusesWhatCannotBeWritten(t *testing.T) {
	const reader, author = "hf_reader00", "hf_writer00"
	r := newRig(t, oldData(t), hubtest.Tokens(map[string]hubtest.Rights{reader: hubtest.Read, author: hubtest.Write}))
	begin := func(token string, change func(*writer.BeginRequest)) error {
		j := r.job(writer.ModeAppend, change)
		j.token = source.NewHubToken(token)
		return j.Begin()
	}
	revision := func(rev string) func(*writer.BeginRequest) {
		return func(b *writer.BeginRequest) { b.Revision, b.CreateRepo = rev, false }
	}
	wantKind(t, begin(reader, revision("")), source.KindDenied)
	wantKind(t, begin(author, func(b *writer.BeginRequest) { b.Dataset, b.CreateRepo = "demo/none", false }), source.KindNotFound)
	wantKind(t, begin(author, revision(r.head())), source.KindInvalid)
	wantKind(t, begin(author, revision("refs/convert/parquet")), source.KindInvalid)
	wantKind(t, begin(author, revision("no-such-branch")), source.KindNotFound)
	// Split "all" is the union of all splits; the reference library cannot load a
	// config that has one of this name.
	wantKind(t, begin(author, to("", "all")), source.KindInvalid)
	if err := begin(author, revision("")); err != nil {
		t.Error(err)
	}
}

func TestBeginCreatesNothingForASchemaThatCannotBeWritten(t *testing.T) {
	r := newRig(t)
	schema, err := writer.EncodeSchema(arrow.NewSchema([]arrow.Field{{Name: "d", Type: arrow.FixedWidthTypes.Duration_us}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	err = r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.Schema = schema }).Begin()
	wantKind(t, err, source.KindUnsupported)
	if !strings.Contains(err.Error(), "begin:") {
		t.Errorf("the error is not begin's: %v", err)
	}
	equal(t, "requests", len(r.hub.Requests()), 0)
}

func TestAnUploadThatFailsIsATypedErrorAndNothingIsVisible(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	head := r.head()
	fault := r.hub.Fault(hubtest.Fault{Origin: "cdn", Method: http.MethodPut, Status: http.StatusInternalServerError})
	_, err := j.Stage(0, "0", rows(from(10, 3)...))
	wantKind(t, err, source.KindUpstream)
	fault.Disarm()
	equal(t, "head", r.head(), head)
	if err := j.StageAll(from(10, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2}, from(10, 3)...))
}

func TestAnInputThatFailsStagesNothing(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	in := rows(from(10, 9)...)
	in.fail = errors.New("the task died")
	files, err := j.Stage(0, "0", in)
	if err == nil || len(files) != 0 {
		t.Fatalf("got %v, %v", files, err)
	}
}

func TestACommitThatIsRepeatedGivesTheFirstAnswer(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	ops := 2
	j.maxOps = &ops
	first := j.must(from(10, 1), from(11, 1), from(12, 1))
	equal(t, "commits", len(first.Commits), 2)
	if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"notes.md": []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	posts := r.posts()
	j.w = r.newWriter(0) // another replica, or the same after a restart
	again, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "already", again.Already, true)
	again.Already = false
	equal(t, "answer", again, first)
	equal(t, "posts", r.posts(), posts)

	j.staged = j.staged[:2]
	_, err = j.Commit()
	wantKind(t, err, source.KindConflict)
	equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2}, from(10, 3)...))
}

func TestAForeignPushBetweenBeginAndCommitIsKept(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"data/train-00001-of-00002.parquet": parquetOf(t, 7)}}); err != nil {
		t.Fatal(err)
	}
	result, err := j.Commit()
	if err != nil || result.Already {
		t.Fatal(result, err)
	}
	equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2, 7}, from(10, 2)...))
}

func TestAConflictInTheMiddleOfAChainIsRebased(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	ops := 1
	j.maxOps = &ops
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 1), from(11, 1), from(12, 1)); err != nil {
		t.Fatal(err)
	}
	pushed := false
	_, err := j.w.Commit(t.Context(), j.token, j.body(), func(e writer.CommitEvent) {
		if e.Progress != nil && e.Progress.Index == 1 && !pushed {
			pushed = true
			if _, err := r.hub.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{"notes.md": []byte("x")}}); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2}, from(10, 3)...))
}

func TestOnlyTheChosenAttemptIsVisible(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	first, err := j.Stage(0, "7", rows(10, 11))
	if err != nil {
		t.Fatal(err)
	}
	second, err := j.Stage(0, "8", rows(10, 11, 12))
	if err != nil {
		t.Fatal(err)
	}
	j.staged = append(slices.Clone(first), second...)
	_, err = j.Commit()
	wantKind(t, err, source.KindInvalid)
	if !strings.Contains(err.Error(), `"7"`) || !strings.Contains(err.Error(), `"8"`) {
		t.Errorf("the attempts are not named: %v", err)
	}
	j.staged = first
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 10, 11})
}

func TestStagedFilesThatAreGoneAreNamedAndNothingIsCommitted(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 1), from(11, 1)); err != nil {
		t.Fatal(err)
	}
	head := r.head()
	j.staged[1].OID = strings.Repeat("ab", 32)
	_, err := j.Commit()
	wantKind(t, err, source.KindStagedLost)
	if !strings.Contains(err.Error(), "partitions 1") {
		t.Errorf("the partition is not named: %v", err)
	}
	equal(t, "head", r.head(), head)
}

func TestMixedSchemasAreRefused(t *testing.T) {
	r := newRig(t)
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 1), from(11, 1)); err != nil {
		t.Fatal(err)
	}
	j.staged[1].SchemaHash = "other"
	_, err := j.Commit()
	wantKind(t, err, source.KindInvalid)
}

// TestAFullSpoolIsBusyAndEmptiedAgain: two attempts need more than there is, each of
// them less.
func TestAFullSpoolIsBusyAndEmptiedAgain(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	j.w = r.newWriter(1)
	_, err := j.Stage(0, "0", rows(from(10, 3)...))
	wantKind(t, err, source.KindLimit)

	// A row group as soon as there are rows: the open file takes room.
	j.stage = func(s *writer.StageRequest) { s.RowGroupRows = 1 }
	j.w = r.newWriter(1 << 20)
	for range 2 {
		in := &blocking{rows(from(20, 3)...), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		held := make(chan error, 1)
		go func() {
			_, err := j.stageIn(ctx, 1, "0", in)
			held <- err
		}()
		<-in.reached
		// It waits for its rows and not for room, so this one waits for it: it
		// goes on when the other has ended.
		waited := make(chan error, 1)
		go func() {
			_, err := j.Stage(0, "0", rows(from(10, 3)...))
			waited <- err
		}()
		select {
		case err := <-waited:
			t.Fatalf("it did not wait for room: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		stop()
		if err := <-held; !errors.Is(err, context.Canceled) {
			t.Errorf("the other one: %v", err)
		}
		if err := <-waited; err != nil {
			t.Error(err)
		}
	}
}

// blocking never ends until its context does.
type blocking struct {
	*batches
	reached chan struct{}
}

func (b *blocking) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if len(b.recs) > 0 {
		return b.batches.Next(ctx)
	}
	close(b.reached)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAbortStopsAttemptsAndNeverFails(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	in := &blocking{rows(from(10, 3)...), make(chan struct{})}
	failed := make(chan error, 1)
	go func() {
		_, err := j.Stage(0, "0", in)
		failed <- err
	}()
	<-in.reached
	if err := errors.Join(j.w.Abort(t.Context(), j.begin.Job), j.w.Abort(t.Context(), "nobody's")); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed:
		wantKind(t, err, source.KindCanceled)
	case <-time.After(10 * time.Second):
		t.Fatal("the attempt goes on")
	}
}

func TestSmallFilesTravelInTheirRecordWhereTheHubWantsThat(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{".gitattributes": []byte("*.bin filter=lfs diff=lfs merge=lfs -text\n")}))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 2)); err != nil {
		t.Fatal(err)
	}
	equal(t, "mode", j.staged[0].Mode, "regular")
	result, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), from(10, 2))
	again, err := j.Commit()
	if err != nil || !again.Already || again.Head != result.Head {
		t.Errorf("repeat: %+v, %v", again, err)
	}
}

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

// TestEveryRequestOfAJobMayFail: the i-th request fails, for every i, in every
// way. What a job says about itself is so, and asking again settles it.
func TestEveryRequestOfAJobMayFail(t *testing.T) {
	for name, fault := range faultKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes := map[string]int{}
			for i := 1; ; i++ {
				outcome, hit := failOne(t, fault, i)
				if !hit {
					break
				}
				outcomes[outcome]++
			}
			n := 0
			for _, times := range outcomes {
				n += times
			}
			t.Logf("%s: %d requests, %v", name, n, outcomes)
			if n < 20 {
				t.Errorf("only %d requests failed: a job has more", n)
			}
		})
	}
}

// failOne runs a job of two commits of which the i-th request fails. A request that hangs is given up soon; where that was too soon for a busy
// machine, whose sound requests take as long, the job is run again with more patience: only what the last one shows counts.
func failOne(t *testing.T, fault hubtest.Fault, i int) (outcome string, hit bool) {
	t.Helper()
	patience := []time.Duration{0}
	if fault.Stall > 0 {
		patience = []time.Duration{400 * time.Millisecond, 4 * time.Second, 25 * time.Second}
	}
	var wrong []string
	for _, p := range patience {
		if outcome, hit, wrong = failOnce(t, fault, i, p); len(wrong) == 0 {
			return outcome, hit
		}
	}
	for _, w := range wrong {
		t.Errorf("request %d: %s", i, w)
	}
	return outcome, hit
}

func failOnce(t *testing.T, fault hubtest.Fault, i int, patience time.Duration) (outcome string, hit bool, wrong []string) {
	t.Helper()
	r := newRig(t, oldData(t))
	if patience > 0 {
		r.patience = patience
		r.w = r.newWriter(0)
	}
	fault.Nth = i
	armed := r.hub.Fault(fault)
	ops := 1
	j := r.job(writer.ModeAppend, nil)
	j.maxOps = &ops
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	rows := func(when string, want ...int64) {
		got := r.read("main", "", "")
		check(slices.Equal(got, want), "rows %s: %v", when, got)
	}

	err := j.Begin()
	if err == nil {
		err = j.StageAll([]int64{10}, []int64{11})
	}
	if err != nil {
		rows("after a failed stage", 1, 2)
		check(armed.Hits() > 0, "%v without a fault", err)
		return "stage " + source.KindOf(err).String(), true, wrong
	}
	_, err = j.Commit()
	if armed.Hits() == 0 {
		check(err == nil, "%v without a fault", err)
		rows("without a fault", 1, 2, 10, 11)
		return "", false, wrong
	}
	if err == nil {
		rows("of a job that succeeded", 1, 2, 10, 11)
	} else {
		k := source.KindOf(err)
		check(k == source.KindUnknownOutcome || k == source.KindUpstream || k == source.KindConflict, "%v", err)
	}
	again, repeatErr := j.Commit()
	check(repeatErr == nil, "the repeat failed: %v", repeatErr)
	check(again.Already == (err == nil), "already is %v after %v", again.Already, err)
	rows("after the repeat", 1, 2, 10, 11)
	if err != nil {
		return "commit " + source.KindOf(err).String(), true, wrong
	}
	return "ok", true, wrong
}

func TestRequestsOfAChainedOverwriteMayFail(t *testing.T) {
	t.Parallel()
	fault := faultKinds["reset after effect"]
	for i := 1; ; i += 2 {
		r := newRig(t, hubtest.Dataset(repo, map[string][]byte{
			"data/train-00000-of-00002.parquet": parquetOf(t, 1), "data/train-00001-of-00002.parquet": parquetOf(t, 2), "data/test-00000-of-00001.parquet": parquetOf(t, 3),
		}))
		fault.Nth = i
		armed := r.hub.Fault(fault)
		ops := 1
		j := r.job(writer.ModeOverwrite, nil)
		j.maxOps = &ops
		result, err := j.Run([]int64{10}, []int64{11})
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		equal(t, "commits", len(result.Commits), 4)
		equal(t, fmt.Sprintf("request %d: rows", i), r.read("main", "", "train"), []int64{10, 11})
		equal(t, "the other split", r.read("main", "", "test"), []int64{3})
		if armed.Hits() == 0 {
			return
		}
	}
}

func TestAnAnswerThatIsLostForGoodIsAnUnknownOutcome(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 2)); err != nil {
		t.Fatal(err)
	}
	lost := r.hub.Fault(hubtest.Fault{Path: "/commit/", After: true, Reset: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	blind := r.hub.Fault(hubtest.Fault{Path: "/commits/", Status: http.StatusInternalServerError})
	_, err := j.w.Commit(ctx, j.token, j.body(), nil)
	wantKind(t, err, source.KindUnknownOutcome)
	if !strings.Contains(err.Error(), j.begin.Job) {
		t.Errorf("the job is not named: %v", err)
	}
	lost.Disarm()
	blind.Disarm()
	again, err := j.Commit()
	if err != nil || !again.Already {
		t.Fatalf("%+v, %v", again, err)
	}
	equal(t, "rows", r.read("main", "", ""), append([]int64{1, 2}, from(10, 2)...))
}

func TestAJobIsAUUID(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"", "../x", strings.ToUpper(uuid.NewString()), "x"} {
		wantKind(t, r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.Job = id }).Begin(), source.KindInvalid)
	}
}
