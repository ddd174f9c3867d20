package localsink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

const (
	area    = ".hubflight"
	doneDir = area + "/done"
	private = 0o700
)

// Sink is one folder.
type Sink struct {
	store *localfs.Store
	log   *slog.Logger
	fault func(step string) error // of tests: takes the place of a step

	impatient atomic.Bool // forget has waited for the lock in vain
}

var _ writer.Sink = (*Sink)(nil)

// New returns the Sink of a folder, which need not exist yet. A nil log is
// silence.
func New(store *localfs.Store, log *slog.Logger) *Sink {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sink{store: store, log: log}
}

// Begin implements writer.Sink.
func (s *Sink) Begin(ctx context.Context, p writer.Prepare) (writer.Base, error) {
	switch {
	case p.Revision != "":
		return writer.Base{}, s.fail("begin", source.KindInvalid, "a local folder has no revision "+p.Revision)
	case p.PR:
		return writer.Base{}, s.fail("begin", source.KindInvalid, "a local folder has no pull requests")
	case p.Create:
		if err := s.store.Create(); err != nil {
			return writer.Base{}, err
		}
	}
	f, err := s.open()
	if err != nil {
		if source.KindOf(err) == source.KindNotFound {
			return writer.Base{}, source.AsError("begin", err).WithHint("set create_repo to create the folder")
		}
		return writer.Base{}, err
	}
	defer f.close()
	// Finishing what a dead process left also finds out whether locks work.
	if unlock, err := f.tryLock(); err == nil {
		if err := f.locked(unlock, func() error { return f.recover(ctx) }); err != nil {
			return writer.Base{}, err
		}
	} else if !errors.Is(err, errHeld) {
		return writer.Base{}, err
	}
	at, err := s.store.Resolve(ctx, "")
	if err != nil {
		return writer.Base{}, err
	}
	return writer.Base{Commit: at.Commit}, nil
}

// At implements writer.Sink. A folder has no history: it is read as it is now.
func (s *Sink) At(ctx context.Context, _, _ string) (*writer.State, error) {
	return stateOf(ctx, s.store)
}

func stateOf(ctx context.Context, store *localfs.Store) (*writer.State, error) {
	const tries = 5 // another program may be writing; the digest tells
	for i := 0; ; i++ {
		at, err := store.Resolve(ctx, "")
		if err != nil {
			return nil, err
		}
		state, err := writer.LoadState(ctx, store, at)
		if err == nil || source.KindOf(err) != source.KindChanged || i == tries {
			return state, err
		}
	}
}

// Put implements writer.Sink.
func (s *Sink) Put(ctx context.Context, u writer.Upload) (writer.Stored, error) {
	f, err := s.open()
	if err != nil {
		return writer.Stored{}, err
	}
	defer f.close()
	// Every attempt has a copy of its own, so that dropping one does not take
	// another's.
	name := path.Join(area, u.Job, u.OID+"."+unique())
	for try := 1; ; try++ {
		err := f.put(ctx, name, u)
		if err == nil {
			return writer.Stored{Forget: func() { s.forget(name) }}, nil
		}
		// An attempt that is forgotten takes the job's folder with it if it is empty.
		if source.KindOf(err) != source.KindNotFound || try == putTries {
			return writer.Stored{}, err
		}
	}
}

const putTries = 3

// put writes a staged file, and the job's folder if it is not there.
func (f *folder) put(ctx context.Context, name string, u writer.Upload) error {
	if err := f.root.MkdirAll(path.Dir(name), private); err != nil {
		return f.sink.wrap("stage", err)
	}
	in, err := u.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	return f.write(ctx, name, in, u.Size)
}

// forgetWait is how long dropping a file waits for a commit to end.
const forgetWait = time.Second

