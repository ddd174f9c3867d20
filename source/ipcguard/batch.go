package ipcguard

import (
	"encoding/binary"
	"fmt"
)

// maxRows bounds the rows of one batch independently of its bytes: a column of
// nulls has none.
const maxRows = 1 << 24

// maxValues bounds what the lists of a batch hold, of which booleans take an eighth of
// a byte and nulls none: whoever flattens lists needs some bytes for each.
const maxValues = 1 << 26

// Batch checks the metadata and body of one record batch message against the
// layout of its stream: counts, sizes, alignment, and every offset of strings,
// lists and maps. A batch that passes can be decoded and read at every row.
func (l *Layout) Batch(meta, body []byte) error {
	msg, kind, header, err := message(meta)
	if err != nil {
		return err
	}
	if kind != headerRecordBatch {
		return fmt.Errorf("a message is not a record batch")
	}
	if n, err := msg.scalar(3, 8, 0); err != nil || n != int64(len(body)) {
		return fmt.Errorf("a batch claims a body of %d bytes and has %d", n, len(body))
	}
	if _, compressed, err := header.sub(3); err != nil {
		return err
	} else if compressed {
		return fmt.Errorf("compressed batches are not accepted: turn IPC compression off")
	}
	rows, err := header.scalar(0, 8, 0)
	if err != nil {
		return err
	}
	if rows < 0 || rows > maxRows {
		return fmt.Errorf("a batch claims %d rows; at most %d are accepted", rows, maxRows)
	}
	b := batch{layout: l, w: header.w, body: body}
	if b.nodesAt, b.nodes, err = header.vector(1, 16); err != nil {
		return err
	}
	if b.buffersAt, b.buffers, err = header.vector(2, 16); err != nil {
		return err
	}
	if b.nodes != len(l.nodes) {
		return fmt.Errorf("a batch has %d arrays where its schema has %d", b.nodes, len(l.nodes))
	}
	for b.node < len(l.nodes) {
		if err := b.array(rows, true); err != nil {
			return err
		}
	}
	if b.buffer != b.buffers {
		return fmt.Errorf("a batch has %d buffers where its schema needs %d", b.buffers, b.buffer)
	}
	return nil
}

// batch is the walk over one record batch: the next node and the next buffer.
type batch struct {
	layout             *Layout
	w                  *walker
	body               []byte
	nodesAt, nodes     int
	buffersAt, buffers int
	node, buffer       int
}

// array checks the next node, its buffers and its children. Its length must be
// want, or at least want where a parent's offsets need that many.
func (b *batch) array(want int64, exact bool) error {
	n := b.layout.nodes[b.node]
	at := b.nodesAt + 16*b.node
	b.node++
	length, err := b.w.i64(at)
	if err != nil {
		return err
	}
	nulls, err := b.w.i64(at + 8)
	if err != nil {
		return err
	}
	if length < want || (exact && length != want) {
		return fmt.Errorf("column %q has %d values where %d are needed", n.path, length, want)
	}
	if length > maxValues || n.kind == typeNull && length > maxRows {
		return fmt.Errorf("column %q has %d values in one batch, which are too many", n.path, length)
	}
	if nulls < 0 || nulls > length {
		return fmt.Errorf("column %q has %d nulls among %d values", n.path, nulls, length)
	}
	if n.kind == typeNull {
		return nil
	}
	if err := b.validity(n, length, nulls); err != nil {
		return err
	}
	switch n.kind {
	case typeBinary, typeUtf8:
		return b.variable(n, length, 4)
	case typeLargeBinary, typeLargeUtf8:
		return b.variable(n, length, 8)
	case typeList, typeMap:
		return b.list(n, length, 4)
	case typeLargeList:
		return b.list(n, length, 8)
	case typeFixedSizeList:
		return b.array(length*int64(n.listSize), false)
	case typeStruct:
		for range n.children {
			if err := b.array(length, true); err != nil {
				return err
			}
		}
		return nil
	}
	data, err := b.next(n)
	if err != nil {
		return err
	}
	if need := (length*int64(n.bits) + 7) / 8; int64(len(data)) < need {
		return fmt.Errorf("column %q has %d bytes of values where %d are needed", n.path, len(data), need)
	}
	return nil
}

// next takes the next buffer's bytes.
func (b *batch) next(n node) ([]byte, error) {
	if b.buffer >= b.buffers {
		return nil, fmt.Errorf("column %q has too few buffers", n.path)
	}
	at := b.buffersAt + 16*b.buffer
	b.buffer++
	offset, err := b.w.i64(at)
	if err != nil {
		return nil, err
	}
	length, err := b.w.i64(at + 8)
	if err != nil {
		return nil, err
	}
	if offset < 0 || length < 0 || offset > int64(len(b.body)) || length > int64(len(b.body))-offset || offset%8 != 0 {
		return nil, fmt.Errorf("a buffer of column %q lies outside the batch", n.path)
	}
	return b.body[offset : offset+length], nil
}

func (b *batch) validity(n node, length, nulls int64) error {
	bits, err := b.next(n)
	if err != nil {
		return err
	}
	if nulls > 0 && int64(len(bits)) < (length+7)/8 {
		return fmt.Errorf("column %q has %d nulls and a validity of %d bytes", n.path, nulls, len(bits))
	}
	// A validity that is there but short would be read past its end although no
	// null is claimed.
	if len(bits) > 0 && int64(len(bits)) < (length+7)/8 {
		return fmt.Errorf("column %q has a validity of %d bytes for %d values", n.path, len(bits), length)
	}
	return nil
}

func (b *batch) variable(n node, length int64, width int) error {
	offsets, err := b.next(n)
	if err != nil {
		return err
	}
	data, err := b.next(n)
	if err != nil {
		return err
	}
	last, err := checkOffsets(n, offsets, length, width)
	if err != nil {
		return err
	}
	if last > int64(len(data)) {
		return fmt.Errorf("an offset of column %q points to byte %d of %d", n.path, last, len(data))
	}
	return nil
}

func (b *batch) list(n node, length int64, width int) error {
	offsets, err := b.next(n)
	if err != nil {
		return err
	}
	last, err := checkOffsets(n, offsets, length, width)
	if err != nil {
		return err
	}
	return b.array(last, false)
}

// checkOffsets verifies that length+1 offsets rise from a non-negative start and
// returns the last. An empty array may leave them out.
func checkOffsets(n node, raw []byte, length int64, width int) (int64, error) {
	if length == 0 && len(raw) == 0 {
		return 0, nil
	}
	if int64(len(raw)/width) < length+1 {
		return 0, fmt.Errorf("column %q has %d offsets for %d values", n.path, len(raw)/width, length)
	}
	last := int64(0)
	for i := range length + 1 {
		var next int64
		if width == 4 {
			next = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		} else {
			next = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		if next < last {
			return 0, fmt.Errorf("the offsets of column %q fall from %d to %d", n.path, last, next)
		}
		last = next
	}
	return last, nil
}
