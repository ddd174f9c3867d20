package flightsrv

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/ipcguard"
	"github.com/hubflight/hubflight/source/scan"
)

// ticket is what an endpoint's opaque bytes hold (wire.md §5): everything DoGet
// needs, in a fixed key order, absent when default, so that equal plans give
// equal bytes on every replica. It is validated like any request and carries no
// rights.
type ticket struct {
	V       int              `json:"v"`
	Ref     string           `json:"ref"`
	Sha     string           `json:"sha"`
	DataSha string           `json:"dsha,omitempty"` // absent when it is sha
	Config  string           `json:"cfg,omitempty"`
	Split   string           `json:"split,omitempty"`
	Path    string           `json:"path,omitempty"`
	OID     string           `json:"oid,omitempty"`
	ETag    string           `json:"etag,omitempty"`
	Size    int64            `json:"size,omitempty"`
	Files   []ticketFile     `json:"files,omitempty"` // a filtered limit: all kept files in order, instead of path, oid, etag, size
	Groups  *[]int           `json:"rg,omitempty"`    // absent: all, pruned when read
	Columns *[]source.Column `json:"cols,omitempty"`
	// Filters is the JSON of the filters, or a string: base64 of its deflate.
	Filters    json.RawMessage `json:"filters,omitempty"`
	Logic      string          `json:"logic,omitempty"`
	Profile    string          `json:"profile,omitempty"`
	Limit      *int64          `json:"limit,omitempty"`
	RowsOnly   bool            `json:"rows_only,omitempty"`
	BatchRows  int             `json:"batch_rows,omitempty"`
	BatchBytes int64           `json:"batch_bytes,omitempty"`
	Comp       string          `json:"comp,omitempty"`
	// Schema is base64 of the stream's IPC schema, or "z:" and base64 of its
	// deflate; absent where the file's own schema gives the stream's.
	Schema string `json:"schema,omitempty"`
}

type ticketFile struct {
	Path string `json:"path"`
	OID  string `json:"oid,omitempty"`
	ETag string `json:"etag,omitempty"`
	Size int64  `json:"size"`
}

const (
	deflatedSchema = "z:"
	// maxInflated bounds what a deflated part may become.
	maxInflated = 4 << 20
)

// encodeTicket makes the bytes of a partition's ticket.
func encodeTicket(p dataset.Partition, compression string) ([]byte, error) {
	t := ticket{
		V: wireVersion, Ref: p.Dataset, Sha: p.Sha, Config: p.Config, Split: p.Split,
		RowsOnly: p.Query.RowsOnly, BatchRows: p.Query.BatchRows, BatchBytes: p.Query.BatchBytes,
	}
	if p.DataSha != p.Sha {
		t.DataSha = p.DataSha
	}
	if p.Files == nil {
		t.Path, t.OID, t.ETag, t.Size = p.File.Path, p.File.OID, p.File.ETag, p.File.Size
	}
	for _, f := range p.Files {
		t.Files = append(t.Files, ticketFile{Path: f.Path, OID: f.OID, ETag: f.ETag, Size: f.Size})
	}
	if p.Groups != nil {
		t.Groups = &p.Groups
	}
	if p.Query.Columns != nil {
		t.Columns = &p.Query.Columns
	}
	if p.Query.Logic != filter.PyArrow {
		t.Logic = p.Query.Logic.String()
	}
	if p.Query.Profile != scan.Native {
		t.Profile = p.Query.Profile.String()
	}
	if p.Limit >= 0 {
		t.Limit = &p.Limit
	}
	if compression != "none" {
		t.Comp = compression
	}
	if p.Query.Filters != nil {
		raw, err := json.Marshal(p.Query.Filters)
		if err != nil {
			return nil, err
		}
		t.Filters = packFilters(raw)
	}
	if p.Schema != nil {
		t.Schema = packSchema(p.Schema)
	}
	return json.Marshal(t)
}

// decodeTicket reads and validates a ticket. The partition is sound in form; that
// its bytes still exist is checked when they are read.
func (s *Server) decodeTicket(raw []byte) (dataset.Partition, string, error) {
	var t ticket
	if err := decode("ticket", raw, maxTicket, &t); err != nil {
		return dataset.Partition{}, "", err
	}
	ref, err := t.validate(s)
	if err != nil {
		return dataset.Partition{}, "", err
	}
	command := wire.ReadCommand{V: t.V, RowsOnly: t.RowsOnly, Columns: t.Columns, Logic: t.Logic, Profile: t.Profile, Limit: t.Limit, BatchRows: t.BatchRows, BatchBytes: t.BatchBytes, Compression: t.Comp}
	if command.Filters, err = unpackFilters(t.Filters); err != nil {
		return dataset.Partition{}, "", err
	}
	if err := command.Validate(); err != nil {
		return dataset.Partition{}, "", err
	}
	p := dataset.Partition{Dataset: ref.String(), Sha: t.Sha, DataSha: t.DataSha, Config: t.Config, Split: t.Split, Limit: -1}
	if p.DataSha == "" {
		p.DataSha = t.Sha
	}
	if p.Query, err = queryOf(&command); err != nil {
		return p, "", err
	}
	if t.Limit != nil {
		p.Limit = *t.Limit
	}
	if t.Groups != nil {
		p.Groups = *t.Groups
	}
	p.Schema, err = unpackSchema(t.Schema)
	if err != nil {
		return p, "", err
	}
	t.place(&p, ref)
	return p, t.Comp, nil
}

