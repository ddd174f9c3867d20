package localsink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

const (
	intentName = "intent.json"
	version    = 2
	maxRecord  = 64 << 20 // of an intent or answer: 100,000 paths
)

// intent is what a commit is about to do. It is complete: whoever finds it can
// carry it out.
type intent struct {
	V       int                 `json:"v"`
	Job     string              `json:"job"`
	Digest  string              `json:"digest"`
	Names   string              `json:"names"`
	Moves   []move              `json:"moves"`
	Deletes []string            `json:"deletes"`
	Result  writer.CommitResult `json:"result"`

	// What takes the commit back, if it cannot be carried out.
	Made []string `json:"made,omitempty"` // folders that were not there, outermost first
	Kept []kept   `json:"kept,omitempty"` // what is replaced or deleted
	// OneWay: something could not be kept. The commit can only be carried out.
	OneWay bool `json:"one_way,omitempty"`
}

// move is one rename, from the job's staging area.
type move struct {
	From string `json:"from"`
	To   string `json:"to"`
	Size int64  `json:"size"`
}

// kept is a second name, in the job's staging area, of a file that the commit takes away.
type kept struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Validate refuses what no commit can have written.
func (i intent) Validate() error {
	check := func(p string) error {
		if why := source.ValidatePath(p); p == "" || why != "" || strings.HasPrefix(p, area+"/") {
			return source.Errorf(source.KindCorrupt, "recover", "an intent names the path %q", p)
		}
		return nil
	}
	if i.V != version || i.Job == "" || strings.ContainsAny(i.Job, "/\\") {
		return source.Errorf(source.KindCorrupt, "recover", "an intent is not of this version")
	}
	for _, m := range i.Moves {
		if err := check(m.To); err != nil {
			return err
		}
		if m.From == "" || strings.ContainsAny(m.From, "/\\") {
			return source.Errorf(source.KindCorrupt, "recover", "an intent names the staged file %q", m.From)
		}
	}
	for _, k := range i.Kept {
		if k.Name == "" || strings.ContainsAny(k.Name, "/\\") {
			return source.Errorf(source.KindCorrupt, "recover", "an intent names the kept file %q", k.Name)
		}
		if err := check(k.Path); err != nil {
			return err
		}
	}
	for _, d := range slices.Concat(i.Deletes, i.Made) {
		if err := check(d); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) writeJSON(ctx context.Context, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = f.root.Remove(name + ".tmp") // of a process that died while writing it
	return f.write(ctx, name, bytes.NewReader(raw), int64(len(raw)))
}

// readJSON reads a record of ours; ok is false if there is none, or if only its name is
// there, which is taken before the commit begins.
func (f *folder) readJSON(name string, v any) (ok bool, err error) {
	file, err := f.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, f.sink.wrap("recover", err)
	}
	defer func() { _ = file.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return false, f.sink.wrap("recover", err)
	}
	if len(raw) > maxRecord {
		return false, source.Errorf(source.KindLimit, "recover", "a record is larger than %d bytes", maxRecord)
	}
	if len(raw) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, source.Errorf(source.KindCorrupt, "recover", "a record in .hubflight cannot be read: %w", err)
	}
	return true, nil
}
