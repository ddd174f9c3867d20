package writertest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/zstd"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// heavy are rows of these ids, of a kilobyte each that does not compress.
func heavy(ids ...int64) *batches {
	in := &batches{schema: rowSchema}
	chance := rand.New(rand.NewPCG(6, uint64(ids[0])))
	for chunk := range slices.Chunk(ids, 100) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, rowSchema)
		for _, id := range chunk {
			text := make([]byte, 1024)
			for i := range text {
				text[i] = byte(' ' + chance.IntN(95))
			}
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.StringBuilder).Append(string(text))
		}
		in.recs = append(in.recs, b.NewRecordBatch())
		b.Release()
	}
	return in
}

// TestAFileThatIsTooLargeForACommitIsStoredAsLFSWithItsRule: a repository without a rule
// for Parquet wants its files as they are, but above 256 KiB their bytes do not travel in
// a record. They are uploaded as LFS objects, and the commit adds the rule by which git,
// and the Hub, see them as that. A small file of the same job travels in its record, and
// no rule calls it a pointer.
func TestAFileThatIsTooLargeForACommitIsStoredAsLFSWithItsRule(t *testing.T) {
	const rules = "# ours\n*.bin filter=lfs diff=lfs merge=lfs -text"
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{".gitattributes": []byte(rules)}), oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	for p, in := range []*batches{heavy(from(100, 500)...), rows(from(600, 3)...)} {
		files, err := j.Stage(p, "0", in)
		if err != nil {
			t.Fatal(err)
		}
		j.staged = append(j.staged, files...)
	}
	large, small := j.staged[0], j.staged[1]
	if large.Size <= writer.MaxRegular || large.Mode != writer.UploadLFS || large.Content != "" {
		t.Fatalf("%d bytes are staged as %s with %d characters of content", large.Size, large.Mode, len(large.Content))
	}
	equal(t, "the small one's mode", small.Mode, writer.UploadRegular)
	equal(t, "objects sent", r.puts(), 1)
	r.hub.ForgetRequests()
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "commits sent", r.posts(), 1)
	want := slices.Concat([]int64{1, 2}, from(100, 500), from(600, 3))
	equal(t, "rows", r.read("main", "", ""), want)

	// The rule is there once, after those that were; it makes the large file an LFS
	// file, also for whoever asks the Hub, and none of the others.
	text, err := r.hub.Read(repo, "main", ".gitattributes")
	if err != nil || !strings.HasPrefix(string(text), rules+"\n") || strings.Count(string(text), "\n") != 3 {
		t.Errorf("rules: %s (%v)", text, err)
	}
	client, err := hub.New(hub.Options{Endpoint: r.hub.HubURL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := client.Dataset(repo, r.token)
	listed, err := d.Paths(t.Context(), source.Snapshot{Name: repo, Commit: r.head()}, r.paths())
	if err != nil || len(listed) != 3 {
		t.Fatalf("%+v, %v", listed, err)
	}
	for _, f := range listed {
		asked, err := d.Preupload(t.Context(), "main", []hub.PreuploadFile{{Path: f.Path, Sample: []byte("PAR1"), Size: f.Size}})
		if err != nil {
			t.Fatal(err)
		}
		isLarge := f.Size == large.Size
		if (f.OID == large.OID) != isLarge {
			t.Errorf("%s of %d bytes has the oid %s", f.Path, f.Size, f.OID)
		}
		equal(t, f.Path+": mode", asked[0].Mode, map[bool]string{true: hub.ModeLFS, false: hub.ModeRegular}[isLarge])
	}
}

// inlined makes the records of a job's files without rows that anybody reads: zeros, of
// the largest size that travels in a record, of which the records are small.
func (j *job) inlined(files int) {
	j.t.Helper()
	raw := make([]byte, writer.MaxRegular)
	sum := sha256.Sum256(raw)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		j.t.Fatal(err)
	}
	content := base64.StdEncoding.EncodeToString(enc.EncodeAll(raw, nil))
	if err := enc.Close(); err != nil {
		j.t.Fatal(err)
	}
	for i := range files {
		j.staged = append(j.staged, writer.StagedFile{Job: j.begin.Job, Dataset: repo, Partition: i, OID: hex.EncodeToString(sum[:]), Size: int64(len(raw)), Rows: 1,
			Mode: writer.UploadRegular, Content: content, SchemaHash: "zeros"})
	}
}

// TestASmallBodyUnpacksNoMoreThanACommitHolds: a megabyte of records can stand for a
// gigabyte of files. As one commit that is refused before any of them is unpacked, with
// what to set; as several it is cut where a commit is full.
func TestASmallBodyUnpacksNoMoreThanACommitHolds(t *testing.T) {
	r := newRig(t)
	j := r.job(writer.ModeReplace, parts("x")).perCommit(0)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	j.inlined(4000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := j.Commit()
	runtime.ReadMemStats(&after)
	wantKind(t, err, source.KindLimit)
	var typed *source.Error
	if !errors.As(err, &typed) || !strings.Contains(typed.Hint, "max_operations_per_commit") {
		t.Errorf("the hint: %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MiB were allocated to refuse it", took>>20)
	}
	equal(t, "commits sent", r.posts(), 0)

	j.perCommit(10_000)
	j.staged = j.staged[:200]
	result, err := j.Commit()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "commits and paths", []int{len(result.Commits), result.PathsTotal, len(r.paths())}, []int{2, 200, 200})
}
