package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of failure an Error is. The list is closed and is only
// ever appended to: its names are part of the wire contract. What a client sees
// of a kind is decided in flightsrv/status.go and nowhere else.
type Kind uint8

const (
	// KindUnknown is the zero Kind: an error nobody classified. It is
	// reported as KindInternal.
	KindUnknown Kind = iota
	// KindInvalid: the request cannot be carried out as written (for example
	// an unknown column, a malformed ticket, a type without a mapping).
	KindInvalid
	// KindNotFound: the named dataset, revision, config, split or file does not
	// exist (for example a misspelled repository).
	KindNotFound
	// KindExists: what was to be created is already there.
	KindExists
	// KindUnauthenticated: no credential, or one that nobody accepts.
	KindUnauthenticated
	// KindDenied: a valid credential without the right (a gated dataset, a
	// read token used for writing, a path outside the roots).
	KindDenied
	// KindLimit: the request exceeds a fixed bound; the same request will
	// always fail.
	KindLimit
	// KindBusy: too much is going on now; the same request may succeed later.
	KindBusy
	// KindUpstream: the Hub or the network failed, after our own retries.
	KindUpstream
	// KindChanged: the bytes that a plan named are no longer there; plan again.
	KindChanged
	// KindConflict: somebody else changed the repository in a way that this
	// commit cannot be rebased on; with a RetryAfter, others were only faster.
	KindConflict
	// KindStagedLost: staged files are no longer stored by the Hub.
	KindStagedLost
	// KindUnknownOutcome: a commit was sent and its answer lost, and it could
	// not be settled whether it took effect. Never retried blindly.
	KindUnknownOutcome
	// KindCorrupt: the bytes are not what their format says.
	KindCorrupt
	// KindUnsupported: correct, but this server cannot do it.
	KindUnsupported
	// KindCanceled: the caller went away.
	KindCanceled
	// KindDeadline: the caller's or our own deadline passed.
	KindDeadline
	// KindInternal: a bug.
	KindInternal
)

var kindNames = [...]string{
	KindUnknown:         "internal",
	KindInvalid:         "invalid",
	KindNotFound:        "not_found",
	KindExists:          "exists",
	KindUnauthenticated: "unauthenticated",
	KindDenied:          "denied",
	KindLimit:           "limit",
	KindBusy:            "busy",
	KindUpstream:        "upstream",
	KindChanged:         "changed",
	KindConflict:        "conflict",
	KindStagedLost:      "staged_lost",
	KindUnknownOutcome:  "unknown_outcome",
	KindCorrupt:         "corrupt",
	KindUnsupported:     "unsupported",
	KindCanceled:        "canceled",
	KindDeadline:        "deadline",
	KindInternal:        "internal",
}

// String returns the wire name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// ParseKind returns the Kind of a wire name, and false for any other text.
func ParseKind(name string) (Kind, bool) {
	for k := KindInvalid; k <= KindInternal; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return KindUnknown, false
}

// Error is the one error type of the project. A package that fails for a reason
// a user can act on returns one; plain wrapped errors in between are fine,
// because only the outermost Error of a chain is shown.
//
// Text form: "[kind] op: what (dataset@sha8, file=…, column=…): hint (retry
// after Ns)". The text never holds a token, a signed query or a local path
// outside the roots: Msg and the cause pass through Redact.
type Error struct {
	Op     string // what was being done: "plan", "open", "commit"
	Kind   Kind
	Msg    string // what went wrong; if empty, the text of Err
	Ref    string // the dataset, with @sha8 once it is pinned
	Path   string // the file, relative to the dataset
	Column string // dotted column path
	Hint   string // what to do about it
	// RetryAfter is how long to wait before trying again (busy, upstream, conflict);
	// zero means that the origin did not say.
	RetryAfter time.Duration
	Err        error // cause, or nil
}

// Errorf makes an Error whose message is formatted; a %w operand becomes its
// cause.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Op: op, Kind: kind, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns e with a hint: what the user can do.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithFile returns e naming the dataset and the file it is about.
func (e *Error) WithFile(ref, path string) *Error {
	e.Ref, e.Path = ref, path
	return e
}

// WithColumn returns e naming the column it is about.
func (e *Error) WithColumn(column string) *Error {
	e.Column = column
	return e
}

// Error returns the text form with the kind in front.
func (e *Error) Error() string { return "[" + e.Kind.String() + "] " + e.Text() }

// Text returns the text form without the kind.
func (e *Error) Text() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	switch {
	case e.Msg != "":
		b.WriteString(e.Msg)
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(e.Kind.String())
	}
	var where []string
	if e.Ref != "" {
		where = append(where, e.Ref)
	}
	if e.Path != "" {
		where = append(where, "file="+e.Path)
	}
	if e.Column != "" {
		where = append(where, "column="+e.Column)
	}
	if len(where) > 0 {
		b.WriteString(" (" + strings.Join(where, ", ") + ")")
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	if e.RetryAfter > 0 {
		// Rounded up: a client that waits less than asked is turned away again.
		secs := int64((e.RetryAfter + time.Second - 1) / time.Second)
		fmt.Fprintf(&b, " (retry after %ds)", secs)
	}
	return Redact(b.String())
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf classifies any error: the kind of the outermost classified Error in
// its chain, else canceled or deadline for the context's errors, else internal.
func KindOf(err error) Kind {
	var e *Error
	for cause := err; errors.As(cause, &e); cause = e.Err {
		if e.Kind != KindUnknown {
			return e.Kind
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return KindDeadline
	}
	return KindInternal
}

// AsError returns err as an *Error, wrapping it under op when it is none. A nil
// err gives nil.
func AsError(op string, err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Op: op, Kind: KindOf(err), Err: err}
}
