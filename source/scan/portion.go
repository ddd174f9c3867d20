package scan

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan/column"
)

const (
	// maxDecodeBytes is what one step of decoding (about a batch) may take. It
	// stops decompression and dictionary bombs; honest files stay far below.
	maxDecodeBytes = 1 << 30
	// growth bounds how much larger a step may be than the one before, so that a
	// run of large values is met by small steps.
	growth = 8
	// windowRows are tested by the filter at once, at most.
	windowRows = 64 << 10
)

// portion is a part of a scan that is decoded in one go: rows of one row group.
type portion struct {
	group int
	rows  rows // with a filter, all of the group
}

// progress is how far a portion has come. It is all that decoding depends on, so
// that a portion that is given up can be taken up again, and gives the same
// pieces.
type progress struct {
	at   int64 // rows of the group before this one are done with
	step int64 // rows that the last step might have had, 0 at the beginning
	size int64 // decoded bytes of an output row, as seen

	// With a filter the rows come in windows, of which the last began at at.
	done       int64 // kept rows of the window that are done with
	skip, take int64 // kept rows still to leave out; then wanted, −1 all
	tested     int64 // rows that the window before might have had
	testedSize int64 // bytes of a row of what the filter looks at, as seen
}

// piece is some rows in the stream's types, and where its portion goes on.
type piece struct {
	batch arrow.RecordBatch
	bytes int64
	next  progress
}

// worker turns portions into pieces. It belongs to one goroutine.
type worker struct {
	task  *Task
	plan  *layout
	hints *prospector
	group rowGroup
	mem   *meter
	conv  converter
}

func newWorker(ctx context.Context, t *Task, plan *layout, hints *prospector) *worker {
	mem := &meter{mem: t.Memory, limit: maxDecodeBytes}
	if t.stepBytes > 0 {
		mem.limit = t.stepBytes
	}
	return &worker{
		task: t, plan: plan, hints: hints, mem: mem, conv: converter{gatherer{mem}},
		group: rowGroup{
			ft: t.Footer, mem: mem, size: t.Reader.Size(),
			read:  func(p []byte, off int64) error { return t.Reader.ReadAt(ctx, p, off) },
			units: plan.units, first: plan.first, sparse: plan.bound != nil, scratch: column.NewScratch(),
		},
	}
}

func (w *worker) close() {
	w.letGo()
	w.group.scratch.Close()
}

// run decodes a portion from p on, and returns how far it came. emit owns the
// pieces that it gets.
func (w *worker) run(ctx context.Context, job portion, p progress, emit func(piece) error) (progress, error) {
	defer w.letGo()
	w.mem.begin()
	hits, err := w.hints.group(ctx, job.group)
	if err != nil || hits.layer != "" {
		return p, err
	}
	w.group.open(job.group, hits)
	if w.plan.bound != nil {
		return w.filtered(ctx, job, p, emit)
	}
	p.at = max(p.at, job.rows.from)
	for p.at < job.rows.to {
		var batch arrow.RecordBatch
		most := min(job.rows.to-p.at, w.step(job.group, &p))
		n, err := w.fitting(most, func(n int64) (err error) {
			batch, err = w.plain(ctx, rows{p.at, p.at + n}, &p)
			return err
		})
		if err != nil {
			return p, err
		}
		if p.at += n; n < most {
			p.step = n
		}
		if err := emit(piece{batch, batchBytes(batch, 0, n), p}); err != nil {
			return p, err
		}
	}
	return p, nil
}

// fitting does something with n rows, or with half as many, and so on down to
// one, until what it decodes fits into what a step may take: where a few rows are
// much larger than those before them the estimate is far off. It returns with how
// many rows it was done.
func (w *worker) fitting(n int64, do func(n int64) error) (int64, error) {
	for ; ; n /= 2 {
		err := w.attempt(n, do)
		if err == nil || n == 1 || !w.mem.exceeded() {
			return n, err
		}
		// The readers that failed half-way are of no use any more.
		w.group.open(w.group.group, w.group.hits)
	}
}

