package column

import (
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
)

// Supported says whether a Reader can be made for a field. It looks at types, levels and codecs, not at bytes.
func Supported(f Field) bool { return false }

// Scratch is memory that the Readers of one worker share: inflaters and index blocks. It belongs to one goroutine at a time.
type Scratch struct{}

// NewScratch makes a Scratch.
func NewScratch() *Scratch { return &Scratch{} }

// Close frees it; no Reader may use it afterwards.
func (s *Scratch) Close() {}

// Reader decodes one field of one row group, in order. It belongs to one goroutine at a time.
type Reader struct{}

// NewReader prepares a field; nothing is read yet. The error is an *Error of kind Unsupported where Supported is false, and of kind
// Corrupt where a chunk contradicts itself.
func NewReader(f Field, o Options) (*Reader, error) {
	return nil, &Error{Kind: Unsupported, Page: -1, Err: errors.New("not decoded here")}
}

// Read makes one array of the rows that spans take, counted from where the last Read ended; its position advances past all spans. The
// array has offset 0 and is the caller's to release. After an error every Read returns it again.
func (r *Reader) Read(spans []Span) (arrow.ArrayData, error) { return nil, nil }

// Dictionary is the dictionary page of a leaf that is the whole field, as an array of the leaf's type; false if the chunk has none. It
// says nothing about whether all data pages use it. The position does not change.
func (r *Reader) Dictionary() (arrow.ArrayData, bool, error) { return nil, false, nil }

// Close gives page buffers back. Arrays that were read stay valid.
func (r *Reader) Close() {}
