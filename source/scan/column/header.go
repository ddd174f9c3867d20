package column

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Page types and encodings of parquet.thrift.
const (
	pageData       = 0
	pageDictionary = 2
	pageDataV2     = 3

	encPlain           = 0
	encPlainDictionary = 2
	encRLE             = 3
	encBitPacked       = 4
	encDeltaBinary     = 5
	encDeltaLength     = 6
	encDeltaByteArray  = 7
	encRLEDictionary   = 8
	encByteStreamSplit = 9
)

// pageHeader is what decoding needs of a PageHeader. Numbers are as in the file: check compares them with the page and the caps.
type pageHeader struct {
	kind                     int64
	uncompressed, compressed int64
	crc                      uint32
	hasCRC, hasBody          bool

	values, encoding   int64
	defEnc, repEnc     int64 // V1
	rows               int64 // V2; −1 in V1
	defBytes, repBytes int64 // V2
	plainValues        bool  // V2: the values are not compressed
}

func (h *pageHeader) isData() bool { return h.kind == pageData || h.kind == pageDataV2 }

// check compares a header with the bytes that are left of the chunk and with the cap.
func (h *pageHeader) check(left, limit int64) error {
	switch {
	case h.compressed < 0 || h.uncompressed < 0 || h.values < 0:
		return errors.New("negative size")
	case h.compressed > left:
		return fmt.Errorf("%d bytes of data, but %d are left", h.compressed, left)
	case h.compressed > limit || h.uncompressed > limit:
		return &Error{Kind: TooLarge, Err: fmt.Errorf("the page has %d bytes; at most %d are read", max(h.compressed, h.uncompressed), limit)}
	case (h.isData() || h.kind == pageDictionary) && !h.hasBody:
		return fmt.Errorf("page type %d without its header", h.kind)
	case h.kind == pageDataV2 && (h.defBytes < 0 || h.repBytes < 0 || h.defBytes+h.repBytes > min(h.compressed, h.uncompressed)):
		return errors.New("level lengths outside the page")
	}
	return nil
}

var (
	errThriftEnd  = errors.New("the page header goes past the end")
	errThriftDeep = errors.New("the page header nests too deep")
)

// maxThriftDepth: a page header nests 3 deep.
const maxThriftDepth = 8

// thriftReader is a cursor over bytes of Thrift's compact protocol.
type thriftReader struct {
	data []byte
	pos  int
}

func (t *thriftReader) varint() (int64, error) {
	u, n := binary.Uvarint(t.data[t.pos:])
	if n <= 0 {
		return 0, errThriftEnd
	}
	t.pos += n
	return int64(u>>1) ^ -int64(u&1), nil
}

func (t *thriftReader) uvarint() (uint64, error) {
	u, n := binary.Uvarint(t.data[t.pos:])
	if n <= 0 {
		return 0, errThriftEnd
	}
	t.pos += n
	return u, nil
}

func (t *thriftReader) advance(n uint64) error {
	if n > uint64(len(t.data)-t.pos) {
		return errThriftEnd
	}
	t.pos += int(n)
	return nil
}

// field reads a field header; typ 0 ends the struct.
func (t *thriftReader) field(last int64) (id int64, typ byte, err error) {
	if t.pos >= len(t.data) {
		return 0, 0, errThriftEnd
	}
	b := t.data[t.pos]
	t.pos++
	typ = b & 0x0f
	switch {
	case typ == 0:
		return 0, 0, nil
	case b>>4 != 0:
		return last + int64(b>>4), typ, nil
	}
	id, err = t.varint()
	return id, typ, err
}

// skip passes a value. Lists, sets and maps have no place in a page header.
func (t *thriftReader) skip(typ byte, depth int) error {
	switch typ {
	case 1, 2: // booleans are in the field header
		return nil
	case 3:
		return t.advance(1)
	case 4, 5, 6:
		_, err := t.uvarint()
		return err
	case 7:
		return t.advance(8)
	case 8:
		n, err := t.uvarint()
		if err != nil {
			return err
		}
		return t.advance(n)
	case 12:
		return t.skipStruct(depth)
	}
	return fmt.Errorf("thrift type %d in a page header", typ)
}

func (t *thriftReader) skipStruct(depth int) error {
	if depth >= maxThriftDepth {
		return errThriftDeep
	}
	last := int64(0)
	for {
		id, typ, err := t.field(last)
		if err != nil || typ == 0 {
			return err
		}
		if err := t.skip(typ, depth+1); err != nil {
			return err
		}
		last = id
	}
}

// readHeader reads a PageHeader and returns its length; errThriftEnd means that data may be too short.
func readHeader(data []byte) (h pageHeader, n int, err error) {
	h = pageHeader{kind: -1, rows: -1}
	t := thriftReader{data: data}
	last := int64(0)
	for {
		id, typ, err := t.field(last)
		if err != nil {
			return h, 0, err
		}
		if typ == 0 {
			return h, t.pos, nil
		}
		last = id
		switch {
		case typ == 5 && id >= 1 && id <= 4:
			v, err := t.varint()
			if err != nil {
				return h, 0, err
			}
			h.set(id, v)
		case typ == 12 && (id == 5 && h.kind == pageData || id == 7 && h.kind == pageDictionary || id == 8 && h.kind == pageDataV2):
			if err := h.readBody(&t); err != nil {
				return h, 0, err
			}
		default:
			if err := t.skip(typ, 1); err != nil {
				return h, 0, err
			}
		}
	}
}

func (h *pageHeader) set(id, v int64) {
	switch id {
	case 1:
		h.kind = v
	case 2:
		h.uncompressed = v
	case 3:
		h.compressed = v
	case 4:
		h.crc, h.hasCRC = uint32(v), true
	}
}

// readBody reads the header of h's own page type. The type is field 1 of a PageHeader, and every writer writes fields in order.
func (h *pageHeader) readBody(t *thriftReader) error {
	h.hasBody, h.encoding = true, -1
	last := int64(0)
	for {
		id, typ, err := t.field(last)
		if err != nil || typ == 0 {
			return err
		}
		last = id
		if typ == 5 {
			v, err := t.varint()
			if err != nil {
				return err
			}
			h.setBody(id, v)
			continue
		}
		if h.kind == pageDataV2 && id == 7 {
			h.plainValues = typ == 2
		}
		if err := t.skip(typ, 2); err != nil {
			return err
		}
	}
}

func (h *pageHeader) setBody(id, v int64) {
	if h.kind == pageDataV2 {
		switch id {
		case 1:
			h.values = v
		case 3:
			h.rows = v
		case 4:
			h.encoding = v
		case 5:
			h.defBytes = v
		case 6:
			h.repBytes = v
		}
		return
	}
	switch id {
	case 1:
		h.values = v
	case 2:
		h.encoding = v
	case 3:
		h.defEnc = v
	case 4:
		h.repEnc = v
	}
}
