package hubsink

import (
	"context"
	"runtime/debug"
	"sync"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/writer"
)

// ahead is what a commit asks while it finds out where the branch stands: nearly
// always nobody has committed since the job began, and then the State is that of the
// job's base; and whether the staged files are stored depends on no commit. Over a
// distance that is one round trip in the place of several.
type ahead struct {
	base string

	loading sync.WaitGroup // of state
	unload  context.CancelFunc
	state   *writer.State
	unread  error

	asking  sync.WaitGroup // of missing
	cancel  context.CancelFunc
	missing []string
	refused error
}

// look starts to ask. end must be called.
func (c *committer) look(ctx context.Context) *ahead {
	a := &ahead{base: c.job.Base}
	ctx, a.cancel = context.WithCancel(ctx)
	loading, unload := context.WithCancel(ctx)
	a.unload = unload
	if a.base != "" {
		a.loading.Go(guarded("commit", &a.unread, func() (err error) {
			a.state, err = c.load(loading, a.base)
			return err
		}))
	}
	a.asking.Go(guarded("commit", &a.refused, func() (err error) {
		a.missing, err = c.sink.data.MissingLFS(ctx, c.branch, objects(c.job.Files))
		return err
	}))
	return a
}

// at is the State of a commit, if it is the one that was looked at.
func (a *ahead) at(commit string) (state *writer.State, looked bool, err error) {
	if a.base != commit {
		a.unload()
		return nil, false, nil
	}
	a.loading.Wait()
	return a.state, true, a.unread
}

// end gives up what nobody has waited for.
func (a *ahead) end() {
	a.cancel()
	a.loading.Wait()
	a.asking.Wait()
}

// objects are the files that are stored by their content's id.
func objects(files []writer.StagedFile) []hub.LFSObject {
	var out []hub.LFSObject
	for _, f := range files {
		if f.Mode == writer.UploadLFS {
			out = append(out, hub.LFSObject{OID: f.OID, Size: f.Size})
		}
	}
	return out
}

// guarded runs f, whose error or panic goes into failed.
func guarded(op string, failed *error, f func() error) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				*failed = source.Errorf(source.KindInternal, op, "panic: %v\n%s", p, debug.Stack())
			}
		}()
		*failed = f()
	}
}
