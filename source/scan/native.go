package scan

import (
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// node is one field of a file: its native Arrow field, and the leaves below.
type node struct {
	field    arrow.Field
	leaf     int            // index of the Parquet leaf, or −1 for a group
	read     arrow.DataType // of a leaf: what decoding gives, before it becomes field.Type
	repeated bool
	children []*node
}

// physicalKey marks fields whose Parquet form matters beyond their Arrow type:
// INT96 timestamps are instants for Spark, though pyarrow gives them no zone. It
// travels in the file's schema only and is dropped by Query.Output.
const (
	physicalKey   = "PARQUET:physical_type"
	physicalInt96 = "INT96"
)

func (ft *Footer) buildSchema(manifest *pqarrow.SchemaManifest, hints []hint, kept map[string]string) {
	if len(hints) != len(manifest.Fields) {
		hints = nil // the stored schema describes something else
	}
	fields := make([]arrow.Field, len(manifest.Fields))
	ft.named = make(map[string]int, len(fields))
	for i := range manifest.Fields {
		var h hint
		if hints != nil {
			h = hints[i]
		}
		n := ft.buildNode(&manifest.Fields[i], h)
		ft.roots = append(ft.roots, n)
		if _, dup := ft.named[n.field.Name]; !dup {
			ft.named[n.field.Name] = i
		}
		fields[i] = n.field
	}
	keys := make([]string, 0, len(kept))
	for k := range kept {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = kept[k]
		ft.size += int64(len(k) + len(values[i]))
	}
	meta := arrow.NewMetadata(keys, values)
	ft.schema = arrow.NewSchema(fields, &meta)
}

// buildNode gives a field its native type: the library's reading of the Parquet
// type, corrected where pyarrow reads it differently, and refined by the hint.
func (ft *Footer) buildNode(sf *pqarrow.SchemaField, h hint) *node {
	n := &node{leaf: -1, field: arrow.Field{Name: sf.Field.Name, Nullable: sf.Field.Nullable}}
	typ := storage(sf.Field.Type)
	child := func(i int) hint {
		if len(h.children) == len(sf.Children) {
			return h.children[i]
		}
		return hint{}
	}
	switch typ := typ.(type) {
	case *arrow.StructType:
		if h.kind != kindStruct {
			h.children = nil
		}
		fields := make([]arrow.Field, len(sf.Children))
		for i := range sf.Children {
			n.children = append(n.children, ft.buildNode(&sf.Children[i], child(i)))
			fields[i] = n.children[i].field
		}
		n.field.Type = arrow.StructOf(fields...)
	case *arrow.MapType:
		// The key-value group is one level that Arrow's map type does not show.
		kv := &sf.Children[0]
		var entry hint
		if h.kind == kindMap && len(h.children) == 1 {
			entry = h.children[0]
		}
		for i := range kv.Children {
			var sub hint
			if len(entry.children) == len(kv.Children) {
				sub = entry.children[i]
			}
			n.children = append(n.children, ft.buildNode(&kv.Children[i], sub))
		}
		n.field.Type = arrow.MapOfFields(n.children[0].field, n.children[1].field)
		n.repeated = true
	case arrow.ListLikeType:
		if h.kind != kindList && h.kind != kindLargeList && h.kind != kindFixedSizeList {
			h.children = nil
		}
		item := ft.buildNode(&sf.Children[0], child(0))
		if sf.Children[0].LevelInfo.DefLevel == sf.LevelInfo.DefLevel {
			item.field.Nullable = false // the library calls the struct of a repeated group nullable
		}
		n.children, n.repeated = []*node{item}, true
		switch {
		case h.kind == kindLargeList:
			n.field.Type = arrow.LargeListOfField(item.field)
		case h.kind == kindFixedSizeList && h.size > 0:
			n.field.Type = arrow.FixedSizeListOfField(h.size, item.field)
		default:
			n.field.Type = arrow.ListOfField(item.field)
		}
	default:
		n.leaf, n.read = sf.ColIndex, sf.Field.Type
		leaf := ft.meta.Schema.Column(sf.ColIndex)
		n.field.Type = leafType(typ, leaf, h)
		n.field.Metadata = leafMetadata(leaf, h)
		return n
	}
	if h.extName != "" {
		n.field.Metadata = arrow.NewMetadata([]string{extensionName, extensionMeta}, []string{h.extName, h.extMeta})
	}
	return n
}

// leafType is the native type of a leaf that the library reads as typ.
func leafType(typ arrow.DataType, leaf *schema.Column, h hint) arrow.DataType {
	if leaf.PhysicalType() == parquet.Types.Int96 {
		return &arrow.TimestampType{Unit: arrow.Nanosecond}
	}
	if _, json := leaf.LogicalType().(schema.JSONLogicalType); json && typ.ID() == arrow.BINARY {
		typ = arrow.BinaryTypes.String
	}
	switch t := typ.(type) {
	case *arrow.StringType:
		if h.kind == kindLargeUtf8 {
			return arrow.BinaryTypes.LargeString
		}
	case *arrow.BinaryType:
		if h.kind == kindLargeBinary {
			return arrow.BinaryTypes.LargeBinary
		}
	case *arrow.TimestampType:
		if h.kind == kindTimestamp && t.TimeZone == "UTC" && h.zone != "" {
			return &arrow.TimestampType{Unit: t.Unit, TimeZone: h.zone}
		}
	case *arrow.Int64Type:
		if h.kind == kindDuration {
			return &arrow.DurationType{Unit: arrow.TimeUnit(h.unit)}
		}
	case *arrow.Decimal128Type:
		if h.kind == kindDecimal && h.bits == 256 {
			return &arrow.Decimal256Type{Precision: t.Precision, Scale: t.Scale}
		}
	}
	return typ
}

// leafMetadata keeps an extension's name and marks INT96.
func leafMetadata(leaf *schema.Column, h hint) arrow.Metadata {
	var keys, values []string
	add := func(k, v string) { keys, values = append(keys, k), append(values, v) }
	name, meta := h.extName, h.extMeta
	if name == "" && h.kind == 0 {
		// Files without a stored schema: pyarrow knows these two by their logical
		// types.
		switch leaf.LogicalType().(type) {
		case schema.JSONLogicalType:
			name = "arrow.json"
		case schema.UUIDLogicalType:
			name = "arrow.uuid"
		}
	}
	if name != "" {
		add(extensionName, name)
		add(extensionMeta, meta)
	}
	if leaf.PhysicalType() == parquet.Types.Int96 {
		add(physicalKey, physicalInt96)
	}
	return arrow.NewMetadata(keys, values)
}

// storage strips extension types.
func storage(t arrow.DataType) arrow.DataType {
	for {
		ext, ok := t.(arrow.ExtensionType)
		if !ok {
			return t
		}
		t = ext.StorageType()
	}
}

// leaves appends the indices of all leaves below n.
func (n *node) leaves(out []int) []int {
	if n.leaf >= 0 {
		return append(out, n.leaf)
	}
	for _, c := range n.children {
		out = c.leaves(out)
	}
	return out
}

// child finds a struct's field by name.
func (n *node) child(name string) *node {
	if t, ok := n.field.Type.(*arrow.StructType); ok { // which knows the places of thousands
		if at, ok := t.FieldIdx(name); ok {
			return n.children[at]
		}
		return nil
	}
	for _, c := range n.children {
		if c.field.Name == name {
			return c
		}
	}
	return nil
}

// root finds a top-level field by name.
func (ft *Footer) root(name string) *node {
	if at := ft.rootIndex(name); at >= 0 {
		return ft.roots[at]
	}
	return nil
}
