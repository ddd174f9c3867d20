package hubtest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// seen is what a client sees of one ranged download that met a fault.
type seen struct {
	answer
	err error
}

func TestEachMisbehaviourIsWhatItsNameSays(t *testing.T) {
	content := make([]byte, 100_000)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	part := content[1000:2000]
	for _, tc := range []struct {
		fault hubtest.Fault
		check func(got seen) bool
	}{
		{hubtest.Fault{Do: hubtest.IgnoreRange}, func(got seen) bool {
			return got.StatusCode == http.StatusOK && bytes.Equal(got.body, content)
		}},
		{hubtest.Fault{Do: hubtest.ShiftRange, N: 7}, func(got seen) bool {
			return got.Header.Get("Content-Range") == "bytes 1007-2006/100000" && bytes.Equal(got.body, content[1007:2007])
		}},
		{hubtest.Fault{Do: hubtest.ShiftRange, N: -7}, func(got seen) bool {
			return got.Header.Get("Content-Range") == "bytes 993-1992/100000"
		}},
		{hubtest.Fault{Do: hubtest.DropContentRange}, func(got seen) bool {
			return got.StatusCode == http.StatusPartialContent && got.Header.Get("Content-Range") == "" && bytes.Equal(got.body, part)
		}},
		{hubtest.Fault{Do: hubtest.WrongTotal, N: 1}, func(got seen) bool {
			return got.Header.Get("Content-Range") == "bytes 1000-1999/100001" && bytes.Equal(got.body, part)
		}},
		{hubtest.Fault{Do: hubtest.Unsatisfiable}, func(got seen) bool {
			return got.StatusCode == http.StatusRequestedRangeNotSatisfiable && got.Header.Get("Content-Range") == "bytes */177"
		}},
		{hubtest.Fault{Do: hubtest.EndAfter, N: 10}, func(got seen) bool {
			return errors.Is(got.err, io.ErrUnexpectedEOF) && bytes.Equal(got.body, part[:10])
		}},
		{hubtest.Fault{CutAfter: 10}, func(got seen) bool {
			return got.err != nil && !errors.Is(got.err, io.ErrUnexpectedEOF) && len(got.body) <= 10
		}},
		{hubtest.Fault{CutAfter: 10, Stall: 20 * time.Millisecond}, func(got seen) bool { return got.err != nil && bytes.Equal(got.body, part[:10]) }},
		{hubtest.Fault{Do: hubtest.Lengthen, N: 9}, func(got seen) bool {
			return errors.Is(got.err, io.ErrUnexpectedEOF) && got.ContentLength == 1009 && bytes.Equal(got.body, part)
		}},
		{hubtest.Fault{Do: hubtest.Shorten, N: 9}, func(got seen) bool {
			return got.err == nil && got.ContentLength == 991 && bytes.Equal(got.body, part[:991])
		}},
		{hubtest.Fault{Do: hubtest.Slow, N: 100_000}, func(got seen) bool { return got.err == nil && bytes.Equal(got.body, part) }},
		{hubtest.Fault{Delay: time.Millisecond}, func(got seen) bool { return got.err == nil && bytes.Equal(got.body, part) }},
		{hubtest.Fault{Do: hubtest.Flip, N: 8*500 + 3}, func(got seen) bool {
			return got.err == nil && got.body[500] == part[500]^8 && bytes.Equal(got.body[:500], part[:500]) && bytes.Equal(got.body[501:], part[501:])
		}},
		{hubtest.Fault{Do: hubtest.Gzip}, func(got seen) bool { return got.err == nil && bytes.Equal(got.body, part) }}, // it did not ask
		{hubtest.Fault{Do: hubtest.GzipUnasked}, func(got seen) bool {
			z, err := gzip.NewReader(bytes.NewReader(got.body))
			if err != nil || got.StatusCode != http.StatusOK || got.Header.Get("Content-Encoding") != "gzip" || got.Header.Get("Content-Range") != "" {
				return false
			}
			raw, err := io.ReadAll(z)
			return err == nil && bytes.Equal(raw, content)
		}},
		{hubtest.Fault{Do: hubtest.Garbage}, func(got seen) bool {
			return got.StatusCode == http.StatusOK && strings.HasPrefix(string(got.body), "[{")
		}},
		{hubtest.Fault{Do: hubtest.Expire}, func(got seen) bool {
			return got.StatusCode == http.StatusForbidden && strings.Contains(string(got.body), "<Code>AccessDenied</Code>") && strings.Contains(string(got.body), "Request has expired")
		}},
		{hubtest.Fault{Do: hubtest.Tamper}, func(got seen) bool {
			return got.StatusCode == http.StatusForbidden && strings.Contains(string(got.body), "<Code>SignatureDoesNotMatch</Code>")
		}},
		{hubtest.Fault{Do: hubtest.SlowDown}, func(got seen) bool {
			return got.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(got.body), "<Code>SlowDown</Code>")
		}},
		{hubtest.Fault{Do: hubtest.GatewayTimeout}, func(got seen) bool {
			return got.StatusCode == http.StatusGatewayTimeout && got.Header.Get("Content-Type") == "text/html"
		}},
		{hubtest.Fault{Do: hubtest.RateLimited, N: 3}, func(got seen) bool {
			return got.StatusCode == http.StatusTooManyRequests && strings.Contains(got.Header.Get("RateLimit"), "r=0;t=3") && got.Header.Get("Retry-After") == ""
		}},
		{hubtest.Fault{Do: hubtest.QuotaExceeded, N: 3}, func(got seen) bool {
			return got.StatusCode == http.StatusTooManyRequests && !strings.Contains(got.Header.Get("RateLimit"), "r=0") && got.Header.Get("Retry-After") == "3"
		}},
		{hubtest.Fault{Do: hubtest.TooMany}, func(got seen) bool {
			return got.StatusCode == http.StatusTooManyRequests && got.Header.Get("RateLimit") == "" && got.Header.Get("Retry-After") == ""
		}},
		{hubtest.Fault{Do: hubtest.CommitInFlight}, func(got seen) bool { return got.StatusCode == http.StatusConflict }},
	} {
		t.Run(tc.fault.String(), func(t *testing.T) {
			hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": content}))
			c := connect(t, hub, "")
			tc.fault.Origin = "cdn"
			at := c.resolve("a.parquet")
			armed := hub.Fault(tc.fault)
			got, err := c.try(http.MethodGet, at, nil, "Range", "bytes=1000-1999")
			if armed.Hits() != 1 || got.Response == nil || !tc.check(seen{got, err}) {
				t.Errorf("hits %d, %v, %d bytes, %v: %+v", armed.Hits(), err, len(got.body), got.Response, armed)
			}
			armed.Disarm()
			if got := c.do(http.MethodGet, c.resolve("a.parquet"), nil); !bytes.Equal(got.body, content) {
				t.Errorf("afterwards: %s, %d bytes", got.Status, len(got.body))
			}
		})
	}
}

