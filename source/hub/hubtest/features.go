package hubtest

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// configInfo is what /info tells of a config, in the words of the datasets
// library.
type configInfo struct {
	Description string                `json:"description"`
	Citation    string                `json:"citation"`
	Homepage    string                `json:"homepage"`
	License     string                `json:"license"`
	Features    json.RawMessage       `json:"features"`
	Builder     string                `json:"builder_name"`
	Name        string                `json:"dataset_name"`
	Config      string                `json:"config_name"`
	Version     map[string]any        `json:"version"`
	Splits      map[string]*splitInfo `json:"splits"`
	Download    int64                 `json:"download_size"`
	Size        int64                 `json:"dataset_size"`
}

type splitInfo struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"num_bytes"`
	Examples int64  `json:"num_examples"`
	Dataset  string `json:"dataset_name"`
}

// describe reads the footers of a config's files.
func (r *repo) describe(all []shard) configInfo {
	name := path.Base(r.id)
	info := configInfo{
		Features: json.RawMessage("null"), Builder: "parquet", Name: name, Config: all[0].config, Splits: map[string]*splitInfo{},
		Version: map[string]any{"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0},
	}
	for i, s := range all {
		f, err := r.footer(s.file)
		if err != nil {
			// What is no Parquet file has no footer: nothing is told of it.
			f = footer{features: json.RawMessage("null")}
		}
		if i == 0 {
			info.Features = f.features
		}
		split := info.Splits[s.split]
		if split == nil {
			split = &splitInfo{Name: s.split, Dataset: name}
			info.Splits[s.split] = split
		}
		split.Bytes += f.bytes
		split.Examples += f.rows
		info.Download += s.file.size
		info.Size += f.bytes
	}
	return info
}

type footer struct {
	rows, bytes int64
	features    json.RawMessage
}

// footer reads a Parquet file's metadata. The library panics on some files that
// are none, and these come from anywhere.
func (r *repo) footer(e entry) (f footer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is no Parquet file: %v", e.path, p)
		}
	}()
	content, err := r.openContent(e)
	if err != nil {
		return f, err
	}
	defer content.Close()
	in, ok := content.(parquetSource)
	if !ok {
		return f, fmt.Errorf("%s cannot be read at random", e.path)
	}
	reader, err := file.NewParquetReader(in)
	if err != nil {
		return f, err
	}
	meta := reader.MetaData()
	f.rows = meta.GetNumRows()
	for i := range reader.NumRowGroups() {
		f.bytes += meta.RowGroup(i).TotalByteSize()
	}
	if text := meta.KeyValueMetadata().FindValue("huggingface"); text != nil {
		var kept struct {
			Info struct {
				Features json.RawMessage `json:"features"`
			} `json:"info"`
		}
		if json.Unmarshal([]byte(*text), &kept) == nil && len(kept.Info.Features) > 0 {
			f.features = kept.Info.Features
			return f, nil
		}
	}
	schema, err := pqarrow.FromParquet(meta.Schema, nil, meta.KeyValueMetadata())
	if err != nil {
		return f, err
	}
	f.features = featuresOf(schema.Fields())
	return f, nil
}

// parquetSource is what both kinds of contents are: files and memory.
type parquetSource interface {
	ReadAt(p []byte, off int64) (int, error)
	Seek(offset int64, whence int) (int64, error)
}

// featureOf is a column's type in the library's words: "_type" names the class,
// and a struct is its fields by name.
func featureOf(t arrow.DataType) json.RawMessage {
	switch t := t.(type) {
	case *arrow.StructType:
		return featuresOf(t.Fields())
	case *arrow.FixedSizeListType:
		return fmt.Appendf(nil, `{"feature":%s,"length":%d,"_type":"List"}`, featureOf(t.Elem()), t.Len())
	case arrow.ListLikeType:
		return fmt.Appendf(nil, `{"feature":%s,"_type":"List"}`, featureOf(t.Elem()))
	case *arrow.DictionaryType:
		return featureOf(t.ValueType)
	case *arrow.TimestampType:
		dtype := "timestamp[" + t.Unit.String()
		if t.TimeZone != "" {
			dtype += ", tz=" + t.TimeZone
		}
		return valueOf(dtype + "]")
	}
	name := strings.NewReplacer("utf8", "string", "decimal(", "decimal128(").Replace(t.String())
	return valueOf(name)
}

func valueOf(dtype string) json.RawMessage {
	return fmt.Appendf(nil, `{"dtype":%q,"_type":"Value"}`, dtype)
}

// featuresOf keeps the order of the columns, which a Go map would not.
func featuresOf(fields []arrow.Field) json.RawMessage {
	parts := make([]string, len(fields))
	for i, f := range fields {
		name, err := json.Marshal(f.Name)
		if err != nil {
			name = []byte(`""`) // strings always encode
		}
		parts[i] = string(name) + ":" + string(featureOf(f.Type))
	}
	return json.RawMessage("{" + strings.Join(parts, ",") + "}")
}
