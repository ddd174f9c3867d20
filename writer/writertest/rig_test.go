package writertest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/hubsink"
	"github.com/hubflight/hubflight/writer/localsink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repo = "demo/rows"

// rig is a Hub, a folder and a Writer for both.
type rig struct {
	t     *testing.T
	hub   *hubtest.Running
	roots *localfs.Roots
	dir   string
	token source.HubToken
	w     *writer.Writer
	clock hubsink.Clock // nil is the machine's
	// patience is how long a request may hang; if zero, longer than an answer takes
	// on a machine that is busy with other tests.
	patience time.Duration
}

func newRig(t *testing.T, options ...hubtest.Option) *rig {
	t.Helper()
	return startRig(t, hubtest.New(t, options...))
}

// newLocalRig is one for folders only.
func newLocalRig(t *testing.T) *rig {
	t.Helper()
	return startRig(t, &hubtest.Running{HubURL: "http://127.0.0.1:1"})
}

func startRig(t *testing.T, run *hubtest.Running) *rig {
	t.Helper()
	r := &rig{t: t, hub: run, dir: t.TempDir()}
	roots, err := localfs.NewRoots([]string{r.dir})
	if err != nil {
		t.Fatal(err)
	}
	r.roots = roots
	t.Cleanup(func() { _ = roots.Close() })
	r.w = r.newWriter(0)
	return r
}

// newWriter is another replica.
func (r *rig) newWriter(spoolBytes int64) *writer.Writer {
	r.t.Helper()
	patience := cmp.Or(r.patience, 30*time.Second)
	client, err := hub.New(hub.Options{Endpoint: r.hub.HubURL, Retry: hub.RetryOptions{Attempts: 2, Base: time.Millisecond}, StallTimeout: patience, AnswerTimeout: patience})
	if err != nil {
		r.t.Fatal(err)
	}
	memory := &hubsink.Memory{}
	w, err := writer.New(writer.Options{SpoolDir: r.t.TempDir(), SpoolBytes: spoolBytes, Open: func(_ context.Context, ref source.Ref, token source.HubToken) (writer.Sink, error) {
		if ref.IsLocal() {
			store, err := r.roots.Store(ref)
			if err != nil {
				return nil, err
			}
			return localsink.New(store, nil), nil
		}
		return hubsink.New(hubsink.Options{Client: client, Repo: ref.Repo, Token: token, Memory: memory, ConflictDeadline: 2 * time.Minute, Clock: r.clock}), nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := w.Close(); err != nil {
			r.t.Error(err)
		}
		client.Close()
	})
	return w
}

// job is a driver and its tasks.
type job struct {
	*rig
	begin   writer.BeginRequest
	base    writer.BeginResult
	staged  []writer.StagedFile
	message string
	maxOps  *int
	stage   func(*writer.StageRequest)  // changes a stage request
	rows    func(ids ...int64) *batches // of StageAll; nil is rows
	w       *writer.Writer
}

// job makes one for the dataset; change may be nil.
func (r *rig) job(mode writer.Mode, change func(*writer.BeginRequest)) *job {
	j := &job{rig: r, w: r.w, begin: writer.BeginRequest{V: 1, Job: uuid.NewString(), Dataset: repo, Mode: mode, CreateRepo: true}}
	if change != nil {
		change(&j.begin)
	}
	return j
}

func parts(dir string) func(*writer.BeginRequest) {
	return func(b *writer.BeginRequest) { b.Naming, b.Dir = writer.NamingParts, dir }
}

func to(config, split string) func(*writer.BeginRequest) {
	return func(b *writer.BeginRequest) { b.Config, b.Split = config, split }
}

// Begin runs begin.
func (j *job) Begin() error {
	var err error
	j.base, err = j.w.Begin(j.t.Context(), j.token, j.begin)
	return err
}

// Stage runs one attempt of a partition with these rows.
func (j *job) Stage(partition int, attempt string, in writer.Batches) ([]writer.StagedFile, error) {
	return j.stageIn(j.t.Context(), partition, attempt, in)
}

func (j *job) stageIn(ctx context.Context, partition int, attempt string, in writer.Batches) ([]writer.StagedFile, error) {
	b := j.begin
	req := writer.StageRequest{V: 1, Op: "stage", Job: b.Job, Dataset: b.Dataset, Revision: j.base.Revision, Base: j.base.Base, Mode: b.Mode,
		Config: b.Config, Split: b.Split, Naming: b.Naming, Dir: b.Dir, Partition: partition, Attempt: attempt}
	if j.stage != nil {
		j.stage(&req)
	}
	result, err := j.w.Stage(ctx, j.token, req, in, nil)
	return result.Files, err
}

// body is the commit's request.
func (j *job) body() writer.CommitRequest {
	b := j.begin
	return writer.CommitRequest{V: 1, Job: b.Job, Dataset: b.Dataset, Revision: j.base.Revision, Base: j.base.Base, Mode: b.Mode, Config: b.Config,
		Split: b.Split, Naming: b.Naming, Dir: b.Dir, Files: j.staged, MaxOperations: j.maxOps, Message: j.message,
		Publish: b.Publish, ReplaceFormat: b.ReplaceFormat}
}

func (j *job) Commit() (writer.CommitResult, error) {
	return j.w.Commit(j.t.Context(), j.token, j.body(), nil)
}

// Run is a whole job: one partition per list of ids.
func (j *job) Run(partitions ...[]int64) (writer.CommitResult, error) {
	if err := j.Begin(); err != nil {
		return writer.CommitResult{}, err
	}
	if err := j.StageAll(partitions...); err != nil {
		return writer.CommitResult{}, err
	}
	return j.Commit()
}

func (j *job) StageAll(partitions ...[]int64) error {
	make := rows
	if j.rows != nil {
		make = j.rows
	}
	for i, ids := range partitions {
		files, err := j.Stage(i, "0", make(ids...))
		if err != nil {
			return err
		}
		j.staged = append(j.staged, files...)
	}
	return nil
}

// must runs a job that has to succeed.
func (j *job) must(partitions ...[]int64) writer.CommitResult {
	j.t.Helper()
	result, err := j.Run(partitions...)
	if err != nil {
		j.t.Fatal(err)
	}
	return result
}

// from is n ids from first.
func from(first, n int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = first + int64(i)
	}
	return ids
}

var rowSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)

// batches are records in memory.
type batches struct {
	schema *arrow.Schema
	recs   []arrow.RecordBatch
	fail   error // instead of the end
}

func (b *batches) Schema() *arrow.Schema { return b.schema }

func (b *batches) Next(context.Context) (arrow.RecordBatch, error) {
	if len(b.recs) == 0 {
		if b.fail != nil {
			return nil, b.fail
		}
		return nil, io.EOF
	}
	rec := b.recs[0]
	b.recs = b.recs[1:]
	return rec, nil
}

// rows are batches of these ids, three rows each.
func rows(ids ...int64) *batches {
	in := &batches{schema: rowSchema}
	for chunk := range slices.Chunk(ids, 3) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, rowSchema)
		for _, id := range chunk {
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("row %d", id))
		}
		in.recs = append(in.recs, b.NewRecordBatch())
		b.Release()
	}
	return in
}

// parquetOf is a Parquet file of these ids, as somebody else would have written it.
func parquetOf(t testing.TB, ids ...int64) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rowSchema, &buf, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	in := rows(ids...)
	for _, rec := range in.recs {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		rec.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// ids reads the column id of a Parquet file.
func ids(t testing.TB, raw []byte) []int64 {
	t.Helper()
	pf, err := file.NewParquetReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(t.(*testing.T).Context())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	var out []int64
	for _, chunk := range table.Column(0).Data().Chunks() {
		out = append(out, chunk.(*array.Int64).Int64Values()...)
	}
	return out
}

// layout resolves a branch as a reader would.
func (r *rig) layout(revision string) *dataset.Layout {
	r.t.Helper()
	paths, err := r.hub.Paths(repo, revision)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(paths)
	var tree dataset.Tree
	for _, p := range paths {
		tree.Files = append(tree.Files, source.File{Path: p, Size: 1, OID: "x"})
		if p == "README.md" {
			if tree.Readme, err = r.hub.Read(repo, revision, p); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	l, err := dataset.Resolve(tree, dataset.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// read returns the ids of a config and split in reading order.
func (r *rig) read(revision, config, split string) []int64 {
	r.t.Helper()
	_, splits, err := r.layout(revision).Choose(config, split)
	if source.KindOf(err) == source.KindNotFound {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	var out []int64
	for _, s := range splits {
		for _, f := range s.Files {
			raw, err := r.hub.Read(repo, revision, f.Path)
			if err != nil {
				r.t.Fatal(err)
			}
			out = append(out, ids(r.t, raw)...)
		}
	}
	return out
}

// paths are the data files of main.
func (r *rig) paths() []string {
	r.t.Helper()
	all, err := r.hub.Paths(repo, "main")
	if err != nil {
		r.t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(p string) bool { return p == ".gitattributes" || p == "README.md" })
	sort.Strings(all)
	return all
}

// head is the commit of main.
func (r *rig) head() string {
	r.t.Helper()
	head, err := r.hub.Head(repo, "main")
	if err != nil {
		r.t.Fatal(err)
	}
	return head
}

// posts counts the commits that were sent.
func (r *rig) posts() int {
	n := 0
	for _, req := range r.hub.Requests() {
		if req.Method == http.MethodPost && strings.Contains(req.Path, "/commit/") {
			n++
		}
	}
	return n
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantKind(t *testing.T, err error, kind source.Kind) {
	t.Helper()
	if err == nil || source.KindOf(err) != kind {
		t.Fatalf("got error %v, want kind %s", err, kind)
	}
}
