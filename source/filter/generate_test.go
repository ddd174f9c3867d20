package filter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// genColumn is a column of random values, in Arrow and as vals.
type genColumn struct {
	typ  arrow.DataType
	path []string
	top  arrow.Array // what the record holds under path[0]
	leaf arrow.Array
	vals []val
}

func (c *genColumn) jsonName() string {
	if len(c.path) == 1 {
		return strconv.Quote(c.path[0])
	}
	return fmt.Sprintf("[%q,%q]", c.path[0], c.path[1])
}

var genTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
	arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
	arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
	&arrow.Decimal32Type{Precision: 7, Scale: 2}, &arrow.Decimal64Type{Precision: 15, Scale: 0},
	&arrow.Decimal128Type{Precision: 20, Scale: 3}, &arrow.Decimal128Type{Precision: 38, Scale: -2}, &arrow.Decimal256Type{Precision: 70, Scale: 10},
	arrow.FixedWidthTypes.Boolean,
	arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.StringView,
	arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.BinaryView, &arrow.FixedSizeBinaryType{ByteWidth: 2},
	arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
	&arrow.TimestampType{Unit: arrow.Second}, &arrow.TimestampType{Unit: arrow.Millisecond},
	&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Nanosecond},
	&arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/Berlin"},
	arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
}

// gen makes columns and filters from a seed.
type gen struct {
	*rand.Rand
	mem memory.Allocator
}

func pick[T any](g *gen, from ...T) T { return from[g.IntN(len(from))] }

// column makes a column of rows values; some are sliced out of longer arrays,
// some live in a struct that has nulls of its own.
func (g *gen) column(name string, typ arrow.DataType, rows int) *genColumn {
	c := &genColumn{typ: typ, path: []string{name}}
	before, after := g.IntN(3)*g.IntN(70), g.IntN(3)
	b := array.NewBuilder(g.mem, typ)
	defer b.Release()
	nulls := pick(g, 0, 0, 10, 50, 100)
	narrow := g.IntN(3) == 0 // few distinct values, so that groups can be pruned
	base := g.value(typ)
	vals := make([]val, 0, before+rows+after)
	for range before + rows + after {
		if g.IntN(100) < nulls {
			b.AppendNull()
			vals = append(vals, val{null: true})
			continue
		}
		v := base
		if !narrow {
			v = g.value(typ)
		}
		vals = append(vals, appendValue(b, v))
	}
	whole := b.NewArray()
	defer whole.Release()
	c.vals = vals[before : before+rows]
	if g.IntN(4) > 0 {
		c.leaf = array.NewSlice(whole, int64(before), int64(before+rows))
		c.leaf.Retain()
		c.top = c.leaf
		return c
	}
	c.path = append(c.path, "leaf")
	g.wrap(c, whole, before, rows)
	return c
}

// wrap puts the column into a struct with nulls of its own.
func (g *gen) wrap(c *genColumn, whole arrow.Array, before, rows int) {
	n := whole.Len()
	valid := memory.NewResizableBuffer(g.mem)
	defer valid.Release()
	valid.Resize((n + 7) / 8)
	nulls := 0
	c.vals = append([]val(nil), c.vals...)
	for i := range n {
		if g.IntN(5) > 0 {
			valid.Bytes()[i/8] |= 1 << (i % 8)
			continue
		}
		nulls++
		if i >= before && i < before+rows {
			c.vals[i-before] = val{null: true}
		}
	}
	typ := arrow.StructOf(arrow.Field{Name: "leaf", Type: whole.DataType(), Nullable: true})
	data := array.NewData(typ, n, []*memory.Buffer{valid}, []arrow.ArrayData{whole.Data()}, nulls, 0)
	defer data.Release()
	parent := array.NewStructData(data)
	defer parent.Release()
	c.top = array.NewSlice(parent, int64(before), int64(before+rows))
	c.leaf = c.top.(*array.Struct).Field(0)
	c.leaf.Retain()
}

func (c *genColumn) release() {
	c.leaf.Release()
	c.top.Release()
}

