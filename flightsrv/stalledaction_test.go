package flightsrv_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/writer"
)

// A commit tells of every file. Who does not take that is not waited for longer than
// for any other client that has stopped; what is committed stays so, and asking again
// tells it.
func TestACommitWhoseClientTakesNothingIsEnded(t *testing.T) {
	const files, name = 4000, "demo/stalled-commit"
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{IdleTimeoutPut: 3 * time.Second}))
	job := uuid.NewString()
	begun, err := f.Client.Begin(t.Context(), writer.BeginRequest{V: 1, Job: job, Dataset: name, Mode: writer.ModeAppend, CreateRepo: true})
	if err != nil {
		t.Fatal(err)
	}
	schema, rows := numbered(7)
	staged, err := f.Client.Stage(t.Context(), writer.StageRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base,
		Mode: writer.ModeAppend, Attempt: "0"}, schema, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	commit := writer.CommitRequest{V: 1, Job: job, Dataset: name, Revision: begun.Revision, Base: begun.Base, Mode: writer.ModeAppend, MaxOperations: new(int)}
	for p := range files { // a file of the same content for each partition
		file := staged.Files[0]
		file.Partition = p
		commit.Files = append(commit.Files, file)
	}
	body, err := json.Marshal(commit)
	if err != nil {
		t.Fatal(err)
	}
	// Of a fixed window, so that it does not grow to hold the whole answer.
	stream, err := raw(t, f, grpc.WithInitialWindowSize(64<<10)).DoAction(t.Context(), &flight.Action{Type: "commit", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(f.Log.String(), "code=DeadlineExceeded"); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the call of a client that takes nothing is not ended")
		}
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("the client is told %v", err)
	}
	again, err := f.Client.Commit(t.Context(), commit, nil)
	if err != nil || !again.Already || again.PathsTotal != files {
		t.Errorf("asked again: already %v, %d files, %v", again.Already, again.PathsTotal, err)
	}
}

// The same of a whole job in one stream, whose client has sent everything.
func TestAWriteWhoseClientTakesNothingIsEnded(t *testing.T) {
	const files, rowBytes = 100, 16 << 10
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 10) // what there is to tell of each file is long
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{IdleTimeoutPut: time.Second}))
	schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for range files {
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat("x", rowBytes))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := raw(t, f, grpc.WithInitialWindowSize(64<<10)).DoPut(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	w.SetFlightDescriptor(command(`{"v":1,"op":"write","job":"` + uuid.NewString() + `","dataset":"` + f.Folder("stalled", map[string][]byte{"LICENSE": []byte("x")}) + `","dir":"` + deep + `","mode":"append","max_bytes_per_file":1}`))
	if err := errors.Join(w.Write(rec), w.Close(), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(f.Log.String(), "rpc=DoPut"); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the call of a client that takes nothing is not ended")
		}
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("the client is told %v", err)
	}
}

// A client that keeps its stream open and sends nothing is told at once that its job
// was aborted, and not after the two minutes in which it has to send something.
func TestAnAbortEndsAnAttemptWhoseClientSendsNothing(t *testing.T) {
	f := flighttest.New(t)
	job := uuid.NewString()
	stream, err := raw(t, f).DoPut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	schema, rows := numbered(7)
	w := flight.NewRecordWriter(stream, ipc.WithSchema(schema))
	w.SetFlightDescriptor(command(`{"v":1,"op":"stage","job":"` + job + `","dataset":"demo/aborted","mode":"append"}`))
	for rec := range rows {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		ended <- err
	}()
	for began := time.Now(); ; {
		if err := f.Client.Abort(t.Context(), job); err != nil { // until the attempt has begun, there is nothing to abort
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "the job was aborted") {
				t.Errorf("the attempt ends with %v", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the attempt goes on")
		}
	}
}
