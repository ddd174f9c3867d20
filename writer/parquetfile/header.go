package parquetfile

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/parquet"
)

// pageHeader is what stands before a page, in Thrift's compact protocol. It has no statistics: these are in the page index.
type pageHeader struct {
	dictionary      bool
	raw, compressed int // bytes, without the header
	values          int
	encoding        parquet.Encoding
}

// The types and the end of a struct in the compact protocol.
const (
	thriftI32    = 5
	thriftStruct = 12
	thriftStop   = 0
)

func (h pageHeader) append(dst []byte) []byte {
	kind, member := int64(0), byte(5) // DATA_PAGE, data_page_header
	if h.dictionary {
		kind, member = 2, 7
	}
	dst = appendI32(dst, kind)
	dst = appendI32(dst, int64(h.raw))
	dst = appendI32(dst, int64(h.compressed))
	dst = append(dst, (member-3)<<4|thriftStruct)
	dst = appendI32(dst, int64(h.values))
	dst = appendI32(dst, int64(h.encoding))
	if !h.dictionary {
		dst = appendI32(dst, int64(parquet.Encodings.RLE)) // definition levels
		dst = appendI32(dst, int64(parquet.Encodings.RLE)) // repetition levels
	}
	return append(dst, thriftStop, thriftStop)
}

// appendI32 appends a field whose id is that of the one before plus one.
func appendI32(dst []byte, v int64) []byte {
	return binary.AppendVarint(append(dst, 1<<4|thriftI32), v)
}
