package hub

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

func TestContentRangesAreReadStrictly(t *testing.T) {
	if from, to, total, ok := parseContentRange("bytes 5-9/100"); !ok || from != 5 || to != 9 || total != 100 {
		t.Errorf("got %d, %d, %d, %v", from, to, total, ok)
	}
	for _, text := range []string{
		"", "bytes */100", "bytes 5-9/*", "5-9/100", "bytes 9-5/100", "bytes 5-9", "bytes -5/100", "bytes 5-100/100", "bytes 5-9/100/1",
		"bytes 5-9/99999999999999999999", "bytes=5-9/100", "bytes --5-9/100", "bytes 5-9/100 ",
	} {
		if _, _, _, ok := parseContentRange(text); ok {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestWhatThePeerAsksToWaitIsHonoured(t *testing.T) {
	for _, c := range []struct {
		status     int
		limit, raw string
		want       time.Duration
	}{
		{429, `"api";r=0;t=55`, "", 56 * time.Second},
		{429, `"api";r=0;t=55`, "3", 56 * time.Second},
		{429, `"api";r=7;t=55`, "3", 4 * time.Second}, // another limit was hit
		{429, `"api";r=7;t=55`, "", 0},
		{503, `"api";r=0;t=55`, "3", 4 * time.Second},
		{503, "", "", 0}, {503, "", "-3", 0}, {503, "", "x", 0}, {503, "", "99999999999", (24*60*60 + 1) * time.Second}, {429, "r=0;t=x", "", 0},
	} {
		resp := &http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.raw}, "Ratelimit": {c.limit}}}
		if got := askedWait(resp); got != c.want {
			t.Errorf("%d %q %q: got %s, want %s", c.status, c.limit, c.raw, got, c.want)
		}
	}
	at := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := askedWait(&http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {at}}}); got < 58*time.Second || got > 62*time.Second {
		t.Errorf("a date in a minute: got %s", got)
	}
}

func TestPartsOfAnUploadMustFitItsSize(t *testing.T) {
	good := action{Header: map[string]string{"chunk_size": "10", "00002": "u2", "1": "u1", "3": "u3", "upload_id": "x"}}
	parts, err := good.parts(25)
	if err != nil || len(parts) != 3 || parts[1] != (part{2, "u2", 10, 10}) || parts[2] != (part{3, "u3", 20, 5}) {
		t.Fatalf("got %+v, %v", parts, err)
	}
	if parts, err := (action{Header: map[string]string{"x": "y"}}).parts(25); parts != nil || err != nil {
		t.Errorf("a single upload: got %+v, %v", parts, err)
	}
	for name, h := range map[string]map[string]string{
		"too few parts":   {"chunk_size": "10", "1": "u", "2": "u"},
		"too many parts":  {"chunk_size": "10", "1": "u", "2": "u", "3": "u", "4": "u"},
		"a part twice":    {"chunk_size": "10", "1": "u", "01": "u", "2": "u"},
		"part zero":       {"chunk_size": "10", "0": "u", "1": "u", "2": "u"},
		"no size":         {"chunk_size": "", "1": "u"},
		"a size of zero":  {"chunk_size": "0", "1": "u"},
		"a negative size": {"chunk_size": "-10", "1": "u"},
		"tiny parts":      {"chunk_size": "1", "1": "u"},
	} {
		size := int64(25)
		if name == "tiny parts" {
			size = 1 << 40
		}
		if _, err := (action{Header: h}).parts(size); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestUploadsTakeNoCredentialsFromTheHubsInstructions(t *testing.T) {
	h := action{Header: map[string]string{
		"authorization": "Bearer x", "COOKIE": "a", "Host": "h", "content-length": "5", "x-amz-acl": "private", "Content-Type": "a/b",
		"chunk_size": "1", "00001": "u",
	}}.putHeader()
	if len(h) != 2 || h.Get("X-Amz-Acl") != "private" || h.Get("Content-Type") != "a/b" {
		t.Errorf("got %v", h)
	}
}

func FuzzWhatComesFromTheNetwork(f *testing.F) {
	for _, text := range []string{
		"bytes 0-9/10", `<http://h/a>; rel="next"`, `"api";r=0;t=55`, "https://huggingface.co/x", "//x/y", "http:x", "http://[::1%25a]/",
		`[{"type":"file","path":"a/b","size":1,"oid":"0123456789012345678901234567890123456789","lfs":{"oid":"x","size":-1}}]`,
		`{"error":["a","b"],"errors":[{"message":"c"}]}`, "\xff\x00\n",
	} {
		f.Add(text)
	}
	public, err := newEndpoint(Options{Endpoint: DefaultEndpoint})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if from, to, total, ok := parseContentRange(text); ok && (from < 0 || to < from || total <= to) {
			t.Errorf("range %d-%d/%d", from, to, total)
		}
		if left, reset, ok := rateLimit(text); ok && (left < 0 || reset < 0) {
			t.Errorf("limit %d, %s", left, reset)
		}
		nextLink([]string{text})
		bodyTexts([]byte(text))
		if out := clean(text, 100); !utf8.ValidString(out) || strings.ContainsAny(out, "\n\r\x00") {
			t.Errorf("cleaned to %q", out)
		}
		base := &url.URL{Scheme: "https", Host: "huggingface.co", Path: "/x"}
		if u, err := public.link(base, public.rewrite(text)); err == nil && (u.Scheme != "https" || u.Host == "" || u.User != nil) {
			t.Errorf("link %s", u)
		}
		if escaped := escapeSegment(text); strings.Contains(escaped, "/") {
			t.Errorf("segment %q", escaped)
		} else if back, err := url.PathUnescape(escaped); err != nil || back != text {
			t.Errorf("segment %q comes back as %q, %v", text, back, err)
		}
		var items []treeItem
		if json.Unmarshal([]byte(text), &items) != nil {
			return
		}
		for _, item := range items {
			if item.Validate() != nil || item.Type != "file" {
				continue
			}
			if got := item.entry().file(source.Snapshot{}); got.Size < 0 || got.Identity() == "" || source.ValidatePath(got.Path) != "" {
				t.Errorf("file %+v", got)
			}
		}
	})
}
