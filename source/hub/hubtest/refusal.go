package hubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/hubflight/hubflight/source"
)

// hubError is an error of the Hub's protocol: a status, the X-Error-Code that
// clients classify by ("" for most) and the message.
type hubError struct {
	status  int
	code    string
	message string
}

func (r *hubError) Error() string { return r.message }

func refuse(status int, code, format string, args ...any) error {
	return &hubError{status, code, fmt.Sprintf(format, args...)}
}

const (
	codeRepo     = "RepoNotFound"
	codeRevision = "RevisionNotFound"
	codeEntry    = "EntryNotFound"
	codeGated    = "GatedRepo"
)

func noRevision(rev string) error {
	return refuse(http.StatusNotFound, codeRevision, "Invalid rev id: %s", rev)
}

// exported turns an error of the storage layer into the project's error type,
// for callers of the Go API.
func exported(op string, err error) error {
	if err == nil {
		return nil
	}
	var r *hubError
	switch {
	case errors.As(err, &r):
	case errors.Is(err, fs.ErrNotExist):
		return &source.Error{Op: op, Kind: source.KindNotFound, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &source.Error{Op: op, Kind: source.KindDenied, Err: err}
	default:
		return source.AsError(op, err)
	}
	kind := source.KindInvalid
	switch r.status {
	case http.StatusNotFound:
		kind = source.KindNotFound
	case http.StatusConflict:
		kind = source.KindExists
	case http.StatusPreconditionFailed:
		kind = source.KindConflict
	case http.StatusRequestEntityTooLarge:
		kind = source.KindLimit
	}
	return &source.Error{Op: op, Kind: kind, Err: err}
}
