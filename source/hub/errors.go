package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/hubflight/hubflight/source"
)

const (
	maxErrorBody = 64 << 10
	maxErrorText = 500
)

// answered is the cause of every error that the Hub or its storage answered with.
type answeredError struct {
	status    int
	code      string // X-Error-Code
	text      string // what the Hub said, cleaned
	requestID string
}

func (a *answeredError) Error() string {
	text := fmt.Sprintf("status %d", a.status)
	if a.text != "" {
		text += ": " + a.text
	}
	if a.requestID != "" {
		text += " (Hub request " + a.requestID + ")"
	}
	return text
}

// Texts by which the Hub tells apart what its status codes do not.
const (
	textDisabled       = "Access to this resource is disabled."
	textBadCredentials = "Invalid credentials in Authorization header"
	textPointer        = "LFS pointer pointed to a file that does not exist"
	textBusyCreate     = "another conflicting operation is in progress"
)

// refused makes the error of an answer that is no success. It reads the answer's
// body, which the caller closes. The order of the cases is the Hub's own: header
// codes first, since statuses are ambiguous (401 stands for "does not exist" to
// an anonymous caller).
func (d *Dataset) refused(op, revision, path string, resp *http.Response) *source.Error {
	a := readAnswer(resp)
	e := &source.Error{Op: op, Ref: d.repo, Path: path, Err: a}
	say := func(kind source.Kind, format string, args ...any) {
		e.Kind = kind
		e.Msg = fmt.Sprintf(format, args...)
		if a.requestID != "" {
			e.Msg += " (Hub request " + a.requestID + ")"
		}
	}
	switch {
	case a.code == "RevisionNotFound":
		say(source.KindNotFound, "revision %q does not exist", revision)
	case a.code == "EntryNotFound":
		say(source.KindNotFound, "the file or folder does not exist at this revision")
	case a.code == "GatedRepo":
		say(source.KindDenied, "the dataset is gated and this token has not been granted access")
		e.Hint = fmt.Sprintf("ask for access at %s/datasets/%s, then use a token of that account", d.client.Endpoint(), d.repo)
	case strings.Contains(a.text, textDisabled):
		say(source.KindDenied, "the dataset has been disabled by the Hub")
	case strings.Contains(a.text, textBadCredentials):
		say(source.KindUnauthenticated, "the Hub does not accept the token")
		e.Hint = "the token is mistyped, expired or revoked; make one at " + d.client.Endpoint() + "/settings/tokens"
	case a.code == "RepoNotFound", resp.StatusCode == http.StatusUnauthorized && (d.token.IsZero() || aboutRepository(resp)):
		say(source.KindNotFound, "the dataset does not exist, or is private")
		if d.token.IsZero() {
			e.Hint = "check the name; if it is private or gated, give a Hub token that may read it"
		} else {
			e.Hint = "check the name; if it is private, the token's account has no access to it"
		}
		if resp.StatusCode == http.StatusUnauthorized && !d.token.IsZero() {
			e.Hint = "check the name; if it is right, the token is not valid here or its account has no access to the dataset"
		}
	default:
		d.byStatus(e, a, resp)
	}
	return e
}

// aboutRepository reports whether a request named a repository or a file of one.
// There the Hub's 401 hides whether it exists, whoever asks; elsewhere it is about
// the token.
func aboutRepository(resp *http.Response) bool {
	if resp.Request == nil {
		return false
	}
	path := resp.Request.URL.EscapedPath()
	return strings.Contains(path, "/api/datasets/") || strings.Contains(path, "/resolve/") || strings.Contains(path, "/raw/")
}

func (d *Dataset) byStatus(e *source.Error, a *answeredError, resp *http.Response) {
	switch status := resp.StatusCode; {
	case isRedirect(status):
		e.Kind, e.Hint = source.KindUnsupported, "the Hub redirected an API call to another server, which is not followed"
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		e.Kind = source.KindInvalid
		if strings.Contains(a.text, textPointer) {
			e.Kind = source.KindStagedLost
		}
	case status == http.StatusUnauthorized:
		e.Kind, e.Hint = source.KindUnauthenticated, "the Hub does not accept the token for this dataset"
	case status == http.StatusPaymentRequired, status == http.StatusUnavailableForLegalReasons:
		e.Kind = source.KindDenied // what the Hub says is the hint
	case status == http.StatusForbidden:
		e.Kind, e.Hint = source.KindDenied, "the token has no right to do this"
		if d.token.IsZero() {
			e.Hint = "give a Hub token that has the right to do this"
		}
	case status == http.StatusNotFound, status == http.StatusGone:
		e.Kind = source.KindNotFound
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		e.Kind = source.KindConflict
	case status == http.StatusRequestEntityTooLarge:
		e.Kind = source.KindLimit
	case status == http.StatusTooManyRequests:
		e.Kind, e.RetryAfter = source.KindBusy, askedWait(resp)
		e.Hint = "the Hub limits this token's requests"
	default:
		e.Kind, e.RetryAfter = source.KindUpstream, askedWait(resp)
	}
}

// readAnswer reads what the Hub says about an error, from headers and body. A body
// that is too long or no JSON (storage and proxies answer XML and HTML) adds
// nothing: the status stands for it.
func readAnswer(resp *http.Response) *answeredError {
	a := &answeredError{status: resp.StatusCode, code: source.Clip(resp.Header.Get("X-Error-Code"), 60)}
	for _, name := range []string{"X-Request-Id", headerTrace, "X-Amz-Cf-Id"} {
		if id := clean(resp.Header.Get(name), 80); id != "" {
			a.requestID = id
			break
		}
	}
	if a.requestID == "" && resp.Request != nil {
		a.requestID = resp.Request.Header.Get(headerTrace) // the name that we gave it
	}
	texts := []string{resp.Header.Get("X-Error-Message")}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody+1))
	if err == nil && len(raw) <= maxErrorBody {
		texts = append(texts, bodyTexts(raw)...)
	}
	var kept []string
	for _, text := range texts {
		if text = clean(text, maxErrorText); text != "" && !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	a.text = source.Clip(strings.Join(kept, "; "), maxErrorText)
	return a
}

// bodyTexts finds the messages in the shapes that the Hub gives them.
func bodyTexts(raw []byte) []string {
	var body struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
		Message     string          `json:"message"`
		Errors      []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return nil
	}
	var texts []string
	var one string
	var many []string
	if json.Unmarshal(body.Error, &one) == nil {
		texts = append(texts, one)
	} else if json.Unmarshal(body.Error, &many) == nil {
		texts = append(texts, many...)
	}
	texts = append(texts, body.Description, body.Message)
	for _, e := range body.Errors {
		texts = append(texts, e.Message)
	}
	return texts
}

// clean makes a foreign text fit for an error: one line, no control characters.
func clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(source.Clip(text, limit), ""))
	return strings.TrimSpace(text)
}
