package writer

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// Step is what one commit of a job is for that is published by a switch: its files
// are added where dataset resolution does not look, then one commit makes the
// README name them, then what they replace is deleted. A job that dies before the
// switch has changed nothing that is read; one that dies after it has changed all.
type Step string

const (
	// StepPrepare writes into the README what resolution infers, so that files
	// that are added are not found.
	StepPrepare Step = "prepare"
	// StepAdd adds files, invisibly.
	StepAdd Step = "add"
	// StepSwitch makes the README name the files.
	StepSwitch Step = "switch"
	// StepDelete deletes what nothing names any more.
	StepDelete Step = "delete"
)

// hides reports whether the job is published by a switch. One that fits a commit
// needs none; one that has begun goes on as it began. Files of another format are
// always replaced so: no batch between the two can be read.
func (p *planner) hides() bool {
	if p.Past.Names != nil {
		return p.Past.Hidden
	}
	if p.Job.Naming != NamingDataset || p.Job.Publish != PublishSwitch && !p.replacing() {
		return false
	}
	if p.Job.MaxOperations == 0 {
		return false
	}
	adds := make([]Add, len(p.Job.Files))
	for i, f := range p.Job.Files {
		adds[i].File = f
	}
	return len(adds)+len(p.outgoing()) > p.Job.MaxOperations || p.Job.fitting(adds) < len(adds)
}

// hiddenCandidates are names in a folder of the job's own: with the card's
// patterns as they are, and, should they find that folder too, with what they find
// in their place.
func (p *planner) hiddenCandidates() []candidate {
	var names []Names
	if p.Past.Names != nil {
		names = append(names, *p.Past.Names)
	} else {
		for _, digits := range []int{8, 16} {
			short := p.Job.Short(digits)
			n := shardedNames(join(plainFolder(p.Job.Dir, "", true), short), p.Job.Split, 0, len(p.Job.Files), short)
			if !slices.ContainsFunc(p.State.Files, func(f source.File) bool { return below(f.Path, dirOf(n.Prefix)) }) {
				names = append(names, n)
			}
		}
	}
	var out []candidate
	for _, n := range names {
		out = append(out, candidate{names: n}, candidate{names: n, literal: true})
	}
	return out
}

// tryHidden plans one candidate and checks it step by step.
func (p *planner) tryHidden(c candidate) (*Plan, error) {
	if err := c.names.check(len(p.Job.Files)); err != nil {
		return nil, err
	}
	plan := &Plan{Names: c.names, Paths: c.names.Paths(len(p.Job.Files)), Atomic: true}
	adds, err := p.additions(plan.Paths)
	if err != nil {
		return nil, err
	}
	if p.Past.Switched {
		if err := p.stillThere(plan.Paths, adds); err != nil {
			return nil, err
		}
	}
	deletes, _, err := p.deletions(plan.Paths)
	if err != nil {
		return nil, err
	}
	var prepared, switched []byte
	if !p.Past.Switched {
		if prepared, err = p.preparedReadme(c); err != nil {
			return nil, err
		}
		if switched, err = p.switchedReadme(c, prepared, plan); err != nil {
			return nil, err
		}
	}
	p.steps(plan, adds, deletes, prepared, switched)
	if plan.Resolves, err = p.verifySteps(plan, runs(plan.Batches)); err != nil {
		return nil, err
	}
	p.writeAttributes(plan)
	plan.hint()
	return plan, nil
}

// steps divides the operations into commits.
func (p *planner) steps(plan *Plan, adds []Add, deletes []string, prepared, switched []byte) {
	if !p.Past.Switched && !bytes.Equal(prepared, p.State.Readme) {
		plan.Batches = append(plan.Batches, Batch{Step: StepPrepare, Readme: prepared})
	}
	for len(adds) > 0 {
		n := p.Job.fitting(adds)
		plan.Batches = append(plan.Batches, Batch{Step: StepAdd, Adds: adds[:n]})
		adds = adds[n:]
	}
	if !p.Past.Switched {
		plan.Batches = append(plan.Batches, Batch{Step: StepSwitch, Readme: switched})
	}
	for part := range slices.Chunk(deletes, p.Job.operations()) {
		plan.Batches = append(plan.Batches, Batch{Step: StepDelete, Deletes: part})
	}
	for i := range plan.Batches {
		plan.Batches[i].Index = p.Past.Batches + i + 1
		plan.Batches[i].Of = p.Past.Batches + len(plan.Batches)
	}
}

// stillThere: after the switch, what is left of a job is to delete the old files;
// that is right only while the new ones are what is read.
func (p *planner) stillThere(paths []string, missing []Add) error {
	if len(missing) > 0 {
		return p.lost(missing[0].Path)
	}
	read := map[string]bool{}
	for _, f := range p.slot.files {
		read[f.Path] = true
	}
	for _, path := range paths {
		if !read[path] {
			return (&source.Error{Op: "commit", Kind: source.KindConflict, Ref: p.State.At.Short(), Path: path,
				Msg: "since this job's files were made visible, another commit has hidden them again"}).WithHint("repeat the write as a new job")
		}
	}
	return nil
}

// leftOver are the replaced files that are still there, unchanged, and that nothing
// reads by now.
func (p *planner) leftOver(own map[string]bool) []string {
	read := map[string]bool{}
	for _, c := range p.before.Configs {
		for _, s := range slices.Concat(c.Splits, c.Native) {
			for _, f := range s.Files {
				read[f.Path] = true
			}
		}
	}
	var out []string
	for _, was := range p.Past.Replaced {
		is, ok := p.index[was.Path]
		if ok && !own[was.Path] && !read[was.Path] && is.Size == was.Size && is.OID == was.OID && is.ETag == was.ETag {
			out = append(out, was.Path)
		}
	}
	return out
}

