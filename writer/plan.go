package writer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
)

// Past is what the history of a branch says about a job.
type Past struct {
	// Commits are the job's commits, oldest first.
	Commits []string
	// Batches is the highest batch number found, 0 if there is none.
	Batches int
	// Complete is true if the last batch is among them.
	Complete bool
	// Digest is the job's Digest as recorded.
	Digest string
	// Names are the names that the first commit fixed; nil if there is none.
	Names *Names
	// Hidden is true if the job's files are made visible by a switch.
	Hidden bool
	// Switched is true if that has happened; SwitchParent is the commit before it.
	Switched     bool
	SwitchParent string
	// Replaced are the files that the target held at SwitchParent and that the job
	// removes: since the switch, nothing in the tree tells which they are.
	Replaced []source.File
}

// Add is one file at its final path.
type Add struct {
	Path string
	File StagedFile
}

// Batch is one commit of a job.
type Batch struct {
	// Index counts the job's commits from 1; Of is how many there will be.
	Index, Of int
	Adds      []Add
	Deletes   []string
	// Readme and Attributes are the new texts of README.md and .gitattributes,
	// nil where they stay as they are. They are not counted as operations.
	Readme, Attributes []byte
	// Step is set in jobs that are published by a switch.
	Step Step
	// reading tells the READMEs of one plan apart by what they let readers find;
	// their numbers may differ.
	reading int
}

// Operations is the number of files that the batch adds and deletes.
func (b Batch) Operations() int { return len(b.Adds) + len(b.Deletes) }

