package flightsrv

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hubflight/hubflight/source"
)

// errorDomain is the domain of the ErrorInfo detail.
const errorDomain = "hubflight"

// codeOf is the only Kind → gRPC table. pyarrow turns RESOURCE_EXHAUSTED and
// FAILED_PRECONDITION into ValueError, so everything that means "try later" is
// UNAVAILABLE; UNKNOWN is kept for the unknown commit outcome.
var codeOf = map[source.Kind]codes.Code{
	source.KindInvalid:         codes.InvalidArgument,
	source.KindNotFound:        codes.NotFound,
	source.KindExists:          codes.AlreadyExists,
	source.KindUnauthenticated: codes.Unauthenticated,
	source.KindDenied:          codes.PermissionDenied,
	source.KindLimit:           codes.ResourceExhausted,
	source.KindBusy:            codes.Unavailable,
	source.KindUpstream:        codes.Unavailable,
	source.KindChanged:         codes.Aborted,
	source.KindConflict:        codes.Aborted,
	source.KindStagedLost:      codes.Aborted,
	source.KindUnknownOutcome:  codes.Unknown,
	source.KindCorrupt:         codes.DataLoss,
	source.KindUnsupported:     codes.Unimplemented,
	source.KindCanceled:        codes.Canceled,
	source.KindDeadline:        codes.DeadlineExceeded,
	source.KindInternal:        codes.Internal,
}

// toStatus turns an error into the status a client sees: "[kind] text (request
// ID)", an ErrorInfo, and a RetryInfo where trying again makes sense. An
// internal error shows only the request id; the log line has the rest.
func toStatus(op string, err error, requestID string) *status.Status {
	if st, ok := grpcStatus(err); ok {
		return st // made by grpc itself: a message too large, a broken frame
	}
	kind := source.KindOf(err)
	text := op + ": internal error"
	var e *source.Error
	if kind != source.KindInternal {
		e = source.AsError(op, err)
		text = e.Text()
	}
	st := status.New(codeOf[kind], fmt.Sprintf("[%s] %s (request %s)", kind, clipText(text), requestID))
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: strings.ToUpper(kind.String()), Domain: errorDomain, Metadata: map[string]string{"request_id": requestID}}}
	if kind == source.KindBusy || kind == source.KindUpstream || kind == source.KindConflict && e.RetryAfter > 0 {
		wait := time.Second // what an origin that does not say gets
		if e != nil && e.RetryAfter > 0 {
			wait = e.RetryAfter
		}
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}

// maxStatus is what an error's text may take of the 8 KiB that gRPC's clients
// accept as trailers; beyond it they see a reset stream and no text at all. The
// text travels twice, percent-encoded and as base64 inside the details.
const maxStatus = 6 << 10

// clipText cuts a text to what a status can carry, which is UTF-8 only: with half a
// character, of a file's name or of what a caller sent, the details would be lost.
func clipText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	size := 0.0
	for i, r := range text {
		n := float64(utf8.RuneLen(r))
		if r < ' ' || r > '~' || r == '%' {
			size += 3 * n // percent-encoded
		} else {
			size += n
		}
		if size += n * 4 / 3; size > maxStatus {
			return text[:i] + "…"
		}
	}
	return text
}

// grpcStatus finds a status that grpc made below us; our own errors are never
// statuses until toStatus.
func grpcStatus(err error) (*status.Status, bool) {
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) {
		return nil, false
	}
	return carrier.GRPCStatus(), true
}
