package writertest

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// TestAnUnknownOutcomeNamesTheWayToAskAgain: the Hub commits and answers nobody, nor
// tells its history. Whoever is left with that is told what to ask, and asking tells.
func TestAnUnknownOutcomeNamesTheWayToAskAgain(t *testing.T) {
	for name, change := range map[string]func(*writer.BeginRequest){
		"the main branch": nil,
		"a pull request":  func(b *writer.BeginRequest) { b.CreatePR = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, oldData(t))
			r.clock = &simulated{}
			r.w = r.newWriter(0)
			j := r.job(writer.ModeAppend, change)
			if err := j.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := j.StageAll(from(10, 2)); err != nil {
				t.Fatal(err)
			}
			lost := r.hub.Fault(hubtest.Fault{Path: "/commit/", After: true, Reset: true})
			blind := r.hub.Fault(hubtest.Fault{Path: "/commits/", Status: http.StatusInternalServerError})
			_, err := j.Commit()
			lost.Disarm()
			blind.Disarm()
			wantKind(t, err, source.KindUnknownOutcome)
			var typed *source.Error
			if !errors.As(err, &typed) {
				t.Fatal(err)
			}
			ask := "hubflight jobs show " + j.begin.Job + " " + repo
			if change != nil {
				ask += " --revision refs/pr/"
			}
			for _, want := range []string{ask, "action jobs"} {
				if !strings.Contains(typed.Hint, want) {
					t.Errorf("the hint does not say %q: %s", want, typed.Hint)
				}
			}
			// What that command asks, on another replica.
			items, err := r.newWriter(0).Jobs(t.Context(), r.token, repo, j.base.Revision, j.begin.Job)
			if err != nil || len(items) != 1 || items[0].State != writer.JobComplete || len(items[0].Commits) != 1 {
				t.Errorf("asked, it says %+v, %v", items, err)
			}
		})
	}
}
