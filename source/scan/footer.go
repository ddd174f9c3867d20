package scan

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source"
)

const (
	// tailBytes is read first: it holds the footer of nearly every file, so that
	// a footer costs one request.
	tailBytes = 64 << 10
	// maxFooterBytes is the longest footer that is decoded.
	maxFooterBytes = 16 << 20
	// trailerBytes: the footer's length and the magic.
	trailerBytes = 8
	// decodedPerByte estimates what a byte of footer takes once decoded.
	decodedPerByte = 10
	// readingPerByte is the same while it is read and decoded: the byte is there, too.
	readingPerByte = decodedPerByte + 1
)

// Footer is one Parquet file's parsed metadata. It is immutable and may be
// shared and cached: it holds on to no reader.
type Footer struct {
	file      source.File
	meta      *metadata.FileMetaData
	schema    *arrow.Schema
	roots     []*node        // one per top-level field
	named     map[string]int // the first of roots of each name
	chunks    [][]chunk
	size      int64
	tail      tail                  // what is known of indexes already
	manifest  []pqarrow.SchemaField // the library's tree, one per root
	oldWriter bool                  // see padded
}

// chunk is one column chunk's place, checked against the file.
type chunk struct {
	off, len     int64 // bytes of the file: dictionary page to last data page
	data         int64 // where the footer says that data pages begin, in off … off+len
	uncompressed int64
	values       int64
	// What a query may ask before it reads the chunk; of length 0 if there is none.
	columnIndex, offsetIndex, bloom section
}

// ReadFooter reads and checks a file's footer: one read of the last 64 KiB, a
// second one only if the footer is longer. A file that is no Parquet file, or
// whose footer contradicts itself or the file's size, is KindCorrupt; an
// encrypted one is KindUnsupported.
func ReadFooter(ctx context.Context, r source.Reader, f source.File) (*Footer, error) {
	return ReadFooterWhen(ctx, r, f, func(int64) error { return nil })
}

// ReadFooterWhen is ReadFooter that goes on when admit lets it. admit is called at
// most once, as soon as the footer's length is known, with an estimate of the bytes
// that reading and decoding it take; its error is returned as it is.
func ReadFooterWhen(ctx context.Context, r source.Reader, f source.File, admit func(bytes int64) error) (*Footer, error) {
	raw, before, err := readFooterBytes(ctx, r, f, admit)
	if err != nil {
		return nil, err
	}
	ft, err := parseFooter(raw, r.Size(), f)
	if err != nil {
		return nil, err
	}
	ft.keepTail(before)
	return ft, nil
}

// readFooterBytes returns the footer, and what lies before it as far as the same
// read brought it along.
func readFooterBytes(ctx context.Context, r source.Reader, f source.File, admit func(bytes int64) error) ([]byte, tail, error) {
	size := r.Size()
	const magics = 4 + trailerBytes
	if size < magics {
		return nil, tail{}, corrupt(f, "the file has %d bytes, which is too short for Parquet", size)
	}
	end := make([]byte, min(size, tailBytes))
	if err := r.ReadAt(ctx, end, size-int64(len(end))); err != nil {
		return nil, tail{}, readError(f, err)
	}
	switch magic := string(end[len(end)-4:]); magic {
	case "PAR1":
	case "PARE":
		return nil, tail{}, unsupported(f, "the file is encrypted")
	default:
		return nil, tail{}, corrupt(f, "the file does not end with Parquet's magic bytes")
	}
	length := int64(binary.LittleEndian.Uint32(end[len(end)-trailerBytes:]))
	end = end[:len(end)-trailerBytes]
	switch {
	case length == 0 || length > size-magics:
		return nil, tail{}, corrupt(f, "the footer claims %d bytes of a file of %d", length, size)
	case length > maxFooterBytes:
		return nil, tail{}, unsupported(f, "the footer has %d bytes; at most %d are read", length, maxFooterBytes)
	}
	if err := admit(length * readingPerByte); err != nil {
		return nil, tail{}, err
	}
	if have := int64(len(end)); length <= have {
		return end[have-length:], tail{off: size - trailerBytes - have, data: end[:have-length]}, nil
	}
	// Only the part in front of the tail is missing.
	raw := make([]byte, length)
	have := copy(raw[length-int64(len(end)):], end)
	if err := r.ReadAt(ctx, raw[:length-int64(have)], size-trailerBytes-length); err != nil {
		return nil, tail{}, readError(f, err)
	}
	return raw, tail{}, nil
}

