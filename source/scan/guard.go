package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The Thrift compact protocol, walked without building anything. A footer that
// passes the walk makes the library's decoder allocate no more than a small
// multiple of its own length: every length and count in it fits into the bytes
// that follow.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12

	// maxThriftDepth: a footer nests about 7 deep; the schema is a flat list.
	maxThriftDepth = 24
	// maxThriftStructs bounds what a footer of empty structs unfolds to (about
	// 200 bytes each in the decoder). 16 MiB of real footer hold fewer.
	maxThriftStructs = 2_000_000
)

var errThriftEnd = errors.New("thrift value goes past the end")

// thriftWalk is a cursor over compact-protocol bytes.
type thriftWalk struct {
	data    []byte
	pos     int
	structs int
}

// checkThrift walks one struct and returns its length in bytes.
func checkThrift(data []byte) (int, error) {
	w := thriftWalk{data: data}
	if err := w.skip(thriftStruct, 0); err != nil {
		return 0, fmt.Errorf("offset %d: %w", w.pos, err)
	}
	return w.pos, nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.pos >= len(w.data) {
		return 0, errThriftEnd
	}
	b := w.data[w.pos]
	w.pos++
	return b, nil
}

func (w *thriftWalk) uvarint() (uint64, error) {
	v, n := binary.Uvarint(w.data[w.pos:])
	if n <= 0 {
		return 0, errThriftEnd
	}
	w.pos += n
	return v, nil
}

func (w *thriftWalk) varint() (int64, error) {
	u, err := w.uvarint()
	return int64(u>>1) ^ -int64(u&1), err
}

func (w *thriftWalk) advance(n uint64) error {
	if n > uint64(len(w.data)-w.pos) {
		return errThriftEnd
	}
	w.pos += int(n)
	return nil
}

// field reads a field header; last is the previous field's id.
func (w *thriftWalk) field(last int16) (id int16, typ byte, err error) {
	b, err := w.byte()
	if err != nil || b&0x0f == thriftStop {
		return 0, thriftStop, err
	}
	typ = b & 0x0f
	if delta := int16(b >> 4); delta != 0 {
		return last + delta, typ, nil
	}
	v, err := w.varint()
	return int16(v), typ, err
}

func (w *thriftWalk) skip(typ byte, depth int) error {
	if depth > maxThriftDepth {
		return fmt.Errorf("thrift structures nest deeper than %d", maxThriftDepth)
	}
	switch typ {
	case thriftTrue, thriftFalse:
		return nil // the value is in the field header
	case thriftByte:
		return w.advance(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.uvarint()
		return err
	case thriftDouble:
		return w.advance(8)
	case thriftBinary:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.advance(n)
	case thriftList, thriftSet:
		return w.skipList(depth)
	case thriftMap:
		return w.skipMap(depth)
	case thriftStruct:
		return w.skipStruct(depth)
	}
	return fmt.Errorf("unknown thrift type %d", typ)
}

func (w *thriftWalk) skipStruct(depth int) error {
	if w.structs++; w.structs > maxThriftStructs {
		return fmt.Errorf("more than %d thrift structures", maxThriftStructs)
	}
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil {
			return err
		}
		if typ == thriftStop {
			return nil
		}
		if err := w.skip(typ, depth+1); err != nil {
			return err
		}
		last = id
	}
}

func (w *thriftWalk) skipList(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n, typ := uint64(head>>4), head&0x0f
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	// Every element takes at least one byte.
	if n > uint64(len(w.data)-w.pos) {
		return fmt.Errorf("a list of %d elements in %d bytes", n, len(w.data)-w.pos)
	}
	if typ == thriftTrue || typ == thriftFalse {
		return w.advance(n)
	}
	for range n {
		if err := w.skip(typ, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *thriftWalk) skipMap(depth int) error {
	n, err := w.uvarint()
	if err != nil || n == 0 {
		return err
	}
	if n > uint64(len(w.data)-w.pos) {
		return fmt.Errorf("a map of %d entries in %d bytes", n, len(w.data)-w.pos)
	}
	types, err := w.byte()
	if err != nil {
		return err
	}
	for range n {
		for _, typ := range []byte{types >> 4, types & 0x0f} {
			if typ == thriftTrue || typ == thriftFalse {
				typ = thriftByte // a boolean in a container is a byte
			}
			if err := w.skip(typ, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// maxSchemaDepth bounds the recursion of everything that walks a schema.
	maxSchemaDepth = 64
	// maxSchemaElements: groups and leaves of one file.
	maxSchemaElements = 200_000

	fileMetaSchemaField     = 2
	schemaElemChildrenField = 5
)

// checkFooter walks serialised FileMetaData: the whole of it structurally, and
// its schema's child counts, because the library sizes slices and recurses by
// them. It returns the length of the structure.
func checkFooter(data []byte) (int, error) {
	n, err := checkThrift(data)
	if err != nil {
		return 0, err
	}
	w := thriftWalk{data: data[:n]}
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil {
			return 0, err
		}
		if typ == thriftStop {
			return 0, errors.New("there is no schema")
		}
		if id == fileMetaSchemaField {
			if typ != thriftList {
				return 0, fmt.Errorf("the schema has thrift type %d", typ)
			}
			return n, w.checkSchema()
		}
		if err := w.skip(typ, 1); err != nil {
			return 0, err
		}
		last = id
	}
}

// checkSchema reads the flattened schema's child counts and makes sure that
// they form one tree of bounded depth.
func (w *thriftWalk) checkSchema() error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	switch {
	case head&0x0f != thriftStruct:
		return errors.New("the schema is not a list of structures")
	case n == 0:
		return errors.New("the schema is empty")
	case n > maxSchemaElements:
		return fmt.Errorf("the schema has %d elements; at most %d are read", n, maxSchemaElements)
	}
	open := []int64{1} // children still to come, by depth; the root is one
	for i := range n {
		for len(open) > 0 && open[len(open)-1] == 0 {
			open = open[:len(open)-1]
		}
		if len(open) == 0 {
			return fmt.Errorf("schema element %d belongs to no group", i)
		}
		open[len(open)-1]--
		children, err := w.schemaChildren()
		if err != nil {
			return err
		}
		if children < 0 || uint64(children) > n-i-1 {
			return fmt.Errorf("schema element %d has %d children, but %d elements follow", i, children, n-i-1)
		}
		if children > 0 {
			if open = append(open, children); len(open) > maxSchemaDepth {
				return fmt.Errorf("the schema nests deeper than %d", maxSchemaDepth)
			}
		}
	}
	for _, left := range open {
		if left != 0 {
			return errors.New("the schema ends inside a group")
		}
	}
	return nil
}

func (w *thriftWalk) schemaChildren() (children int64, err error) {
	last := int16(0)
	for {
		id, typ, err := w.field(last)
		if err != nil || typ == thriftStop {
			return children, err
		}
		if id == schemaElemChildrenField && typ == thriftI32 {
			if children, err = w.varint(); err != nil {
				return 0, err
			}
		} else if err := w.skip(typ, 1); err != nil {
			return 0, err
		}
		last = id
	}
}
