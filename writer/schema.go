package writer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/ipcguard"
)

const (
	featuresKey = "huggingface"
	maxColumns  = 65_536
	maxDepth    = 64
	// maxMetadata is the most schema metadata that is written into every file.
	maxMetadata = 4 << 20
)

// fileSchema is the schema in which a stream's rows are written: the types that
// Parquet and its readers can hold, everything nullable (the reference library
// drops special types from fields that are not), and the metadata worth keeping.
func fileSchema(in *arrow.Schema, keepFeatures bool) (*arrow.Schema, error) {
	if in.NumFields() == 0 {
		return nil, invalid("stage", "the rows have no columns")
	}
	if in.NumFields() > maxColumns {
		return nil, &source.Error{Op: "stage", Kind: source.KindLimit, Msg: fmt.Sprintf("the rows have %d columns; at most %d can be written", in.NumFields(), maxColumns)}
	}
	fields := make([]arrow.Field, in.NumFields())
	seen := map[string]bool{}
	for i, f := range in.Fields() {
		if seen[f.Name] {
			return nil, invalid("stage", "two columns have the same name").WithColumn(f.Name)
		}
		seen[f.Name] = true
		dt, err := fileType(f.Type, f.Name, 0)
		if err != nil {
			return nil, err
		}
		fields[i] = arrow.Field{Name: f.Name, Type: dt, Nullable: true}
	}
	meta := keptMetadata(in.Metadata(), seen, keepFeatures)
	return arrow.NewSchema(fields, &meta), nil
}

// fileType maps a type to the one that is written.
func fileType(dt arrow.DataType, path string, depth int) (arrow.DataType, error) {
	if depth > maxDepth {
		return nil, (&source.Error{Op: "stage", Kind: source.KindLimit, Msg: "the type is nested too deeply"}).WithColumn(path)
	}
	switch t := dt.(type) {
	case arrow.ExtensionType:
		return fileType(t.StorageType(), path, depth)
	case *arrow.DictionaryType:
		return fileType(t.ValueType, path, depth)
	case *arrow.TimestampType:
		if t.Unit == arrow.Second { // Parquet has no seconds
			return &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: t.TimeZone}, nil
		}
		return t, nil
	case *arrow.Time32Type:
		return arrow.FixedWidthTypes.Time32ms, nil // nor seconds of a day
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth < 1 {
			return nil, (&source.Error{Op: "stage", Kind: source.KindUnsupported, Msg: fmt.Sprintf("values of %d bytes cannot be written to Parquet", t.ByteWidth)}).
				WithColumn(path).WithHint("cast the column to binary before writing it")
		}
		return t, nil
	case *arrow.StructType, *arrow.ListType, *arrow.LargeListType, *arrow.FixedSizeListType, *arrow.MapType:
		return nestedType(dt, path, depth)
	}
	switch dt.ID() {
	case arrow.STRING_VIEW:
		return arrow.BinaryTypes.String, nil
	case arrow.BINARY_VIEW:
		return arrow.BinaryTypes.Binary, nil
	case arrow.DATE64:
		return arrow.FixedWidthTypes.Date32, nil
	case arrow.NULL, arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64, arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY,
		arrow.DATE32, arrow.TIME64, arrow.DECIMAL128, arrow.DECIMAL256:
		return dt, nil
	}
	return nil, (&source.Error{Op: "stage", Kind: source.KindUnsupported, Msg: fmt.Sprintf("type %s cannot be written to Parquet", dt)}).
		WithColumn(path).WithHint("cast the column before writing it")
}

func nestedType(dt arrow.DataType, path string, depth int) (arrow.DataType, error) {
	child := func(f arrow.Field, step string) (arrow.Field, error) {
		t, err := fileType(f.Type, path+"."+step, depth+1)
		return arrow.Field{Name: f.Name, Type: t, Nullable: true}, err
	}
	switch t := dt.(type) {
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return nil, (&source.Error{Op: "stage", Kind: source.KindUnsupported, Msg: "a struct without fields cannot be written to Parquet"}).WithColumn(path)
		}
		fields := make([]arrow.Field, t.NumFields())
		seen := make(map[string]bool, t.NumFields())
		for i, f := range t.Fields() {
			// Fields are matched by name, in a later append and by most readers: of two, one would be taken for both.
			if seen[f.Name] {
				return nil, invalid("stage", "two fields of a struct have the same name").WithColumn(path + "." + f.Name).
					WithHint("rename one of them before writing it")
			}
			seen[f.Name] = true
			var err error
			if fields[i], err = child(f, f.Name); err != nil {
				return nil, err
			}
		}
		return arrow.StructOf(fields...), nil
	case *arrow.MapType:
		key, err := child(t.KeyField(), "key")
		if err != nil {
			return nil, err
		}
		if key.Type.ID() == arrow.NULL {
			return nil, (&source.Error{Op: "stage", Kind: source.KindUnsupported, Msg: "a map whose keys have no type cannot be written to Parquet"}).
				WithColumn(path).WithHint("cast the column before writing it")
		}
		item, err := child(t.ItemField(), "value")
		if err != nil {
			return nil, err
		}
		return arrow.MapOf(key.Type, item.Type), nil
	case arrow.ListLikeType:
		item, err := child(t.ElemField(), "element")
		if err != nil {
			return nil, err
		}
		item.Name = "element" // what the file calls it
		switch list := dt.(type) {
		case *arrow.LargeListType:
			return arrow.LargeListOfField(item), nil
		case *arrow.FixedSizeListType:
			return arrow.FixedSizeListOfField(list.Len(), item), nil
		}
		return arrow.ListOfField(item), nil
	}
	return nil, source.Errorf(source.KindInternal, "stage", "type %s is not nested", dt)
}

