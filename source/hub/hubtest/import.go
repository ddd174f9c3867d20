package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Import adds the files of a folder to a repository's main branch in one
// commit, creating the repository if it is missing. Files that are there
// already and not in the folder stay. Links to files are followed; .git, .cache
// and .hubflight folders are left out.
func (h *Hub) Import(folder, id string) error {
	_, err := h.ImportTo(folder, id, mainBranch)
	return err
}

// ImportTo is Import for any branch or reserved ref. It returns the commit; a
// folder that changes nothing gives the present head.
func (h *Hub) ImportTo(folder, id, revision string) (string, error) {
	info, err := os.Stat(folder)
	if err == nil && !info.IsDir() {
		err = source.Errorf(source.KindInvalid, "import", "%s is not a folder", filepath.Base(folder))
	}
	if err != nil {
		return "", exported("import", err)
	}
	r, err := h.ensure(id)
	if err != nil {
		return "", exported("import", err)
	}
	c, err := h.localChange(r, revision, "Import "+filepath.Base(filepath.Clean(folder)))
	if err == nil {
		err = h.collect(r, folder, &c)
	}
	if err != nil {
		return "", exported("import", err)
	}
	if len(c.add) == 0 {
		sha, err := r.resolve(revision)
		return sha, exported("import", err)
	}
	sha, err := r.commit(c)
	return sha, exported("import", err)
}

var leftOut = map[string]bool{".git": true, ".cache": true, ".hubflight": true}

// collect stores the folder's files and lists those that differ from the ref.
func (h *Hub) collect(r *repo, folder string, c *change) error {
	attributes, err := importAttributes(r, folder, c)
	if err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != folder && leftOut[d.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := os.Stat(path) // follows links
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		below, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(below)
		if err := checkPath(name); err != nil {
			return err
		}
		return h.importFile(r, path, name, h.goesToLFS(attributes, name, info.Size()), c)
	})
}

// importAttributes returns the rules that hold for the import: the folder's own
// if it brings a .gitattributes, else those of the ref.
func importAttributes(r *repo, folder string, c *change) (string, error) {
	raw, err := os.ReadFile(filepath.Join(folder, attributesFile))
	if err == nil {
		return string(raw), nil
	}
	return r.attributesAt(c.ref, c.base)
}

func (h *Hub) importFile(r *repo, path, name string, lfs bool, c *change) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	old, err := r.present(c.ref, c.base, name)
	if err != nil {
		return err
	}
	if !lfs {
		raw, err := io.ReadAll(file)
		if err != nil {
			return err
		}
		if hashObject(kindBlob, raw) != old.oid {
			c.add[name] = content{data: raw}
		}
		return nil
	}
	// Read once for the hash, so that what is stored already is not copied.
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return err
	}
	oid := hex.EncodeToString(sum.Sum(nil))
	if oid == old.lfs {
		return nil
	}
	if _, stored, err := r.lfsSize(oid); err != nil {
		return err
	} else if !stored {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		got, _, err := r.storeLFS(file, oid)
		if err != nil {
			return err
		}
		if got != oid {
			return source.Errorf(source.KindChanged, "import", "%s changed while it was read", strings.TrimSpace(name))
		}
	}
	c.add[name] = content{lfs: oid, size: size}
	return nil
}

// present returns the file at a path of a ref, or of the commit it would start
// from; the zero entry if there is none.
func (r *repo) present(name, base, path string) (entry, error) {
	commit, err := r.target(name)
	if err != nil {
		commit = base
	}
	if commit == "" {
		return entry{}, nil
	}
	snap, err := r.snapshot(commit)
	if err != nil {
		return entry{}, err
	}
	e, _ := snap.file(path)
	return e, nil
}
