package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// parquetType is a row of the table of types: how a file says it, what it is in
// both profiles, and two values of it (a null lies between them).
type parquetType struct {
	name    string
	logical schema.LogicalType
	width   int // of FIXED_LEN_BYTE_ARRAY
	values  any // a slice of two of the physical type
	pyarrow string
	native  arrow.DataType
	spark   arrow.DataType
	// read are the two values natively, inSpark those in Spark where they differ.
	read, inSpark [2]string
}

func stamp(unit arrow.TimeUnit, zone string) arrow.DataType {
	return &arrow.TimestampType{Unit: unit, TimeZone: zone}
}

func fixed(values ...string) []parquet.FixedLenByteArray {
	out := make([]parquet.FixedLenByteArray, len(values))
	for i, v := range values {
		out[i] = parquet.FixedLenByteArray(v)
	}
	return out
}

func text(values ...string) []parquet.ByteArray {
	out := make([]parquet.ByteArray, len(values))
	for i, v := range values {
		out[i] = parquet.ByteArray(v)
	}
	return out
}

var (
	sparkLocal = stamp(arrow.Microsecond, "")
	sparkUTC   = stamp(arrow.Microsecond, "UTC")
	uuids      = [2]string{"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", strings.Repeat("\xff", 16)}
)

// The numbers are small so that what they should read is seen at once.
var parquetTypes = []parquetType{
	{name: "boolean", values: []bool{true, false}, pyarrow: "bool", native: arrow.FixedWidthTypes.Boolean, spark: arrow.FixedWidthTypes.Boolean, read: [2]string{"true", "false"}},
	{name: "int32", values: []int32{-1, 2}, pyarrow: "int32", native: arrow.PrimitiveTypes.Int32, spark: arrow.PrimitiveTypes.Int32, read: [2]string{"-1", "2"}},
	{name: "int8", logical: schema.NewIntLogicalType(8, true), values: []int32{-128, 127}, pyarrow: "int8", native: arrow.PrimitiveTypes.Int8, spark: arrow.PrimitiveTypes.Int8, read: [2]string{"-128", "127"}},
	{name: "int16", logical: schema.NewIntLogicalType(16, true), values: []int32{-32768, 32767}, pyarrow: "int16", native: arrow.PrimitiveTypes.Int16, spark: arrow.PrimitiveTypes.Int16, read: [2]string{"-32768", "32767"}},
	{name: "uint8", logical: schema.NewIntLogicalType(8, false), values: []int32{0, 255}, pyarrow: "uint8", native: arrow.PrimitiveTypes.Uint8, spark: arrow.PrimitiveTypes.Int16, read: [2]string{"0", "255"}},
	{name: "uint16", logical: schema.NewIntLogicalType(16, false), values: []int32{0, 65535}, pyarrow: "uint16", native: arrow.PrimitiveTypes.Uint16, spark: arrow.PrimitiveTypes.Int32, read: [2]string{"0", "65535"}},
	{name: "uint32", logical: schema.NewIntLogicalType(32, false), values: []int32{0, -1}, pyarrow: "uint32", native: arrow.PrimitiveTypes.Uint32, spark: arrow.PrimitiveTypes.Int64, read: [2]string{"0", "4294967295"}},
	{name: "int64", values: []int64{-1, 1 << 62}, pyarrow: "int64", native: arrow.PrimitiveTypes.Int64, spark: arrow.PrimitiveTypes.Int64, read: [2]string{"-1", "4611686018427387904"}},
	{name: "uint64", logical: schema.NewIntLogicalType(64, false), values: []int64{0, -1}, pyarrow: "uint64", native: arrow.PrimitiveTypes.Uint64, spark: &arrow.Decimal128Type{Precision: 20}, read: [2]string{"0", "18446744073709551615"}},
	{name: "date", logical: schema.DateLogicalType{}, values: []int32{-1, 1}, pyarrow: "date32[day]", native: arrow.FixedWidthTypes.Date32, spark: arrow.FixedWidthTypes.Date32, read: [2]string{"1969-12-31", "1970-01-02"}},
	{name: "time in ms", logical: schema.NewTimeLogicalType(true, schema.TimeUnitMillis), values: []int32{1, 1000}, pyarrow: "time32[ms]", native: arrow.FixedWidthTypes.Time32ms, spark: arrow.PrimitiveTypes.Int64, read: [2]string{"00:00:00.001", "00:00:01.000"}, inSpark: [2]string{"1000000", "1000000000"}},
	{name: "time in us", logical: schema.NewTimeLogicalType(false, schema.TimeUnitMicros), values: []int64{1, 1000}, pyarrow: "time64[us]", native: arrow.FixedWidthTypes.Time64us, spark: arrow.PrimitiveTypes.Int64, read: [2]string{"00:00:00.000001", "00:00:00.001000"}, inSpark: [2]string{"1000", "1000000"}},
	{name: "time in ns", logical: schema.NewTimeLogicalType(true, schema.TimeUnitNanos), values: []int64{1, 1000}, pyarrow: "time64[ns]", native: arrow.FixedWidthTypes.Time64ns, spark: arrow.PrimitiveTypes.Int64, read: [2]string{"00:00:00.000000001", "00:00:00.000001000"}, inSpark: [2]string{"1", "1000"}},
	{name: "timestamp in ms", logical: schema.NewTimestampLogicalType(false, schema.TimeUnitMillis), values: []int64{-1, 1}, pyarrow: "timestamp[ms]", native: stamp(arrow.Millisecond, ""), spark: sparkLocal, read: [2]string{"1969-12-31T23:59:59.999", "1970-01-01T00:00:00.001"}},
	{name: "timestamp in ms, UTC", logical: schema.NewTimestampLogicalType(true, schema.TimeUnitMillis), values: []int64{-1, 1}, pyarrow: "timestamp[ms, tz=UTC]", native: stamp(arrow.Millisecond, "UTC"), spark: sparkUTC, read: [2]string{"1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.001Z"}},
	{name: "timestamp in us", logical: schema.NewTimestampLogicalType(false, schema.TimeUnitMicros), values: []int64{-1, 1}, pyarrow: "timestamp[us]", native: stamp(arrow.Microsecond, ""), spark: sparkLocal, read: [2]string{"1969-12-31T23:59:59.999999", "1970-01-01T00:00:00.000001"}},
	{name: "timestamp in us, UTC", logical: schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), values: []int64{-1, 1}, pyarrow: "timestamp[us, tz=UTC]", native: stamp(arrow.Microsecond, "UTC"), spark: sparkUTC, read: [2]string{"1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z"}},
	{name: "timestamp in ns", logical: schema.NewTimestampLogicalType(false, schema.TimeUnitNanos), values: []int64{-1, 1000}, pyarrow: "timestamp[ns]", native: stamp(arrow.Nanosecond, ""), spark: sparkLocal, read: [2]string{"1969-12-31T23:59:59.999999999", "1970-01-01T00:00:00.000001"}, inSpark: [2]string{"1969-12-31T23:59:59.999999", "1970-01-01T00:00:00.000001"}},
	{name: "timestamp in ns, UTC", logical: schema.NewTimestampLogicalType(true, schema.TimeUnitNanos), values: []int64{-1, 1000}, pyarrow: "timestamp[ns, tz=UTC]", native: stamp(arrow.Nanosecond, "UTC"), spark: sparkUTC, read: [2]string{"1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00.000001Z"}, inSpark: [2]string{"1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z"}},
	{name: "int96", values: []parquet.Int96{{8: 0x8c, 9: 0x3d, 10: 0x25}, {1: 4, 8: 0x8d, 9: 0x3d, 10: 0x25}}, pyarrow: "timestamp[ns]", native: stamp(arrow.Nanosecond, ""), spark: sparkUTC, read: [2]string{"1970-01-01T00:00:00", "1970-01-02T00:00:00.000001024"}, inSpark: [2]string{"1970-01-01T00:00:00Z", "1970-01-02T00:00:00.000001Z"}},
	{name: "float", values: []float32{-0.5, 3}, pyarrow: "float", native: arrow.PrimitiveTypes.Float32, spark: arrow.PrimitiveTypes.Float32, read: [2]string{"-0.5", "3"}},
	{name: "double", values: []float64{-0.5, 3}, pyarrow: "double", native: arrow.PrimitiveTypes.Float64, spark: arrow.PrimitiveTypes.Float64, read: [2]string{"-0.5", "3"}},
	{name: "float16", logical: schema.Float16LogicalType{}, width: 2, values: fixed("\x00\xb8", "\x00\x42"), pyarrow: "halffloat", native: arrow.FixedWidthTypes.Float16, spark: arrow.PrimitiveTypes.Float32, read: [2]string{"-0.5", "3"}},
	{name: "decimal in int32", logical: schema.NewDecimalLogicalType(9, 2), values: []int32{-150, 1}, pyarrow: "decimal128(9, 2)", native: &arrow.Decimal128Type{Precision: 9, Scale: 2}, spark: &arrow.Decimal128Type{Precision: 9, Scale: 2}, read: [2]string{"-1.5", "0.01"}},
	{name: "decimal in int64", logical: schema.NewDecimalLogicalType(18, 3), values: []int64{-1500, 1}, pyarrow: "decimal128(18, 3)", native: &arrow.Decimal128Type{Precision: 18, Scale: 3}, spark: &arrow.Decimal128Type{Precision: 18, Scale: 3}, read: [2]string{"-1.5", "0.001"}},
	{name: "decimal in 5 bytes", logical: schema.NewDecimalLogicalType(10, 2), width: 5, values: fixed("\xff\xff\xff\xff\x6a", "\x00\x00\x00\x01\x00"), pyarrow: "decimal128(10, 2)", native: &arrow.Decimal128Type{Precision: 10, Scale: 2}, spark: &arrow.Decimal128Type{Precision: 10, Scale: 2}, read: [2]string{"-1.5", "2.56"}},
	{name: "decimal in 16 bytes", logical: schema.NewDecimalLogicalType(38, 0), width: 16, values: fixed(strings.Repeat("\xff", 16), strings.Repeat("\x00", 15)+"\x07"), pyarrow: "decimal128(38, 0)", native: &arrow.Decimal128Type{Precision: 38}, spark: &arrow.Decimal128Type{Precision: 38}, read: [2]string{"-1", "7"}},
	{name: "decimal in bytes", logical: schema.NewDecimalLogicalType(20, 4), values: text("\xff", "\x01\x00"), pyarrow: "decimal128(20, 4)", native: &arrow.Decimal128Type{Precision: 20, Scale: 4}, spark: &arrow.Decimal128Type{Precision: 20, Scale: 4}, read: [2]string{"-0.0001", "0.0256"}},
	{name: "decimal beyond 38 digits", logical: schema.NewDecimalLogicalType(45, 5), width: 20, values: fixed(strings.Repeat("\xff", 20), strings.Repeat("\x00", 19)+"\x07"), pyarrow: "decimal256(45, 5)", native: &arrow.Decimal256Type{Precision: 45, Scale: 5}, spark: arrow.BinaryTypes.String, read: [2]string{"-1e-05", "7e-05"}, inSpark: [2]string{"-0.00001", "0.00007"}},
	{name: "bytes", values: text("a", "\xff"), pyarrow: "binary", native: arrow.BinaryTypes.Binary, spark: arrow.BinaryTypes.Binary, read: [2]string{"YQ==", "/w=="}},
	{name: "string", logical: schema.StringLogicalType{}, values: text("ä", ""), pyarrow: "string", native: arrow.BinaryTypes.String, spark: arrow.BinaryTypes.String, read: [2]string{"ä", ""}},
	{name: "enum", logical: schema.EnumLogicalType{}, values: text("RED", "BLUE"), pyarrow: "binary", native: arrow.BinaryTypes.Binary, spark: arrow.BinaryTypes.Binary, read: [2]string{"UkVE", "QkxVRQ=="}},
	{name: "json", logical: schema.JSONLogicalType{}, values: text("{}", "[1]"), pyarrow: "extension<arrow.json>", native: arrow.BinaryTypes.String, spark: arrow.BinaryTypes.String, read: [2]string{"{}", "[1]"}},
	{name: "bson", logical: schema.BSONLogicalType{}, values: text("\x05\x00\x00\x00\x00", ""), pyarrow: "binary", native: arrow.BinaryTypes.Binary, spark: arrow.BinaryTypes.Binary, read: [2]string{"BQAAAAA=", ""}},
	{name: "uuid", logical: schema.UUIDLogicalType{}, width: 16, values: fixed(uuids[:]...), pyarrow: "extension<arrow.uuid>", native: &arrow.FixedSizeBinaryType{ByteWidth: 16}, spark: arrow.BinaryTypes.Binary, read: [2]string{"ABEiM0RVZneImaq7zN3u/w==", "/////////////////////w=="}},
	{name: "fixed bytes", width: 3, values: fixed("abc", "\x00\x00\x00"), pyarrow: "fixed_size_binary[3]", native: &arrow.FixedSizeBinaryType{ByteWidth: 3}, spark: arrow.BinaryTypes.Binary, read: [2]string{"YWJj", "AAAA"}},
	// Neither pyarrow nor Spark knows what the twelve bytes mean.
	{name: "interval", logical: schema.IntervalLogicalType{}, width: 12, values: fixed(strings.Repeat("\x01", 12), strings.Repeat("\x00", 12)), pyarrow: "fixed_size_binary[12]", native: &arrow.FixedSizeBinaryType{ByteWidth: 12}, spark: arrow.BinaryTypes.Binary, read: [2]string{"AQEBAQEBAQEBAQEB", "AAAAAAAAAAAAAAAA"}},
}