// value makes a raw value of a type: *big.Int for what is stored as integers,
// float64, or []byte.
func (g *gen) value(typ arrow.DataType) any {
	switch typ := typ.(type) {
	case *arrow.BooleanType:
		return big.NewInt(int64(g.IntN(2)))
	case *arrow.Float16Type:
		return float64(float16.New(float32(g.float())).Float32())
	case *arrow.Float32Type:
		return float64(float32(g.float()))
	case *arrow.Float64Type:
		return g.float()
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType:
		return []byte(g.text())
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.BinaryViewType:
		return pick(g, []byte(g.text()), []byte{0xff, byte(g.IntN(3))})
	case *arrow.FixedSizeBinaryType:
		return []byte{pick[byte](g, 0, 'a', 0xff), byte(g.IntN(3))}
	case *arrow.Date32Type:
		return pick(g, big.NewInt(int64(g.IntN(5)-2)), big.NewInt(19000+int64(g.IntN(3))), big.NewInt(math.MinInt32))
	case *arrow.Date64Type:
		return big.NewInt((19000 + int64(g.IntN(5)-2)) * 86400000)
	case *arrow.Time32Type, *arrow.Time64Type:
		unit := int64(typ.(arrow.TemporalWithUnit).TimeUnit().Multiplier())
		return big.NewInt(pick(g, 0, 1, int64(43200e9)/unit, int64(g.IntN(5)), int64(86400e9)/unit-1))
	case *arrow.TimestampType:
		unit := int64(typ.Unit.Multiplier())
		near := int64(1706702400)*(int64(1e9)/unit) + int64(g.IntN(5)-2)
		return big.NewInt(pick(g, 0, -1, 1, near, near, int64(g.IntN(4000)-2000), math.MinInt64, math.MaxInt64))
	case arrow.DecimalType:
		most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(typ.GetPrecision())), nil)
		most.Sub(most, big.NewInt(1))
		return pick(g, big.NewInt(int64(g.IntN(4001)-2000)), big.NewInt(int64(g.IntN(5)-2)*1000), most, new(big.Int).Neg(most))
	case arrow.FixedWidthDataType:
		return g.integer(typ)
	}
	panic(typ)
}

func (g *gen) integer(typ arrow.FixedWidthDataType) *big.Int {
	bits := typ.BitWidth()
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(bits))
	if !arrow.IsUnsignedInteger(typ.ID()) {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	high.Sub(high, big.NewInt(1))
	small := big.NewInt(int64(g.IntN(7) - 3))
	choices := []*big.Int{small, small, low, high, new(big.Int).Sub(high, big.NewInt(1)), big.NewInt(1<<53 + int64(g.IntN(3)) - 1), big.NewInt(1<<24 + 1)}
	v := pick(g, choices...)
	if v.Cmp(low) < 0 || v.Cmp(high) > 0 {
		return new(big.Int).Abs(small)
	}
	return v
}

func (g *gen) float() float64 {
	return pick(g, 0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1, -1, 0.5, 0.1, 0.99, 2, 1<<24+1, 1<<53, 1<<53+2,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.MaxFloat32, float64(g.IntN(9)-4)/4)
}

func (g *gen) text() string {
	return pick(g, "", "a", "ab", "abc", "b", "Z", "é", "zh-cn", "\x00", "a\x00", "abcdefghijklmnopqrstuvwxyz", "😀")
}

// appendValue appends a raw value and returns what it means.
func appendValue(b array.Builder, raw any) val {
	switch v := raw.(type) {
	case []byte:
		switch b := b.(type) {
		case *array.StringBuilder:
			b.Append(string(v))
		case *array.LargeStringBuilder:
			b.Append(string(v))
		case *array.StringViewBuilder:
			b.Append(string(v))
		case *array.BinaryBuilder: // and large
			b.Append(v)
		case *array.BinaryViewBuilder:
			b.Append(v)
		case *array.FixedSizeBinaryBuilder:
			b.Append(v)
		}
		return val{text: v, isTxt: true}
	case float64:
		switch b := b.(type) {
		case *array.Float16Builder:
			b.Append(float16.New(float32(v)))
		case *array.Float32Builder:
			b.Append(float32(v))
		case *array.Float64Builder:
			b.Append(v)
		}
		return double(v)
	}
	v := raw.(*big.Int)
	appendInt(b, v)
	return num(meaning(b.Type(), v))
}

