package hub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestAWarningOfTheHubIsLoggedOnce(t *testing.T) {
	storage := newWitness(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-HF-Warning", "storage; has nothing to say")
		w.Header().Set("Content-Range", "bytes 0-9/10")
		w.WriteHeader(http.StatusPartialContent)
		w.Write([]byte("0123456789"))
	})
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-HF-Warning", "quota; you are near your limit")
		w.Header().Add("X-HF-Warning", "no topic, "+token)
		if strings.Contains(r.URL.Path, "/resolve/") {
			w.Header().Set("X-Repo-Commit", sha)
			w.Header().Set("X-Linked-Size", "10")
			w.Header().Set("X-Linked-ETag", `"`+strings.Repeat("a", 64)+`"`)
			w.Header().Set("Location", storage.URL+"/x")
			w.WriteHeader(http.StatusFound)
			return
		}
		fmt.Fprintf(w, `{"id":%q,"sha":%q}`, repo, sha)
	})
	var log bytes.Buffer
	d := clientWith(t, hub.Options{Endpoint: h.URL, Logger: slog.New(slog.NewTextHandler(&log, nil))}).Dataset(repo, source.NewHubToken(token))
	for range 3 {
		if _, err := d.Info(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.Open(t.Context(), source.File{At: at(), Path: "x", Size: 10, OID: strings.Repeat("a", 64)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "the Hub says"); n != 2 {
		t.Errorf("%d warnings logged, want 2:\n%s", n, &log)
	}
	for _, want := range []string{`msg="the Hub says" warning="you are near your limit" topic=quota`, `warning="no topic`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), token) || strings.Contains(log.String(), "storage;") {
		t.Errorf("the log holds a token, or what storage said:\n%s", &log)
	}
}

// Who reports an error to the people of the Hub needs a name of the request that
// they find in their logs.
func TestEveryRequestToTheHubHasANameThatIsInItsError(t *testing.T) {
	var mu sync.Mutex
	var names []string
	h := newWitness(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		names = append(names, r.Header.Get("X-Amzn-Trace-Id"))
		w.WriteHeader(http.StatusInternalServerError) // and no id of its own
	})
	_, err := client(t, h.URL).Dataset(repo, source.NewHubToken(token)).Info(t.Context(), "main")
	seen := map[string]bool{}
	for _, name := range names {
		if _, e := uuid.Parse(name); e != nil || seen[name] {
			t.Errorf("the names are %v", names)
		}
		seen[name] = true
	}
	if len(names) < 2 || err == nil || !strings.Contains(err.Error(), "request "+names[len(names)-1]) {
		t.Errorf("%v does not name the last of %v", err, names)
	}
}

func TestStorageIsNotToldTheNameOfARequest(t *testing.T) {
	h := hubtest.New(t, hubtest.Dataset(repo, map[string][]byte{"data/a.parquet": blob(10_000, 1)}), hubtest.With(hubtest.Options{LFSThreshold: 100}))
	if _, err := readEverything(t, client(t, h.HubURL).Dataset(repo, source.HubToken{})); err != nil {
		t.Fatal(err)
	}
	atStorage := 0
	for _, r := range h.Requests() {
		named := r.Header.Get("X-Amzn-Trace-Id") != ""
		if named != (r.Origin == "hub") {
			t.Errorf("%s %s at %s: named %t", r.Method, r.Path, r.Origin, named)
		}
		if r.Origin == "cdn" {
			atStorage++
		}
	}
	if atStorage == 0 {
		t.Error("storage was not asked")
	}
}

// Where no repository is named, a 401 is about the token.
func TestARefusedTokenIsNoMissingDataset(t *testing.T) {
	h := newWitness(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := client(t, h.URL).CreateRepo(t.Context(), source.NewHubToken(token), repo, true)
	if source.KindOf(err) != source.KindUnauthenticated {
		t.Error(err)
	}
}

func TestOfflineNothingIsAsked(t *testing.T) {
	h := newWitness(t, func(http.ResponseWriter, *http.Request) { t.Error("the Hub was asked") })
	c := clientWith(t, hub.Options{Endpoint: h.URL, Offline: true})
	d := c.Dataset(repo, source.NewHubToken(token))
	d.Prepare()
	_, err := d.Resolve(t.Context(), "main")
	if source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("resolve: %v", err)
	}
	_, err = list(t, d, "")
	if source.KindOf(err) != source.KindUnsupported {
		t.Errorf("list: %v", err)
	}
	_, err = d.Open(t.Context(), source.File{At: at(), Path: "x", Size: 10, OID: strings.Repeat("a", 64)})
	if source.KindOf(err) != source.KindUnsupported {
		t.Errorf("open: %v", err)
	}
	if _, err := c.CreateRepo(t.Context(), source.NewHubToken(token), repo, true); source.KindOf(err) != source.KindUnsupported {
		t.Errorf("create: %v", err)
	}
}
