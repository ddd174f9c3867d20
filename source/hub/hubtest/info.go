package hubtest

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// repoInfo answers GET /api/datasets/{id}: facts of the main branch.
func repoInfo(c *call) error {
	c.rest = []string{mainBranch}
	return repoInfoAt(c)
}

// repoInfoAt answers GET /api/datasets/{id}/revision/{rev}. An unknown revision
// is an error here too: clients pin what they get.
func repoInfoAt(c *call) error {
	r, sha, err := c.repoAtRevision(see)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	expand := append(query["expand"], query["expand[]"]...)
	blobs := truthy(query.Get("blobs"))
	if blobs && len(expand) > 0 {
		return refuse(http.StatusBadRequest, "", "blobs and expand cannot be used together")
	}
	facts, err := r.facts(sha, blobs)
	if err != nil {
		return err
	}
	if len(expand) == 0 {
		delete(facts, "usedStorage")
		delete(facts, "mainSize")
		return c.json(facts)
	}
	// The id is always there, and of the rest what was asked for.
	chosen := map[string]any{"_id": facts["_id"], "id": facts["id"]}
	for _, key := range expand {
		if v, ok := facts[key]; ok {
			chosen[key] = v
		}
	}
	return c.json(chosen)
}

func (r *repo) facts(sha string, blobs bool) (map[string]any, error) {
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	head, err := r.loadCommit(sha)
	if err != nil {
		return nil, err
	}
	snap, err := r.snapshot(sha)
	if err != nil {
		return nil, err
	}
	var gated any = false
	if s.Gated != "" {
		gated = s.Gated
	}
	card, err := r.cardData(sha)
	if err != nil {
		return nil, err
	}
	siblings, total := siblingsOf(snap, blobs)
	author, _, _ := strings.Cut(r.id, "/")
	return map[string]any{
		"_id": hashObject(kindBlob, []byte(r.id))[:24], "id": r.id, "author": author, "sha": sha,
		"lastModified": timestamp(head.Date), "createdAt": timestamp(s.CreatedAt),
		"private": s.Private, "gated": gated, "disabled": s.Disabled,
		"downloads": 0, "likes": 0, "tags": []string{}, "cardData": card,
		"siblings": siblings, "usedStorage": total, "mainSize": total,
	}, nil
}

func siblingsOf(snap *snapshot, blobs bool) (list []map[string]any, total int64) {
	list = []map[string]any{}
	for _, e := range snap.entries {
		if e.dir {
			continue
		}
		total += e.size
		item := map[string]any{"rfilename": e.path}
		if blobs {
			item["size"], item["blobId"] = e.size, e.oid
			if e.lfs != "" {
				// Called sha256 here, and oid in listings: as the Hub does.
				item["lfs"] = map[string]any{"sha256": e.lfs, "size": e.size, "pointerSize": e.pointerSize}
			}
		}
		list = append(list, item)
	}
	return list, total
}

// cardData is the README's front matter, or nil.
func (r *repo) cardData(sha string) (map[string]any, error) {
	text, err := r.textAt(sha, "README.md")
	if err != nil {
		return nil, err
	}
	// A card that cannot be read hides nothing else.
	card, _ := frontMatter(text)
	return card, nil
}

func frontMatter(text string) (map[string]any, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	rest, ok := strings.CutPrefix(text, "---\n")
	if !ok {
		return nil, nil
	}
	head, _, ok := strings.Cut("\n"+rest, "\n---")
	if !ok {
		return nil, nil
	}
	var card map[string]any
	if err := yaml.Unmarshal([]byte(head), &card); err != nil {
		return nil, err
	}
	for key, value := range card {
		card[key] = jsonOf(value)
	}
	return card, nil
}

// jsonOf is a YAML value as JSON can have it, and as JavaScript makes it: every key
// is a string (the names of a class label have numbers), and what is no finite number
// is null.
func jsonOf(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			v[key] = jsonOf(below)
		}
	case map[any]any:
		object := make(map[string]any, len(v))
		for key, below := range v {
			name := "null"
			if key != nil {
				name = fmt.Sprint(key)
			}
			object[name] = jsonOf(below)
		}
		return object
	case []any:
		for i, below := range v {
			v[i] = jsonOf(below)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	}
	return value
}

// validateYAML answers the check that clients make before they commit a README.
func validateYAML(c *call) error {
	var in struct {
		Content string `json:"content"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	card, err := frontMatter(in.Content)
	type note struct {
		Message string `json:"message"`
	}
	out := struct {
		Errors   []note `json:"errors"`
		Warnings []note `json:"warnings"`
	}{[]note{}, []note{}}
	if err != nil {
		out.Errors = append(out.Errors, note{err.Error()})
		return c.reply(http.StatusBadRequest, out)
	}
	if len(card) == 0 {
		out.Warnings = append(out.Warnings, note{"empty or missing yaml metadata in repo card"})
	}
	return c.json(out)
}

// listRefs answers GET …/refs.
func listRefs(c *call) error {
	r, err := c.open(see)
	if err != nil {
		return err
	}
	type item struct {
		Name         string `json:"name"`
		Ref          string `json:"ref"`
		TargetCommit string `json:"targetCommit"`
	}
	out := map[string][]item{}
	groups := map[string]string{"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/"}
	if truthy(c.r.URL.Query().Get("include_prs")) {
		groups["pullRequests"] = "refs/pr/"
	}
	for key, prefix := range groups {
		refs, err := r.refs(prefix)
		if err != nil {
			return err
		}
		out[key] = []item{}
		for _, ref := range refs {
			out[key] = append(out[key], item{strings.TrimPrefix(ref.name, prefix), ref.name, ref.commit})
		}
	}
	return c.json(out)
}

// listCommits answers GET …/commits/{rev}, newest first.
func listCommits(c *call) error {
	r, sha, err := c.repoAtRevision(see)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	page, err := number(query, "p", 0, 1<<30)
	if err != nil {
		return err
	}
	limit, err := number(query, "limit", min(50, c.h.options.pageSize(true)), 1000)
	if err != nil || limit == 0 {
		return refuse(http.StatusBadRequest, "", "limit must be between 1 and 1000")
	}
	// One more than a page tells whether there is a next one.
	commits, err := r.history(sha, page*limit, limit+1)
	if err != nil {
		return err
	}
	if len(commits) > limit {
		commits = commits[:limit]
		query.Set("p", strconv.Itoa(page+1))
		c.linkNext(query)
	}
	out := []map[string]any{}
	for _, m := range commits {
		title, _, _ := strings.Cut(m.Summary, "\n")
		out = append(out, map[string]any{
			"id": m.ID, "title": title, "message": m.Description, "date": timestamp(m.Date),
			"authors": []map[string]any{{"user": m.Author}},
		})
	}
	return c.json(out)
}

// linkNext announces the next page: the same route, absolute, with that query.
func (c *call) linkNext(query url.Values) {
	c.w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, c.base(), c.r.URL.EscapedPath(), query.Encode()))
}

// number reads a query parameter between 0 and most.
func number(query url.Values, name string, missing, most int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, refuse(http.StatusBadRequest, "", "%s must be a number between 0 and %d", name, most)
	}
	return n, nil
}

func truthy(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}