func appendInt(b array.Builder, v *big.Int) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.Sign() != 0)
	case *array.Int8Builder:
		b.Append(int8(v.Int64()))
	case *array.Int16Builder:
		b.Append(int16(v.Int64()))
	case *array.Int32Builder:
		b.Append(int32(v.Int64()))
	case *array.Int64Builder:
		b.Append(v.Int64())
	case *array.Uint8Builder:
		b.Append(uint8(v.Uint64()))
	case *array.Uint16Builder:
		b.Append(uint16(v.Uint64()))
	case *array.Uint32Builder:
		b.Append(uint32(v.Uint64()))
	case *array.Uint64Builder:
		b.Append(v.Uint64())
	case *array.Decimal32Builder:
		b.Append(decimal.Decimal32(v.Int64()))
	case *array.Decimal64Builder:
		b.Append(decimal.Decimal64(v.Int64()))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(v))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(v))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.Int64()))
	case *array.Date64Builder:
		b.Append(arrow.Date64(v.Int64()))
	case *array.Time32Builder:
		b.Append(arrow.Time32(v.Int64()))
	case *array.Time64Builder:
		b.Append(arrow.Time64(v.Int64()))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.Int64()))
	default:
		panic(b)
	}
}

// meaning is the number that a stored integer stands for; temporal ones are
// nanoseconds.
func meaning(typ arrow.DataType, v *big.Int) *big.Rat {
	r := new(big.Rat).SetInt(v)
	times := func(n int64) *big.Rat { return r.Mul(r, new(big.Rat).SetInt64(n)) }
	switch typ := typ.(type) {
	case *arrow.Date32Type:
		return times(86400e9)
	case *arrow.Date64Type:
		return times(1e6)
	case arrow.TemporalWithUnit:
		return times(int64(typ.TimeUnit().Multiplier()))
	case arrow.DecimalType:
		for range typ.GetScale() {
			r.Quo(r, big.NewRat(10, 1))
		}
		for range -typ.GetScale() {
			times(10)
		}
	}
	return r
}

// literal makes a literal that is comparable with the column, near one of its
// values, as wire text and as a value.
func (g *gen) literal(c *genColumn) (string, val) {
	near := val{null: true}
	if len(c.vals) > 0 {
		near = c.vals[g.IntN(len(c.vals))]
	}
	switch typ := c.typ.(type) {
	case *arrow.BooleanType:
		yes := g.IntN(2)
		return strconv.FormatBool(yes == 1), num(big.NewRat(int64(yes), 1))
	case *arrow.Date32Type, *arrow.Date64Type:
		return g.instant(near, false, true)
	case *arrow.TimestampType:
		return g.instant(near, typ.TimeZone != "", false)
	case *arrow.Time32Type, *arrow.Time64Type:
		nanos := g.nanosNear(near) % 86400e9
		if nanos < 0 {
			nanos = -nanos
		}
		text := strconv.Quote(time.Unix(0, nanos).UTC().Format("15:04:05.999999999"))
		return pick(g, text, `{"$time":`+text+`}`), num(big.NewRat(nanos, 1))
	}
	if typ := c.typ.ID(); typ == arrow.FIXED_SIZE_BINARY || arrow.IsBaseBinary(typ) || typ == arrow.STRING_VIEW || typ == arrow.BINARY_VIEW {
		return g.textLiteral(near)
	}
	return g.numberLiteral(near, arrow.IsDecimal(c.typ.ID()))
}

func (g *gen) textLiteral(near val) (string, val) {
	text := []byte(g.text())
	if near.isTxt && g.IntN(2) == 0 {
		text = near.text
	}
	if g.IntN(3) == 0 || strings.ToValidUTF8(string(text), "") != string(text) {
		return `{"$bin":"` + base64.StdEncoding.EncodeToString(text) + `"}`, val{text: text, isTxt: true}
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		panic(err)
	}
	return string(quoted), val{text: text, isTxt: true}
}

