package column

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/zstd"
)

// zstdFrames are frames of raw, with and without their length in front.
func zstdFrames(t *testing.T, raw []byte) [][]byte {
	t.Helper()
	var stream bytes.Buffer
	w, err := zstd.NewWriter(&stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range [][]byte{raw[:len(raw)/2], raw[len(raw)/2:]} {
		if _, err := w.Write(half); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return [][]byte{w.EncodeAll(raw, nil), stream.Bytes()}
}

// words is n bytes that compress, not all into one run.
func words(n int) []byte {
	rng := rand.New(rand.NewPCG(4, 4))
	var out []byte
	for len(out) < n {
		out = fmt.Appendf(out, "the %d of %d ", rng.IntN(50), rng.IntN(1000))
	}
	return out[:n]
}

func TestAZstdPageOfAnotherLengthThanItsHeaderSaysIsRefusedThoughThereIsRoomForIt(t *testing.T) {
	const guard = 64
	scratch := NewScratch()
	defer scratch.Close()
	for _, page := range []int{1, 100, 60_000, 300_000} {
		for _, length := range []int{page - 1, page, page + 1, page + slack - 1, page + slack, page + slack + 1, 2*page + slack} {
			raw := words(length)
			for i, frame := range zstdFrames(t, raw) {
				buf := bytes.Repeat([]byte{0xa5}, page+slack+guard)
				err := scratch.inflate(compress.Codecs.Zstd, buf[:page], frame, defaultMaxPageBytes)
				if (err == nil) != (length == page) {
					t.Errorf("a page of %d bytes, frame %d of %d: %v", page, i, length, err)
				}
				if length == page && !bytes.Equal(buf[:page], raw) {
					t.Errorf("a page of %d bytes, frame %d: other bytes", page, i)
				}
				if bytes.Count(buf[page+slack:], []byte{0xa5}) != guard {
					t.Errorf("a page of %d bytes, frame %d of %d: bytes behind the room were written", page, i, length)
				}
			}
		}
	}
}

// BenchmarkInflateZstd inflates pages into a buffer of their own length, and into one with the room that cursors leave behind.
func BenchmarkInflateZstd(b *testing.B) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		b.Fatal(err)
	}
	for _, page := range []int{64 << 10, 1 << 20} {
		raw := words(page)
		frame := enc.EncodeAll(raw, nil)
		for _, room := range []int{0, slack} {
			b.Run(fmt.Sprintf("page=%d/room=%d", page, room), func(b *testing.B) {
				scratch := NewScratch()
				defer scratch.Close()
				buf := make([]byte, page+room)
				b.ReportAllocs()
				b.SetBytes(int64(page))
				for b.Loop() {
					if err := scratch.inflate(compress.Codecs.Zstd, buf[:page:page+room], frame, 1<<20); err != nil {
						b.Fatal(err)
					}
				}
				if !bytes.Equal(buf[:page], raw) {
					b.Error("other bytes")
				}
			})
		}
	}
}
