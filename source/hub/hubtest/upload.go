package hubtest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// maxFiles is the Hub's limit of one preupload call and of one LFS batch.
const maxFiles = 256

// sampleSize is how many bytes of a file a client shows before it uploads.
const sampleSize = 512

type preuploadRequest struct {
	Files []struct {
		Path   string `json:"path"`
		Sample string `json:"sample"`
		Size   int64  `json:"size"`
	} `json:"files"`
	GitIgnore     *string `json:"gitIgnore"`
	GitAttributes *string `json:"gitAttributes"`
}

// Validate refuses what the Hub refuses: too many files, negative sizes, and
// samples that are too long or no base64.
func (in preuploadRequest) Validate() error {
	if len(in.Files) > maxFiles {
		return refuse(http.StatusBadRequest, "", "Too many files: at most %d are allowed", maxFiles)
	}
	for _, f := range in.Files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		sample, err := base64.StdEncoding.DecodeString(f.Sample)
		if err != nil || len(sample) > sampleSize || f.Size < 0 {
			return refuse(http.StatusBadRequest, "", "Invalid sample or size of %s", f.Path)
		}
	}
	return nil
}

type preuploadFile struct {
	Path         string `json:"path"`
	UploadMode   string `json:"uploadMode"`
	ShouldIgnore bool   `json:"shouldIgnore"`
	OID          string `json:"oid,omitempty"`
}

// preupload answers POST …/preupload/{rev}: which files go to LFS, which are
// ignored, and what is at their paths now.
func preupload(c *call) error {
	want := write
	if truthy(c.r.URL.Query().Get("create_pr")) {
		want = propose
	}
	r, sha, err := c.repoAtRevision(want)
	if err != nil {
		return err
	}
	var in preuploadRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := in.Validate(); err != nil {
		return err
	}
	attributes, err := textOr(in.GitAttributes, r, sha, attributesFile)
	if err != nil {
		return err
	}
	ignore, err := textOr(in.GitIgnore, r, sha, ignoreFile)
	if err != nil {
		return err
	}
	snap, err := r.snapshot(sha)
	if err != nil {
		return err
	}
	out := make([]preuploadFile, len(in.Files))
	for i, f := range in.Files {
		out[i] = preuploadFile{Path: f.Path, UploadMode: "regular", ShouldIgnore: ignored(ignore, f.Path)}
		// The Hub says lfs for an empty *.parquet too; it is the client that
		// must know better.
		if f.Size >= c.h.options.LFSThreshold || lfsByAttributes(attributes, f.Path) {
			out[i].UploadMode = "lfs"
		}
		if e, ok := snap.file(f.Path); ok {
			if out[i].OID = e.oid; e.lfs != "" {
				out[i].OID = e.lfs
			}
		}
	}
	return c.json(map[string]any{"files": out})
}

func textOr(sent *string, r *repo, sha, path string) (string, error) {
	if sent != nil {
		return *sent, nil
	}
	return r.textAt(sha, path)
}

const lfsMedia = "application/vnd.git-lfs+json"

type batchRequest struct {
	Operation string   `json:"operation"`
	Transfers []string `json:"transfers"`
	HashAlgo  string   `json:"hash_algo"`
	Ref       *struct {
		Name string `json:"name"`
	} `json:"ref"`
	Objects []struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"objects"`
}

// Validate refuses other hashes and operations, and too many objects.
func (in batchRequest) Validate() error {
	switch {
	case in.Operation != "upload" && in.Operation != "download":
		return refuse(http.StatusUnprocessableEntity, "", "Invalid operation")
	case in.HashAlgo != "" && in.HashAlgo != "sha256" && in.HashAlgo != "sha_256":
		return refuse(http.StatusConflict, "", "Unsupported hash algorithm")
	case len(in.Objects) > maxFiles:
		return refuse(http.StatusRequestEntityTooLarge, "", "Too many objects: at most %d are allowed", maxFiles)
	}
	return nil
}

func (in batchRequest) offers(transfer string) bool {
	return slices.Contains(in.Transfers, transfer) || transfer == "basic" && len(in.Transfers) == 0
}

type batchObject struct {
	OID           string         `json:"oid"`
	Size          int64          `json:"size"`
	Authenticated bool           `json:"authenticated,omitempty"`
	Actions       map[string]any `json:"actions,omitempty"`
	Error         *batchError    `json:"error,omitempty"`
}

type batchError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// lfsBatch answers POST …/info/lfs/objects/batch: where objects are to be sent,
// or fetched from. Objects that are stored already have no actions.
func lfsBatch(c *call) error {
	if c.mediaType() != lfsMedia || !strings.Contains(c.r.Header.Get("Accept"), lfsMedia) {
		return refuse(http.StatusNotAcceptable, "", "Content-Type and Accept must be %s", lfsMedia)
	}
	var in batchRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := in.Validate(); err != nil {
		return err
	}
	r, err := c.openForBatch(in)
	if err != nil {
		return err
	}
	transfer := "basic"
	objects := make([]batchObject, len(in.Objects))
	for i, o := range in.Objects {
		objects[i] = batchObject{OID: o.OID, Size: o.Size}
		multipart := in.Operation == "upload" && o.Size >= c.h.options.MultipartThreshold && in.offers("multipart")
		if err := c.batchOne(r, &objects[i], in.Operation, multipart); err != nil {
			return err
		}
		if multipart {
			transfer = "multipart"
		}
	}
	raw, err := json.Marshal(map[string]any{"transfer": transfer, "objects": objects, "hash_algo": "sha256"})
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", lfsMedia)
	_, err = c.w.Write(raw)
	return err
}

// openForBatch opens the repository for a batch. A batch that names no ref
// prepares a pull request, for which reading is enough.
func (c *call) openForBatch(in batchRequest) (*repo, error) {
	if in.Operation == "download" {
		return c.open(read)
	}
	if in.Ref == nil {
		return c.open(propose)
	}
	r, err := c.open(write)
	if err != nil {
		return nil, err
	}
	_, err = r.resolve(in.Ref.Name)
	return r, err
}

func (c *call) batchOne(r *repo, o *batchObject, operation string, multipart bool) error {
	if !isHex(o.OID, 64) || o.Size < 0 {
		o.Error = &batchError{http.StatusUnprocessableEntity, "Invalid oid or size"}
		return nil
	}
	size, stored, err := r.lfsSize(o.OID)
	if err != nil {
		return err
	}
	if stored && size != o.Size {
		o.Error = &batchError{http.StatusUnprocessableEntity, "The object is stored with another size"}
		return nil
	}
	switch {
	case operation == "download" && !stored:
		o.Error = &batchError{http.StatusNotFound, "Object does not exist"}
	case operation == "download":
		o.Authenticated = true
		o.Actions = map[string]any{"download": c.action(http.MethodGet, objectPath(r.id, o.OID))}
	case !stored:
		o.Authenticated = true
		upload, err := c.uploadAction(r, o, multipart)
		if err != nil {
			return err
		}
		o.Actions = map[string]any{"upload": upload}
		if o.OID[0] != 'f' { // one in sixteen need not be verified
			o.Actions["verify"] = map[string]any{"href": c.href(c.base() + "/api/datasets/" + r.id + "/lfs-verify")}
		}
	}
	return nil
}

// action is a signed storage URL in git-lfs's form.
func (c *call) action(method, path string) map[string]any {
	return map[string]any{
		"href":       c.h.sign(signing{method: method, base: c.cdnBase(), path: path}),
		"expires_in": int(c.h.options.SignatureTTL.Seconds()),
	}
}

func (c *call) uploadAction(r *repo, o *batchObject, multipart bool) (map[string]any, error) {
	if !multipart {
		return c.action(http.MethodPut, objectPath(r.id, o.OID)), nil
	}
	return c.multipartAction(r, o)
}

// verifyLFS answers the check after an upload: whether the object has arrived
// with that hash and size.
func verifyLFS(c *call) error {
	r, err := c.open(propose)
	if err != nil {
		return err
	}
	var in struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	size, stored, err := r.lfsSize(in.OID)
	switch {
	case err != nil:
		return err
	case !stored:
		return refuse(http.StatusNotFound, "", "Object %.64s was not uploaded, or not with that content", in.OID)
	case size != in.Size:
		return refuse(http.StatusUnprocessableEntity, "", "Object %s has %d bytes, not %d", in.OID, size, in.Size)
	}
	return c.json(map[string]any{"oid": in.OID, "size": size})
}
