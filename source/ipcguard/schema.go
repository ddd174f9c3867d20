package ipcguard

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/hubflight/hubflight/source"
)

// Bounds of a schema.
const (
	maxFields = 1 << 16
	maxDepth  = 64
	maxName   = 64 << 10
	maxWidth  = 1 << 24 // bytes of a fixed-size value, elements of a fixed-size list
)

// Message header types (Message.fbs).
const (
	headerSchema      = 1
	headerRecordBatch = 3
)

// Type union members (Schema.fbs).
const (
	typeNull = iota + 1
	typeInt
	typeFloat
	typeBinary
	typeUtf8
	typeBool
	typeDecimal
	typeDate
	typeTime
	typeTimestamp
	typeInterval
	typeList
	typeStruct
	typeUnion
	typeFixedSizeBinary
	typeFixedSizeList
	typeMap
	typeDuration
	typeLargeBinary
	typeLargeUtf8
	typeLargeList
	typeRunEnd
	typeBinaryView
	typeUtf8View
	typeListView
	typeLargeListView
)

var typeNames = [...]string{
	typeInterval: "interval", typeUnion: "union", typeRunEnd: "run-end encoded", typeBinaryView: "binary view",
	typeUtf8View: "string view", typeListView: "list view", typeLargeListView: "large list view",
}

// Layout is what a schema promises about every batch: its nodes in depth-first
// order. It is immutable.
type Layout struct{ nodes []node }

// node is one array of a batch.
type node struct {
	path     string
	kind     int
	bits     int // width of one value in bits, for fixed-width kinds
	listSize int // of a fixed-size list
	children int // direct children, which follow
}

// Schema checks and decodes an encapsulated schema message: what
// pyarrow.Schema.serialize and flight.SerializeSchema write. Bytes after the
// schema message are ignored.
func Schema(raw []byte) (*arrow.Schema, error) {
	meta, end, err := encapsulated(raw)
	if err == nil {
		_, err = SchemaLayout(meta)
	}
	if err != nil {
		return nil, refuse("schema", err)
	}
	return decodeSchema(raw[:end])
}

// decodeSchema runs arrow-go's decoder on a checked message; a panic that the
// checks did not foresee becomes an error.
func decodeSchema(raw []byte) (schema *arrow.Schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			schema, err = nil, refuse("schema", fmt.Errorf("the schema cannot be decoded"))
		}
	}()
	r, err := ipc.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, refuse("schema", err)
	}
	defer r.Release()
	return r.Schema(), nil
}

// encapsulated splits "[0xFFFFFFFF] length metadata padding".
func encapsulated(raw []byte) (meta []byte, end int, err error) {
	at := 0
	if len(raw) >= 4 && binary.LittleEndian.Uint32(raw) == 0xFFFFFFFF {
		at = 4
	}
	if len(raw) < at+4 {
		return nil, 0, errTruncated
	}
	n := int(binary.LittleEndian.Uint32(raw[at:]))
	at += 4
	if n <= 0 || n > len(raw)-at {
		return nil, 0, errTruncated
	}
	return raw[at : at+n], at + n, nil
}

// SchemaLayout checks the metadata of a schema message (FlightData.data_header)
// and returns what it promises.
func SchemaLayout(meta []byte) (*Layout, error) {
	msg, kind, header, err := message(meta)
	if err != nil {
		return nil, err
	}
	if kind != headerSchema {
		return nil, fmt.Errorf("the first message is not a schema")
	}
	if body, err := msg.scalar(3, 8, 0); err != nil || body != 0 {
		return nil, fmt.Errorf("the schema message has a body")
	}
	if endian, err := header.scalar(0, 2, 0); err != nil || endian != 0 {
		return nil, fmt.Errorf("big-endian data is not accepted")
	}
	if err := metadata(header, 2); err != nil {
		return nil, err
	}
	var l Layout
	if _, err := l.fields(header, 1, "", 0); err != nil {
		return nil, err
	}
	return &l, nil
}

// message checks the envelope and returns its header table.
func message(meta []byte) (msg table, kind int64, header table, err error) {
	w := &walker{buf: meta}
	if msg, err = w.root(); err != nil {
		return
	}
	if kind, err = msg.scalar(1, 1, 0); err != nil {
		return
	}
	var ok bool
	if header, ok, err = msg.sub(2); err == nil && !ok {
		err = fmt.Errorf("the message has no header")
	}
	if err == nil {
		err = metadata(msg, 4)
	}
	return
}

// metadata checks a vector of KeyValue.
func metadata(t table, i int) error {
	start, n, err := t.vector(i, 4)
	if err != nil {
		return err
	}
	for k := range n {
		kv, err := t.w.indirect(start + 4*k)
		if err != nil {
			return err
		}
		for f := range 2 {
			_, size, err := kv.vector(f, 1)
			if err != nil {
				return err
			}
			if err := t.w.use(size); err != nil {
				return err
			}
		}
	}
	return nil
}