// file is a column of the type: the first value, null, the second one.
func (p parquetType) file(t *testing.T) []byte {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if p.logical == nil {
		p.logical = schema.NoLogicalType{}
	}
	leaf, err := schema.NewPrimitiveNodeLogical("c", parquet.Repetitions.Optional, p.logical, physicalOf(p.values), p.width, -1)
	must(err)
	root, err := schema.NewGroupNode("root", parquet.Repetitions.Required, schema.FieldList{leaf}, -1)
	must(err)
	var out bytes.Buffer
	w := file.NewParquetWriter(&out, root)
	group, err := w.AppendRowGroupChecked()
	must(err)
	column, err := group.NextColumn()
	must(err)
	levels := []int16{1, 0, 1}
	switch c := column.(type) {
	case *file.BooleanColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]bool), levels, nil)
	case *file.Int32ColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]int32), levels, nil)
	case *file.Int64ColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]int64), levels, nil)
	case *file.Int96ColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]parquet.Int96), levels, nil)
	case *file.Float32ColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]float32), levels, nil)
	case *file.Float64ColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]float64), levels, nil)
	case *file.ByteArrayColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]parquet.ByteArray), levels, nil)
	case *file.FixedLenByteArrayColumnChunkWriter:
		_, err = c.WriteBatch(p.values.([]parquet.FixedLenByteArray), levels, nil)
	}
	must(err)
	must(column.Close())
	must(group.Close())
	must(w.Close())
	return out.Bytes()
}

