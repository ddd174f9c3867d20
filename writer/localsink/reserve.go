package localsink

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// What a commit puts beside its intent, in the job's staging area.
const (
	// forwardName is there while the commit is carried out. Removing it, which takes
	// no room, turns the commit back.
	forwardName = "forward"
	// answerName takes the room of the answer.
	answerName   = "answer.json"
	keptPrefix   = "old."
	readmePrefix = "readme."
)

// answerPath is where the answer of a committed job is; an empty file holds its place.
func answerPath(job string) string { return path.Join(doneDir, job+".json") }

// makeFolders makes those that files will be renamed into.
func (f *folder) makeFolders(_ context.Context, in *intent) error {
	there := map[string]bool{".": true}
	for _, m := range in.Moves {
		var missing []string
		for p := path.Dir(m.To); !there[p]; p = path.Dir(p) {
			there[p] = true
			missing = append(missing, p)
		}
		for _, p := range slices.Backward(missing) {
			err := f.root.Mkdir(p, 0o755)
			if errors.Is(err, fs.ErrExist) {
				if info, err := f.root.Stat(p); err != nil || !info.IsDir() {
					return f.inTheWay(p, "no folder, and files of this job go below it")
				}
				continue
			}
			if err != nil {
				return f.sink.wrap("commit", err)
			}
			in.Made = append(in.Made, p)
			if err := f.syncDir(path.Dir(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// inTheWay is the error of a place that something else has.
func (f *folder) inTheWay(path, what string) error {
	return f.sink.fail("commit", source.KindInvalid, "there is something in the way: it is "+what).
		WithFile(f.sink.store.Name(), path).WithHint("move it away, or write somewhere else")
}

// keep gives what the commit replaces or deletes a second name. Where files have one
// name only, the commit cannot be taken back.
func (f *folder) keep(_ context.Context, in *intent) error {
	paths := slices.Clone(in.Deletes)
	for _, m := range in.Moves {
		paths = append(paths, m.To)
	}
	for i, p := range paths {
		info, err := f.root.Lstat(p)
		if err != nil {
			continue // nothing is lost
		}
		if info.IsDir() {
			return f.inTheWay(p, "a folder, and a file of this job has its name")
		}
		k := kept{Name: keptPrefix + strconv.Itoa(i), Path: p}
		name := path.Join(area, in.Job, k.Name)
		if err := f.root.drop(name); err != nil { // of a process that died
			return f.sink.wrap("commit", err)
		}
		err = f.root.Link(p, name)
		switch {
		case err == nil:
			in.Kept = append(in.Kept, k)
		case isFull(err):
			return f.sink.wrap("commit", err)
		default:
			in.OneWay = true
		}
	}
	return nil
}

// reserveAnswer takes the room, and the name, of the answer.
func (f *folder) reserveAnswer(ctx context.Context, in *intent) error {
	if err := f.root.MkdirAll(doneDir, private); err != nil {
		return f.sink.wrap("commit", err)
	}
	dir := path.Join(area, in.Job)
	for _, name := range []string{path.Join(dir, forwardName), answerPath(in.Job)} {
		file, err := f.root.create(name, 0)
		if err != nil {
			return f.sink.wrap("commit", err)
		}
		if err := file.Close(); err != nil {
			return f.sink.wrap("commit", err)
		}
	}
	// The job's folder is an entry of the area: an intent in a folder that a power cut
	// takes away would never be found.
	for _, made := range []string{doneDir, area} {
		if err := f.syncDir(made); err != nil {
			return err
		}
	}
	_ = f.root.Remove(path.Join(dir, answerName)) // of a process that died
	// The head that the folder has now is as long as the one that it will have.
	return f.writeJSON(ctx, path.Join(dir, answerName), in.answered(in.Result.Head))
}

// answered is the record of a commit that led to that head.
func (i intent) answered(head string) intent {
	i.Made, i.Kept = nil, nil
	i.Result.Head, i.Result.Commits = head, []string{head}
	return i
}

// answerWith writes the answer into the room that it has, and gives it its name.
func (f *folder) answerWith(in intent) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	name := path.Join(area, in.Job, answerName)
	file, err := f.root.create(name, 0)
	if err != nil {
		return f.sink.wrap("commit", err)
	}
	if err = f.root.at(stepWrite); err == nil {
		_, err = file.WriteAt(raw, 0)
	}
	if err == nil {
		err = file.Truncate(int64(len(raw)))
	}
	if err == nil {
		err = f.root.sync(file)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.root.Rename(name, answerPath(in.Job))
	}
	if err != nil {
		return f.sink.wrap("commit", err)
	}
	return f.syncDir(doneDir)
}

// isAnswered reports whether a job is committed: whether there is more of its answer
// than the name.
func (f *folder) isAnswered(job string) bool {
	info, err := f.root.Stat(answerPath(job))
	return err == nil && info.Size() > 0
}

// discard drops what prepare has made of a commit that does not happen. What was staged
// stays, for the next try.
func (f *folder) discard(in intent) error {
	dir := path.Join(area, in.Job)
	if err := f.root.drop(path.Join(dir, intentName)); err != nil {
		return f.sink.wrap("commit", err)
	}
	_ = f.syncDir(dir) // an intent that comes back is carried out or taken back
	// What is not removed here is in nobody's way.
	names := []string{forwardName, answerName, answerName + ".tmp", intentName + ".tmp"}
	for _, k := range in.Kept {
		names = append(names, k.Name)
	}
	for _, m := range in.Moves {
		if m.To == writer.ReadmePath && strings.HasPrefix(m.From, readmePrefix) {
			names = append(names, m.From)
		}
	}
	for _, name := range names {
		_ = f.root.drop(path.Join(dir, name))
	}
	if !f.isAnswered(in.Job) {
		_ = f.root.drop(answerPath(in.Job))
	}
	for _, made := range slices.Backward(in.Made) {
		_ = f.root.drop(made)
	}
	_ = f.root.drop(dir) // if it is empty
	return nil
}
