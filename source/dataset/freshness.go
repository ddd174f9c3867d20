package dataset

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// viewed is what a Store of the Hub offers beside its files: what the dataset
// viewer and the Hub say about the dataset's conversion to Parquet.
type viewed interface {
	// Conversion asks the viewer; known is false if there is none.
	Conversion(ctx context.Context) (c source.Conversion, known bool, err error)
	// ParquetURLs asks the Hub for config → split → addresses.
	ParquetURLs(ctx context.Context, config, split string) (map[string]map[string][]string, error)
}

// rewriteWait is how long a reader is asked to wait for a conversion that is
// being written just now.
const rewriteWait = 30 * time.Second

// otherFormat returns the error of what a request chooses if that is data in
// another format than Parquet, else nil. Where a config has to be named first, it
// is the error that all configs have in common.
func (l *Layout) otherFormat(r Request) error {
	_, _, err := l.Choose(r.Config, r.Split)
	if err == nil {
		return nil
	}
	if isOtherFormat(err) {
		return err
	}
	if !l.FromReadme && len(l.Configs) == 1 && isOtherFormat(l.Configs[0].Err) {
		return l.Configs[0].Err // the conversion may know configs that the files do not show
	}
	if len(l.Configs) == 0 || r.Config != "" || slices.ContainsFunc(l.Configs, func(c Config) bool { return !isOtherFormat(c.Err) }) {
		return nil
	}
	return l.Configs[0].Err
}

// fresh reads the conversion of a dataset that is not Parquet if the dataset
// viewer says that it belongs to the very commit that was asked for. cause says
// what the dataset's own format is: the reason why the conversion is looked at,
// with which every error begins.
func (p *Planner) fresh(ctx context.Context, asked *pinned, r Request, own *Layout, cause error) (origin, error) {
	reason := messageOf(cause)
	store, ok := asked.store.(viewed)
	if !ok {
		return origin{}, unverifiable(ctx, asked, reason)
	}
	said, known, err := store.Conversion(ctx)
	switch {
	case !known:
		return origin{}, unverifiable(ctx, asked, reason)
	case source.KindOf(err) == source.KindNotFound:
		return origin{}, noConversion(reason + ", and there is no Parquet conversion: " + messageOf(err))
	case err != nil:
		return origin{}, because(err, reason)
	case said.Commit == "":
		return origin{}, source.Errorf(source.KindUnsupported, "conversion", "%s; the dataset viewer does not say which commit its Parquet conversion is of", reason).
			WithHint(hintAlways)
	case said.Commit != asked.at.Commit:
		return origin{}, stale(ctx, asked, r, said, reason)
	}
	data, err := p.pinAt(ctx, asked.store, asked.token, source.ConvertedRevision)
	if source.KindOf(err) == source.KindNotFound {
		data, err = &pinned{store: asked.store, token: asked.token, at: asked.at}, nil // without files: every config says why it is not there
	}
	if err != nil {
		return origin{}, err
	}
	o := origin{kind: SourceConverted, data: data}
	if o.layout, err = resolveConverted(data.tree, r.Partial == PartialAllow); err != nil {
		return o, err
	}
	o.layout.confirm(said, asked.at.Short(), reason, r.Partial == PartialAllow)
	o.layout.borrow(own)
	return o, nil
}

const hintAlways = `conversion="always" reads it all the same`

// messageOf is what an error says, without kind, dataset and hint.
func messageOf(err error) string {
	var e *source.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Msg == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Msg
}

// because puts the reason for asking in front of what went wrong.
func because(err error, reason string) error {
	var e *source.Error
	if !errors.As(err, &e) || e.Kind == source.KindCanceled || e.Kind == source.KindDeadline {
		return err
	}
	out := *e
	out.Msg = reason + "; " + messageOf(err)
	return &out
}

// stale is the error for a conversion of another commit than the one asked for.
func stale(ctx context.Context, asked *pinned, r Request, said source.Conversion, reason string) error {
	if r.Ref.Revision != "" && asked.at.Revision != asked.at.Commit {
		if head, err := asked.store.Resolve(ctx, ""); err == nil && head.Commit != asked.at.Commit {
			return source.Errorf(source.KindUnsupported, "conversion", "%s; only the default branch is converted to Parquet, and revision %q is at another commit", reason, asked.at.Revision).
				WithHint("leave revision out")
		}
	}
	return source.Errorf(source.KindUnsupported, "conversion", "%s, and its Parquet conversion is stale: it belongs to commit %.8s, the data asked for is at %.8s", reason, said.Commit, asked.at.Commit).
		WithHint("the dataset viewer catches up by itself after a commit; conversion=\"always\" reads the other commit's data")
}

