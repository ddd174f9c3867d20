package writertest

import (
	"context"
	"errors"
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

// TestBeginCreatesNothingForANameAlone: the Hub would make a repository of another name,
// in the caller's namespace.
func TestBeginCreatesNothingForANameAlone(t *testing.T) {
	r := newRig(t)
	err := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.Dataset = "squad" }).Begin()
	wantKind(t, err, source.KindInvalid)
	if !strings.Contains(err.Error(), "name it NAMESPACE/squad") {
		t.Errorf("the error does not say how: %v", err)
	}
	for _, request := range r.hub.Requests() {
		if request.Method != http.MethodGet {
			t.Errorf("%s %s was sent", request.Method, request.Path)
		}
	}
}

func TestBeginSaysHowAMissingDatasetIsCreated(t *testing.T) {
	r := newRig(t)
	err := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false }).Begin()
	wantKind(t, err, source.KindNotFound)
	if !strings.Contains(err.Error(), "set create_repo to create the dataset, or check the name") {
		t.Errorf("got %v", err)
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

// TestAStageTakesNoRowsForAFileThatCannotBe: what its columns alone tell is told before
// a client has sent gigabytes.
func TestAStageTakesNoRowsForAFileThatCannotBe(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	j.stage = func(s *writer.StageRequest) { s.BloomColumns = []string{"nowhere"} }
	in := rows(1)
	_, err := j.Stage(0, "0", in)
	wantKind(t, err, source.KindInvalid)
	equal(t, "batches left", len(in.recs), 1)
	for _, rec := range in.recs {
		rec.Release()
	}
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
	equal(t, "time to wait", source.AsError("commit", err).RetryAfter, 0)
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
	if err := errors.Join(j.w.Abort(t.Context(), j.token, j.begin.Job), j.w.Abort(t.Context(), j.token, "nobody's")); err != nil {
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
