package snappy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// inPieces inflates a block of n bytes from random pieces of it into a window of random room.
func inPieces(rng *rand.Rand, block []byte, n int) ([]byte, error) {
	_, k := binary.Uvarint(block)
	var (
		p      Pieces
		out    []byte
		window = make([]byte, History+64+rng.IntN(1<<rng.IntN(18)))
		o      = 0
	)
	for at := k; at < len(block) || len(out) < n; {
		if len(window)-o < 64 {
			p.Drop(o - History)
			copy(window, window[o-History:o])
			o = History
		}
		piece := block[at:min(len(block), at+8+rng.IntN(1<<rng.IntN(18)))]
		next, taken, err := p.Next(window[:min(len(window), o+n-len(out))], o, piece)
		if err != nil {
			return out, err
		}
		if next == o && taken == 0 {
			return out, ErrCorrupt
		}
		out = append(out, window[o:next]...)
		o, at = next, at+taken
	}
	return out, nil
}

// fragments encodes as the reference does: no copy reaches into an earlier 64 KiB.
func fragments(raw []byte) []byte {
	block := binary.AppendUvarint(nil, uint64(len(raw)))
	for len(raw) > 0 {
		fragment := snappy.Encode(nil, raw[:min(len(raw), 64<<10)])
		_, k := binary.Uvarint(fragment)
		block, raw = append(block, fragment[k:]...), raw[min(len(raw), 64<<10):]
	}
	return block
}

func TestPiecesMakeWhatTheWholeBlockMakes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for name, raw := range shapes() {
		for range 20 {
			part := raw[rng.IntN(len(raw)):]
			got, err := inPieces(rng, fragments(part), len(part))
			if err != nil || !bytes.Equal(got, part) {
				t.Fatalf("%s, %d bytes: %d, %v", name, len(part), len(got), err)
			}
			got, err = inPieces(rng, snappy.Encode(nil, part), len(part))
			if err != nil && !errors.Is(err, ErrFar) || err == nil && len(got) < len(part) || !bytes.HasPrefix(part, got) {
				t.Fatalf("%s, %d bytes, far copies: %d, %v", name, len(part), len(got), err)
			}
		}
	}
}

func TestDamagedBlocksInPiecesAreErrorsWhereTheWholeBlockIsOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var blocks [][]byte
	for _, raw := range shapes() {
		blocks = append(blocks, snappy.Encode(nil, raw[:5000]))
	}
	for i := range 5_000 {
		block := bytes.Clone(blocks[i%len(blocks)])
		for range 1 + rng.IntN(3) {
			block[2+rng.IntN(len(block)-2)] = byte(rng.Uint32())
		}
		want := make([]byte, 5000)
		errWant := Decode(want, block)
		got, err := inPieces(rng, block, 5000)
		if (err == nil) != (errWant == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("block %d: %v in pieces, %v as a whole", i, err, errWant)
		}
	}
}

func TestACopyFromBehindTheWindowIsFar(t *testing.T) {
	var p Pieces
	p.Drop(100_000)
	far := []byte{3<<2 | 3, 0, 0, 0, 0}
	for off, want := range map[uint32]error{70_000: ErrFar, 165_536: ErrFar, 165_537: ErrCorrupt, 0: ErrCorrupt, 65_536: nil} {
		binary.LittleEndian.PutUint32(far[1:], off)
		if _, _, err := p.Next(make([]byte, History+100), History, far); !errors.Is(err, want) {
			t.Errorf("offset %d: %v, want %v", off, err, want)
		}
	}
}

func BenchmarkPieces(b *testing.B) {
	for name, raw := range shapes() {
		block := fragments(raw)
		_, k := binary.Uvarint(block)
		dst := make([]byte, len(raw))
		for _, piece := range []int{4 << 10, 256 << 10} {
			b.Run(fmt.Sprintf("data=%s/piece=%d", name, piece), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					var p Pieces
					o := 0
					for at := k; at < len(block); {
						next, taken, err := p.Next(dst, o, block[at:min(len(block), at+piece)])
						if err != nil {
							b.Fatal(err)
						}
						o, at = next, at+taken
					}
					if o != len(raw) {
						b.Fatal(o)
					}
				}
				if !bytes.Equal(dst, raw) {
					b.Fatal("the output differs")
				}
			})
		}
	}
}
