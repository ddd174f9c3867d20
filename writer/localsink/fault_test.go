package localsink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/writer"
)

const (
	seedJob = "018f0000-0000-7000-8000-000000000001"
	theJob  = "018f0000-0000-7000-8000-000000000002"
)

// trouble takes the place of steps of a commit: of the nth, and of those after it that
// lasting picks.
type trouble struct {
	nth     int
	lasting func(step string) bool
	seen    int
	fired   bool
}

func (f *trouble) at(step string) error {
	if f.nth == 0 {
		return nil
	}
	f.seen++
	if f.seen == f.nth || f.seen > f.nth && f.lasting(step) {
		f.fired = true
		return &fs.PathError{Op: step, Path: "x", Err: syscall.ENOSPC}
	}
	return nil
}

func never(string) bool  { return false }
func always(string) bool { return true }

// onFull are the steps that a full disk refuses.
func onFull(step string) bool { return step != stepRename && step != stepRemove }

// bench is a Writer for the folders below a root.
type bench struct {
	t     *testing.T
	dir   string
	roots *localfs.Roots
	w     *writer.Writer
	fault trouble
	step  func(string) error // in place of fault
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	roots, err := localfs.NewRoots([]string{b.dir})
	if err != nil {
		t.Fatal(err)
	}
	b.roots = roots
	t.Cleanup(func() { _ = roots.Close() })
	b.w, err = writer.New(writer.Options{SpoolDir: t.TempDir(), Open: func(_ context.Context, ref source.Ref, _ source.HubToken) (writer.Sink, error) {
		store, err := roots.Store(ref)
		if err != nil {
			return nil, err
		}
		return b.sink(store), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.w.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) sink(store *localfs.Store) *Sink {
	s := New(store, nil)
	s.fault = b.fault.at
	if b.step != nil {
		s.fault = b.step
	}
	return s
}

func (b *bench) name() string { return "file://" + filepath.Join(b.dir, "set") }

// shape is a kind of job.
type shape struct {
	name   string
	change func(*writer.BeginRequest)
}

func shapes() []shape {
	return []shape{
		{"an overwrite deletes files and changes the card", func(r *writer.BeginRequest) { r.Mode = writer.ModeOverwrite }},
		{"an append to a new config makes a folder and changes the card", func(r *writer.BeginRequest) { r.Config = "gen" }},
		{"parts take the places of files", func(r *writer.BeginRequest) {
			r.Mode, r.Naming, r.Dir = writer.ModeOverwrite, writer.NamingParts, "parts"
		}},
	}
}

// stage begins a job and stages a file for each value, which is its only row.
func (b *bench) stage(begin writer.BeginRequest, values ...int64) writer.CommitRequest {
	b.t.Helper()
	base, err := b.w.Begin(b.t.Context(), source.HubToken{}, begin)
	if err != nil {
		b.t.Fatal(err)
	}
	commit := writer.CommitRequest{V: 1, Job: begin.Job, Dataset: begin.Dataset, Revision: base.Revision, Base: base.Base, Mode: begin.Mode,
		Config: begin.Config, Naming: begin.Naming, Dir: begin.Dir}
	for i, value := range values {
		staged, err := b.w.Stage(b.t.Context(), source.HubToken{}, writer.StageRequest{V: 1, Op: "stage", Job: begin.Job, Dataset: begin.Dataset,
			Revision: base.Revision, Base: base.Base, Mode: begin.Mode, Config: begin.Config, Naming: begin.Naming, Dir: begin.Dir,
			Partition: i, Attempt: "0"}, &oneRow{value: value}, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		commit.Files = append(commit.Files, staged.Files...)
	}
	return commit
}

func (b *bench) commit(request writer.CommitRequest) (writer.CommitResult, error) {
	return b.w.Commit(b.t.Context(), source.HubToken{}, request, nil)
}

// staged is a folder with something in it and a job that is ready to be committed.
func (b *bench) staged(s shape) writer.CommitRequest {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Join(b.dir, "set"), 0o755); err != nil {
		b.t.Fatal(err)
	}
	card := "---\ndataset_info:\n  splits:\n  - name: train\n    num_examples: 0\n---\nA card.\n"
	if err := os.WriteFile(filepath.Join(b.dir, "set", "README.md"), []byte(card), 0o644); err != nil {
		b.t.Fatal(err)
	}
	seed := writer.BeginRequest{V: 1, Job: seedJob, Dataset: b.name(), Mode: writer.ModeAppend}
	request := writer.BeginRequest{V: 1, Job: theJob, Dataset: b.name(), Mode: writer.ModeAppend}
	s.change(&request)
	seed.Naming, seed.Dir = request.Naming, request.Dir
	if _, err := b.commit(b.stage(seed, 1, 2, 3)); err != nil {
		b.t.Fatal(err)
	}
	commit := b.stage(request, 10, 11)
	if err := os.CopyFS(filepath.Join(b.dir, "pristine"), os.DirFS(filepath.Join(b.dir, "set"))); err != nil {
		b.t.Fatal(err)
	}
	return commit
}

// reset makes the folder what it was when the job was staged.
func (b *bench) reset() {
	b.t.Helper()
	set, pristine := filepath.Join(b.dir, "set"), filepath.Join(b.dir, "pristine")
	if err := os.RemoveAll(set); err != nil {
		b.t.Fatal(err)
	}
	if err := os.CopyFS(set, os.DirFS(pristine)); err != nil {
		b.t.Fatal(err)
	}
}

// seen is what a reader finds: every file with its bytes.
func (b *bench) seen() (string, error) {
	ref, err := source.ParseRef(b.name())
	if err != nil {
		return "", err
	}
	plain, err := b.roots.Store(ref)
	if err != nil {
		return "", err
	}
	store := plain.Finishing(func(ctx context.Context, s *localfs.Store) error { return b.sink(s).Recover(ctx) })
	at, err := store.Resolve(b.t.Context(), "")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for f, err := range store.Files(b.t.Context(), at, "") {
		if err != nil {
			return "", err
		}
		raw, err := os.ReadFile(filepath.Join(b.dir, "set", f.Path))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s %x\n", f.Path, raw)
	}
	return out.String(), nil
}

// below lists .hubflight, without the lock and the answers.
func (b *bench) below() []string {
	var out []string
	_ = filepath.WalkDir(filepath.Join(b.dir, "set", area), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" && !strings.Contains(p, "/done/") {
			out = append(out, p)
		}
		return nil
	})
	return out
}

// TestADiskThatIsFullAtAnyStepOfACommitLeavesTheOldStateOrTheNew has every step fail: it
// alone; it and all that takes room from there on; and everything from there on, as when
// the disk is gone, and comes back.
func TestADiskThatIsFullAtAnyStepOfACommitLeavesTheOldStateOrTheNew(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for the disk
			b := newBench(t)
			request := b.staged(s)
			old, err := b.seen()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.commit(request); err != nil {
				t.Fatal(err)
			}
			done, err := b.seen()
			if err != nil || done == old {
				t.Fatalf("the job changes nothing: %v", err)
			}
			for _, kind := range troubles() {
				fired := 0
				for nth := 1; ; nth += kind.stride {
					b.fault = trouble{nth: nth, lasting: kind.lasting}
					if !b.failing(request, fmt.Sprintf("%s at step %d", kind.name, nth), kind.name == "gone", old, done) {
						break
					}
					fired++
				}
				if fired*kind.stride < 25 {
					t.Errorf("%s: only %d steps failed", kind.name, fired)
				}
			}
		})
	}
}

