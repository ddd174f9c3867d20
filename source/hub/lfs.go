package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

const (
	lfsMediaType = "application/vnd.git-lfs+json"
	// Upload addresses live for minutes, so a batch asks for no more than are
	// soon used. (The Hub's bound is 256.)
	maxBatch = 100
	maxParts = 10_000 // S3's bound
)

// LFSObject is a content to be stored.
type LFSObject struct {
	OID  string // hex sha256
	Size int64
	// Open opens the content at its beginning. It is called once per attempt and
	// part, possibly from several goroutines; what it returns is closed.
	Open func() (io.ReadSeekCloser, error)
}

// action is where and how something is sent.
type action struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header"`
}

// batchObject is the Hub's answer about one object: stored already (no actions),
// or where to send it.
type batchObject struct {
	OID     string `json:"oid"`
	Size    int64  `json:"size"`
	Actions *struct {
		Upload *action `json:"upload"`
		Verify *action `json:"verify"`
	} `json:"actions"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (b batchObject) stored() bool { return b.Actions == nil || b.Actions.Upload == nil }

// batch asks where to send objects, which must be distinct, and returns one
// answer for each by oid.
func (d *Dataset) batch(ctx context.Context, revision string, objects []LFSObject) (map[string]batchObject, error) {
	const op = "lfs batch"
	type want struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	ask := map[string]any{"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256"}
	var wants []want
	for _, o := range objects {
		wants = append(wants, want{o.OID, o.Size})
	}
	ask["objects"] = wants
	// Who may only open a pull request has no rights on its branch's base; the
	// batch then goes without a ref.
	if revision != "" && !strings.HasPrefix(revision, "refs/pr/") {
		ask["ref"] = map[string]string{"name": revision}
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	u := d.client.endpoint.withPath(d.client.endpoint.base.EscapedPath() + "/datasets/" + escapeKeepingSlashes(d.repo) + ".git/info/lfs/objects/batch")
	var answer struct {
		Objects []batchObject `json:"objects"`
	}
	if _, err := d.do(ctx, apiCall{
		op: op, revision: revision, method: http.MethodPost, url: u,
		contentType: lfsMediaType, accept: lfsMediaType, body: body, call: call{repeatable: true},
	}, &answer); err != nil {
		return nil, err
	}
	got := map[string]batchObject{}
	for _, o := range answer.Objects {
		if o.Error != nil {
			return nil, source.Errorf(source.KindUpstream, op, "the Hub refuses object %s: %d %s", source.Clip(o.OID, 12), o.Error.Code, clean(o.Error.Message, maxErrorText)).WithFile(d.repo, "")
		}
		got[o.OID] = o
	}
	for _, o := range objects {
		if a, ok := got[o.OID]; !ok || a.Size != o.Size {
			return nil, source.Errorf(source.KindUpstream, op, "the Hub's answer does not hold object %s", source.Clip(o.OID, 12)).WithFile(d.repo, "")
		}
	}
	if len(got) != len(objects) {
		return nil, source.Errorf(source.KindUpstream, op, "the Hub's answer holds objects that were not asked for").WithFile(d.repo, "")
	}
	return got, nil
}

// distinct checks objects and leaves out repetitions.
func (d *Dataset) distinct(op string, objects []LFSObject) ([]LFSObject, error) {
	sizes := map[string]int64{}
	var out []LFSObject
	for _, o := range objects {
		size, seen := sizes[o.OID]
		switch {
		case !isHex(o.OID, 64) || o.Size <= 0:
			return nil, source.Errorf(source.KindInvalid, op, "object %q of %d bytes cannot be stored by LFS", source.Clip(o.OID, 70), o.Size).WithFile(d.repo, "")
		case seen && size != o.Size:
			return nil, source.Errorf(source.KindInvalid, op, "object %s has two sizes", source.Clip(o.OID, 12)).WithFile(d.repo, "")
		case seen:
			continue
		}
		sizes[o.OID] = o.Size
		out = append(out, o)
	}
	return out, nil
}

// MissingLFS returns the ids of the objects that are not stored in this
// repository: those that a commit could not name. Open is not called.
func (d *Dataset) MissingLFS(ctx context.Context, revision string, objects []LFSObject) ([]string, error) {
	objects, err := d.distinct("lfs batch", objects)
	if err != nil {
		return nil, err
	}
	var missing []string
	for chunk := range slices.Chunk(objects, maxBatch) {
		answers, err := d.batch(ctx, revision, chunk)
		if err != nil {
			return nil, err
		}
		for _, o := range chunk {
			if !answers[o.OID].stored() {
				missing = append(missing, o.OID)
			}
		}
	}
	return missing, nil
}

// part is one PUT: bytes [from, from+size) of an object.
type part struct {
	number     int
	href       string
	from, size int64
}

// parts reads a multipart upload from its action's header: the part size in
// chunk_size, and one address per part under keys of digits. It returns nil for a
// single upload.
func (a action) parts(size int64) ([]part, error) {
	text, ok := a.Header["chunk_size"]
	if !ok {
		return nil, nil
	}
	chunk, err := strconv.ParseInt(text, 10, 64)
	if err != nil || chunk <= 0 {
		return nil, fmt.Errorf("chunk_size is %q", source.Clip(text, 40))
	}
	count := (size + chunk - 1) / chunk
	if count > maxParts {
		return nil, fmt.Errorf("%d parts are more than %d", count, maxParts)
	}
	parts := make([]part, count)
	var found int64
	for key, href := range a.Header {
		n, err := strconv.ParseInt(key, 10, 64)
		if err != nil || !isDigits(key) {
			continue
		}
		if n < 1 || n > count || parts[n-1].href != "" || href == "" {
			return nil, fmt.Errorf("%d bytes in parts of %d are %d parts, but part %q is there", size, chunk, count, source.Clip(key, 20))
		}
		from := (n - 1) * chunk
		parts[n-1] = part{number: int(n), href: href, from: from, size: min(chunk, size-from)}
		found++
	}
	if found != count {
		return nil, fmt.Errorf("%d bytes in parts of %d are %d parts, but %d addresses are there", size, chunk, count, found)
	}
	return parts, nil
}

func isDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// putHeader is what of an action's header goes along with a single PUT: nothing
// that HTTP, the transport or another address's credentials decide.
func (a action) putHeader() http.Header {
	h := http.Header{}
	for key, value := range a.Header {
		switch name := http.CanonicalHeaderKey(key); {
		case key == "chunk_size", isDigits(key):
		case slices.Contains([]string{"Authorization", "Cookie", "Host", "Content-Length", "Transfer-Encoding", "Connection",
			"Proxy-Authorization", "Accept-Encoding", "User-Agent", "Expect", "Upgrade", "Te", "Trailer"}, name):
		default:
			h.Set(name, value)
		}
	}
	return h
}

// uploadURL checks an address that the Hub gave for sending something.
func (d *Dataset) uploadURL(href string) (*url.URL, error) {
	u, err := d.client.endpoint.link(nil, d.client.endpoint.rewrite(href))
	if err != nil {
		return nil, &refusedAddressError{fmt.Errorf("upload address refused: %w", err)}
	}
	return u, nil
}

// errBodyShort: a local file ended before its size.
var errBodyShort = errors.New("the content is shorter than its size says")
