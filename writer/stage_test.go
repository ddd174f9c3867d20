package writer

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer/spool"
)

// slowSink is a Sink whose Put is the test's.
type slowSink struct {
	Sink   // the rest is not called
	put    func(ctx context.Context, u Upload) error
	flying atomic.Int32
	most   atomic.Int32
	puts   atomic.Int32
}

func (s *slowSink) Put(ctx context.Context, u Upload) (Stored, error) {
	s.most.Store(max(s.most.Load(), s.flying.Add(1)))
	defer s.flying.Add(-1)
	s.puts.Add(1)
	in, err := u.Open()
	if err != nil {
		return Stored{}, err
	}
	n, err := io.Copy(io.Discard, in)
	if err == nil && n != u.Size {
		err = io.ErrUnexpectedEOF
	}
	return Stored{}, errors.Join(err, in.Close(), s.put(ctx, u))
}

// made are batches that are made when they are asked for.
type made struct {
	schema *arrow.Schema
	next   func(ctx context.Context, i int) (arrow.RecordBatch, error)
	count  int
}

func (m *made) Schema() *arrow.Schema { return m.schema }

func (m *made) Next(ctx context.Context) (arrow.RecordBatch, error) {
	m.count++
	return m.next(ctx, m.count-1)
}

var noise = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String}}, nil)

// noiseBatch is a batch that does not compress, of about 1 KiB a row.
func noiseBatch(rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, noise)
	defer b.Release()
	text := make([]byte, 1000)
	for range rows {
		for i := range text {
			text[i] = byte(' ' + rand.IntN(90))
		}
		b.Field(0).(*array.Int64Builder).Append(rand.Int64())
		b.Field(1).(*array.StringBuilder).Append(string(text))
	}
	return b.NewRecordBatch()
}

// watched notes how much is in the spool whenever a batch is asked for.
type watched struct {
	Batches
	used func() int64
	most int64
}

func (w *watched) Next(ctx context.Context) (arrow.RecordBatch, error) {
	w.most = max(w.most, w.used())
	return w.Batches.Next(ctx)
}

func stageWith(t *testing.T, sink *slowSink, e Encoding, in Batches) (StageResult, error) {
	t.Helper()
	w, err := New(Options{SpoolDir: t.TempDir(), Open: func(context.Context, source.Ref, source.HubToken) (Sink, error) { return sink, nil }})
	if err != nil {
		t.Fatal(err)
	}
	seen := &watched{Batches: in, used: w.spool.Used}
	result, err := w.Stage(t.Context(), source.HubToken{}, StageRequest{V: 1, Job: "01234567-89ab-4def-8123-456789abcdef", Dataset: "a/b", Mode: ModeAppend, Encoding: e}, seen, nil)
	// One file is encoded while another is sent; each is counted in steps of a MiB.
	if bound := 2 * (e.MaxBytesPerFile*5/4 + 1<<20); seen.most > bound {
		t.Errorf("%d bytes were in the spool at a time; two files are at most %d", seen.most, bound)
	}
	if w.spool.Used() != 0 {
		t.Errorf("%d bytes stay in the spool", w.spool.Used())
	}
	if n := sink.flying.Load(); n != 0 {
		t.Errorf("%d uploads go on", n)
	}
	return result, errors.Join(err, w.Close())
}

// peak is an allocator that knows the most that was in use.
type peak struct {
	memory.Allocator
	now, most atomic.Int64
}

func (p *peak) Allocate(n int) []byte {
	p.most.Store(max(p.most.Load(), p.now.Add(int64(n))))
	return p.Allocator.Allocate(n)
}

func (p *peak) Reallocate(n int, b []byte) []byte {
	p.most.Store(max(p.most.Load(), p.now.Add(int64(n-len(b)))))
	return p.Allocator.Reallocate(n, b)
}

func (p *peak) Free(b []byte) {
	p.now.Add(-int64(len(b)))
	p.Allocator.Free(b)
}

