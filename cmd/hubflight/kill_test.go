package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// faultyProgram builds the program with its failpoints. With full counts it looks
// for races as this test does: that takes half as much time again.
func faultyProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hubflight-faults")
	race := "-race=" + strconv.FormatBool(raceBuilt() && os.Getenv("HUBFLIGHT_KILLS") != "")
	if out, err := exec.Command("go", "build", race, "-tags", "faults", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// mortal is a server that is killed and started again on the same folders.
type mortal struct {
	t       *testing.T
	program string
	dir     string // roots, spool, port and failpoint are below it
	hub     *hubtest.Running
	process *exec.Cmd
	exited  chan struct{}
	client  *client.Client
}

func newMortal(t *testing.T, program string, options ...hubtest.Option) *mortal {
	m := &mortal{t: t, program: program, dir: t.TempDir(), hub: hubtest.New(t, options...)}
	for _, name := range []string{"sets", "spool"} {
		if err := os.Mkdir(filepath.Join(m.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(m.kill)
	m.start()
	return m
}

func (m *mortal) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mortal) start() {
	m.t.Helper()
	_ = os.Remove(m.path("port"))
	p := exec.Command(m.program, "serve", "--server.address", "127.0.0.1:0", "--server.port_file", m.path("port"), "--local.roots", m.path("sets"), "--write.spool_dir", m.path("spool"))
	p.Env = []string{"HF_ENDPOINT=" + m.hub.HubURL, "HUBFLIGHT_FAILPOINT=" + m.path("failpoint"), "HOME=" + m.dir, "PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}
	if err := p.Start(); err != nil {
		m.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = p.Wait(); close(exited) }()
	m.process, m.exited = p, exited
	var location []byte
	for deadline := time.Now().Add(30 * time.Second); len(location) == 0; time.Sleep(2 * time.Millisecond) {
		var err error
		if location, err = os.ReadFile(m.path("port")); err != nil && time.Now().After(deadline) {
			m.t.Fatalf("the server does not start: %v", err)
		}
	}
	c, err := client.Dial(m.t.Context(), strings.TrimSpace(string(location)), client.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.client = c
}

// kill ends the process, and waits until it is gone.
func (m *mortal) kill() {
	_ = m.process.Process.Kill() // by its id; already gone, if a failpoint was faster
	<-m.exited
	_ = m.client.Close()
}

// revive starts the server again if it is dead; false: it lives.
func (m *mortal) revive() bool {
	select {
	case <-m.exited:
	case <-time.After(2 * time.Second): // the client heard of the death before we did
		return false
	}
	_ = m.client.Close()
	m.start()
	return true
}

// arm sets the failpoint; "" is none.
func (m *mortal) arm(text string) {
	m.t.Helper()
	if err := os.WriteFile(m.path("failpoint.new"), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	name := os.Rename
	if text == "" {
		name = func(string, to string) error { return os.Remove(to) }
	}
	if err := name(m.path("failpoint.new"), m.path("failpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
}

const killPartitions = 3

// ids of one partition of the run's job; those of the data before it are 1 and 2.
func partitionIDs(p int) []int64 { return []int64{int64(10*p + 100), int64(10*p + 101)} }

func jobIDs() (all []int64) {
	for p := range killPartitions {
		all = append(all, partitionIDs(p)...)
	}
	return all
}

var killSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

func killRows(ids []int64) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, killSchema)
		defer b.Release()
		b.Field(0).(*array.Int64Builder).AppendValues(ids, nil)
		rec := b.NewRecordBatch()
		defer rec.Release()
		yield(rec, nil)
	}
}

// errGivenUp: the driver is dead.
var errGivenUp = errors.New("the driver has given up")

// surviving runs one step of the driver, again if the server was killed meanwhile.
func (k *killing) surviving(step func() error) error {
	for {
		err := step()
		if err == nil {
			return nil
		}
		if !k.revive() {
			return err
		}
		k.arm("")
		k.killed = true
		if k.gives {
			return errGivenUp
		}
	}
}

// write is a driver with its tasks: begin, one attempt per partition and another
// one if the server dies, commit and the same commit again if the server dies.
func (k *killing) write(job string, partitions [][]int64) (result writer.CommitResult, err error) {
	ctx := k.t.Context()
	begin := writer.BeginRequest{V: 1, Job: job, Dataset: k.dataset, Mode: k.mode, CreateRepo: true, CreatePR: k.pr, Publish: k.publish}
	var begun writer.BeginResult
	if err := k.surviving(func() (err error) { begun, err = k.client.Begin(ctx, begin); return err }); err != nil {
		return result, err
	}
	two := 2
	commit := writer.CommitRequest{V: 1, Job: job, Dataset: k.dataset, Revision: begun.Revision, Base: begun.Base, Mode: k.mode, Publish: k.publish, MaxOperations: &two}
	for p, ids := range partitions {
		attempt := 0
		var staged writer.StageResult
		err := k.surviving(func() (err error) {
			attempt++
			staged, err = k.client.Stage(ctx, writer.StageRequest{V: 1, Job: job, Dataset: k.dataset, Revision: begun.Revision, Base: begun.Base, Mode: k.mode,
				Partition: p, Attempt: strconv.Itoa(attempt)}, killSchema, killRows(ids), nil)
			return err
		})
		if err != nil {
			return result, err
		}
		commit.Files = append(commit.Files, staged.Files...)
	}
	err = k.surviving(func() (err error) { result, err = k.client.Commit(ctx, commit, nil); return err })
	return result, err
}

// rows are the ids of a revision, as the server reads them. A dataset without data
// cannot be read, which is nothing wrong where there was none.
func (k *killing) rows(revision string) []int64 {
	k.t.Helper()
	got := []int64{}
	for rec, err := range k.client.Dataset(client.Read{Dataset: k.dataset, Revision: revision}).Scan(k.t.Context(), client.ScanOptions{Ordered: true}) {
		if k.fresh && source.KindOf(err) == source.KindNotFound {
			return []int64{}
		}
		if err != nil {
			k.t.Errorf("%s: reading: %v", k, err)
			return nil
		}
		got = append(got, rec.Column(0).(*array.Int64).Int64Values()...)
	}
	return got
}

// run is one kill, with everything that must hold after it.
func (k *killing) run() {
	k.t.Helper()
	if !k.fresh {
		seed := *k
		seed.mode, seed.publish, seed.pr = writer.ModeAppend, "", false
		if _, err := seed.write(uuid.NewString(), [][]int64{{1}, {2}}); err != nil {
			k.t.Fatalf("%s: seeding: %v", k, err)
		}
	}
	stop := k.sample()
	disarm := k.ready()
	partitions := [][]int64{}
	for p := range killPartitions {
		partitions = append(partitions, partitionIDs(p))
	}
	result, err := k.write(uuid.NewString(), partitions)
	disarm()
	heads := stop()
	if err != nil && !errors.Is(err, errGivenUp) {
		k.t.Errorf("%s: %v", k, err)
	}
	if err == nil && result.Rows != int64(len(jobIDs())) {
		k.t.Errorf("%s: a job that succeeded with %d rows", k, result.Rows)
	}
	branch := k.rows("")
	switch {
	case k.pr:
		k.proposed(branch, err == nil)
	case err == nil:
		k.complete(branch)
	default:
		k.state("after the driver died", branch)
	}
	for _, head := range heads {
		if got := k.rows(head); k.pr && !slices.Equal(got, k.before) {
			k.t.Errorf("%s: rows %v at %s of the branch", k, got, head)
		} else if !k.pr {
			k.state("at "+head, got)
		}
	}
	k.again(branch)
}

// complete: exactly the rows of a job that succeeded.
func (k *killing) complete(got []int64) {
	k.t.Helper()
	want := slices.Concat(k.before, jobIDs())
	if k.mode == writer.ModeOverwrite {
		want = jobIDs()
	}
	if !slices.Equal(got, want) {
		k.t.Errorf("%s: rows %v of a job that succeeded", k, got)
	}
}

// proposed: a job with a pull request has opened one, and not changed the branch.
func (k *killing) proposed(branch []int64, succeeded bool) {
	k.t.Helper()
	if !slices.Equal(branch, k.before) {
		k.t.Errorf("%s: rows %v of the branch", k, branch)
	}
	if _, err := k.hub.Head(k.dataset, "refs/pr/2"); err == nil {
		k.t.Errorf("%s: there are two pull requests", k)
	}
	_, err := k.hub.Head(k.dataset, "refs/pr/1")
	switch {
	case succeeded && err != nil:
		k.t.Errorf("%s: the job's pull request: %v", k, err)
	case succeeded:
		k.complete(k.rows("refs/pr/1"))
	case err == nil:
		k.state("in the pull request", k.rows("refs/pr/1"))
	}
}

// state is what a reader may see at any time.
func (k *killing) state(when string, got []int64) {
	k.t.Helper()
	if k.mode == writer.ModeOverwrite && k.publish == writer.PublishBatches {
		got = slices.Sorted(slices.Values(got))
	}
	if !slices.ContainsFunc(k.allowed(), func(a []int64) bool { return slices.Equal(a, got) }) {
		k.t.Errorf("%s: rows %v %s", k, got, when)
	}
}

// again: whatever happened, the next job finds a dataset that it can write to.
func (k *killing) again(was []int64) {
	k.t.Helper()
	next := *k
	next.mode, next.publish, next.gives, next.pr = writer.ModeAppend, "", false, false
	if _, err := next.write(uuid.NewString(), [][]int64{{900}}); err != nil {
		k.t.Errorf("%s: the next job: %v", k, err)
		return
	}
	next.fresh = false
	if got := next.rows(""); !slices.Equal(got, append(slices.Clone(was), 900)) {
		k.t.Errorf("%s: rows %v after the next job, %v before it", k, got, was)
	}
}

// sample looks at the head all the time, until stop; it returns all heads seen.
func (k *killing) sample() (stop func() []string) {
	if k.local {
		return func() []string { return nil }
	}
	ctx, cancel := context.WithCancel(k.t.Context())
	seen := make(chan []string, 1)
	go func() {
		var heads []string
		for ctx.Err() == nil {
			if head, err := k.hub.Head(k.dataset, "main"); err == nil && !slices.Contains(heads, head) {
				heads = append(heads, head)
			}
			time.Sleep(2 * time.Millisecond)
		}
		seen <- heads
	}()
	return func() []string { cancel(); return <-seen }
}

// leftInSpool are the files of the spool folder but for the live server's own lock.
func (m *mortal) leftInSpool() (files []string) {
	_ = filepath.WalkDir(m.path("spool"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			files = append(files, path)
		}
		return nil
	})
	return files
}

// TestAServerThatIsKilledAnywhereLosesAndDoublesNothing kills a real server by its
// id at every step of the protocol, and before and after every request of it.
// HUBFLIGHT_KILLS is how many runs there are.
func TestAServerThatIsKilledAnywhereLosesAndDoublesNothing(t *testing.T) {
	runs := uint64(180)
	if text := os.Getenv("HUBFLIGHT_KILLS"); text != "" {
		var err error
		if runs, err = strconv.ParseUint(text, 10, 32); err != nil {
			t.Fatal(err)
		}
	}
	program := faultyProgram(t)
	const lanes = 3
	var mu sync.Mutex
	killed, counts := map[string]int{}, map[string]int{}
	t.Run("lanes", func(t *testing.T) {
		for lane := range uint64(lanes) {
			t.Run(strconv.Itoa(int(lane)), func(t *testing.T) {
				t.Parallel()
				whole := newMortal(t, program)
				inParts := newMortal(t, program, hubtest.With(hubtest.Options{MultipartThreshold: 1, PartSize: 200}))
				for seed := lane; seed < runs; seed += lanes {
					k := newKilling(seed).on(whole, inParts)
					k.run()
					mu.Lock()
					counts["runs"]++
					if k.killed {
						counts["killed"]++
						killed[k.name]++
					}
					if k.killed && k.gives {
						counts["given up"]++
					}
					mu.Unlock()
				}
				if left := slices.Concat(whole.leftInSpool(), inParts.leftInSpool()); len(left) > 0 {
					t.Errorf("left in the spool: %v", left)
				}
			})
		}
	})
	line, _ := json.Marshal(counts)
	t.Logf("%s", line)
	if counts["killed"]*4 < counts["runs"]*3 {
		t.Errorf("only %d of %d runs met their failpoint", counts["killed"], counts["runs"])
	}
	for _, p := range killPlaces() {
		if killed[p.name] == 0 && runs >= 180 {
			t.Errorf("no run was killed at %q: it is not on the way", p.name)
		}
	}
}
