package writer

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// Batches is the input of an attempt. Next returns io.EOF at the end; the caller
// owns what it gets, and releases it before it calls Next again: the next batch may
// come in the same memory.
type Batches interface {
	Schema() *arrow.Schema
	Next(ctx context.Context) (arrow.RecordBatch, error)
}

// Sink is the place that a job's files go to, with one caller's rights. It is safe
// for concurrent use: attempts of one job Put at the same time. Its errors unwrap
// to *source.Error.
type Sink interface {
	// Begin creates what is missing, checks that the caller may write, and pins
	// the head of the branch that the job will be committed to. Repeating it is
	// harmless.
	Begin(ctx context.Context, p Prepare) (Base, error)

	// At reads the State of the target at a commit that Begin answered.
	At(ctx context.Context, revision, commit string) (*State, error)

	// Put makes a file durable but invisible. The same content may be put any
	// number of times.
	Put(ctx context.Context, f Upload) (Stored, error)

	// Commit makes the job's files visible, exactly once however often it is
	// called: numbers 4 to 8 of the package comment.
	Commit(ctx context.Context, job Job, report func(CommitEvent)) (CommitResult, error)
}

// Opener returns the Sink for a dataset, with the rights of a token.
type Opener func(ctx context.Context, ref source.Ref, token source.HubToken) (Sink, error)

// Prepare is what Begin is asked for.
type Prepare struct {
	Job      string
	Revision string // "" is the default branch
	Create   bool   // create the repository or folder if it is missing
	Private  bool   // of a repository that is created
	PR       bool   // write to a new pull request
}

// Base is what a job starts from.
type Base struct {
	// Revision is the branch that will be committed to.
	Revision string
	// Commit is its head.
	Commit string
}

// Upload is one finished file on its way to a sink.
type Upload struct {
	Job      string
	Revision string
	// Path is a path of the kind that the file will be committed under; the Hub
	// decides by it whether the file is LFS.
	Path string
	OID  string // hex sha256
	Size int64
	// Sample is the first 512 bytes, or all of them.
	Sample []byte
	// Open reads the file from its beginning; it may be called more than once.
	Open func() (io.ReadSeekCloser, error)
	// Progress is told how many bytes have been sent; may be nil.
	Progress func(sent int64)
}

// Stored says how a sink keeps a file.
type Stored struct {
	// Regular: the sink does not keep it; the bytes must travel in the record.
	Regular bool
	// Forget drops what only this job's attempt could refer to; nil if there is
	// nothing to drop.
	Forget func()
}
