package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/writer"
)

// maxPutMessage is what a batch is sliced to before it is sent; one row may be
// larger, up to the server's message limit.
const maxPutMessage = 2 << 20

// aliveEvery is how often the server hears of a client whose next batch takes long: a
// quarter of its patience with one that sends nothing.
const aliveEvery = 30 * time.Second

// Begin starts a write job: it creates what is missing if that is asked for, checks
// that the caller may write, and fixes the commit that the job builds on. Repeating it
// is harmless. Stage and Commit carry the base and revision of its answer. Errors:
// KindInvalid (the request, or a revision that cannot be written to), KindNotFound,
// KindExists (mode errorifexists), KindDenied, and those of reaching the server and
// the Hub.
func (c *Client) Begin(ctx context.Context, r writer.BeginRequest) (writer.BeginResult, error) {
	var result writer.BeginResult
	return result, c.Action(ctx, "begin", r, &result, nil)
}

// Stage streams one task attempt's batches, all of the given schema; what it answers is
// invisible until it is committed. The batches stay the caller's, who may release each
// of them when the next is asked for; an error among them ends the attempt, of which
// nothing is staged then, and is returned as it is. report gets each progress as raw
// JSON; it may be nil. An attempt that failed is repeated as a whole.
func (c *Client) Stage(ctx context.Context, r writer.StageRequest, schema *arrow.Schema, batches iter.Seq2[arrow.RecordBatch, error], report func(json.RawMessage) error) (writer.StageResult, error) {
	r.Op = "stage"
	var result writer.StageResult
	return result, c.put(ctx, "stage", r, schema, batches, &result, report)
}

// Commit makes staged files visible. Repeating the same request is safe and gives
// the first answer; after KindUnknownOutcome, and KindUpstream (the connection broke,
// or the Hub did), repeat it to learn what happened.
func (c *Client) Commit(ctx context.Context, r writer.CommitRequest, report func(json.RawMessage) error) (writer.CommitResult, error) {
	var result writer.CommitResult
	return result, c.Action(ctx, "commit", r, &result, report)
}

// Abort forgets what a job has spooled. It never deletes what a commit may refer
// to.
func (c *Client) Abort(ctx context.Context, job string) error {
	return c.Action(ctx, "abort", map[string]any{"v": writer.Version, "job": job}, &struct{}{}, nil)
}

// Write is a whole job on one stream: begin, stage and commit. For batches and report
// see Stage, for what to do after an error see Commit: the same job with the same rows
// may be written again, and is committed once.
func (c *Client) Write(ctx context.Context, r writer.WriteRequest, schema *arrow.Schema, batches iter.Seq2[arrow.RecordBatch, error], report func(json.RawMessage) error) (writer.CommitResult, error) {
	r.Op = "write"
	var result writer.CommitResult
	return result, c.put(ctx, "write", r, schema, batches, &result, report)
}

// put sends descriptor, schema and batches, half-closes, and reads the results,
// which it drains all the while: a server that cannot send them would wait.
func (c *Client) put(ctx context.Context, op string, command any, schema *arrow.Schema, batches iter.Seq2[arrow.RecordBatch, error], result any, report func(json.RawMessage) error) error {
	raw, err := json.Marshal(command)
	if err != nil {
		return source.Errorf(source.KindInvalid, op, "%w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.flight.DoPut(c.outgoing(ctx))
	if err != nil {
		return fromStatus(op, err)
	}
	answered := make(chan error, 1)
	go func() {
		err := drainResults(op, func() ([]byte, error) {
			r, err := stream.Recv()
			return r.GetAppMetadata(), err
		}, result, report)
		if err != nil {
			cancel() // whatever we are still sending is in vain
		}
		answered <- err
	}()
	sendErr := c.sendBatches(stream, raw, schema, batches)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) {
		cancel() // the input failed: the stream must not look finished
	}
	err = <-answered
	var fault *inputError
	if errors.As(sendErr, &fault) {
		return fault.err
	}
	if _, fromGRPC := status.FromError(sendErr); !fromGRPC && !errors.Is(sendErr, io.EOF) {
		return source.Errorf(source.KindInvalid, op, "the batches cannot be encoded: %w", sendErr)
	}
	return err // a broken stream's own reason
}

// inputError is a failure of the caller's batches, not of the stream.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }

func (c *Client) sendBatches(stream flight.FlightService_DoPutClient, command []byte, schema *arrow.Schema, batches iter.Seq2[arrow.RecordBatch, error]) error {
	u := &upload{stream: stream, schema: schema, records: flight.NewRecordWriter(stream, ipc.WithSchema(schema))}
	u.records.SetFlightDescriptor(&flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: command})
	defer u.alive(c.aliveEvery)()
	for rec, err := range batches {
		if err != nil {
			return &inputError{err}
		}
		for part := range pieces(rec) {
			err := u.write(part)
			part.Release()
			if err != nil {
				return err // the real cause comes with the answer
			}
		}
	}
	return u.end()
}

// upload is the sending side of a DoPut, which two goroutines use: who has batches, and
// who says meanwhile that the client is there.
type upload struct {
	stream flight.FlightService_DoPutClient
	schema *arrow.Schema

	mu      sync.Mutex
	records *flight.Writer
	begun   bool // the first message, which has descriptor and schema, is sent
	over    bool
}

func (u *upload) write(rec arrow.RecordBatch) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun = true
	return u.records.Write(rec)
}

func (u *upload) end() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if err := u.records.Close(); err != nil { // sends the schema if there was no batch
		return err
	}
	return u.stream.CloseSend()
}

// alive sends an empty message now and then until stop is called. A message that the
// server does not take yet goes on until the call ends.
func (u *upload) alive(every time.Duration) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if u.say() != nil {
					return // whoever writes next hears why
				}
			}
		}
	}()
	return func() { close(done) }
}

func (u *upload) say() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.over:
		return nil
	case u.begun:
		return u.stream.Send(&flight.FlightData{})
	}
	u.begun = true
	builder := array.NewRecordBuilder(memory.DefaultAllocator, u.schema)
	defer builder.Release()
	none := builder.NewRecordBatch() // no rows: it brings the schema, which is written with the first batch
	defer none.Release()
	return u.records.Write(none)
}

// pieces cuts a batch into parts of at most maxPutMessage, or of one row. Its rows may
// differ a lot, and it may be a slice of something much larger itself.
func pieces(rec arrow.RecordBatch) iter.Seq[arrow.RecordBatch] {
	return func(yield func(arrow.RecordBatch) bool) {
		for at := int64(0); at < rec.NumRows(); {
			next := at + scan.Fit(rec, at, rec.NumRows()-at, maxPutMessage)
			if !yield(rec.NewSlice(at, next)) {
				return
			}
			at = next
		}
	}
}

// JobItem is what is known of one write job.
type JobItem = writer.JobItem

// Jobs lists write jobs, newest first: those of a dataset by its history, or, with
// dataset "", those that the server knows of this caller. job "" is all of them;
// a job that nobody knows is KindNotFound.
func (c *Client) Jobs(ctx context.Context, dataset, revision, job string) (jobs []JobItem, err error) {
	body := map[string]any{"dataset": dataset, "revision": revision, "job": job}
	for key, value := range body {
		if value == "" {
			delete(body, key)
		}
	}
	err = c.Action(ctx, "jobs", body, &struct{}{}, items("jobs", func(job JobItem) error {
		jobs = append(jobs, job)
		return nil
	}))
	return jobs, err
}