// forget removes a staged file of an attempt that is not committed. It takes the lock,
// because a commit that prepares its intent may have chosen this very copy: of equal
// content any will do. A commit that was interrupted has an intent, and then nothing is
// removed. Nor is it while somebody commits for long: what nobody commits is dropped
// when it is old.
func (s *Sink) forget(name string) {
	f, err := s.open()
	if err != nil {
		return
	}
	defer f.close()
	wait := forgetWait
	if s.impatient.Load() {
		wait = 0
	}
	unlock, err := f.lock(context.Background(), wait)
	if err != nil {
		s.impatient.Store(true) // an abort may have thousands to drop
		return
	}
	_ = f.locked(unlock, func() error {
		if _, err := f.root.Stat(path.Join(path.Dir(name), intentName)); err == nil {
			return nil
		}
		_ = f.root.Remove(name)
		_ = f.root.Remove(path.Dir(name)) // if it is empty
		return nil
	})
}

func unique() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// folder is the dataset's folder, open.
type folder struct {
	sink *Sink
	root disk
}

func (s *Sink) open() (*folder, error) {
	root, err := s.store.Root()
	if err != nil {
		return nil, err
	}
	return &folder{sink: s, root: disk{root, s.fault}}, nil
}

func (f *folder) close() { _ = f.root.Close() } // a descriptor of a folder: nothing is buffered

// write makes a file that is all there, and stays after a power cut, or not there
// at all.
func (f *folder) write(ctx context.Context, name string, in io.Reader, size int64) (err error) {
	temporary := name + ".tmp"
	out, err := f.root.create(temporary, os.O_EXCL)
	if err != nil {
		return f.sink.wrap("stage", err)
	}
	defer func() {
		if err != nil {
			_ = f.root.Remove(temporary)
		}
	}()
	err = f.root.at(stepWrite)
	n := int64(-1)
	if err == nil {
		n, err = io.Copy(out, contextReader{ctx, in})
	}
	if err == nil && size >= 0 && n != size {
		err = source.Errorf(source.KindInternal, "stage", "%d bytes were written instead of %d", n, size)
	}
	failpoint.Here(failpoint.LocalWritten)
	if err == nil {
		err = f.root.sync(out)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return f.sink.wrap("stage", err)
	}
	failpoint.Here(failpoint.LocalSynced)
	if err := f.root.Rename(temporary, name); err != nil {
		return f.sink.wrap("stage", err)
	}
	failpoint.Here(failpoint.LocalRenamed)
	if err := f.syncDir(path.Dir(name)); err != nil {
		_ = f.root.drop(name)
		return err
	}
	return nil
}

// contextReader ends a copy when its context does.
type contextReader struct {
	ctx context.Context // io.Reader has no other way to learn of a cancel
	in  io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}

func (s *Sink) fail(op string, kind source.Kind, msg string) *source.Error {
	return &source.Error{Op: op, Kind: kind, Msg: msg, Ref: s.store.Name()}
}

// wrap classifies an error of the file system; nil stays nil.
func (s *Sink) wrap(op string, err error) error {
	var known *source.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	e := &source.Error{Op: op, Kind: source.KindInternal, Ref: s.store.Name(), Err: bare(err)}
	switch {
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		e.Kind, e.Msg = source.KindDenied, "the folder cannot be written to"
	case isFull(err):
		e.Kind, e.Msg = source.KindBusy, "the disk is full"
	case errors.Is(err, syscall.EFBIG):
		e.Kind, e.Msg = source.KindLimit, "the disk takes no file of that size"
	case errors.Is(err, syscall.EXDEV):
		e.Kind, e.Msg = source.KindUnsupported, "a folder in it is on another filesystem, so that files cannot be moved there at once"
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = source.KindNotFound
	}
	return e
}

// bare drops the path from an error: paths inside .hubflight say nothing to a
// caller.
func bare(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	var lerr *os.LinkError
	if errors.As(err, &lerr) {
		return lerr.Err
	}
	return err
}

// oidOf is the content that a staged file's name promises.
func oidOf(name string) string {
	oid, rest, ok := strings.Cut(name, ".")
	if !ok || strings.HasSuffix(rest, ".tmp") {
		return ""
	}
	return oid
}