// TestNullsAreNotMadeToListsOfAFixedSizeAllAtOnce: a batch of nulls has no bytes, and the
// lists would have theirs whether they are null or not.
func TestNullsAreNotMadeToListsOfAFixedSizeAllAtOnce(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		from, to arrow.DataType
		rows     int64
	}{
		"no type": {arrow.Null, arrow.FixedSizeListOf(size, arrow.PrimitiveTypes.Int8), 300},
		"lists":   {arrow.ListOf(arrow.PrimitiveTypes.Int8), arrow.FixedSizeListOf(size, arrow.PrimitiveTypes.Int8), 60},
		"bytes":   {arrow.Null, &arrow.FixedSizeBinaryType{ByteWidth: size}, 300},
		"numbers": {arrow.Null, &arrow.Decimal256Type{Precision: 76}, 1 << 24},
	} {
		t.Run(name, func(t *testing.T) {
			mem := &peak{Allocator: memory.NewGoAllocator()}
			ctx := compute.WithAllocator(t.Context(), mem)
			column := array.MakeArrayOfNull(memory.DefaultAllocator, c.from, int(c.rows))
			rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "a", Type: c.from, Nullable: true}}, nil), []arrow.Array{column}, c.rows)
			column.Release()
			to, err := fileSchema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: c.to, Nullable: true}}, nil), true)
			if err != nil {
				t.Fatal(err)
			}
			s := &stage{}
			if s.coercion, err = newCoercion(rec.Schema(), to); err != nil {
				t.Fatal(err)
			}
			sp, err := spool.Open(t.TempDir(), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			s.enc = newEncoder(Encoding{}.with(Encoding{}), to, sp, true)
			var written int64
			done := func(f encoded) error {
				written = f.rows
				return f.file.Remove()
			}
			if _, err := s.one(ctx, rec, done); err != nil {
				t.Fatal(err)
			}
			if err := errorsJoin(s.enc.finish(done), s.enc.abandon(), sp.Close()); err != nil || written != c.rows {
				t.Errorf("%d rows are written, %v", written, err)
			}
			// Nine bytes for an element while lists are laid out, and some for the next.
			if most := mem.most.Load(); most > 12*maxSlots {
				t.Errorf("%d bytes were in use", most)
			}
		})
	}
	huge, err := newCast(arrow.Null, arrow.FixedSizeListOf(1<<30, arrow.FixedSizeListOf(1<<30, arrow.PrimitiveTypes.Int64)), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := huge(t.Context(), array.NewNull(1)); source.KindOf(err) != source.KindLimit {
		t.Errorf("a list that nothing has room for: %v", err)
	}
}

func TestTheUploadOfAFileOverlapsTheEncodingOfTheNext(t *testing.T) {
	begun, encodedMore := make(chan struct{}), make(chan struct{})
	sink := &slowSink{}
	sink.put = func(ctx context.Context, _ Upload) error {
		if sink.puts.Load() > 1 {
			return nil
		}
		close(begun)
		select { // the first file is not stored before the input has gone on
		case <-encodedMore:
			return nil
		case <-time.After(20 * time.Second):
			return errors.New("nothing is encoded meanwhile")
		}
	}
	in := &made{schema: noise}
	after := 0
	in.next = func(context.Context, int) (arrow.RecordBatch, error) {
		if in.count > 40 {
			return nil, io.EOF
		}
		if in.count == 30 { // the first file is complete, whoever sends it may not have had its turn
			select {
			case <-begun:
			case <-time.After(20 * time.Second):
				return nil, errors.New("nothing is sent meanwhile")
			}
		}
		if sink.puts.Load() > 0 {
			if after++; after == 3 {
				close(encodedMore)
			}
		}
		return noiseBatch(100), nil
	}
	result, err := stageWith(t, sink, Encoding{MaxBytesPerFile: 1 << 20}, in)
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for i, f := range result.Files {
		rows += f.Rows
		if f.Index != i {
			t.Errorf("file %d has index %d", i, f.Index)
		}
	}
	if rows != 4000 || len(result.Files) < 3 || int(sink.puts.Load()) != len(result.Files) || sink.most.Load() != 1 {
		t.Errorf("%d rows in %d files, %d puts, %d at a time", rows, len(result.Files), sink.puts.Load(), sink.most.Load())
	}
}

