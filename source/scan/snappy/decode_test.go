package snappy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// shapes are inputs that make every kind of element: literals of all lengths,
// copies near and far, short and long, overlapping ones.
func shapes() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var runs, mixed []byte
	for len(runs) < 200_000 {
		runs = append(runs, bytes.Repeat(noise[len(runs)%1000:][:1+rng.IntN(20)], 1+rng.IntN(40))...)
	}
	for len(mixed) < 400_000 {
		switch rng.IntN(3) {
		case 0:
			mixed = append(mixed, noise[rng.IntN(1000):][:rng.IntN(300)]...)
		case 1:
			mixed = append(mixed, bytes.Repeat([]byte{byte(len(mixed))}, rng.IntN(100))...)
		default:
			mixed = append(mixed, prose(rng, 200)...)
		}
	}
	return map[string][]byte{"noise": noise, "runs": runs, "mixed": mixed, "prose": prose(rng, 1<<20), "zeros": make([]byte, 100_000)}
}

// prose has the statistics that matter here: words of a skewed vocabulary, a new
// one now and then.
func prose(rng *rand.Rand, n int) []byte {
	words := strings.Fields("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years much where your way down should because long each just state those people too")
	var b []byte
	for len(b) < n {
		word := []byte(words[min(int(rng.ExpFloat64()*25), len(words)-1)])
		if rng.IntN(10) == 0 {
			word = make([]byte, 3+rng.IntN(8))
			for i := range word {
				word[i] = 'a' + byte(rng.IntN(26))
			}
		}
		b = append(append(b, word...), ' ')
	}
	return b[:n]
}

func TestEveryBlockThatTheLibraryMakesIsInflatedToTheByte(t *testing.T) {
	for name, all := range shapes() {
		for _, n := range []int{0, 1, 2, 63, 64, 65, 127, 128, 129, 200, 1000, 65_535, 65_537, len(all)} {
			raw := all[:min(n, len(all))]
			for encoder, encode := range map[string]func(dst, src []byte) []byte{"plain": snappy.Encode, "better": s2.EncodeSnappyBetter} {
				block := encode(nil, raw)
				got := make([]byte, len(raw))
				if err := Decode(got, block); err != nil || !bytes.Equal(got, raw) {
					t.Errorf("%s, %d bytes, %s: %v", name, n, encoder, err)
				}
			}
		}
	}
}

func TestALengthOtherThanTheExpectedOneIsCorrupt(t *testing.T) {
	raw := []byte("a block says how long it is")
	block := snappy.Encode(nil, raw)
	for _, n := range []int{0, len(raw) - 1, len(raw) + 1} {
		if err := Decode(make([]byte, n), block); err == nil {
			t.Errorf("%d bytes were accepted for %d", n, len(raw))
		}
	}
	for cut := range block {
		if err := Decode(make([]byte, len(raw)), block[:cut]); err == nil {
			t.Errorf("a block cut to %d bytes was accepted", cut)
		}
	}
}

