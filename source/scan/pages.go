package scan

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/hubflight/hubflight/source/scan/column"
)

// maxPageBytes is the largest page that is read, compressed or not. The library's
// own default of 64 MiB compressed refuses image files that its writer makes with
// default settings.
const maxPageBytes = 256 << 20

// checkPages walks a chunk's page headers before the library sees them: column.Walk
// compares sizes, counts and checksums (the library never looks at those), and
// here are the claims that the library and its decoders trust.
func checkPages(data []byte, c chunk, leaf *schema.Column, codec compress.Compression) error {
	return column.Walk(column.Chunk{Off: c.off, Values: c.values}, data, maxPageBytes, func(p column.PageFacts) error {
		// Entries are allocated by their number, so it must fit their bytes.
		if need := minEntry(leaf); p.Dictionary && p.Values > p.Inflated/need {
			return fmt.Errorf("%d dictionary entries in %d bytes", p.Values, p.Inflated)
		}
		if codec == compress.Codecs.Snappy {
			return checkClaim(p)
		}
		return nil
	})
}

// minEntry is the least number of bytes that a dictionary entry takes.
func minEntry(leaf *schema.Column) int64 {
	switch leaf.PhysicalType() {
	case parquet.Types.Int32, parquet.Types.Float, parquet.Types.ByteArray:
		return 4
	case parquet.Types.Int64, parquet.Types.Double:
		return 8
	case parquet.Types.Int96:
		return 12
	case parquet.Types.FixedLenByteArray:
		return int64(max(leaf.TypeLength(), 1))
	}
	return 1
}

// checkClaim compares the length that Snappy data begin with.
func checkClaim(p column.PageFacts) error {
	if p.Plain || int64(len(p.Body)) == p.Levels {
		return nil // nothing of it, the library's to refuse
	}
	if got, n := binary.Uvarint(p.Body[p.Levels:]); n <= 0 || got != uint64(p.Inflated-p.Levels) {
		return fmt.Errorf("snappy data of %d bytes, the header says %d", got, p.Inflated-p.Levels)
	}
	return nil
}
