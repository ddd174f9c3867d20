package writertest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

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
