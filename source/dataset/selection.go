package dataset

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// pinned is a dataset at one commit, as one caller sees it.
type pinned struct {
	store source.Store
	token source.HubToken
	at    source.Snapshot
	tree  Tree
}

// pinAt resolves a revision and lists its tree, one after the other.
func (p *Planner) pinAt(ctx context.Context, store source.Store, token source.HubToken, revision string) (*pinned, error) {
	at, err := store.Resolve(ctx, revision)
	if err != nil {
		return nil, err
	}
	tree, err := p.tree(ctx, store, token, at)
	if err != nil {
		return nil, named(err, at)
	}
	return &pinned{store: store, token: token, at: at, tree: tree}, nil
}

// named says in an error which dataset it is about, if it does not say so.
func named(err error, at source.Snapshot) error {
	var e *source.Error
	if !errors.As(err, &e) {
		e = source.AsError("plan", err)
	}
	if e.Ref != "" {
		return e
	}
	out := *e
	out.Ref = at.Short()
	return &out
}

// selection is what a request chooses: one config's splits of a pinned dataset,
// and the tree that their bytes are in.
type selection struct {
	asked  *pinned // the revision that was asked for
	data   *pinned // where the bytes are; asked, or the conversion
	facts  Facts
	config string
	files  []chosenFile
	notes  []string
}

// chosenFile is a file and the split that it is read for.
type chosenFile struct {
	source.File
	split string
}

// origin is where a request's files come from: a tree and its layout.
type origin struct {
	data   *pinned
	layout *Layout
	kind   string // SourceNative, SourceLocal or SourceConverted
	notes  []string
}

func (p *Planner) choose(ctx context.Context, token source.HubToken, r Request) (*selection, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	asked, err := p.pin(ctx, token, r)
	if err != nil {
		return nil, err
	}
	o, err := p.origin(ctx, asked, r)
	if err != nil {
		return nil, named(err, asked.at)
	}
	config, splits, err := o.layout.Choose(r.Config, r.Split)
	if err != nil {
		return nil, named(err, asked.at)
	}
	s := &selection{asked: asked, data: o.data, config: config.Name, notes: append(o.notes, config.Notes...)}
	s.facts = Facts{
		V: 1, Sha: asked.at.Commit, DataSha: o.data.at.Commit, Config: config.Name, Split: splits[0].Name,
		Source: o.kind, Partial: config.Partial,
	}
	if r.Split == allSplits {
		s.facts.Split = allSplits
	}
	for _, split := range splits {
		for _, f := range split.Files {
			s.files = append(s.files, chosenFile{File: f, split: split.Name})
		}
	}
	return s, nil
}

// origin decides between the dataset's own tree and its conversion.
func (p *Planner) origin(ctx context.Context, asked *pinned, r Request) (origin, error) {
	options, err := place(asked.tree, r)
	if err != nil {
		return origin{}, err
	}
	own := origin{data: asked, kind: SourceNative}
	if asked.at.Local {
		own.kind = SourceLocal
	}
	plain := options.DataDir == "" && options.DataFiles.IsZero()
	if converted, err := p.isConversion(ctx, asked); err != nil {
		return own, err
	} else if converted {
		own.kind = SourceConverted
		if plain {
			own.layout, err = resolveConverted(asked.tree, r.Partial == PartialAllow)
			return own, err
		}
	}
	if r.Conversion == ConversionAlways && own.kind != SourceConverted {
		if asked.at.Local || !plain {
			return own, source.Errorf(source.KindInvalid, "conversion", "conversion=always cannot be combined with a local folder, data_dir or data_files").
				WithHint("those are read from the dataset's own files: leave conversion out")
		}
		return p.converted(ctx, asked, r)
	}
	if own.layout, err = asked.resolve(ctx, options); err != nil {
		return own, err
	}
	if own.kind == SourceConverted {
		markPartial(own.layout, asked.at.Short(), r.Partial == PartialAllow)
	}
	cause := own.layout.otherFormat(r)
	if cause == nil {
		return own, nil
	}
	if asked.at.Local || !plain || r.Conversion == ConversionNever {
		return own, cause
	}
	return p.fresh(ctx, asked, r, own.layout, cause)
}

