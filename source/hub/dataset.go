package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// The Hub makes every repository with this branch and has no way to ask for
// another default.
const defaultBranch = "main"

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Info is what the Hub says about a repository at one revision.
type Info struct {
	// ID is the canonical name; it differs from the name asked for when the
	// repository was renamed.
	ID string
	// Sha is the commit that the revision stood for.
	Sha string
	// Private and Disabled are the repository's own flags.
	Private, Disabled bool
	// Gated is "", "auto" or "manual".
	Gated string
	// DefaultBranch is the branch that an empty revision means.
	DefaultBranch string
}

type infoAnswer struct {
	ID       string          `json:"id"`
	Sha      string          `json:"sha"`
	Private  bool            `json:"private"`
	Disabled bool            `json:"disabled"`
	Gated    json.RawMessage `json:"gated"` // false, "auto" or "manual"
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"` // only if asked for
}

// Validate refuses answers without what the protocol rests on.
func (a infoAnswer) Validate() error {
	if !commitID.MatchString(a.Sha) {
		return fmt.Errorf("sha is %q, not 40 hex digits", source.Clip(a.Sha, 60))
	}
	if a.ID == "" || len(a.ID) > 200 || strings.ContainsAny(a.ID, "\x00\r\n ") {
		return fmt.Errorf("id is %q", source.Clip(a.ID, 60))
	}
	return nil
}

// Info asks for the repository at a revision; "" is the default branch.
func (d *Dataset) Info(ctx context.Context, revision string) (Info, error) {
	// Naming the keys keeps the list of all files out of the answer.
	info, _, err := d.info(ctx, revision, "sha", "private", "disabled", "gated")
	return info, err
}

func (d *Dataset) info(ctx context.Context, revision string, keys ...string) (Info, []string, error) {
	u := d.api()
	if revision != "" {
		if why := source.ValidateRevision(revision); why != "" {
			return Info{}, nil, source.Errorf(source.KindInvalid, "repository info", "revision %q %s", source.Clip(revision, 80), why).WithFile(d.repo, "")
		}
		u = d.api("revision", revision)
	}
	u.RawQuery = url.Values{"expand": keys}.Encode()
	var a infoAnswer
	if _, err := d.do(ctx, apiCall{
		op: "repository info", revision: revision, method: http.MethodGet, url: u, call: call{repeatable: true},
	}, &a); err != nil {
		return Info{}, nil, err
	}
	if err := a.Validate(); err != nil {
		return Info{}, nil, source.Errorf(source.KindUpstream, "repository info", "the Hub's answer: %w", err).WithFile(d.repo, "")
	}
	info := Info{ID: a.ID, Sha: a.Sha, Private: a.Private, Disabled: a.Disabled, DefaultBranch: defaultBranch}
	// Any other shape than a string means not gated.
	_ = json.Unmarshal(a.Gated, &info.Gated)
	names := make([]string, len(a.Siblings))
	for i, s := range a.Siblings {
		names[i] = s.Name
	}
	return info, names, nil
}

// Resolve pins a revision; "" is the default branch. A full sha costs no
// request, and is not checked to exist before it is used.
func (d *Dataset) Resolve(ctx context.Context, revision string) (source.Snapshot, error) {
	if commitID.MatchString(revision) {
		return source.Snapshot{Name: d.repo, Revision: revision, Commit: revision}, nil
	}
	info, err := d.Info(ctx, revision)
	if err != nil {
		return source.Snapshot{}, err
	}
	return d.snapshot(info, revision)
}

func (d *Dataset) snapshot(info Info, revision string) (source.Snapshot, error) {
	if info.Disabled {
		return source.Snapshot{}, source.Errorf(source.KindDenied, "resolve revision", "the dataset has been disabled by the Hub").WithFile(d.repo, "")
	}
	if revision == "" {
		revision = defaultBranch
	}
	return source.Snapshot{Name: info.ID, Revision: revision, Commit: info.Sha}, nil
}
