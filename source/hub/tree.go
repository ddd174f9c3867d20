package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

const (
	maxEntries  = 1_000_000
	maxPages    = 50_000 // far above maxEntries at any page size the Hub uses
	maxPathInfo = 500    // paths per request; the Hub refuses more than 1,000
)

// treeItem is one entry of a listing as the Hub sends it.
type treeItem struct {
	Type string `json:"type"`
	Path string `json:"path"`
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// Validate refuses entries that cannot be trusted with a path or a size.
func (t treeItem) Validate() error {
	if t.Path == "" || len(t.Path) > 4096 || !utf8.ValidString(t.Path) {
		return fmt.Errorf("an entry has no sound path: %q", source.Clip(t.Path, 80))
	}
	if why := source.ValidatePath(t.Path); why != "" || strings.HasSuffix(t.Path, "/") {
		return fmt.Errorf("the path %q of an entry %s", source.Clip(t.Path, 80), why)
	}
	if t.Type != "file" {
		return nil
	}
	switch {
	case t.Size < 0 || t.LFS != nil && t.LFS.Size < 0:
		return fmt.Errorf("the size of %q is negative", source.Clip(t.Path, 80))
	case !isHex(t.OID, 40):
		return fmt.Errorf("the id of %q is not 40 hex digits", source.Clip(t.Path, 80))
	case t.LFS != nil && !isHex(t.LFS.OID, 64):
		return fmt.Errorf("the LFS id of %q is not 64 hex digits", source.Clip(t.Path, 80))
	}
	return nil
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil && s == strings.ToLower(s)
}

// entry is a file of a listing, small enough that a million of them fit.
type entry struct {
	path string
	size int64
	id   [32]byte // the sha256 if lfs, else the git blob id in the first 20 bytes
	lfs  bool
}

// entry turns a validated file item into its compact form.
func (t treeItem) entry() entry {
	e := entry{path: t.Path, size: t.Size}
	id := t.OID
	if t.LFS != nil {
		e.lfs, e.size, id = true, t.LFS.Size, t.LFS.OID
	}
	_, _ = hex.Decode(e.id[:], []byte(id)) // validated
	return e
}

func (e entry) file(at source.Snapshot) source.File {
	f := source.File{At: at, Path: e.path, Size: e.size}
	if e.lfs {
		f.OID = hex.EncodeToString(e.id[:])
	} else {
		f.ETag = hex.EncodeToString(e.id[:20])
	}
	return f
}

// Files lists the files below dir, sorted. The Hub promises no order, so nothing
// is yielded before the whole listing is here; it is bounded by a million
// entries, beyond which it fails with KindLimit.
func (d *Dataset) Files(ctx context.Context, at source.Snapshot, dir string) iter.Seq2[source.File, error] {
	return func(yield func(source.File, error) bool) {
		entries, err := d.list(ctx, at, dir)
		if err != nil {
			yield(source.File{}, err)
			return
		}
		for _, e := range entries {
			if !yield(e.file(at), nil) {
				return
			}
		}
	}
}

func (d *Dataset) list(ctx context.Context, at source.Snapshot, dir string) ([]entry, error) {
	const op = "list files"
	dir = strings.TrimSuffix(dir, "/")
	if why := source.ValidatePath(dir); why != "" {
		return nil, source.Errorf(source.KindInvalid, op, "folder %q %s", source.Clip(dir, 80), why).WithFile(at.Short(), "")
	}
	corrupt := func(format string, args ...any) error {
		return source.Errorf(source.KindCorrupt, op, "the Hub's listing: "+format, args...).WithFile(at.Short(), dir)
	}
	segments := []string{"tree", at.Commit}
	if dir != "" {
		segments = append(segments, dir)
	}
	u := d.api(segments...)
	u.RawQuery = "recursive=true&expand=false"
	var entries []entry
	err := d.pages(ctx, apiCall{op: op, revision: at.Commit, path: dir, url: u}, func(raw json.RawMessage) error {
		var items []treeItem
		if err := json.Unmarshal(raw, &items); err != nil {
			return corrupt("a page is no list of entries: %w", err)
		}
		for _, item := range items {
			if err := item.Validate(); err != nil {
				return corrupt("%w", err)
			}
			if dir != "" && !strings.HasPrefix(item.Path, dir+"/") {
				return corrupt("%q is not below the folder asked for", source.Clip(item.Path, 80))
			}
			if item.Type == "file" {
				entries = append(entries, item.entry())
			}
		}
		if len(entries) > maxEntries {
			return source.Errorf(source.KindLimit, op, "the listing has more than %d files", maxEntries).
				WithFile(at.Short(), dir).WithHint("name a folder with data_dir")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(entries); i++ {
		if entries[i].path == entries[i-1].path {
			return nil, corrupt("%q is there twice", source.Clip(entries[i].path, 80))
		}
	}
	return entries, nil
}

// pages walks a paged list, handing each page to each. The next page is where the
// Hub says, taken as it is: but it must be on the Hub, and never one that was
// seen before.
func (d *Dataset) pages(ctx context.Context, a apiCall, each func(json.RawMessage) error) error {
	a.method, a.repeatable = http.MethodGet, true
	seen := map[string]bool{}
	for {
		bad := func(why string) error {
			return source.Errorf(source.KindUpstream, a.op, "the Hub's link to the next page %s", why).WithFile(d.repo, a.path)
		}
		seen[a.url.RawQuery] = true
		var raw json.RawMessage
		header, err := d.do(ctx, a, &raw)
		if err != nil {
			return err
		}
		if err := each(raw); err != nil {
			return err
		}
		next := nextLink(header.Values("Link"))
		if next == "" {
			return nil
		}
		u, err := d.client.endpoint.link(a.url, d.client.endpoint.rewrite(next))
		switch {
		case err != nil:
			return bad("is not usable: " + err.Error())
		case !d.client.endpoint.isOwn(u):
			return bad("leads to another server")
		case seen[u.RawQuery]:
			return bad("leads in a circle")
		case len(seen) >= maxPages:
			return bad("follows too many others")
		}
		a.url = u
	}
}

// nextLink finds <url>; rel="next" in Link headers. URLs may hold commas and
// semicolons, so the angle brackets decide.
func nextLink(values []string) string {
	for _, rest := range values {
		for {
			_, after, ok := strings.Cut(rest, "<")
			if !ok {
				break
			}
			link, params, ok := strings.Cut(after, ">")
			if !ok {
				break
			}
			mine := params
			if i := strings.Index(params, "<"); i >= 0 {
				mine = params[:i]
			}
			for _, p := range strings.Split(mine, ";") {
				p = strings.ToLower(strings.Trim(p, " ,\t"))
				if p == `rel="next"` || p == "rel=next" {
					return link
				}
			}
			rest = params
		}
	}
	return ""
}

// Paths asks for single paths at a snapshot. Paths that do not exist are left
// out; folders too.
func (d *Dataset) Paths(ctx context.Context, at source.Snapshot, paths []string) ([]source.File, error) {
	var files []source.File
	for chunk := range slices.Chunk(paths, maxPathInfo) {
		items, err := d.pathsInfo(ctx, at.Commit, chunk)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if item.Type == "file" {
				files = append(files, item.entry().file(at))
			}
		}
	}
	return files, nil
}

func (d *Dataset) pathsInfo(ctx context.Context, revision string, paths []string) ([]treeItem, error) {
	const op = "look up paths"
	body, err := json.Marshal(map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	var items []treeItem
	if _, err := d.do(ctx, apiCall{
		op: op, revision: revision, method: http.MethodPost, url: d.api("paths-info", revision),
		contentType: "application/json", body: body, call: call{repeatable: true},
	}, &items); err != nil {
		return nil, err
	}
	for _, item := range items {
		if err := item.Validate(); err != nil {
			return nil, source.Errorf(source.KindCorrupt, op, "the Hub's answer: %w", err).WithFile(d.repo, "")
		}
		if !slices.Contains(paths, item.Path) {
			return nil, source.Errorf(source.KindCorrupt, op, "the Hub's answer holds %q, which was not asked for", source.Clip(item.Path, 80)).WithFile(d.repo, "")
		}
	}
	return items, nil
}
