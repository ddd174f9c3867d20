package writer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	pqschema "github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/writer/parquetfile"
	"github.com/hubflight/hubflight/writer/spool"
)

const (
	defaultFileBytes     = 500_000_000 // as pyspark_huggingface
	defaultRowGroupBytes = 128 << 20
	defaultRowGroupRows  = 1 << 20
	defaultPageBytes     = 1 << 20
	maxRowGroupBytes     = 1 << 30
	maxDataPageSize      = 64 << 20
	// sliceBytes is how much is given to the encoder between two looks at the
	// sizes: small enough that files and groups end near their limits.
	sliceBytes = 1 << 20
	// minSlice is the least of it, for limits that are smaller.
	minSlice = 16 << 10
	// heldPages is how much of the open row group's pages is in memory, and
	// heldMore how much more as long as there is an allowance for it: a group of
	// text has some 60 MiB. The rest waits in the spool.
	heldPages = 16 << 20
	heldMore  = 48 << 20
)

// codec reads a compression by the name that pyarrow gives it.
func codec(name string) (compress.Compression, error) {
	switch name {
	case "", "snappy", "SNAPPY":
		return compress.Codecs.Snappy, nil
	case "zstd", "ZSTD":
		return compress.Codecs.Zstd, nil
	case "gzip", "GZIP":
		return compress.Codecs.Gzip, nil
	case "brotli", "BROTLI":
		return compress.Codecs.Brotli, nil
	case "lz4", "LZ4", "lz4_raw", "LZ4_RAW":
		return compress.Codecs.Lz4Raw, nil
	case "none", "NONE", "uncompressed", "UNCOMPRESSED":
		return compress.Codecs.Uncompressed, nil
	}
	return 0, invalid("stage", "compression %q is unknown: use snappy, zstd, gzip, brotli, lz4 or none", clip(name))
}

// validateLevel keeps levels to what each codec has.
func validateLevel(name string, level int) error {
	c, err := codec(name)
	if err != nil {
		return err
	}
	var low, high int
	switch c {
	case compress.Codecs.Zstd:
		low, high = 1, 22
	case compress.Codecs.Gzip:
		low, high = 1, 9
	case compress.Codecs.Brotli:
		low, high = 0, 11
	default:
		return invalid("stage", "compression_level does not go with compression %s", c)
	}
	if level < low || level > high {
		return invalid("stage", "compression_level is %d; %s has %d to %d", level, c, low, high)
	}
	return nil
}

// with fills in what e leaves out from the server's defaults, and these from the
// package's.
func (e Encoding) with(d Encoding) Encoding {
	pick := func(values ...int64) int64 {
		for _, v := range values {
			if v != 0 {
				return v
			}
		}
		return 0
	}
	e.MaxBytesPerFile = pick(e.MaxBytesPerFile, d.MaxBytesPerFile, defaultFileBytes)
	e.RowGroupBytes = pick(e.RowGroupBytes, d.RowGroupBytes, defaultRowGroupBytes)
	e.RowGroupRows = pick(e.RowGroupRows, d.RowGroupRows, defaultRowGroupRows)
	e.DataPageSize = pick(e.DataPageSize, d.DataPageSize, defaultPageBytes)
	if e.Compression == "" {
		e.Compression = d.Compression
		if e.CompressionLevel == nil {
			e.CompressionLevel = d.CompressionLevel
		}
	}
	return e
}

func isOn(b *bool) bool { return b == nil || *b }

