package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan/column"
)

// rowGroup reads units of one row group after the other, each at its own place:
// a unit whose rows nobody asks for is never opened, and costs no read. It
// belongs to one worker.
type rowGroup struct {
	ft      *Footer
	units   []unit
	first   int // units that are read all along; the others only where rows are kept
	sparse  bool
	mem     *meter
	read    func(p []byte, off int64) error
	size    int64
	scratch *column.Scratch

	group   int
	failed  error // the first read that failed: the library loses it
	hits    *prospect
	own     []*chunkReader // of the first units, and of the others
	library libraryGroup
	fields  []column.Field // one per unit
	cursors []*placed      // nil until the unit is read

	expected map[int]int64 // by leaf: up to where its pages were announced
}

// cursor reads one unit of a row group, ever further down.
type cursor interface {
	// read makes one array, of offset 0, of the rows that spans take, counted
	// from where the last read ended. The caller releases it.
	read(ctx context.Context, spans []column.Span) (arrow.ArrayData, error)
	close()
}

// placed is a cursor and the row it has come to.
type placed struct {
	cursor
	at int64
}

// open prepares a row group. Nothing is read.
func (g *rowGroup) open(group int, hits *prospect) {
	g.close()
	g.group, g.hits, g.failed = group, hits, nil
	g.fields = make([]column.Field, len(g.units))
	g.cursors = make([]*placed, len(g.units))
	g.expected = make(map[int]int64)
	var own, library [2][]chunk // of the first units, and of the others
	for i, u := range g.units {
		f, ok := g.ft.fieldOf(u, group)
		if ok && column.Supported(f) {
			g.fields[i] = f
		}
		class := 0
		if i >= g.first {
			class = 1
		}
		for _, leaf := range u.order {
			c := g.ft.padded(g.ft.chunks[group][leaf])
			if g.fields[i].Type == nil {
				library[class] = append(library[class], c)
			} else {
				own[class] = append(own[class], c)
			}
		}
	}
	g.own = []*chunkReader{g.chunks(ownSpans(own[0], hits.partial())), g.chunks(ownSpans(own[1], g.sparse))}
	g.library = libraryGroup{ft: g.ft, mem: g.mem, group: group, chunks: g.chunks(librarySpans(library[0], library[1]))}
}

func (g *rowGroup) chunks(spans []*span) *chunkReader {
	read := func(p []byte, off int64) error {
		err := g.read(p, off)
		if err != nil && g.failed == nil {
			g.failed = err
		}
		return err
	}
	return &chunkReader{read: read, size: g.size, mem: g.mem.dirty(), spans: spans}
}

// take decodes chosen rows of a unit, which lie behind those taken before.
func (g *rowGroup) take(ctx context.Context, at int, chosen []rows) (arrow.ArrayData, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := g.tryTake(ctx, at, chosen)
	if err != nil {
		return nil, g.columnError(at, err)
	}
	return data, nil
}

func (g *rowGroup) tryTake(ctx context.Context, at int, chosen []rows) (arrow.ArrayData, error) {
	if g.cursors[at] == nil {
		c, err := g.openUnit(ctx, at, g.sparse || len(chosen) > 0 && chosen[0].from > 0)
		if err != nil {
			return nil, err
		}
		g.cursors[at] = &placed{cursor: c}
	}
	c := g.cursors[at]
	n := int64(0)
	spans := make([]column.Span, len(chosen))
	for i, r := range chosen {
		spans[i] = column.Span{Skip: r.from - c.at, Take: r.to - r.from}
		n += spans[i].Take
		c.at = r.to
	}
	data, err := c.read(ctx, spans)
	if err != nil {
		return nil, err
	}
	if int64(data.Len()) != n || data.Offset() != 0 {
		defer data.Release()
		return nil, fmt.Errorf("%d rows where %d are left", data.Len(), n)
	}
	return data, nil
}

// openUnit makes the cursor of a unit: our own decoder's, or the library's. The offset
// index is read for one that leaves rows out; of a distant file it is an answer to wait
// for.
func (g *rowGroup) openUnit(ctx context.Context, at int, leavesOut bool) (cursor, error) {
	u := &g.units[at]
	for _, leaf := range u.order {
		if err := g.ft.checkCodec(g.group, leaf); err != nil {
			return nil, err
		}
	}
	f := g.fields[at]
	if f.Type == nil {
		return g.library.open(ctx, u)
	}
	reader := g.own[0]
	if at >= g.first {
		reader = g.own[1]
	}
	leaf := 0
	err := eachLeaf(&f, func(c *column.Chunk) (err error) {
		c.Source = chunkSource{reader, reader.find(c.Off, c.Len)}
		if leavesOut {
			c.Pages, err = g.hits.pages(ctx, u.order[leaf])
		}
		leaf++
		return err
	})
	if err != nil {
		return nil, err
	}
	r, err := column.NewReader(f, column.Options{Memory: g.mem.dirty(), MaxPageBytes: maxPageBytes, Scratch: g.scratch})
	if err != nil {
		return nil, err
	}
	return ownColumn{r}, nil
}

// ownColumn is a unit read by package column.
type ownColumn struct{ *column.Reader }

func (c ownColumn) read(_ context.Context, spans []column.Span) (arrow.ArrayData, error) {
	return c.Read(spans)
}

func (c ownColumn) close() { c.Close() }

// columnError names the column, and tells what cannot be read from what the file
// does wrong.
func (g *rowGroup) columnError(at int, err error) error {
	if g.failed != nil {
		return g.failed
	}
	u := g.units[at]
	name := g.ft.roots[u.root].field.Name
	var e *column.Error
	if errors.As(err, &e) && e.Leaf < len(u.order) {
		name = g.ft.meta.Schema.Column(u.order[e.Leaf]).Path()
	}
	return g.classify(err).WithColumn(name)
}

func (g *rowGroup) classify(err error) *source.Error {
	var e *source.Error
	if errors.As(err, &e) {
		return e
	}
	var over overBudget
	if errors.As(err, &over) {
		return unsupported(g.ft.file, "row group %d: %v", g.group, over).
			WithHint("ask for smaller batches with batch_rows, or for fewer columns")
	}
	var bad *column.Error
	if errors.As(err, &bad) {
		if bad.Kind == column.Corrupt {
			return corrupt(g.ft.file, "row group %d: %v", g.group, err)
		}
		out := unsupported(g.ft.file, "row group %d: %v", g.group, err)
		if errors.Is(err, column.ErrNanoseconds) {
			out = out.WithHint("read it with profile spark, which has microseconds, or leave the column out")
		}
		return out
	}
	text := err.Error()
	if errors.Is(err, arrow.ErrNotImplemented) ||
		strings.Contains(text, "exceeds configured limit") || strings.Contains(text, "unimplemented") ||
		strings.Contains(text, "not implemented") || strings.Contains(text, "not yet implemented") ||
		strings.Contains(text, "no support for") || strings.Contains(text, "unsupported") {
		return unsupported(g.ft.file, "row group %d: %v", g.group, err)
	}
	return corrupt(g.ft.file, "row group %d: %v", g.group, err)
}

// close gives back everything but what was taken.
func (g *rowGroup) close() {
	for _, c := range g.cursors {
		if c != nil {
			c.close()
		}
	}
	g.cursors = nil
	for _, c := range g.own {
		c.close()
	}
	g.own = nil
	g.library.close()
}
