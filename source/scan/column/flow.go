package column

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"

	"github.com/hubflight/hubflight/source/scan/snappy"
)

// Pages of large values are inflated piece by piece, as their values are taken: a page may have a hundred megabytes, which are neither
// held, stored or inflated, nor moved through memory more often than need be.

const (
	// flowPage is the smallest compressed page that is worth it: smaller ones stay in the processor's cache. flowStored is the smallest
	// of those that are only copied, and flowValue their smallest mean value.
	flowPage   = 4 << 20
	flowStored = 256 << 10
	flowValue  = 4 << 10
	// flowPiece of stored bytes are asked for at once.
	flowPiece = 256 << 10
	// flowWindow is what is inflated of a Snappy page at a time, behind what copies refer to.
	flowWindow = 192 << 10
	// widest is more than a Snappy copy makes.
	widest = 64
)

// into is a Source that can fill a block of its caller's, instead of one of its own.
type into interface {
	ReadInto(off int64, p []byte) error
}

// flow is a page that is inflated as it is read.
type flow struct {
	cursor *cursor
	codec  compress.Compression
	begin  int64 // of what is stored
	stored int64
	at     int64 // stored bytes that were asked for
	size   int64 // inflated
	pos    int64 // of it, read

	snappy   snappy.Pieces
	made     int64  // of the page
	window   []byte // the last of it: History and flowWindow
	from, to int    // what is in the window and not read
	whole    []byte // the page, if it must be inflated as one after all

	zstd   *zstd.Decoder
	failed error // the Source's, which the decoder does not pass on as it is
}

// piecewise: codecs that can be inflated so.
func piecewise(codec compress.Compression) bool {
	return codec == compress.Codecs.Uncompressed || codec == compress.Codecs.Snappy || codec == compress.Codecs.Zstd
}

// leastFlow is the smallest page to read by a flow.
func leastFlow(codec compress.Compression) int64 {
	if codec == compress.Codecs.Uncompressed {
		return flowStored
	}
	return flowPage
}

// flows reports whether the current page is one to read by a flow: PLAIN byte arrays, large ones, without a checksum, which would have to
// be computed first.
func (c *cursor) flows() bool {
	h := &c.head
	size, codec := h.uncompressed, c.pageCodec()
	if codec == compress.Codecs.Uncompressed {
		size = h.compressed
	}
	return piecewise(codec) && h.encoding == encPlain && c.layout.shape == shapeBinary && c.layout.stored == 0 && !isBoolean(c.chunk) && !h.hasCRC &&
		size >= leastFlow(codec) && size/flowValue >= h.values
}

// pageCodec is how the page's values are stored.
func (c *cursor) pageCodec() compress.Compression {
	if c.head.kind == pageDataV2 && c.head.plainValues {
		return compress.Codecs.Uncompressed
	}
	return c.chunk.Codec
}

// openFlow opens the page whose body of c.head.compressed bytes is at off.
func (c *cursor) openFlow(off int64) error {
	f := &c.flow
	f.close()
	h := &c.head
	*f = flow{cursor: c, codec: c.pageCodec(), window: f.window}
	levels := int64(0)
	if h.kind == pageDataV2 {
		levels = h.repBytes + h.defBytes
		if err := c.flowLevelsV2(off, levels); err != nil {
			return err
		}
	}
	f.begin, f.stored, f.size = off+levels, h.compressed-levels, h.uncompressed-levels
	if f.codec == compress.Codecs.Uncompressed {
		f.size = f.stored
	}
	if err := checkRatio(f.codec, f.size, f.stored); err != nil {
		return err
	}
	if f.codec == compress.Codecs.Snappy && f.window == nil {
		f.window = c.mem.Allocate(snappy.History + flowWindow)
	}
	if err := f.start(); err != nil {
		return err
	}
	if h.kind != pageDataV2 {
		if err := c.flowLevelsV1(); err != nil {
			return err
		}
	}
	c.values.mode, c.values.data, c.values.flow = modeFlow, nil, f
	return nil
}

// flowLevelsV2 copies the levels, which lie in front of the page.
func (c *cursor) flowLevelsV2(off, n int64) error {
	body, err := c.bytes(off, n)
	if err != nil {
		return err
	}
	levels := append(c.flowLevels[:0], body...)
	c.flowLevels = levels
	c.openLevelsV2(levels)
	return nil
}

