package column

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

type bytesOf []byte

func (b bytesOf) Bytes(off int64, n int) ([]byte, error) { return b[off : off+int64(n)], nil }

// farBlock is a Snappy block of two equal values, the second as one run of copies of the first, further back than any window.
func farBlock(value []byte) (block []byte, size int) {
	size = 2 * (4 + len(value))
	block = binary.AppendUvarint(nil, uint64(size))
	n := 4 + len(value)
	block = append(block, 63<<2, byte(n-1), byte((n-1)>>8), byte((n-1)>>16), byte((n-1)>>24))
	block = binary.LittleEndian.AppendUint32(block, uint32(len(value)))
	block = append(block, value...)
	for left := n; left > 0; left -= min(left, 64) {
		block = append(block, byte(min(left, 64)-1)<<2|3)
		block = binary.LittleEndian.AppendUint32(block, uint32(n))
	}
	return block, size
}

func TestACopyFromFurtherBackThanIsKeptInflatesThePageAsAWhole(t *testing.T) {
	value := make([]byte, 3<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	block, size := farBlock(value)
	for _, skip := range []int{0, 1} {
		mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
		chunk := &Chunk{Physical: parquet.Types.ByteArray, Codec: compress.Codecs.Snappy, Len: int64(len(block)), Source: bytesOf(block)}
		lay, _ := layoutOf(arrow.BinaryTypes.Binary, chunk)
		c := cursor{chunk: chunk, layout: lay, limit: defaultMaxPageBytes, mem: mem, scratch: NewScratch()}
		c.head = pageHeader{compressed: int64(len(block)), uncompressed: int64(size), values: 2, hasBody: true}
		if !c.flows() {
			t.Fatal("the page is not read by a flow")
		}
		s := sink{layout: lay, typ: arrow.BinaryTypes.Binary, mem: mem}
		s.reset(2)
		if err := c.openFlow(0); err != nil {
			t.Fatal(err)
		}
		if err := c.values.skip(skip); err != nil {
			t.Fatal(err)
		}
		if err := c.values.take(&s, 2-skip); err != nil {
			t.Fatal(err)
		}
		if c.flow.whole == nil {
			t.Error("the page was inflated in pieces")
		}
		s.valid.appendOnes(2 - skip)
		out, err := s.finish()
		if err != nil {
			t.Fatal(err)
		}
		arr := array.MakeFromData(out).(*array.Binary)
		for i := range arr.Len() {
			if !bytes.Equal(arr.Value(i), value) {
				t.Errorf("skip %d: value %d differs", skip, i)
			}
		}
		arr.Release()
		out.Release()
		c.release()
		mem.AssertSize(t, 0)
	}
}