// properties translates to the library's.
func (e Encoding) properties(schema *arrow.Schema) (*parquet.WriterProperties, error) {
	c, err := codec(e.Compression)
	if err != nil {
		return nil, err
	}
	// A file's size is known by its pages, so those of a small one are smaller, and dictionaries too.
	small := max(e.MaxBytesPerFile/8, 4<<10)
	options := []parquet.WriterProperty{
		parquet.WithCompression(c),
		parquet.WithDataPageSize(min(e.DataPageSize, small)),
		parquet.WithDictionaryPageSizeLimit(min(parquet.DefaultDictionaryPageSizeLimit, small)),
		parquet.WithPageIndexEnabled(isOn(e.PageIndex)),
		parquet.WithVersion(parquet.V2_LATEST),
	}
	if e.CompressionLevel != nil {
		options = append(options, parquet.WithCompressionLevel(*e.CompressionLevel))
	}
	for _, s := range []struct {
		key  string
		on   *Switch
		all  func(bool) parquet.WriterProperty
		each func(string, bool) parquet.WriterProperty
	}{
		{"use_dictionary", e.UseDictionary, parquet.WithDictionaryDefault, parquet.WithDictionaryFor},
		{"write_statistics", e.WriteStatistics, parquet.WithStats, parquet.WithStatsFor},
	} {
		if s.on == nil {
			continue
		}
		options = append(options, s.all(s.on.All))
		_, below, err := leaves(schema, s.on.Columns, s.key)
		if err != nil {
			return nil, err
		}
		for _, leaf := range slices.Concat(below...) {
			options = append(options, s.each(leaf.Path(), true))
		}
	}
	blooms, err := bloomPaths(schema, e.BloomColumns)
	if err != nil {
		return nil, err
	}
	for _, path := range blooms {
		options = append(options, parquet.WithBloomFilterEnabledFor(path, true), parquet.WithAdaptiveBloomFilterEnabledFor(path, true))
	}
	return parquet.NewWriterProperties(options...), nil
}

// leaves returns the Parquet schema and, for each of the named columns, what is below
// it.
func leaves(schema *arrow.Schema, columns []string, key string) (*pqschema.Schema, [][]*pqschema.Column, error) {
	if len(columns) == 0 {
		return nil, nil, nil
	}
	pq, err := pqarrow.ToParquet(schema, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, nil, source.Errorf(source.KindUnsupported, "stage", "the schema has no Parquet form: %w", err)
	}
	out := make([][]*pqschema.Column, len(columns))
	for k, column := range columns {
		for i := range pq.NumColumns() {
			path := pq.Column(i).ColumnPath()
			if len(path) > 0 && (path[0] == column || path.String() == column) {
				out[k] = append(out[k], pq.Column(i))
			}
		}
		if out[k] == nil {
			return nil, nil, invalid("stage", "%s names a column that is not there; there are %s", key, columnNames(schema)).WithColumn(column)
		}
	}
	return pq, out, nil
}

// bloomPaths returns the leaves that get a bloom filter: those of the named columns
// without booleans, of whose two values it could tell nothing.
func bloomPaths(schema *arrow.Schema, columns []string) ([]string, error) {
	pq, below, err := leaves(schema, columns, "bloom_columns")
	if err != nil || pq == nil {
		return nil, err
	}
	named := map[string]int{}
	for i := range pq.NumColumns() {
		named[pq.Column(i).Path()]++
	}
	var out []string
	for k, column := range columns {
		had := len(out)
		for _, leaf := range below[k] {
			if leaf.PhysicalType() == parquet.Types.Boolean {
				continue
			}
			path := leaf.Path()
			if named[path] > 1 { // a filter belongs to a path
				return nil, invalid("stage", "bloom_columns: a column with dots in its name and a field of a struct are both %s", path).WithColumn(column).
					WithHint("rename one of them, or leave it out")
			}
			out = append(out, path)
		}
		if len(out) == had {
			return nil, invalid("stage", "bloom_columns names a column of booleans, which cannot have a bloom filter").WithColumn(column).
				WithHint("leave it out: statistics say which of the two values are there")
		}
	}
	return out, nil
}

// encoder writes batches of one schema into files. It is used by one goroutine.
//
// Equal batches become equal files, so that an attempt that is repeated finds its
// objects stored. Where groups and files end depends on how the rows were cut into
// batches, too: a batch counts with the average of its rows.
type encoder struct {
	encoding Encoding
	schema   *arrow.Schema
	spool    *spool.Spool
	whole    bool  // never cut a file
	step     int64 // bytes between two looks at the sizes
	more     *allowance
	regions  *parquetfile.Regions

	file     *spool.File
	parquet  *parquetfile.File
	leased   bool  // heldMore, by the open file
	rows     int64 // of the open file
	numBytes int64
	// of the open row group
	groupRows, groupBytes int64
}

func newEncoder(e Encoding, schema *arrow.Schema, sp *spool.Spool, whole bool) *encoder {
	return &encoder{encoding: e, schema: schema, spool: sp, whole: whole,
		step: min(sliceBytes, max(e.MaxBytesPerFile/8, minSlice))}
}