// Replaced are the files that the job removes from a State that it has not
// switched yet.
func Replaced(s *State, job Job) ([]source.File, error) {
	p := &planner{PlanInput: PlanInput{State: s, Job: job}}
	if err := p.look(); err != nil {
		return nil, err
	}
	return p.outgoing(), nil
}

// preparedReadme is the README by which the tree is read as it is now, and the
// job's files are not found.
func (p *planner) preparedReadme(c candidate) ([]byte, error) {
	if p.before.FromReadme && !c.literal {
		return p.State.Readme, nil
	}
	card, err := parseCard(p.State.Readme)
	if err != nil {
		return nil, err
	}
	configs := card.get("configs")
	switch {
	case len(p.before.Configs) == 0:
		configs = sequence(mapping("config_name", scalar(p.slot.config), "data_files",
			sequence(splitEntry(p.slot.split, []string{dirOf(c.names.Prefix) + "/*" + pendingExt}))))
	case p.before.FromReadme && configs != nil && configs.Kind == yaml.SequenceNode:
		err = p.spellOut(configs)
	default:
		configs, err = p.inferredEntries(true)
	}
	if err != nil {
		return nil, err
	}
	p.keepDefault(configs)
	if err := card.set("configs", configs); err != nil {
		return nil, err
	}
	return card.bytes(), nil
}

// pendingExt is the extension of no file: what an empty dataset's README names
// until there is something.
const pendingExt = ".pending"

// spellOut replaces patterns by what they find.
func (p *planner) spellOut(configs *yaml.Node) error {
	for _, c := range p.before.Configs {
		entry := entryOf(configs, c.Name)
		if entry == nil || c.Err != nil && source.KindOf(c.Err) == source.KindNotFound {
			continue
		}
		if c.Err != nil && !p.replaces(c) {
			return broken("config %s cannot be read now: %s", c.Name, text(c.Err))
		}
		files, err := p.splitsOf(c)
		if err != nil {
			return err
		}
		drop(entry, "data_dir")
		put(entry, "data_files", files)
	}
	return nil
}

// switchedReadme is the README that names the job's files, and whose dataset_info
// counts them.
func (p *planner) switchedReadme(c candidate, prepared []byte, plan *Plan) ([]byte, error) {
	card, err := parseCard(prepared)
	if err != nil {
		return nil, err
	}
	configs := card.get("configs")
	if configs == nil || configs.Kind != yaml.SequenceNode {
		return nil, broken("the README's configs are not a list")
	}
	patterns, err := c.patterns()
	if err != nil {
		return nil, err
	}
	if err := p.enter(configs, patterns, p.Job.Mode != ModeOverwrite && len(p.slot.files) > 0); err != nil {
		return nil, err
	}
	p.keepDefault(configs)
	if err := card.set("configs", configs); err != nil {
		return nil, err
	}
	return newCardInfo(p, plan).switched(card.bytes())
}

// verifySteps is verify for the steps: nothing changes up to the switch, and what
// the switch makes stays.
func (p *planner) verifySteps(plan *Plan, parts [][]Batch) (resolves bool, err error) {
	t := tree{files: p.State.Files, readme: p.State.Readme}
	own, deleted := setOf(plan.Paths), setOf(p.leaving(plan))
	layout := p.before
	for i, part := range parts {
		t = t.after(p.State.At, part)
		if layout, err = resolve(t.files, t.readme, p.State.HuggingfaceYAML); err != nil {
			return false, &unreadable{text(err)}
		}
		if step := part[len(part)-1].Step; step == StepPrepare || step == StepAdd {
			if err := sameReading(p.before, layout); err != nil {
				return false, err
			}
			continue
		}
		v := view{p: p, after: layout, own: own, present: plan.Paths, deleted: deleted, last: i == len(parts)-1}
		if err := v.check(); err != nil {
			return false, err
		}
	}
	return finds(layout, plan.Paths), nil
}

// leaving are all paths that the plan deletes.
func (p *planner) leaving(plan *Plan) []string {
	var out []string
	for _, b := range plan.Batches {
		out = append(out, b.Deletes...)
	}
	return out
}

// sameReading: every config and split is read as before. A dataset without data
// may get configs, which have none either.
func sameReading(before, after *dataset.Layout) error {
	for _, was := range before.Configs {
		is, ok := config(after, was.Name)
		switch {
		case !ok:
			return broken("config %s would no longer be there", was.Name)
		case was.Default != is.Default, source.KindOf(was.Err) != source.KindOf(is.Err):
			return broken("config %s would not be read as it is now", was.Name)
		case !slices.EqualFunc(was.Splits, is.Splits, sameSplit), !slices.EqualFunc(was.Native, is.Native, sameSplit):
			return broken("the splits of config %s would not be read as they are now", was.Name)
		}
	}
	for _, is := range after.Configs {
		if _, ok := config(before, is.Name); !ok && (len(before.Configs) > 0 || source.KindOf(is.Err) != source.KindNotFound) {
			return broken("config %s would appear", is.Name)
		}
	}
	return nil
}

func sameSplit(a, b dataset.Split) bool {
	return a.Name == b.Name && slices.EqualFunc(a.Files, b.Files, func(f, g source.File) bool { return f.Path == g.Path })
}
