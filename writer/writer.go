package writer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer/parquetfile"
	"github.com/hubflight/hubflight/writer/spool"
)

// Options configure a Writer.
type Options struct {
	// Open returns the sink of a dataset.
	Open Opener
	// SpoolDir is the folder for files that are being written; "" is the
	// system's temporary folder.
	SpoolDir string
	// SpoolBytes bounds what lies there at one time; 0 is 8 GiB.
	SpoolBytes int64
	// Defaults are the encoding of a request that does not say.
	Defaults Encoding
	// CommitDeadline bounds one Commit call, quota waits included; 0 is 2 h.
	CommitDeadline time.Duration
	Logger         *slog.Logger
}

// Writer carries out the steps of jobs. It is safe for concurrent use and holds
// nothing that a restart loses.
type Writer struct {
	open     Opener
	spool    *spool.Spool
	defaults Encoding
	deadline time.Duration
	log      *slog.Logger
	repos    keyedMutex // one commit at a time per dataset
	schemas  schemaCache
	known    knownJobs
	held     *allowance           // of pages in memory
	regions  *parquetfile.Regions // of files that have ended

	mu   sync.Mutex
	jobs map[jobKey]*jobState // attempts that are running or staged here
}

const defaultSpoolBytes = 8 << 30

// New makes a Writer and its spool. It removes what a dead process left there.
func New(o Options) (*Writer, error) {
	if o.Open == nil {
		return nil, source.Errorf(source.KindInternal, "writer", "no opener")
	}
	if err := o.Defaults.Validate(); err != nil {
		return nil, err
	}
	if o.SpoolBytes == 0 {
		o.SpoolBytes = defaultSpoolBytes
	}
	if o.CommitDeadline == 0 {
		o.CommitDeadline = 2 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	sp, err := spool.Open(o.SpoolDir, o.SpoolBytes)
	if err != nil {
		return nil, err
	}
	return &Writer{open: o.Open, spool: sp, defaults: o.Defaults, deadline: o.CommitDeadline, log: o.Logger,
		held: newAllowance(allHeldMore), regions: parquetfile.NewRegions(keptRegions), jobs: map[jobKey]*jobState{}}, nil
}

// Close removes the spool. Attempts that still run fail.
func (w *Writer) Close() error {
	w.regions.Clear()
	return w.spool.Close()
}

// jobState is what this process knows of a job: only conveniences.
type jobState struct {
	cancels map[int]context.CancelCauseFunc // running attempts
	forgets []func()                        // staged files that an abort may drop
	next    int
	touched time.Time
}

const (
	maxJobs    = 10_000
	jobIdle    = 24 * time.Hour
	maxForgets = MaxStagedFiles
)

// enter registers a running attempt; the returned function ends it. A context
// that Abort cancels is returned with it.
func (w *Writer) enter(ctx context.Context, job jobKey) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweep()
	st := w.jobs[job]
	if st == nil {
		st = &jobState{cancels: map[int]context.CancelCauseFunc{}}
		w.jobs[job] = st
	}
	id := st.next
	st.next++
	st.cancels[id] = cancel
	st.touched = time.Now()
	return ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		cancel(nil)
		delete(st.cancels, id)
		if len(st.cancels) == 0 && len(st.forgets) == 0 && w.jobs[job] == st {
			delete(w.jobs, job)
		}
	}
}

// remember keeps what an abort of the job may drop. It reports false if the job was
// aborted or committed since the attempt began: then nobody drops it any more but the
// attempt itself.
func (w *Writer) remember(job jobKey, forgets []func()) bool {
	if len(forgets) == 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.jobs[job]
	if st == nil {
		return false
	}
	if len(st.forgets)+len(forgets) <= maxForgets {
		st.forgets = append(st.forgets, forgets...)
	}
	return true
}

// sweep drops jobs that nobody has touched for a day, so that the table stays
// small; w.mu is held.
func (w *Writer) sweep() {
	if len(w.jobs) < maxJobs {
		return
	}
	for id, st := range w.jobs {
		if len(st.cancels) == 0 && time.Since(st.touched) > jobIdle {
			delete(w.jobs, id)
		}
	}
}

// Abort stops the attempts of a caller's own job that run here and drops what only
// they could refer to. It never fails, also for unknown jobs, of which another
// caller's is one, and never touches what a commit may refer to.
func (w *Writer) Abort(ctx context.Context, token source.HubToken, job string) error {
	key := keyOfJob(ctx, token, job)
	w.known.forget(key)
	for _, forget := range w.stop(key) {
		forget()
	}
	return nil
}

// done forgets a job that is committed: an abort has nothing left to drop. Only as the
// committer's own: an id proves nothing about another caller's job.
func (w *Writer) done(job jobKey) {
	w.known.forget(job)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.jobs, job)
}

// stop cancels the attempts of a job and returns what may be dropped. An attempt
// that ends takes itself out of its job, so the lock is held until all are told.
func (w *Writer) stop(job jobKey) (forgets []func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.jobs[job]
	if st == nil {
		return nil
	}
	delete(w.jobs, job)
	for _, cancel := range st.cancels {
		cancel(source.Errorf(source.KindCanceled, "stage", "the job was aborted"))
	}
	return st.forgets
}

// keyedMutex is one lock per name; locks nobody holds take no memory.
type keyedMutex struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the name or for ctx.
func (k *keyedMutex) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		wait, busy := k.held[name]
		if !busy {
			done := make(chan struct{})
			k.held[name] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, name)
				k.mu.Unlock()
				close(done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
