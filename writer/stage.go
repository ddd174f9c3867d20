package writer

import (
	"context"
	"errors"
	"io"
	"runtime/debug"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// maxCells is how many values are converted at a time: those that are null have no bytes
// before, and up to 32 then.
const maxCells = 4 << 20

// progressStep is the least distance between two progress reports.
const progressStep = 16 << 20

// Stage writes one attempt's batches into durable, invisible files and describes
// them. It takes no batch without releasing it, and leaves nothing in the spool.
// progress may be nil; it is called with the bytes read so far, from one goroutine.
//
// Errors: KindInvalid (a column that does not fit), KindBusy (the spool is full),
// KindUpstream (the Hub failed), and those of in. After an error nothing is staged.
func (w *Writer) Stage(ctx context.Context, token source.HubToken, r StageRequest, in Batches, progress func(bytes int64)) (result StageResult, err error) {
	if err := r.Validate(); err != nil {
		return StageResult{}, err
	}
	key := keyOfJob(ctx, token, r.Job)
	ctx, leave := w.enter(ctx, key)
	defer leave()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s, err := w.newStage(ctx, token, r, in.Schema())
	if err != nil {
		return StageResult{}, err
	}
	s.stop = stop
	failpoint.Here(failpoint.StageStarts)
	defer func() {
		err = errors.Join(err, s.enc.abandon())
		if err != nil {
			s.forget()
			result = StageResult{}
		}
	}()
	if err := s.whole(ctx, in, progress); err != nil {
		return StageResult{}, err
	}
	failpoint.Here(failpoint.StageAnswers)
	if !w.remember(key, s.forgets) {
		return StageResult{}, source.Errorf(source.KindCanceled, "stage", "the job has ended before this attempt")
	}
	w.known.note(key, s.ref, s.request.Revision, len(s.records))
	return StageResult{Type: "result", V: Version, Files: s.records}, nil
}

// stage is one attempt.
type stage struct {
	request  StageRequest
	ref      source.Ref
	sink     Sink
	path     string // of the kind that the files will have
	coercion *coercion
	hash     string
	enc      *encoder
	records  []StagedFile
	forgets  []func()
	keeps    bool // a job without rows leaves a file

	stop   context.CancelCauseFunc
	flying *upload // the file that is being put while the next one is encoded
}

// upload is a file on its way to the sink. Its goroutine owns the file, and, until
// done is closed, the records and forgets of the stage.
type upload struct {
	done chan struct{}
	err  error
}

func (w *Writer) newStage(ctx context.Context, token source.HubToken, r StageRequest, in *arrow.Schema) (*stage, error) {
	t := r.target()
	ref, revision, dir, err := t.place()
	if err != nil {
		return nil, err
	}
	r.Revision = revision
	sink, err := w.open(ctx, ref, token)
	if err != nil {
		return nil, err
	}
	schema, err := w.stageSchema(ctx, token, ref, sink, r, dir, in)
	if err != nil {
		return nil, err
	}
	// Types that cannot be written and names that are there twice are refused as
	// that, before the columns are compared.
	if _, err := fileSchema(in, true); err != nil {
		return nil, err
	}
	c, err := newCoercion(in, schema)
	if err != nil {
		return nil, err
	}
	enc := newEncoder(r.Encoding.with(w.defaults), schema, w.spool, r.Naming == NamingFile)
	if _, err := enc.encoding.properties(schema); err != nil { // before rows are taken
		return nil, err
	}
	enc.more, enc.regions = w.held, w.regions
	return &stage{
		request: r, ref: ref, sink: sink, path: stagePath(t, dir), coercion: c, hash: schemaHash(schema),
		keeps: keepsFile(t.namingOrDataset(), r.Mode),
		enc:   enc,
	}, nil
}

// stageSchema is the schema of the files: the existing ones' for an append, else
// the rows' own.
func (w *Writer) stageSchema(ctx context.Context, token source.HubToken, ref source.Ref, sink Sink, r StageRequest, dir string, in *arrow.Schema) (*arrow.Schema, error) {
	t := r.target()
	keep := isOn(r.KeepFeatures)
	if job := (Job{Mode: r.Mode, Naming: t.namingOrDataset()}); appends(job) && r.Base != "" {
		key := schemaKey{token: token.ID(), ref: ref.Name(), commit: r.Base, config: r.Config, split: t.splitOrTrain(), dir: dir, naming: t.namingOrDataset()}
		existing, ok := w.schemas.get(key)
		if !ok {
			state, err := sink.At(ctx, r.Revision, r.Base)
			if err != nil {
				return nil, err
			}
			p, err := targetPlanner(state, t, dir)
			if err != nil {
				return nil, err
			}
			if existing, err = w.schemas.of(ctx, token, ref, p); err != nil {
				return nil, err
			}
		}
		if existing != nil {
			return fileSchema(existing, keep)
		}
	}
	return fileSchema(in, keep)
}

// stagePath is a path of the kind that the file will have: the Hub decides by it
// how the file is stored.
func stagePath(t target, dir string) string {
	switch t.namingOrDataset() {
	case NamingFile:
		return dir
	case NamingParts:
		return join(dir, "part-00000.parquet")
	}
	return join(plainFolder(dir, t.config, t.config == "" || t.config == "default"), t.splitOrTrain()+"-00000-of-00001.parquet")
}

// whole runs the attempt and waits for its last upload. Of an encoder and an upload
// that both end in an error, one has stopped the other: the first one's counts.
func (s *stage) whole(ctx context.Context, in Batches, progress func(int64)) error {
	err := s.recovered(ctx, in, progress)
	if err != nil {
		s.stop(err)
	}
	landed := s.landed()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if err != nil {
		return err
	}
	return landed
}

// send puts a file while the caller goes on: one at a time, so that an attempt has
// at most two files in the spool.
func (s *stage) send(ctx context.Context, f encoded) error {
	if err := s.landed(); err != nil {
		return errors.Join(err, f.file.Remove())
	}
	up := &upload{done: make(chan struct{})}
	s.flying = up
	go func() {
		defer close(up.done)
		defer func() {
			if r := recover(); r != nil {
				up.err = errors.Join(source.Errorf(source.KindInternal, "stage", "the upload failed: %v", r), f.file.Remove())
			}
			if up.err != nil {
				s.stop(up.err) // what is being encoded is in vain
			}
		}()
		up.err = s.put(ctx, f)
	}()
	return nil
}

// landed waits for the upload that is under way.
func (s *stage) landed() error {
	if s.flying == nil {
		return nil
	}
	<-s.flying.done
	return s.flying.err
}

// recovered is run, of which a panic is an error: the upload under way has to be waited
// for, and what is stored forgotten.
func (s *stage) recovered(ctx context.Context, in Batches, progress func(int64)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = source.Errorf(source.KindInternal, "stage", "panic: %v\n%s", r, debug.Stack())
		}
	}()
	return s.run(ctx, in, progress)
}