// parseFooter decodes a footer's bytes. The guard runs first, so that what the
// library allocates is bounded; what it panics about is an error.
func parseFooter(raw []byte, size int64, f source.File) (out *Footer, err error) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case strings.Contains(fmt.Sprint(p), "logical type"):
			out, err = nil, unsupported(f, "the schema cannot be read: %v", p)
		default:
			out, err = nil, corrupt(f, "the footer cannot be decoded: %v", p)
		}
	}()
	if _, err := checkFooter(raw); err != nil {
		return nil, corrupt(f, "the footer cannot be decoded: %v", err)
	}
	meta, err := metadata.NewFileMetaData(raw, nil)
	if err != nil {
		return nil, corrupt(f, "the footer cannot be decoded: %v", err)
	}
	if meta.IsSetEncryptionAlgorithm() {
		return nil, unsupported(f, "the file is encrypted")
	}
	meta.SetSourceFileSize(size)
	meta.WriterVersion() // is parsed at the first call; from now on it is only read
	ft := &Footer{file: f, meta: meta, size: int64(len(raw)) * decodedPerByte}
	if err := ft.checkGroups(size); err != nil {
		return nil, err
	}
	var hints []hint
	kept := make(map[string]string)
	for _, kv := range meta.KeyValueMetadata() {
		if kv == nil || kv.Value == nil {
			continue
		}
		if kv.Key == "ARROW:schema" {
			hints = readHints(*kv.Value)
		} else if keepMetadata(kv.Key, *kv.Value) {
			kept[kv.Key] = *kv.Value
		}
	}
	// The library would decode ARROW:schema itself, without limits.
	meta.FileMetaData.KeyValueMetadata = nil
	manifest, err := pqarrow.NewSchemaManifest(meta.Schema, nil, &pqarrow.ArrowReadProperties{})
	if err != nil {
		return nil, unsupported(f, "the schema has no Arrow form: %v", err)
	}
	ft.manifest, ft.oldWriter = manifest.Fields, isOldWriter(meta.WriterVersion())
	ft.buildSchema(manifest, hints, kept)
	return ft, nil
}

// keepMetadata says which footer keys become schema metadata. "huggingface" is
// kept as it is; pandas' and Arrow's own describe another schema than the one
// that is sent, and "hubflight" is ours to say.
func keepMetadata(key, value string) bool {
	const maxOther = 256 << 10
	switch {
	case !utf8.ValidString(key) || !utf8.ValidString(value):
		return false
	case key == "huggingface":
		return true
	case key == "pandas" || key == "hubflight" || strings.HasPrefix(key, "ARROW:"):
		return false
	}
	return len(key)+len(value) <= maxOther
}

// checkGroups makes sure that every column chunk is where a chunk can be: the
// library allocates and reads by these numbers, some of it on a goroutine whose
// panics nobody could recover.
func (ft *Footer) checkGroups(size int64) error {
	leaves := ft.meta.Schema.NumColumns()
	total := int64(0)
	for i, rg := range ft.meta.RowGroups {
		if rg == nil || len(rg.Columns) != leaves {
			return corrupt(ft.file, "row group %d has %d columns; the schema has %d", i, len(rg.GetColumns()), leaves)
		}
		if rg.NumRows < 0 || rg.NumRows > math.MaxInt64-total {
			return corrupt(ft.file, "row group %d has %d rows", i, rg.NumRows)
		}
		total += rg.NumRows
		chunks := make([]chunk, leaves)
		for c := range rg.Columns {
			var err error
			if chunks[c], err = ft.checkChunk(i, c, size); err != nil {
				return err
			}
		}
		ft.chunks = append(ft.chunks, chunks)
	}
	if total != ft.meta.NumRows {
		return corrupt(ft.file, "the footer counts %d rows, its row groups %d", ft.meta.NumRows, total)
	}
	return nil
}