func TestAnUploadThatFailsEndsTheAttempt(t *testing.T) {
	sink := &slowSink{put: func(context.Context, Upload) error {
		return source.Errorf(source.KindUpstream, "put", "the storage is on fire")
	}}
	in := &made{schema: noise, next: func(ctx context.Context, _ int) (arrow.RecordBatch, error) {
		return noiseBatch(100), ctx.Err() // it never ends by itself
	}}
	result, err := stageWith(t, sink, Encoding{MaxBytesPerFile: 1 << 20}, &releasing{in})
	if source.KindOf(err) != source.KindUpstream || len(result.Files) != 0 {
		t.Errorf("got %d files, %v", len(result.Files), err)
	}
}

// releasing keeps the promise that an error comes without a batch.
type releasing struct{ *made }

func (r *releasing) Next(ctx context.Context) (arrow.RecordBatch, error) {
	rec, err := r.made.Next(ctx)
	if err != nil && rec != nil {
		rec.Release()
		rec = nil
	}
	return rec, err
}

func TestAnUploadThatPanicsEndsTheAttempt(t *testing.T) {
	sink := &slowSink{put: func(context.Context, Upload) error { panic("no") }}
	in := &made{schema: noise}
	in.next = func(context.Context, int) (arrow.RecordBatch, error) {
		if in.count > 20 {
			return nil, io.EOF
		}
		return noiseBatch(100), nil
	}
	if _, err := stageWith(t, sink, Encoding{MaxBytesPerFile: 1 << 20}, in); source.KindOf(err) != source.KindInternal {
		t.Errorf("got %v", err)
	}
}

func TestAnInputThatFailsEndsTheUploadThatIsUnderWay(t *testing.T) {
	sink := &slowSink{put: func(ctx context.Context, _ Upload) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	died := source.Errorf(source.KindInvalid, "put", "the task died")
	in := &made{schema: noise}
	in.next = func(context.Context, int) (arrow.RecordBatch, error) {
		if sink.puts.Load() > 0 {
			return nil, died
		}
		return noiseBatch(100), nil
	}
	if _, err := stageWith(t, sink, Encoding{MaxBytesPerFile: 1 << 20}, in); !errors.Is(err, died) {
		t.Errorf("got %v", err)
	}
}

// TestAnAttemptHoldsLessThanARowGroupInMemory, however much is written and however
// large a group is: its pages wait in the spool.
func TestAnAttemptHoldsLessThanARowGroupInMemory(t *testing.T) {
	const group, total = 64 << 20, 160 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is live, not what is not collected yet
	runtime.GC()
	var idle, now runtime.MemStats
	runtime.ReadMemStats(&idle)
	var peak uint64
	var batches []arrow.RecordBatch // more than a dictionary takes
	for range 5 {
		batches = append(batches, noiseBatch(1000))
	}
	defer func() {
		for _, rec := range batches {
			rec.Release()
		}
	}()
	in := &made{schema: noise}
	in.next = func(context.Context, int) (arrow.RecordBatch, error) {
		if in.count > total/(1<<20) {
			return nil, io.EOF
		}
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
		rec := batches[in.count%len(batches)]
		rec.Retain()
		return rec, nil
	}
	sink := &slowSink{put: func(context.Context, Upload) error { return nil }}
	if _, err := stageWith(t, sink, Encoding{MaxBytesPerFile: 50 << 20, RowGroupBytes: group}, in); err != nil {
		t.Fatal(err)
	}
	const bound = heldPages + group/2
	used := int64(peak) - int64(idle.HeapAlloc) //nolint:gosec // a heap is smaller than 8 EiB
	t.Logf("%d MiB above idle for row groups of %d MiB", used>>20, group>>20)
	if used > bound {
		t.Errorf("%d bytes above idle; the bound is %d", used, bound)
	}
}

func TestSmallFilesAreCutNearTheirSizeInsideABatch(t *testing.T) {
	sink := &slowSink{put: func(context.Context, Upload) error { return nil }}
	in := &made{schema: noise}
	in.next = func(context.Context, int) (arrow.RecordBatch, error) {
		if in.count > 1 {
			return nil, io.EOF
		}
		return noiseBatch(2000), nil
	}
	const limit = 100_000
	result, err := stageWith(t, sink, Encoding{MaxBytesPerFile: limit}, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Files {
		if f.Size > 2*limit {
			t.Errorf("file %d has %d bytes; the limit is %d", f.Index, f.Size, limit)
		}
	}
}
