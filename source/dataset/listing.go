package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Shapes of a ParquetRequest.
const (
	ShapeViewer = "viewer" // the dataset viewer's /parquet (default)
	ShapeHub    = "hub"    // the Hub's /api/datasets/…/parquet
)

// ParquetRequest asks which Parquet files a dataset was converted to.
type ParquetRequest struct {
	Ref source.Ref
	// Config and Split narrow the listing; a Split needs a Config in the Hub's shape.
	Config, Split string
	// Shape is one of the constants, or "" for the viewer's.
	Shape string
	// Shard, in the Hub's shape, is the number of the one file asked for; −1 for all.
	Shard int
}

// Validate refuses combinations that name nothing.
func (r ParquetRequest) Validate() error {
	refuse := func(format string, args ...any) error {
		return source.Errorf(source.KindInvalid, "parquet", format, args...)
	}
	switch {
	case r.Shape != "" && r.Shape != ShapeViewer && r.Shape != ShapeHub:
		return refuse("shape %q is none of viewer, hub", r.Shape)
	case r.Ref.IsLocal():
		return refuse("a local folder has no conversion to Parquet")
	case r.Ref.Path != "":
		return refuse("a conversion is of a whole dataset: leave %q out of its name", r.Ref.Path)
	case r.Shard < -1:
		return refuse("shard %d is negative", r.Shard)
	case r.Shard >= 0 && (r.Shape != ShapeHub || r.Split == ""):
		return refuse("shard numbers a file of one config and split in the shape hub")
	case r.Shape == ShapeHub && r.Split != "" && r.Config == "":
		return refuse("split %q needs its config in the shape hub", r.Split)
	}
	return nil
}

// ParquetListing is the answer. Where there is no conversion it is empty and
// Reason says why.
type ParquetListing struct {
	Conversion source.Conversion              // in the viewer's shape
	URLs       map[string]map[string][]string // in the Hub's shape: config → split → addresses
	Reason     string
}

// Parquet lists the files of a dataset's conversion with the values that the
// Hub and its viewer give. Without a viewer, the viewer's shape is made from the
// conversion branch, which knows neither of pending nor of failed configs.
func (p *Planner) Parquet(ctx context.Context, token source.HubToken, r ParquetRequest) (ParquetListing, error) {
	if err := r.Validate(); err != nil {
		return ParquetListing{}, err
	}
	store, err := p.open(ctx, r.Ref, token)
	if err != nil {
		return ParquetListing{}, err
	}
	asked, err := store.Resolve(ctx, r.Ref.Revision)
	if err != nil {
		return ParquetListing{}, err
	}
	var l ParquetListing
	if r.Shape == ShapeHub {
		l.URLs, err = hubListing(ctx, store, asked, r)
	} else {
		l.Conversion, err = p.viewerListing(ctx, store, token, asked, r)
	}
	switch {
	case err == nil:
		return l, nil
	case noListing(err):
		return ParquetListing{Reason: messageOf(err)}, nil
	}
	return ParquetListing{}, named(err, asked)
}

// noListing tells a dataset without a conversion from an accident.
func noListing(err error) bool {
	switch source.KindOf(err) {
	case source.KindNotFound, source.KindUnsupported:
		return true
	}
	return errors.Is(err, source.ErrConversionPending)
}

// ofDefault reports, as an error, a revision that the conversion is not of.
func ofDefault(ctx context.Context, store source.Store, asked source.Snapshot, r ParquetRequest, converted string) error {
	if r.Ref.Revision == "" || r.Ref.Revision == source.ConvertedRevision {
		return nil
	}
	if converted == "" {
		head, err := store.Resolve(ctx, "")
		if err != nil {
			return err
		}
		converted = head.Commit
	}
	if converted != asked.Commit {
		return source.Errorf(source.KindUnsupported, "parquet", "the conversion is of commit %.8s, and revision %q is at %.8s", converted, r.Ref.Revision, asked.Commit)
	}
	return nil
}

