package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

const magic = "PAR1"

// MaxGroups is the most row groups of a file: their ordinals are of 16 bits.
const MaxGroups = 1<<15 - 1

// File is one Parquet file that is being written.
type File struct {
	out    *counted
	arrow  *arrow.Schema
	schema *schema.Schema
	props  *parquet.WriterProperties

	roots  []*node
	chunks []*chunk
	slabs  *slabs

	meta   *metadata.FileMetaDataBuilder
	index  *pageIndexes // nil if there is to be none
	blooms *metadata.FileBloomFilterBuilder
	groups int
	rows   int64 // of the open group

	released bool

	scratch Scratch // nil: there is none
	most    int     // slabs in use, beyond which pages are spilled
}

// New begins a file of the given schema. Its metadata becomes key-value metadata of the footer. Encodings and page versions of the
// properties are not looked at; a type that has no Parquet form is an error.
func New(w io.Writer, sc *arrow.Schema, props *parquet.WriterProperties) (*File, error) {
	pq, err := pqarrow.ToParquet(sc, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, fmt.Errorf("the schema has no Parquet form: %w", err)
	}
	f := &File{out: &counted{w: w}, arrow: sc, schema: pq, props: props, slabs: &slabs{}}
	for _, field := range sc.Fields() {
		root, err := f.grow(field, levelsAbove{})
		if err != nil {
			return nil, err
		}
		f.roots = append(f.roots, root)
	}
	if len(f.chunks) != pq.NumColumns() {
		return nil, fmt.Errorf("%d leaves for %d columns", len(f.chunks), pq.NumColumns())
	}
	f.meta = metadata.NewFileMetadataBuilder(pq, props, nil)
	meta := sc.Metadata()
	for i, key := range meta.Keys() {
		if err := f.SetMetadata(key, meta.Values()[i]); err != nil {
			return nil, err
		}
	}
	if props.PageIndexEnabled() {
		f.index = &pageIndexes{schema: pq}
	}
	f.blooms = &metadata.FileBloomFilterBuilder{Schema: pq}
	_, err = io.WriteString(f.out, magic)
	return f, err
}

// SetMetadata adds an entry to the footer's key-value metadata.
func (f *File) SetMetadata(key, value string) error { return f.meta.AppendKeyValueMetadata(key, value) }

// SpillTo makes finished pages wait in scratch for the end of their row group as soon as they take more than most bytes of memory. It is
// called before the first Write; scratch belongs to the file until Close.
func (f *File) SpillTo(scratch Scratch, most int64) {
	f.scratch, f.most = scratch, int(most/slabSize)
}

// TakeFrom makes waiting pages use the memory of files that have ended, and leaves theirs to others. It is called before the first Write.
func (f *File) TakeFrom(regions *Regions) { f.slabs.from = regions }

// Write appends rows to the open group.
func (f *File) Write(rec arrow.RecordBatch) error {
	if f.released {
		return errReleased
	}
	if rec.NumRows() == 0 {
		return nil
	}
	if !rec.Schema().Equal(f.arrow) && int(rec.NumCols()) != len(f.roots) {
		return fmt.Errorf("a batch of %d columns for %d", rec.NumCols(), len(f.roots))
	}
	for i, root := range f.roots {
		column := rec.Column(i)
		if got, want := column.DataType().ID(), root.id; got != want {
			return fmt.Errorf("column %q is %s, not %s", f.arrow.Field(i).Name, got, want)
		}
		if err := root.walk(column, entries{n: column.Len(), live: []run{{0, column.Len()}}}); err != nil {
			return fmt.Errorf("column %q: %w", f.arrow.Field(i).Name, err)
		}
	}
	f.rows += rec.NumRows()
	return f.spill()
}

// spill moves full slabs to scratch if there are too many: some more than that, so that a group which is a little too large does not wait in scratch
// as a whole, and one that is much larger is not looked through for every batch.
func (f *File) spill() error {
	if f.scratch == nil || f.slabs.out <= f.most {
		return nil
	}
	least := f.most - f.most/8
	for _, c := range f.chunks {
		if err := c.stored.spill(f.scratch, f.slabs.out-least); err != nil {
			return err
		}
		if f.slabs.out <= least {
			break
		}
	}
	return nil
}

