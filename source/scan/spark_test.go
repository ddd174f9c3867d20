package scan

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/hubflight/hubflight/source"
)

// plainValue writes a value in a form that does not depend on its Arrow type.
func plainValue(t testing.TB, a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		nanos := new(big.Int).Mul(big.NewInt(int64(a.Value(i))), big.NewInt(int64(unit.Multiplier())))
		micros := new(big.Int)
		micros.Div(nanos, big.NewInt(1000)) // Euclidean: rounds down
		return micros.String() + "us"
	case *array.Time32:
		return fmt.Sprint(int64(a.Value(i)) * int64(a.DataType().(*arrow.Time32Type).Unit.Multiplier()))
	case *array.Time64:
		return fmt.Sprint(int64(a.Value(i)) * int64(a.DataType().(*arrow.Time64Type).Unit.Multiplier()))
	case *array.Float16:
		return fmt.Sprint(a.Value(i).Float32())
	case *array.Float32:
		return fmt.Sprint(a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%x", a.Value(i))
	case *array.FixedSizeBinary:
		return fmt.Sprintf("%x", a.Value(i))
	case *array.Struct:
		var parts []string
		for f := range a.NumField() {
			parts = append(parts, plainValue(t, a.Field(f), i))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case array.ListLike:
		start, end := a.ValueOffsets(i)
		var parts []string
		for j := start; j < end; j++ {
			parts = append(parts, plainValue(t, a.ListValues(), int(j)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return a.ValueStr(i)
}

// TestTheSmallestHalfFloatsAreReadAsTheFloatsTheyAre: the library takes those below 2^-14
// for others.
func TestTheSmallestHalfFloatsAreReadAsTheFloatsTheyAre(t *testing.T) {
	data := parquetType{logical: schema.Float16LogicalType{}, width: 2, values: fixed("\x01\x00", "\xff\x83")}.file(t)
	column, ok := mustRead(t, data, Task{Query: Query{Profile: Spark}, Limit: -1}).Column(0).(*array.Float32)
	if !ok || column.Value(0) != 0x1p-24 || column.Value(2) != -0x3ff*0x1p-24 {
		t.Errorf("got %v", column)
	}
}

func TestSparkValuesAreTheNativeOnesInOtherTypes(t *testing.T) {
	for name, batch := range map[string]arrow.RecordBatch{"flat": flatBatch(3000), "nested": nestedBatch(1500, 11)} {
		data := write(t, batch, 700)
		spark, _, err := read(t, data, Task{Query: Query{Profile: Spark}, Limit: -1})
		if err != nil {
			t.Fatal(err)
		}
		for c := range int(batch.NumCols()) {
			for row := range int(batch.NumRows()) {
				got, want := plainValue(t, spark.Column(c), row), plainValue(t, batch.Column(c), row)
				if got != want {
					t.Fatalf("%s, column %s, row %d: %s, want %s", name, batch.ColumnName(c), row, got, want)
				}
			}
		}
	}
}

func decimals(t *testing.T, precision, scale int32, values ...string) []byte {
	t.Helper()
	typ := &arrow.Decimal256Type{Precision: precision, Scale: scale}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{field("d", typ)}, nil))
	defer b.Release()
	for _, v := range values {
		d, err := decimal256.FromString(v, precision, scale)
		if err != nil {
			t.Fatal(err)
		}
		b.Field(0).(*array.Decimal256Builder).Append(d)
	}
	b.Field(0).AppendNull()
	return write(t, b.NewRecordBatch(), 100)
}

func TestWideDecimalsAreNarrowedOrWritten(t *testing.T) {
	data := decimals(t, 38, 2, "-1.50", "123456789012345678901234567890.25")
	got := mustRead(t, data, Task{Query: Query{Profile: Spark}, Limit: -1})
	if s := fmt.Sprint(got.Schema().Field(0).Type, got.Column(0)); s != "decimal(38, 2) [-1.5 1.2345678901234568e+29 (null)]" && !strings.HasPrefix(s, "decimal(38, 2)") {
		t.Errorf("%s", s)
	}
	if v := got.Column(0).(*array.Decimal128).Value(0).LowBits(); int64(v) != -150 {
		t.Errorf("first value %d", int64(v))
	}
	data = decimals(t, 60, 5, "-1.50000", "123456789012345678901234567890123456789012345.00001")
	got = mustRead(t, data, Task{Query: Query{Profile: Spark}, Limit: -1})
	for i, want := range []string{"-1.50000", "123456789012345678901234567890123456789012345.00001", "(null)"} {
		if s := got.Column(0).ValueStr(i); s != want {
			t.Errorf("row %d: %s, want %s", i, s, want)
		}
	}
}

func TestTimesThatDoNotFitMicrosecondsFail(t *testing.T) {
	typ := &arrow.TimestampType{Unit: arrow.Millisecond}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{field("at", typ)}, nil))
	defer b.Release()
	b.Field(0).(*array.TimestampBuilder).Append(1 << 60)
	data := write(t, b.NewRecordBatch(), 100)
	_, _, err := readInto(t, data, Task{Query: Query{Profile: Spark}, Limit: -1})
	if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "column=at") || !strings.Contains(err.Error(), testFile.Path) {
		t.Errorf("%v", err)
	}
	if _, _, err := readInto(t, data, Task{Limit: -1}); err != nil {
		t.Errorf("natively: %v", err)
	}
}
