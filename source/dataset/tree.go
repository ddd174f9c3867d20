package dataset

import (
	"context"

	"github.com/hubflight/hubflight/source"
)

const (
	readmeName = "README.md"
	// huggingfaceYAML holds keys that replace the README's.
	huggingfaceYAML = ".huggingface.yaml"
)

// tree gives the listing of a snapshot and the two files that describe it. The
// files of a commit never change, but who may read them may: a listing that was
// made longer than a minute ago is used after the Hub has let this caller open
// one of its files again.
func (p *Planner) tree(ctx context.Context, store source.Store, token source.HubToken, at source.Snapshot) (Tree, error) {
	key := listingKey{token: token.ID(), name: at.Name, commit: at.Commit}
	t, fresh, ok := p.listings.get(key)
	if ok && !fresh {
		if ok = stillReadable(ctx, store, t); ok {
			p.listings.renew(key)
		}
	}
	if ok {
		return t, nil
	}
	return p.list(ctx, store, key, at, func() []byte { return nil })
}

// stillReadable opens a file of the listing, one with data if there is one.
func stillReadable(ctx context.Context, store source.Store, t Tree) bool {
	if len(t.Files) == 0 {
		return false
	}
	f := t.Files[0]
	for _, other := range t.Files {
		if other.OID != "" {
			f = other
			break
		}
	}
	r, err := store.Open(ctx, f)
	return err == nil && r.Close() == nil
}

// list asks for the listing and reads the two files. readme gives what was asked
// for as README.md before, or nil.
func (p *Planner) list(ctx context.Context, store source.Store, key listingKey, at source.Snapshot, readme func() []byte) (Tree, error) {
	var t Tree
	for f, err := range store.Files(ctx, at, "") {
		if err != nil {
			return Tree{}, err
		}
		if len(t.Files) == p.entriesMax {
			return Tree{}, source.Errorf(source.KindLimit, "list", "the dataset has more than %d files", p.entriesMax)
		}
		t.Files = append(t.Files, f)
	}
	for _, f := range t.Files {
		var err error
		switch f.Path {
		case readmeName:
			if t.Readme = readme(); t.Readme == nil || !isBlob(f, t.Readme) {
				t.Readme, err = readSmall(ctx, store, f)
			}
		case huggingfaceYAML:
			t.HuggingfaceYAML, err = readSmall(ctx, store, f)
		}
		if err != nil {
			return Tree{}, err
		}
	}
	p.listings.put(key, t)
	return t, nil
}

// readSmall reads a small file whole, with one request where the Store can and
// the bytes turn out to be those that were listed.
func readSmall(ctx context.Context, store source.Store, f source.File) ([]byte, error) {
	if e, ok := store.(eager); ok && f.OID == "" && f.Size <= maxCardBytes {
		if text := blob(ctx, e, f.At.Commit, f.Path); text != nil && isBlob(f, text) {
			return text, nil
		}
	}
	return source.ReadFile(ctx, store, f, maxCardBytes)
}
