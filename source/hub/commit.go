package hub

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hubflight/hubflight/source"
)

const (
	// The Hub works up to 60 s on a commit; giving up before it has surely ended
	// would turn slow commits into unknown outcomes.
	commitAnswer = 150 * time.Second
)

// MaxCommitContent bounds all content that travels inside one commit. Larger files go
// by LFS.
const MaxCommitContent = 64 << 20

// RegularFile is a small file whose content travels inside the commit.
type RegularFile struct {
	Path    string
	Content []byte
}

// LFSFile is a file whose content was uploaded before.
type LFSFile struct {
	Path string
	OID  string // hex sha256
	Size int64
}

// Commit is one change of a repository. All of it becomes visible, or nothing.
type Commit struct {
	Summary, Description string
	// Parent is the commit that the branch must stand at. Without one, a lost
	// answer cannot be settled afterwards.
	Parent string
	// CreatePR makes a pull request of the commit instead of changing the branch.
	CreatePR bool
	Files    []RegularFile
	LFS      []LFSFile
	Deletes  []string
}

// CommitResult is what a commit became.
type CommitResult struct {
	OID string // the new commit
	URL string
	PR  string // "refs/pr/N" if the commit made a pull request
}

// Validate refuses commits that the Hub would refuse, or would apply otherwise
// than meant.
func (c Commit) Validate() error {
	if c.Summary == "" {
		return fmt.Errorf("the commit has no summary")
	}
	if c.Parent != "" && !commitID.MatchString(c.Parent) {
		return fmt.Errorf("the parent %q is not a full commit id", source.Clip(c.Parent, 60))
	}
	seen := map[string]bool{}
	check := func(path string) error {
		why := source.ValidatePath(path)
		switch {
		case path == "" || strings.HasSuffix(path, "/"):
			return fmt.Errorf("path %q names no file", source.Clip(path, 80))
		case why != "":
			return fmt.Errorf("path %q %s", source.Clip(path, 80), why)
		case seen[path]:
			return fmt.Errorf("path %q is there twice", source.Clip(path, 80))
		}
		for _, segment := range strings.Split(path, "/") {
			if segment == ".git" || segment == ".cache" {
				return fmt.Errorf("path %q has a %s segment", source.Clip(path, 80), segment)
			}
		}
		seen[path] = true
		return nil
	}
	var content int
	for _, f := range c.Files {
		if err := check(f.Path); err != nil {
			return err
		}
		content += len(f.Content)
	}
	for _, f := range c.LFS {
		if err := check(f.Path); err != nil {
			return err
		}
		if !isHex(f.OID, 64) || f.Size < 0 {
			return fmt.Errorf("file %q has no sound LFS id and size", source.Clip(f.Path, 80))
		}
	}
	for _, path := range c.Deletes {
		if err := check(path); err != nil {
			return err
		}
	}
	switch {
	case len(seen) == 0:
		return fmt.Errorf("the commit has no operations")
	case content > MaxCommitContent:
		return fmt.Errorf("the commit's regular files are %d bytes; at most %d", content, MaxCommitContent)
	}
	return nil
}

// body writes the commit as the lines the Hub wants, whole: a body without a
// length has been seen to be cut after its first line.
func (c Commit) body() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	var err error
	line := func(key string, value map[string]any) {
		if err == nil {
			err = enc.Encode(struct {
				Key   string         `json:"key"`
				Value map[string]any `json:"value"`
			}{key, value})
		}
	}
	header := map[string]any{"summary": c.Summary, "description": c.Description}
	if c.Parent != "" {
		header["parentCommit"] = c.Parent
	}
	line("header", header)
	for _, f := range c.Files {
		line("file", map[string]any{"path": f.Path, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(f.Content)})
	}
	for _, f := range c.LFS {
		line("lfsFile", map[string]any{"path": f.Path, "algo": "sha256", "oid": f.OID, "size": f.Size})
	}
	for _, path := range c.Deletes {
		line("deletedFile", map[string]any{"path": path})
	}
	return b.Bytes(), err
}

type commitAnswerBody struct {
	CommitOID      string `json:"commitOid"`
	CommitURL      string `json:"commitUrl"`
	PullRequestURL string `json:"pullRequestUrl"`
}

var lastNumber = regexp.MustCompile(`/([0-9]{1,9})/?$`)

// Commit sends one commit to a branch, once. Errors:
//
//	KindConflict        the parent is not the head, or another commit is under way
//	KindStagedLost      an LFS object that it names is not stored in this repository
//	KindUnknownOutcome  it was sent and the answer lost (or unreadable, or a 5xx):
//	                    it may have taken effect; look at the history before
//	                    sending it again, and then with the same Parent
//	KindBusy            quota; nothing happened; RetryAfter says how long, if known
//	other kinds         nothing happened
func (d *Dataset) Commit(ctx context.Context, revision string, c Commit) (CommitResult, error) {
	const op = "commit"
	if err := c.Validate(); err != nil {
		return CommitResult{}, source.Errorf(source.KindInvalid, op, "%w", err).WithFile(d.repo, "")
	}
	body, err := c.body()
	if err != nil {
		return CommitResult{}, source.Errorf(source.KindInvalid, op, "%w", err).WithFile(d.repo, "")
	}
	u := d.api("commit", revision)
	if c.CreatePR {
		u.RawQuery = "create_pr=1"
	}
	var answer commitAnswerBody
	result := CommitResult{}
	err = d.once(ctx, apiCall{
		op: op, revision: revision, method: http.MethodPost, url: u,
		contentType: "application/x-ndjson", body: body, call: call{answerWithin: commitAnswer},
	}, &answer, func() error {
		if !commitID.MatchString(answer.CommitOID) {
			return fmt.Errorf("it has no commit id")
		}
		result.OID, result.URL = answer.CommitOID, answer.CommitURL
		if c.CreatePR {
			m := lastNumber.FindStringSubmatch(answer.PullRequestURL)
			if m == nil {
				return fmt.Errorf("it names no pull request")
			}
			result.PR = "refs/pr/" + m[1]
		}
		return nil
	})
	if err != nil {
		return CommitResult{}, err
	}
	return result, nil
}

// once makes a call that must not be repeated, and tells failures after which
// nothing happened from those after which anything may have.
func (d *Dataset) once(ctx context.Context, a apiCall, out any, check func() error) error {
	a.repeatable, a.fresh = false, true
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	_, err := d.do(traced, a, out)
	if err == nil {
		if err = check(); err == nil {
			return nil
		}
		return d.unknown(a.op, fmt.Errorf("the Hub's answer to it is not usable: %w", err))
	}
	var answer *answeredError
	if errors.As(err, &answer) {
		if answer.status >= 500 || answer.status == http.StatusRequestTimeout {
			return d.unknown(a.op, err)
		}
		return err
	}
	var refused *refusedAddressError
	if !sent.Load() || errors.As(err, &refused) {
		return err // it never left, or was answered by a redirect we did not follow
	}
	return d.unknown(a.op, err)
}

func (d *Dataset) unknown(op string, err error) error {
	why := err.Error()
	var e *source.Error
	if errors.As(err, &e) {
		if why = e.Msg; why == "" && e.Err != nil {
			why = e.Err.Error()
		}
	}
	unknown := &source.Error{Op: op, Kind: source.KindUnknownOutcome, Ref: d.repo, Err: err,
		Msg: "it was sent, and whether it took effect is not known: " + why}
	return unknown.WithHint("look at the repository's history before repeating it")
}