// Digest stands for the batch's operations.
func (b Batch) Digest() string {
	h := sha256.New()
	for _, a := range b.Adds {
		_, _ = io.WriteString(h, "+"+a.Path+"\x00"+a.File.OID+"\n")
	}
	for _, d := range b.Deletes {
		_, _ = io.WriteString(h, "-"+d+"\n")
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Plan is what is left to do for a job on top of a State.
type Plan struct {
	Names   Names
	Batches []Batch
	// Paths are the paths of all files of the job, also those that are there.
	Paths []string
	// Atomic is true if readers see nothing between before and after.
	Atomic bool
	// Resolves is true if dataset resolution finds the files in the end.
	Resolves bool
	// Stale are files of an earlier, longer write that stay.
	Stale []string
	// Hint says what a user can do about either.
	Hint string
}

// PlanInput is what a Plan is a function of.
type PlanInput struct {
	State *State
	Job   Job
	Past  Past
	// DropFeatures removes the features that the card declares for the config:
	// an overwrite with another schema makes them wrong.
	DropFeatures bool
}

// NewPlan computes the commits that are left of a job. It is pure: equal inputs
// give equal plans. It has proved, by dataset resolution on the tree after every
// batch, that what was readable stays readable; if that cannot be had, it fails.
func NewPlan(in PlanInput) (*Plan, error) {
	p := &planner{PlanInput: in}
	if err := p.look(); err != nil {
		return nil, err
	}
	if err := p.decideMode(); err != nil {
		return nil, err
	}
	if p.hides() {
		return p.first(p.hiddenCandidates(), p.tryHidden)
	}
	return p.first(p.candidates(), p.try)
}

// first plans the first candidate that keeps everything readable.
func (p *planner) first(candidates []candidate, try func(candidate) (*Plan, error)) (*Plan, error) {
	var reasons []error
	for _, c := range candidates {
		plan, err := try(c)
		if err == nil {
			return plan, nil
		}
		var broken *unreadable
		if !errors.As(err, &broken) {
			return nil, err
		}
		reasons = append(reasons, broken)
	}
	return nil, p.refuse(reasons)
}

// planner holds one planning: the tree as it is and what the target is in it.
type planner struct {
	PlanInput
	before *dataset.Layout
	slot   slot
	index  map[string]source.File
}

// slot is the place in the layout that the job writes to.
type slot struct {
	config    string
	isDefault bool
	known     bool // the config is in the layout
	split     string
	files     []source.File // of the split, in reading order
	native    []source.File // of the config, if it is in another format than Parquet
	err       error         // why the config cannot be read now
}

// look resolves the tree as it is and finds the target in it.
func (p *planner) look() error {
	var err error
	if p.before, err = resolve(p.State.Files, p.State.Readme, p.State.HuggingfaceYAML); err != nil {
		return err
	}
	p.index = make(map[string]source.File, len(p.State.Files))
	for _, f := range p.State.Files {
		p.index[f.Path] = f
	}
	if p.Job.Naming == NamingDataset {
		p.slot, err = findSlot(p.before, p.Job.Config, p.Job.Split)
	}
	return err
}

func resolve(files []source.File, readme, yaml []byte) (*dataset.Layout, error) {
	return dataset.Resolve(dataset.Tree{Files: files, Readme: readme, HuggingfaceYAML: yaml}, dataset.Options{})
}

// findSlot finds the config and split that a job names; "" is the default
// config.
func findSlot(l *dataset.Layout, config, split string) (slot, error) {
	s := slot{config: config, split: split}
	if len(l.Configs) == 0 {
		if config == "" {
			s.config = "default"
		}
		s.isDefault = s.config == "default"
		return s, nil
	}
	if config == "" {
		name, err := defaultName(l)
		if err != nil {
			return s, err
		}
		s.config = name
	}
	for _, c := range l.Configs {
		if c.Name != s.config {
			continue
		}
		s.known, s.isDefault, s.err = true, c.Default, c.Err
		for _, have := range c.Splits {
			if have.Name == split {
				s.files = have.Files
			}
		}
		for _, have := range c.Native {
			s.native = append(s.native, have.Files...)
		}
	}
	if !s.known {
		s.isDefault = s.config == "default"
	}
	return s, nil
}

// defaultName is the name of the default config. If there is none, or more than
// one, the error is the one that a reader gets.
func defaultName(l *dataset.Layout) (string, error) {
	var names []string
	for _, c := range l.Configs {
		if c.Default {
			names = append(names, c.Name)
		}
	}
	if len(names) == 1 {
		return names[0], nil
	}
	_, _, err := l.Choose("", "")
	if err == nil {
		err = invalid("commit", "the dataset has no default config").WithHint("name the config")
	}
	return "", err
}

// decideMode refuses targets that the mode does not allow.
func (p *planner) decideMode() error {
	if p.slot.err != nil && source.KindOf(p.slot.err) == source.KindUnsupported && !p.replacing() {
		return &source.Error{Op: "commit", Kind: source.KindUnsupported, Ref: p.State.At.Short(), Err: p.slot.err,
			Msg:  fmt.Sprintf("config %q is not in Parquet, and adding Parquet files would hide what is there: %s", p.slot.config, text(p.slot.err)),
			Hint: "write to another config or dataset, or set replace_format to delete what is there"}
	}
	if p.Job.Mode != ModeErrorIfExists && p.Job.Mode != ModeIgnore {
		return nil
	}
	if there := slices.Concat(p.existing(), p.slot.native); len(there) > 0 && p.Past.Names == nil {
		return existsError("commit", p.State.At, there)
	}
	return nil
}

func existsError(op string, at source.Snapshot, there []source.File) *source.Error {
	msg := "the target holds a file, " + there[0].Path
	if len(there) > 1 {
		msg = fmt.Sprintf("the target holds %d files, for example %s", len(there), there[0].Path)
	}
	return (&source.Error{Op: op, Kind: source.KindExists, Ref: at.Short(), Msg: msg}).
		WithHint("use mode append or overwrite")
}

// existing are the files that the job's target holds already.
func (p *planner) existing() []source.File {
	switch p.Job.Naming {
	case NamingParts:
		found, _ := parts(p.State.Files, p.Job.Dir)
		return found
	case NamingFile:
		if f, ok := p.index[p.Job.Dir]; ok {
			return []source.File{f}
		}
		return nil
	default:
		return p.slot.files
	}
}

// candidate is one way to name the job's files; explicit makes the README's
// configs say where they are.
type candidate struct {
	names    Names
	explicit bool
	exact    bool // with a pattern for exactly these names
	literal  bool // of a hidden job: the card's patterns are replaced by what they find
}

// candidates are the ways to name the files, the most wanted first.
func (p *planner) candidates() []candidate {
	if p.Past.Names != nil {
		n := *p.Past.Names
		return []candidate{{names: n}, {names: n, explicit: true}, {names: n, explicit: true, exact: true}}
	}
	switch p.Job.Naming {
	case NamingFile:
		return []candidate{{names: Names{Prefix: p.Job.Dir}}}
	case NamingParts:
		first := 0
		if p.Job.Mode == ModeAppend {
			_, first = parts(p.State.Files, p.Job.Dir)
		}
		return []candidate{{names: partNames(p.Job.Dir, first)}}
	}
	plain := p.untaken(func(suffix string) Names {
		folder, offset := plainFolder(p.Job.Dir, p.slot.config, p.slot.isDefault), 0
		if p.Job.Mode != ModeOverwrite {
			offset = nextNumber(p.slot.files, folder, p.Job.Split, shardName)
		}
		return shardedNames(folder, p.Job.Split, offset, len(p.Job.Files), suffix)
	})
	out := []candidate{{names: plain}}
	for i := range families(p.slot.files, len(p.Job.Files), "") {
		n := p.untaken(func(suffix string) Names { return families(p.slot.files, len(p.Job.Files), suffix)[i] })
		out = append(out, candidate{names: n})
	}
	return append(out, candidate{names: plain, explicit: true}, candidate{names: plain, explicit: true, exact: true})
}

// untaken uses 8 digits of the job's hash, or 16 if somebody else's files have
// those names.
func (p *planner) untaken(named func(suffix string) Names) Names {
	names := named(p.Job.Short(8))
	for i, f := range p.Job.Files {
		if there, ok := p.index[names.Path(i)]; ok && !sameContent(there, f) {
			return named(p.Job.Short(16))
		}
	}
	return names
}

// unreadable is why a candidate would break a dataset.
type unreadable struct{ why string }

func (u *unreadable) Error() string { return u.why }

// refuse says why none of the candidates will do.
func (p *planner) refuse(reasons []error) error {
	e := &source.Error{Op: "commit", Kind: source.KindInvalid, Ref: p.State.At.Short(),
		Msg:  "the files cannot be added so that the dataset stays readable",
		Hint: "write to another config, folder or dataset, or list the files of every config and split in the README's configs"}
	if len(reasons) > 0 {
		e.Msg += ": " + reasons[0].Error()
	}
	return e
}

// try plans one candidate and checks it batch by batch.
func (p *planner) try(c candidate) (*Plan, error) {
	if err := c.names.check(len(p.Job.Files)); err != nil {
		return nil, err
	}
	paths := c.names.Paths(len(p.Job.Files))
	adds, err := p.additions(paths)
	if err != nil {
		return nil, err
	}
	deletes, stale, err := p.deletions(paths)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Names: c.names, Paths: paths, Stale: stale}
	if plan.Batches, err = p.cut(adds, deletes); err != nil {
		return nil, err
	}
	if err := p.writeCards(c, plan); err != nil {
		return nil, err
	}
	if plan.Resolves, err = p.verify(plan, runs(plan.Batches)); err != nil {
		return nil, err
	}
	p.writeAttributes(plan)
	plan.hint()
	return plan, nil
}

func (plan *Plan) hint() {
	switch {
	case !plan.Resolves && len(plan.Paths) > 0:
		plan.Hint = "no config or split of the dataset finds these files: read them with data_files, or list them in the README's configs"
	case len(plan.Stale) > 0:
		plan.Hint = fmt.Sprintf("%d files of an earlier, longer write are still there and will be read too: use mode overwrite to delete them", len(plan.Stale))
	}
}

// additions are the files that are not there yet.
func (p *planner) additions(paths []string) ([]Add, error) {
	replaces := p.Job.Naming != NamingDataset && (p.Job.Mode == ModeReplace || p.Job.Mode == ModeOverwrite)
	var adds []Add
	hole := -1
	for i, f := range p.Job.Files {
		there, ok := p.index[paths[i]]
		switch {
		case ok && sameContent(there, f):
			if hole >= 0 && p.Past.Batches > 0 && p.Job.Mode == ModeOverwrite {
				return nil, p.lost(paths[hole])
			}
			continue
		case ok && !replaces:
			return nil, (&source.Error{Op: "commit", Kind: source.KindConflict, Ref: p.State.At.Short(), Path: paths[i],
				Msg: "another file has this name by now"}).WithHint("repeat the write as a new job")
		}
		if hole < 0 {
			hole = i
		}
		adds = append(adds, Add{Path: paths[i], File: f})
	}
	return adds, nil
}

// lost is the conflict of an overwrite whose earlier files somebody removed.
func (p *planner) lost(path string) error {
	return (&source.Error{Op: "commit", Kind: source.KindConflict, Ref: p.State.At.Short(), Path: path,
		Msg: "another commit removed a file that this overwrite had added"}).WithHint("repeat the write as a new job")
}

// deletions are the files that the job removes, and those of an earlier, longer
// write that it leaves.
func (p *planner) deletions(paths []string) (deletes, stale []string, err error) {
	own := setOf(paths)
	switch {
	case p.Job.Naming == NamingDataset:
		deletes, err = p.replaced(own)
		return deletes, nil, err
	case p.Job.Naming == NamingFile || p.Job.Mode == ModeAppend:
		return nil, nil, nil
	default:
		for _, f := range p.existing() {
			if own[f.Path] {
				continue
			}
			if p.Job.Mode == ModeOverwrite {
				deletes = append(deletes, f.Path)
			} else {
				stale = append(stale, f.Path)
			}
		}
		return deletes, stale, nil
	}
}

// outgoing are the files of the target that the job does away with.
func (p *planner) outgoing() []source.File {
	var files []source.File
	if p.Job.Mode == ModeOverwrite {
		files = append(files, p.slot.files...)
	}
	if p.replacing() {
		files = append(files, p.slot.native...)
	}
	return files
}

// replacing reports whether the job deletes a config's files of another format.
func (p *planner) replacing() bool {
	return p.Job.ReplaceFormat && p.Job.Naming == NamingDataset && len(p.slot.native) > 0
}

// replaced are the paths of outgoing, checked: nobody else reads them.
func (p *planner) replaced(own map[string]bool) (deletes []string, err error) {
	if p.Past.Switched {
		return p.leftOver(own), nil
	}
	others := p.readBy()
	for _, f := range p.outgoing() {
		if own[f.Path] {
			continue
		}
		if other := others[f.Path]; other != "" {
			return nil, (&source.Error{Op: "commit", Kind: source.KindInvalid, Ref: p.State.At.Short(), Path: f.Path,
				Msg: fmt.Sprintf("the file belongs to %s too, so overwriting this split would change that one", other)}).
				WithHint("give each split files of its own in the README's configs")
		}
		deletes = append(deletes, f.Path)
	}
	return deletes, nil
}

// readBy names, for every file, a split other than the target that reads it.
func (p *planner) readBy() map[string]string {
	out := map[string]string{}
	for _, c := range p.before.Configs {
		for _, s := range slices.Concat(c.Splits, c.Native) {
			if c.Name == p.slot.config && (s.Name == p.slot.split || p.replacing()) {
				continue
			}
			name := fmt.Sprintf("split %s of config %s", s.Name, c.Name)
			for _, f := range s.Files {
				out[f.Path] = name
			}
		}
	}
	return out
}

// cut divides the operations into commits: additions first, then deletions, so
// that the rows of an overwrite are there twice for a while rather than not at all.
// Where a commit ends depends on what is left only: whoever goes on with a job ends
// the next ones where they would have ended.
func (p *planner) cut(adds []Add, deletes []string) ([]Batch, error) {
	if p.Job.MaxOperations == 0 && p.Job.fitting(adds) < len(adds) {
		return nil, p.tooLarge(adds)
	}
	var batches []Batch
	for len(adds)+len(deletes) > 0 {
		b := Batch{Index: p.Past.Batches + len(batches) + 1}
		n := p.Job.fitting(adds)
		b.Adds, adds = adds[:n], adds[n:]
		if len(adds) == 0 {
			n = min(p.Job.operations()-n, len(deletes))
			b.Deletes, deletes = deletes[:n], deletes[n:]
		}
		batches = append(batches, b)
	}
	for i := range batches {
		batches[i].Of = p.Past.Batches + len(batches)
	}
	return batches, nil
}

// tooLarge is the error of a job that is to be one commit and cannot be.
func (p *planner) tooLarge(adds []Add) error {
	var content int64
	for _, a := range adds {
		content += a.File.inline()
	}
	return (&source.Error{Op: "commit", Kind: source.KindLimit, Ref: p.State.At.Short(),
		Msg: fmt.Sprintf("the repository takes files of this kind inside a commit, and these %d have %d bytes; one commit can have %d", len(adds), content, p.Job.MaxContent)}).
		WithHint("set max_operations_per_commit (to 50, for example) so that the job may take several commits, or write fewer, larger files: those above %d bytes travel outside of it", MaxRegular)
}

func setOf(paths []string) map[string]bool {
	set := make(map[string]bool, len(paths))
	for _, path := range paths {
		set[path] = true
	}
	return set
}

func text(err error) string {
	var e *source.Error
	if errors.As(err, &e) && e.Msg != "" {
		return e.Msg
	}
	return err.Error()
}
