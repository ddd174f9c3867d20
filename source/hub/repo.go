package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// CreateRepo makes a dataset repository and reports whether it existed before.
// Visibility is only set on a new one. Repeating it is harmless; existed is then
// true although the first call may have made it.
func (c *Client) CreateRepo(ctx context.Context, token source.HubToken, repo string, private bool) (existed bool, err error) {
	d := c.Dataset(repo, token)
	body := map[string]any{"type": "dataset", "visibility": "public", "organization": nil, "name": repo}
	if private {
		body["visibility"] = "private"
	}
	if ns, name, ok := strings.Cut(repo, "/"); ok {
		body["organization"], body["name"] = ns, name
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	b := c.retry.start()
	for {
		_, err = d.do(ctx, apiCall{
			op: "create dataset", method: http.MethodPost, url: c.endpoint.join("api/repos/create"),
			contentType: "application/json", body: raw,
			call: call{repeatable: true, answerWithin: time.Minute},
		}, nil)
		// 409 has two meanings; only one of them is "it exists".
		var a *answeredError
		if !errors.As(err, &a) || a.status != http.StatusConflict || !strings.Contains(a.text, textBusyCreate) {
			break
		}
		if !b.pause(ctx, 0) {
			return false, source.Errorf(source.KindBusy, "create dataset", "the Hub is busy with this name: %w", err).WithFile(repo, "")
		}
	}
	switch source.KindOf(err) {
	case source.KindConflict:
		return true, nil
	case source.KindDenied, source.KindUnauthenticated, source.KindNotFound:
		// Someone who may write but not create: what counts is that it is there.
		if _, infoErr := d.Info(ctx, ""); infoErr == nil {
			return true, nil
		}
	}
	return false, err
}

// GitRef is a branch, tag, conversion or pull request and the commit it points to.
type GitRef struct {
	Name         string `json:"name"` // "main"
	Ref          string `json:"ref"`  // "refs/heads/main"
	TargetCommit string `json:"targetCommit"`
}

// Refs lists what revisions a repository has.
type Refs struct {
	Branches     []GitRef `json:"branches"`
	Converts     []GitRef `json:"converts"`
	Tags         []GitRef `json:"tags"`
	PullRequests []GitRef `json:"pullRequests"`
}

// Refs asks for all branches, tags, conversions and pull requests.
func (d *Dataset) Refs(ctx context.Context) (Refs, error) {
	u := d.api("refs")
	u.RawQuery = "include_prs=1"
	var refs Refs
	_, err := d.do(ctx, apiCall{op: "list refs", method: http.MethodGet, url: u, call: call{repeatable: true}}, &refs)
	return refs, err
}

// CheckWrite asks whether the token may write. A nil error means that it may, or
// that this Hub cannot say before something is written.
func (d *Dataset) CheckWrite(ctx context.Context) error {
	_, err := d.do(ctx, apiCall{
		op: "check write access", method: http.MethodGet, url: d.api("auth-check", "write"), call: call{repeatable: true},
	}, nil)
	var a *answeredError
	if errors.As(err, &a) && a.status == http.StatusNotFound && a.code == "" {
		// An endpoint without this route. That the repository exists can be told.
		_, err = d.Info(ctx, "")
	}
	return err
}

// CommitInfo is one commit of a repository's history.
type CommitInfo struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Message string    `json:"message"`
	Date    time.Time `json:"date"`
}

// Commits walks a revision's history, newest first. At most one error is
// yielded, as the last item.
func (d *Dataset) Commits(ctx context.Context, revision string) iter.Seq2[CommitInfo, error] {
	return func(yield func(CommitInfo, error) bool) {
		const op = "list commits"
		err := d.pages(ctx, apiCall{op: op, revision: revision, url: d.api("commits", revision)}, func(raw json.RawMessage) error {
			var page []CommitInfo
			if err := json.Unmarshal(raw, &page); err != nil {
				return source.Errorf(source.KindUpstream, op, "a page is no list of commits: %w", err).WithFile(d.repo, "")
			}
			for _, c := range page {
				if !commitID.MatchString(c.ID) {
					return source.Errorf(source.KindUpstream, op, "a commit has the id %q", source.Clip(c.ID, 60)).WithFile(d.repo, "")
				}
				if !yield(c, nil) {
					return errStop
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(CommitInfo{}, err)
		}
	}
}

// errStop ends a walk whose consumer has had enough.
var errStop = errors.New("stop")

// The list of discussions is walked this far. The Hub shows ten or more a page.
const maxDiscussionPages = 100

// FindPR looks for a pull request with exactly this title, open or not, among the
// newest thousand or more discussions.
func (d *Dataset) FindPR(ctx context.Context, title string) (num int, found bool, err error) {
	for page := range maxDiscussionPages {
		u := d.api("discussions")
		u.RawQuery = url.Values{"p": {strconv.Itoa(page)}, "type": {"pull_request"}}.Encode()
		var answer struct {
			Discussions []struct {
				Num           int    `json:"num"`
				Title         string `json:"title"`
				IsPullRequest bool   `json:"isPullRequest"`
			} `json:"discussions"`
			Count int `json:"count"`
			Start int `json:"start"`
		}
		if _, err := d.do(ctx, apiCall{
			op: "find pull request", method: http.MethodGet, url: u, call: call{repeatable: true},
		}, &answer); err != nil {
			return 0, false, err
		}
		for _, one := range answer.Discussions {
			if one.IsPullRequest && one.Title == title && one.Num > 0 {
				return one.Num, true, nil
			}
		}
		if len(answer.Discussions) == 0 || answer.Start+len(answer.Discussions) >= answer.Count {
			break
		}
	}
	return 0, false, nil
}

// CreatePR opens an empty pull request and returns its number; its branch is
// refs/pr/<number>. It is sent once: a lost answer is KindUnknownOutcome.
func (d *Dataset) CreatePR(ctx context.Context, title, description string) (num int, err error) {
	const op = "open pull request"
	body, err := json.Marshal(map[string]any{"title": title, "description": description, "pullRequest": true})
	if err != nil {
		return 0, err
	}
	var answer struct {
		Num int `json:"num"`
	}
	if err := d.once(ctx, apiCall{
		op: op, method: http.MethodPost, url: d.api("discussions"),
		contentType: "application/json", body: body, call: call{answerWithin: time.Minute},
	}, &answer, func() error {
		if answer.Num < 1 {
			return fmt.Errorf("it has no number")
		}
		return nil
	}); err != nil {
		return 0, err
	}
	return answer.Num, nil
}
