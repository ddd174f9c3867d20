package column

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// PageFacts are what a page says of itself, for a decoder that trusts such claims.
type PageFacts struct {
	Dictionary bool
	// Values of the page, nulls included; of a dictionary, its entries.
	Values int64
	// Body is the page as it is stored. Its first Levels bytes are not compressed
	// (V2), nor is the rest if Plain is set; inflated, all of it has Inflated bytes.
	Body             []byte
	Levels, Inflated int64
	Plain            bool
}

// ErrEnd marks a page header that goes past the end of the bytes.
var ErrEnd = errThriftEnd

// Walk visits the pages of a chunk (Off and Values are used), all of whose bytes
// are in data, for the library that decodes what this package does not. It checks
// what a cursor would: sizes within data and at most limit, counts within the
// chunk's, and checksums, where the writer left some. Errors are *Error.
func Walk(c Chunk, data []byte, limit int64, visit func(PageFacts) error) error {
	pos, seen := 0, int64(0)
	for page := 0; seen < c.Values; page++ {
		if pos >= len(data) {
			return at(fmt.Errorf("the chunk ends after %d of %d values", seen, c.Values), page, c.Off+int64(pos))
		}
		h, n, err := walkOne(data[pos:], c.Values-seen, limit, visit)
		if err != nil {
			return at(err, page, c.Off+int64(pos))
		}
		if h.isData() {
			seen += h.values
		}
		pos += n
	}
	return nil
}

func walkOne(data []byte, values, limit int64, visit func(PageFacts) error) (pageHeader, int, error) {
	h, n, err := readHeader(data[:min(len(data), maxHeader)])
	if err != nil {
		return h, 0, err
	}
	if err := h.check(int64(len(data)-n), limit); err != nil {
		return h, 0, err
	}
	body := data[n : n+int(h.compressed)]
	if h.hasCRC && crc32.ChecksumIEEE(body) != h.crc {
		return h, 0, errChecksum
	}
	if h.isData() && h.values > values {
		return h, 0, fmt.Errorf("%d values where the chunk has %d more", h.values, values)
	}
	if h.isData() || h.kind == pageDictionary {
		facts := PageFacts{
			Dictionary: h.kind == pageDictionary, Values: h.values, Body: body,
			Levels: h.defBytes + h.repBytes, Inflated: h.uncompressed, Plain: h.plainValues,
		}
		if err := visit(facts); err != nil {
			return h, 0, err
		}
	}
	return h, n + int(h.compressed), nil
}

var errChecksum = errors.New("the checksum does not match")

// at names the page, in an error that may have its kind already.
func at(err error, page int, off int64) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Page: page, Off: off, Err: e.Err}
	}
	return &Error{Kind: Corrupt, Page: page, Off: off, Err: err}
}
