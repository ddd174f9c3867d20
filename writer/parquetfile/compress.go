package parquetfile

import (
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/s2"
)

// compressor compresses pages of one column. Its result is good until it is called again.
type compressor struct {
	codec compress.Codec // nil: as it is
	id    compress.Compression
	level int
	buf   []byte
}

func newCompressor(props *parquet.WriterProperties, path string) (compressor, error) {
	c := compressor{id: props.CompressionFor(path), level: props.CompressionLevelFor(path)}
	if c.id == compress.Codecs.Uncompressed {
		return c, nil
	}
	var err error
	c.codec, err = compress.GetCodec(c.id)
	return c, err
}

func (c *compressor) compress(page []byte) []byte {
	switch c.id {
	case compress.Codecs.Uncompressed:
		return page
	case compress.Codecs.Snappy:
		// The library's own takes twice the time for a few percent.
		if most := s2.MaxEncodedLen(len(page)); most > cap(c.buf) {
			c.buf = make([]byte, most)
		}
		return s2.EncodeSnappy(c.buf[:cap(c.buf)], page)
	}
	if most := int(c.codec.CompressBound(int64(len(page)))); most > cap(c.buf) {
		c.buf = make([]byte, most)
	}
	return c.codec.EncodeLevel(c.buf[:cap(c.buf)], page, c.level)
}
