package ipcguard

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errTruncated is every "points outside the buffer" of a FlatBuffer.
var errTruncated = errors.New("the message metadata points outside itself")

// walker reads one FlatBuffer with every access checked. visits and text bound
// the total work, because tables and strings may be shared: a small buffer can
// describe an exponentially large tree, and the decoder copies a string as often
// as it is referred to.
type walker struct {
	buf    []byte
	visits int
	text   int // bytes of strings, counted per use
}

const (
	maxVisits = 1 << 18
	maxText   = 32 << 20 // HF features of a dataset with thousands of class names take a few of them
)

// use counts n bytes of a string that the decoder will copy.
func (w *walker) use(n int) error {
	if w.text += n; w.text > maxText {
		return fmt.Errorf("the names and metadata of the message have more than %d bytes", maxText)
	}
	return nil
}

// table is a position in the buffer whose vtable has been checked.
type table struct {
	w          *walker
	pos        int
	vtab, size int // vtable's start and length in bytes
}

func (w *walker) u16(at int) (int, error) {
	if at < 0 || at > len(w.buf)-2 {
		return 0, errTruncated
	}
	return int(binary.LittleEndian.Uint16(w.buf[at:])), nil
}

func (w *walker) u32(at int) (int, error) {
	if at < 0 || at > len(w.buf)-4 {
		return 0, errTruncated
	}
	return int(binary.LittleEndian.Uint32(w.buf[at:])), nil
}

func (w *walker) i64(at int) (int64, error) {
	if at < 0 || at > len(w.buf)-8 {
		return 0, errTruncated
	}
	return int64(binary.LittleEndian.Uint64(w.buf[at:])), nil
}

// root is the table that the buffer's first word points to.
func (w *walker) root() (table, error) {
	return w.indirect(0)
}

// indirect follows the unsigned offset stored at a position to a table.
func (w *walker) indirect(at int) (table, error) {
	off, err := w.u32(at)
	if err != nil {
		return table{}, err
	}
	return w.table(at + off)
}

func (w *walker) table(pos int) (table, error) {
	if w.visits++; w.visits > maxVisits {
		return table{}, fmt.Errorf("the message metadata has more than %d parts", maxVisits)
	}
	raw, err := w.u32(pos)
	if err != nil {
		return table{}, err
	}
	vtab := pos - int(int32(uint32(raw)))
	size, err := w.u16(vtab)
	if err != nil {
		return table{}, err
	}
	if size < 4 || vtab > len(w.buf)-size {
		return table{}, errTruncated
	}
	return table{w: w, pos: pos, vtab: vtab, size: size}, nil
}

// field returns the position of field number i, or 0 when it is absent.
func (t table) field(i int) (int, error) {
	slot := 4 + 2*i
	if slot+2 > t.size {
		return 0, nil
	}
	off, err := t.w.u16(t.vtab + slot)
	if err != nil || off == 0 {
		return 0, err
	}
	return t.pos + off, nil
}

// scalar reads an integer field of width bytes, with its default when absent.
func (t table) scalar(i, width int, absent int64) (int64, error) {
	at, err := t.field(i)
	if err != nil || at == 0 {
		return absent, err
	}
	if at < 0 || at > len(t.w.buf)-width {
		return 0, errTruncated
	}
	b := t.w.buf[at:]
	switch width {
	case 1:
		return int64(int8(b[0])), nil
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b))), nil
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b))), nil
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

// sub follows a table field; ok is false when it is absent.
func (t table) sub(i int) (sub table, ok bool, err error) {
	at, err := t.field(i)
	if err != nil || at == 0 {
		return table{}, false, err
	}
	sub, err = t.w.indirect(at)
	return sub, err == nil, err
}

// vector returns the first element's position and the number of elements of a
// vector field; an absent one is empty.
func (t table) vector(i, elem int) (start, n int, err error) {
	at, err := t.field(i)
	if err != nil || at == 0 {
		return 0, 0, err
	}
	off, err := t.w.u32(at)
	if err != nil {
		return 0, 0, err
	}
	if n, err = t.w.u32(at + off); err != nil {
		return 0, 0, err
	}
	start = at + off + 4
	if n > (len(t.w.buf)-start)/elem {
		return 0, 0, errTruncated
	}
	return start, n, nil
}

// text reads a string field of at most limit bytes.
func (t table) text(i, limit int) (string, error) {
	start, n, err := t.vector(i, 1)
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", fmt.Errorf("a name has %d bytes; at most %d are accepted", n, limit)
	}
	if err := t.w.use(n); err != nil {
		return "", err
	}
	return string(t.w.buf[start : start+n]), nil
}
