package dataset

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
)

// Stream gives the batches of one partition. It is used by one goroutine.
type Stream interface {
	// Schema is the planned one, also if there are no rows.
	Schema() *arrow.Schema
	// Holds estimates the most memory in bytes that the stream takes at one time,
	// from its first Next to Close.
	Holds() int64
	// Next returns the next batch, which the caller releases, or io.EOF.
	Next(ctx context.Context) (arrow.RecordBatch, error)
	// Close stops the reading and waits until nothing of it runs.
	Close() error
}

// ReadParams say what is read, and what the reading shares with others.
type ReadParams struct {
	// Token is the caller's own.
	Token     source.HubToken
	Partition Partition
	// Skip leaves out the first rows of the output; Stop ends it after so many
	// rows, counted like the partition's limit from row 0 (−1: at the end).
	Skip, Stop int64
	// Turns and Spare are scan.Task's.
	Turns scan.Turns
	Spare scan.Spare
}

// Read opens the stream of one partition with the caller's own rights. Rows come
// in the same order on every replay.
//
// Errors: KindInvalid for a partition that does not fit its file, KindChanged if
// the bytes are no longer those of the plan, and what the Store and scan say.
func (p *Planner) Read(ctx context.Context, q ReadParams) (Stream, error) {
	part, skip, stop := q.Partition, q.Skip, q.Stop
	if err := part.Validate(); err != nil {
		return nil, err
	}
	if skip < 0 || stop < -1 {
		return nil, source.Errorf(source.KindInvalid, "read", "skip %d and stop %d are row counts", skip, stop)
	}
	ref, err := source.ParseRef(part.Dataset)
	if err != nil {
		return nil, err
	}
	ref.Revision = part.DataSha
	store, err := p.open(ctx, ref, q.Token)
	if err != nil {
		return nil, err
	}
	r := &reading{p: p, store: store, token: q.Token, part: part, turns: q.Turns, spare: q.Spare}
	r.at = source.Snapshot{Name: part.Dataset, Revision: part.DataSha, Commit: part.DataSha, Local: ref.IsLocal()}
	limit := part.Limit
	if stop >= 0 && (limit < 0 || stop < limit) {
		limit = stop
	}
	if part.Files == nil {
		s, err := r.open(ctx, part.File, part.Schema, skip, limit)
		if err != nil {
			return nil, named(err, r.at)
		}
		return s, nil
	}
	return r.serial(ctx, skip, limit)
}

// reading is what the files of one partition have in common.
type reading struct {
	p     *Planner
	store source.Store
	token source.HubToken
	part  Partition
	at    source.Snapshot
	turns scan.Turns
	spare scan.Spare
}

// open makes the stream of one file. A nil schema is the one that the file gives.
func (r *reading) open(ctx context.Context, f source.File, schema *arrow.Schema, skip, limit int64) (*scan.Stream, error) {
	f.At = r.at
	reader, err := r.p.openRanges(ctx, r.store, r.token, f)
	if err != nil {
		return nil, err
	}
	footer, err := r.footer(ctx, reader, f)
	if err == nil {
		err = r.fits(footer, f)
	}
	if err == nil && schema == nil {
		schema, err = r.schema(footer)
	}
	if err != nil {
		_ = reader.Close() // nothing was read that its error could spoil
		return nil, err
	}
	return scan.Open(ctx, scan.Task{
		File: f, Reader: reader, Footer: footer, Groups: r.part.Groups, Query: r.part.Query, Out: schema,
		Skip: skip, Limit: limit, Memory: r.p.memory, Turns: r.turns, Spare: r.spare,
	})
}

// footer takes the cached one only if the Hub has confirmed to this very caller,
// within the last minute, that the path holds this content. Otherwise it is read,
// and the Store compares the identity.
func (r *reading) footer(ctx context.Context, reader source.Reader, f source.File) (*scan.Footer, error) {
	key := keyOf(r.token, f)
	if r.p.listings.confirms(r.token, f) {
		if footer := r.p.footers.get(key); footer != nil {
			return footer, nil
		}
	}
	footer, release, err := r.p.readFooter(ctx, reader, f)
	defer release()
	if err != nil {
		return nil, err
	}
	r.p.footers.put(key, footer)
	return footer, nil
}

func (r *reading) fits(footer *scan.Footer, f source.File) error {
	if n := len(r.part.Groups); n > 0 && r.part.Groups[n-1] >= footer.NumRowGroups() {
		return source.Errorf(source.KindInvalid, "ticket", "row group %d of a file that has %d", r.part.Groups[n-1], footer.NumRowGroups()).WithFile(r.at.Short(), f.Path)
	}
	return nil
}

func (r *reading) schema(footer *scan.Footer) (*arrow.Schema, error) {
	own := footer.Schema()
	out, err := r.part.Query.Output(own)
	if err != nil {
		return nil, err
	}
	return r.part.Facts().attach(out, featuresOf(own)), nil
}

// serial opens the first file, whose schema is the stream's, and reads the
// others after it.
func (r *reading) serial(ctx context.Context, skip, limit int64) (Stream, error) {
	first, err := r.open(ctx, r.part.Files[0], r.part.Schema, 0, limit)
	if err != nil {
		return nil, named(err, r.at)
	}
	return &serialStream{reading: r, schema: first.Schema(), holds: first.Holds(), current: first, rest: r.part.Files[1:], skip: skip, limit: limit}, nil
}

// serialStream reads files one after the other and counts rows over all of them.
// How many rows a file gives is known only at its end, so skipping is done here.
type serialStream struct {
	*reading
	schema  *arrow.Schema
	holds   int64
	current *scan.Stream // nil between files
	rest    []source.File
	skip    int64 // output rows still to leave out
	limit   int64 // output rows still to come, skipped ones included; −1 = all
}

func (s *serialStream) Schema() *arrow.Schema { return s.schema }

// Holds is the first file's: files of one plan are of a kind.
func (s *serialStream) Holds() int64 { return s.holds }

func (s *serialStream) Next(ctx context.Context) (arrow.RecordBatch, error) {
	for s.limit != 0 {
		batch, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		if out := s.cut(batch); out != nil {
			return out, nil
		}
	}
	return nil, io.EOF
}

// next is the next batch of the files, uncut.
func (s *serialStream) next(ctx context.Context) (arrow.RecordBatch, error) {
	for {
		if s.current == nil {
			if len(s.rest) == 0 {
				return nil, io.EOF
			}
			opened, err := s.open(ctx, s.rest[0], s.schema, 0, s.limit)
			if err != nil {
				return nil, named(err, s.at)
			}
			s.current, s.rest = opened, s.rest[1:]
		}
		batch, err := s.current.Next(ctx)
		if !errors.Is(err, io.EOF) {
			return batch, err
		}
		closing := s.current.Close()
		s.current = nil
		if closing != nil {
			return nil, closing
		}
	}
}

// cut takes over a batch and returns what is left of it after skip and limit, or
// nil.
func (s *serialStream) cut(batch arrow.RecordBatch) arrow.RecordBatch {
	defer batch.Release()
	to := batch.NumRows()
	if s.limit >= 0 {
		to = min(to, s.limit)
		s.limit -= to
	}
	from := min(to, s.skip)
	s.skip -= from
	if from == to {
		return nil
	}
	return batch.NewSlice(from, to)
}

func (s *serialStream) Close() error {
	if s.current == nil {
		return nil
	}
	err := s.current.Close()
	s.current = nil
	s.rest = nil
	return err
}
