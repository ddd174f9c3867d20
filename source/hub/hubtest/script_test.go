package hubtest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestAScriptReadsWhatItPrints(t *testing.T) {
	for name, want := range map[string]hubtest.Script{
		"detectable": hubtest.Detectable(),
		"random":     hubtest.RandomScript(7, 50),
		"by hand": {
			{Origin: "cdn", Method: http.MethodGet, Path: "/repos/", Nth: 3, CutAfter: 1000},
			{Path: "/api/", Share: 0.05, Seed: 9, After: true, Status: 503, Header: http.Header{"Retry-After": {"1"}, "X-A": {"b c", `"`}}, Body: "try: later\n"},
			{Origin: "viewer", Stall: 50 * time.Millisecond, CutAfter: 7},
			{Delay: 30 * time.Millisecond}, {Delay: time.Second, After: true, Do: hubtest.GatewayTimeout},
			{Do: hubtest.ShiftRange, N: -4}, {Do: hubtest.Flip, N: 12345}, hubtest.FailOn(8),
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := "# a comment\n\n" + want.String()
			got, err := hubtest.ParseScript(text)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() || len(got) != len(want) {
				t.Errorf("printed\n%s\nread\n%s", want, got)
			}
		})
	}
}

func TestAScriptSaysWhatIsWrongWithIt(t *testing.T) {
	for line, want := range map[string]string{
		"cdn GET *":                           "ORIGIN METHOD PATH WHICH: DO",
		"cdn GET * #1 reset":                  "ORIGIN METHOD PATH WHICH: DO",
		"moon any * every: reset":             "no origin",
		"any any * #0: reset":                 "counted from 1",
		"any any * sometimes: reset":          "every, #N or P%/SEED",
		"any any * 500%/1: reset":             "at most 100%",
		"any any * every: explode":            "nothing that can be done",
		"any any * every: after":              "nothing to do",
		"any any * every: cut x":              "no number",
		"any any * every: stall 5":            "no time",
		"any any * every: reset twice":        "too much",
		"any any * every: status 503 unquote": "neither",
	} {
		if _, err := hubtest.ParseScript("any any * every: reset\n" + line); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	if _, err := hubtest.ParseScript(strings.Repeat("#", 2<<20)); err == nil {
		t.Error("a huge script is read")
	}
}

func TestASeedMakesTheSameScriptAgain(t *testing.T) {
	a, b, c := hubtest.RandomScript(1, 20), hubtest.RandomScript(1, 20), hubtest.RandomScript(2, 20)
	if a.String() != b.String() || a.String() == c.String() {
		t.Errorf("seed 1 gives\n%s\nand\n%s", a, b)
	}
	only := hubtest.RandomScript(3, 20, hubtest.Fault{Reset: true})
	if slices.ContainsFunc(only, func(f hubtest.Fault) bool { return !f.Reset || f.Nth < 1 }) {
		t.Errorf("other ways than the one given: %s", only)
	}
}

func TestAShareOfTheRequestsFailsTheSameOnesEachTime(t *testing.T) {
	run := func() (failed []int) {
		hub := hubtest.New(t, hubtest.Dataset(repo, nil), hubtest.Faults(hubtest.Fault{Path: "/refs", Share: 0.2, Seed: 4, Status: 503}))
		c := connect(t, hub, "")
		for i := range 100 {
			if c.do(http.MethodGet, "/api/datasets/"+repo+"/refs", nil).StatusCode == http.StatusServiceUnavailable {
				failed = append(failed, i)
			}
		}
		return failed
	}
	first := run()
	if len(first) < 8 || len(first) > 35 || !slices.Equal(first, run()) {
		t.Errorf("failed %v", first)
	}
}

// TestFailOnGivesEveryRequestItsTurn: before and after the effect, of a commit
// and the two reads around it.
func TestFailOnGivesEveryRequestItsTurn(t *testing.T) {
	for _, after := range []bool{false, true} {
		var failed []string
		for i := 1; ; i++ {
			hub := hubtest.New(t, hubtest.Dataset(repo, nil))
			c := connect(t, hub, "")
			fault := hubtest.FailOn(i)
			fault.After = after
			armed := hub.Fault(fault)
			before := head(t, hub, "main")
			body := []byte(line("header", map[string]any{"summary": "s"}) + "\n" + fileLine("a", "a"))
			for _, step := range []func() error{
				func() error { _, err := c.try(http.MethodGet, "/api/datasets/"+repo, nil); return err },
				func() error {
					_, err := c.try(http.MethodPost, "/api/datasets/"+repo+"/commit/main", body, "Content-Type", "application/x-ndjson")
					return err
				},
				func() error { _, err := c.try(http.MethodGet, "/api/datasets/"+repo+"/refs", nil); return err },
			} {
				_ = step() // Go's client asks again by itself where that is harmless
			}
			if armed.Hits() > 0 {
				failed = append(failed, armed.String())
			}
			landed := head(t, hub, "main") != before
			if want := after || i != 2; landed != want {
				t.Errorf("%s: landed %v", armed, landed)
			}
			if armed.Hits() == 0 {
				break
			}
		}
		if len(failed) != 3 {
			t.Errorf("after %v: failed %q", after, failed)
		}
	}
}
