package hub_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/source/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repo = "org/name"

func TestARepositoryIsAStore(t *testing.T) {
	for name, options := range map[string]hubtest.Options{
		"with small pages and everything as LFS": {PageSize: 3, LFSThreshold: 1},
		"with plain git files":                   {},
		"with storage on the same host":          {LFSThreshold: 1, SameHostCDN: true},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T, files map[string][]byte) sourcetest.Fixture {
				h := hubtest.New(t, hubtest.With(options), hubtest.Dataset(repo, files))
				put := func(path string, content []byte) {
					if _, err := h.Commit(repo, "main", hubtest.Change{Add: map[string][]byte{path: content}}); err != nil {
						t.Fatal(err)
					}
				}
				return sourcetest.Fixture{Store: client(t, h.HubURL).Dataset(repo, source.HubToken{}), Put: put}
			}, sourcetest.Abilities{Immutable: true, Branch: "main"})
		})
	}
}

// quick is retrying without waiting.
var quick = hub.RetryOptions{Base: time.Millisecond, Max: 5 * time.Millisecond}

func client(t *testing.T, endpoint string) *hub.Client {
	t.Helper()
	return clientWith(t, hub.Options{Endpoint: endpoint})
}

func clientWith(t *testing.T, o hub.Options) *hub.Client {
	t.Helper()
	if o.Retry == (hub.RetryOptions{}) {
		o.Retry = quick
	}
	c, err := hub.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
