package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memHub is a Hub in memory: repositories with branches and commits, whose
// Stores count what they are asked.
type memHub struct {
	mu       sync.Mutex
	branches map[string]map[string]string            // repo → branch → commit
	commits  map[string]map[string]map[string][]byte // repo → commit → path → content
	local    map[string]bool
	lists    int
	opens    []string // paths
	resolves []string // revisions
	reads    int
	bytes    int64
	log      []memRead
	denied   map[source.HubToken]bool // tokens that may list, not read
	during   func(memRead)            // called while a read waits; nil is nothing
}

// memRead is one read of n bytes.
type memRead struct {
	path   string
	off, n int64
}

func newMemHub() *memHub {
	return &memHub{branches: map[string]map[string]string{}, commits: map[string]map[string]map[string][]byte{}, local: map[string]bool{}, denied: map[source.HubToken]bool{}}
}

// commit makes a new commit of a repository with exactly these files.
func (h *memHub) commit(repo, branch string, files map[string][]byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha256.New()
	var paths []string
	for p := range files {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		fmt.Fprintf(sum, "%s\x00%x\x00", p, sha256.Sum256(files[p]))
	}
	id := hex.EncodeToString(sum.Sum(nil))[:40]
	if h.branches[repo] == nil {
		h.branches[repo] = map[string]string{}
		h.commits[repo] = map[string]map[string][]byte{}
	}
	h.branches[repo][branch] = id
	h.commits[repo][id] = files
	return id
}

func (h *memHub) open(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
	return &memStore{hub: h, name: ref.Name(), token: token, local: ref.IsLocal()}, nil
}

type memStore struct {
	hub   *memHub
	name  string
	token source.HubToken
	local bool
}

func (s *memStore) Resolve(_ context.Context, revision string) (source.Snapshot, error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.resolves = append(s.hub.resolves, revision)
	if _, ok := s.hub.commits[s.name][revision]; ok {
		return source.Snapshot{Name: s.name, Revision: revision, Commit: revision, Local: s.local}, nil
	}
	if revision == "" {
		revision = "main"
	}
	id, ok := s.hub.branches[s.name][revision]
	if !ok {
		return source.Snapshot{}, source.Errorf(source.KindNotFound, "resolve revision", "there is no revision %q", revision)
	}
	return source.Snapshot{Name: s.name, Revision: revision, Commit: id, Local: s.local}, nil
}

func (s *memStore) Files(_ context.Context, at source.Snapshot, dir string) iter.Seq2[source.File, error] {
	s.hub.mu.Lock()
	s.hub.lists++
	files := s.hub.commits[s.name][at.Commit]
	s.hub.mu.Unlock()
	return func(yield func(source.File, error) bool) {
		var paths []string
		for p := range files {
			if dir == "" || strings.HasPrefix(p, dir+"/") {
				paths = append(paths, p)
			}
		}
		sort.Strings(paths)
		for _, p := range paths {
			if !yield(source.File{At: at, Path: p, Size: int64(len(files[p])), OID: oidOf(files[p])}, nil) {
				return
			}
		}
	}
}

func oidOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func (s *memStore) Open(_ context.Context, f source.File) (source.Reader, error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.opens = append(s.hub.opens, f.Path)
	content, ok := s.hub.commits[s.name][f.At.Commit][f.Path]
	if !ok {
		return nil, source.Errorf(source.KindChanged, "open", "the file is gone").WithFile(f.At.Short(), f.Path)
	}
	return &memReader{store: s, file: f, content: content}, nil
}

// memReader compares the identity when it reads, as late as the contract allows.
type memReader struct {
	store   *memStore
	file    source.File
	content []byte
}

func (r *memReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if oidOf(r.content) != r.file.OID {
		return source.Errorf(source.KindChanged, "read", "the content's id differs").WithFile(r.file.At.Short(), r.file.Path)
	}
	if off < 0 || off+int64(len(p)) > int64(len(r.content)) {
		return source.Errorf(source.KindInternal, "read", "out of range")
	}
	if during := r.store.hub.during; during != nil {
		during(memRead{r.file.Path, off, int64(len(p))})
	}
	r.store.hub.mu.Lock()
	defer r.store.hub.mu.Unlock()
	if r.store.hub.denied[r.store.token] {
		return source.Errorf(source.KindDenied, "read", "the dataset is gated").WithFile(r.file.At.Short(), r.file.Path)
	}
	r.store.hub.reads++
	r.store.hub.bytes += int64(len(p))
	r.store.hub.log = append(r.store.hub.log, memRead{r.file.Path, off, int64(len(p))})
	copy(p, r.content[off:])
	return nil
}

func (r *memReader) Size() int64  { return int64(len(r.content)) }
func (r *memReader) Close() error { return nil }

// counted is what was asked of the hub since the last call.
func (h *memHub) counted() (lists, opens, reads int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lists, opens, reads = h.lists, len(h.opens), h.reads
	h.lists, h.opens, h.reads, h.resolves, h.log = 0, nil, 0, nil, nil
	return lists, opens, reads
}

// flights makes a file of n rows in groups of perGroup: id counts from first,
// lang changes with every group, so that statistics prune.
func flights(t testing.TB, first, n, perGroup int) []byte {
	t.Helper()
	fields := []arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "lang", Type: arrow.BinaryTypes.String, Nullable: true},
	}
	return parquetOf(t, arrow.NewSchema(fields, nil), n, perGroup, func(b *array.RecordBuilder, row int) {
		b.Field(0).(*array.Int64Builder).Append(int64(first + row))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("l%02d", (first+row)/max(perGroup, 1)))
	})
}

// parquetOf writes a file with arrow-go; no rows makes no row group.
func parquetOf(t testing.TB, schema *arrow.Schema, n, perGroup int, row func(*array.RecordBuilder, int), more ...parquet.WriterProperty) []byte {
	t.Helper()
	var out bytes.Buffer
	more = append([]parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Uncompressed), parquet.WithMaxRowGroupLength(int64(max(perGroup, 1)))}, more...)
	props := parquet.NewWriterProperties(more...)
	w, err := pqarrow.NewFileWriter(schema, &out, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	for start := 0; start < n; start += perGroup {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := start; i < min(n, start+perGroup); i++ {
			row(b, i)
		}
		rec := b.NewRecordBatch()
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		rec.Release()
		b.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
