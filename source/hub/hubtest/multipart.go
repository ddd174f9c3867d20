package hubtest

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxParts is S3's limit of parts in one upload.
const maxParts = 10_000

func (r *repo) uploadDir(id string) string { return filepath.Join(r.dir, "lfs", "incoming", id) }

func partName(n int) string { return fmt.Sprintf("part-%05d", n) }

// multipartAction opens an upload in parts. The header of the action holds
// chunk_size and one signed URL per part, keyed by zero-padded numbers, among
// other keys: clients must pick, and should sort.
func (c *call) multipartAction(r *repo, o *batchObject) (map[string]any, error) {
	size := c.h.options.PartSize
	count := int((o.Size + size - 1) / size)
	if count > maxParts {
		o.Error = &batchError{http.StatusUnprocessableEntity, "Object is too large"}
		return nil, nil
	}
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	upload := hex.EncodeToString(raw)
	if err := os.MkdirAll(r.uploadDir(upload), 0o755); err != nil {
		return nil, err
	}
	order := mathrand.Perm(count)
	var header strings.Builder
	fmt.Fprintf(&header, `{"upload_id":%q`, upload)
	for i := range count {
		n := i + 1
		if c.h.options.ShuffledParts {
			n = order[i] + 1
		}
		href := c.h.sign(signing{method: http.MethodPut, base: c.cdnBase(), path: objectPath(r.id, o.OID) + "/" + upload + "/" + strconv.Itoa(n)})
		fmt.Fprintf(&header, `,"%05d":%q`, n, href)
	}
	fmt.Fprintf(&header, `,"chunk_size":"%d"}`, size)
	// The completion URL is a capability: it is called without a token, so it
	// is signed.
	done := c.h.sign(signing{
		method: http.MethodPost, base: c.base(), path: "/api/datasets/" + r.id + "/lfs-multipart",
		query: url.Values{"uploadId": {upload}, "size": {strconv.FormatInt(o.Size, 10)}, "oid": {o.OID}},
	})
	return map[string]any{"href": c.href(done), "header": json.RawMessage(header.String()), "expires_in": int(c.h.options.SignatureTTL.Seconds())}, nil
}

type completion struct {
	OID   string `json:"oid"`
	Parts []struct {
		PartNumber int    `json:"partNumber"`
		ETag       string `json:"etag"`
	} `json:"parts"`
}

// completeMultipart answers the POST that ends an upload in parts: it checks
// numbers and ETags, puts the parts together and checks the whole.
func completeMultipart(c *call) error {
	var refused *storageError
	if err := c.h.checkSignature(c.r); errors.As(err, &refused) {
		return refuse(refused.status, "", "%s", refused.message)
	} else if err != nil {
		return err
	}
	query := c.r.URL.Query()
	oid, upload := query.Get("oid"), query.Get("uploadId")
	var in completion
	if err := c.decode(&in); err != nil {
		return err
	}
	r := c.h.find(c.id)
	if r == nil || in.OID != oid || !isHex(upload, 32) {
		return refuse(http.StatusBadRequest, "", "The completion is not for this upload")
	}
	parts, err := openParts(r.uploadDir(upload), in)
	defer func() {
		for _, p := range parts {
			p.Close()
		}
	}()
	if err != nil {
		return err
	}
	got, size, err := r.storeLFS(joined(parts), oid)
	if err != nil {
		return err
	}
	if got != oid || strconv.FormatInt(size, 10) != query.Get("size") {
		return refuse(http.StatusBadRequest, "", "The uploaded content does not match the oid")
	}
	if err := os.RemoveAll(r.uploadDir(upload)); err != nil {
		return err
	}
	return c.json(map[string]any{"success": true})
}

// openParts opens the parts in order, each checked against its ETag. What is
// open is returned with an error too, to be closed.
func openParts(dir string, in completion) ([]*os.File, error) {
	var parts []*os.File
	for i, p := range in.Parts {
		if p.PartNumber != i+1 {
			return parts, refuse(http.StatusBadRequest, "", "InvalidPartOrder: the list of parts was not in ascending order")
		}
		file, err := os.Open(filepath.Join(dir, partName(p.PartNumber)))
		if errors.Is(err, os.ErrNotExist) {
			return parts, refuse(http.StatusBadRequest, "", "InvalidPart: part %d could not be found", p.PartNumber)
		}
		if err != nil {
			return parts, err
		}
		parts = append(parts, file)
		tag := md5.New()
		if _, err := io.Copy(tag, file); err != nil {
			return parts, err
		}
		if quote(hex.EncodeToString(tag.Sum(nil))) != p.ETag {
			return parts, refuse(http.StatusBadRequest, "", "InvalidPart: part %d's entity tag does not match", p.PartNumber)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

func joined(parts []*os.File) io.Reader {
	all := make([]io.Reader, len(parts))
	for i, p := range parts {
		all[i] = p
	}
	return io.MultiReader(all...)
}