// Buffered is what the open group holds, in memory and in scratch: compressed pages, and open ones as they are.
func (f *File) Buffered() int64 {
	var n int64
	for _, c := range f.chunks {
		n += c.held()
	}
	return n
}

// Groups is the number of row groups that are complete.
func (f *File) Groups() int { return f.groups }

// EndGroup writes the open group, if it has rows.
func (f *File) EndGroup() error {
	if f.rows == 0 {
		return nil
	}
	if f.groups == MaxGroups {
		return fmt.Errorf("a file cannot have more than %d row groups", MaxGroups)
	}
	group := f.meta.AppendRowGroup()
	blooms := make(map[string]metadata.BloomFilterBuilder)
	for _, c := range f.chunks {
		if err := c.write(f.out, f.scratch, group.NextColumnChunk()); err != nil {
			return err
		}
		if c.bloom != nil {
			blooms[c.column.Path()] = c.bloom
		}
	}
	if f.index != nil {
		if err := f.index.add(f.chunks); err != nil {
			return err
		}
	}
	for _, c := range f.chunks {
		if err := c.reset(); err != nil {
			return err
		}
	}
	if f.scratch != nil {
		if err := f.scratch.Clear(); err != nil {
			return err
		}
	}
	group.SetNumRows(int(f.rows))
	f.blooms.AppendRowGroup(group, blooms)
	err := group.Finish(0, int16(f.groups)) //nolint:gosec // at most MaxGroups
	f.groups++
	f.rows = 0
	return err
}

// Release gives the file's memory back, and drops what is not written. It is called at the end of every File; after it the File is of no use. Calling it
// again does nothing.
func (f *File) Release() {
	for _, c := range f.chunks {
		c.stored = queue{slabs: f.slabs}
	}
	f.chunks, f.released = nil, true
	f.slabs.release()
}

// Close ends the open group and writes the footer, and releases the File. It does not close the writer below.
func (f *File) Close() error {
	defer f.Release()
	return f.end()
}

// Keeper is a writer that takes memory in the place of bytes.
type Keeper interface {
	// Keep appends parts, which stay as they are until they are given back, one after the other: all of them, or it fails.
	Keep(parts [][]byte) error
}

// CloseKeeping is Close for a writer which keeps the open group's pages that are in memory, in the place of writing them. Their memory is given
// back by release, which is nil with an error.
func (f *File) CloseKeeping(to Keeper) (release func(), err error) {
	f.out.keeper = to
	if err := f.end(); err != nil {
		f.Release()
		return nil, err
	}
	kept := f.slabs
	f.slabs = &slabs{}
	f.Release()
	return kept.release, nil
}

// end is Close without Release.
func (f *File) end() error {
	if err := f.EndGroup(); err != nil {
		return err
	}
	if err := f.blooms.WriteTo(f.out); err != nil {
		return err
	}
	if f.index != nil {
		at, err := f.index.write(f.out)
		if err != nil {
			return err
		}
		if err := f.meta.SetPageIndexLocation(at); err != nil {
			return err
		}
	}
	footer, err := f.meta.Finish()
	if err != nil {
		return err
	}
	before := f.out.n
	if _, err := footer.WriteTo(f.out, nil); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(nil, uint32(f.out.n-before)) //nolint:gosec // a footer is below 4 GiB
	_, err = f.out.Write(append(end, magic...))
	return err
}

// counted is a writer that knows where it is.
type counted struct {
	w      io.Writer
	n      int64
	keeper Keeper // nil: slabs are written
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Gatherer is a writer that takes several pieces at a time for less than they cost one by one.
type Gatherer interface {
	// WriteAll appends parts one after the other: all of them, or it fails.
	WriteAll(parts [][]byte) error
}

func (c *counted) writeAll(parts [][]byte) error {
	g, ok := c.w.(Gatherer)
	if !ok {
		for _, p := range parts {
			if _, err := c.Write(p); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range parts {
		c.n += int64(len(p))
	}
	return g.WriteAll(parts)
}

func (c *counted) keepAll(parts [][]byte) error {
	for _, p := range parts {
		c.n += int64(len(p))
	}
	return c.keeper.Keep(parts)
}

// Tell is the number of bytes written.
func (c *counted) Tell() int64 { return c.n }

var errReleased = errors.New("the file is complete or given up")

var errNulls = errors.New("there are nulls where the schema says that there are none")