func (g *gen) numberLiteral(near val, isDecimal bool) (string, val) {
	at := new(big.Rat)
	if near.num != nil && g.IntN(3) > 0 {
		at.Set(near.num)
	} else if f := g.float(); g.IntN(2) == 0 && !math.IsInf(f, 0) && !math.IsNaN(f) {
		at.SetFloat64(f)
	}
	switch g.IntN(5) {
	case 0: // a double near it, or a special one
		f, _ := at.Float64()
		f = pick(g, f, f, math.Nextafter(f, 0), math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1))
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return `{"$f":"` + strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+")) + `"}`, double(f)
		}
		text := strconv.FormatFloat(f, 'e', -1, 64)
		if isDecimal { // a decimal column takes the number as it is written
			written, _ := new(big.Rat).SetString(text)
			return text, num(written)
		}
		return text, double(f)
	case 1: // a decimal near it, possibly between two stored values
		text := at.FloatString(g.IntN(14))
		exact, _ := new(big.Rat).SetString(text)
		if isDecimal && g.IntN(2) == 0 {
			return strconv.Quote(text), num(exact)
		}
		return `{"$dec":"` + text + `"}`, num(exact)
	default: // an integer near it, possibly outside the column's range
		whole := new(big.Int).Quo(at.Num(), at.Denom())
		whole.Add(whole, pick(g, big.NewInt(0), big.NewInt(0), big.NewInt(1), big.NewInt(-1), big.NewInt(300)))
		return whole.String(), num(new(big.Rat).SetInt(whole))
	}
}

// nanosNear gives nanoseconds near a value, within the years that can be written.
func (g *gen) nanosNear(near val) int64 {
	nanos := int64(1706702400e9)
	if near.num != nil && near.num.IsInt() && near.num.Num().IsInt64() && near.num.Num().Int64() > -1e18 && near.num.Num().Int64() < 1e18 && g.IntN(4) > 0 {
		nanos = near.num.Num().Int64()
	}
	return nanos + pick[int64](g, 0, 0, 0, 1, -1, 1000, -1000, 1e6, 1e9, -1e9, 86400e9)
}

func (g *gen) instant(near val, zoned, isDate bool) (string, val) {
	nanos := g.nanosNear(near)
	if !zoned && g.IntN(3) == 0 || isDate && g.IntN(2) == 0 {
		day := time.Unix(0, nanos).UTC().Truncate(24 * time.Hour)
		text := strconv.Quote(day.Format("2006-01-02"))
		return pick(g, text, `{"$date":`+text+`}`), num(big.NewRat(day.UnixNano(), 1))
	}
	t, layout := time.Unix(0, nanos).UTC(), "2006-01-02T15:04:05.999999999"
	if zoned {
		t, layout = t.In(time.FixedZone("", pick(g, 0, 5400, -12600))), layout+"Z07:00"
	}
	text := strconv.Quote(t.Format(layout))
	if !isDate && g.IntN(2) == 0 {
		return text, num(big.NewRat(nanos, 1))
	}
	return `{"$ts":` + text + `}`, num(big.NewRat(nanos, 1))
}

// filter makes a filter over the columns, as wire text and for the oracle.
func (g *gen) filter(logic Logic, columns []*genColumn) (string, [][]oracleTerm) {
	var or [][]oracleTerm
	var texts []string
	for range 1 + g.IntN(3) {
		var and []oracleTerm
		var parts []string
		for range 1 + g.IntN(3) {
			text, t := g.term(logic, columns)
			parts, and = append(parts, text), append(and, t)
		}
		texts, or = append(texts, "["+strings.Join(parts, ",")+"]"), append(or, and)
	}
	return "[" + strings.Join(texts, ",") + "]", or
}

func (g *gen) term(logic Logic, columns []*genColumn) (string, oracleTerm) {
	t := oracleTerm{column: g.IntN(len(columns))}
	c := columns[t.column]
	t.op = pick(g, "=", "!=", "<", "<=", ">", ">=", "in", "not in", "is null", "is not null")
	if _, first := g.literal(c); first.isTxt && g.IntN(5) == 0 {
		t.op = "starts_with"
	}
	name := c.jsonName()
	switch t.op {
	case "is null", "is not null":
		return fmt.Sprintf(`[%s,%q]`, name, t.op), t
	case "in", "not in":
		var items []string
		for range g.IntN(5) {
			text, v := g.literal(c)
			items, t.values = append(items, text), append(t.values, v)
		}
		if g.IntN(4) == 0 {
			items, t.values = append(items, "null"), append(t.values, val{null: true})
		}
		return fmt.Sprintf(`[%s,%q,[%s]]`, name, t.op, strings.Join(items, ",")), t
	case "starts_with":
		prefix := pick(g, "", "a", "ab", "é", "b", "abcdefghijklmnopqr")
		t.values = []val{{text: []byte(prefix), isTxt: true}}
		return fmt.Sprintf(`[%s,%q,%q]`, name, t.op, prefix), t
	}
	text, v := g.literal(c)
	if logic == PyArrow && (t.op == "=" || t.op == "!=") && g.IntN(15) == 0 {
		text, v = "null", val{null: true}
	}
	t.values = []val{v}
	return fmt.Sprintf(`[%s,%q,%s]`, name, t.op, text), t
}
