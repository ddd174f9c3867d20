package writertest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// local makes a job write to the folder "set".
func (r *rig) local(mode writer.Mode, change func(*writer.BeginRequest)) *job {
	j := r.job(mode, change)
	j.begin.Dataset = "file://" + filepath.Join(r.dir, "set")
	return j
}

// seed puts files into the folder.
func (r *rig) seed(files map[string][]byte) {
	r.t.Helper()
	for name, raw := range files {
		path := filepath.Join(r.dir, "set", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// readLocal returns the ids of a split; "" is the default config and train.
func (r *rig) readLocal(config, split string) []int64 {
	r.t.Helper()
	all, defaultConfig := r.content()
	if config == "" {
		config = defaultConfig
	}
	if split == "" {
		split = "train"
	}
	return all[config][split]
}

// leftovers are the files below .hubflight that are neither lock nor answer.
func (r *rig) leftovers() []string {
	var out []string
	root := filepath.Join(r.dir, "set", ".hubflight")
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/done/") && d.Name() != "lock" {
			out = append(out, path)
		}
		return nil
	})
	return out
}

func TestALocalFolderIsWrittenWithTheSameProtocol(t *testing.T) {
	r := newLocalRig(t)
	wantKind(t, r.local(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false }).Begin(), source.KindNotFound)
	r.local(writer.ModeAppend, nil).must(from(0, 2), from(2, 2))
	r.local(writer.ModeAppend, nil).must(from(4, 2))
	equal(t, "rows", r.readLocal("", ""), from(0, 6))
	r.local(writer.ModeAppend, to("", "test")).must(from(20, 1))
	r.local(writer.ModeAppend, to("gen", "")).must(from(30, 1))
	r.local(writer.ModeOverwrite, nil).must(from(10, 3))
	equal(t, "rows after an overwrite", r.readLocal("", ""), from(10, 3))
	equal(t, "the other split", r.readLocal("", "test"), []int64{20})
	equal(t, "the other config", r.readLocal("gen", ""), []int64{30})
	equal(t, "left over", r.leftovers(), []string{})
	wantKind(t, r.local(writer.ModeErrorIfExists, nil).Begin(), source.KindExists)
}

func TestALocalCommitThatIsRepeatedGivesTheFirstAnswer(t *testing.T) {
	r := newLocalRig(t)
	j := r.local(writer.ModeAppend, nil)
	first := j.must(from(0, 2), from(0, 2)) // two files of the same bytes
	r.local(writer.ModeAppend, nil).must(from(5, 1))
	j.w = r.newWriter(0)
	again, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "already", again.Already, true)
	equal(t, "head", again.Head, first.Head)
	equal(t, "rows", r.readLocal("", ""), []int64{0, 1, 0, 1, 5})
	j.staged = j.staged[:1]
	_, err = j.Commit()
	wantKind(t, err, source.KindConflict)
}

func TestALocalCommitThatFailsHalfWayIsTakenBackAndCanBeRepeated(t *testing.T) {
	r := newLocalRig(t)
	r.seed(map[string][]byte{"part-00000.parquet": parquetOf(t, 1), "part-00001.parquet": parquetOf(t, 2)})
	j := r.local(writer.ModeOverwrite, parts(""))
	// A folder in the place of the third file makes the third rename fail, after
	// two others.
	obstacle := filepath.Join(r.dir, "set", "part-00002.parquet")
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Run(from(10, 1), from(11, 1), from(12, 1)); err == nil {
		t.Fatal("the commit succeeded")
	}
	equal(t, "rows of a commit that failed", r.readLocal("", ""), []int64{1, 2})
	equal(t, "still staged", len(r.leftovers()), 3)
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if again, err := j.Commit(); err != nil || again.Already {
		t.Errorf("%+v, %v", again, err)
	}
	r.local(writer.ModeAppend, parts("")).must(from(20, 1))
	equal(t, "rows", r.readLocal("", ""), []int64{10, 11, 12, 20})
	again, err := j.Commit()
	if err != nil || !again.Already {
		t.Errorf("%+v, %v", again, err)
	}
	equal(t, "left over", r.leftovers(), []string{})
}

func TestRacingLocalAppendsKeepAllRows(t *testing.T) {
	r := newLocalRig(t)
	const jobs = 4
	errs := make([]error, jobs)
	var done sync.WaitGroup
	for i := range jobs {
		j := r.local(writer.ModeAppend, nil)
		j.w = r.newWriter(0)
		done.Go(func() { _, errs[i] = j.Run(from(int64(10*i), 2)) })
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := r.readLocal("", "")
	slices.Sort(got)
	equal(t, "rows", got, []int64{0, 1, 10, 11, 20, 21, 30, 31})
}

func TestALocalAbortForgetsWhatIsStaged(t *testing.T) {
	r := newLocalRig(t)
	j := r.local(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := j.StageAll(from(0, 2)); err != nil {
		t.Fatal(err)
	}
	equal(t, "staged", len(r.leftovers()), 1)
	if err := j.w.Abort(t.Context(), j.token, j.begin.Job); err != nil {
		t.Fatal(err)
	}
	equal(t, "left over", r.leftovers(), []string{})
	_, err := j.Commit()
	wantKind(t, err, source.KindStagedLost)
}

func TestAFolderOutsideTheRootsIsDenied(t *testing.T) {
	r := newLocalRig(t)
	j := r.local(writer.ModeAppend, nil)
	j.begin.Dataset = "file://" + t.TempDir()
	wantKind(t, j.Begin(), source.KindDenied)
}

// TestALocalReaderSeesAllOfACommitOrNothing lists the folder all the time.
func TestALocalReaderSeesAllOfACommitOrNothing(t *testing.T) {
	r := newLocalRig(t)
	const files = 12
	partitions := make([][]int64, files)
	for i := range partitions {
		partitions[i] = from(int64(i), 1)
	}
	r.local(writer.ModeAppend, nil).must(partitions...)
	first := r.sample()
	quit, seen := make(chan struct{}), make(chan map[string]int, 1)
	go func() {
		states := map[string]int{}
		defer func() { seen <- states }()
		for {
			select {
			case <-quit:
				return
			default:
				states[r.sample()]++
			}
		}
	}()
	states := map[string]bool{first: true}
	for range 5 {
		result := r.local(writer.ModeOverwrite, nil).must(partitions...)
		equal(t, "atomic", result.Atomic, true)
		states[r.sample()] = true
	}
	close(quit)
	for state, n := range <-seen {
		if !states[state] {
			t.Errorf("%d times a state between two commits:\n%s", n, state)
		}
	}
}

// sample lists the folder's files as a reader of ours does.
func (r *rig) sample() string {
	ref, err := source.ParseRef("file://" + filepath.Join(r.dir, "set"))
	if err != nil {
		return err.Error()
	}
	store, err := r.roots.Store(ref)
	if err != nil {
		return err.Error()
	}
	at, err := store.Resolve(context.Background(), "")
	if err != nil {
		return err.Error()
	}
	var paths []string
	for f, err := range store.Files(context.Background(), at, "") {
		if source.KindOf(err) == source.KindChanged { // a commit came between: the reader begins again
			return r.sample()
		}
		if err != nil {
			return err.Error()
		}
		paths = append(paths, f.Path)
	}
	return strings.Join(paths, "\n")
}
