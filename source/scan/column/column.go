package column

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// Source gives the bytes of one column chunk. It is asked by one goroutine at a time, mostly forward; the dictionary page may be asked
// for after data pages.
type Source interface {
	// Bytes returns the n bytes from off, an offset of the file. They are valid, and must not change, until the next call. The range is
	// never outside the chunk. An error ends the Reader and is returned by Read, wrapped.
	Bytes(off int64, n int) ([]byte, error)
}

// Page is one data page as the offset index knows it.
type Page struct {
	Off      int64 // of the page's header in the file
	Size     int32 // header and body as stored, in bytes
	FirstRow int64 // of the page, counted from the start of the row group
}

// Chunk is one leaf's column chunk.
type Chunk struct {
	Physical       parquet.Type
	TypeLength     int // bytes of a FIXED_LEN_BYTE_ARRAY
	MaxDef, MaxRep int16
	Codec          compress.Compression
	Values, Rows   int64  // level entries and rows, of the footer
	Off, Len       int64  // the chunk's bytes in the file, dictionary page included
	Pages          []Page // the data pages in order; nil if not known, then page headers are walked
	Source         Source
}

// Span is Take rows after leaving out Skip rows.
type Span struct{ Skip, Take int64 }

// Field is the tree that pqarrow makes of a top-level Parquet field: Type is SchemaField.Field.Type, Def and Rep are the DefLevel and
// RepLevel of its LevelInfo. A list and a map have one child (the map's is the key-value struct), a struct one child per field of its
// Type, a leaf none. INT96 leaves are timestamps of nanoseconds or microseconds, as Type says.
type Field struct {
	Type     arrow.DataType
	Def, Rep int16
	Leaf     *Chunk
	Children []Field
}

// Options are a Reader's memory and limits.
type Options struct {
	// Memory is where arrays and page buffers come from; it may hand out memory that is not zeroed. What it panics with is an error of
	// Read if it is an error. nil is Go's allocator.
	Memory memory.Allocator
	// MaxPageBytes bounds a page, stored and inflated; 0 is 256 MiB.
	MaxPageBytes int64
	// Scratch is the worker's; nil makes one for the Reader.
	Scratch *Scratch
}
