package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
)

// pad is scratch in memory.
type pad struct {
	raw     []byte
	stored  int64 // bytes, all groups together
	cleared int
	fail    error // of the next Append
}

func (p *pad) Append(parts [][]byte) (int64, error) {
	if p.fail != nil {
		return 0, p.fail
	}
	at := len(p.raw)
	p.raw = append(p.raw, bytes.Join(parts, nil)...)
	p.stored += int64(len(p.raw) - at)
	return int64(at), nil
}

func (p *pad) ReadBack(b []byte, at int64) error {
	if n := copy(b, p.raw[at:]); n < len(b) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (p *pad) Clear() error {
	p.raw = p.raw[:0]
	p.cleared++
	return nil
}

// spilled writes a batch several times, in groups of three.
func spilled(t *testing.T, rec arrow.RecordBatch, times int, scratch Scratch, most int64) ([]byte, error) {
	t.Helper()
	var out bytes.Buffer
	f, err := New(&out, rec.Schema(), parquet.NewWriterProperties(parquet.WithPageIndexEnabled(true), parquet.WithDataPageSize(20_000), parquet.WithDictionaryPageSizeLimit(100_000)))
	if err != nil {
		t.Fatal(err)
	}
	if scratch != nil {
		f.SpillTo(scratch, most)
	}
	for i := range times {
		if err := f.Write(rec); err != nil {
			return nil, err
		}
		if i%3 == 2 {
			if err := f.EndGroup(); err != nil {
				return nil, err
			}
		}
	}
	err = f.Close()
	return out.Bytes(), err
}

func TestPagesThatWaitInScratchChangeNoByte(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	chat := shaped("chat", 1500)
	defer chat.Release()
	many := someTable(t, r, 500, arrow.BinaryTypes.String, arrow.ListOf(arrow.BinaryTypes.String), arrow.PrimitiveTypes.Int64, arrow.StructOf(chat.Schema().Fields()...))
	for _, rec := range []arrow.RecordBatch{chat, many} {
		want, err := spilled(t, rec, 7, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all := int64(0) // bytes in scratch, without memory
		for _, most := range []int64{0, 8 * slabSize, 1 << 40} {
			scratch := new(pad)
			got, err := spilled(t, rec, 7, scratch, most)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("with %d bytes of memory the file is another one", most)
			}
			if most == 0 && rec == chat && (scratch.stored < int64(len(want))/3 || len(scratch.raw) > 0 || scratch.cleared != 3) {
				t.Errorf("%d bytes of %d were in scratch, %d are left, cleared %d times", scratch.stored, len(want), len(scratch.raw), scratch.cleared)
			}
			switch most {
			case 0:
				all = scratch.stored
			case 8 * slabSize:
				if rec == chat && (scratch.stored == 0 || scratch.stored > all*3/4) {
					t.Errorf("%d bytes were in scratch; without memory it was %d", scratch.stored, all)
				}
			}
			if most > 1<<30 && scratch.stored > 0 {
				t.Errorf("%d bytes were in scratch", scratch.stored)
			}
		}
	}
}

// kept is a writer that takes memory as it is.
type kept struct {
	parts [][]byte
	held  int
	fail  error
}

func (k *kept) Write(p []byte) (int, error) {
	k.parts = append(k.parts, bytes.Clone(p))
	return len(p), nil
}

func (k *kept) Keep(parts [][]byte) error {
	for _, p := range parts {
		k.held += len(p)
	}
	k.parts = append(k.parts, parts...)
	return k.fail
}

// TestPagesThatAreKeptAreThoseOfTheFile: only the last group's, those that are in memory, and until they are given back.
func TestPagesThatAreKeptAreThoseOfTheFile(t *testing.T) {
	rec := shaped("chat", 1500)
	defer rec.Release()
	write := func(out io.Writer, most int64) *File {
		f, err := New(out, rec.Schema(), parquet.NewWriterProperties(parquet.WithPageIndexEnabled(true), parquet.WithDataPageSize(20_000), parquet.WithDictionaryDefault(false)))
		if err != nil {
			t.Fatal(err)
		}
		f.SpillTo(new(pad), most)
		for i := range 4 {
			if err := f.Write(rec); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				if err := f.EndGroup(); err != nil {
					t.Fatal(err)
				}
			}
		}
		return f
	}
	var plain bytes.Buffer
	if err := write(&plain, 1<<40).Close(); err != nil {
		t.Fatal(err)
	}
	for _, most := range []int64{1 << 40, 8 * slabSize} {
		out := new(kept)
		release, err := write(out, most).CloseKeeping(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.Join(out.parts, nil), plain.Bytes()) {
			t.Errorf("with %d bytes of memory the file is another one", most)
		}
		if all := plain.Len(); out.held == 0 || out.held > all*6/10 || most > 1<<30 && out.held < all*4/10 || most < 1<<30 && int64(out.held) > most+slabSize {
			t.Errorf("%d bytes of %d are kept", out.held, all)
		}
		release()
	}
	out := &kept{fail: errors.New("no room")}
	if release, err := write(out, 1<<40).CloseKeeping(out); !errors.Is(err, out.fail) || release != nil {
		t.Errorf("the writer's error is lost: %v", err)
	}
}

