package writer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hubflight/hubflight/source"
)

// States of a job, as JobItem says them.
const (
	// JobOpen: begun or staged here, and no commit is known.
	JobOpen = "open"
	// JobPartial: some of its commits are in the history.
	JobPartial = "partial"
	// JobComplete: all of them are.
	JobComplete = "complete"
)

// JobItem is what is known of one job.
type JobItem struct {
	Type     string `json:"type"`
	Job      string `json:"job"`
	Dataset  string `json:"dataset"`
	Revision string `json:"revision,omitempty"`
	State    string `json:"state"`
	// Commits are the job's commits in the history, oldest first; Of is how many
	// there will be, 0 if unknown.
	Commits []string `json:"commits"`
	Of      int      `json:"of,omitempty"`
	// Title is the message of its newest commit.
	Title string `json:"title,omitempty"`
	// Updated is the time of the newest thing known, RFC 3339.
	Updated string `json:"updated,omitempty"`
	// Staged is the number of files that this server has staged for it.
	Staged int `json:"staged,omitempty"`
}

// Historian is a Sink that can tell which jobs were committed to it: newest first,
// as far back as it looks. job "" is all.
type Historian interface {
	Jobs(ctx context.Context, revision, job string) ([]JobItem, error)
}

// jobOwner is whose a job is as long as no history tells of it: callers of one Hub
// token may be several principals, and those of one principal may bring their own.
type jobOwner struct {
	principal string
	token     source.TokenID
}

// jobKey names a job as its owner does. With another caller's id one finds nothing,
// and takes nothing away.
type jobKey struct {
	owner jobOwner
	job   string
}

type principalKey struct{}

// OnBehalfOf names the principal for whom the steps of jobs under ctx are carried
// out. Without it there is one, the unnamed.
func OnBehalfOf(ctx context.Context, principal string) context.Context {
	return context.WithValue(ctx, principalKey{}, principal)
}

func ownerOf(ctx context.Context, token source.HubToken) jobOwner {
	principal, _ := ctx.Value(principalKey{}).(string)
	return jobOwner{principal: principal, token: token.ID()}
}

func keyOfJob(ctx context.Context, token source.HubToken, job string) jobKey {
	return jobKey{owner: ownerOf(ctx, token), job: job}
}

// KnownJobs are the jobs that this process has begun or staged for this caller,
// newest first: what a restart forgets, and no history tells.
func (w *Writer) KnownJobs(ctx context.Context, token source.HubToken) []JobItem {
	return w.known.list(ownerOf(ctx, token))
}

// Jobs are the jobs of a dataset: those that its history tells, and those that are
// known here and have no commit yet. job "" is all of them. Errors: KindNotFound
// (no such dataset or job), and those of reading.
func (w *Writer) Jobs(ctx context.Context, token source.HubToken, dataset, revision, job string) ([]JobItem, error) {
	ref, rev, _, err := target{dataset: dataset, revision: revision}.place()
	if err != nil {
		return nil, err
	}
	sink, err := w.open(ctx, ref, token)
	if err != nil {
		return nil, err
	}
	var items []JobItem
	if h, ok := sink.(Historian); ok {
		if items, err = h.Jobs(ctx, rev, job); err != nil {
			return nil, err
		}
	}
	for i := range items {
		items[i].Type, items[i].Dataset, items[i].Revision = "item", ref.Name(), rev
	}
	for _, k := range w.known.list(ownerOf(ctx, token)) {
		if k.Dataset != ref.Name() || job != "" && k.Job != job {
			continue
		}
		i := slices.IndexFunc(items, func(have JobItem) bool { return have.Job == k.Job })
		if i < 0 {
			items = append([]JobItem{k}, items...)
			continue
		}
		items[i].Staged = k.Staged
	}
	if job != "" && len(items) == 0 {
		return nil, (&source.Error{Op: "jobs", Kind: source.KindNotFound, Ref: ref.Name(), Msg: "no commit of job " + clip(job) + " is in the history, and it is not staged here"}).
			WithHint("it has not happened: commit it (again), or write as a new job")
	}
	return items, nil
}

// knownJobs remembers what this process did for whom. It is bounded: the jobs that
// were touched longest ago are forgotten.
type knownJobs struct {
	mu   sync.Mutex
	jobs map[jobKey]knownJob
}

type knownJob struct {
	item JobItem
	at   time.Time
}

const maxKnown = 1000

// note records a step of a job.
func (k *knownJobs) note(job jobKey, ref source.Ref, revision string, staged int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.jobs == nil {
		k.jobs = map[jobKey]knownJob{}
	}
	was := k.jobs[job].item
	now := time.Now()
	k.jobs[job] = knownJob{at: now, item: JobItem{
		Type: "item", Job: job.job, Dataset: ref.Name(), Revision: cmp.Or(revision, was.Revision), State: JobOpen,
		Commits: []string{}, Updated: now.UTC().Format(time.RFC3339), Staged: was.Staged + staged,
	}}
	if len(k.jobs) > maxKnown {
		oldest := job
		for id, j := range k.jobs {
			if j.at.Before(k.jobs[oldest].at) {
				oldest = id
			}
		}
		delete(k.jobs, oldest)
	}
}

// forget drops a job that is committed or aborted.
func (k *knownJobs) forget(job jobKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.jobs, job)
}

func (k *knownJobs) list(owner jobOwner) []JobItem {
	k.mu.Lock()
	defer k.mu.Unlock()
	var mine []knownJob
	for key, j := range k.jobs {
		if key.owner == owner {
			mine = append(mine, j)
		}
	}
	slices.SortFunc(mine, func(a, b knownJob) int { return b.at.Compare(a.at) })
	items := make([]JobItem, len(mine))
	for i, j := range mine {
		items[i] = j.item
	}
	return items
}

// Gather adds a commit of a history, newest first, to the jobs found so far.
func Gather(items []JobItem, commit string, at time.Time, title string, r Record) []JobItem {
	i := slices.IndexFunc(items, func(have JobItem) bool { return have.Job == r.Job })
	if i < 0 {
		i = len(items)
		items = append(items, JobItem{Job: r.Job, State: JobPartial, Of: r.Of, Title: title, Updated: at.UTC().Format(time.RFC3339)})
		if r.Batch >= r.Of {
			items[i].State = JobComplete
		}
	}
	items[i].Commits = append([]string{commit}, items[i].Commits...)
	return items
}