type troubling struct {
	name    string
	lasting func(step string) bool
	stride  int
}

func troubles() []troubling {
	stride := 3
	if os.Getenv("HUBFLIGHT_WRITE") == "full" {
		stride = 1
	}
	return []troubling{{"once", never, 1}, {"full", onFull, 1}, {"gone", always, stride}}
}

// failing commits with the fault that is set; fired is whether it was met. While
// it lasts readers see a whole state, unless nothing works at all; afterwards too, and the
// same commit has its way, once.
func (b *bench) failing(request writer.CommitRequest, what string, gone bool, old, done string) (fired bool) {
	b.t.Helper()
	b.reset()
	_, err := b.commit(request)
	if !b.fault.fired {
		return false
	}
	if err != nil && source.KindOf(err) != source.KindBusy {
		b.t.Errorf("%s: %v", what, err)
	}
	want := []string{done}
	if err != nil {
		want = []string{old}
	}
	if gone {
		want = []string{old, done}
		b.fault = trouble{}
	}
	if now, err := b.seen(); err != nil || !slices.Contains(want, now) {
		b.t.Errorf("%s: %v, readers see\n%.300s", what, err, now)
	}
	b.fault = trouble{}
	for range 2 {
		result, err := b.commit(request)
		if err != nil || result.Rows != 2 || len(result.Head) != 64 {
			b.t.Fatalf("%s: again: %+v, %v", what, result, err)
		}
		if now, err := b.seen(); err != nil || now != done {
			b.t.Errorf("%s: again: %v, readers see\n%.300s", what, err, now)
		}
	}
	if again, err := b.commit(request); err != nil || !again.Already {
		b.t.Errorf("%s: repeated: %+v, %v", what, again, err)
	}
	if left := b.below(); len(left) > 0 {
		b.t.Errorf("%s: left over: %v", what, left)
	}
	return true
}