func physicalOf(values any) parquet.Type {
	switch values.(type) {
	case []bool:
		return parquet.Types.Boolean
	case []int32:
		return parquet.Types.Int32
	case []int64:
		return parquet.Types.Int64
	case []parquet.Int96:
		return parquet.Types.Int96
	case []float32:
		return parquet.Types.Float
	case []float64:
		return parquet.Types.Double
	case []parquet.ByteArray:
		return parquet.Types.ByteArray
	}
	return parquet.Types.FixedLenByteArray
}

func TestEveryParquetTypeIsReadInBothProfiles(t *testing.T) {
	for _, p := range parquetTypes {
		t.Run(p.name, func(t *testing.T) {
			data := p.file(t)
			for _, profile := range []Profile{Native, Spark} {
				want, values := p.native, p.read
				if profile == Spark {
					want = p.spark
					if p.inSpark != [2]string{} {
						values = p.inSpark
					}
				}
				got := mustRead(t, data, Task{Query: Query{Profile: profile}, Limit: -1})
				column := got.Column(0)
				if !arrow.TypeEqual(column.DataType(), want) {
					t.Errorf("%s: %s, want %s", profile, column.DataType(), want)
				}
				if found := [2]string{column.ValueStr(0), column.ValueStr(2)}; found != values || !column.IsNull(1) || column.Len() != 3 {
					t.Errorf("%s: %q, want %q with a null between them", profile, found, values)
				}
			}
		})
	}
}

// The table's third column is what pyarrow itself says of the same bytes.
func TestTheTableOfTypesIsWhatPyarrowSays(t *testing.T) {
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python")
	}
	dir := t.TempDir()
	for i, p := range parquetTypes {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), p.file(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const script = `
import json, sys, pyarrow.parquet as pq
def say(path):
    try:
        return str(pq.read_table(path).schema.field(0).type)
    except Exception:
        return "error"
print(json.dumps([say(f"{sys.argv[1]}/{i}") for i in range(int(sys.argv[2]))]))`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, dir, fmt.Sprint(len(parquetTypes))).Output()
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	if err := json.Unmarshal(out, &said); err != nil || len(said) != len(parquetTypes) {
		t.Fatalf("%s: %v", out, err)
	}
	for i, p := range parquetTypes {
		if said[i] != p.pyarrow {
			t.Errorf("%s: pyarrow says %s, the table %s", p.name, said[i], p.pyarrow)
		}
	}
}
