package hub

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/hubflight/hubflight/source"
)

const (
	maxPreupload = 256 // files per call, the Hub's own bound
	sampleBytes  = 512 // of a file's beginning, as the Hub's own client sends
)

// Upload modes.
const (
	ModeLFS     = "lfs"     // upload first, the commit names the id
	ModeRegular = "regular" // the content travels inside the commit
)

// PreuploadFile asks how a file is to be stored.
type PreuploadFile struct {
	Path string
	// Sample is the file's beginning; at most 512 bytes of it are sent.
	Sample []byte
	Size   int64
}

// PreuploadResult says how. It holds for the path asked about; a commit may use
// another path with the same extension.
type PreuploadResult struct {
	Path string
	Mode string // ModeLFS or ModeRegular
	// Ignore: the repository's .gitignore leaves this file out.
	Ignore bool
	// OID is what is stored at that path now: hex sha256, or git blob id.
	OID string
}

// Preupload asks how files are to be stored; results come in the order of files.
func (d *Dataset) Preupload(ctx context.Context, revision string, files []PreuploadFile) ([]PreuploadResult, error) {
	results := make([]PreuploadResult, 0, len(files))
	for chunk := range slices.Chunk(files, maxPreupload) {
		part, err := d.preupload(ctx, revision, chunk)
		if err != nil {
			return nil, err
		}
		results = append(results, part...)
	}
	return results, nil
}

func (d *Dataset) preupload(ctx context.Context, revision string, files []PreuploadFile) ([]PreuploadResult, error) {
	const op = "preupload"
	type question struct {
		Path   string `json:"path"`
		Sample []byte `json:"sample"` // encoded as base64
		Size   int64  `json:"size"`
	}
	var ask struct {
		Files []question `json:"files"`
	}
	for _, f := range files {
		if why := source.ValidatePath(f.Path); f.Path == "" || why != "" {
			return nil, source.Errorf(source.KindInvalid, op, "path %q %s", source.Clip(f.Path, 80), why).WithFile(d.repo, "")
		}
		sample := append([]byte{}, f.Sample[:min(len(f.Sample), sampleBytes)]...) // never null
		ask.Files = append(ask.Files, question{f.Path, sample, f.Size})
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Files []struct {
			Path         string `json:"path"`
			UploadMode   string `json:"uploadMode"`
			ShouldIgnore bool   `json:"shouldIgnore"`
			OID          string `json:"oid"`
		} `json:"files"`
	}
	if _, err := d.do(ctx, apiCall{
		op: op, revision: revision, method: http.MethodPost, url: d.api("preupload", revision),
		contentType: "application/json", body: body, call: call{repeatable: true},
	}, &answer); err != nil {
		return nil, err
	}
	byPath := map[string]PreuploadResult{}
	for _, a := range answer.Files {
		byPath[a.Path] = PreuploadResult{Path: a.Path, Mode: a.UploadMode, Ignore: a.ShouldIgnore, OID: a.OID}
	}
	results := make([]PreuploadResult, 0, len(files))
	for _, f := range files {
		r, ok := byPath[f.Path]
		if !ok || r.Mode != ModeLFS && r.Mode != ModeRegular {
			return nil, source.Errorf(source.KindUpstream, op, "the Hub's answer gives upload mode %q", source.Clip(r.Mode, 40)).WithFile(d.repo, f.Path)
		}
		if f.Size == 0 {
			r.Mode = ModeRegular // storage refuses empty objects, whatever the Hub says
		}
		results = append(results, r)
	}
	return results, nil
}