// maxOtherRevisions is of how many revisions that patterns name it is asked
// whether they are the pinned commit.
const maxOtherRevisions = 4

// resolve is Resolve for patterns with revisions too. A client that pinned what it
// was told of main asks for the commit, and its patterns still say main.
func (d *pinned) resolve(ctx context.Context, o Options) (*Layout, error) {
	o.revision = d.at.Revision // a listing that is used again may have been asked for by another
	for asked := map[string]bool{}; ; {
		l, err := Resolve(d.tree, o)
		if err != nil {
			return nil, err
		}
		known := len(o.sameCommit)
		for _, revision := range l.otherRevisions {
			if asked[revision] || len(asked) == maxOtherRevisions {
				continue
			}
			asked[revision] = true
			at, err := d.store.Resolve(ctx, revision)
			switch {
			case err == nil && at.Commit == d.at.Commit:
				o.sameCommit = append(o.sameCommit, revision)
			case err != nil && source.KindOf(err) != source.KindNotFound:
				return nil, err
			}
		}
		if len(o.sameCommit) == known {
			return l, nil
		}
	}
}

// place turns the path inside a Ref into options: a glob or a file is data_files,
// anything else a folder.
func place(t Tree, r Request) (Options, error) {
	inside := strings.Trim(r.Ref.Path, "/")
	if inside == "" {
		return Options{DataDir: r.DataDir, DataFiles: r.DataFiles}, nil
	}
	exact := slices.ContainsFunc(t.Files, func(f source.File) bool { return f.Path == inside })
	if !exact && !hasMagic(inside) {
		return Options{DataDir: path.Join(inside, strings.Trim(r.DataDir, "/")), DataFiles: r.DataFiles}, nil
	}
	if r.DataDir != "" || !r.DataFiles.IsZero() {
		return Options{}, source.Errorf(source.KindInvalid, "read command", "the dataset name already names files (%s): data_dir and data_files cannot be added", inside)
	}
	if exact {
		inside = strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(inside)
	}
	return Options{DataFiles: newDataFiles(inside)}, nil
}

// isConversion reports whether the tree is the conversion branch itself: asked
// for by its name, or by the commit that the branch has now (a client that pinned
// it).
func (p *Planner) isConversion(ctx context.Context, asked *pinned) (bool, error) {
	switch {
	case asked.at.Local:
		return false, nil
	case asked.at.Revision == source.ConvertedRevision:
		return true, nil
	case asked.at.Revision != asked.at.Commit || !looksConverted(asked.tree):
		return false, nil
	}
	branch, err := asked.store.Resolve(ctx, source.ConvertedRevision)
	if source.KindOf(err) == source.KindNotFound {
		return false, nil
	}
	return err == nil && branch.Commit == asked.at.Commit, err
}

// converted reads the conversion although nobody says whether it is fresh. It
// is made of the default branch, so another branch or tag must be at the same
// commit; a commit is taken as it is, since clients pin commits between planning
// and reading.
func (p *Planner) converted(ctx context.Context, asked *pinned, r Request) (origin, error) {
	o := origin{kind: SourceConverted}
	if r.Ref.Revision != "" && asked.at.Revision != asked.at.Commit {
		head, err := asked.store.Resolve(ctx, "")
		if err != nil {
			return o, err
		}
		if head.Commit != asked.at.Commit {
			return o, source.Errorf(source.KindUnsupported, "conversion", "only the default branch is converted to Parquet, and revision %q is at another commit", asked.at.Revision).
				WithHint("leave revision out")
		}
	}
	data, err := p.pinAt(ctx, asked.store, asked.token, source.ConvertedRevision)
	if source.KindOf(err) == source.KindNotFound {
		return o, noConversion("the dataset has no Parquet conversion")
	}
	if err != nil {
		return o, err
	}
	o.data = data
	o.notes = []string{"freshness not verified: the conversion may belong to an older commit"}
	if o.layout, err = resolveConverted(data.tree, r.Partial == PartialAllow); err != nil {
		return o, err
	}
	if own, err := Resolve(asked.tree, Options{}); err == nil {
		o.layout.borrow(own)
	}
	return o, nil
}
