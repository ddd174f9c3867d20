package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// raceWatch makes a run fail in which a program that the tests started has met a
// data race. Nobody else would hear of it: the report is on the standard error of
// a program whose output hardly any test reads, and the exit code that tells of it
// is not that of a server which is killed.
type raceWatch struct{ *testing.M }

func (w raceWatch) Run() int {
	dir, err := os.MkdirTemp("", "hubflight-races-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Setenv("GORACE", racesIn(dir)) // ours has been read long ago; that of all programs to come is this one
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := w.M.Run()
	if reports := races(dir); reports != "" {
		fmt.Fprintf(os.Stderr, "FAIL: programs that the tests started have met data races:\n%s", reports)
		return max(code, 1)
	}
	return code
}

// racesIn is the GORACE with which a program writes its reports into a folder, a
// file per process, and ends without a second of sleep: the scripts start a hundred
// of them.
func racesIn(dir string) string {
	return "atexit_sleep_ms=0 log_path=" + filepath.Join(dir, "race")
}

// races are the reports in a folder.
func races(dir string) string {
	var all strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err.Error()
		}
		all.Write(raw)
	}
	return all.String()
}

// racy is a program with a data race.
func racy() {
	n, done := 0, make(chan struct{})
	go func() { n++; close(done) }()
	n++
	<-done
	_ = n
}

// raceBuilt tells whether this test looks for races itself.
func raceBuilt() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" {
			return setting.Value == "true"
		}
	}
	return false
}

func TestARaceInAProgramThatATestStartsIsFound(t *testing.T) {
	if !raceBuilt() {
		t.Skip("built without -race")
	}
	dir := t.TempDir()
	p := exec.CommandContext(t.Context(), "racy")
	p.Env = append(os.Environ(), "GORACE="+racesIn(dir))
	out, err := p.CombinedOutput()
	if err == nil {
		t.Errorf("a program with a race ends well:\n%s", out)
	}
	if got := races(dir); !strings.Contains(got, "DATA RACE") || !strings.Contains(got, "racy") {
		t.Errorf("the report is not found: %q\n%s", got, out)
	}
}
