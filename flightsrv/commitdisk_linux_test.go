package flightsrv_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// TestADiskThatIsFullAtTheCommitOfAFolderLosesNothing: all is staged, and then somebody
// else fills the disk, but for some pages, one more each time until they are enough.
// Readers of the disk that is still full see what they saw before, and the same commit,
// with room again, is carried to its end once.
func TestADiskThatIsFullAtTheCommitOfAFolderLosesNothing(t *testing.T) {
	if os.Getenv(diskVariable) == "" {
		apart(t, "TestADiskThatIsFullAtTheCommitOfAFolderLosesNothing", "commit", true)
		return
	}
	f := flighttest.New(t)
	const most = 12 // pages: the records of a commit take fewer
	free := 0
	for fullCommit(t, f, free) && free < most {
		free++
	}
	if free < 2 || free == most {
		t.Errorf("%d free pages are enough for a commit: this does not test how it fails", free)
	}
}

// fullCommit appends to a folder on a disk of its own that has that many pages left when
// the commit comes; failed is whether that was too little.
func fullCommit(t *testing.T, f *flighttest.Fixture, free int) (failed bool) {
	t.Helper()
	folder := fmt.Sprintf("target-%d", free)
	name := f.Folder(folder, map[string][]byte{"notes.txt": nil})
	target := filepath.Join(f.Root, folder)
	mount(t, "tmpfs", target, 0, 8<<20)
	if _, err := f.Client.Commit(t.Context(), stagedNoise(t, f, name), nil); err != nil {
		t.Fatal(err)
	}
	commit := stagedNoise(t, f, name)
	area := filepath.Join(target, ".hubflight")
	before := leftBelow(area)

	filler := filepath.Join(target, "somebody.bin")
	fill(t, filler, free)
	_, err := f.Client.Commit(t.Context(), commit, nil)
	failed = err != nil
	if failed && (source.KindOf(err) != source.KindBusy || !strings.Contains(err.Error(), "the disk is full")) {
		t.Errorf("with %d pages free: %v", free, err)
	}
	if failed {
		if after := leftBelow(area); !slices.Equal(after, before) {
			t.Errorf("the commit left %v where there was %v", after, before)
		}
		countRows(t, f, name, 500)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	result, err := f.Client.Commit(t.Context(), commit, nil)
	if err != nil || result.Rows != 500 {
		t.Fatalf("with room again, after %d pages: %+v, %v", free, result, err)
	}
	countRows(t, f, name, 1000)
	again, err := f.Client.Commit(t.Context(), commit, nil)
	if err != nil || !again.Already {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	countRows(t, f, name, 1000)
	return failed
}

// stagedNoise is the commit of a job that appends 500 rows, all of them staged.
func stagedNoise(t *testing.T, f *flighttest.Fixture, name string) writer.CommitRequest {
	t.Helper()
	job := uuid.NewString()
	begun, err := f.Client.Begin(t.Context(), writer.BeginRequest{V: 1, Job: job, Dataset: name, Mode: writer.ModeAppend})
	if err != nil {
		t.Fatal(err)
	}
	schema, batches := noise(500)
	staged, err := f.Client.Stage(t.Context(), writer.StageRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base,
		Mode: writer.ModeAppend, Attempt: "0"}, schema, batches, nil)
	if err != nil {
		t.Fatal(err)
	}
	return writer.CommitRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base, Mode: writer.ModeAppend, Files: staged.Files}
}

// fill takes all the room of a disk but for some pages.
func fill(t *testing.T, name string, free int) {
	t.Helper()
	page := os.Getpagesize()
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for full := make([]byte, page); err == nil; size += int64(page) {
		_, err = out.Write(full)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk does not become full: %v", err)
	}
	size -= int64(page) * int64(1+free) // the last page was not written
	if err := errors.Join(out.Truncate(size), out.Close()); err != nil {
		t.Fatal(err)
	}
}
