package localsink

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// afterPut is a Sink that tells when a file has been put.
type afterPut struct {
	writer.Sink
	then func()
}

func (a afterPut) Put(ctx context.Context, u writer.Upload) (writer.Stored, error) {
	stored, err := a.Sink.Put(ctx, u)
	a.then()
	return stored, err
}

// telling is a Writer for the bench's folders that tells when a file has been put.
func (b *bench) telling(then func()) *writer.Writer {
	b.t.Helper()
	w, err := writer.New(writer.Options{SpoolDir: b.t.TempDir(), Open: func(_ context.Context, ref source.Ref, _ source.HubToken) (writer.Sink, error) {
		store, err := b.roots.Store(ref)
		return afterPut{b.sink(store), then}, err
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = w.Close() })
	return w
}

func (b *bench) request() writer.StageRequest {
	return writer.StageRequest{V: 1, Op: "stage", Job: theJob, Dataset: b.name(), Mode: writer.ModeOverwrite, Attempt: "1"}
}

// An abort knows nothing yet of the file that an attempt has just put.
func TestWhatAnAttemptHasStagedIsDroppedIfItsJobIsAbortedInThatMoment(t *testing.T) {
	b := newBench(t)
	b.staged(shapes()[0])
	before := len(b.below())
	var w *writer.Writer
	w = b.telling(func() {
		if err := w.Abort(t.Context(), source.HubToken{}, theJob); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.Stage(t.Context(), source.HubToken{}, b.request(), &oneRow{value: 7}, nil); source.KindOf(err) != source.KindCanceled {
		t.Errorf("the attempt of an aborted job ended with %v", err)
	}
	if left := b.below(); len(left) != before {
		t.Errorf("%d files were staged before the attempt, and now there are %v", before, left)
	}
}

// panicking is an input that panics behind its first row.
type panicking struct{ oneRow }

func (p *panicking) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if p.read {
		panic("behind the first row")
	}
	return p.oneRow.Next(ctx)
}

func TestAnAttemptThatPanicsWaitsForItsUploadAndDropsIt(t *testing.T) {
	b := newBench(t)
	b.staged(shapes()[0])
	before := len(b.below())
	put := false
	w := b.telling(func() { time.Sleep(20 * time.Millisecond); put = true })
	request := b.request()
	request.Encoding.MaxBytesPerFile = 1 // a file for each batch
	_, err := w.Stage(t.Context(), source.HubToken{}, request, &panicking{oneRow{value: 7}}, nil)
	if source.KindOf(err) != source.KindInternal || !put {
		t.Errorf("the attempt ended with %v; its upload had ended: %v", err, put)
	}
	if left := b.below(); len(left) != before {
		t.Errorf("%d files were staged before the attempt, and now there are %v", before, left)
	}
}

// A task that was run twice has two copies of equal content. The one that lost is
// dropped while the commit, which has chosen its copy, prepares.
func TestACopyThatACommitHasChosenIsNotDropped(t *testing.T) {
	b := newBench(t)
	request := b.staged(shapes()[0])
	ref, err := source.ParseRef(b.name())
	if err != nil {
		t.Fatal(err)
	}
	store, err := b.roots.Store(ref)
	if err != nil {
		t.Fatal(err)
	}
	loser := New(store, nil)
	var forgotten sync.WaitGroup
	forgetting := false
	b.step = func(step string) error {
		if step != stepLink || forgetting { // the files are chosen, and the intent is not there
			return nil
		}
		forgetting = true
		staged, err := filepath.Glob(filepath.Join(b.dir, "set", area, theJob, "*.*"))
		if err != nil {
			t.Error(err)
		}
		dropped := make(chan struct{})
		forgotten.Go(func() {
			for _, name := range staged {
				if oidOf(filepath.Base(name)) != "" {
					loser.forget(area + "/" + theJob + "/" + filepath.Base(name))
				}
			}
			close(dropped)
		})
		select {
		case <-dropped:
		case <-time.After(100 * time.Millisecond): // it waits for the commit
		}
		return nil
	}
	result, err := b.commit(request)
	forgotten.Wait()
	if err != nil || result.Rows != 2 || !forgetting {
		t.Errorf("the commit: %+v, %v", result, err)
	}
	if left := b.below(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// The folder of a job goes with the last of its files, also when another attempt is about
// to put one there.
func TestAnAttemptPutsItsFileThoughTheFolderOfItsJobGoesMeanwhile(t *testing.T) {
	b := newBench(t)
	b.staged(shapes()[0])
	dir := filepath.Join(b.dir, "set", area, theJob)
	gone := 0
	b.step = func(step string) error {
		if step == stepCreate && gone == 0 {
			gone++
			return os.RemoveAll(dir)
		}
		return nil
	}
	if _, err := b.w.Stage(t.Context(), source.HubToken{}, b.request(), &oneRow{value: 7}, nil); err != nil || gone != 1 {
		t.Errorf("%v; the folder has gone %d times", err, gone)
	}
}

func TestACommitThatPanicsGivesTheLockBack(t *testing.T) {
	b := newBench(t)
	request := b.staged(shapes()[0])
	b.step = func(step string) error {
		if step == stepLink {
			panic("in the middle")
		}
		return nil
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it did not panic")
			}
		}()
		_, _ = b.commit(request)
	}()
	b.step = nil
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := b.w.Commit(ctx, source.HubToken{}, request, nil); err != nil {
		t.Errorf("the next commit: %v", err)
	}
}