// flowLevelsV1 copies the levels off the page's beginning.
func (c *cursor) flowLevelsV1() error {
	c.flowLevels = c.flowLevels[:0]
	if err := c.flowBlock(c.chunk.MaxRep, c.head.repEnc); err != nil {
		return err
	}
	if err := c.flowBlock(c.chunk.MaxDef, c.head.defEnc); err != nil {
		return err
	}
	_, err := c.openLevelsV1(c.flowLevels)
	return err
}

// flowBlock copies a block of levels, its length included.
func (c *cursor) flowBlock(most int16, encoding int64) error {
	if most == 0 {
		return nil
	}
	size := (c.head.values*int64(levelWidth(most)) + 7) / 8
	if encoding != encBitPacked {
		var length [4]byte
		if err := c.flow.read(length[:]); err != nil {
			return err
		}
		c.flowLevels = append(c.flowLevels, length[:]...)
		size = int64(binary.LittleEndian.Uint32(length[:]))
	}
	if size > c.flow.left() {
		return errRunEnd
	}
	at := len(c.flowLevels)
	c.flowLevels = append(c.flowLevels, make([]byte, size)...)
	return c.flow.read(c.flowLevels[at:])
}

func (f *flow) left() int64 { return f.size - f.pos }

// close gives back what is not kept for the next page.
func (f *flow) close() {
	if f.whole != nil {
		f.cursor.mem.Free(f.whole)
		f.whole = nil
	}
	if f.zstd != nil {
		f.cursor.scratch.keepStream(f.zstd)
		f.zstd = nil
	}
}

func (f *flow) release() {
	f.close()
	if f.window != nil {
		f.cursor.mem.Free(f.window)
		f.window = nil
	}
}

// start prepares the decoder.
func (f *flow) start() error {
	switch f.codec {
	case compress.Codecs.Snappy:
		head, err := f.cursor.bytes(f.begin, min(f.stored, binary.MaxVarintLen64))
		if err != nil {
			return err
		}
		size, n := binary.Uvarint(head)
		if n <= 0 || size != uint64(f.size) {
			return errInflated
		}
		f.at = int64(n)
	case compress.Codecs.Zstd:
		var err error
		f.zstd, err = f.cursor.scratch.stream(f, f.cursor.limit)
		return err
	}
	return nil
}

// read fills p with the page's next bytes.
func (f *flow) read(p []byte) error {
	if int64(len(p)) > f.left() {
		return errValuesEnd
	}
	f.pos += int64(len(p))
	switch {
	case f.whole != nil:
		copy(p, f.whole[f.pos-int64(len(p)):])
		return nil
	case f.codec == compress.Codecs.Uncompressed:
		return f.readStored(p)
	case f.codec == compress.Codecs.Zstd:
		return f.readZstd(p)
	}
	for len(p) > 0 {
		n := copy(p, f.window[f.from:f.to])
		p, f.from = p[n:], f.from+n
		if len(p) == 0 {
			break
		}
		if err := f.inflate(); err != nil {
			if !errors.Is(err, snappy.ErrFar) {
				return err
			}
			if err := f.inflateWhole(); err != nil {
				return err
			}
			copy(p, f.whole[f.pos-int64(len(p)):])
			break
		}
	}
	return nil
}

func (f *flow) readZstd(p []byte) error {
	_, err := io.ReadFull(f.zstd, p)
	switch {
	case f.failed != nil:
		return f.failed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errInflated
	}
	return err
}

// readStored fills p with stored bytes, if possible without a copy of them in between.
func (f *flow) readStored(p []byte) error {
	if source, ok := f.cursor.chunk.Source.(into); ok {
		if err := source.ReadInto(f.begin+f.at, p); err != nil {
			return errSource{err}
		}
		f.at += int64(len(p))
		return nil
	}
	for len(p) > 0 {
		piece, err := f.cursor.bytes(f.begin+f.at, min(int64(len(p)), flowPiece))
		if err != nil {
			return err
		}
		n := copy(p, piece)
		p, f.at = p[n:], f.at+int64(n)
	}
	return nil
}

