package flightsrv_test

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// badDisk is a place for files on their way that goes bad under a running server,
// and becomes good again.
type badDisk struct {
	kind    source.Kind
	text    string // what the error says
	dir     string // the spool's; "" is a good one
	room    int64  // write.spool_bytes
	alone   bool   // needs mounts of its own
	spoils  func(t *testing.T, f *flighttest.Fixture)
	repairs func(t *testing.T, f *flighttest.Fixture)
	locally bool // what is bad is the folder that is written to
}

const small, large = 1 << 20, 64 << 20

func badDisks() map[string]badDisk {
	none := func(*testing.T, *flighttest.Fixture) {}
	limit := func(bytes uint64) func(*testing.T, *flighttest.Fixture) {
		return func(t *testing.T, _ *flighttest.Fixture) {
			var was syscall.Rlimit
			err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was)
			was.Cur = bytes
			if err = errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return map[string]badDisk{
		"full by write.spool_bytes":    {kind: source.KindLimit, text: "more than the whole spool", room: small, spoils: none},
		"a limit on the size of files": {kind: source.KindLimit, text: "may not become that large", spoils: limit(small), repairs: limit(large)},
		"full": {kind: source.KindBusy, text: "the spool's disk is full", dir: "/mnt", alone: true,
			spoils:  func(t *testing.T, f *flighttest.Fixture) { mount(t, "tmpfs", f.Spool, syscall.MS_REMOUNT, small) },
			repairs: func(t *testing.T, f *flighttest.Fixture) { mount(t, "tmpfs", f.Spool, syscall.MS_REMOUNT, large) }},
		"read-only": {kind: source.KindLimit, text: "the spool's folder is read-only", dir: "/mnt", alone: true,
			spoils: func(t *testing.T, f *flighttest.Fixture) {
				mount(t, f.Spool, f.Spool, syscall.MS_BIND, 0)
				mount(t, f.Spool, f.Spool, syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, 0)
			},
			repairs: func(t *testing.T, f *flighttest.Fixture) {
				if err := syscall.Unmount(f.Spool, 0); err != nil {
					t.Fatal(err)
				}
			}},
		"a full folder": {kind: source.KindBusy, text: "the disk is full", alone: true, locally: true,
			spoils: func(t *testing.T, f *flighttest.Fixture) {
				mount(t, "tmpfs", filepath.Join(f.Root, "target"), 0, small)
			},
			repairs: func(t *testing.T, f *flighttest.Fixture) {
				mount(t, "tmpfs", filepath.Join(f.Root, "target"), syscall.MS_REMOUNT, large)
			}},
	}
}

// mount mounts something; size is that of a tmpfs.
func mount(t *testing.T, what, where string, flags uintptr, size int64) {
	t.Helper()
	options := ""
	if size > 0 {
		options = fmt.Sprintf("size=%d", size)
	}
	if err := syscall.Mount(what, where, "tmpfs", flags, options); err != nil {
		t.Fatalf("mount %s: %v", where, err)
	}
	if flags&syscall.MS_REMOUNT == 0 {
		t.Cleanup(func() { _ = syscall.Unmount(where, syscall.MNT_DETACH) }) // may be done already
	}
}

const diskVariable = "HUBFLIGHT_TEST_DISK"

// TestADiskThatFailsUnderAWriteIsAClearErrorAndNothingElse: nothing stays behind,
// reading goes on, and the same write succeeds once there is room again. Each disk has a
// process of its own, because limits and mounts are a process's.
func TestADiskThatFailsUnderAWriteIsAClearErrorAndNothingElse(t *testing.T) {
	if name := os.Getenv(diskVariable); name != "" {
		writeToBadDisk(t, badDisks()[name])
		return
	}
	for name, d := range badDisks() {
		t.Run(name, func(t *testing.T) {
			apart(t, "TestADiskThatFailsUnderAWriteIsAClearErrorAndNothingElse", name, d.alone)
		})
	}
}

// apart runs a test in a process of its own, with diskVariable set to name, and with
// mounts of its own where it needs them.
func apart(t *testing.T, test, name string, mounts bool) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	child.Env = append(os.Environ(), diskVariable+"="+name)
	if mounts {
		child.SysProcAttr = ownMounts(t)
	}
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// ownMounts makes a process root of a world of its own, as far as mounts go. A machine that
// does not allow that (most containers) skips the test and says what it does not show.
func ownMounts(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	ways := []func() *syscall.SysProcAttr{func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	}}
	if os.Geteuid() == 0 {
		ways = append(ways, func() *syscall.SysProcAttr { return &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} })
	}
	var refused error
	for _, way := range ways {
		probe := exec.Command("true")
		probe.SysProcAttr = way()
		err := probe.Run()
		if err == nil {
			return way()
		}
		refused = errors.Join(refused, err)
	}
	t.Skipf("this machine gives no process mounts of its own, so disks that are full or read-only are not tested; those that need no mounts are: %v", refused)
	return nil
}

