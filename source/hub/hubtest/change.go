package hubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// content is what a commit puts at a path: bytes, a blob that is stored
// already, or an LFS object.
type content struct {
	data []byte
	blob string // git id; if set, data is not looked at
	lfs  string // sha256; if set, the file is an LFS object
	size int64  // of the LFS object; -1 if the caller did not say
}

// change is one commit to be made.
type change struct {
	ref                  string // full name of the ref that moves
	base                 string // commit that a missing ref starts from; "" for none
	parent               string // prefix of the commit the ref must be at; "" for any
	author               string
	date                 time.Time
	summary, description string
	add                  map[string]content
	remove               []string // files
	removeDirs           []string // folders, without a final slash
	// orphan leaves the history and the files of the ref behind, as the
	// conversion to Parquet does.
	orphan bool
}

// commit makes a commit and moves its ref, or changes nothing visible. The
// parent is compared under the lock that the ref moves under.
func (r *repo) commit(c change) (string, error) {
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	head, err := r.target(c.ref)
	if errors.Is(err, fs.ErrNotExist) {
		head, err = c.base, nil
	}
	if err != nil {
		return "", err
	}
	if c.parent != "" && !strings.HasPrefix(head, c.parent) {
		return "", refuse(http.StatusPreconditionFailed, "", "The branch was updated since you opened this page. Please refresh and try again.")
	}
	id, err := r.build(c, head)
	if err != nil {
		return "", err
	}
	if err := r.move(c.ref, id); err != nil {
		return "", err
	}
	if c.ref == convertedRef {
		// After the move: a crash in between leaves a conversion that looks
		// stale, never one that looks fresh and is not.
		return id, r.noteConversion()
	}
	return id, nil
}

// build stores the objects of a commit on top of head.
func (r *repo) build(c change, head string) (string, error) {
	files := map[string]string{}
	if head != "" && !c.orphan {
		snap, err := r.snapshot(head)
		if err != nil {
			return "", err
		}
		for _, e := range snap.entries {
			if !e.dir {
				files[e.path] = e.oid
			}
		}
	}
	// Deletions are meant against the parent, additions come after: a path in
	// both is replaced.
	if err := removeFrom(files, c); err != nil {
		return "", err
	}
	if err := r.addTo(files, c.add); err != nil {
		return "", err
	}
	if err := checkTree(files); err != nil {
		return "", err
	}
	tree, err := r.writeTree(files)
	if err != nil {
		return "", err
	}
	object := commitObject{Tree: tree, Author: c.author, Date: c.date, Summary: c.summary, Description: c.description}
	if head != "" && !c.orphan {
		object.Parents = []string{head}
	}
	return r.objects.write(kindCommit, object.encode())
}

func removeFrom(files map[string]string, c change) error {
	for _, p := range c.remove {
		if _, ok := files[p]; !ok {
			return refuse(http.StatusNotFound, codeEntry, "A file with this name doesn't exist: %s", p)
		}
	}
	for _, p := range c.remove {
		delete(files, p)
	}
	for _, dir := range c.removeDirs {
		before := len(files)
		maps.DeleteFunc(files, func(p, _ string) bool { return strings.HasPrefix(p, dir+"/") })
		if len(files) == before {
			return refuse(http.StatusNotFound, codeEntry, "A folder with this name doesn't exist: %s", dir)
		}
	}
	return nil
}

// addTo stores the contents and adds the attribute rules that LFS files need:
// without one, git would not treat their pointers as pointers.
func (r *repo) addTo(files map[string]string, add map[string]content) error {
	var lfs []string
	for _, p := range slices.Sorted(maps.Keys(add)) {
		if err := checkPath(p); err != nil {
			return err
		}
		oid, err := r.store(p, add[p])
		if err != nil {
			return err
		}
		files[p] = oid
		if add[p].lfs != "" {
			lfs = append(lfs, p)
		}
	}
	var text []byte
	if oid, ok := files[attributesFile]; ok {
		var err error
		if text, err = r.objects.read(kindBlob, oid); err != nil {
			return err
		}
	}
	more := missingAttributes(string(text), lfs)
	if more == "" {
		return nil
	}
	oid, err := r.objects.write(kindBlob, append(text, more...))
	files[attributesFile] = oid
	return err
}

func (r *repo) store(path string, c content) (string, error) {
	switch {
	case c.blob != "":
		return c.blob, nil
	case c.lfs == "":
		return r.objects.write(kindBlob, c.data)
	}
	size, ok, err := r.lfsSize(c.lfs)
	if err != nil {
		return "", err
	}
	if !ok || c.size >= 0 && c.size != size {
		return "", refuse(http.StatusBadRequest, "", "Your push was rejected because an LFS pointer pointed to a file that does not exist. For instance, this can happen if you used git push --no-verify to push your changes. Offending file: - %s", path)
	}
	return r.objects.write(kindBlob, formatPointer(c.lfs, size))
}

// checkPath refuses what git or the Hub refuse as a file name.
func checkPath(p string) error {
	why := source.ValidatePath(p)
	switch {
	case p == "":
		why = "is empty"
	case strings.HasSuffix(p, "/"):
		why = "ends in a slash"
	case len(p) > 4096:
		why = "is longer than 4096 bytes"
	}
	for seg := range strings.SplitSeq(p, "/") {
		if strings.EqualFold(seg, ".git") || len(seg) > 255 {
			why = fmt.Sprintf("has the segment %.20q", seg)
		}
	}
	if why != "" {
		return refuse(http.StatusBadRequest, "", "Invalid path %.200q: it %s", p, why)
	}
	return nil
}

// checkTree refuses a tree in which one path is both a file and a folder.
func checkTree(files map[string]string) error {
	for p := range files {
		for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
			if _, ok := files[p[:i]]; ok {
				return refuse(http.StatusBadRequest, "", "%s is a file and cannot be the folder of %s", p[:i], p)
			}
		}
	}
	return nil
}
