package hubsink

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAMemoryIsBounded(t *testing.T) {
	var m Memory
	commit := func(i int) listingKey { return listingKey{at: source.Snapshot{Commit: fmt.Sprintf("%040d", i)}} }
	m.list(commit(0), make([]source.File, maxListed+1))
	if _, ok := m.listing(commit(0)); ok {
		t.Error("a listing of more files than all may have is kept")
	}
	for i := range 3 * maxListed {
		m.list(commit(i), nil) // of repositories without files
		if len(m.listings) > maxListed+1 {
			t.Fatalf("%d listings are kept", len(m.listings))
		}
	}
	for i := range 5 {
		m.list(commit(i), make([]source.File, maxListed/2))
		if _, ok := m.listing(commit(i)); !ok || m.listed > maxListed+1 {
			t.Fatalf("after listing %d: %v, %d files", i, ok, m.listed)
		}
	}
	for i := range 3 * maxTexts {
		m.keep(textKey{id: fmt.Sprint(i)}, []byte("text"))
		if len(m.texts) > maxTexts {
			t.Fatalf("%d texts are kept", len(m.texts))
		}
	}
	for i := range 3 * maxModes {
		key := modeKey{job: fmt.Sprint(i)}
		if _, err := m.mode(t.Context(), key, func() (string, error) { return "lfs", nil }); err != nil || len(m.modes) > maxModes {
			t.Fatalf("%v, %d modes are kept", err, len(m.modes))
		}
	}
}

func TestWhatOneCallerMaySeeIsNotRememberedForAnother(t *testing.T) {
	mine, yours := source.NewHubToken("mine").ID(), source.NewHubToken("yours").ID()
	var m Memory
	m.list(listingKey{token: mine}, []source.File{{Path: "secret"}})
	m.keep(textKey{token: mine, id: "1"}, []byte("secret"))
	if files, ok := m.listing(listingKey{token: yours}); ok {
		t.Errorf("the listing of another: %v", files)
	}
	if text, ok := m.text(textKey{token: yours, id: "1"}); ok {
		t.Errorf("the text of another: %s", text)
	}
	asked := 0
	for _, token := range []source.TokenID{mine, yours} {
		if _, err := m.mode(t.Context(), modeKey{token: token}, func() (string, error) { asked++; return "lfs", nil }); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times for two callers", asked)
	}
}

func TestAFailedQuestionIsAskedAgain(t *testing.T) {
	var m Memory
	if _, err := m.mode(t.Context(), modeKey{}, func() (string, error) { return "", source.Errorf(source.KindUpstream, "preupload", "no") }); err == nil {
		t.Fatal("no error")
	}
	if mode, err := m.mode(t.Context(), modeKey{}, func() (string, error) { return "lfs", nil }); mode != "lfs" || err != nil {
		t.Errorf("%q, %v", mode, err)
	}
}