// TestWhereNothingCanBeKeptACommitIsCarriedOutByTheNextOne is for file systems without
// hard links.
func TestWhereNothingCanBeKeptACommitIsCarriedOutByTheNextOne(t *testing.T) {
	b := newBench(t)
	request := b.staged(shapes()[0])
	if _, err := b.commit(request); err != nil {
		t.Fatal(err)
	}
	done, err := b.seen()
	if err != nil {
		t.Fatal(err)
	}
	b.reset()
	renamed, broken := 0, true
	b.step = func(step string) error {
		switch step {
		case stepLink:
			return &os.LinkError{Op: "link", Err: syscall.EPERM}
		case stepRename:
			renamed++
		case stepSync:
			if renamed > 3 && broken { // answer, intent, and then the files
				return syscall.ENOSPC
			}
		}
		return nil
	}
	if _, err := b.commit(request); source.KindOf(err) != source.KindBusy {
		t.Fatalf("the commit ended with %v", err)
	}
	if _, err := b.seen(); source.KindOf(err) != source.KindBusy {
		t.Errorf("a reader of half a commit gets %v", err)
	}
	broken = false
	if now, err := b.seen(); err != nil || now != done {
		t.Errorf("%v, readers see\n%.300s", err, now)
	}
}

// TestACommitThatCannotBeginIsTakenBackAlsoWhereNothingCanBeKept: in a folder of another
// file system, or of somebody else, no file has a second name, and none can be moved there.
func TestACommitThatCannotBeginIsTakenBackAlsoWhereNothingCanBeKept(t *testing.T) {
	for errno, want := range map[syscall.Errno]source.Kind{syscall.EXDEV: source.KindUnsupported, syscall.EACCES: source.KindDenied} {
		b := newBench(t)
		request := b.staged(shapes()[0])
		old, err := b.seen()
		if err != nil {
			t.Fatal(err)
		}
		b.step = func(step string) error {
			intended := slices.ContainsFunc(b.below(), func(p string) bool { return filepath.Base(p) == intentName })
			if step == stepLink || step == stepRename && intended {
				return &os.LinkError{Op: step, Err: errno}
			}
			return nil
		}
		if _, err := b.commit(request); source.KindOf(err) != want {
			t.Errorf("%s: the commit ended with %v", errno, err)
		}
		if now, err := b.seen(); err != nil || now != old {
			t.Errorf("%s: %v, readers see\n%.300s", errno, err, now)
		}
		b.step = nil
		if result, err := b.commit(request); err != nil || result.Rows != 2 {
			t.Errorf("%s: again: %+v, %v", errno, result, err)
		}
	}
}

// TestWhatIsInTheWayOfACommitIsNamed: a file, or a link to nothing, where a folder has to
// be, and a folder that has the name of a file.
func TestWhatIsInTheWayOfACommitIsNamed(t *testing.T) {
	for name, there := range map[string]func(path string) error{
		"a file":            func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a link to nothing": func(path string) error { return os.Symlink("nowhere", path) },
		"a folder":          func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		b := newBench(t)
		request := writer.BeginRequest{V: 1, Job: theJob, Dataset: b.name(), Naming: writer.NamingFile, Dir: "data/x.parquet", CreateRepo: true}
		path := filepath.Join(b.dir, "set", "data")
		if name == "a folder" {
			path = filepath.Join(path, "x.parquet")
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), there(path)); err != nil {
			t.Fatal(err)
		}
		commit := b.stage(request, 1)
		if _, err := b.commit(commit); source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "in the way") {
			t.Errorf("%s: the commit ended with %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := b.commit(commit); err != nil {
			t.Errorf("%s: again: %v", name, err)
		}
	}
}

// oneRow is a batch of one number.
type oneRow struct {
	value int64
	read  bool
}

func (o *oneRow) Schema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
}

func (o *oneRow) Next(context.Context) (arrow.RecordBatch, error) {
	if o.read {
		return nil, io.EOF
	}
	o.read = true
	b := array.NewRecordBuilder(memory.DefaultAllocator, o.Schema())
	defer b.Release()
	b.Field(0).(*array.Int64Builder).Append(o.value)
	return b.NewRecordBatch(), nil
}
