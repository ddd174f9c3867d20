package scan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source"
)

// Small valid files with one to three places changed must give a table or a
// classified error, quickly and within the memory limit. HUBFLIGHT_MUTATIONS is
// the number of tries (300 by default); HUBFLIGHT_MUTATION_LOG names a file to
// which every try's number is written first, so that a death names its input.
func TestMutatedFilesNeverDoHarm(t *testing.T) {
	tries, first := 300, 0
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_MUTATIONS")); err == nil {
		tries = n
	}
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_MUTATION_FIRST")); err == nil {
		first = n
	}
	seeds := mutationSeeds(t)
	log := os.Getenv("HUBFLIGHT_MUTATION_LOG")
	tables := 0
	for try := first; try < first+tries; try++ {
		data := mutate(seeds, uint64(try))
		if log != "" {
			if err := os.WriteFile(log, []byte(fmt.Sprint(try)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		start, before := time.Now(), allocated()
		err := drainBytes(t, data, Profile(try%2))
		if n := allocated() - before; n > 2*maxDecodeBytes {
			t.Errorf("try %d allocated %d bytes", try, n)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("try %d took %s", try, took)
		}
		switch kind := source.KindOf(err); {
		case err == nil:
			tables++
		case kind != source.KindCorrupt && kind != source.KindUnsupported && kind != source.KindInvalid:
			t.Errorf("try %d: kind %s: %v", try, kind, err)
		}
	}
	t.Logf("%d tries, %d tables", tries, tables)
}

// allocated is all that the process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// The campaign of HUBFLIGHT_MUTATION_CAMPAIGN tries runs in processes of their
// own, so that a death is counted and names its try.
func TestMutationCampaign(t *testing.T) {
	tries, err := strconv.Atoi(os.Getenv("HUBFLIGHT_MUTATION_CAMPAIGN"))
	if err != nil {
		t.Skip("HUBFLIGHT_MUTATION_CAMPAIGN is not set (make nightly-mutations)")
	}
	const perProcess = 20_000
	for first := 0; first < tries; first += perProcess {
		log := filepath.Join(t.TempDir(), "try")
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMutatedFilesNeverDoHarm$", "-test.timeout", "30m")
		child.Env = append(os.Environ(), "HUBFLIGHT_MUTATION_LOG="+log,
			fmt.Sprintf("HUBFLIGHT_MUTATIONS=%d", min(perProcess, tries-first)), fmt.Sprintf("HUBFLIGHT_MUTATION_FIRST=%d", first))
		if out, err := child.CombinedOutput(); err != nil {
			last, _ := os.ReadFile(log)
			t.Errorf("tries from %d, at %s: %v\n%s", first, last, err, out[max(0, len(out)-4000):])
		}
	}
}

// FuzzFile: any bytes are a table or a classified error.
func FuzzFile(f *testing.F) {
	f.Add(write(f, nestedBatch(20, 3), 7))
	f.Add(write(f, flatBatch(20), 9, parquet.WithPageIndexEnabled(true), parquet.WithDataPageVersion(parquet.DataPageV2)))
	f.Add(write(f, flatBatch(5), 5, parquet.WithDictionaryDefault(false), parquet.WithBloomFilterEnabled(true)))
	f.Fuzz(func(t *testing.T, data []byte) { classified(t, drainBytes(t, data, Profile(len(data)%2))) })
}

// FuzzFooter: any footer, behind an honest length and the magic.
func FuzzFooter(f *testing.F) {
	for _, data := range [][]byte{write(f, nestedBatch(3, 3), 7), write(f, flatBatch(3), 9)} {
		n := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
		f.Add(data[len(data)-8-n : len(data)-8])
	}
	f.Fuzz(func(t *testing.T, footer []byte) { classified(t, drainBytes(t, parquetFile(footer), Native)) })
}

func classified(t *testing.T, err error) {
	switch kind := source.KindOf(err); {
	case err == nil, kind == source.KindCorrupt, kind == source.KindUnsupported, kind == source.KindInvalid:
	default:
		t.Errorf("kind %s: %v", kind, err)
	}
}

func mutationSeeds(t *testing.T) [][]byte {
	seeds := [][]byte{write(t, nestedBatch(50, 3), 20), write(t, flatBatch(40), 25)}
	paths, err := filepath.Glob(corpora + "/parquet/*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 64<<10 {
			seeds = append(seeds, data)
		}
	}
	return seeds
}

// mutate changes a seed file: a byte, a bit, or a little-endian boundary value,
// half of the time in the footer.
func mutate(seeds [][]byte, try uint64) []byte {
	rng := rand.New(rand.NewPCG(try, 99))
	data := append([]byte(nil), seeds[rng.IntN(len(seeds))]...)
	edges := []uint64{0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 33, 1 << 40, 1<<63 - 1, 1<<64 - 1}
	footer := int(binary.LittleEndian.Uint32(data[len(data)-8:])) + 8
	for range 1 + rng.IntN(3) {
		at := rng.IntN(len(data))
		if rng.IntN(2) == 0 && footer < len(data) {
			at = len(data) - 1 - rng.IntN(footer)
		}
		switch rng.IntN(4) {
		case 0:
			data[at] = byte(rng.Uint32())
		case 1:
			data[at] ^= 1 << rng.IntN(8)
		case 2:
			var raw [8]byte
			binary.LittleEndian.PutUint64(raw[:], edges[rng.IntN(len(edges))])
			copy(data[at:], raw[:4*(1+rng.IntN(2))])
		case 3:
			var raw [binary.MaxVarintLen64]byte
			copy(data[at:], raw[:binary.PutUvarint(raw[:], edges[rng.IntN(len(edges))])])
		}
	}
	return data
}

func drainBytes(t *testing.T, data []byte, profile Profile) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := &bytesReader{data: data}
	ft, err := ReadFooter(ctx, r, testFile)
	if err != nil {
		return err
	}
	q := Query{Profile: profile}
	if _, err := q.Prune(ft); err != nil {
		return err
	}
	s, err := Open(ctx, Task{File: testFile, Reader: r, Footer: ft, Query: q, Limit: -1})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		b, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		touch(b)
		b.Release()
	}
}
