package scan

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source"
)

const (
	// maxDecodeBytes is what one step of decoding (about a batch) may take. It
	// stops decompression and dictionary bombs; honest files stay far below.
	maxDecodeBytes = 1 << 30
	// aheadBatches of the asked size are decoded ahead of the consumer.
	aheadBatches = 2
	queueLength  = 64
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

// Stream is one file's batches, in file order. Next and Close are called by one
// goroutine at a time; another one decodes ahead, bounded by bytes.
type Stream struct {
	schema *arrow.Schema
	reader source.Reader
	cancel context.CancelFunc
	items  chan item
	room   *semaphore.Weighted // bytes that may be decoded ahead
	space  int64
	done   chan struct{} // closed when the decoder has ended
	end    error         // how the decoder ended; set before items is closed
	err    error         // what Next says from now on, io.EOF included
	holds  int64
	start  func()    // starts the decoder
	begin  sync.Once // at the first Next
	close  sync.Once
}

// item is a batch and what it takes of the room.
type item struct {
	batch arrow.RecordBatch
	bytes int64
}

// Open checks the task; decoding starts with the first Next, so that a stream
// whose consumer waits for its turn holds nothing but its footer. Open takes
// ownership of t.Reader, also when it fails. The stream lives as long as ctx:
// when it ends, Next fails and the decoder stops.
func Open(ctx context.Context, t Task) (*Stream, error) {
	s, err := open(ctx, t)
	if err != nil && t.Reader != nil {
		if e := t.Reader.Close(); e != nil {
			err = errors.Join(err, e)
		}
	}
	return s, err
}

func open(ctx context.Context, t Task) (*Stream, error) {
	if t.Reader == nil || t.Footer == nil || t.Skip < 0 {
		return nil, source.Errorf(source.KindInternal, opOpen, "a task needs a reader, a footer and a skip that is not negative")
	}
	if t.Reader.Size() != t.Footer.meta.GetSourceFileSize() {
		return nil, source.Errorf(source.KindChanged, opOpen, "the file has %d bytes; its footer was read from %d", t.Reader.Size(), t.Footer.meta.GetSourceFileSize()).
			WithFile(t.File.At.Short(), t.File.Path)
	}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	plan, err := newLayout(t.Footer, t.Query, t.Out)
	if err != nil {
		return nil, err
	}
	if err := plan.checkOut(t.Footer); err != nil {
		return nil, err
	}
	ahead := aheadBatches * t.Query.batchBytes()
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		schema: t.Out, reader: t.Reader, cancel: cancel,
		items: make(chan item, queueLength), room: semaphore.NewWeighted(ahead), space: ahead,
		done: make(chan struct{}),
	}
	s.holds = t.holds(plan) + 2*ahead
	s.start = func() { go s.run(ctx, newDecoder(t, plan)) }
	return s, nil
}

// holds is the compressed size of the largest row group, as far as it is read
// and kept in memory.
func (t *Task) holds(plan *layout) int64 {
	largest := int64(0)
	for _, g := range t.Groups {
		bytes := int64(0)
		for _, leaf := range plan.order {
			bytes += t.Footer.chunks[g][leaf].len
		}
		largest = max(largest, bytes)
	}
	return min(largest, maxGroupBytes) // larger ones go through windows
}

// prepare fills in what the task left open.
func (t *Task) prepare() error {
	if err := t.Query.Validate(); err != nil {
		return err
	}
	if t.Out == nil {
		out, err := t.Query.Output(t.Footer.schema)
		if err != nil {
			return inFile(t.File, err)
		}
		t.Out = out
	}
	if t.Groups == nil {
		decisions, err := t.Query.Prune(t.Footer)
		if err != nil {
			return err
		}
		t.Groups = []int{}
		for _, d := range decisions {
			if d.Keep {
				t.Groups = append(t.Groups, d.Group)
			}
		}
	}
	last := -1
	for _, g := range t.Groups {
		if g <= last || g >= t.Footer.NumRowGroups() {
			return source.Errorf(source.KindInvalid, opOpen, "row groups %v: the file has %d, and they are read in order", t.Groups, t.Footer.NumRowGroups()).
				WithFile(t.File.At.Short(), t.File.Path)
		}
		last = g
	}
	if t.Memory == nil {
		t.Memory = NewPool()
	}
	return nil
}

// Holds estimates the most memory in bytes that the stream takes at one time: the
// chunks of its largest row group, and batches at both ends of the decoder.
func (s *Stream) Holds() int64 { return s.holds }

// Schema is the schema of every batch.
func (s *Stream) Schema() *arrow.Schema { return s.schema }

// Next returns the next batch, which the caller releases, or io.EOF. After an
// error it returns the same error for ever.
func (s *Stream) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.begin.Do(s.start)
	select {
	case it, ok := <-s.items:
		switch {
		case !ok:
			s.err = s.end
		default:
			s.room.Release(it.bytes)
			return it.batch, nil
		}
		return nil, s.err
	case <-ctx.Done():
		return nil, source.AsError(opScan, ctx.Err())
	}
}

