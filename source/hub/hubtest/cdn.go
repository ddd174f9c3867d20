package hubtest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// CDN returns the storage origin. Every request needs a signed URL, and one with
// an Authorization header is refused: the Hub's token has no business here.
func (h *Hub) CDN() http.Handler {
	return h.wrap(originCDN, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Request-Id", requestID(r))
		if err := h.serveStorage(w, r); err != nil {
			h.failStorage(w, err)
		}
	}))
}

// Storage paths: /repos/{ns%2Fname}/{sha256} for an object, and
// /repos/{ns%2Fname}/{sha256}/{upload}/{n} for a part of one.
func objectPath(id, oid string) string { return "/repos/" + url.PathEscape(id) + "/" + oid }

func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) error {
	if err := h.checkSignature(r); err != nil {
		return err
	}
	segs := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if len(segs) < 3 {
		return noSuchKey()
	}
	id, err := url.PathUnescape(segs[1])
	if err != nil {
		return noSuchKey()
	}
	rp, oid := h.find(id), segs[2]
	if rp == nil || !isHex(oid, 64) {
		return noSuchKey()
	}
	switch {
	case len(segs) == 3 && r.Method == http.MethodGet:
		return h.getObject(w, r, rp, oid)
	case len(segs) == 3 && r.Method == http.MethodPut:
		return h.putObject(w, r, rp, oid)
	case len(segs) == 5 && r.Method == http.MethodPut:
		return h.putPart(w, r, rp, segs[3], segs[4])
	}
	return &storageError{http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource."}
}

func noSuchKey() error {
	return &storageError{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}
}

func (h *Hub) getObject(w http.ResponseWriter, r *http.Request, rp *repo, oid string) error {
	file, err := os.Open(rp.lfsPath(oid))
	if errors.Is(err, os.ErrNotExist) {
		return noSuchKey()
	}
	if err != nil {
		return err
	}
	defer file.Close()
	head := w.Header()
	// A store's own ETag says nothing about the content's hash.
	sum := sha256.Sum256([]byte("etag " + oid))
	head.Set("ETag", quote(hex.EncodeToString(sum[:16])))
	head.Set("Content-Type", "application/octet-stream")
	if d := r.URL.Query().Get("response-content-disposition"); d != "" {
		head.Set("Content-Disposition", headerText(d))
	}
	http.ServeContent(w, r, "", time.Time{}, file)
	return nil
}

// sized refuses what S3 refuses: a body without a length, and an empty object.
func sized(r *http.Request) error {
	switch {
	case r.ContentLength < 0:
		return &storageError{http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header."}
	case r.ContentLength == 0:
		return &storageError{http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented"}
	}
	return nil
}

// putObject takes any bytes and keeps them if they are the object's: it is
// verify, or the commit, that tells the client they are not.
func (h *Hub) putObject(w http.ResponseWriter, r *http.Request, rp *repo, oid string) error {
	if err := sized(r); err != nil {
		return err
	}
	tag := md5.New()
	got, _, err := rp.storeLFS(io.TeeReader(r.Body, tag), oid)
	if err != nil {
		return cutOff(err)
	}
	if got != oid {
		h.options.Logger.Info("stored bytes are not the object's and were dropped", "oid", oid, "sha256", got)
	}
	w.Header().Set("ETag", quote(hex.EncodeToString(tag.Sum(nil))))
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Hub) putPart(w http.ResponseWriter, r *http.Request, rp *repo, upload, number string) error {
	if err := sized(r); err != nil {
		return err
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxParts || !isHex(upload, 32) {
		return noSuchKey()
	}
	dir := rp.uploadDir(upload)
	if _, err := os.Stat(dir); err != nil {
		return &storageError{http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist."}
	}
	tag := md5.New()
	err = rp.files.write(filepath.Join(dir, partName(n)), func(out io.Writer) error {
		_, err := io.Copy(io.MultiWriter(out, tag), r.Body)
		return err
	})
	if err != nil {
		return cutOff(err)
	}
	w.Header().Set("ETag", quote(hex.EncodeToString(tag.Sum(nil))))
	w.WriteHeader(http.StatusOK)
	return nil
}

// cutOff tells a body that ended early from trouble of our own.
func cutOff(err error) error {
	var network net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) {
		return &storageError{http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"}
	}
	return err
}

func (h *Hub) failStorage(w http.ResponseWriter, err error) {
	var e *storageError
	if !errors.As(err, &e) {
		h.options.Logger.Error("storage request failed", "error", source.Redact(err.Error()))
		e = &storageError{http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."}
	}
	raw, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		RequestID string `xml:"RequestId"`
	}{Code: e.code, Message: e.message, RequestID: w.Header().Get("X-Amz-Request-Id")})
	if err != nil {
		h.options.Logger.Error("error answer", "error", err)
	}
	raw = append([]byte(xml.Header), raw...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	w.WriteHeader(e.status)
	if _, err := w.Write(raw); err != nil {
		h.options.Logger.Debug("answer not delivered", "error", err)
	}
}

// cdnBase is the storage origin as this caller sees it. Serve has set it,
// unless it listens on every address: then it is the host the caller used.
func (c *call) cdnBase() string {
	return asReached(c.h.cdnURL(), c.r)
}
