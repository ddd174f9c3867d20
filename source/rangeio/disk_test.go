package rangeio_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
)

func openDisk(t testing.TB, dir string, size int64) *rangeio.Disk {
	t.Helper()
	d, err := rangeio.OpenDisk(dir, size, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fileOf is a file with a content id of its own.
func fileOf(n byte) source.File {
	return source.File{Path: "f.parquet", OID: hex.EncodeToString(bytes.Repeat([]byte{n}, 32))}
}

// readThrough reads ranges with a Reader of its own and returns what it did.
func readThrough(t *testing.T, d *rangeio.Disk, o *origin, f source.File, ranges ...rangeio.Range) rangeio.Stats {
	t.Helper()
	r := rangeio.New(o, rangeio.Options{
		Scheduler: scheduler(t, rangeio.SchedulerOptions{Disk: d, Gap: 1000, FixedGap: true, Max: 200_000}), File: f, MaxTail: -1,
		Confirm: func(context.Context) error { return nil },
	})
	r.Expect(t.Context(), ranges)
	for _, x := range ranges {
		readRange(t, r, o, x)
	}
	closeReader(t, r)
	o.closed.Store(false)
	return r.Stats()
}

// entries lists the files of a cache.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAWarmDiskSavesTheRequests(t *testing.T) {
	dir, o := t.TempDir(), newOrigin(1_000_000)
	d := openDisk(t, dir, 1<<30)
	ranges := []rangeio.Range{{4, 300_000}, {300_500, 50_000}, {900_000, 70_000}}
	if cold := readThrough(t, d, o, fileOf(1), ranges...); cold.Requests != 3 || cold.BytesCached != 0 {
		t.Errorf("cold: %+v", cold)
	}
	for name, again := range map[string][]rangeio.Range{
		"the same":         ranges,
		"parts":            {{100, 5}, {65_536, 65_536}, {299_000, 1000}, {310_000, 3}},
		"across entries":   {{0 + 4, 350_496}},
		"other gaps":       {{4, 10}, {300_500, 10}, {900_001, 9}},
		"one after an end": {{969_999, 1}},
	} {
		if warm := readThrough(t, openDisk(t, dir, 1<<30), o, fileOf(1), again...); warm.Requests != 0 {
			t.Errorf("%s: %+v", name, warm)
		}
	}
	if other := readThrough(t, d, o, fileOf(2), ranges...); other.Requests != 3 {
		t.Errorf("another file: %+v", other)
	}
	if more := readThrough(t, d, o, fileOf(1), rangeio.Range{Off: 969_999, Len: 2}); more.Requests != 1 {
		t.Errorf("a byte more: %+v", more)
	}
}

func TestNothingCachedIsServedUnconfirmed(t *testing.T) {
	o := newOrigin(10_000)
	d := openDisk(t, t.TempDir(), 1<<30)
	whole := rangeio.Range{Off: 0, Len: 10_000}
	readThrough(t, d, o, fileOf(1), whole)
	denied := source.Errorf(source.KindDenied, "open file", "not yours")
	s := scheduler(t, rangeio.SchedulerOptions{Disk: d})
	r := rangeio.New(o, rangeio.Options{Scheduler: s, File: fileOf(1), Confirm: func(context.Context) error { return denied }})
	defer closeReader(t, r)
	r.Expect(t.Context(), []rangeio.Range{whole})
	for range 2 {
		if err := r.ReadAt(t.Context(), make([]byte, 10_000), 0); !errors.Is(err, denied) {
			t.Errorf("got %v", err)
		}
	}
	// Without a way to confirm, without a content id, and in a local folder the
	// disk is not used.
	o.asked = nil
	confirm := func(context.Context) error { return nil }
	local, blob := fileOf(1), fileOf(1)
	local.At.Local, blob.OID, blob.ETag = true, "", blob.OID
	for _, options := range []rangeio.Options{{Scheduler: s, File: fileOf(1)}, {Scheduler: s, File: blob, Confirm: confirm}, {Scheduler: s, File: local, Confirm: confirm}} {
		plain := rangeio.New(o, options)
		readRange(t, plain, o, whole)
		closeReader(t, plain)
		o.closed.Store(false)
	}
	if len(o.requests()) != 3 {
		t.Errorf("%d requests", len(o.requests()))
	}
}

// Parts of a file cannot be compared with the id of the whole: that they belong to it
// is the word of who gave them.
func TestWhatAnotherOriginGaveForAContentIsNotServed(t *testing.T) {
	dir := t.TempDir()
	honest, other := newOrigin(10_000), newOrigin(10_000)
	for i := range other.content {
		other.content[i] ^= 0x55
	}
	whole := rangeio.Range{Off: 0, Len: 10_000}
	for name, o := range map[string]*origin{"https://other.example": other, "https://hub.example": honest} {
		for range 2 {
			s := scheduler(t, rangeio.SchedulerOptions{Disk: openDisk(t, dir, 1<<30), Origin: name})
			r := rangeio.New(o, rangeio.Options{Scheduler: s, File: fileOf(1), MaxTail: -1, Confirm: func(context.Context) error { return nil }})
			readRange(t, r, o, whole)
			closeReader(t, r)
			o.closed.Store(false)
		}
		if got := len(o.requests()); got != 1 {
			t.Errorf("%s: %d requests", name, got)
		}
	}
}

func TestDamagedEntriesAreDroppedAndFetchedAgain(t *testing.T) {
	o, other := newOrigin(300_000), newOrigin(300_000)
	whole := rangeio.Range{Off: 0, Len: 150_000}
	for i := range other.content {
		other.content[i] ^= 0x55
	}
	elsewhere := t.TempDir()
	readThrough(t, openDisk(t, elsewhere, 1<<30), other, fileOf(9), whole)
	foreign, err := os.ReadFile(entries(t, elsewhere)[0])
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	damage := map[string]func(path string, raw []byte) error{
		"truncated":       func(path string, raw []byte) error { return os.Truncate(path, rng.Int64N(int64(len(raw)))) },
		"longer":          func(path string, raw []byte) error { return os.WriteFile(path, append(raw, 0), 0o600) },
		"empty":           func(path string, _ []byte) error { return os.Truncate(path, 0) },
		"of another file": func(path string, _ []byte) error { return os.WriteFile(path, foreign, 0o600) },
		"a folder":        func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a link elsewhere": func(path string, _ []byte) error {
			return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path))
		},
		"not readable":  func(path string, _ []byte) error { return os.Chmod(path, 0) },
		"removed":       func(path string, _ []byte) error { return os.Remove(path) },
		"removed whole": func(path string, _ []byte) error { return os.RemoveAll(filepath.Dir(path)) },
	}
	for i := range 60 { // single bits, in the header too
		damage["bit "+string(rune('a'+i))] = func(path string, raw []byte) error {
			at := rng.IntN(len(raw))
			if i < 20 {
				at = rng.IntN(80)
			}
			raw[at] ^= 1 << rng.IntN(8)
			return os.WriteFile(path, raw, 0o600)
		}
	}
	dir := t.TempDir()
	d := openDisk(t, dir, 1<<30)
	for name, do := range damage {
		readThrough(t, d, o, fileOf(1), whole)
		all := entries(t, dir)
		if len(all) != 1 {
			t.Fatalf("%s: %d entries", name, len(all))
		}
		raw, err := os.ReadFile(all[0])
		if err == nil {
			err = do(all[0], raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		// A root user reads what nobody may.
		if again := readThrough(t, d, o, fileOf(1), whole); again.Requests != 1 && (name != "not readable" || os.Geteuid() != 0) {
			t.Fatalf("%s: %+v", name, again)
		}
		if healed := readThrough(t, d, o, fileOf(1), whole); healed.Requests != 0 {
			t.Fatalf("%s, afterwards: %+v", name, healed)
		}
	}
}

func TestTheCacheKeepsItsSizeAndWhatWasUsedLast(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(50_000)
	whole := rangeio.Range{Off: 0, Len: 50_000}
	d := openDisk(t, dir, 1_000_000)
	readThrough(t, d, o, fileOf(100), whole)
	long := time.Now().Add(-time.Hour)
	for n := range byte(60) {
		readThrough(t, d, o, fileOf(n), whole)
		for _, path := range entries(t, dir) {
			at := long.Add(time.Duration(n) * time.Second)
			if filepath.Base(filepath.Dir(path)) == fileOf(100).OID {
				at = long.Add(-time.Hour) // until it is read again it is the oldest
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		total := int64(0)
		for _, path := range entries(t, dir) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > 1_000_000 {
			t.Fatalf("%d bytes after %d files", total, n)
		}
		if warm := readThrough(t, d, o, fileOf(100), whole); warm.Requests != 0 {
			t.Fatalf("what was used last is gone after %d files", n)
		}
	}
	if n := len(entries(t, dir)); n < 10 {
		t.Errorf("%d entries left", n)
	}
}

func TestLeftoversAndForeignFilesAreRemovedOnceOld(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(50_000)
	readThrough(t, openDisk(t, dir, 1<<20), o, fileOf(1), rangeio.Range{Off: 0, Len: 50_000})
	folder := filepath.Dir(entries(t, dir)[0])
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{".new-1", "note.txt", ".new-2"} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != ".new-2" {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	mine := filepath.Join(dir, "mine.txt") // beside the cache's own folder
	if err := errors.Join(os.WriteFile(mine, nil, 0o600), os.Chtimes(mine, old, old)); err != nil {
		t.Fatal(err)
	}
	openDisk(t, dir, 1<<20)
	if got := entries(t, dir); len(got) != 3 {
		t.Errorf("left: %v", got)
	}
}

func TestAFolderOthersCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := rangeio.OpenDisk(dir, 1, nil); runtime.GOOS != "windows" && source.KindOf(err) != source.KindInvalid {
		t.Errorf("got %v", err)
	}
	if _, err := rangeio.OpenDisk(t.TempDir(), 0, nil); source.KindOf(err) != source.KindInvalid {
		t.Errorf("got %v", err)
	}
}

func TestAFullOrVanishedFolderOnlyCostsRequests(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, 1<<20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	o := newOrigin(50_000)
	for range 2 {
		if got := readThrough(t, d, o, fileOf(1), rangeio.Range{Off: 0, Len: 50_000}); got.Requests != 1 {
			t.Errorf("%+v", got)
		}
	}
}

// Two processes are two Disks: nothing is shared but the folder. One evicts and
// damages what the other reads.
func TestProcessesShareAFolder(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin(40_000)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		rng := rand.New(rand.NewPCG(3, 3))
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() && rng.IntN(4) == 0 {
					if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
						_, _ = f.WriteAt([]byte{1, 2, 3}, rng.Int64N(40_000))
						_ = f.Close()
					}
				}
				return nil
			})
			time.Sleep(time.Millisecond)
		}
	})
	var readers sync.WaitGroup
	for p := range 2 {
		d := openDisk(t, dir, 200_000)
		for w := range 2 {
			rng := rand.New(rand.NewPCG(uint64(p), uint64(w)))
			readers.Go(func() {
				s, err := rangeio.NewScheduler(rangeio.SchedulerOptions{Disk: d, Max: 10_000})
				if err != nil {
					t.Error(err)
					return
				}
				for range 60 {
					mine := &origin{content: o.content}
					r := rangeio.New(mine, rangeio.Options{Scheduler: s, File: fileOf(byte(rng.IntN(8))), Confirm: func(context.Context) error { return nil }})
					x := rangeio.Range{Off: rng.Int64N(30_000), Len: 1 + rng.Int64N(10_000)}
					r.Expect(t.Context(), []rangeio.Range{x})
					p := make([]byte, x.Len)
					if err := r.ReadAt(t.Context(), p, x.Off); err != nil || !bytes.Equal(p, o.content[x.Off:x.End()]) {
						t.Errorf("%v: %v, or other bytes", x, err)
					}
					closeReader(t, r)
				}
			})
		}
	}
	readers.Wait()
	close(stop)
	wait.Wait()
}
