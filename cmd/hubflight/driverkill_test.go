package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// driver is a hubflight that talks to the server.
func (m *mortal) driver(args ...string) *exec.Cmd {
	m.t.Helper()
	location, err := os.ReadFile(m.path("port"))
	if err != nil {
		m.t.Fatal(err)
	}
	p := exec.CommandContext(m.t.Context(), m.program, append(args, "--server", strings.TrimSpace(string(location)))...)
	p.Env = []string{"HOME=" + m.dir, "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}
	return p
}

// killedAt kills a driver, by its id and with SIGKILL, while the Hub holds a request of its
// job.
func (m *mortal) killedAt(hold hubtest.Fault, args ...string) {
	m.t.Helper()
	hold.Stall = time.Hour // until the server gives the request up
	reached := make(chan struct{})
	hold.Meanwhile = func() { close(reached) } // with After the request has taken effect by then
	held := m.hub.Fault(hold)
	defer held.Disarm()
	p := m.driver(args...)
	var out bytes.Buffer
	p.Stdout, p.Stderr = &out, &out
	if err := p.Start(); err != nil {
		m.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- p.Wait() }()
	select {
	case <-reached:
	case err := <-exited:
		m.t.Fatalf("the driver ended by itself: %v\n%s", err, out.String())
	case <-time.After(time.Minute):
		_ = p.Process.Kill()
		<-exited
		m.t.Fatalf("the driver never came to %s\n%s", held, out.String())
	}
	if err := p.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	var died *exec.ExitError
	if err := <-exited; !errors.As(err, &died) || died.Success() {
		m.t.Fatalf("the driver was not killed: %v\n%s", err, out.String())
	}
}

// sent counts the requests of a kind that the Hub has seen since they were forgotten.
func (m *mortal) sent(origin, method, path string) (n int) {
	for _, r := range m.hub.Requests() {
		if r.Origin == origin && r.Method == method && strings.Contains(r.Path, path) {
			n++
		}
	}
	return n
}

// TestAJobWhoseDriverIsKilledIsFinishedOnceByAnother: the server lives, and the process
// that drives the job is killed when all is staged, then in the middle of five commits,
// before one and after another. Each time a reader has the rows of the commits that were
// made; in the end each row is there once, and no file was sent twice.
func TestAJobWhoseDriverIsKilledIsFinishedOnceByAnother(t *testing.T) {
	const files = 5
	program, err := exec.LookPath("hubflight") // this very test, under the program's name
	if err != nil {
		t.Fatal(err)
	}
	m := newMortal(t, program)
	t.Setenv("HOME", m.dir) // where put keeps its job
	t.Setenv("XDG_CACHE_HOME", "")
	k := &killing{mortal: m, dataset: "demo/driven", mode: writer.ModeAppend}
	if _, err := k.write(uuid.NewString(), [][]int64{{1, 2}}); err != nil {
		t.Fatal(err)
	}
	want := []int64{1, 2}
	put := []string{"put"}
	for i := range files {
		name := m.path(fmt.Sprintf("rows-%d.jsonl", i))
		if err := os.WriteFile(name, fmt.Appendf(nil, "{\"id\":%d}\n{\"id\":%d}\n", 10*i+10, 10*i+11), 0o600); err != nil {
			t.Fatal(err)
		}
		put = append(put, name)
	}
	put = append(put, k.dataset)
	m.hub.ForgetRequests()

	// The commit of all files at once is sent without a question, and never arrives.
	m.killedAt(hubtest.Fault{Method: http.MethodPost, Path: "/commit/", Nth: 1}, put...)
	if n := m.sent("hub", http.MethodPost, "/objects/batch"); n != files {
		t.Errorf("before the commit %d files were asked for, want %d", n, files)
	}
	if got := k.rows(""); !slices.Equal(got, want) {
		t.Errorf("rows of a job without a commit: %v", got)
	}
	job := fiveCommits(t)

	// A commit per file from here on.
	for _, c := range []struct {
		hold hubtest.Fault
		rows []int64
	}{
		{hubtest.Fault{Method: http.MethodPost, Path: "/commit/", Nth: 3}, []int64{10, 11, 20, 21}},
		{hubtest.Fault{Method: http.MethodPost, Path: "/commit/", Nth: 2, After: true}, []int64{30, 31, 40, 41}},
	} {
		m.killedAt(c.hold, "jobs", "resume", job)
		want = append(want, c.rows...)
		if got := k.rows(""); !slices.Equal(got, want) {
			t.Errorf("rows %v when the driver had died at %s, want %v", got, c.hold, want)
		}
		if items, err := m.client.Jobs(t.Context(), k.dataset, "", job); err != nil || len(items) != 1 || items[0].State != writer.JobPartial {
			t.Errorf("the job is told as %+v, %v", items, err)
		}
	}
	for i, wantText := range []string{"10 rows in 5 files", "it is finished"} {
		out, err := m.driver("jobs", "resume", job).CombinedOutput()
		if (err != nil) != (i > 0) || !strings.Contains(string(out), wantText) {
			t.Errorf("resumed for the %d. time: %v\n%s", i+1, err, out)
		}
	}
	if want = append(want, 50, 51); !slices.Equal(k.rows(""), want) {
		t.Errorf("rows in the end: %v", k.rows(""))
	}
	items, err := m.client.Jobs(t.Context(), k.dataset, "", job)
	if err != nil || len(items) != 1 || items[0].State != writer.JobComplete || len(items[0].Commits) != files {
		t.Errorf("in the end the job is %+v, %v", items, err)
	}
	if n := m.sent("cdn", http.MethodPut, ""); n != files {
		t.Errorf("%d objects were sent for %d files", n, files)
	}
}

// fiveCommits finds the one job that put has kept and makes it one of a commit per file,
// which is otherwise what fifty files are. It returns the job's id.
func fiveCommits(t *testing.T) string {
	t.Helper()
	folder, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(folder, "hubflight", "jobs", "*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept jobs: %v, %v", kept, err)
	}
	job := strings.TrimSuffix(filepath.Base(kept[0]), ".json")
	commit, err := keptJob(job)
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	commit.MaxOperations = &one
	if err := keepJob(commit); err != nil {
		t.Fatal(err)
	}
	return job
}