// inflate makes more of a Snappy page, when all that was made is read.
func (f *flow) inflate() error {
	if keep := snappy.History; len(f.window)-f.to < widest {
		f.snappy.Drop(f.to - keep)
		copy(f.window, f.window[f.to-keep:f.to])
		f.from, f.to = keep, keep
	}
	room := min(int64(len(f.window)-f.to), f.size-f.made)
	to, err := f.next(f.window[:f.to+int(room)], f.to)
	f.made += int64(to - f.to)
	f.to = to
	return err
}

// next inflates the next stored bytes of a Snappy page to dst[o:], and returns how far it came.
func (f *flow) next(dst []byte, o int) (int, error) {
	piece, err := f.cursor.bytes(f.begin+f.at, min(f.stored-f.at, flowPiece))
	if err != nil {
		return o, err
	}
	to, taken, err := f.snappy.Next(dst, o, piece)
	if err == nil && to == o && taken == 0 {
		return o, errInflated
	}
	f.at += int64(taken)
	return to, err
}

// inflatePieces fills dst with what the n stored bytes at off stand for, of which only a part is held at a time.
func (c *cursor) inflatePieces(dst []byte, off, n int64) (err error) {
	f := flow{cursor: c, codec: c.chunk.Codec, begin: off, stored: n, size: int64(len(dst))}
	defer f.close()
	if err := f.start(); err != nil || f.codec != compress.Codecs.Snappy {
		if err == nil {
			err = f.read(dst)
		}
		return err
	}
	for o := 0; err == nil && (o < len(dst) || f.at < f.stored); {
		o, err = f.next(dst, o)
	}
	return err
}

// inflateWhole inflates a Snappy page that cannot be inflated in pieces.
func (f *flow) inflateWhole() error {
	block, err := f.cursor.bytes(f.begin, f.stored)
	if err != nil {
		return err
	}
	f.whole = f.cursor.mem.Allocate(int(f.size))
	return snappy.Decode(f.whole, block)
}

// Read gives the zstd decoder what is stored.
func (f *flow) Read(p []byte) (int, error) {
	if f.at == f.stored {
		return 0, io.EOF
	}
	piece, err := f.cursor.bytes(f.begin+f.at, min(int64(len(p)), f.stored-f.at, flowPiece))
	if err != nil {
		f.failed = err
		return 0, err
	}
	f.at += int64(len(piece))
	return copy(p, piece), nil
}

// skip passes n bytes.
func (f *flow) skip(n int64) error {
	if n > f.left() {
		return errValuesEnd
	}
	if f.whole != nil || f.codec == compress.Codecs.Uncompressed {
		f.pos, f.at = f.pos+n, f.at+n
		return nil
	}
	for n > 0 {
		block := f.cursor.scratch.rawBlock(int(min(n, 8*blockValues)))
		if err := f.read(block); err != nil {
			return err
		}
		n -= int64(len(block))
	}
	return nil
}

// length reads how long the next value is, which the page has.
func (f *flow) length() (int, error) {
	var head [4]byte
	if err := f.read(head[:]); err != nil {
		return 0, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > f.left() {
		return 0, errValuesEnd
	}
	return int(n), nil
}

func (v *values) takeFlow(s *sink, n int) error {
	f := v.flow
	if s.used == 0 {
		// The page's mean tells how much they take, about; the fewer, the less exactly.
		mean := float64(f.size) / float64(max(f.cursor.head.values, 1))
		most := mean * (1.05*float64(n) + math.Sqrt(float64(n))/2)
		if err := s.reserve(int(min(most, float64(f.left())))); err != nil {
			return err
		}
	}
	for range n {
		size, err := f.length()
		if err != nil {
			return err
		}
		if err := s.reserve(size); err != nil {
			return err
		}
		if err := f.read(s.data.Buf()[s.used : s.used+size]); err != nil {
			return err
		}
		s.used += size
		s.nextOffsets(1)[0] = int32(s.used)
	}
	return nil
}

func (v *values) skipFlow(n int) error {
	for range n {
		size, err := v.flow.length()
		if err != nil {
			return err
		}
		if err := v.flow.skip(int64(size)); err != nil {
			return err
		}
	}
	return nil
}