// Close stops the decoder, waits for it, releases what it had ready and gives
// the Reader back. It may be called more than once.
func (s *Stream) Close() error {
	var err error
	s.close.Do(func() {
		s.cancel()
		s.begin.Do(func() { // it never started
			close(s.items)
			close(s.done)
		})
		for it := range s.items {
			it.batch.Release()
		}
		<-s.done
		if s.err == nil {
			s.err = source.Errorf(source.KindCanceled, opScan, "the stream is closed")
		}
		err = s.reader.Close()
	})
	return err
}

// run is the decoding goroutine. How it ended is known once items is closed.
func (s *Stream) run(ctx context.Context, d *decoder) {
	defer close(s.done)
	defer close(s.items)
	err := d.decode(ctx, func(b arrow.RecordBatch) error { return s.send(ctx, b) })
	if err == nil {
		err = io.EOF
	}
	s.end = err
}

// send waits until the batch fits into what may be ahead. It owns b.
func (s *Stream) send(ctx context.Context, b arrow.RecordBatch) error {
	n := min(max(batchBytes(b, 0, b.NumRows()), 1), s.space)
	if err := s.room.Acquire(ctx, n); err != nil {
		b.Release()
		return err
	}
	select {
	case s.items <- item{batch: b, bytes: n}:
		return nil
	case <-ctx.Done():
		b.Release()
		return ctx.Err()
	}
}

// decoder turns the task's row groups into batches. It is used by the decoding
// goroutine only.
type decoder struct {
	task   Task
	plan   *layout
	group  groupDecoder
	mem    *meter
	conv   converter
	shape  shaper
	emit   func(arrow.RecordBatch) error
	row    int64 // output rows so far, those skipped included
	perRow int64 // decoded bytes of a row, as seen so far; 0 unknown
}

func newDecoder(t Task, plan *layout) *decoder {
	mem := &meter{mem: t.Memory, limit: maxDecodeBytes}
	return &decoder{
		task: t, plan: plan, mem: mem,
		conv:  converter{gatherer{mem}},
		shape: shaper{schema: t.Out, mem: mem, maxRows: t.Query.batchRows(), maxBytes: t.Query.batchBytes()},
	}
}

// decode runs to the end of the task, or to the first error. Whatever the
// library panics about in a foreign file ends here.
func (d *decoder) decode(ctx context.Context, emit func(arrow.RecordBatch) error) (err error) {
	d.emit = emit
	d.group = groupDecoder{
		ft: d.task.Footer, mem: d.mem, size: d.task.Reader.Size(),
		read:   func(p []byte, off int64) error { return d.task.Reader.ReadAt(ctx, p, off) },
		fields: d.plan.fields, leaves: d.plan.leaves, order: d.plan.order, micros: d.plan.micros,
	}
	defer func() {
		if p := recover(); p != nil {
			err = d.panicError(p)
		}
		if err != nil {
			err = d.named(ctx, err)
		}
		d.cleanUp()
	}()
	d.announce(ctx)
	for _, g := range d.task.Groups {
		if d.reachedLimit() {
			break
		}
		if err := d.readGroup(ctx, g); err != nil {
			return err
		}
	}
	return d.emitAll(d.shape.flush())
}

func (d *decoder) cleanUp() {
	defer func() {
		// A reader that panicked half-way may panic again when released. What it
		// held is garbage then.
		_ = recover()
	}()
	d.shape.drop()
	d.group.close()
}

func (d *decoder) panicError(p any) error {
	if over, ok := p.(overBudget); ok {
		return unsupported(d.task.File, "row group %d: %v", d.group.group, over).
			WithHint("ask for smaller batches with batch_rows, or for fewer columns")
	}
	return corrupt(d.task.File, "row group %d cannot be decoded: %v", d.group.group, p)
}

// named makes an error that says which file it is about.
func (d *decoder) named(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return source.AsError(opScan, context.Cause(ctx))
	}
	if c := d.group.chunks; c != nil && c.err != nil {
		return readError(d.task.File, c.err)
	}
	var e *source.Error
	if !errors.As(err, &e) {
		e = d.group.classify(err)
	}
	if e.Path == "" {
		named := *e
		e = named.WithFile(d.task.File.At.Short(), d.task.File.Path)
	}
	return e
}

func (d *decoder) reachedLimit() bool { return d.task.Limit >= 0 && d.row >= d.task.Limit }

