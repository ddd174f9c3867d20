package writertest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
)

// state is what a reader finds at one commit.
type state struct {
	commit string
	rows   []int64 // of the default config's split train, in reading order
	card   string
}

// history lists a revision's commits, oldest first.
func (r *rig) history(revision string) []string {
	r.t.Helper()
	answer := httptest.NewRecorder()
	r.hub.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/api/datasets/"+repo+"/commits/"+revision+"?limit=1000", nil))
	var commits []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &commits); err != nil || len(commits) == 0 {
		r.t.Fatalf("history of %s: %d %s", revision, answer.Code, answer.Body)
	}
	var out []string
	for _, c := range slices.Backward(commits) {
		out = append(out, c.ID)
	}
	return out
}

// states reads every commit of main from the one that is given on. These are all the
// states that a reader of the head can have met.
func (r *rig) states(since string) []state {
	r.t.Helper()
	commits := r.history("main")
	known := map[string][]int64{} // rows by content: most files are in many commits
	var out []state
	for _, commit := range commits[max(slices.Index(commits, since), 0):] {
		s := state{commit: commit}
		if card, err := r.hub.Read(repo, commit, "README.md"); err == nil {
			s.card = string(card)
		}
		_, splits, err := r.layout(commit).Choose("", "train")
		if err != nil && source.KindOf(err) != source.KindNotFound && source.KindOf(err) != source.KindUnsupported {
			r.t.Fatalf("commit %s cannot be read: %v", commit, err)
		}
		for _, split := range splits {
			for _, f := range split.Files {
				raw, err := r.hub.Read(repo, commit, f.Path)
				if err != nil {
					r.t.Fatal(err)
				}
				if known[string(raw)] == nil {
					known[string(raw)] = ids(r.t, raw)
				}
				s.rows = append(s.rows, known[string(raw)]...)
			}
		}
		out = append(out, s)
	}
	return out
}

// sampler looks at the head of main all the time, as a reader may, until stop, which
// returns every head that it has seen.
func (r *rig) sampler() (stop func() []string) {
	quit, seen := make(chan struct{}), make(chan []string, 1)
	go func() {
		var heads []string
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			if head, err := r.hub.Head(repo, "main"); err == nil && (len(heads) == 0 || heads[len(heads)-1] != head) {
				heads = append(heads, head)
			}
			select {
			case <-quit:
				seen <- heads
				return
			case <-tick.C:
			}
		}
	}()
	return func() []string { close(quit); return <-seen }
}

// inOrder: the heads that were seen are commits of the history, never an older one
// after a newer one.
func inOrder(t *testing.T, heads []string, states []state) {
	t.Helper()
	last := -1
	for _, head := range heads {
		at := slices.IndexFunc(states, func(s state) bool { return s.commit == head })
		if at <= last {
			t.Errorf("the head %s was seen, which is number %d of the history, after number %d", head, at, last)
		}
		last = at
	}
}

var cardsRows = regexp.MustCompile(`num_examples: ([0-9]+)`)

// trueNumbers: the card counts the rows right, or not at all.
func trueNumbers(t *testing.T, s state) {
	t.Helper()
	m := cardsRows.FindStringSubmatch(s.card)
	if m != nil && m[1] != strconv.Itoa(len(s.rows)) {
		t.Errorf("commit %s: the card says %s of %d rows", s.commit, m[1], len(s.rows))
	}
}

// The card edit that races make.
const (
	licensed = "license: mit\n"
	edited   = "# Edited\n"
)

// editCard is what somebody makes of the card that is there.
func editCard(card string) string {
	switch {
	case card == "":
		card = "---\n---\n"
	case !strings.HasPrefix(card, "---\n"):
		card = "---\n---\n" + card
	}
	return "---\n" + licensed + strings.TrimPrefix(card, "---\n") + "\n" + edited
}

// keepsEdit: from the commit on that edited the card, every card has the edit, once.
func keepsEdit(t *testing.T, states []state) {
	t.Helper()
	made := false
	for _, s := range states {
		n, m := strings.Count(s.card, licensed), strings.Count(s.card, edited)
		if made && n == 0 || made && m == 0 {
			t.Errorf("commit %s lost the card's edit:\n%s", s.commit, s.card)
			return
		}
		if n > 1 || n != m {
			t.Errorf("commit %s has the card's edit %d and %d times:\n%s", s.commit, n, m, s.card)
		}
		made = n > 0
	}
	if !made {
		t.Error("nobody edited the card")
	}
}