func (ft *Footer) checkChunk(group, column int, size int64) (chunk, error) {
	rg := ft.meta.RowGroups[group]
	leaf := ft.meta.Schema.Column(column)
	bad := func(format string, args ...any) (chunk, error) {
		return chunk{}, corrupt(ft.file, "row group %d: %s", group, fmt.Sprintf(format, args...)).WithColumn(leaf.Path())
	}
	cc := rg.Columns[column]
	if cc == nil || cc.MetaData == nil {
		return bad("the column chunk has no metadata")
	}
	if cc.CryptoMetadata != nil {
		return chunk{}, unsupported(ft.file, "the column is encrypted").WithColumn(leaf.Path())
	}
	if cc.FilePath != nil && *cc.FilePath != "" {
		return chunk{}, unsupported(ft.file, "the column's data is in another file").WithColumn(leaf.Path())
	}
	md := cc.MetaData
	if int32(md.Type) != int32(leaf.PhysicalType()) {
		return bad("the column chunk's type differs from the schema's")
	}
	if rg.NumRows == 0 {
		// pyarrow writes an empty table as one row group without rows, whose
		// offsets mean nothing. It is never read.
		return chunk{}, nil
	}
	start := md.DataPageOffset
	if md.DictionaryPageOffset != nil && *md.DictionaryPageOffset > 0 && *md.DictionaryPageOffset < start {
		start = *md.DictionaryPageOffset
	}
	switch {
	case md.TotalCompressedSize < 0 || md.TotalUncompressedSize < 0 || md.NumValues < 0:
		return bad("the column chunk has a negative size")
	case md.TotalCompressedSize == 0:
		return bad("the column chunk is empty")
	case start < 4 || start > size || md.TotalCompressedSize > size-start:
		return bad("the column chunk lies outside the file (offset %d, %d bytes)", start, md.TotalCompressedSize)
	case leaf.MaxRepetitionLevel() == 0 && md.NumValues != rg.NumRows:
		return bad("the column chunk has %d values for %d rows", md.NumValues, rg.NumRows)
	}
	c := chunk{off: start, len: md.TotalCompressedSize, data: md.DataPageOffset, uncompressed: md.TotalUncompressedSize, values: md.NumValues}
	c.columnIndex = indexSection(cc.ColumnIndexOffset, cc.ColumnIndexLength, size)
	c.offsetIndex = indexSection(cc.OffsetIndexOffset, cc.OffsetIndexLength, size)
	c.bloom = bloomSection(md.BloomFilterOffset, md.BloomFilterLength, size)
	// The library is not to read them: a bad one must not stop a read.
	cc.OffsetIndexOffset, cc.OffsetIndexLength = nil, nil
	cc.ColumnIndexOffset, cc.ColumnIndexLength = nil, nil
	md.BloomFilterOffset, md.BloomFilterLength = nil, nil
	return c, nil
}

// checkCodec refuses codecs that the library does not have, by name.
func (ft *Footer) checkCodec(group, column int) error {
	codec := ft.meta.RowGroups[group].Columns[column].MetaData.Codec
	if _, err := compress.GetCodec(compress.Compression(codec)); err != nil {
		return unsupported(ft.file, "compression %v cannot be read", codec).
			WithColumn(ft.meta.Schema.Column(column).Path())
	}
	return nil
}

// Schema is what pyarrow gives for the file, with dictionaries decoded and
// extension types as their storage (the extension's name stays in the field's
// metadata). The footer's key-value metadata is the schema's, without pandas'
// and Arrow's own keys.
func (ft *Footer) Schema() *arrow.Schema { return ft.schema }

// NumRowGroups is the number of row groups.
func (ft *Footer) NumRowGroups() int { return len(ft.chunks) }

// NumRows is the number of rows in the file.
func (ft *Footer) NumRows() int64 { return ft.meta.NumRows }

// GroupRows is the number of rows of a row group.
func (ft *Footer) GroupRows(i int) int64 { return ft.meta.RowGroups[i].NumRows }

// MemSize estimates the bytes that the Footer holds, for cache accounting.
func (ft *Footer) MemSize() int64 { return ft.size }

const (
	opOpen = "open"
	opScan = "scan"
	opPlan = "plan"
)

func corrupt(f source.File, format string, args ...any) *source.Error {
	return source.Errorf(source.KindCorrupt, opOpen, format, args...).WithFile(f.At.Short(), f.Path)
}

func unsupported(f source.File, format string, args ...any) *source.Error {
	return source.Errorf(source.KindUnsupported, opOpen, format, args...).WithFile(f.At.Short(), f.Path)
}

// readError names the file in an error of its Reader, whose kind it keeps.
func readError(f source.File, err error) error {
	e := source.AsError(opOpen, err)
	if e.Path != "" {
		return e
	}
	named := *e
	return named.WithFile(f.At.Short(), f.Path)
}
