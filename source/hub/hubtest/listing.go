package hubtest

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// treeItem is an entry of a listing.
type treeItem struct {
	Type       string      `json:"type"`
	OID        string      `json:"oid"`
	Size       int64       `json:"size"`
	Path       string      `json:"path"`
	LFS        *treeLFS    `json:"lfs,omitempty"`
	XetHash    string      `json:"xetHash,omitempty"`
	LastCommit *treeCommit `json:"lastCommit,omitempty"`
	Security   *security   `json:"securityFileStatus,omitempty"`
}

type treeLFS struct {
	OID         string `json:"oid"`
	Size        int64  `json:"size"`
	PointerSize int64  `json:"pointerSize"`
}

type treeCommit struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Date  string `json:"date"`
}

type security struct {
	Status           string `json:"status"`
	AVScan           any    `json:"avScan"`
	PickleImportScan any    `json:"pickleImportScan"`
}

func itemOf(e entry) treeItem {
	item := treeItem{Type: "file", OID: e.oid, Size: e.size, Path: e.path}
	if e.dir {
		item.Type = "directory"
	}
	if e.lfs != "" {
		item.LFS = &treeLFS{e.lfs, e.size, e.pointerSize}
	}
	return item
}

// cursor is where the next page starts. It names the commit, so that a push
// between two pages does not tear a listing. Clients must not look inside.
type cursor struct {
	Commit string `json:"c"`
	From   int    `json:"f"`
}

func (c cursor) String() string {
	raw, _ := json.Marshal(c) // a struct of string and int always encodes
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseCursor(text string) (cursor, error) {
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil || c.From < 0 || !isHex(c.Commit, 40) {
		return c, refuse(http.StatusBadRequest, "", "Invalid cursor")
	}
	return c, nil
}

// listTree answers GET …/tree/{rev}[/{path}].
func listTree(c *call) error {
	r, sha, err := c.repoAtRevision(see)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	from := cursor{Commit: sha}
	if text := query.Get("cursor"); text != "" {
		if from, err = parseCursor(text); err != nil {
			return err
		}
	}
	snap, err := r.snapshot(from.Commit)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(c.path(), "/")
	list, ok := snap.below(dir, truthy(query.Get("recursive")))
	if !ok {
		return refuse(http.StatusNotFound, codeEntry, "%s does not exist on %q", dir, sha)
	}
	// Folders come first, as the Hub has them: nobody may rely on sorted paths.
	slices.SortStableFunc(list, func(a, b entry) int { return rank(a) - rank(b) })
	expand := truthy(query.Get("expand"))
	most := c.h.options.pageSize(expand)
	size, err := number(query, "limit", most, most)
	if err != nil || size == 0 {
		return refuse(http.StatusBadRequest, "", "limit must be between 1 and %d", most)
	}
	list = list[min(from.From, len(list)):]
	if len(list) >= size {
		// A full page always has a next one, which may turn out empty.
		list = list[:size]
		query.Set("cursor", cursor{from.Commit, from.From + size}.String())
		c.linkNext(query)
	}
	return c.items(r, from.Commit, list, expand)
}

func rank(e entry) int {
	if e.dir {
		return 0
	}
	return 1
}

// maxPaths is the Hub's limit of one paths-info call.
const maxPaths = 1000

// pathsInfo answers POST …/paths-info/{rev}. Paths that do not exist are left
// out without a word.
func pathsInfo(c *call) error {
	r, sha, err := c.repoAtRevision(see)
	if err != nil {
		return err
	}
	paths, expand, err := c.wantedPaths()
	if err != nil {
		return err
	}
	if len(paths) > maxPaths {
		return refuse(http.StatusRequestEntityTooLarge, "", "too many parameters")
	}
	snap, err := r.snapshot(sha)
	if err != nil {
		return err
	}
	var found []entry
	for _, p := range paths {
		if e, ok := snap.find(strings.TrimSuffix(p, "/")); ok {
			found = append(found, e)
		}
	}
	return c.items(r, sha, found, expand)
}

// wantedPaths reads both encodings: the form of the Python client and the JSON
// of the JavaScript one.
func (c *call) wantedPaths() (paths []string, expand bool, err error) {
	switch c.mediaType() {
	case "application/json":
		var in struct {
			Paths  []string `json:"paths"`
			Expand bool     `json:"expand"`
		}
		err = c.decode(&in)
		return in.Paths, in.Expand, err
	case "application/x-www-form-urlencoded":
		raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxJSONBody))
		if err != nil {
			return nil, false, err
		}
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return nil, false, refuse(http.StatusBadRequest, "", "Invalid form: %v", err)
		}
		return form["paths"], truthy(form.Get("expand")), nil
	}
	return nil, false, refuse(http.StatusUnsupportedMediaType, "", "Unsupported content type")
}

func (c *call) items(r *repo, sha string, list []entry, expand bool) error {
	out := make([]treeItem, len(list))
	for i, e := range list {
		if out[i] = itemOf(e); e.lfs != "" && c.h.options.XetHeaders {
			out[i].XetHash = xetHash(e.lfs)
		}
	}
	if expand {
		if err := r.expand(sha, out); err != nil {
			return err
		}
	}
	return c.json(out)
}

// expand adds the last commit that changed each item.
func (r *repo) expand(sha string, items []treeItem) error {
	open := map[string]int{}
	for i, item := range items {
		open[item.Path] = i
		if item.Type == "file" {
			items[i].Security = &security{Status: "safe"}
		}
	}
	for len(open) > 0 && sha != "" {
		c, err := r.loadCommit(sha)
		if err != nil {
			return err
		}
		before := &snapshot{}
		if sha = ""; len(c.Parents) > 0 {
			sha = c.Parents[0]
			if before, err = r.snapshot(sha); err != nil {
				return err
			}
		}
		for path, i := range open {
			if old, ok := before.find(path); ok && old.oid == items[i].OID {
				continue
			}
			items[i].LastCommit = &treeCommit{c.ID, c.Summary, timestamp(c.Date)}
			delete(open, path)
		}
	}
	return nil
}
