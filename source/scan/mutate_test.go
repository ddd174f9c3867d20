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

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/hubflight/hubflight/source"
)

// Small valid files with one to three places changed must give a table or a
// classified error, quickly and within the memory limit. HUBFLIGHT_MUTATIONS is
// the number of tries (300 by default) and HUBFLIGHT_MUTATION_FIRST the first of
// them; HUBFLIGHT_MUTATION_LOG names a file to which every try's number is written
// first, so that a death names its input.
func TestMutatedFilesNeverDoHarm(t *testing.T) {
	tries, first := setting(t, "HUBFLIGHT_MUTATIONS", 300), setting(t, "HUBFLIGHT_MUTATION_FIRST", 0)
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
		start := time.Now()
		err := drainBytes(t, data, Profile(try%2))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		if err == nil {
			tables++
		}
		if classified(t, err); t.Failed() {
			t.Fatalf("try %d does harm: HUBFLIGHT_MUTATIONS=1 HUBFLIGHT_MUTATION_FIRST=%d repeats it", try, try)
		}
	}
	t.Logf("%d tries from %d on, %d tables", tries, first, tables)
}

// setting is a number of the environment.
func setting(t *testing.T, name string, missing int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return missing
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// allocated is all that the process has ever allocated.
func allocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// The campaign of HUBFLIGHT_MUTATION_CAMPAIGN tries from HUBFLIGHT_MUTATION_FIRST on
// runs in processes of their own, so that a death is counted and names its try.
func TestMutationCampaign(t *testing.T) {
	tries, first := setting(t, "HUBFLIGHT_MUTATION_CAMPAIGN", 0), setting(t, "HUBFLIGHT_MUTATION_FIRST", 0)
	if tries == 0 {
		t.Skip("HUBFLIGHT_MUTATION_CAMPAIGN is not set (make nightly-mutations)")
	}
	t.Logf("%d tries from %d on", tries, first)
	const perProcess = 20_000
	for done := 0; done < tries; done += perProcess {
		log := filepath.Join(t.TempDir(), "try")
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMutatedFilesNeverDoHarm$", "-test.timeout", "2h")
		child.Env = append(os.Environ(), "HUBFLIGHT_MUTATION_LOG="+log,
			fmt.Sprintf("HUBFLIGHT_MUTATIONS=%d", min(perProcess, tries-done)), fmt.Sprintf("HUBFLIGHT_MUTATION_FIRST=%d", first+done))
		if out, err := child.CombinedOutput(); err != nil {
			last, _ := os.ReadFile(log)
			t.Errorf("tries from %d on, at %s: %v\n%s", first+done, last, err, out[max(0, len(out)-4000):])
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
	seeds := [][]byte{
		write(t, nestedBatch(50, 3), 20), write(t, flatBatch(40), 25),
		write(t, flatBatch(120), 70, parquet.WithPageIndexEnabled(true), parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDataPageSize(100), parquet.WithCompression(compress.Codecs.Zstd)),
		write(t, nestedBatch(80, 5), 50, parquet.WithPageIndexEnabled(true), parquet.WithDataPageSize(100), parquet.WithCompression(compress.Codecs.Snappy)),
		write(t, flatBatch(30), 30, parquet.WithDictionaryDefault(false), parquet.WithBloomFilterEnabled(true), parquet.WithCompression(compress.Codecs.Gzip)),
	}
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

// drainBytes reads a file, and fails the test if that takes too much memory: at one
// time of the stream's own, and beside it in all.
func drainBytes(t *testing.T, data []byte, profile Profile) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	mem, before, rows := newPeak(), allocated(), int64(0)
	err := drainInto(ctx, t, data, Task{Query: Query{Profile: profile}, Memory: mem, Workers: 1}, func(b arrow.RecordBatch) { rows += b.NumRows() })
	mem.check(t, data)
	if beside := allocated() - before - mem.sum.Load(); beside > 2*stepOf(data) {
		t.Errorf("%d bytes of %d were allocated beside the stream's memory", beside, len(data))
	}
	if rows > 0 { // what looking at every value allocates is not the decoder's
		again := drainInto(ctx, t, data, Task{Query: Query{Profile: profile}}, touch)
		if source.KindOf(again) != source.KindOf(err) {
			t.Errorf("read again, %v; before, %v", again, err)
		}
	}
	return err
}

// drainInto reads a file with as little memory as it should need, and gives every
// batch to each, which does not keep it.
func drainInto(ctx context.Context, t *testing.T, data []byte, task Task, each func(arrow.RecordBatch)) error {
	t.Helper()
	r := &bytesReader{data: data}
	ft, err := ReadFooter(ctx, r, testFile)
	if err != nil {
		return err
	}
	if _, err := task.Query.Prune(ctx, ft); err != nil {
		return err
	}
	task.File, task.Reader, task.Footer, task.Limit, task.stepBytes = testFile, r, ft, -1, stepOf(data)
	s, err := Open(ctx, task)
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
		each(b)
		b.Release()
	}
}
