package column

import "fmt"

// Kind tells why a column cannot be decoded.
type Kind uint8

const (
	// Corrupt: the bytes contradict themselves, the footer or the offset index.
	Corrupt Kind = iota
	// Unsupported: an encoding, codec or page type that this package does not read. pqarrow may.
	Unsupported
	// TooLarge: a page is beyond Options.MaxPageBytes, or one Read's strings or list elements are beyond 32-bit offsets.
	TooLarge
)

// String is the kind in a message.
func (k Kind) String() string {
	switch k {
	case Unsupported:
		return "unsupported"
	case TooLarge:
		return "too large"
	}
	return "corrupt"
}

// Error is what Read and Dictionary return for bytes that cannot be decoded. Errors of the Source are not of this type.
type Error struct {
	Kind Kind
	Leaf int   // which leaf of the Field, depth first
	Page int   // which page of the chunk, the dictionary page included; −1 if none
	Off  int64 // of the page in the file
	Err  error
}

// Error names the page and says what is wrong with it.
func (e *Error) Error() string {
	if e.Page < 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("page %d at offset %d: %v", e.Page, e.Off, e.Err)
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }
