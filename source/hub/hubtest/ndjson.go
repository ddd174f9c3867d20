package hubtest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Lines of a commit's body.
type (
	commitLine struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	headerLine struct {
		Summary      string `json:"summary"`
		Description  string `json:"description"`
		ParentCommit string `json:"parentCommit"`
	}
	fileLine struct {
		Path     string `json:"path"`
		Encoding string `json:"encoding"`
		Content  string `json:"content"`
	}
	lfsLine struct {
		Path string `json:"path"`
		Algo string `json:"algo"`
		OID  string `json:"oid"`
		Size *int64 `json:"size"`
	}
	pathLine struct {
		Path string `json:"path"`
	}
)

// maxCommitFiles is the Hub's limit of LFS files in one commit.
const maxCommitFiles = 25_000

// commitNDJSON answers POST …/commit/{rev}[?create_pr=1].
func commitNDJSON(c *call) error {
	pr := truthy(c.r.URL.Query().Get("create_pr"))
	want := write
	if pr {
		want = propose
	}
	r, err := c.open(want)
	if err != nil {
		return err
	}
	rev, err := c.takeRevision()
	if err != nil {
		return err
	}
	// Only refs can be committed to, and only branches have pull requests.
	name, err := refName(rev)
	if err == nil && pr && strings.HasPrefix(name, "refs/pr/") {
		err = noRevision(rev)
	}
	if err != nil {
		return err
	}
	head, err := r.target(name)
	if err != nil {
		return noRevision(rev)
	}
	in := change{ref: name, author: c.who.name, date: c.h.options.Now(), add: map[string]content{}}
	if err := c.readCommit(r, &in); err != nil {
		return err
	}
	// Checked here for the common case, and again under the lock, where it
	// counts; the Hub has a text for each.
	if in.parent != "" && !strings.HasPrefix(head, in.parent) {
		return refuse(http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again.")
	}
	done, err := c.begin(r)
	if err != nil {
		return err
	}
	defer done()
	if pr {
		return c.commitPR(r, in, head)
	}
	sha, err := r.commit(in)
	if err != nil {
		return err
	}
	return c.committed(r, sha, 0)
}

// begin takes what a commit needs besides its content: a place in the quota, and
// the repository, if commits take time.
func (c *call) begin(r *repo) (done func(), err error) {
	if err := c.limitCommits(); err != nil || c.h.options.CommitTime == 0 {
		return func() {}, err
	}
	if !r.committing.TryLock() {
		return nil, refuse(http.StatusConflict, "", commitInFlightText)
	}
	// Who leaves while it takes its time does not undo it.
	pause(c.r.Context(), c.h.options.CommitTime)
	return r.committing.Unlock, nil
}

// commitPR opens a pull request holding the commit.
func (c *call) commitPR(r *repo, in change, head string) error {
	d, err := r.discuss(discussion{Title: in.summary, Description: in.description, Author: in.author, CreatedAt: in.date, PullRequest: true, Base: in.ref, Status: "open"}, head)
	if err != nil {
		return err
	}
	in.ref, in.base, in.parent = d.ref(), head, ""
	sha, err := r.commit(in)
	if err != nil {
		return errors.Join(err, r.undiscuss(d)) // no pull request without its commit
	}
	return c.committed(r, sha, d.Num)
}

func (c *call) committed(r *repo, sha string, pr int) error {
	web := c.base() + "/datasets/" + r.id
	out := map[string]any{"success": true, "commitUrl": web + "/commit/" + sha, "commitOid": sha, "hookOutput": ""}
	if pr > 0 {
		out["pullRequestUrl"] = fmt.Sprintf("%s/discussions/%d", web, pr)
	}
	return c.json(out)
}

// readCommit reads the body line by line. Contents become blobs as they come,
// so that a commit of many files is not held in memory.
func (c *call) readCommit(r *repo, in *change) error {
	if c.mediaType() != "application/x-ndjson" {
		return refuse(http.StatusBadRequest, "", "Content-Type must be application/x-ndjson")
	}
	body := bufio.NewReaderSize(http.MaxBytesReader(c.w, c.r.Body, maxCommitBody), 64<<10)
	for n, operations := 0, 0; ; n++ {
		raw, err := readLine(body, 2*c.h.options.LFSThreshold+maxJSONBody)
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return badLine(1, "the body is empty")
			}
			if operations == 0 {
				return refuse(http.StatusBadRequest, "", "Add a line with the key `lfsFile`, `file` or `deletedFile`")
			}
			return nil
		}
		if err != nil {
			return err
		}
		var line commitLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return badLine(n+1, "%v", err)
		}
		if (n == 0) != (line.Key == "header") {
			return badLine(n+1, "the first line, and only it, has the key `header`")
		}
		if n > 0 {
			operations++
		}
		if operations > maxCommitFiles {
			return refuse(http.StatusRequestEntityTooLarge, "", "Too many files in one commit: at most %d are allowed", maxCommitFiles)
		}
		if err := c.readOperation(r, in, line, n+1); err != nil {
			return err
		}
	}
}

func badLine(n int, format string, args ...any) error {
	return refuse(http.StatusBadRequest, "", "Invalid commit: line %d: %s", n, fmt.Sprintf(format, args...))
}

// readLine returns the next line that is not empty, without its end; io.EOF
// after the last one.
func readLine(in *bufio.Reader, most int64) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if int64(len(line)) > most {
			return nil, refuse(http.StatusRequestEntityTooLarge, "", "A line is longer than %d bytes: upload the file with LFS", most)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			if len(line) > 0 {
				err = nil // EOF comes again
			}
			return line, err
		}
	}
}

func (c *call) readOperation(r *repo, in *change, line commitLine, n int) error {
	switch line.Key {
	case "header":
		return readHeader(in, line.Value, n)
	case "file":
		return c.readFile(r, in, line.Value, n)
	case "lfsFile":
		var v lfsLine
		if err := json.Unmarshal(line.Value, &v); err != nil || v.Algo != "sha256" || !isHex(v.OID, 64) {
			return badLine(n, "`lfsFile` needs path, algo sha256 and oid")
		}
		size := int64(-1)
		if v.Size != nil {
			size = max(*v.Size, 0)
		}
		in.add[v.Path] = content{lfs: v.OID, size: size}
		return checkPath(v.Path)
	case "deletedFile", "deletedFolder":
		var v pathLine
		if err := json.Unmarshal(line.Value, &v); err != nil {
			return badLine(n, "%v", err)
		}
		if line.Key == "deletedFile" {
			in.remove = append(in.remove, v.Path)
			return checkPath(v.Path)
		}
		dir := strings.TrimSuffix(v.Path, "/")
		in.removeDirs = append(in.removeDirs, dir)
		return checkPath(dir)
	}
	return badLine(n, "unknown key %.40q", line.Key)
}

func readHeader(in *change, raw json.RawMessage, n int) error {
	var v headerLine
	if err := json.Unmarshal(raw, &v); err != nil {
		return badLine(n, "%v", err)
	}
	if v.Summary == "" {
		return badLine(n, "`summary` is not allowed to be empty")
	}
	if v.ParentCommit != "" {
		padded := v.ParentCommit + strings.Repeat("0", max(0, 40-len(v.ParentCommit)))
		if len(v.ParentCommit) < 5 || !isHex(padded, 40) {
			return badLine(n, "`parentCommit` must be 5 to 40 hexadecimal characters")
		}
	}
	in.summary, in.description, in.parent = v.Summary, v.Description, v.ParentCommit
	return nil
}

func (c *call) readFile(r *repo, in *change, raw json.RawMessage, n int) error {
	var v fileLine
	if err := json.Unmarshal(raw, &v); err != nil {
		return badLine(n, "%v", err)
	}
	data := []byte(v.Content)
	switch v.Encoding {
	case "base64":
		var err error
		if data, err = base64.StdEncoding.DecodeString(v.Content); err != nil {
			return badLine(n, "content of %.200q: %v", v.Path, err)
		}
	case "utf-8", "":
	default:
		return badLine(n, "unknown encoding %.40q", v.Encoding)
	}
	if err := checkPath(v.Path); err != nil {
		return err
	}
	if most := max(c.h.options.LFSThreshold, defaultLFSThreshold); int64(len(data)) > most {
		return refuse(http.StatusBadRequest, "", "Your push was rejected because it contains files larger than %d bytes. Please use LFS to store large files. Offending file: - %s", most, v.Path)
	}
	id, err := r.objects.write(kindBlob, data)
	in.add[v.Path] = content{blob: id}
	return err
}