func (p *Planner) viewerListing(ctx context.Context, store source.Store, token source.HubToken, asked source.Snapshot, r ParquetRequest) (source.Conversion, error) {
	var said source.Conversion
	known := false
	if s, ok := store.(viewed); ok {
		var err error
		if said, known, err = s.Conversion(ctx); err != nil {
			return said, err
		}
	}
	if err := ofDefault(ctx, store, asked, r, said.Commit); err != nil {
		return source.Conversion{}, err
	}
	if !known {
		var err error
		if said, err = p.branchListing(ctx, store, token); err != nil {
			return said, err
		}
	}
	said.Files = keep(said.Files, func(f source.ConvertedFile) bool { return wanted(r, f.Config, &f.Split) })
	said.Pending = keep(said.Pending, func(j source.ConversionJob) bool { return j.Config == nil || wanted(r, *j.Config, j.Split) })
	said.Failed = keep(said.Failed, func(j source.ConversionJob) bool { return j.Config == nil || wanted(r, *j.Config, j.Split) })
	return said, nil
}

func wanted(r ParquetRequest, config string, split *string) bool {
	return (r.Config == "" || r.Config == config) && (r.Split == "" || split == nil || r.Split == *split)
}

// keep returns the elements that pass, never nil: the JSON form is a list.
func keep[T any](in []T, pass func(T) bool) []T {
	out := make([]T, 0, len(in))
	for _, v := range in {
		if pass(v) {
			out = append(out, v)
		}
	}
	return out
}

// branchListing is what the conversion branch itself shows, in the viewer's order
// of splits.
func (p *Planner) branchListing(ctx context.Context, store source.Store, token source.HubToken) (source.Conversion, error) {
	var said source.Conversion
	data, err := p.pinAt(ctx, store, token, source.ConvertedRevision)
	if source.KindOf(err) == source.KindNotFound {
		return said, noConversion("the dataset has no Parquet conversion")
	}
	if err != nil {
		return said, err
	}
	l, err := resolveConverted(data.tree, true)
	if err != nil {
		return said, err
	}
	if len(l.Configs) == 0 {
		return said, l.empty
	}
	base := ""
	if e, ok := store.(interface {
		FileURL(revision, path string) string
	}); ok {
		base = e.FileURL(source.ConvertedRevision, "")
	}
	for _, c := range l.Configs {
		said.Partial = said.Partial || c.Partial
		slices.SortFunc(c.Splits, func(a, b Split) int { return cmp.Compare(a.Name, b.Name) })
		for _, s := range c.Splits {
			for _, f := range s.Files {
				said.Files = append(said.Files, source.ConvertedFile{
					Dataset: data.at.Name, Config: c.Name, Split: s.Name, URL: base + f.Path,
					Filename: f.Path[strings.LastIndexByte(f.Path, '/')+1:], Size: f.Size,
				})
			}
		}
	}
	return said, nil
}

// hubListing asks the Hub for what the request names, and for one shard gives
// that one address.
func hubListing(ctx context.Context, store source.Store, asked source.Snapshot, r ParquetRequest) (map[string]map[string][]string, error) {
	s, ok := store.(viewed)
	if !ok {
		return nil, source.Errorf(source.KindUnsupported, "parquet", "this store lists no conversions")
	}
	if err := ofDefault(ctx, store, asked, r, ""); err != nil {
		return nil, err
	}
	urls, err := s.ParquetURLs(ctx, r.Config, r.Split)
	if err != nil || r.Shard < 0 {
		return urls, err
	}
	shards := urls[r.Config][r.Split]
	if r.Shard >= len(shards) {
		return nil, source.Errorf(source.KindInvalid, "parquet", "split %s of config %s has %s, not a shard %d", r.Split, r.Config, count(len(shards), "file"), r.Shard)
	}
	return map[string]map[string][]string{r.Config: {r.Split: shards[r.Shard : r.Shard+1]}}, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
