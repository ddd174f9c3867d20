package writertest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/writer"
)

// holding keeps its last batch back until the Hub's storage has seen a PUT.
type holding struct {
	*rig
	left int
}

func (h *holding) Schema() *arrow.Schema { return rowSchema }

func (h *holding) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if h.left == 0 {
		return nil, io.EOF
	}
	if h.left--; h.left == 0 {
		for deadline := time.Now().Add(time.Minute); h.puts() == 0; {
			if time.Now().After(deadline) {
				return nil, errors.New("no upload has begun, and only one batch is left")
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, rowSchema)
	defer b.Release()
	text := make([]byte, 1000)
	for range 100 {
		for i := range text {
			text[i] = byte(' ' + rand.IntN(90))
		}
		b.Field(0).(*array.Int64Builder).Append(rand.Int64())
		b.Field(1).(*array.StringBuilder).Append(string(text))
	}
	return b.NewRecordBatch(), nil
}

// TestTheHubSeesAnUploadBeginBeforeTheLastBatchIsSent: files are sent while the rows of
// the next ones still come.
func TestTheHubSeesAnUploadBeginBeforeTheLastBatchIsSent(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeOverwrite, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	j.stage = func(s *writer.StageRequest) { s.MaxBytesPerFile = 150_000 }
	files, err := j.Stage(0, "0", &holding{rig: r, left: 6})
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for _, f := range files {
		rows += f.Rows
	}
	if rows != 600 || len(files) < 3 {
		t.Errorf("%d rows in %d files", rows, len(files))
	}
	equal(t, "objects sent", r.puts(), len(files))
}
