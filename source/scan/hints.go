package scan

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// The Arrow schema that a writer left in the footer under ARROW:schema tells
// what Parquet cannot: large types, zones, durations, fixed-size lists,
// extension names. It is an IPC message in base64. Decoding foreign IPC with the
// library can end the process (it allocates what a length field says), and only
// a few facts are wanted, so they are read here straight from the flatbuffer,
// every offset checked. Whatever does not fit is no hint: the Parquet types
// alone are always a right answer.

// arrowKind is the Type union of Arrow's Schema.fbs.
type arrowKind uint8

const (
	kindDecimal       arrowKind = 7
	kindTimestamp     arrowKind = 10
	kindList          arrowKind = 12
	kindStruct        arrowKind = 13
	kindFixedSizeList arrowKind = 16
	kindMap           arrowKind = 17
	kindDuration      arrowKind = 18
	kindLargeBinary   arrowKind = 19
	kindLargeUtf8     arrowKind = 20
	kindLargeList     arrowKind = 21
	kindListView      arrowKind = 25
	kindLargeListView arrowKind = 26
	kindLargestKnown  arrowKind = 26
)

// hint is what the stored schema says about one field. Views are hints of the
// plain types that every client knows. A dictionary gives none, as with pyarrow:
// its values have the type that Parquet alone gives them.
type hint struct {
	kind     arrowKind
	unit     int16  // timestamp, duration: 0 s, 1 ms, 2 µs, 3 ns
	zone     string // timestamp
	size     int32  // fixed-size list
	bits     int32  // decimal
	extName  string // ARROW:extension:name
	extMeta  string // ARROW:extension:metadata
	children []hint
}

const (
	maxHintBytes   = 4 << 20 // of base64
	maxHintStrings = 4 << 20 // of names and metadata, counted per use
	maxZone        = 64

	extensionName = "ARROW:extension:name"
	extensionMeta = "ARROW:extension:metadata"
)

