package writer

import (
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Review looks at a job that is committed: whether its files are found, and what
// an earlier, longer write has left beside them.
func Review(s *State, job Job, names Names) (resolves bool, stale []string, hint string, err error) {
	p := &planner{PlanInput: PlanInput{State: s, Job: job}}
	layout, err := resolve(s.Files, s.Readme, s.HuggingfaceYAML)
	if err != nil {
		return false, nil, text(err), nil // a card that broke later does not undo the job
	}
	plan := &Plan{Names: names, Paths: names.Paths(len(job.Files))}
	plan.Resolves = finds(layout, plan.Paths)
	if job.Naming == NamingParts && job.Mode == ModeReplace {
		own := setOf(plan.Paths)
		found, _ := parts(p.State.Files, job.Dir)
		for _, f := range found {
			if !own[f.Path] {
				plan.Stale = append(plan.Stale, f.Path)
			}
		}
	}
	plan.hint()
	return plan.Resolves, plan.Stale, plan.Hint, nil
}

// Trace is what a tree tells of a job whose history is gone.
type Trace int

const (
	// TraceNone: none of the job's files is there.
	TraceNone Trace = iota
	// TraceAll: all of them are, and nothing is that the job removes.
	TraceAll
	// TraceUnclear: it may be either, or half of the job.
	TraceUnclear
)

// Traces looks for a job's files in a tree whose history no longer tells: by their
// names, because equal rows are equal files, which may have been there before the job.
// Files of a split have a suffix that is the job's own; where the caller chose the
// names, it is the path. What is added to parts has neither: it cannot be told from
// equal parts of others.
func Traces(s *State, job Job) (Trace, error) {
	p := &planner{PlanInput: PlanInput{State: s, Job: job}}
	if err := p.look(); err != nil {
		return TraceUnclear, err
	}
	own := p.traced()
	switch {
	case len(own) == 0:
		return TraceNone, nil
	case len(own) < len(job.Files), job.Naming == NamingParts && job.Mode == ModeAppend:
		return TraceUnclear, nil
	}
	// An overwrite adds before it deletes, and a switch before anything is found.
	read := 0
	for _, f := range p.existing() {
		switch {
		case own[f.Path]:
			read++
		case job.Mode == ModeOverwrite:
			return TraceUnclear, nil
		}
	}
	if read < len(own) || p.replacing() {
		return TraceUnclear, nil
	}
	return TraceAll, nil
}

// traced are the paths at which a file of the job is, each of its files once.
func (p *planner) traced() map[string]bool {
	own := map[string]bool{}
	if p.Job.Naming != NamingDataset && p.Job.Mode != ModeAppend {
		names := Names{Prefix: p.Job.Dir}
		if p.Job.Naming == NamingParts {
			names = partNames(p.Job.Dir, 0)
		}
		for i, f := range p.Job.Files {
			if there, ok := p.index[names.Path(i)]; ok && sameContent(there, f) {
				own[there.Path] = true
			}
		}
		return own
	}
	among := p.existing()
	if p.Job.Naming == NamingDataset {
		among = p.suffixed()
	}
	left, oids := map[string]int{}, map[string]string{}
	for _, f := range p.Job.Files {
		left[f.OID]++
		oids[f.OID] = f.OID
		if raw, err := f.Bytes(); f.Mode == UploadRegular && err == nil {
			oids[source.GitBlobID(raw)] = f.OID
		}
	}
	for _, f := range among {
		if oid := oids[f.Identity()]; left[oid] > 0 {
			left[oid]--
			own[f.Path] = true
		}
	}
	return own
}

// suffixed are the files that have the job's suffix.
func (p *planner) suffixed() (files []source.File) {
	for _, f := range p.State.Files {
		if strings.HasSuffix(f.Path, "-"+p.Job.Short(8)+parquetExt) || strings.HasSuffix(f.Path, "-"+p.Job.Short(16)+parquetExt) {
			files = append(files, f)
		}
	}
	return files
}

// LFS returns those of a batch's additions whose content the sink has stored, and
// the others, whose content is in their record.
func (b Batch) LFS() (stored, inline []Add) {
	for _, a := range b.Adds {
		if a.File.Mode == UploadLFS {
			stored = append(stored, a)
		} else {
			inline = append(inline, a)
		}
	}
	return stored, inline
}

// StagedLost is the error of files that are no longer stored.
func StagedLost(at source.Snapshot, lost []StagedFile) error {
	return (&source.Error{Op: "commit", Kind: source.KindStagedLost, Ref: at.Short(),
		Msg: "staged files are no longer stored: those of partitions " + partitions(lost)}).
		WithHint("stage these partitions again and commit")
}