// TestElementsByHand has what no encoder makes.
func TestElementsByHand(t *testing.T) {
	for name, c := range map[string]struct {
		block []byte
		want  string // "" is corrupt
	}{
		"copy of four offset bytes":    {[]byte{8, 3 << 2, 'a', 'b', 'c', 'd', 3<<2 | 3, 4, 0, 0, 0}, "abcdabcd"},
		"overlapping copy":             {[]byte{7, 0, 'x', 5<<2 | 2, 1, 0}, "xxxxxxx"},
		"literal with a long length":   {[]byte{3, 63 << 2, 2, 0, 0, 0, 'a', 'b', 'c'}, "abc"},
		"offset zero":                  {[]byte{5, 0, 'x', 1 | 0<<2, 0}, ""},
		"offset before the output":     {[]byte{5, 0, 'x', 1 | 0<<2, 2}, ""},
		"more than the block says":     {[]byte{1, 1 << 2, 'a', 'b'}, ""},
		"less than the block says":     {[]byte{3, 1 << 2, 'a', 'b'}, ""},
		"literal behind the end":       {[]byte{4, 3 << 2, 'a', 'b'}, ""},
		"length of a literal cut":      {[]byte{4, 61 << 2, 3}, ""},
		"length of a literal too long": {append([]byte{4, 63 << 2, 255, 255, 255, 255}, "abcd"...), ""},
		"offset cut":                   {[]byte{5, 0, 'x', 3<<2 | 2, 1}, ""},
		"no length":                    {nil, ""},
		"endless length":               {bytes.Repeat([]byte{0x80}, 12), ""},
	} {
		got := make([]byte, len(c.want))
		if c.want == "" && len(c.block) > 0 {
			got = make([]byte, c.block[0]&0x7f)
		}
		err := Decode(got, c.block)
		if c.want == "" && err == nil || c.want != "" && (err != nil || string(got) != c.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// agree decodes a block here and with the library, into the middle of a guarded
// buffer.
func agree(t *testing.T, block []byte) {
	t.Helper()
	n, err := snappy.DecodedLen(block)
	if err != nil || n > 1<<20 {
		return
	}
	const guard = 128
	buf := bytes.Repeat([]byte{0xA5}, n+2*guard)
	got := buf[guard : guard+n : guard+n]
	errGot := Decode(got, block)
	want, errWant := snappy.Decode(nil, block)
	// The library speaks S2 as well, where an offset of zero repeats the last one;
	// in Snappy it is an error. What it takes beyond us must be that.
	if errGot == nil && errWant != nil || errGot != nil && errWant == nil && !hasZeroOffset(block) {
		t.Fatalf("%d bytes: %v here, %v in the library", n, errGot, errWant)
	}
	if errGot == nil && !bytes.Equal(got, want) {
		t.Fatalf("%d bytes differ from the library's", n)
	}
	for _, side := range [][]byte{buf[:guard], buf[guard+n:]} {
		if bytes.Count(side, []byte{0xA5}) != guard {
			t.Fatal("bytes outside the output were written")
		}
	}
}

// hasZeroOffset walks the elements up to the first copy whose offset is zero.
func hasZeroOffset(block []byte) bool {
	_, i := binary.Uvarint(block)
	for i < len(block) {
		tag := block[i]
		switch tag & 3 {
		case 0:
			length, more := int(tag>>2), 0
			if length >= 60 {
				more = length - 59
				var b [8]byte
				copy(b[:more], block[min(i+1, len(block)):])
				length = int(binary.LittleEndian.Uint32(b[:]))
			}
			i += 2 + more + length
			continue
		case 1:
			if tag>>5 == 0 && i+1 < len(block) && block[i+1] == 0 {
				return true
			}
			i += 2
		case 2:
			if i+2 < len(block) && binary.LittleEndian.Uint16(block[i+1:]) == 0 {
				return true
			}
			i += 3
		case 3:
			if i+4 < len(block) && binary.LittleEndian.Uint32(block[i+1:]) == 0 {
				return true
			}
			i += 5
		}
	}
	return false
}

func TestDamagedBlocksGiveWhatTheLibraryGivesAndTouchNothingElse(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var blocks [][]byte
	for _, raw := range shapes() {
		for _, n := range []int{100, 700, 5000} {
			blocks = append(blocks, snappy.Encode(nil, raw[:n]))
		}
	}
	for i := range 20_000 {
		block := bytes.Clone(blocks[i%len(blocks)])
		for range 1 + rng.IntN(3) {
			block[rng.IntN(len(block))] = byte(rng.Uint32())
		}
		agree(t, block[:len(block)-rng.IntN(2)*rng.IntN(len(block))])
	}
}

func FuzzDecode(f *testing.F) {
	for _, raw := range shapes() {
		f.Add(snappy.Encode(nil, raw[:300]))
	}
	f.Fuzz(agree)
}

func BenchmarkDecode(b *testing.B) {
	for name, raw := range shapes() {
		block := snappy.Encode(nil, raw)
		dst := make([]byte, len(raw))
		for decoder, decode := range map[string]func() error{
			"ours":    func() error { return Decode(dst, block) },
			"library": func() error { _, err := snappy.Decode(dst, block); return err },
		} {
			b.Run(fmt.Sprintf("data=%s/decoder=%s", name, decoder), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					if err := decode(); err != nil {
						b.Fatal(err)
					}
				}
				if !bytes.Equal(dst, raw) {
					b.Fatal("the output differs")
				}
			})
		}
	}
}
