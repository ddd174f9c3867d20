package hubtest

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The kinds of git objects.
const (
	kindBlob   = "blob"
	kindTree   = "tree"
	kindCommit = "commit"
	kindTag    = "tag"
)

// maxObject is the largest git object that is read into memory. Files above
// the LFS threshold are not git objects, so nothing legitimate comes near it.
const maxObject = 256 << 20

// objects is the loose object store of one git repository.
type objects struct {
	files writer
	dir   string
}

// hashObject returns git's id of an object: the sha1 of its header and body.
func hashObject(kind string, body []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(body))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func (o objects) path(id string) string { return filepath.Join(o.dir, id[:2], id[2:]) }

// write stores an object and returns its id. Storing one twice is harmless.
func (o objects) write(kind string, body []byte) (string, error) {
	id := hashObject(kind, body)
	if _, err := os.Stat(o.path(id)); err == nil {
		return id, nil
	}
	err := o.files.write(o.path(id), func(w io.Writer) error {
		// Speed over size: most of what is stored is small, and the folder is
		// nobody's archive.
		z, err := zlib.NewWriterLevel(w, zlib.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(z, "%s %d\x00", kind, len(body)); err != nil {
			return err
		}
		if _, err := z.Write(body); err != nil {
			return err
		}
		return z.Close()
	})
	return id, err
}

// read returns the body of an object of that kind; anything else under the id
// gives fs.ErrNotExist.
func (o objects) read(kind, id string) ([]byte, error) {
	got, size, body, err := o.open(id)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if got != kind {
		return nil, fmt.Errorf("object %s is a %s, not a %s: %w", id, got, kind, fs.ErrNotExist)
	}
	if size > maxObject {
		return nil, fmt.Errorf("object %s has %d bytes; at most %d are read", id, size, maxObject)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(body, raw); err != nil {
		return nil, fmt.Errorf("object %s: %w", id, err)
	}
	return raw, nil
}

// open returns the kind, the size and the body of an object.
func (o objects) open(id string) (kind string, size int64, body io.ReadCloser, err error) {
	if !isHex(id, 40) {
		return "", 0, nil, fmt.Errorf("%q is not an object id: %w", id, fs.ErrNotExist)
	}
	file, err := os.Open(o.path(id))
	if err != nil {
		return "", 0, nil, err
	}
	z, err := zlib.NewReader(bufio.NewReader(file))
	if err != nil {
		file.Close()
		return "", 0, nil, fmt.Errorf("object %s: %w", id, err)
	}
	in := bufio.NewReader(z)
	head, err := in.ReadString(0)
	if err == nil {
		var number string
		kind, number, _ = strings.Cut(strings.TrimSuffix(head, "\x00"), " ")
		size, err = strconv.ParseInt(number, 10, 64)
	}
	if err != nil {
		file.Close()
		return "", 0, nil, fmt.Errorf("object %s has no header: %w", id, err)
	}
	return kind, size, objectBody{in, file}, nil
}

type objectBody struct {
	io.Reader
	file *os.File
}

func (b objectBody) Close() error { return b.file.Close() }

// commitObject is a git commit.
type commitObject struct {
	ID          string
	Tree        string
	Parents     []string
	Author      string
	Date        time.Time
	Summary     string
	Description string
}

// encode gives git's text of the commit. Author and committer are the same:
// the Hub commits in its users' names.
func (c commitObject) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", c.Tree)
	for _, p := range c.Parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s\n", signature(c.Author, c.Date))
	fmt.Fprintf(&b, "committer %s\n\n", signature(c.Author, c.Date))
	b.WriteString(c.Summary)
	if c.Description != "" {
		b.WriteString("\n\n" + c.Description)
	}
	b.WriteString("\n")
	return b.Bytes()
}

func decodeCommit(id string, raw []byte) (commitObject, error) {
	c := commitObject{ID: id}
	head, message, ok := strings.Cut(string(raw), "\n\n")
	if !ok {
		return c, fmt.Errorf("commit %s has no message", id)
	}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			name, rest, _ := strings.Cut(value, " <")
			_, when, _ := strings.Cut(rest, "> ")
			when, _, _ = strings.Cut(when, " ")
			secs, err := strconv.ParseInt(when, 10, 64)
			if err != nil {
				return c, fmt.Errorf("commit %s has no date: %w", id, err)
			}
			c.Author, c.Date = name, time.Unix(secs, 0).UTC()
		}
	}
	c.Summary, c.Description, _ = strings.Cut(strings.TrimSuffix(message, "\n"), "\n\n")
	if !isHex(c.Tree, 40) {
		return c, fmt.Errorf("commit %s has no tree", id)
	}
	return c, nil
}

// signature is git's "name <mail> seconds zone". Names come from callers, so
// what would break the line is taken out.
func signature(name string, at time.Time) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune("<>", r) {
			return -1
		}
		return r
	}, name)
	if name = strings.TrimSpace(name); name == "" {
		name = "user"
	}
	return fmt.Sprintf("%s <%s@users.noreply.invalid> %d +0000", name, strings.ReplaceAll(name, " ", "."), at.Unix())
}

// writer makes files that are either complete or absent.
type writer struct {
	tmp    string
	noSync bool
	// step, in tests of crashes, may stop the writer at a named moment.
	step func(name string) error
}

func (w writer) at(name string) error {
	if w.step == nil {
		return nil
	}
	return w.step(name)
}

// write fills a temporary file, syncs it, renames it to path and syncs the
// directory, so that after a crash path holds the old content or the new.
func (w writer) write(path string, fill func(io.Writer) error) error {
	file, err := w.temp()
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone after the rename
	if err := w.at("write"); err != nil {
		file.Close()
		return err
	}
	out := bufio.NewWriterSize(file, 64<<10)
	if err = fill(out); err == nil {
		err = out.Flush()
	}
	if err != nil {
		file.Close()
		return err
	}
	return w.place(file, path)
}

func (w writer) temp() (*os.File, error) {
	if err := os.MkdirAll(w.tmp, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(w.tmp, "new-*")
}

// place closes a temporary file and moves it to path durably.
func (w writer) place(file *os.File, path string) error {
	err := w.sync(file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := w.at("rename"); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	if err := w.at("renamed"); err != nil {
		return err
	}
	return w.syncDir(filepath.Dir(path))
}

func (w writer) sync(file *os.File) error {
	if w.noSync {
		return nil
	}
	return file.Sync()
}

func (w writer) syncDir(dir string) error {
	if w.noSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
