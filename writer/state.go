package writer

import (
	"context"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
)

// State is what a branch or folder holds at one commit: all that a Plan depends
// on. It is not changed after it is made.
type State struct {
	At source.Snapshot
	// Files are all files, in byte order of their paths.
	Files []source.File
	// Readme and HuggingfaceYAML are nil if there is none.
	Readme          []byte
	HuggingfaceYAML []byte
	// Attributes is .gitattributes, nil if there is none or for LoadLayout.
	Attributes []byte
	// Store opens the files.
	Store source.Store
}

const (
	// ReadmePath and AttributesPath are where a Batch's texts go.
	ReadmePath     = "README.md"
	AttributesPath = ".gitattributes"
	yamlName       = ".huggingface.yaml"
	// maxCard is the largest card that is read and edited. Cards of real
	// datasets are below 1 MiB.
	maxCard = 8 << 20
	// maxFiles is the Hub's own advice times ten.
	maxFiles = 1_000_000
)

// LoadState lists a snapshot and reads its card: all that a Plan needs.
func LoadState(ctx context.Context, store source.Store, at source.Snapshot) (*State, error) {
	return load(ctx, store, at, true)
}

// LoadLayout is LoadState without Attributes, which only a Plan looks at.
func LoadLayout(ctx context.Context, store source.Store, at source.Snapshot) (*State, error) {
	return load(ctx, store, at, false)
}

func load(ctx context.Context, store source.Store, at source.Snapshot, attributes bool) (*State, error) {
	s := &State{At: at, Store: store}
	for f, err := range store.Files(ctx, at, "") {
		if err != nil {
			return nil, err
		}
		if len(s.Files) == maxFiles {
			return nil, &source.Error{Op: "list", Kind: source.KindLimit, Ref: at.Short(), Msg: "the dataset has more than a million files"}
		}
		s.Files = append(s.Files, f)
	}
	// At the same time: over a distance each takes as long as all.
	group, ctx := errgroup.WithContext(ctx)
	for _, f := range s.Files {
		into := s.special(f.Path)
		if into == nil || into == &s.Attributes && !attributes {
			continue
		}
		group.Go(func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = source.Errorf(source.KindInternal, "read", "panic: %v\n%s", p, debug.Stack()).WithFile(at.Short(), f.Path)
				}
			}()
			*into, err = source.ReadFile(ctx, store, f, maxCard)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *State) special(path string) *[]byte {
	switch path {
	case ReadmePath:
		return &s.Readme
	case yamlName:
		return &s.HuggingfaceYAML
	case AttributesPath:
		return &s.Attributes
	}
	return nil
}

// IsText reports whether a State holds what the file of this path says.
func IsText(path string) bool { return (&State{}).special(path) != nil }

// below reports whether path lies in dir ("" is everything).
func below(path, dir string) bool {
	return dir == "" || strings.HasPrefix(path, dir+"/")
}