// encoded is a finished file in the spool.
type encoded struct {
	file           *spool.File
	rows, numBytes int64
}

// write appends a batch. Each file that is full by then goes to done, which owns
// it.
func (e *encoder) write(ctx context.Context, rec arrow.RecordBatch, done func(encoded) error) error {
	perRow := max(recordBytes(rec)/max(rec.NumRows(), 1), 1)
	step := max(e.step/max(perRow, rec.NumCols()), 1) // a null, which may have no bytes, is noted in one
	for at := int64(0); at < rec.NumRows(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A full group is followed by a new one, which has all its room.
		rows, bytes := e.encoding.RowGroupRows-e.groupRows, e.encoding.RowGroupBytes-e.groupBytes
		if rows <= 0 || bytes <= 0 {
			rows, bytes = e.encoding.RowGroupRows, e.encoding.RowGroupBytes
		}
		n := min(step, rec.NumRows()-at, rows, max(bytes/perRow, 1))
		if err := e.slice(ctx, rec, at, n, perRow); err != nil {
			return err
		}
		at += n
		if e.full() {
			if err := e.finish(done); err != nil {
				return err
			}
		}
	}
	return nil
}

// slice writes some rows into the open row group, or into a new one if that is
// full.
func (e *encoder) slice(ctx context.Context, rec arrow.RecordBatch, at, n, perRow int64) error {
	if err := e.ensure(ctx); err != nil {
		return err
	}
	part := rec.NewSlice(at, at+n)
	defer part.Release()
	return guarded(func() error {
		if e.groupFull() {
			if e.lastGroup() { // of a file that is never cut
				return (&source.Error{Op: "stage", Kind: source.KindLimit, Msg: fmt.Sprintf("one file cannot have more than %d row groups", parquetfile.MaxGroups)}).
					WithHint("raise row_group_rows or row_group_bytes")
			}
			if err := e.parquet.EndGroup(); err != nil {
				return err
			}
			e.groupRows, e.groupBytes = 0, 0
		}
		if err := e.parquet.Write(part); err != nil {
			return err
		}
		e.rows += n
		e.groupRows += n
		e.numBytes += n * perRow
		e.groupBytes += n * perRow
		return nil
	})
}

// ensure opens a file if there is none.
func (e *encoder) ensure(ctx context.Context) error {
	if e.parquet != nil {
		return nil
	}
	props, err := e.encoding.properties(e.schema)
	if err != nil {
		return err
	}
	if e.file, err = e.spool.Create(ctx); err != nil {
		return err
	}
	return guarded(func() error {
		// Which of several Arrow types of the same Parquet form the rows had.
		arrowSchema, err := EncodeSchema(e.schema)
		if err != nil {
			return err
		}
		if e.parquet, err = parquetfile.New(e.file, e.schema, props); err != nil {
			return err
		}
		e.parquet.TakeFrom(e.regions)
		held := int64(heldPages)
		if e.leased = e.more.lease(heldMore); e.leased {
			held += heldMore
		}
		e.parquet.SpillTo(e.file, held)
		return e.parquet.SetMetadata("ARROW:schema", arrowSchema)
	})
}

// groupFull reports whether the open row group has reached its size.
func (e *encoder) groupFull() bool {
	return e.groupRows >= e.encoding.RowGroupRows || e.groupBytes >= e.encoding.RowGroupBytes
}

// lastGroup reports whether no row group can follow the open one.
func (e *encoder) lastGroup() bool { return e.parquet.Groups() >= parquetfile.MaxGroups-1 }

// full reports whether the open file has reached its size, what is on disk plus
// what the open row group holds, compressed, or its row groups.
func (e *encoder) full() bool {
	if e.whole || e.parquet == nil {
		return false
	}
	return e.file.Size()+e.parquet.Buffered() >= e.encoding.MaxBytesPerFile || e.groupFull() && e.lastGroup()
}

// finish closes the open file and gives it to done.
func (e *encoder) finish(done func(encoded) error) error {
	if e.parquet == nil {
		return nil
	}
	if err := guarded(e.end); err != nil {
		return err
	}
	out := encoded{file: e.file, rows: e.rows, numBytes: e.numBytes}
	e.parquet, e.file = nil, nil
	e.rows, e.numBytes, e.groupRows, e.groupBytes = 0, 0, 0, 0
	return done(out)
}