func TestScratchThatFailsFailsTheFile(t *testing.T) {
	chat := shaped("chat", 1500)
	defer chat.Release()
	full := errors.New("no room")
	if _, err := spilled(t, chat, 2, &pad{fail: full}, 0); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if _, err := spilled(t, chat, 3, &forgetful{}, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// forgetful has lost what it was given.
type forgetful struct{ pad }

func (f *forgetful) ReadBack([]byte, int64) error { return io.ErrUnexpectedEOF }

// nowhere is scratch that takes no memory; what it gives back is not what it was given.
type nowhere struct{ n int64 }

func (s *nowhere) Append(parts [][]byte) (int64, error) {
	at := s.n
	for _, p := range parts {
		s.n += int64(len(p))
	}
	return at, nil
}
func (s *nowhere) ReadBack([]byte, int64) error { return nil }
func (s *nowhere) Clear() error                 { s.n = 0; return nil }

// TestAFileWithScratchHoldsLittleOfItsGroup, however large that is.
func TestAFileWithScratchHoldsLittleOfItsGroup(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is live, not what is not collected yet
	rec := shaped("texts", 8_000)
	defer rec.Release()
	f, err := New(io.Discard, rec.Schema(), parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)))
	if err != nil {
		t.Fatal(err)
	}
	f.SpillTo(new(nowhere), 1<<20)
	live := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + uint64(f.slabs.mapped) //nolint:gosec // bytes of memory
	}
	before, peak := live(), uint64(0)
	for range 20 {
		if err := f.Write(rec); err != nil {
			t.Fatal(err)
		}
		peak = max(peak, live())
	}
	group := f.Buffered()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	took := int64(peak) - int64(before) //nolint:gosec // a heap is smaller than 8 EiB
	t.Logf("%d KiB for a group of %d KiB", took>>10, group>>10)
	if group < 20<<20 || took > group/3 {
		t.Errorf("%d bytes above what was there before; the open group has %d", took, group)
	}
}

// TestNumbersHaveTheIndexOfTheirFirstPlace: those near the first value, by their place, and the others, by a hash, at both ends of the range.
func TestNumbersHaveTheIndexOfTheirFirstPlace(t *testing.T) {
	starts := []uint64{0, 1, nearReach, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, 1<<64 - nearReach}
	for _, start := range starts {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("from=%d/seed=%d", start, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, start))
				reach := uint64(1) << r.IntN(20)
				var values []uint64
				for range 5_000 {
					v := start + r.Uint64N(2*reach) - reach
					if r.IntN(50) == 0 {
						v = r.Uint64()
					}
					values = append(values, v)
				}
				values[0] = start
				numbered(t, newNumbers(settings{}, 8, view[uint64], ordered[uint64, uint64]), values)
				small := make([]uint32, len(values))
				for i, v := range values {
					small[i] = uint32(v) //nolint:gosec // wraps around as it may
				}
				numbered(t, newNumbers(settings{}, 4, view[uint32], ordered[uint32, int32]), small)
			})
		}
	}
}

func numbered[T number](t *testing.T, v *numbers[T], values []T) {
	t.Helper()
	for range 2 { // what a chunk leaves does not count for the next one
		v.restart(true)
		v.indices = v.indices[:0]
		known := map[T]uint32{}
		for at := 0; at < len(values); at += 700 {
			v.number(values[at:min(at+700, len(values))])
		}
		for i, value := range values {
			want, ok := known[value]
			if !ok {
				want = uint32(len(known)) //nolint:gosec // few
				known[value] = want
			}
			if v.indices[i] != want || v.keys[want] != value {
				t.Fatalf("value %d at %d has index %d, want %d", value, i, v.indices[i], want)
			}
		}
		if len(v.keys) != len(known) {
			t.Fatalf("%d keys for %d values", len(v.keys), len(known))
		}
	}
}

func TestNullsAreFoundWhereTheyAre(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 60 {
		bitmap := make([]byte, 1+r.IntN(40))
		for i := range bitmap {
			bitmap[i] = []byte{0xff, 0xff, 0xff, byte(r.Uint32()), 0}[r.IntN(5)] //nolint:gosec // random
		}
		offset := r.IntN(8 * len(bitmap))
		hi := r.IntN(8*len(bitmap) - offset + 1)
		for i := 0; i <= hi; i++ {
			want := i
			for want < hi && bitmap[(offset+want)/8]>>((offset+want)%8)&1 == 1 {
				want++
			}
			if got := nextNull(bitmap, offset, i, hi); got != want {
				t.Fatalf("%x from bit %d: the null at or behind %d of %d is %d, not %d", bitmap, offset, i, hi, got, want)
			}
		}
	}
}