// keptMetadata leaves out what describes another table: our own facts, and
// pandas' index, which is wrong for a part of the rows.
func keptMetadata(in arrow.Metadata, columns map[string]bool, keepFeatures bool) arrow.Metadata {
	var keys, values []string
	total := 0
	for i, key := range in.Keys() {
		value := in.Values()[i]
		switch {
		case key == "hubflight" || key == "pandas" || strings.HasPrefix(key, "ARROW:"):
			continue
		case key == featuresKey && !keepFeatures:
			continue
		case key == featuresKey:
			value = knownFeatures(value, columns)
		}
		if total += len(key) + len(value); total > maxMetadata {
			continue
		}
		keys, values = append(keys, key), append(values, value)
	}
	return arrow.NewMetadata(keys, values)
}

// knownFeatures drops the features of columns that are not written. Text that is
// not of the known shape is kept as it is.
func knownFeatures(text string, columns map[string]bool) string {
	var outer, info, features map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &outer) != nil || json.Unmarshal(outer["info"], &info) != nil || json.Unmarshal(info["features"], &features) != nil {
		return text
	}
	dropped := false
	for name := range features {
		if !columns[name] {
			delete(features, name)
			dropped = true
		}
	}
	if !dropped {
		return text
	}
	var err error
	if info["features"], err = json.Marshal(features); err != nil {
		return text
	}
	if outer["info"], err = json.Marshal(info); err != nil {
		return text
	}
	out, err := json.Marshal(outer)
	if err != nil {
		return text
	}
	return string(out)
}

// schemaHash is equal for files of equal column names and types, in order.
func schemaHash(s *arrow.Schema) string {
	var b strings.Builder
	for _, f := range s.Fields() {
		fmt.Fprintf(&b, "%q:%s\n", f.Name, typeText(f.Type))
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// typeText writes a type without what files of equal rows may differ in: child
// names of lists, nullability, metadata.
func typeText(dt arrow.DataType) string {
	switch t := dt.(type) {
	case *arrow.StructType:
		parts := make([]string, t.NumFields())
		for i, f := range t.Fields() {
			parts[i] = fmt.Sprintf("%q:%s", f.Name, typeText(f.Type))
		}
		return "struct<" + strings.Join(parts, ",") + ">"
	case *arrow.MapType:
		return "map<" + typeText(t.KeyType()) + "," + typeText(t.ItemType()) + ">"
	case *arrow.FixedSizeListType:
		return fmt.Sprintf("list[%d]<%s>", t.Len(), typeText(t.Elem()))
	case *arrow.LargeListType:
		return "large_list<" + typeText(t.Elem()) + ">"
	case *arrow.ListType:
		return "list<" + typeText(t.Elem()) + ">"
	}
	return dt.String()
}

// EncodeSchema is the form of a BeginRequest's Schema: the base64 of an IPC stream that has only the schema.
func EncodeSchema(s *arrow.Schema) (string, error) {
	var b bytes.Buffer
	w := ipc.NewWriter(&b, ipc.WithSchema(s))
	if err := w.Close(); err != nil {
		return "", source.Errorf(source.KindInternal, "begin", "encode schema: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// DecodeSchema reads what EncodeSchema has written, such as the Schema of a BeginResult.
func DecodeSchema(text string) (*arrow.Schema, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, invalid("begin", "the schema is not base64")
	}
	return ipcguard.Schema(raw)
}

// columnNames lists columns for an error text.
func columnNames(s *arrow.Schema) string {
	names := make([]string, 0, s.NumFields())
	for _, f := range s.Fields() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	if len(names) > 50 {
		names = append(names[:50], "…")
	}
	return strings.Join(names, ", ")
}