// end ends the open file. With a lease its last pages stay in memory until the
// file is removed, and the lease until then: what is sent from there need not be
// written and read.
func (e *encoder) end() error {
	if !e.leased {
		return e.parquet.Close()
	}
	release, err := e.parquet.CloseKeeping(e.file)
	if err != nil {
		return err
	}
	more := e.more
	e.leased = false
	e.file.OnRemove(func() {
		release()
		more.giveBack(heldMore)
	})
	return nil
}

// empty makes a file with the schema and without a row group: one of 0 rows makes
// the reference library fail.
func (e *encoder) empty(ctx context.Context, done func(encoded) error) error {
	if err := e.ensure(ctx); err != nil {
		return err
	}
	return e.finish(done)
}

// abandon removes an open file.
func (e *encoder) abandon() error {
	if e.parquet != nil {
		e.parquet.Release()
	}
	e.unlease()
	if e.file == nil {
		return nil
	}
	err := e.file.Remove()
	e.file, e.parquet = nil, nil
	return err
}

// unlease gives back what the file that is no longer open has leased.
func (e *encoder) unlease() {
	if e.leased {
		e.leased = false
		e.more.giveBack(heldMore)
	}
}

// guarded runs the encoder under recover, and classifies what comes out.
func guarded(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = source.Errorf(source.KindInternal, "encode", "the Parquet encoder failed: %v", r)
		}
	}()
	err = run()
	var e *source.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return source.Errorf(source.KindInternal, "encode", "the Parquet encoder failed: %w", err)
}

// reread opens a finished file as a reader would and compares what it says with
// what was written: a file that cannot be read must not become durable.
func reread(ctx context.Context, f encoded, schema *arrow.Schema) error {
	footer, err := scan.ReadFooter(ctx, spoolReader{f.file}, source.File{Path: "staged.parquet", Size: f.file.Size()})
	if err != nil {
		return source.Errorf(source.KindInternal, "stage", "the written file cannot be read back: %w", err)
	}
	if footer.NumRows() != f.rows || footer.Schema().NumFields() != schema.NumFields() {
		return source.Errorf(source.KindInternal, "stage", "the written file has %d rows and %d columns instead of %d and %d",
			footer.NumRows(), footer.Schema().NumFields(), f.rows, schema.NumFields())
	}
	return nil
}

// spoolReader is a spool file as a source.Reader.
type spoolReader struct{ *spool.File }

// ReadAt fills p or fails.
func (r spoolReader) ReadAt(_ context.Context, p []byte, off int64) error {
	n, err := r.File.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("spool: %w", err)
}

// Close leaves the file to its owner.
func (spoolReader) Close() error { return nil }

// recordBytes is what a batch takes in memory; of a slice, its share.
func recordBytes(rec arrow.RecordBatch) int64 {
	var n int64
	for _, column := range rec.Columns() {
		d := column.Data()
		bytes, rows, room := dataBytes(d), int64(d.Len()), roomOf(d)
		if room > rows+rows/8+512 { // more than what buffers are filled up with
			bytes = int64(float64(bytes) * float64(rows) / float64(room))
		}
		n += bytes
	}
	return n
}

// roomOf is how many values an array's buffers are for: more than it has if it is a slice.
func roomOf(d arrow.ArrayData) int64 {
	var offsets int64
	switch t := d.DataType().(type) {
	case *arrow.StructType:
		return int64(d.Children()[0].Len())
	case *arrow.FixedSizeListType:
		return int64(d.Children()[0].Len() / max(int(t.Len()), 1))
	case *arrow.StringType, *arrow.BinaryType, *arrow.ListType, *arrow.MapType:
		offsets = 4
	case *arrow.LargeStringType, *arrow.LargeBinaryType, *arrow.LargeListType:
		offsets = 8
	}
	if len(d.Buffers()) < 2 || d.Buffers()[1] == nil {
		return int64(d.Len())
	}
	size := int64(d.Buffers()[1].Len())
	if offsets > 0 {
		return size/offsets - 1
	}
	return size * 8 / int64(max(bitWidth(d.DataType()), 1))
}

func dataBytes(d arrow.ArrayData) int64 {
	var n int64
	for _, b := range d.Buffers() {
		if b != nil {
			n += int64(b.Len())
		}
	}
	for _, child := range d.Children() {
		n += dataBytes(child)
	}
	return n
}
