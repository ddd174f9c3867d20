package hubtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// discussion is a discussion or a pull request, as it is kept on disk.
type discussion struct {
	Num         int       `json:"num"`
	Title       string    `json:"title"`
	Description string    `json:"description"`
	Author      string    `json:"author"`
	CreatedAt   time.Time `json:"created_at"`
	PullRequest bool      `json:"pull_request"`
	Base        string    `json:"base,omitempty"` // ref it is to be merged into
	Status      string    `json:"status"`         // "open" or "draft"
}

func (d discussion) ref() string { return fmt.Sprintf("refs/pr/%d", d.Num) }

func (r *repo) discussionFile(num int) string { return fmt.Sprintf("discussions/%d.json", num) }

// discuss opens a discussion under the next number. A pull request gets its ref
// at head.
func (r *repo) discuss(d discussion, head string) (discussion, error) {
	unlock, err := r.lock()
	if err != nil {
		return d, err
	}
	defer unlock()
	all, err := r.discussions()
	if err != nil {
		return d, err
	}
	d.Num = 1
	for _, other := range all {
		d.Num = max(d.Num, other.Num+1)
	}
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return d, err
	}
	if err := r.writeText(r.discussionFile(d.Num), string(raw)+"\n"); err != nil {
		return d, err
	}
	if !d.PullRequest {
		return d, nil
	}
	return d, r.move(d.ref(), head)
}

// undiscuss takes back a pull request whose commit was refused.
func (r *repo) undiscuss(d discussion) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(r.drop(d.ref()), os.Remove(filepath.Join(r.dir, filepath.FromSlash(r.discussionFile(d.Num)))))
}

// discussions lists all of them, in no order.
func (r *repo) discussions() ([]discussion, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, "discussions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []discussion
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(r.dir, "discussions", e.Name()))
		if err != nil {
			return nil, err
		}
		var d discussion
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("discussion %s: %w", e.Name(), err)
		}
		all = append(all, d)
	}
	return all, nil
}

// createDiscussion answers POST …/discussions. What else can be posted below it, such
// as a comment, a title or a merge, is not offered.
func createDiscussion(c *call) error {
	r, err := c.open(propose)
	if err != nil {
		return err
	}
	if c.path() != "" {
		return refuse(http.StatusNotFound, "", "Discussions cannot be changed or merged on this Hub: %s", c.path())
	}
	var in struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		PullRequest bool   `json:"pullRequest"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Title == "" {
		return refuse(http.StatusBadRequest, "", "title is required")
	}
	d := discussion{Title: in.Title, Description: in.Description, Author: c.who.name, CreatedAt: c.h.options.Now(), PullRequest: in.PullRequest, Status: "open"}
	head, err := r.target(mainRef)
	if err != nil {
		return err
	}
	if in.PullRequest {
		d.Base, d.Status = mainRef, "draft"
	}
	if d, err = r.discuss(d, head); err != nil {
		return err
	}
	return c.json(map[string]any{"num": d.Num, "pullRequest": d.PullRequest})
}

// getDiscussions answers GET …/discussions and GET …/discussions/{n}.
func getDiscussions(c *call) error {
	r, err := c.open(see)
	if err != nil {
		return err
	}
	all, err := r.discussions()
	if err != nil {
		return err
	}
	if c.path() == "" {
		return c.listDiscussions(r, all)
	}
	for _, d := range all {
		if c.path() == strconv.Itoa(d.Num) {
			return c.json(d.answer(r))
		}
	}
	return refuse(http.StatusNotFound, "", "Discussion not found")
}

// discussionsPerPage is the size of a page of discussions, where clients count
// pages instead of following links.
const discussionsPerPage = 50

// listDiscussions answers a page of those that were asked for, newest first.
func (c *call) listDiscussions(r *repo, all []discussion) error {
	query := c.r.URL.Query()
	all = slices.DeleteFunc(all, func(d discussion) bool {
		kind, status, author := query.Get("type"), query.Get("status"), query.Get("author")
		return kind == "pull_request" && !d.PullRequest || kind == "discussion" && d.PullRequest ||
			status == "closed" || // nothing is closed here: drafts count as open
			author != "" && author != d.Author
	})
	slices.SortFunc(all, func(a, b discussion) int { return b.Num - a.Num })
	page, err := number(query, "p", 0, 1<<20)
	if err != nil {
		return err
	}
	size := min(discussionsPerPage, c.h.options.pageSize(true))
	start := min(page*size, len(all))
	list := []map[string]any{}
	for _, d := range all[start:min(start+size, len(all))] {
		list = append(list, d.answer(r))
	}
	return c.json(map[string]any{"discussions": list, "count": len(all), "start": start})
}

func (d discussion) answer(r *repo) map[string]any {
	who, when := map[string]any{"name": d.Author}, timestamp(d.CreatedAt)
	out := map[string]any{
		"num": d.Num, "title": d.Title, "author": who, "createdAt": when, "status": d.Status,
		"repo": map[string]any{"name": r.id, "type": "dataset"}, "isPullRequest": d.PullRequest,
		"events": []map[string]any{{
			"id": fmt.Sprintf("%024x", d.Num), "type": "comment", "createdAt": when, "author": who,
			"data": map[string]any{"edited": false, "hidden": false, "latest": map[string]any{"raw": d.Description, "html": "", "updatedAt": when}, "history": []any{}},
		}},
	}
	if d.PullRequest {
		out["changes"] = map[string]any{"base": d.Base}
		out["filesWithConflicts"] = []string{}
	}
	return out
}
