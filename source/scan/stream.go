package scan

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// Task is one file to stream.
type Task struct {
	File   source.File
	Reader source.Reader
	Footer *Footer
	// Groups are the row groups to read, in ascending order; nil prunes here.
	Groups []int
	Query  Query
	// Out is the stream's schema; nil is Query.Output(Footer.Schema()).
	Out *arrow.Schema
	// Skip leaves out that many output rows; Limit ends the output after that
	// many, counted from its row 0, before Skip; −1 is none.
	Skip, Limit int64
	// Memory is where arrays are decoded to; nil is a Pool of the stream's own.
	// One Pool may serve many streams.
	Memory memory.Allocator
}

// Stream is one file's batches, in file order. It is used by one goroutine at a
// time.
type Stream struct {
	schema *arrow.Schema
}

// Open starts reading. It takes ownership of t.Reader, also when it fails.
func Open(ctx context.Context, t Task) (*Stream, error) {
	return nil, unsupported(t.File, "not yet")
}

// Schema is the schema of every batch.
func (s *Stream) Schema() *arrow.Schema { return s.schema }

// Next returns the next batch, which the caller releases, or io.EOF.
func (s *Stream) Next(ctx context.Context) (arrow.RecordBatch, error) { return nil, nil }

// Close stops the decoder, waits for it and gives the Reader back.
func (s *Stream) Close() error { return nil }
