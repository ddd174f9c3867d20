package hubtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Storage URLs are signed as S3 signs them (version 4 query signatures with an
// unsigned payload): the method, the host, the path and the query are bound, so
// that a URL made for GET is good for nothing else.

const (
	amzAlgorithm = "AWS4-HMAC-SHA256"
	amzTime      = "20060102T150405Z"
	amzScope     = "us-east-1/s3/aws4_request"
)

// signing is what a URL is made for.
type signing struct {
	method, base, path string // path is escaped
	query              url.Values
}

// sign returns a URL that is good until the signature's time is over. No two
// are alike: a client must not take the URL for the file's identity.
func (h *Hub) sign(s signing) string {
	at := h.options.Now().UTC()
	query := url.Values{}
	maps.Copy(query, s.query)
	query.Set("X-Amz-Algorithm", amzAlgorithm)
	query.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	query.Set("X-Amz-Credential", "HUBFLIGHT/"+at.Format("20060102")+"/"+amzScope)
	query.Set("X-Amz-Date", at.Format(amzTime))
	query.Set("X-Amz-Expires", strconv.Itoa(int(max(h.options.SignatureTTL.Seconds(), 1))))
	query.Set("X-Amz-SignedHeaders", "host")
	query.Set("x-serial", strconv.FormatInt(h.signed.Add(1), 10))
	_, host, _ := strings.Cut(s.base, "://")
	host, _, _ = strings.Cut(host, "/") // a path prefix is not signed: the origin never sees it
	query.Set("X-Amz-Signature", h.signatureOf(s.method, host, s.path, query))
	return s.base + s.path + "?" + query.Encode()
}

func (h *Hub) signatureOf(method, host, path string, query url.Values) string {
	unsigned := url.Values{}
	for k, v := range query {
		if k != "X-Amz-Signature" {
			unsigned[k] = v
		}
	}
	canonical := strings.Join([]string{method, path, strings.ReplaceAll(unsigned.Encode(), "+", "%20"), "host:" + host, "", "host", "UNSIGNED-PAYLOAD"}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	date := query.Get("X-Amz-Date")
	day, _, _ := strings.Cut(date, "T")
	toSign := strings.Join([]string{amzAlgorithm, date, day + "/" + amzScope, hex.EncodeToString(sum[:])}, "\n")
	key := append([]byte("AWS4"), h.secret...)
	for _, part := range append([]string{day}, strings.Split(amzScope, "/")...) {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// storageError is what an object store answers.
type storageError struct {
	status        int
	code, message string
}

func (e *storageError) Error() string { return e.message }

// checkSignature refuses as S3 does, and in its order.
func (h *Hub) checkSignature(r *http.Request) error {
	query := r.URL.Query()
	switch {
	case r.Header.Get("Authorization") != "":
		return &storageError{http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"}
	case query.Get("X-Amz-Algorithm") != amzAlgorithm || query.Get("X-Amz-Signature") == "":
		return &storageError{http.StatusForbidden, "AccessDenied", "Access Denied"}
	}
	want := h.signatureOf(r.Method, r.Host, r.URL.EscapedPath(), query)
	if !hmac.Equal([]byte(want), []byte(query.Get("X-Amz-Signature"))) {
		return &storageError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	}
	// What follows is signed, so it reads as it was written.
	at, err := time.Parse(amzTime, query.Get("X-Amz-Date"))
	if err != nil {
		return fmt.Errorf("signed date: %w", err)
	}
	seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
	if err != nil {
		return fmt.Errorf("signed expiry: %w", err)
	}
	serial, err := strconv.ParseInt(query.Get("x-serial"), 10, 64)
	if err != nil {
		return fmt.Errorf("signed serial: %w", err)
	}
	if serial <= h.expired.Load() || h.options.Now().After(at.Add(time.Duration(seconds)*time.Second)) {
		return &storageError{http.StatusForbidden, "AccessDenied", "Request has expired"}
	}
	return nil
}
