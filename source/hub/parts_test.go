package hub_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// holding is a storage that answers nobody's first PUT before a PUT of another part has
// arrived.
type holding struct {
	storage atomic.Pointer[http.Handler]
	mu      sync.Mutex
	first   string // the path of the part that is held
	puts    int
	other   chan struct{} // closed once another part has arrived
	alone   atomic.Bool   // none did
}

func (h *holding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut && h.isFirst(r.URL.Path) {
		timer := time.NewTimer(20 * time.Second)
		defer timer.Stop()
		select {
		case <-h.other:
		case <-timer.C:
			h.alone.Store(true)
		case <-r.Context().Done():
			return
		}
	}
	(*h.storage.Load()).ServeHTTP(w, r)
}

// isFirst reports whether this PUT is the first of all, and counts it.
func (h *holding) isFirst(path string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.puts++
	switch {
	case h.puts == 1:
		h.first = path
		return true
	case path != h.first: // not the first one, sent again
		select {
		case <-h.other:
		default:
			close(h.other)
		}
	}
	return false
}

// TestThePartsOfAnObjectAreSentSideBySide: one part waits at the storage until another
// one is there, and they are put together in their own order all the same.
func TestThePartsOfAnObjectAreSentSideBySide(t *testing.T) {
	front := &holding{other: make(chan struct{})}
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	h, _, d := newWritable(t, hubtest.Options{CDNURL: server.URL, MultipartThreshold: 50_000, PartSize: 20_000})
	storage := h.CDN()
	front.storage.Store(&storage)
	o := object(blob(90_001, 9))
	if err := d.UploadLFS(t.Context(), "main", []hub.LFSObject{o}, nil); err != nil {
		t.Fatal(err)
	}
	if front.alone.Load() {
		t.Error("the first part was all there was for 20 s: parts are sent one after another")
	}
	front.mu.Lock()
	puts := front.puts
	front.mu.Unlock()
	if puts != 5 {
		t.Errorf("%d PUTs of 5 parts", puts)
	}
	if missing, err := d.MissingLFS(t.Context(), "main", []hub.LFSObject{o}); err != nil || len(missing) > 0 {
		t.Errorf("missing %q, %v", missing, err)
	}
}