// place fills in the files and the facts that follow from them.
func (t *ticket) place(p *dataset.Partition, ref source.Ref) {
	at := source.Snapshot{Name: ref.Name(), Commit: p.DataSha, Revision: p.DataSha, Local: ref.IsLocal()}
	p.Source = dataset.SourceNative
	switch {
	case ref.IsLocal():
		p.Source = dataset.SourceLocal
	case t.DataSha != "":
		p.Source = dataset.SourceConverted
	}
	p.File = source.File{At: at, Path: t.Path, OID: t.OID, ETag: t.ETag, Size: t.Size}
	for _, f := range t.Files {
		p.Files = append(p.Files, source.File{At: at, Path: f.Path, OID: f.OID, ETag: f.ETag, Size: f.Size})
	}
	if len(p.Files) > 0 {
		p.File = p.Files[0]
	}
	p.Partial = p.Source == dataset.SourceConverted && strings.Contains("/"+p.File.Path, "/partial-")
}

var hexDigest = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func (t *ticket) validate(s *Server) (source.Ref, error) {
	if err := checkVersion("ticket", t.V); err != nil {
		return source.Ref{}, err
	}
	ref, err := source.ParseRef(t.Ref)
	if err != nil {
		return ref, err
	}
	if ref.Revision != "" || ref.Path != "" {
		return ref, invalid("ticket", "ref holds a revision or a path")
	}
	if ref.IsLocal() && s.locate == nil {
		return s.ref(t.Ref, "")
	}
	if !hexDigest.MatchString(t.Sha) || (t.DataSha != "" && !hexDigest.MatchString(t.DataSha)) {
		return ref, invalid("ticket", "sha is not a commit id")
	}
	files := t.Files
	if len(files) == 0 {
		files = []ticketFile{{Path: t.Path, OID: t.OID, ETag: t.ETag, Size: t.Size}}
	} else if t.Path != "" || t.Groups != nil {
		return ref, invalid("ticket", "files excludes path and rg")
	}
	for _, f := range files {
		if why := source.ValidatePath(f.Path); f.Path == "" || why != "" {
			return ref, invalid("ticket", "path %q is empty or %s", f.Path, why)
		}
		if f.Size < 0 || (f.OID != "" && !hexDigest.MatchString(f.OID)) || len(f.ETag) > 256 || (f.OID == "" && f.ETag == "") {
			return ref, invalid("ticket", "the identity of %q is malformed", f.Path)
		}
	}
	if t.Groups != nil {
		last := -1
		for _, g := range *t.Groups {
			if g <= last {
				return ref, invalid("ticket", "rg is not a rising list of row groups")
			}
			last = g
		}
	}
	return ref, nil
}

func packFilters(raw []byte) json.RawMessage {
	quoted, _ := json.Marshal(base64.StdEncoding.EncodeToString(deflate(raw)))
	if len(quoted) < len(raw) {
		return quoted
	}
	return raw
}

func unpackFilters(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return raw, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, invalid("ticket", "filters are malformed")
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("ticket", "filters are neither JSON nor base64")
	}
	return inflate("filters", packed)
}

func packSchema(schema *arrow.Schema) string {
	raw := flight.SerializeSchema(schema, memory.DefaultAllocator)
	if packed := deflate(raw); len(packed)+len(deflatedSchema) < len(raw) {
		return deflatedSchema + base64.StdEncoding.EncodeToString(packed)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func unpackSchema(text string) (*arrow.Schema, error) {
	if text == "" {
		return nil, nil
	}
	coded, deflated := strings.CutPrefix(text, deflatedSchema)
	raw, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return nil, invalid("ticket", "schema is not base64")
	}
	if deflated {
		if raw, err = inflate("schema", raw); err != nil {
			return nil, err
		}
	}
	return ipcguard.Schema(raw)
}

func deflate(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is valid
	_, _ = w.Write(raw)                                // a Buffer cannot fail
	_ = w.Close()
	return b.Bytes()
}

func inflate(what string, packed []byte) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxInflated+1))
	if err != nil || len(raw) > maxInflated {
		return nil, invalid("ticket", "%s cannot be inflated", what)
	}
	return raw, nil
}