// fields checks a vector of Field and appends their nodes; it returns how many
// direct fields there are.
func (l *Layout) fields(t table, i int, parent string, depth int) (int, error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("the schema is nested more than %d deep", maxDepth)
	}
	start, n, err := t.vector(i, 4)
	if err != nil {
		return 0, err
	}
	for k := range n {
		f, err := t.w.indirect(start + 4*k)
		if err != nil {
			return 0, err
		}
		if err := l.field(f, parent, depth); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (l *Layout) field(f table, parent string, depth int) error {
	name, err := f.text(0, maxName)
	if err != nil {
		return err
	}
	path := name
	if len(l.nodes) >= maxFields {
		return fmt.Errorf("the schema has more than %d fields", maxFields)
	}
	if parent != "" {
		if err := f.w.use(len(parent) + len(name)); err != nil {
			return err
		}
		path = parent + "." + name
	}
	if _, dictionary, err := f.sub(4); err != nil {
		return err
	} else if dictionary {
		return fmt.Errorf("column %q is dictionary-encoded: send it decoded", path)
	}
	if err := metadata(f, 6); err != nil {
		return err
	}
	kind, err := f.scalar(2, 1, 0)
	if err != nil {
		return err
	}
	typ, ok, err := f.sub(3)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("column %q has no type", path)
	}
	n := node{path: path, kind: int(kind)}
	if err := n.describe(typ); err != nil {
		return err
	}
	at := len(l.nodes)
	l.nodes = append(l.nodes, n)
	children, err := l.fields(f, 5, path, depth+1)
	if err != nil {
		return err
	}
	l.nodes[at].children = children
	return l.checkChildren(at)
}

// describe fills in the widths of a type and refuses types that are not
// accepted or impossible.
func (n *node) describe(t table) error {
	get := func(i, width int, absent int64) int64 {
		v, err := t.scalar(i, width, absent)
		if err != nil {
			return -1 << 62 // no type accepts it
		}
		return v
	}
	ok := true
	switch n.kind {
	case typeNull, typeStruct, typeList, typeMap, typeLargeList, typeBinary, typeUtf8, typeLargeBinary, typeLargeUtf8:
	case typeBool:
		n.bits = 1
	case typeInt:
		n.bits = int(get(0, 4, 0))
		ok = n.bits == 8 || n.bits == 16 || n.bits == 32 || n.bits == 64
	case typeFloat:
		precision := get(0, 2, 0)
		n.bits = 16 << min(max(precision, 0), 2)
		ok = precision >= 0 && precision <= 2
	case typeDecimal:
		n.bits = int(get(2, 4, 128))
		precision, scale, limit := get(0, 4, 0), get(1, 4, 0), int64(38)
		if n.bits == 256 {
			limit = 76
		}
		ok = (n.bits == 128 || n.bits == 256) && precision >= 1 && precision <= limit && scale >= 0 && scale <= precision
	case typeDate:
		unit := get(0, 2, 1)
		n.bits = 32 << min(max(unit, 0), 1)
		ok = unit == 0 || unit == 1
	case typeTime:
		unit := get(0, 2, 1)
		n.bits = int(get(1, 4, 32))
		ok = (n.bits == 32 && (unit == 0 || unit == 1)) || (n.bits == 64 && (unit == 2 || unit == 3))
	case typeTimestamp:
		n.bits = 64
		if _, err := t.text(1, maxName); err != nil {
			return err
		}
		unit := get(0, 2, 0)
		ok = unit >= 0 && unit <= 3
	case typeDuration:
		n.bits = 64
		unit := get(0, 2, 1)
		ok = unit >= 0 && unit <= 3
	case typeFixedSizeBinary:
		width := get(0, 4, 0)
		n.bits = int(min(max(width, 0), maxWidth)) * 8
		ok = width >= 0 && width <= maxWidth
	case typeFixedSizeList:
		size := get(0, 4, 0)
		n.listSize = int(min(max(size, 0), maxWidth))
		ok = size >= 0 && size <= maxWidth
	default:
		if n.kind > 0 && n.kind < len(typeNames) && typeNames[n.kind] != "" {
			return fmt.Errorf("column %q has type %s, which is not accepted", n.path, typeNames[n.kind])
		}
		return fmt.Errorf("column %q has an unknown type", n.path)
	}
	if !ok {
		return fmt.Errorf("the type of column %q is malformed", n.path)
	}
	return nil
}

// checkChildren verifies the number, and for a map the kind, of a node's
// children.
func (l *Layout) checkChildren(at int) error {
	n := l.nodes[at]
	want := 0
	switch n.kind {
	case typeStruct:
		return nil
	case typeList, typeLargeList, typeFixedSizeList, typeMap:
		want = 1
	}
	if n.children != want {
		return fmt.Errorf("column %q has %d children instead of %d", n.path, n.children, want)
	}
	if n.kind == typeMap {
		if entries := l.nodes[at+1]; entries.kind != typeStruct || entries.children != 2 {
			return fmt.Errorf("the entries of map column %q are not a struct of key and value", n.path)
		}
	}
	return nil
}

func refuse(op string, err error) error {
	return source.Errorf(source.KindInvalid, op, "%w", err)
}
