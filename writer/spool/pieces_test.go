package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// TestWhatIsKeptInMemoryIsPartOfTheFile between bytes that were written, for every reader, at every place.
func TestWhatIsKeptInMemoryIsPartOfTheFile(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	f := create(t, t.Context(), s)
	r := rand.New(rand.NewPCG(1, 2))
	var want []byte
	onDisk := int64(0)
	for i := range 60 {
		var parts [][]byte
		for range r.IntN(4) {
			part := make([]byte, r.IntN(3000))
			for at := range part {
				part[at] = byte(r.Uint32())
			}
			parts = append(parts, part)
		}
		all := bytes.Join(parts, nil)
		var err error
		switch i % 3 {
		case 0:
			_, err = f.Write(all)
		case 1:
			err = f.WriteAll(parts)
		default:
			err = f.Keep(parts)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want = append(want, all...); i%3 != 2 {
			onDisk += int64(len(all))
		}
	}
	sum := sha256.Sum256(want)
	if f.OID() != hex.EncodeToString(sum[:]) || f.Size() != int64(len(want)) || !bytes.Equal(f.Sample(), want[:sampleSize]) {
		t.Errorf("oid %s, size %d of %d, sample %d", f.OID(), f.Size(), len(want), len(f.Sample()))
	}
	if info, err := f.f.Stat(); err != nil || info.Size() != onDisk {
		t.Errorf("%d bytes are on disk, not %d, %v", info.Size(), onDisk, err)
	}
	for range 2 { // a request that is sent again
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
			t.Errorf("other bytes are read: %d of %d, %v", len(got), len(want), err)
		}
	}
	for range 500 {
		from, n := r.IntN(len(want)+10), r.IntN(9000)
		got := make([]byte, n)
		read, err := f.ReadAt(got, int64(from))
		left := want[min(from, len(want)):]
		if read != min(n, len(left)) || !bytes.Equal(got[:read], left[:read]) || read < n && !errors.Is(err, io.EOF) || read == n && err != nil {
			t.Fatalf("%d bytes from %d on: %d, %v", n, from, read, err)
		}
	}
	if err := f.Keep([][]byte{make([]byte, 11<<20)}); source.KindOf(err) != source.KindLimit {
		t.Errorf("more than the bound: %v", err)
	}
	if err := f.Remove(); err != nil || s.Used() != 0 {
		t.Errorf("%v, %d bytes in use", err, s.Used())
	}
}

// TestKeptMemoryIsGivenBackOnceAndReadByNobodyAfterwards, however late a reader comes.
func TestKeptMemoryIsGivenBackOnceAndReadByNobodyAfterwards(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	f := create(t, t.Context(), s)
	kept := bytes.Repeat([]byte("kept"), 1000)
	if err := f.Keep([][]byte{kept}); err != nil {
		t.Fatal(err)
	}
	given := 0
	f.OnRemove(func() { given++; clear(kept) })
	var reading sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range cap(begun) {
		reading.Go(func() {
			got := make([]byte, len(kept))
			for first := true; ; first = false {
				_, err := f.ReadAt(got, 0)
				if first {
					begun <- struct{}{}
				}
				if errors.Is(err, os.ErrClosed) {
					return
				}
				if err != nil || slices.Contains(got, 0) {
					t.Errorf("what was given back is read: %v", err)
					return
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	err := errors.Join(f.Remove(), f.Remove())
	reading.Wait()
	if err != nil || given != 1 || s.Used() != 0 {
		t.Errorf("%v, given back %d times, %d bytes in use", err, given, s.Used())
	}
}
