package column

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/hubflight/hubflight/source/scan/snappy"
)

// blockValues is how many values are decoded at a time where they pass through scratch.
const blockValues = 1024

// Scratch is memory that the Readers of one worker share: inflaters and blocks of indices. It belongs to one goroutine at a time.
type Scratch struct {
	indices [blockValues]uint32
	deltas  [blockValues]int64
	kept    [windowRows]uint32
	raw     []byte

	zstd        *zstd.Decoder
	zstdLimit   int64
	streams     []*zstd.Decoder // for flows, idle
	streamLimit int64
	gzip        *gzip.Reader
	brotli      *brotli.Reader
	input       bytes.Reader
}

// NewScratch makes a Scratch. What it needs it makes when it is first needed.
func NewScratch() *Scratch { return &Scratch{} }

// Close frees it; no Reader may use it afterwards.
func (s *Scratch) Close() {
	if s.zstd != nil {
		s.zstd.Close()
		s.zstd = nil
	}
	for _, d := range s.streams {
		d.Close()
	}
	s.streams = nil
}

// stream is a decoder that reads from r, until it is given back.
func (s *Scratch) stream(r io.Reader, limit int64) (*zstd.Decoder, error) {
	if n := len(s.streams); n > 0 && s.streamLimit == limit {
		d := s.streams[n-1]
		s.streams = s.streams[:n-1]
		return d, d.Reset(r)
	}
	s.streamLimit = limit
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)), zstd.WithDecoderLowmem(true))
}

func (s *Scratch) keepStream(d *zstd.Decoder) {
	if d.Reset(nil) != nil || len(s.streams) >= idleStreams {
		d.Close()
		return
	}
	s.streams = append(s.streams, d)
}

// idleStreams are kept: as many as there are columns of large values.
const idleStreams = 4

// rawBlock is n bytes that nobody else keeps.
func (s *Scratch) rawBlock(n int) []byte {
	if len(s.raw) < n {
		s.raw = make([]byte, max(n, 8*blockValues))
	}
	return s.raw[:n]
}

var errInflated = errors.New("the compressed data have another length than the page header says")

// Bounds of what a byte of compressed data can stand for, with room to spare: they stop a page header from asking for memory that its
// data cannot fill. Snappy: 64 bytes from 2; LZ4: 255 from one; deflate: 1032 from one.
const (
	snappyRatio  = 64
	lz4Ratio     = 256
	deflateRatio = 1100
)

// checkRatio refuses sizes that a codec cannot reach.
func checkRatio(codec compress.Compression, size, compressed int64) error {
	var ratio int64
	switch codec {
	case compress.Codecs.Snappy:
		ratio = snappyRatio
	case compress.Codecs.Lz4Raw:
		ratio = lz4Ratio
	case compress.Codecs.Gzip:
		ratio = deflateRatio
	default:
		return nil
	}
	if size > (compressed+16)*ratio {
		return fmt.Errorf("%d bytes of %s data cannot hold the page's %d", compressed, codec, size)
	}
	return nil
}

// inflate fills dst, which has exactly the page's length.
func (s *Scratch) inflate(codec compress.Compression, dst, src []byte, limit int64) error {
	switch codec {
	case compress.Codecs.Snappy:
		return snappy.Decode(dst, src)
	case compress.Codecs.Zstd:
		return s.inflateZstd(dst, src, limit)
	case compress.Codecs.Lz4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err != nil {
			return err
		}
		if n != len(dst) {
			return errInflated
		}
		return nil
	case compress.Codecs.Gzip:
		return s.inflateGzip(dst, src)
	case compress.Codecs.Brotli:
		s.input.Reset(src)
		if s.brotli == nil {
			s.brotli = brotli.NewReader(&s.input)
		} else if err := s.brotli.Reset(&s.input); err != nil {
			return err
		}
		return exactly(s.brotli, dst)
	}
	return &Error{Kind: Unsupported, Err: fmt.Errorf("compression %s", codec)}
}

func (s *Scratch) inflateZstd(dst, src []byte, limit int64) error {
	if s.zstd == nil || s.zstdLimit < limit {
		if s.zstd != nil {
			s.zstd.Close()
		}
		// One decoder, no goroutines; the window of a frame is no larger than a page.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		s.zstd, s.zstdLimit = d, limit
	}
	// Behind the page is room that a frame is refused for, but that the decoder may copy to in whole words.
	out, err := s.zstd.DecodeAll(src, dst[:0:min(cap(dst), len(dst)+slack)])
	if err != nil {
		return err
	}
	if len(out) != len(dst) {
		return errInflated
	}
	return nil
}

func (s *Scratch) inflateGzip(dst, src []byte) error {
	s.input.Reset(src)
	if s.gzip == nil {
		r, err := gzip.NewReader(&s.input)
		if err != nil {
			return err
		}
		s.gzip = r
	} else if err := s.gzip.Reset(&s.input); err != nil {
		return err
	}
	return exactly(s.gzip, dst)
}

// exactly reads len(dst) bytes, after which r must end.
func exactly(r io.Reader, dst []byte) error {
	if _, err := io.ReadFull(r, dst); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errInflated
		}
		return err
	}
	var more [1]byte
	for range 3 {
		n, err := r.Read(more[:])
		if n > 0 {
			return errInflated
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
