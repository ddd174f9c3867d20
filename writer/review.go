package writer

import "github.com/hubflight/hubflight/source"

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

// Traces looks for a job's files in a tree whose history no longer tells: all of
// them, some or none. It knows the job's own names only, so it finds nothing of
// jobs whose names the caller chose.
func Traces(s *State, job Job) (found, of int) {
	have := map[string]bool{}
	for _, f := range s.Files {
		if f.OID != "" {
			have[f.OID] = true
		} else {
			have[f.ETag] = true
		}
	}
	for _, f := range job.Files {
		of++
		id := f.OID
		if f.Mode == UploadRegular {
			if raw, err := f.Bytes(); err == nil && !have[id] {
				id = GitBlobID(raw)
			}
		}
		if have[id] {
			found++
		}
	}
	return found, of
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

// ReadmePath and AttributesPath are where a Batch's texts go.
const (
	ReadmePath     = readmeName
	AttributesPath = attributesName
)
