package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// Page types and header fields of parquet.thrift.
const (
	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3

	// maxPageBytes is the largest page that is read, compressed or not. The
	// library's own default of 64 MiB compressed refuses image files that its
	// writer makes with default settings.
	maxPageBytes = 256 << 20
	// maxPageHeader is the library's bound, too.
	maxPageHeader = 16 << 20
)

// pageHeader is what the guard wants to know of a page.
type pageHeader struct {
	kind                     int64
	uncompressed, compressed int64
	crc                      int64
	hasCRC, hasBody          bool
	values, defLen, repLen   int64
	isCompressed             bool
}

// checkPages walks a chunk's page headers before the library sees them: sizes
// within the chunk, counts within what the footer and the sizes allow, checksums
// where the writer left some (the library never looks at them), and lengths that
// compressed data claim for themselves, which decoders trust.
func checkPages(data []byte, c chunk, leaf *schema.Column, codec compress.Compression) error {
	pos, seen := 0, int64(0)
	for page := 0; seen < c.values; page++ {
		if pos >= len(data) {
			return fmt.Errorf("page %d: the chunk ends after %d of %d values", page, seen, c.values)
		}
		h, n, err := readPageHeader(data[pos:min(len(data), pos+maxPageHeader)])
		if err != nil {
			return fmt.Errorf("page %d: %w", page, err)
		}
		pos += n
		if err := h.check(int64(len(data)-pos), leaf); err != nil {
			return fmt.Errorf("page %d: %w", page, err)
		}
		body := data[pos : pos+int(h.compressed)]
		pos += int(h.compressed)
		if h.hasCRC && crc32.ChecksumIEEE(body) != uint32(h.crc) {
			return fmt.Errorf("page %d: %w", page, errChecksum)
		}
		if err := h.checkClaim(body, codec); err != nil {
			return fmt.Errorf("page %d: %w", page, err)
		}
		if h.kind == pageData || h.kind == pageDataV2 {
			if seen += h.values; seen > c.values {
				return fmt.Errorf("page %d: the pages hold more than the chunk's %d values", page, c.values)
			}
		}
	}
	return nil
}

var errChecksum = errors.New("the checksum does not match")

// check compares the header with what is left of the chunk.
func (h *pageHeader) check(left int64, leaf *schema.Column) error {
	switch {
	case h.compressed < 0 || h.uncompressed < 0 || h.values < 0:
		return errors.New("negative size")
	case h.compressed > left:
		return fmt.Errorf("%d bytes of data, but %d are left", h.compressed, left)
	case h.compressed > maxPageBytes || h.uncompressed > maxPageBytes:
		return pageTooLarge{max(h.compressed, h.uncompressed)}
	case !h.hasBody && h.kind != pageIndex:
		return fmt.Errorf("page type %d without its header", h.kind)
	}
	switch h.kind {
	case pageDataV2:
		if h.defLen < 0 || h.repLen < 0 || h.defLen+h.repLen > min(h.compressed, h.uncompressed) {
			return errors.New("level lengths outside the page")
		}
	case pageDictionary:
		// Entries are allocated by their number, so it must fit their bytes.
		if need := minEntry(leaf); need > 0 && h.values > h.uncompressed/need {
			return fmt.Errorf("%d dictionary entries in %d bytes", h.values, h.uncompressed)
		}
	}
	return nil
}

// pageTooLarge marks a page that is beyond the limit, not broken.
type pageTooLarge struct{ bytes int64 }

func (p pageTooLarge) Error() string {
	return fmt.Sprintf("the page has %d bytes; at most %d are read", p.bytes, maxPageBytes)
}

// minEntry is the least number of bytes that a dictionary entry takes.
func minEntry(leaf *schema.Column) int64 {
	switch leaf.PhysicalType() {
	case parquet.Types.Int32, parquet.Types.Float, parquet.Types.ByteArray:
		return 4
	case parquet.Types.Int64, parquet.Types.Double:
		return 8
	case parquet.Types.Int96:
		return 12
	case parquet.Types.FixedLenByteArray:
		return int64(max(leaf.TypeLength(), 1))
	}
	return 1
}

// checkClaim compares the length that Snappy data begin with.
func (h *pageHeader) checkClaim(body []byte, codec compress.Compression) error {
	if codec != compress.Codecs.Snappy || h.kind == pageIndex {
		return nil
	}
	want := h.uncompressed
	if h.kind == pageDataV2 {
		if !h.isCompressed {
			return nil
		}
		levels := h.defLen + h.repLen
		body, want = body[levels:], want-levels
	}
	if len(body) == 0 {
		return nil // the library's to refuse
	}
	if got, n := binary.Uvarint(body); n <= 0 || got != uint64(want) {
		return fmt.Errorf("snappy data of %d bytes, the header says %d", got, want)
	}
	return nil
}

// readPageHeader reads a PageHeader and returns its length.
func readPageHeader(data []byte) (pageHeader, int, error) {
	h := pageHeader{kind: -1, isCompressed: true}
	w := thriftWalk{data: data}
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil {
			return h, 0, err
		}
		if typ == thriftStop {
			return h, w.pos, nil
		}
		last = id
		switch {
		case typ == thriftI32 && id >= 1 && id <= 4:
			v, err := w.varint()
			if err != nil {
				return h, 0, err
			}
			switch id {
			case 1:
				h.kind = v
			case 2:
				h.uncompressed = v
			case 3:
				h.compressed = v
			case 4:
				h.crc, h.hasCRC = v, true
			}
		case typ == thriftStruct && (id == 5 || id == 7 || id == 8):
			if err := h.readBody(&w, id); err != nil {
				return h, 0, err
			}
		default:
			if err := w.skip(typ, 1); err != nil {
				return h, 0, err
			}
		}
	}
}

// readBody reads the header that belongs to a page type: 5 data, 7 dictionary,
// 8 data V2. Field 1 is the number of values in all of them.
func (h *pageHeader) readBody(w *thriftWalk, which int16) error {
	kinds := map[int16]int64{5: pageData, 7: pageDictionary, 8: pageDataV2}
	mine := kinds[which] == h.kind
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil {
			return err
		}
		if typ == thriftStop {
			h.hasBody = h.hasBody || mine
			return nil
		}
		last = id
		isInt := typ == thriftI32
		if isInt && mine && (id == 1 || which == 8 && (id == 5 || id == 6)) {
			v, err := w.varint()
			if err != nil {
				return err
			}
			switch id {
			case 1:
				h.values = v
			case 5:
				h.defLen = v
			case 6:
				h.repLen = v
			}
			continue
		}
		if mine && which == 8 && id == 7 {
			h.isCompressed = typ == thriftTrue
		}
		if err := w.skip(typ, 2); err != nil {
			return err
		}
	}
}
