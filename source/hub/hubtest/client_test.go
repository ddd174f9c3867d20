package hubtest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repo = "org/name"

// client speaks plain HTTP to a Hub: nothing of ours is between the test and
// the wire. It follows no redirects.
type client struct {
	t     testing.TB
	hub   *hubtest.Running
	token string
	http  *http.Client
}

func connect(t testing.TB, hub *hubtest.Running, token string) *client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t, hub, token, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	*http.Response
	body []byte
}

// json decodes the body.
func (a answer) json(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("body is no JSON: %v: %s", err, a.body)
	}
}

// do sends a request to the Hub, or to a full URL without the token.
func (c *client) do(method, target string, body any, header ...string) answer {
	c.t.Helper()
	a, err := c.try(method, target, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

func (c *client) try(method, target string, body any, header ...string) (answer, error) {
	c.t.Helper()
	var in io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		in, kind = bytes.NewReader(raw), "application/json"
	}
	full := target
	if strings.HasPrefix(target, "/") {
		full = c.hub.HubURL + target
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, full, in)
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" && strings.HasPrefix(target, "/") {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp, raw}, err
}

// commit sends a commit of lines to a revision.
func (c *client) commit(rev, parent string, lines ...string) answer {
	c.t.Helper()
	head := map[string]any{"summary": "test", "description": ""}
	if parent != "" {
		head["parentCommit"] = parent
	}
	raw, err := json.Marshal(map[string]any{"key": "header", "value": head})
	if err != nil {
		c.t.Fatal(err)
	}
	body := string(raw) + "\n" + strings.Join(lines, "\n")
	return c.do(http.MethodPost, "/api/datasets/"+repo+"/commit/"+rev, []byte(body), "Content-Type", "application/x-ndjson")
}

func fileLine(path, content string) string {
	return line("file", map[string]any{"path": path, "encoding": "base64", "content": base64.StdEncoding.EncodeToString([]byte(content))})
}

func lfsLine(path string, content []byte) string {
	return line("lfsFile", map[string]any{"path": path, "algo": "sha256", "oid": hash(content), "size": len(content)})
}

func line(key string, value any) string {
	raw, err := json.Marshal(map[string]any{"key": key, "value": value})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

type batchAnswer struct {
	Transfer string
	Objects  []struct {
		OID     string
		Size    int64
		Actions map[string]struct {
			Href   string
			Header map[string]string
		}
		Error *struct {
			Code    int
			Message string
		}
	}
}

// batch asks where to upload contents.
func (c *client) batch(contents ...[]byte) batchAnswer {
	c.t.Helper()
	objects := []map[string]any{}
	for _, content := range contents {
		objects = append(objects, map[string]any{"oid": hash(content), "size": len(content)})
	}
	got := c.do(http.MethodPost, "/datasets/"+repo+".git/info/lfs/objects/batch", map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256", "objects": objects,
		"ref": map[string]string{"name": "main"},
	}, "Content-Type", lfsMedia, "Accept", lfsMedia)
	if got.StatusCode != http.StatusOK {
		c.t.Fatalf("batch: %s: %s", got.Status, got.body)
	}
	var out batchAnswer
	got.json(c.t, &out)
	return out
}

const lfsMedia = "application/vnd.git-lfs+json"

// want checks status and X-Error-Code of an error, and the shape of all errors.
func (a answer) want(t testing.TB, status int, code, message string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("X-Error-Code") != code {
		t.Fatalf("got %s %q: %s; want %d %q", a.Status, a.Header.Get("X-Error-Code"), a.body, status, code)
	}
	if a.Header.Get("X-Request-Id") == "" {
		t.Error("the answer has no X-Request-Id")
	}
	if status < 400 || a.Request.Method == http.MethodHead {
		return
	}
	var body struct{ Error string }
	a.json(t, &body)
	if body.Error == "" || body.Error != a.Header.Get("X-Error-Message") {
		t.Errorf("body says %q and X-Error-Message %q", body.Error, a.Header.Get("X-Error-Message"))
	}
	if !strings.Contains(body.Error, message) {
		t.Errorf("the message is %q; want %q in it", body.Error, message)
	}
}

var nextLink = regexp.MustCompile(`^<(https?://[^>]+)>; rel="next"$`)

// next is the next page's URL, or "".
func (a answer) next(t testing.TB) string {
	t.Helper()
	link := a.Header.Get("Link")
	if link == "" {
		return ""
	}
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		t.Fatalf("Link is %q", link)
	}
	return m[1]
}

func head(t testing.TB, hub *hubtest.Running, rev string) string {
	t.Helper()
	sha, err := hub.Head(repo, rev)
	if err != nil {
		t.Fatal(err)
	}
	return sha
}
