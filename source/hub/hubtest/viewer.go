package hubtest

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// The dataset viewer is a service beside the Hub, with an address and errors of
// its own. It is found on its own listener (Options.ViewerAddress), below
// /datasets-server on the Hub's address, and there too under any host name that
// begins with "datasets-server.", which is what the datasets library asks for.
const (
	viewerPath = "/datasets-server"
	viewerHost = "datasets-server."
)

// Viewer returns the dataset viewer's origin: /parquet and /info.
func (h *Hub) Viewer() http.Handler {
	return h.wrap(originViewer, http.HandlerFunc(h.serveViewer))
}

func (h *Hub) isViewer(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, viewerPath+"/") || strings.HasPrefix(r.Host, viewerHost)
}

// viewerError is an error as the viewer words it.
type viewerError struct {
	status        int
	code, message string
}

func (e *viewerError) Error() string { return e.message }

func (h *Hub) serveViewer(w http.ResponseWriter, r *http.Request) {
	v := &viewing{h: h, w: w, r: r}
	w.Header().Set("X-Request-Id", requestID(r))
	out, err := v.answer()
	status := http.StatusOK
	if err != nil {
		var known *viewerError
		if !errors.As(err, &known) {
			h.options.Logger.Error("viewer request failed", "error", source.Redact(err.Error()))
			known = &viewerError{http.StatusInternalServerError, "UnexpectedApiError", "Unexpected error."}
		}
		status, out = known.status, map[string]string{"error": known.message}
		w.Header().Set("X-Error-Code", known.code)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		h.options.Logger.Error("viewer answer", "error", err)
		raw = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil {
		h.options.Logger.Debug("answer not delivered", "error", err)
	}
}

// viewing is one request to the viewer.
type viewing struct {
	h    *Hub
	w    http.ResponseWriter
	r    *http.Request
	repo *repo
	conv Conversion
}

func (v *viewing) answer() (any, error) {
	query := v.r.URL.Query()
	path := strings.TrimPrefix(v.r.URL.Path, viewerPath)
	if path != "/parquet" && path != "/info" || v.r.Method != http.MethodGet {
		return nil, &viewerError{http.StatusNotFound, "ResponseNotFound", "Not found."}
	}
	id, config := query.Get("dataset"), query.Get("config")
	if id == "" {
		return nil, &viewerError{http.StatusUnprocessableEntity, "MissingRequiredParameter", "Parameter 'dataset' is required"}
	}
	if query.Has("config") && config == "" {
		return nil, &viewerError{http.StatusUnprocessableEntity, "InvalidParameter", "Parameter 'config' is empty"}
	}
	if err := v.open(id); err != nil {
		return nil, err
	}
	all, err := v.converted()
	if err != nil {
		return nil, err
	}
	if config != "" && !slices.ContainsFunc(all, func(s shard) bool { return s.config == config }) {
		return nil, &viewerError{http.StatusNotFound, "ResponseNotFound", "Not found."}
	}
	if path == "/info" {
		return v.info(all, config)
	}
	return v.parquet(all, config)
}

// open finds the repository if the caller may see it. The viewer tells apart
// only whether somebody is logged in.
func (v *viewing) open(id string) error {
	hidden := &viewerError{http.StatusUnauthorized, "ExternalUnauthenticatedError", "The dataset does not exist, or is not accessible without authentication (private or gated). Please check the spelling of the dataset name or retry with authentication."}
	who, err := v.h.authenticate(v.r)
	if err != nil {
		return hidden
	}
	if !who.anonymous {
		hidden = &viewerError{http.StatusNotFound, "ExternalAuthenticatedError", "The dataset does not exist, or is not accessible with the current credentials (private or gated). Please check the spelling of the dataset name or retry with other authentication credentials."}
	}
	if v.repo = v.h.find(id); v.repo == nil {
		return hidden
	}
	settings, err := v.repo.settings()
	switch {
	case err != nil:
		return err
	case (settings.Private || settings.Gated != "") && who.rights < Read:
		return hidden
	case settings.Disabled:
		return &viewerError{http.StatusNotImplemented, "NotSupportedDisabledRepositoryError", "Not supported: dataset repository is disabled."}
	}
	if v.conv, err = v.repo.conversion(); err != nil {
		return err
	}
	if settings.Private && v.conv.Revision == "" && v.conv.State == Recorded {
		return &viewerError{http.StatusNotImplemented, "NotSupportedPrivateRepositoryError", "Not supported: private repositories are only supported for PRO users and Enterprise Hub organizations."}
	}
	return nil
}

// converted lists the shards, and answers for the states without any.
func (v *viewing) converted() ([]shard, error) {
	revision, err := v.revision()
	if err != nil {
		return nil, err
	}
	if revision != "" {
		v.w.Header().Set("X-Revision", revision)
	}
	switch v.conv.State {
	case Broken:
		return nil, &viewerError{http.StatusInternalServerError, "DatasetGenerationError", "An error occurred while generating the dataset"}
	case Blocked:
		return nil, &viewerError{http.StatusNotImplemented, "DatasetInBlockListError", "The dataset viewer has been disabled on this dataset."}
	}
	all, err := v.repo.shards()
	if err == nil && (v.conv.State == NotReady || len(all) == 0) {
		err = &viewerError{http.StatusInternalServerError, "ResponseNotReady", "The server is busier than usual and the response is not ready yet. Please retry later."}
	}
	return all, err
}

// revision is the commit of main that the answer claims to be about.
func (v *viewing) revision() (string, error) {
	main, err := v.repo.target(mainRef)
	if err != nil {
		return "", err
	}
	switch v.conv.State {
	case Recorded:
		return v.conv.Revision, nil
	case Stale:
		if v.conv.Revision != "" && v.conv.Revision != main {
			return v.conv.Revision, nil
		}
		head, err := v.repo.loadCommit(main)
		if err != nil || len(head.Parents) == 0 {
			return strings.Repeat("0", 40), err
		}
		return head.Parents[0], nil
	}
	return main, nil
}

type parquetFile struct {
	Dataset  string `json:"dataset"`
	Config   string `json:"config"`
	Split    string `json:"split"`
	URL      string `json:"url"`
	Filename string `json:"filename"`
	Size     int64  `json:"size"`
}

// job is a config that is not there.
type job struct {
	Kind    string  `json:"kind"`
	Dataset string  `json:"dataset"`
	Config  string  `json:"config"`
	Split   *string `json:"split"`
}

// parquet is the answer to /parquet. With a config it is about that one, and
// tells its features in place of what is pending and failed.
func (v *viewing) parquet(all []shard, config string) (any, error) {
	ready, pending, failed, partial := v.divide(all, config, "config-parquet")
	files := []parquetFile{}
	for _, s := range ready {
		files = append(files, parquetFile{v.repo.id, s.config, s.split, v.hubBase() + shardResolvePath(v.repo, s), shardName(s), s.file.size})
	}
	if config == "" {
		return map[string]any{"parquet_files": files, "pending": pending, "failed": failed, "partial": partial}, nil
	}
	if len(ready) == 0 {
		return nil, &viewerError{http.StatusInternalServerError, "ResponseNotReady", "The server is busier than usual and the response is not ready yet. Please retry later."}
	}
	return map[string]any{"parquet_files": files, "features": v.repo.describe(ready).Features, "partial": partial}, nil
}

// divide separates the configs that are there from those that are not.
func (v *viewing) divide(all []shard, config, kind string) (ready []shard, pending, failed []job, partial bool) {
	pending, failed = []job{}, []job{}
	seen := map[string]bool{}
	for _, s := range all {
		if config != "" && s.config != config {
			continue
		}
		about := v.conv.about(s.config)
		missing := job{Kind: kind, Dataset: v.repo.id, Config: s.config}
		switch {
		case about && v.conv.State == Pending:
			if !seen[s.config] {
				pending = append(pending, missing)
			}
		case about && v.conv.State == Failed:
			if !seen[s.config] {
				failed = append(failed, missing)
			}
		default:
			ready = append(ready, s)
			partial = partial || s.partial || about && v.conv.State == Partial
		}
		seen[s.config] = true
	}
	return ready, pending, failed, partial
}

// info is the answer to /info: what the datasets library calls dataset infos.
func (v *viewing) info(all []shard, config string) (any, error) {
	ready, pending, failed, partial := v.divide(all, config, "config-info")
	infos := map[string]configInfo{}
	for len(ready) > 0 {
		name := ready[0].config
		n := slices.IndexFunc(ready, func(s shard) bool { return s.config != name })
		if n < 0 {
			n = len(ready)
		}
		infos[name], ready = v.repo.describe(ready[:n]), ready[n:]
	}
	if config == "" {
		return map[string]any{"dataset_info": infos, "pending": pending, "failed": failed, "partial": partial}, nil
	}
	facts, ok := infos[config]
	if !ok {
		return nil, &viewerError{http.StatusInternalServerError, "ResponseNotReady", "The server is busier than usual and the response is not ready yet. Please retry later."}
	}
	return map[string]any{"dataset_info": facts, "partial": partial}, nil
}

// hubBase is the Hub's address in answers of the viewer.
func (v *viewing) hubBase() string {
	v.h.mu.Lock()
	self := v.h.self
	v.h.mu.Unlock()
	if self == "" {
		return v.h.baseOf(v.r)
	}
	return asReached(self, v.r)
}

// asReached puts the host that the caller used in place of "*", which stands for
// an origin that listens everywhere.
func asReached(base string, r *http.Request) string {
	scheme, rest, _ := strings.Cut(base, "://")
	rest, anywhere := strings.CutPrefix(rest, "*:")
	if !anywhere {
		return base
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	port, path, _ := strings.Cut(rest, "/")
	if path != "" {
		path = "/" + path
	}
	return scheme + "://" + net.JoinHostPort(strings.TrimPrefix(host, viewerHost), port) + path
}
