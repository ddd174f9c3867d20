package parquetfile

import (
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/s2"
)

// workspace is memory for one page at a time. The columns of a file share it, so that not each of them has to find out how large pages become.
type workspace struct {
	body, packed, head []byte
}

// compressor compresses pages of one column.
type compressor struct {
	codec compress.Codec // nil: as it is
	id    compress.Compression
	level int
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

// compress returns the page in the workspace, or as it is.
func (c *compressor) compress(w *workspace, page []byte) []byte {
	switch c.id {
	case compress.Codecs.Uncompressed:
		return page
	case compress.Codecs.Snappy:
		// The library's own takes twice the time for a few percent.
		return s2.EncodeSnappy(w.room(s2.MaxEncodedLen(len(page))), page)
	}
	return c.codec.EncodeLevel(w.room(int(c.codec.CompressBound(int64(len(page))))), page, c.level)
}

// room is for n bytes: some more is made, because the next page may be a little larger.
func (w *workspace) room(n int) []byte {
	if n > cap(w.packed) {
		w.packed = make([]byte, n+n/8)
	}
	return w.packed[:cap(w.packed)]
}