// noise are rows of a kilobyte that do not compress.
func noise(rows int) (*arrow.Schema, iter.Seq2[arrow.RecordBatch, error]) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "raw", Type: arrow.BinaryTypes.Binary, Nullable: true}}, nil)
	return schema, func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		chance := rand.NewChaCha8([32]byte{1})
		for range rows / 500 {
			raw := make([]byte, 1<<10)
			for range 500 {
				_, _ = chance.Read(raw) // never fails
				b.Field(0).(*array.BinaryBuilder).Append(raw)
			}
			rec := b.NewRecordBatch()
			more := yield(rec, nil)
			rec.Release()
			if !more {
				return
			}
		}
	}
}

func writeToBadDisk(t *testing.T, d badDisk) {
	t.Helper()
	if d.dir != "" {
		d.dir = t.TempDir()
		mount(t, "tmpfs", d.dir, 0, large)
	}
	f := flighttest.New(t, flighttest.Hub(hubtest.Dataset(dataset, map[string][]byte{"train.parquet": flighttest.Numbers(t, 0, 500)})), flighttest.Spool(d.dir, d.room))
	local := f.Folder("beside", map[string][]byte{"train.parquet": flighttest.Numbers(t, 0, 300)})
	name := "demo/target"
	if d.locally {
		name = f.Folder("target", map[string][]byte{"notes.txt": nil})
	}
	d.spoils(t, f)
	job := uuid.NewString()
	begun, err := f.Client.Begin(t.Context(), writer.BeginRequest{V: 1, Job: job, Dataset: name, Mode: writer.ModeAppend, CreateRepo: true})
	if err != nil {
		t.Fatal(err)
	}
	groups := writer.Encoding{RowGroupBytes: small} // the last one's pages may stay in memory
	stage := func(rows int) (writer.StageResult, error) {
		schema, batches := noise(rows)
		return f.Client.Stage(t.Context(), writer.StageRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base,
			Mode: writer.ModeAppend, Attempt: "0", Encoding: groups}, schema, batches, nil)
	}
	for range 2 {
		_, err := stage(4000)
		if source.KindOf(err) != d.kind || !strings.Contains(err.Error(), d.text) {
			t.Errorf("got %v, want kind %s and %q", err, d.kind, d.text)
		}
		for _, folder := range []string{f.Spool, filepath.Join(f.Root, "target", ".hubflight")} {
			if left := leftBelow(folder); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		countRows(t, f, dataset, 500)
		countRows(t, f, local, 300)
	}
	rows := 4000
	if d.repairs == nil {
		rows = 500
	} else {
		d.repairs(t, f)
	}
	staged, err := stage(rows)
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if _, err := f.Client.Commit(t.Context(), writer.CommitRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base,
		Mode: writer.ModeAppend, Files: staged.Files}, nil); err != nil {
		t.Fatal(err)
	}
	countRows(t, f, name, rows)
}

// leftBelow are the files of a folder, but for locks.
func leftBelow(folder string) (files []string) {
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			files = append(files, path)
		}
		return nil
	})
	return files
}

func countRows(t *testing.T, f *flighttest.Fixture, name string, want int) {
	t.Helper()
	got := 0
	for rec, err := range f.Client.Dataset(client.Read{Dataset: name}).Scan(t.Context(), client.ScanOptions{}) {
		if err != nil {
			t.Errorf("reading %s: %v", name, err)
			return
		}
		got += int(rec.NumRows())
	}
	if got != want {
		t.Errorf("%s has %d rows, want %d", name, got, want)
	}
}
