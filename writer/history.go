package writer

import (
	"regexp"
	"strconv"

	"github.com/hubflight/hubflight/source"
)

var descriptionLine = regexp.MustCompile(`(?m)^` + marker + `([0-9a-f-]{36}) batch=([0-9]{1,6})/([0-9]{1,6}) ops=([0-9a-f]{64}) files=([0-9a-f]{64}) offset=([0-9]{1,5}) names=(\S+)(?: step=([a-z]{1,16}))?\s*$`)

// Record is what a commit's text says about a job.
type Record struct {
	Job       string
	Batch, Of int
	Digest    string
	Names     Names
	Step      Step // "" if the job is not published by a switch
}

// ParseDescription finds the line that Describe wrote in a commit's text.
func ParseDescription(text string) (Record, bool) {
	m := descriptionLine.FindStringSubmatch(text)
	if m == nil {
		return Record{}, false
	}
	batch, err1 := strconv.Atoi(m[2])
	of, err2 := strconv.Atoi(m[3])
	offset, err3 := strconv.Atoi(m[6])
	if err1 != nil || err2 != nil || err3 != nil || batch < 1 {
		return Record{}, false
	}
	names, ok := parseNames(m[7], offset)
	return Record{Job: m[1], Batch: batch, Of: of, Digest: m[5], Names: names, Step: Step(m[8])}, ok
}

// Note adds a commit of the job to what is known of it. Commits are noted newest
// first. A commit of the same job with other files is KindConflict.
func (p *Past) Note(commit string, r Record, job Job) error {
	if r.Digest != job.Digest {
		return (&source.Error{Op: "commit", Kind: source.KindConflict, Ref: job.Ref.Name(), Msg: "this job id was committed before with other files"}).
			WithHint("use a new job id for a new write")
	}
	p.Commits = append([]string{commit}, p.Commits...)
	p.Batches = max(p.Batches, r.Batch)
	p.Complete = p.Complete || r.Batch >= r.Of
	p.Digest = r.Digest
	p.Hidden = p.Hidden || r.Step != ""
	p.Switched = p.Switched || r.Step == StepSwitch
	names := r.Names
	p.Names = &names // the oldest is noted last and counts
	return nil
}