// readHints returns one hint per top-level field, or nil if there is nothing
// usable.
func readHints(encoded string) []hint {
	if len(encoded) == 0 || len(encoded) > maxHintBytes {
		return nil
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil || len(raw) < 8 {
		return nil
	}
	// Either a continuation marker and a length, or the length alone (before 0.15).
	if binary.LittleEndian.Uint32(raw) == 0xFFFFFFFF {
		raw = raw[4:]
	}
	if len(raw) < 8 {
		return nil
	}
	raw = raw[4:]
	b := &flatbuf{data: raw, fields: maxSchemaElements, text: maxHintStrings}
	const headerSchema = 1
	message := b.root()
	if b.u8(message, 1) != headerSchema {
		return nil
	}
	out := b.fieldList(b.ref(message, 2), 1, 1)
	if b.bad {
		return nil
	}
	return out
}

// flatbuf reads tables of a flatbuffer. Any read out of bounds sets bad and
// gives zero.
type flatbuf struct {
	data   []byte
	bad    bool
	fields int // fields still accepted
	text   int // bytes of strings still accepted
}

func (b *flatbuf) root() int { return b.follow(0) }

func (b *flatbuf) u32(at int) uint32 {
	if at < 0 || at+4 > len(b.data) {
		b.bad = true
		return 0
	}
	return binary.LittleEndian.Uint32(b.data[at:])
}

func (b *flatbuf) u16(at int) uint16 {
	if at < 0 || at+2 > len(b.data) {
		b.bad = true
		return 0
	}
	return binary.LittleEndian.Uint16(b.data[at:])
}

// follow resolves the offset stored at a place.
func (b *flatbuf) follow(at int) int {
	off := b.u32(at)
	if off == 0 || uint64(at)+uint64(off) > uint64(len(b.data)) {
		b.bad = true
		return -1
	}
	return at + int(off)
}

// slot finds field n of a table: its position, or -1 if it holds its default.
func (b *flatbuf) slot(table, n int) int {
	if table < 0 || b.bad {
		return -1
	}
	vtable := table - int(int32(b.u32(table)))
	size := int(b.u16(vtable))
	entry := 4 + 2*n
	if b.bad || entry+2 > size {
		return -1
	}
	off := int(b.u16(vtable + entry))
	if off == 0 || b.bad {
		return -1
	}
	return table + off
}

func (b *flatbuf) u8(table, n int) byte {
	at := b.slot(table, n)
	if at < 0 || at >= len(b.data) {
		return 0
	}
	return b.data[at]
}

func (b *flatbuf) i16(table, n int, missing int16) int16 {
	if at := b.slot(table, n); at >= 0 {
		return int16(b.u16(at))
	}
	return missing
}

func (b *flatbuf) i32(table, n int, missing int32) int32 {
	if at := b.slot(table, n); at >= 0 {
		return int32(b.u32(at))
	}
	return missing
}

// ref is the table, vector or string that a field points to, or -1.
func (b *flatbuf) ref(table, n int) int {
	at := b.slot(table, n)
	if at < 0 {
		return -1
	}
	return b.follow(at)
}

func (b *flatbuf) str(table, n int) string {
	at := b.ref(table, n)
	if at < 0 {
		return ""
	}
	size := int(b.u32(at))
	if b.bad || size > b.text || size > len(b.data)-at-4 {
		b.bad = true
		return ""
	}
	b.text -= size
	s := b.data[at+4 : at+4+size]
	if !utf8.Valid(s) {
		b.bad = true
		return ""
	}
	return string(s)
}

// vector returns the positions of the tables in a vector of tables.
func (b *flatbuf) vector(table, n int) []int {
	at := b.ref(table, n)
	if at < 0 {
		return nil
	}
	count := int(b.u32(at))
	if b.bad || count > b.fields || count > (len(b.data)-at-4)/4 {
		b.bad = true
		return nil
	}
	b.fields -= count
	out := make([]int, count)
	for i := range out {
		out[i] = b.follow(at + 4 + 4*i)
	}
	return out
}

func (b *flatbuf) fieldList(table, slot, depth int) []hint {
	if depth > maxSchemaDepth {
		b.bad = true
	}
	if b.bad {
		return nil
	}
	places := b.vector(table, slot)
	out := make([]hint, len(places))
	for i, at := range places {
		out[i] = b.field(at, depth)
		if b.bad {
			return nil
		}
	}
	return out
}

// field reads one Field table: 2 type kind, 3 type, 4 dictionary, 5 children, 6 metadata.
func (b *flatbuf) field(at, depth int) hint {
	h := hint{kind: arrowKind(b.u8(at, 2))}
	if h.kind > kindLargestKnown {
		b.bad = true
		return h
	}
	typ := b.ref(at, 3)
	if b.ref(at, 4) >= 0 { // dictionary-encoded
		h.kind = 0
	}
	switch h.kind {
	case kindListView:
		h.kind = kindList
	case kindLargeListView:
		h.kind = kindLargeList
	case kindTimestamp:
		h.unit, h.zone = b.i16(typ, 0, 0), b.str(typ, 1)
		if h.unit < 0 || h.unit > 3 || len(h.zone) > maxZone {
			b.bad = true
		}
	case kindDuration:
		if h.unit = b.i16(typ, 0, 1); h.unit < 0 || h.unit > 3 {
			b.bad = true
		}
	case kindFixedSizeList:
		if h.size = b.i32(typ, 0, 0); h.size < 0 {
			b.bad = true
		}
	case kindDecimal:
		h.bits = b.i32(typ, 2, 128)
	}
	for _, kv := range b.vector(at, 6) {
		switch b.str(kv, 0) {
		case extensionName:
			h.extName = b.str(kv, 1)
		case extensionMeta:
			h.extMeta = b.str(kv, 1)
		}
	}
	h.children = b.fieldList(at, 5, depth+1)
	return h
}