// attempt makes an error of a panic of the allocator.
func (w *worker) attempt(n int64, do func(n int64) error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case overBudget:
			err = p
		default:
			panic(p)
		}
	}()
	w.mem.begin()
	return do(n)
}

// letGo closes the row group. A reader that panicked half-way may panic again;
// what it held is garbage then.
func (w *worker) letGo() {
	defer func() { _ = recover() }()
	w.group.close()
}

// plain decodes rows of a scan without a filter.
func (w *worker) plain(ctx context.Context, r rows, p *progress) (arrow.RecordBatch, error) {
	data, err := w.decode(ctx, 0, len(w.plan.units), []rows{r})
	defer func() { releaseAll(data) }()
	if err != nil {
		return nil, err
	}
	batch, err := w.record(w.task.Out, w.plan.output, data, r.to-r.from)
	if err == nil {
		p.learn(batchBytes(batch, 0, r.to-r.from), r.to-r.from)
	}
	return batch, err
}

// decode takes chosen rows of some units. The caller releases what comes, also
// with an error.
func (w *worker) decode(ctx context.Context, from, to int, chosen []rows) ([]arrow.ArrayData, error) {
	data := make([]arrow.ArrayData, 0, len(w.plan.units))
	for at := from; at < to; at++ {
		d, err := w.group.take(ctx, at, chosen)
		if err != nil {
			return data, err
		}
		data = append(data, d)
	}
	return data, nil
}

func sizeOf(data []arrow.ArrayData) int64 {
	size := int64(0)
	for _, d := range data {
		size += sliceBytes(d, 0, d.Len())
	}
	return size
}

// step is how many rows to decode at once: about a batch, few at first.
func (w *worker) step(group int, p *progress) int64 {
	limit := int64(w.task.Query.batchRows())
	if len(w.plan.output) == 0 {
		return limit
	}
	size := p.size
	if size == 0 {
		size = w.footerSize(group, w.plan.units) + w.plan.lacks
	}
	p.step = grow(p.step, min(limit, w.task.Query.BatchSize()/max(size, 1)))
	return p.step
}

// grow is a step of about want rows after one of last.
func grow(last, want int64) int64 {
	if last == 0 {
		return max(min(want, firstRows), 1)
	}
	return max(min(want, last*growth), 1)
}

// footerSize is what the footer says about the bytes of a row.
func (w *worker) footerSize(group int, units []unit) int64 {
	bytes := int64(0)
	for _, u := range units {
		for _, leaf := range u.order {
			bytes += w.task.Footer.chunks[group][leaf].uncompressed
		}
	}
	return bytes / max(w.task.Footer.GroupRows(group), 1)
}

// learn keeps an estimate of a row's size: at least what was just seen, and
// shrinking slowly.
func (p *progress) learn(bytes, n int64) { p.size = max((bytes+n-1)/n, p.size/growth, 1) }

// record converts columns and puts them together.
func (w *worker) record(schema *arrow.Schema, targets []target, data []arrow.ArrayData, n int64) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, 0, len(targets))
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for _, t := range targets {
		var col arrow.ArrayData
		if t.from < 0 {
			col = w.conv.nulls(t.field.Type, int(n))
		} else {
			var err error
			if col, err = w.conv.convert(data[t.from], t.native, t.field.Type, t.field.Name); err != nil {
				return nil, err
			}
		}
		cols = append(cols, array.MakeFromData(col))
		col.Release()
	}
	return array.NewRecordBatch(schema, cols, n), nil
}

// panicError is what a panic in decoding means: a foreign file is to blame.
func (w *worker) panicError(p any) error {
	if over, ok := p.(overBudget); ok {
		return w.group.classify(over)
	}
	return corrupt(w.task.File, "row group %d cannot be decoded: %v", w.group.group, p)
}

// named makes an error that says which file it is about.
func (w *worker) named(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return source.AsError(opScan, context.Cause(ctx))
	}
	if failed := w.group.failed; failed != nil {
		return readError(w.task.File, failed)
	}
	e := w.group.classify(err)
	if e.Path == "" {
		named := *e
		e = named.WithFile(w.task.File.At.Short(), w.task.File.Path)
	}
	return e
}