// A gateway's 504 comes when it has waited: by then the commit may have been made.
func TestAGatewayGivesUpAfterAWhile(t *testing.T) {
	for _, fault := range []hubtest.Fault{{Do: hubtest.GatewayTimeout, After: true}, {Do: hubtest.GatewayTimeout, Delay: 60 * time.Millisecond}} {
		hub := hubtest.New(t, hubtest.Dataset(repo, nil))
		c := connect(t, hub, "")
		start := head(t, hub, "main")
		armed := hub.Fault(fault)
		begin := time.Now()
		got := c.commit("main", start, fileLine("a.txt", "a"))
		took := time.Since(begin)
		if got.StatusCode != http.StatusGatewayTimeout || !strings.HasPrefix(string(got.body), "<html>") || armed.Hits() != 1 {
			t.Errorf("%s: %s, %q", armed, got.Status, got.body)
		}
		if least := max(fault.Delay, 20*time.Millisecond); took < least {
			t.Errorf("%s: it gave up after %s, at once", armed, took)
		}
		armed.Disarm()
		if made := head(t, hub, "main") != start; made != fault.After {
			t.Errorf("%s: the commit was made: %t", armed, made)
		}
	}
}

func TestAWrongETagIsOnResolveToo(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	c := connect(t, hub, "")
	true1 := c.do(http.MethodHead, "/datasets/"+repo+"/resolve/main/a.parquet", nil)
	hub.Fault(hubtest.Fault{Do: hubtest.WrongETag, Nth: 1})
	got := c.do(http.MethodHead, "/datasets/"+repo+"/resolve/main/a.parquet", nil)
	if tag := got.Header.Get("X-Linked-Etag"); tag == true1.Header.Get("X-Linked-Etag") || len(tag) != 66 {
		t.Errorf("X-Linked-ETag %s", tag)
	}
}

func TestAnsweringCompressedNeedsAClientThatAsks(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"a.parquet": []byte("PAR1")}))
	c := connect(t, hub, "")
	hub.Fault(hubtest.Fault{Do: hubtest.Gzip})
	if got := c.do(http.MethodGet, "/api/datasets/"+repo+"/refs", nil, "Accept-Encoding", "gzip, deflate"); got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("headers %v", got.Header)
	}
	if got := c.do(http.MethodGet, "/api/datasets/"+repo+"/refs", nil, "Accept-Encoding", "identity"); got.Header.Get("Content-Encoding") != "" {
		t.Errorf("headers %v", got.Header)
	}
}
