package hubsink

import (
	"cmp"
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// Options configure a Sink.
type Options struct {
	Client *hub.Client
	Repo   string // "ns/name"
	Token  source.HubToken
	// ConflictDeadline is how long a commit is tried again after conflicts and
	// lost answers without getting any further; 0 is 2 minutes. Waiting for a
	// quota does not count.
	ConflictDeadline time.Duration
	// Memory is shared with the other sinks of the process; nil is one of its own.
	Memory *Memory
	// Clock is what commits wait by; nil is the machine's.
	Clock  Clock
	Logger *slog.Logger
}

// Sink is one repository with one caller's rights.
type Sink struct {
	client   *hub.Client
	data     *hub.Dataset
	memory   *Memory
	repo     string
	token    source.HubToken
	deadline time.Duration
	clock    Clock
	log      *slog.Logger
}

var _ writer.Sink = (*Sink)(nil)

// New returns the Sink of a repository; it asks nothing yet.
func New(o Options) *Sink {
	if o.ConflictDeadline == 0 {
		o.ConflictDeadline = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = wall{}
	}
	if o.Memory == nil {
		o.Memory = &Memory{}
	}
	return &Sink{client: o.Client, data: o.Client.Dataset(o.Repo, o.Token), memory: o.Memory, repo: o.Repo, token: o.Token, deadline: o.ConflictDeadline, clock: o.Clock, log: o.Logger}
}

const defaultBranch = "main"

var (
	fullSha = regexp.MustCompile(`^[0-9a-f]{40}$`)
	prRef   = regexp.MustCompile(`^refs/pr/([0-9]{1,9})$`)
)

// Begin implements writer.Sink.
func (s *Sink) Begin(ctx context.Context, p writer.Prepare) (writer.Base, error) {
	base, err := s.begin(ctx, p)
	if err == nil {
		s.memory.see(s.headKey(base.Revision), base.Commit)
	}
	return base, err
}

func (s *Sink) begin(ctx context.Context, p writer.Prepare) (writer.Base, error) {
	if err := s.refuseRevision(p); err != nil {
		return writer.Base{}, err
	}
	if p.Create {
		if err := s.create(ctx, p.Private); err != nil {
			return writer.Base{}, err
		}
	}
	failpoint.Here(failpoint.BeginCreated)
	if p.PR {
		if _, err := s.data.Info(ctx, ""); err != nil {
			return writer.Base{}, s.missing(err, p.Create)
		}
		return s.pullRequest(ctx, p)
	}
	return s.writable(ctx, p)
}

// create makes the repository unless it is there. Of a name alone the Hub would make one
// in the caller's own namespace, which is not the dataset that was named.
func (s *Sink) create(ctx context.Context, private bool) error {
	if strings.Contains(s.repo, "/") {
		_, err := s.client.CreateRepo(ctx, s.token, s.repo, private)
		return err
	}
	_, err := s.data.Info(ctx, "")
	if source.KindOf(err) == source.KindNotFound {
		return source.Errorf(source.KindInvalid, "begin", "the dataset does not exist, and one without a namespace cannot be created").
			WithFile(s.repo, "").WithHint("name it NAMESPACE/%s", s.repo)
	}
	return err
}

// writable asks at the same time where a branch stands and whether the caller may
// write: each question is a round trip. What their refusals mean depends on whether
// the repository is there at all, which is asked only then.
func (s *Sink) writable(ctx context.Context, p writer.Prepare) (writer.Base, error) {
	var base writer.Base
	var denied, unread error
	var asking sync.WaitGroup
	asking.Go(guarded("begin", &denied, func() error { return s.data.CheckWrite(ctx) }))
	base, unread = s.pin(ctx, p.Revision)
	asking.Wait()
	if denied == nil && unread == nil {
		return base, nil
	}
	if _, err := s.data.Info(ctx, ""); err != nil {
		return writer.Base{}, s.missing(err, p.Create)
	}
	if denied != nil {
		return writer.Base{}, denied
	}
	return writer.Base{}, unread
}

// pin is the head of a branch.
func (s *Sink) pin(ctx context.Context, revision string) (writer.Base, error) {
	branch, commit, err := s.branch(ctx, revision)
	if err != nil {
		return writer.Base{}, err
	}
	if fullSha.MatchString(commit) {
		return writer.Base{Revision: branch, Commit: commit}, nil
	}
	info, err := s.data.Info(ctx, branch)
	if err != nil {
		return writer.Base{}, err
	}
	return writer.Base{Revision: branch, Commit: info.Sha}, nil
}

// missing adds the way out to the error of a repository that is not there.
func (s *Sink) missing(err error, created bool) error {
	e := *source.AsError("begin", err)
	if e.Kind == source.KindNotFound && !created {
		e.Hint = "set create_repo to create the dataset, or " + cmp.Or(e.Hint, "check its name and the token")
	}
	return &e
}

// refuseRevision refuses what can be seen to be no branch.
func (s *Sink) refuseRevision(p writer.Prepare) error {
	refuse := func(what string) error {
		return source.Errorf(source.KindInvalid, "begin", "revision %q is %s: only branches and pull requests can be written to", p.Revision, what).WithFile(s.repo, "")
	}
	switch {
	case fullSha.MatchString(p.Revision):
		return refuse("a commit")
	case strings.HasPrefix(p.Revision, "refs/convert/"):
		return refuse("a conversion, which the Hub makes itself")
	case strings.HasPrefix(p.Revision, "refs/") && !prRef.MatchString(p.Revision):
		return refuse("no branch")
	case p.PR && p.Revision != "" && p.Revision != defaultBranch:
		return source.Errorf(source.KindInvalid, "begin", "create_pr does not go with revision %q: pull requests are made to %s", p.Revision, defaultBranch).WithFile(s.repo, "")
	}
	return nil
}

// branch checks that a revision is a branch or a pull request, and gives its head if
// that has become known by it.
func (s *Sink) branch(ctx context.Context, revision string) (name, head string, err error) {
	if revision == "" {
		return defaultBranch, "", nil
	}
	if prRef.MatchString(revision) {
		return revision, "", nil
	}
	refs, err := s.data.Refs(ctx)
	if err != nil {
		return "", "", err
	}
	for _, b := range refs.Branches {
		if b.Name == revision || b.Ref == revision {
			return b.Name, b.TargetCommit, nil
		}
	}
	for _, t := range refs.Tags {
		if t.Name == revision || t.Ref == revision {
			return "", "", source.Errorf(source.KindInvalid, "begin", "revision %q is a tag: only branches and pull requests can be written to", revision).WithFile(s.repo, "")
		}
	}
	return "", "", source.Errorf(source.KindNotFound, "begin", "the dataset has no branch %q", revision).WithFile(s.repo, "").
		WithHint("create the branch first")
}

// pullRequest finds the job's pull request or opens it. Its title holds the job,
// so that a repeated begin finds the first one, on any replica.
func (s *Sink) pullRequest(ctx context.Context, p writer.Prepare) (writer.Base, error) {
	title := writer.PRTitle(p.Job)
	num, found, err := s.data.FindPR(ctx, title)
	if err == nil && !found {
		num, err = s.data.CreatePR(ctx, title, "Opened by hubflight; the job's files are committed here.")
		if source.KindOf(err) == source.KindUnknownOutcome {
			if again, found, findErr := s.data.FindPR(ctx, title); findErr == nil && found {
				num, err = again, nil
			}
		}
	}
	if err != nil {
		return writer.Base{}, err
	}
	revision := writer.PRRevision(num)
	info, err := s.data.Info(ctx, revision)
	if err != nil {
		return writer.Base{}, err
	}
	return writer.Base{Revision: revision, Commit: info.Sha}, nil
}

func (s *Sink) snapshot(revision, commit string) source.Snapshot {
	return source.Snapshot{Name: s.repo, Revision: revision, Commit: commit}
}

func (s *Sink) headKey(branch string) headKey { return headKey{s.token.ID(), s.repo, branch} }

// At implements writer.Sink.
func (s *Sink) At(ctx context.Context, revision, commit string) (*writer.State, error) {
	return writer.LoadLayout(ctx, s.store(), s.snapshot(revision, commit))
}

func (s *Sink) store() store { return store{s.data, s.token.ID(), s.memory} }

// Put implements writer.Sink. How the file is to be kept and where it would go are
// asked at the same time: an object that is not sent after all is none.
func (s *Sink) Put(ctx context.Context, f writer.Upload) (writer.Stored, error) {
	revision, object := branchOr(f.Revision), hub.LFSObject{OID: f.OID, Size: f.Size, Open: f.Open}
	small := f.Size <= writer.MaxRegular
	addressing, unneeded := context.WithCancel(ctx)
	defer unneeded()
	var mode string
	var refused error
	var asking sync.WaitGroup
	asking.Go(guarded("preupload", &refused, func() (err error) {
		key := modeKey{token: s.token.ID(), repo: s.repo, revision: revision, job: f.Job, path: f.Path, small: small}
		mode, err = s.memory.mode(ctx, key, func() (string, error) { return s.mode(ctx, revision, f.Path, f.Sample, f.Size) })
		if err != nil || small && mode == hub.ModeRegular {
			unneeded()
		}
		return err
	}))
	address, err := s.data.LFSAddress(addressing, revision, object)
	asking.Wait()
	if refused != nil {
		return writer.Stored{}, refused
	}
	failpoint.Here(failpoint.StageAsked)
	// A larger file that git would keep goes as LFS all the same; the commit adds
	// the rule that says so.
	if small && mode == hub.ModeRegular {
		return writer.Stored{Regular: true}, nil
	}
	if err != nil {
		return writer.Stored{}, err
	}
	return writer.Stored{}, s.data.SendLFS(ctx, revision, object, address, f.Progress)
}

func branchOr(revision string) string {
	if revision == "" {
		return defaultBranch
	}
	return revision
}

// mode asks how a file is to be stored.
func (s *Sink) mode(ctx context.Context, revision, path string, sample []byte, size int64) (string, error) {
	results, err := s.data.Preupload(ctx, revision, []hub.PreuploadFile{{Path: path, Sample: sample, Size: size}})
	if err != nil {
		return "", err
	}
	if len(results) != 1 {
		return "", source.Errorf(source.KindUpstream, "preupload", "the Hub answered for %d files instead of one", len(results)).WithFile(s.repo, path)
	}
	if results[0].Ignore {
		return "", source.Errorf(source.KindInvalid, "preupload", "the repository's .gitignore leaves this file out").WithFile(s.repo, path).
			WithHint("change .gitignore, or write to another folder")
	}
	return results[0].Mode, nil
}
