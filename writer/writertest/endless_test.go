package writertest

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// conflictDeadline is how long the rig's commits go on without getting any further.
const conflictDeadline = 2 * time.Minute

// TestConflictsWithoutEndEndInOne: a Hub that refuses every commit, because of another
// one under way or of a head that has moved, is asked again for as long as the deadline
// allows, at moments that two jobs do not share. Then the job says what it was, and
// nothing has happened: the same commit succeeds once the Hub takes it.
func TestConflictsWithoutEndEndInOne(t *testing.T) {
	for name, refusal := range map[string]hubtest.Fault{
		"409": {Status: http.StatusConflict, Body: `{"error":"Another commit is in progress"}`},
		"412": {Status: http.StatusPreconditionFailed, Body: `{"error":"A commit has happened since. Please refresh and try again."}`},
	} {
		t.Run(name, func(t *testing.T) {
			var pauses [][]time.Duration
			for range 2 {
				pauses = append(pauses, refusedForGood(t, refusal))
			}
			same := 0
			for i := range min(len(pauses[0]), len(pauses[1])) {
				if pauses[0][i] == pauses[1][i] {
					same++
				}
			}
			if same > 1 {
				t.Errorf("two jobs pause alike: %v and %v", pauses[0], pauses[1])
			}
		})
	}
}

// refusedForGood is one job against such a Hub; it returns how long the job paused
// before each of its tries but the first.
func refusedForGood(t *testing.T, refusal hubtest.Fault) []time.Duration {
	t.Helper()
	r := newRig(t, oldData(t))
	clock := &simulated{}
	r.clock = clock
	r.w = r.newWriter(0)
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(10, 2)); err != nil {
		t.Fatal(err)
	}
	head := r.head()
	refusal.Method, refusal.Path = http.MethodPost, "/commit/"
	refused := r.hub.Fault(refusal)
	_, err := j.Commit()
	wantKind(t, err, source.KindConflict)
	if source.AsError("commit", err).RetryAfter == 0 {
		t.Errorf("a busy branch is told like one that has changed: %v", err)
	}
	equal(t, "tries", refused.Hits(), len(clock.waits)+1)
	if clock.passed > conflictDeadline || clock.passed < conflictDeadline/2 {
		t.Errorf("it gave up after %s, and has %s", clock.passed, conflictDeadline)
	}
	if longest := slices.Max(clock.waits); longest >= 15*time.Second || len(clock.waits) < 8 {
		t.Errorf("it paused %d times, and once for %s", len(clock.waits), longest)
	}
	equal(t, "head", r.head(), head)
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2})

	refused.Disarm()
	result, err := j.Commit()
	if err != nil || result.Already {
		t.Fatalf("with the Hub at peace: %+v, %v", result, err)
	}
	equal(t, "rows in the end", r.read("main", "", ""), []int64{1, 2, 10, 11})
	return clock.waits[:refused.Hits()-1]
}
