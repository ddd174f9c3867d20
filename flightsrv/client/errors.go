package client

import (
	"errors"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/source"
)

var (
	kindPrefix = regexp.MustCompile(`\[([a-z_]+)\] `)
	// retryText is how source.Error prints RetryAfter; the detail says it exactly.
	retryText = regexp.MustCompile(` \(retry after \d+s\)`)
	// unconnected is how gRPC wraps the reason why there is no connection.
	unconnected = regexp.MustCompile(`^connection error: desc = "(?:transport: )?(?:Error while dialing: )?(.*)"$`)
)

// fromStatus turns a gRPC failure back into the server's error. A status without
// a kind is the transport's own: the connection broke, or the server could not
// be reached.
func fromStatus(op string, err error) error {
	var ours *source.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	st := status.Convert(err)
	e := &source.Error{Op: op, Kind: transportKind(st.Code()), Msg: st.Message()}
	if m := unconnected.FindStringSubmatch(st.Message()); m != nil {
		e.Msg, e.Hint = "no server answers: "+m[1], "is it running, and is its address right? hubflight serve starts one"
	}
	if m := kindPrefix.FindStringSubmatchIndex(st.Message()); m != nil {
		if kind, ok := source.ParseKind(st.Message()[m[2]:m[3]]); ok {
			e.Kind = kind
			// The server's text names its own operation.
			e.Op, e.Msg = "", strings.TrimSpace(st.Message()[m[1]:])
		}
	}
	for _, d := range st.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			e.RetryAfter = retry.GetRetryDelay().AsDuration()
		}
	}
	if e.RetryAfter > 0 {
		e.Msg = retryText.ReplaceAllString(e.Msg, "") // said again by RetryAfter
	}
	return e
}

func transportKind(c codes.Code) source.Kind {
	switch c {
	case codes.Canceled:
		return source.KindCanceled
	case codes.DeadlineExceeded:
		return source.KindDeadline
	case codes.Unavailable:
		return source.KindUpstream
	case codes.ResourceExhausted:
		return source.KindLimit
	case codes.Unimplemented:
		return source.KindUnsupported
	}
	return source.KindInternal
}
