package scan

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source/scan/column"
)

// oldPadding is what the library adds to a chunk of old writers, who left the
// dictionary's header out of its size.
const oldPadding = 100

// fieldOf describes a unit of one row group to the column decoder: the library's
// tree for the field, reduced to the unit's leaves, with storage types. ok is
// false if that tree cannot be reduced.
func (ft *Footer) fieldOf(u unit, group int) (f column.Field, ok bool) {
	f, ok = ft.subField(&ft.manifest[u.root], u.leaves, group)
	if ok && u.micros {
		f.Type = arrow.FixedWidthTypes.Timestamp_us
	}
	return f, ok
}

// decodes reports whether package column reads a unit.
func (ft *Footer) decodes(u unit, group int) bool {
	f, ok := ft.fieldOf(u, group)
	return ok && column.Supported(f)
}

func (ft *Footer) subField(sf *pqarrow.SchemaField, leaves leafSet, group int) (column.Field, bool) {
	f := column.Field{Type: storage(sf.Field.Type), Def: sf.LevelInfo.DefLevel, Rep: sf.LevelInfo.RepLevel}
	if sf.ColIndex >= 0 {
		if !leaves[sf.ColIndex] {
			return f, false
		}
		f.Leaf = ft.columnChunk(group, sf.ColIndex)
		return f, true
	}
	var fields []arrow.Field
	for i := range sf.Children {
		if child, ok := ft.subField(&sf.Children[i], leaves, group); ok {
			f.Children = append(f.Children, child)
			field := *sf.Children[i].Field
			field.Type = child.Type
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return f, false
	}
	switch f.Type.(type) {
	case *arrow.StructType:
		f.Type = arrow.StructOf(fields...)
	case *arrow.MapType:
		entry, isStruct := fields[0].Type.(*arrow.StructType)
		if !isStruct || entry.NumFields() != 2 {
			return f, false
		}
		f.Type = arrow.MapOfFields(entry.Field(0), entry.Field(1))
	case *arrow.ListType:
		f.Type = arrow.ListOfField(fields[0])
	default:
		return f, false
	}
	return f, true
}

func (ft *Footer) columnChunk(group, leaf int) *column.Chunk {
	c, col := ft.chunks[group][leaf], ft.meta.Schema.Column(leaf)
	return &column.Chunk{
		Physical: col.PhysicalType(), TypeLength: col.TypeLength(),
		MaxDef: col.MaxDefinitionLevel(), MaxRep: col.MaxRepetitionLevel(),
		Codec:  compress.Compression(ft.meta.RowGroups[group].Columns[leaf].MetaData.Codec),
		Values: c.values, Rows: ft.GroupRows(group), Off: c.off, Len: ft.padded(c).len,
	}
}

// padded is a chunk with what the library reads behind those of old writers.
func (ft *Footer) padded(c chunk) chunk {
	if ft.oldWriter {
		c.len += min(oldPadding, max(ft.meta.GetSourceFileSize()-c.off-c.len, 0))
	}
	return c
}

func isOldWriter(v *metadata.AppVersion) bool {
	return v.App == "parquet-mr" && v.Version.Major == 1 && (v.Version.Minor < 2 || v.Version.Minor == 2 && v.Version.Patch < 9)
}

// eachLeaf calls do for the leaves of f, depth first.
func eachLeaf(f *column.Field, do func(*column.Chunk) error) error {
	if f.Leaf != nil {
		return do(f.Leaf)
	}
	for i := range f.Children {
		if err := eachLeaf(&f.Children[i], do); err != nil {
			return err
		}
	}
	return nil
}
