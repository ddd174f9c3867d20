package dataset

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
)

// eager is what a Store of the Hub offers so that a plan takes few round trips.
// Without it, each step waits for the one before: the commit, the listing, the
// README, the files' locations, their footers. With it, the README is asked for
// beside the commit, and the locations beside the listing.
//
// What comes early is a hint and no more: the README counts if its git blob is
// the one in the listing, and a location if its file is the one that is opened.
type eager interface {
	// Prepare opens connections.
	Prepare()
	// ResolveWithNames is Resolve with names of files, perhaps not all.
	ResolveWithNames(ctx context.Context, revision string) (source.Snapshot, []string, error)
	// Blob reads a small file as git stores it.
	Blob(ctx context.Context, revision, path string) ([]byte, error)
	// Locate asks where a file is, for Open.
	Locate(ctx context.Context, at source.Snapshot, path string) error
}

// maxGuessed is up to how many names the files of a plan are guessed: guessing
// resolves the dataset once more.
const maxGuessed = 20_000

// pin resolves the revision, once, and lists the tree.
func (p *Planner) pin(ctx context.Context, token source.HubToken, r Request) (*pinned, error) {
	store, err := p.open(ctx, r.Ref, token)
	if err != nil {
		return nil, err
	}
	if e, ok := store.(eager); ok && !p.listings.has(token, r.Ref.Name()) {
		return p.pinEagerly(ctx, e, store, token, r)
	}
	return p.pinAt(ctx, store, token, r.Ref.Revision)
}

// pinEagerly is pin for a dataset of which nothing is known.
func (p *Planner) pinEagerly(ctx context.Context, e eager, store source.Store, token source.HubToken, r Request) (*pinned, error) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.Prepare()
	answer := make(chan []byte, 1)
	running.Go(func() { answer <- blob(ctx, e, r.Ref.Revision, readmeName) })
	readme := sync.OnceValue(func() []byte { return <-answer })

	at, names, err := e.ResolveWithNames(ctx, r.Ref.Revision)
	if err != nil {
		return nil, err
	}
	var locating sync.WaitGroup
	locating.Go(func() { p.locateEarly(ctx, e, at, names, readme, r) })
	running.Go(locating.Wait)
	tree, err := p.list(ctx, store, listingKey{token: token.ID(), name: at.Name, commit: at.Commit}, at, readme)
	if err != nil {
		return nil, named(err, at)
	}
	p.listings.alias(token, at, r.Ref.Name())
	locating.Wait() // needed next, and under way for as long as the listing was
	return &pinned{store: store, token: token, at: at, tree: tree}, nil
}

// blob is nil where nothing can be had: it will be read the ordinary way.
func blob(ctx context.Context, e eager, revision, path string) (text []byte) {
	defer func() {
		if recover() != nil {
			text = nil
		}
	}()
	text, err := e.Blob(ctx, revision, path)
	if err != nil {
		return nil
	}
	return text
}

// locateEarly asks for the locations of the files that the request will probably
// choose, as many as have their footers read at a time.
func (p *Planner) locateEarly(ctx context.Context, e eager, at source.Snapshot, names []string, readme func() []byte, r Request) {
	var err error
	defer recovered(&err, "guess files", "") // what cannot be guessed is found out later
	if len(names) == 0 || len(names) > maxGuessed || r.Conversion == ConversionAlways || at.Revision == source.ConvertedRevision {
		return
	}
	var paths []string
	if paths, err = guess(at, names, readme(), r); err != nil {
		return
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, i := range sampled(len(paths), p.footersMax)[:min(len(paths), p.footersMax, p.parallel)] {
		group.Go(func() (err error) {
			defer recovered(&err, "locate", paths[i])
			_ = e.Locate(ctx, at, paths[i]) // asked again, patiently, when it is opened
			return nil
		})
	}
	_ = group.Wait() // always nil
}

// guess resolves a request on names alone.
func guess(at source.Snapshot, names []string, readme []byte, r Request) ([]string, error) {
	t := Tree{Readme: readme}
	if readme == nil && slices.Contains(names, readmeName) {
		return nil, fmt.Errorf("the README is not there")
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if source.ValidatePath(name) != "" {
			return nil, fmt.Errorf("%q is no path", name)
		}
		t.Files = append(t.Files, source.File{At: at, Path: name})
	}
	options, err := place(t, r)
	if err != nil {
		return nil, err
	}
	layout, err := Resolve(t, options)
	if err != nil {
		return nil, err
	}
	_, splits, err := layout.Choose(r.Config, r.Split)
	if err != nil {
		return nil, err
	}
	var paths []string
	seen := make(map[string]bool)
	for _, s := range splits {
		for _, f := range s.Files {
			if !seen[f.Path] {
				seen[f.Path] = true
				paths = append(paths, f.Path)
			}
		}
	}
	return paths, nil
}

// isBlob reports whether text is the content that a listing names by its git blob
// id.
func isBlob(f source.File, text []byte) bool {
	return f.OID == "" && int64(len(text)) == f.Size && source.GitBlobID(text) == f.ETag
}
