package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, max int64) *Spool {
	t.Helper()
	s, err := Open(dir, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func create(t *testing.T, ctx context.Context, s *Spool) *File {
	t.Helper()
	f, err := s.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFileIsReadBackWithItsHashAndSample(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	f := create(t, t.Context(), s)
	text := strings.Repeat("0123456789", 200)
	for _, part := range []string{text[:7], text[7:1500], text[1500:]} {
		if _, err := f.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte(text))
	if f.OID() != hex.EncodeToString(sum[:]) || f.Size() != int64(len(text)) || string(f.Sample()) != text[:512] {
		t.Errorf("oid %s, size %d, sample %d", f.OID(), f.Size(), len(f.Sample()))
	}
	for range 2 {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != text || r.Close() != nil {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	if err := errors.Join(f.Remove(), f.Remove()); err != nil || s.Used() != 0 {
		t.Errorf("%v, %d bytes in use", err, s.Used())
	}
}

// TestPartsThatAreWrittenTogetherAreThere in their order, with the hash and the sample of one piece, more of them than the kernel takes at a time,
// between others that are written one by one.
func TestPartsThatAreWrittenTogetherAreThere(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	f := create(t, t.Context(), s)
	var want []byte
	var parts [][]byte
	for i := range 2500 {
		parts = append(parts, bytes.Repeat([]byte{byte(i), byte(i >> 8)}, i%7)) // some are empty
	}
	for _, write := range [][][]byte{parts[:3], {parts[3]}, parts[4:], nil, parts[:1]} {
		before := slices.Clone(write)
		if len(write) == 1 {
			if _, err := f.Write(write[0]); err != nil {
				t.Fatal(err)
			}
		} else if err := f.WriteAll(write); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(before, write, bytes.Equal) {
			t.Fatal("the caller's parts were changed")
		}
		want = append(want, bytes.Join(write, nil)...)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes are read back: %v", err)
	}
	sum := sha256.Sum256(want)
	if f.OID() != hex.EncodeToString(sum[:]) || f.Size() != int64(len(want)) || !bytes.Equal(f.Sample(), want[:sampleSize]) {
		t.Errorf("oid %s, size %d of %d, sample %d", f.OID(), f.Size(), len(want), len(f.Sample()))
	}
	if err := f.WriteAll([][]byte{make([]byte, 11<<20)}); source.KindOf(err) != source.KindLimit {
		t.Errorf("more than the bound: %v", err)
	}
	if err := f.Remove(); err != nil || s.Used() != 0 {
		t.Errorf("%v, %d bytes in use", err, s.Used())
	}
}

func TestAFileWaitsForRoomThatAnotherGivesBack(t *testing.T) {
	s := open(t, t.TempDir(), step)
	first, second := create(t, t.Context(), s), create(t, t.Context(), s)
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := second.Write([]byte("y"))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	_ = second.Remove()
}

func TestWhenEveryFileWaitsTheLastIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), 2*step)
	files := []*File{create(t, t.Context(), s), create(t, t.Context(), s)}
	for _, f := range files {
		if _, err := f.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	big := make([]byte, step)
	errs := make(chan error, 2)
	for _, f := range files {
		go func() {
			_, err := f.Write(big)
			if err != nil {
				err = errors.Join(err, f.Remove())
			}
			errs <- err
		}()
	}
	var refused, fine int
	for range files {
		if err := <-errs; err == nil {
			fine++
		} else if source.KindOf(err) == source.KindBusy {
			refused++
		} else {
			t.Error(err)
		}
	}
	if refused != 1 || fine != 1 {
		t.Errorf("%d refused, %d went on", refused, fine)
	}
	for _, f := range files {
		_ = f.Remove()
	}
}

func TestWhatWaitsBesideAFileCountsForTheBoundAndIsReadBack(t *testing.T) {
	s := open(t, t.TempDir(), 4*step)
	f := create(t, t.Context(), s)
	if err := f.Clear(); err != nil {
		t.Error(err)
	}
	for round := range 2 {
		var places []int64
		for part := range 3 {
			at, err := f.Append(slices.Collect(slices.Chunk(bytes.Repeat([]byte{byte(round*10 + part)}, step/2), 1000)))
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, at)
		}
		got := make([]byte, step/2)
		for part, at := range places {
			if err := f.ReadBack(got, at); err != nil || got[0] != byte(round*10+part) || got[len(got)-1] != got[0] {
				t.Errorf("round %d, part %d: %d and %d, %v", round, part, got[0], got[len(got)-1], err)
			}
		}
		if err := f.ReadBack(got, places[2]+1); err == nil {
			t.Error("more was read than is there")
		}
		if held := s.Used(); held < f.Size()+3*step/2 {
			t.Errorf("%d bytes are held", held)
		}
		if _, err := f.Write(got); err != nil {
			t.Fatal(err)
		}
		if err := f.Clear(); err != nil {
			t.Fatal(err)
		}
		if used := s.Used(); used != step {
			t.Errorf("round %d: %d bytes are held for a file of %d", round, used, f.Size())
		}
	}
	if _, err := f.Append([][]byte{make([]byte, 3*step), make([]byte, step)}); source.KindOf(err) != source.KindLimit {
		t.Errorf("more than the bound: %v", err)
	}
	if f.Size() != step || len(f.Sample()) != sampleSize {
		t.Errorf("size %d, sample of %d", f.Size(), len(f.Sample()))
	}
	if err := f.Remove(); err != nil || s.Used() != 0 {
		t.Errorf("%v, %d bytes in use", err, s.Used())
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "*.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	s := open(t, t.TempDir(), step)
	first := create(t, t.Context(), s)
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	second := create(t, ctx, s)
	if _, err := second.Write([]byte("y")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_ = first.Remove()
	_ = second.Remove()
}

func TestOpenRemovesTheFoldersOfTheDeadOnly(t *testing.T) {
	dir := t.TempDir()
	alive := open(t, dir, step)
	dead := filepath.Join(dir, folderPrefix+"dead")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockName, "x.parquet"} {
		if err := os.WriteFile(filepath.Join(dead, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, step)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's folder is there: %v", err)
	}
	for _, path := range []string{alive.dir, filepath.Join(dir, "mine.txt")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorsDoNotNameTheServersFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "below"), step)
	if err == nil || strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// Servers that start at the same time look for what dead ones left at the same time.
func TestSpoolsThatAreOpenedAtTheSameTimeLeaveEachOtherAlone(t *testing.T) {
	dir := t.TempDir()
	var opening sync.WaitGroup
	for range 4 {
		opening.Go(func() {
			for range 50 {
				s, err := Open(dir, step)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := s.Create(t.Context())
				if err != nil {
					t.Error(err)
				} else if err := f.Remove(); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	opening.Wait()
}