// unverifiable is the error without a viewer: nobody knows which commit a
// conversion belongs to, so it is never read unless it is asked for.
func unverifiable(ctx context.Context, asked *pinned, reason string) error {
	_, err := asked.store.Resolve(ctx, source.ConvertedRevision)
	switch {
	case source.KindOf(err) == source.KindNotFound:
		return noConversion(reason + ", and there is no Parquet conversion of it")
	case err != nil:
		return err
	}
	return source.Errorf(source.KindUnsupported, "conversion", "%s; it has a Parquet conversion, but whether that is of the current commit cannot be verified without a dataset viewer", reason).
		WithHint(hintAlways)
}

// confirm compares the configs of a converted tree with what the viewer says:
// a config that is listed must consist of exactly the listed files, and one that
// is not listed has an Err that says why.
func (l *Layout) confirm(said source.Conversion, dataset, reason string, allowPartial bool) {
	listed := make(map[string]map[string]int64) // config → path → size
	marked := false
	var names []string
	name := func(config string) {
		if !slices.Contains(names, config) {
			names = append(names, config)
		}
	}
	for _, f := range said.Files {
		if listed[f.Config] == nil {
			listed[f.Config] = make(map[string]int64)
			name(f.Config)
		}
		path := f.Path()
		marked = marked || strings.Contains(path, "/partial-")
		listed[f.Config][path] = f.Size
	}
	for _, job := range slices.Concat(said.Pending, said.Failed) {
		if job.Config != nil {
			name(*job.Config)
		}
	}
	var out []Config
	for _, config := range names {
		c := Config{Name: config}
		if i := l.find(config); i >= 0 {
			c = l.Configs[i]
		}
		refuse := func(err *source.Error) { c.Splits, c.Err = nil, err.WithFile(dataset, "") }
		switch {
		case slices.ContainsFunc(said.Failed, func(j source.ConversionJob) bool { return j.Concerns(config) }):
			refuse(source.Errorf(source.KindUnsupported, "conversion", "%s, and the Parquet conversion of config %s failed", reason, config).
				WithHint("the dataset's page on the Hub shows the viewer's error"))
		case slices.ContainsFunc(said.Pending, func(j source.ConversionJob) bool { return j.Concerns(config) }):
			refuse(pending(reason, "the Parquet conversion of config %s is pending", config))
		case c.Err == nil && !sameShards(c, listed[config]):
			refuse(pending(reason, "the Parquet conversion of config %s is being rewritten", config))
		case said.Partial && !marked && !c.Partial:
			if c.Partial = true; allowPartial {
				c.note(partialNote)
			} else {
				c.refusePartial(dataset)
			}
		}
		out = append(out, c)
	}
	l.Configs = out
	if len(out) == 0 {
		if len(said.Pending) > 0 {
			l.empty = pending(reason, "its Parquet conversion is pending")
		} else if len(said.Failed) > 0 {
			l.empty = source.Errorf(source.KindUnsupported, "conversion", "%s, and its Parquet conversion failed", reason)
		} else {
			l.empty = noConversion(reason + ", and its Parquet conversion is empty")
		}
	}
	for i := range l.Configs {
		l.Configs[i].Default = len(l.Configs) == 1 || l.Configs[i].Name == defaultConfig
	}
}

// pending is the error of a conversion that is not ready: the reason for asking, and
// what it waits for.
func pending(reason, format string, args ...any) *source.Error {
	e := source.Errorf(source.KindBusy, "conversion", format, args...)
	e.Msg, e.RetryAfter = reason+", and "+e.Msg, rewriteWait
	return e
}

// sameShards reports whether a config's files are exactly those listed.
func sameShards(c Config, listed map[string]int64) bool {
	n := 0
	for _, s := range c.Splits {
		for _, f := range s.Files {
			if size, ok := listed[f.Path]; !ok || size != f.Size {
				return false
			}
			n++
		}
	}
	return n == len(listed)
}

// borrow takes over from the dataset's own layout what a conversion does not
// show: which config is the default, and the order of the splits.
func (l *Layout) borrow(own *Layout) {
	if !own.FromReadme {
		return
	}
	l.FromReadme = true
	var sorted []Config
	for _, from := range own.Configs {
		i := l.find(from.Name)
		if i < 0 {
			continue
		}
		c := l.Configs[i]
		slices.SortStableFunc(c.Splits, func(a, b Split) int { return position(from.splitNames, a.Name) - position(from.splitNames, b.Name) })
		sorted = append(sorted, c)
		l.Configs = slices.Delete(l.Configs, i, i+1)
	}
	l.Configs = append(sorted, l.Configs...)
	for i := range l.Configs {
		j := own.find(l.Configs[i].Name)
		l.Configs[i].Default = j >= 0 && own.Configs[j].Default
	}
}

// position is where a name stands in a list, behind its end if it does not.
func position(names []string, name string) int {
	if i := slices.Index(names, name); i >= 0 {
		return i
	}
	return len(names)
}

func noConversion(what string) error {
	return source.Errorf(source.KindUnsupported, "conversion", "%s", what).
		WithHint("the Hub converts public datasets, and private ones of PRO users and Enterprise organizations")
}