// run reads, encodes and puts until the input ends.
func (s *stage) run(ctx context.Context, in Batches, progress func(int64)) error {
	done := func(f encoded) error { return s.send(ctx, f) }
	var read, told int64
	for {
		rec, err := in.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n, err := s.one(ctx, rec, done)
		if err != nil {
			return err
		}
		if read += n; progress != nil && read-told >= progressStep {
			told = read
			progress(read)
		}
	}
	if err := s.enc.finish(done); err != nil {
		return err
	}
	if err := s.landed(); err != nil {
		return err
	}
	if len(s.records) == 0 && s.keeps {
		return s.enc.empty(ctx, done)
	}
	return nil
}

// one encodes a batch and releases it.
func (s *stage) one(ctx context.Context, rec arrow.RecordBatch, done func(encoded) error) (int64, error) {
	defer rec.Release()
	if rec.NumRows() == 0 {
		return 0, nil
	}
	if rec.NumRows() > 1 && rec.NumRows()*rec.NumCols() > maxCells {
		return s.halves(ctx, rec, done)
	}
	out, err := s.coercion.apply(ctx, rec)
	if errors.Is(err, errSlots) && rec.NumRows() > 1 {
		return s.halves(ctx, rec, done)
	}
	if err != nil {
		return 0, err
	}
	defer out.Release()
	return recordBytes(out), s.enc.write(ctx, out, done)
}

// halves encodes a batch that would take too much at a time once it is converted.
func (s *stage) halves(ctx context.Context, rec arrow.RecordBatch, done func(encoded) error) (int64, error) {
	middle := rec.NumRows() / 2
	first, err := s.one(ctx, rec.NewSlice(0, middle), done)
	if err != nil {
		return first, err
	}
	second, err := s.one(ctx, rec.NewSlice(middle, rec.NumRows()), done)
	return first + second, err
}

// put makes one file durable, records it and removes it from the spool.
func (s *stage) put(ctx context.Context, f encoded) (err error) {
	defer func() { err = errors.Join(err, f.file.Remove()) }()
	failpoint.Here(failpoint.StageEncoded)
	if err := reread(ctx, f, s.enc.schema); err != nil {
		return err
	}
	record := StagedFile{
		Job: s.request.Job, Dataset: s.request.Dataset, Config: s.request.Config, Split: s.request.Split,
		Partition: s.request.Partition, Attempt: s.request.Attempt, Index: len(s.records),
		OID: f.file.OID(), Size: f.file.Size(), Rows: f.rows, NumBytes: f.numBytes, Mode: UploadLFS, SchemaHash: s.hash,
	}
	if f.rows > 0 {
		stored, err := s.sink.Put(ctx, Upload{Job: s.request.Job, Revision: s.request.Revision, Path: s.path,
			OID: record.OID, Size: record.Size, Sample: f.file.Sample(), Open: f.file.Open})
		if err != nil {
			return err
		}
		failpoint.Here(failpoint.StageStored)
		if stored.Forget != nil {
			s.forgets = append(s.forgets, stored.Forget)
		}
		if stored.Regular {
			record.Mode = UploadRegular
		}
	} else {
		// Nearly always there is a file with rows and this one is not used: it
		// travels in its record instead of being stored.
		record.Mode = UploadRegular
	}
	if record.Mode == UploadRegular {
		if err := s.pack(&record, f); err != nil {
			return err
		}
	}
	s.records = append(s.records, record)
	failpoint.Here(failpoint.StageRecorded)
	return nil
}

// pack puts the file into its record.
func (s *stage) pack(record *StagedFile, f encoded) error {
	if record.Size > MaxRegular {
		return &source.Error{Op: "stage", Kind: source.KindLimit, Msg: "the schema alone is larger than a record can hold"}
	}
	raw := make([]byte, f.file.Size())
	if err := (spoolReader{f.file}).ReadAt(context.Background(), raw, 0); err != nil {
		return err
	}
	var err error
	record.Content, err = packContent(raw)
	return err
}

// forget drops what a failed attempt has stored.
func (s *stage) forget() {
	for _, f := range s.forgets {
		f()
	}
}
