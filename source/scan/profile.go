package scan

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// Profile says which Arrow types a stream may hold.
type Profile uint8

const (
	// Native keeps the types that pyarrow would give.
	Native Profile = iota
	// Spark maps every type to one that Spark 3.5 and later read from Arrow, and
	// refuses those without a counterpart.
	Spark
)

// String returns the wire name of the profile.
func (p Profile) String() string {
	if p == Spark {
		return "spark"
	}
	return "native"
}

// ParseProfile reads a wire name. Any other text is KindInvalid.
func ParseProfile(name string) (Profile, error) {
	switch name {
	case "native":
		return Native, nil
	case "spark":
		return Spark, nil
	}
	return Native, source.Errorf(source.KindInvalid, "profile", "%.60q is not a profile", name).
		WithHint("use native or spark")
}

// mapField gives a native field its form in the profile. path is for messages.
func (p Profile) mapField(f arrow.Field, path string) (arrow.Field, error) {
	if p == Native {
		return plainField(f), nil
	}
	t, err := sparkType(f, path)
	return arrow.Field{Name: f.Name, Type: t, Nullable: true}, err
}

// plainField drops the field metadata that is for this package only.
func plainField(f arrow.Field) arrow.Field {
	out := arrow.Field{Name: f.Name, Type: f.Type, Nullable: f.Nullable}
	if at := f.Metadata.FindKey(extensionName); at >= 0 {
		meta := ""
		if m := f.Metadata.FindKey(extensionMeta); m >= 0 {
			meta = f.Metadata.Values()[m]
		}
		out.Metadata = arrow.NewMetadata([]string{extensionName, extensionMeta}, []string{f.Metadata.Values()[at], meta})
	}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		fields := make([]arrow.Field, t.NumFields())
		for i, c := range t.Fields() {
			fields[i] = plainField(c)
		}
		out.Type = arrow.StructOf(fields...)
	case *arrow.MapType:
		m := arrow.MapOfFields(plainField(t.KeyField()), plainField(t.ItemField()))
		m.KeysSorted = t.KeysSorted
		out.Type = m
	case *arrow.ListType:
		out.Type = arrow.ListOfField(plainField(t.ElemField()))
	case *arrow.LargeListType:
		out.Type = arrow.LargeListOfField(plainField(t.ElemField()))
	case *arrow.FixedSizeListType:
		out.Type = arrow.FixedSizeListOfField(t.Len(), plainField(t.ElemField()))
	}
	return out
}

const maxDecimal128 = 38

// sparkType is the table "what the spark profile sends". All nested fields are
// nullable, except a map's keys.
func sparkType(f arrow.Field, path string) (arrow.DataType, error) {
	switch t := f.Type.(type) {
	case *arrow.NullType, *arrow.BooleanType, *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type,
		*arrow.Float32Type, *arrow.Float64Type, *arrow.StringType, *arrow.BinaryType, *arrow.Date32Type, *arrow.Decimal128Type:
		return t, nil
	case *arrow.Uint8Type:
		return arrow.PrimitiveTypes.Int16, nil
	case *arrow.Uint16Type:
		return arrow.PrimitiveTypes.Int32, nil
	case *arrow.Uint32Type:
		return arrow.PrimitiveTypes.Int64, nil
	case *arrow.Uint64Type:
		return &arrow.Decimal128Type{Precision: 20}, nil
	case *arrow.Float16Type:
		return arrow.PrimitiveTypes.Float32, nil
	case *arrow.LargeStringType:
		return arrow.BinaryTypes.String, nil
	case *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return arrow.BinaryTypes.Binary, nil
	case *arrow.Date64Type:
		return arrow.FixedWidthTypes.Date32, nil
	case *arrow.Time32Type, *arrow.Time64Type:
		return arrow.PrimitiveTypes.Int64, nil
	case *arrow.DurationType:
		return arrow.FixedWidthTypes.Duration_us, nil
	case *arrow.TimestampType:
		if t.TimeZone == "" && !isInt96(f) {
			return &arrow.TimestampType{Unit: arrow.Microsecond}, nil
		}
		return arrow.FixedWidthTypes.Timestamp_us, nil
	case *arrow.Decimal256Type:
		if t.Precision > maxDecimal128 {
			return arrow.BinaryTypes.String, nil
		}
		return &arrow.Decimal128Type{Precision: t.Precision, Scale: t.Scale}, nil
	case *arrow.StructType:
		return sparkStruct(t, path)
	case *arrow.MapType:
		return sparkMap(t, path)
	case arrow.ListLikeType:
		elem, err := sparkType(t.ElemField(), path+".element")
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(arrow.Field{Name: "element", Type: elem, Nullable: true}), nil
	}
	return nil, source.Errorf(source.KindUnsupported, opPlan, "type %s has no counterpart in Spark", f.Type).
		WithColumn(path).WithHint("leave the column out with the columns option, or read with profile native")
}

func sparkStruct(t *arrow.StructType, path string) (arrow.DataType, error) {
	if err := checkCaseless(t.Fields(), path); err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, t.NumFields())
	for i, c := range t.Fields() {
		typ, err := sparkType(c, path+"."+c.Name)
		if err != nil {
			return nil, err
		}
		fields[i] = arrow.Field{Name: c.Name, Type: typ, Nullable: true}
	}
	return arrow.StructOf(fields...), nil
}

func sparkMap(t *arrow.MapType, path string) (arrow.DataType, error) {
	key, err := sparkType(t.KeyField(), path+".key")
	if err != nil {
		return nil, err
	}
	value, err := sparkType(t.ItemField(), path+".value")
	if err != nil {
		return nil, err
	}
	return arrow.MapOfFields(arrow.Field{Name: "key", Type: key}, arrow.Field{Name: "value", Type: value, Nullable: true}), nil
}

// checkCaseless refuses names that Spark cannot tell apart.
func checkCaseless(fields []arrow.Field, path string) error {
	seen := make(map[string]string, len(fields))
	for _, f := range fields {
		low := strings.ToLower(f.Name)
		if other, dup := seen[low]; dup {
			where := "the schema"
			if path != "" {
				where = "column " + path
			}
			return source.Errorf(source.KindInvalid, opPlan, "%s has fields %q and %q, which Spark cannot tell apart", where, other, f.Name).
				WithColumn(path).WithHint("select one of them with the columns option")
		}
		seen[low] = f.Name
	}
	return nil
}

func isInt96(f arrow.Field) bool {
	at := f.Metadata.FindKey(physicalKey)
	return at >= 0 && f.Metadata.Values()[at] == physicalInt96
}

// clipNames lists at most a few names of a schema, for hints.
func clipNames(fields []arrow.Field) string {
	const most = 40
	names := make([]string, 0, min(len(fields), most))
	for _, f := range fields {
		if len(names) == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(fields)-most)
		}
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