func (d *decoder) readGroup(ctx context.Context, g int) error {
	left := d.task.Footer.GroupRows(g)
	if left == 0 {
		return nil
	}
	if d.plan.bound == nil && d.row+left <= d.task.Skip {
		d.row += left // nothing of it is wanted, and how much it is is known
		return nil
	}
	if err := d.group.open(ctx, g); err != nil {
		return err
	}
	for left > 0 && !d.reachedLimit() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(left, d.step(g))
		if d.plan.bound == nil && d.task.Limit >= 0 {
			n = min(n, d.task.Limit-d.row)
		}
		if err := d.readRows(ctx, n); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// step is how many rows to decode at once: about a batch, few at first, and
// growing no faster than eightfold, so that a run of large values is met by
// small steps.
func (d *decoder) step(g int) int64 {
	rows := int64(d.task.Query.batchRows())
	if len(d.plan.order) == 0 {
		return rows
	}
	perRow := d.perRow
	if perRow == 0 {
		uncompressed := int64(0)
		for _, leaf := range d.plan.order {
			uncompressed += d.task.Footer.chunks[g][leaf].uncompressed
		}
		perRow = uncompressed / d.task.Footer.GroupRows(g)
		rows = min(rows, firstRows)
	}
	return max(1, min(rows, d.task.Query.batchBytes()/max(perRow, 1)))
}

// readRows decodes n rows, keeps what the filter keeps, and hands it on in the
// stream's types.
func (d *decoder) readRows(ctx context.Context, n int64) error {
	d.mem.begin()
	data, err := d.group.next(ctx, n)
	if err != nil {
		return err
	}
	defer func() { releaseAll(data) }()
	size := int64(0)
	for _, c := range data {
		size += sliceBytes(c, 0, c.Len())
	}
	d.learn(size, n)
	kept := []run{{0, int(n)}}
	if d.plan.bound != nil {
		if kept, err = d.test(ctx, data, n); err != nil {
			return err
		}
	}
	kept, total := d.window(kept)
	if total == 0 {
		return nil
	}
	if total != int(n) {
		if data, err = d.pick(data, kept, total); err != nil {
			return err
		}
	}
	batch, err := d.output(data, int64(total))
	if err != nil {
		return err
	}
	return d.emitAll(d.shape.push(batch))
}

// learn keeps an estimate of a row's size: at least what was just seen, and
// shrinking slowly.
func (d *decoder) learn(size, n int64) {
	seen := max(size/n, 1)
	d.perRow = max(seen, d.perRow/8)
}

// test asks the filter which rows to keep.
func (d *decoder) test(ctx context.Context, data []arrow.ArrayData, n int64) ([]run, error) {
	rec, err := d.record(d.plan.schema, d.plan.tested, data, n)
	if err != nil {
		return nil, err
	}
	defer rec.Release()
	keep, err := d.plan.bound.Eval(ctx, rec, d.mem)
	if err != nil {
		return nil, err
	}
	defer keep.Release()
	if int64(keep.Len()) != n {
		return nil, source.Errorf(source.KindInternal, opScan, "the filter answered %d of %d rows", keep.Len(), n)
	}
	runs, _ := runsOf(keep)
	return runs, nil
}

// window cuts runs of output rows to those between Skip and Limit.
func (d *decoder) window(runs []run) ([]run, int) {
	limit := int64(math.MaxInt64)
	if d.task.Limit >= 0 {
		limit = d.task.Limit
	}
	out, total := runs[:0], 0
	for _, r := range runs {
		from := min(max(d.task.Skip-d.row, 0), int64(r.n))
		to := min(max(limit-d.row, from), int64(r.n))
		d.row += int64(r.n)
		if to > from {
			out = append(out, run{r.off + int(from), int(to - from)})
			total += int(to - from)
		}
	}
	return out, total
}

// pick keeps runs of rows. It takes over data.
func (d *decoder) pick(data []arrow.ArrayData, runs []run, total int) ([]arrow.ArrayData, error) {
	out := make([]arrow.ArrayData, len(data))
	for i, c := range data {
		out[i] = d.conv.take(c, runs, total)
		c.Release()
	}
	return out, nil
}

func (d *decoder) output(data []arrow.ArrayData, n int64) (arrow.RecordBatch, error) {
	return d.record(d.task.Out, d.plan.output, data, n)
}

// record converts columns and puts them together.
func (d *decoder) record(schema *arrow.Schema, targets []target, data []arrow.ArrayData, n int64) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, 0, len(targets))
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for _, t := range targets {
		var col arrow.ArrayData
		if t.from < 0 {
			col = d.conv.nulls(t.field.Type, int(n))
		} else {
			var err error
			if col, err = d.conv.convert(data[t.from], t.native, t.field.Type, t.field.Name); err != nil {
				return nil, err
			}
		}
		cols = append(cols, array.MakeFromData(col))
		col.Release()
	}
	return array.NewRecordBatch(schema, cols, n), nil
}

// emitAll sends batches; after the first failure the rest is released.
func (d *decoder) emitAll(batches []arrow.RecordBatch, err error) error {
	for i, b := range batches {
		if err != nil {
			b.Release()
			continue
		}
		if err = d.emit(b); err != nil {
			batches[i] = nil
		}
	}
	return err
}
