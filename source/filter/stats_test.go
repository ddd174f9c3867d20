package filter

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"
)

// statsOf computes a column's statistics as a writer would: NaN and nulls left
// out, then made poorer in the ways that files are poor.
func (g *gen) statsOf(t *testing.T, c *genColumn) (Stats, bool) {
	s := Stats{Rows: int64(len(c.vals)), Exact: true}
	t.Helper()
	lo, hi := -1, -1
	for i, v := range c.vals {
		switch {
		case v.null:
			s.Nulls++
		case v.nan():
		default:
			if lo < 0 || order(v, c.vals[lo]) < 0 {
				lo = i
			}
			if hi < 0 || order(v, c.vals[hi]) > 0 {
				hi = i
			}
		}
	}
	if lo >= 0 {
		s.Min, s.Max = g.bound(t, c, lo), g.bound(t, c, hi)
	}
	switch g.IntN(8) {
	case 0:
		s.Min = nil
	case 1:
		s.Max = nil
	case 2:
		s.Nulls = -1
	case 3:
		s.Exact = false
		if lo >= 0 && c.vals[lo].isTxt && len(c.vals[lo].text) > 1 && len(c.vals[hi].text) > 1 && c.vals[hi].text[0] < 0xff {
			s.Min = scalar.NewStringScalar(string(c.vals[lo].text[:1]))
			s.Max = scalar.NewStringScalar(string([]byte{c.vals[hi].text[0] + 1}))
		}
	case 4:
		return Stats{}, false
	}
	return s, true
}

// bound is one value as a scalar, or nil where arrow-go has none for the type.
func (g *gen) bound(t *testing.T, c *genColumn, row int) scalar.Scalar {
	switch c.leaf.(type) {
	case *array.StringView, *array.BinaryView:
		return scalar.NewStringScalar(string(c.vals[row].text))
	case *array.Decimal32, *array.Decimal64:
		typ := c.typ.(arrow.DecimalType)
		scaled := new(big.Rat).Set(c.vals[row].num)
		for range typ.GetScale() {
			scaled.Mul(scaled, big.NewRat(10, 1))
		}
		return scalar.NewDecimal128Scalar(decimal128.FromBigInt(scaled.Num()), &arrow.Decimal128Type{Precision: 38, Scale: typ.GetScale()})
	case *array.Float64:
		if v := c.leaf.(*array.Float64).Value(row); v == 0 && g.IntN(2) == 0 {
			return scalar.NewFloat64Scalar(-v) // a zero bound stands for both zeros
		}
	}
	s, err := scalar.GetScalar(c.leaf, row)
	if err != nil {
		t.Fatal(err)
	}
	if held, ok := s.(scalar.BinaryScalar); ok { // refers to the column's memory
		copied := scalar.NewBinaryScalar(memory.NewBufferBytes(slices.Clone(held.Data())), arrow.BinaryTypes.Binary)
		held.Release()
		return copied
	}
	return s
}

// toSparkMicros maps a column as the spark profile does: finer and coarser
// timestamps become µs, rounded down. Other types are left alone.
func toSparkMicros(c *genColumn, mem memory.Allocator) *genColumn {
	typ, ok := c.typ.(*arrow.TimestampType)
	if !ok || typ.Unit != arrow.Nanosecond || len(c.path) > 1 {
		c.leaf.Retain()
		c.top.Retain()
		return c
	}
	out := &genColumn{typ: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: typ.TimeZone}, path: c.path}
	b := array.NewTimestampBuilder(mem, out.typ.(*arrow.TimestampType))
	defer b.Release()
	for _, v := range c.vals {
		if v.null {
			b.AppendNull()
			out.vals = append(out.vals, v)
			continue
		}
		micros := new(big.Int).Div(v.num.Num(), big.NewInt(1000))
		out.vals = append(out.vals, appendValue(b, micros))
	}
	out.leaf = b.NewArray()
	out.leaf.Retain()
	out.top = out.leaf
	return out
}

func TestMayMatchNeverSkipsARowThatEvalKeeps(t *testing.T) {
	const rounds, filters = 1000, 6
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	skipped, empty := 0, 0
	for seed := range uint64(rounds) {
		g := &gen{rand.New(rand.NewPCG(2, seed)), mem}
		rows := pick(g, 1, 2, 5, 20)
		native := g.column("c", genTypes[int(seed)%len(genTypes)], rows)
		stats, known := g.statsOf(t, native)
		logic := pick(g, PyArrow, Spark)
		mapped := native
		if logic == Spark {
			mapped = toSparkMicros(native, mem)
			native.release()
		}
		rec := record([]*genColumn{mapped}, rows)
		for range filters {
			text, _ := g.filter(logic, []*genColumn{mapped})
			f := mustParse(t, text)
			bound, err := f.Bind(rec.Schema(), logic)
			if err != nil {
				t.Fatal(err)
			}
			got, err := bound.Eval(context.Background(), rec, mem)
			if err != nil {
				t.Fatal(err)
			}
			of := func(path []string) (Stats, bool) {
				if !slices.Equal(path, mapped.path) {
					t.Fatalf("asked for %v", path)
				}
				return stats, known
			}
			may := bound.MayMatch(of)
			if err := bound.fold(f, logic, 1); err != nil {
				t.Fatal(err)
			}
			if folded := bound.MayMatch(of); folded != may {
				t.Fatalf("seed %d, %s logic: %s may match is %v, folded %v, with %s", seed, logic, text, may, folded, showStats(stats))
			}
			hits := trues(got)
			if !may && hits > 0 {
				t.Fatalf("seed %d, %s logic: %s keeps %d rows of %v, but was skipped with %s", seed, logic, text, hits, mapped.leaf, showStats(stats))
			}
			if !may {
				skipped++
			}
			if hits == 0 {
				empty++
			}
			got.Release()
		}
		rec.Release()
		mapped.release()
	}
	// A pruner that never skips is sound too, and useless.
	if share := float64(skipped) / float64(empty); share < 0.6 {
		t.Errorf("only %.0f %% of the groups without a wanted row were skipped", 100*share)
	}
}

func trues(a *array.Boolean) (n int) {
	for i := range a.Len() {
		if a.Value(i) {
			n++
		}
	}
	return n
}

func showStats(s Stats) string {
	return fmt.Sprintf("min %v max %v nulls %d rows %d exact %v", s.Min, s.Max, s.Nulls, s.Rows, s.Exact)
}

// Each line is one of the traps of pruning.
func TestMayMatch(t *testing.T) {
	i64 := func(v int64) scalar.Scalar { return scalar.NewInt64Scalar(v) }
	f64 := func(v float64) scalar.Scalar { return scalar.NewFloat64Scalar(v) }
	str := func(v string) scalar.Scalar { return scalar.NewStringScalar(v) }
	nanos := &arrow.TimestampType{Unit: arrow.Nanosecond}
	ts := func(v int64) scalar.Scalar { return scalar.NewTimestampScalar(arrow.Timestamp(v), nanos) }
	long, double, text := arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String
	for _, c := range []struct {
		name   string
		typ    arrow.DataType
		filter string
		logic  Logic
		stats  Stats
		want   bool
	}{
		{"below the minimum", long, `[["c","<",5]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(9), Exact: true}, false},
		{"at the minimum", long, `[["c","<=",5]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(9), Exact: true}, true},
		{"between two integers", long, `[["c","=",6.5]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(9), Exact: true}, false},
		{"an unknown maximum", long, `[["c",">",100]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Exact: true}, true},
		{"no bounds at all", long, `[["c",">",100]]`, PyArrow, Stats{Rows: 9, Nulls: -1}, true},
		{"beyond the type, without any statistics", arrow.PrimitiveTypes.Int8, `[["c","=",300]]`, PyArrow, Stats{Nulls: -1}, false},
		{"bounds in the wrong order are worthless", arrow.PrimitiveTypes.Uint8, `[["c","=",1]]`, PyArrow,
			Stats{Rows: 9, Min: scalar.NewUint8Scalar(200), Max: scalar.NewUint8Scalar(3), Exact: true}, true},
		{"one value and !=", long, `[["c","!=",5]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(5), Exact: true}, false},
		{"one value, maybe truncated, and !=", long, `[["c","!=",5]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(5)}, true},
		{"one float and !=: there may be NaN", double, `[["c","!=",5]]`, PyArrow, Stats{Rows: 9, Min: f64(5), Max: f64(5), Exact: true}, true},
		{"one float and not in", double, `[["c","not in",[5]]]`, Spark, Stats{Rows: 9, Min: f64(5), Max: f64(5), Exact: true}, true},
		{"floats above the maximum in pyarrow logic", double, `[["c",">",5]]`, PyArrow, Stats{Rows: 9, Min: f64(1), Max: f64(5), Exact: true}, false},
		{"floats above the maximum in spark logic: NaN is greater", double, `[["c",">",5]]`, Spark, Stats{Rows: 9, Min: f64(1), Max: f64(5), Exact: true}, true},
		{"= NaN in pyarrow logic", double, `[["c","=",{"$f":"nan"}]]`, PyArrow, Stats{Rows: 9, Min: f64(1), Max: f64(5), Exact: true}, false},
		{"= NaN in spark logic", double, `[["c","=",{"$f":"nan"}]]`, Spark, Stats{Rows: 9, Min: f64(1), Max: f64(5), Exact: true}, true},
		{"NaN as a bound says nothing", double, `[["c","=",7]]`, PyArrow, Stats{Rows: 9, Min: f64(math.NaN()), Max: f64(5), Exact: true}, false},
		{"NaN as both bounds", double, `[["c","=",7]]`, PyArrow, Stats{Rows: 9, Min: f64(math.NaN()), Max: f64(math.NaN()), Exact: true}, true},
		{"-0.0 within a bound of 0.0", double, `[["c","=",{"$f":"-0.0"}]]`, PyArrow, Stats{Rows: 9, Min: f64(0), Max: f64(5), Exact: true}, true},
		{"0.0 within a bound of -0.0", double, `[["c",">=",0.0]]`, PyArrow, Stats{Rows: 9, Min: f64(-5), Max: f64(math.Copysign(0, -1)), Exact: true}, true},
		{"a truncated minimum still bounds", text, `[["c","<","ab"]]`, PyArrow, Stats{Rows: 9, Min: str("b"), Max: str("d")}, false},
		{"equal to a truncated minimum", text, `[["c","=","abc"]]`, PyArrow, Stats{Rows: 9, Min: str("ab"), Max: str("ac")}, true},
		{"a prefix of the minimum", text, `[["c","starts_with","ab"]]`, PyArrow, Stats{Rows: 9, Min: str("abc"), Max: str("x"), Exact: true}, true},
		{"a prefix above the maximum", text, `[["c","starts_with","ab"]]`, PyArrow, Stats{Rows: 9, Min: str("a"), Max: str("aa"), Exact: true}, false},
		{"a prefix below the minimum", text, `[["c","starts_with","ab"]]`, PyArrow, Stats{Rows: 9, Min: str("ac"), Max: str("x"), Exact: true}, false},
		{"nothing is below the empty string", text, `[["c","<",""]]`, PyArrow, Stats{Rows: 9, Nulls: -1}, false},
		{"a set around the bounds", text, `[["c","in",["a","z"]]]`, PyArrow, Stats{Rows: 9, Min: str("b"), Max: str("y"), Exact: true}, false},
		{"is null without nulls", long, `[["c","is null"]]`, PyArrow, Stats{Rows: 9, Nulls: 0}, false},
		{"is null with an unknown count", long, `[["c","is null"]]`, PyArrow, Stats{Rows: 9, Nulls: -1}, true},
		{"is not null with nulls only", long, `[["c","is not null"]]`, PyArrow, Stats{Rows: 9, Nulls: 9}, false},
		{"nulls only and =", long, `[["c","=",1]]`, PyArrow, Stats{Rows: 9, Nulls: 9}, false},
		{"nulls only and not in", long, `[["c","not in",[1]]]`, PyArrow, Stats{Rows: 9, Nulls: 9}, true},
		{"nulls only and not in, spark", long, `[["c","not in",[1]]]`, Spark, Stats{Rows: 9, Nulls: 9}, false},
		{"one value, some nulls and not in", long, `[["c","not in",[5]]]`, PyArrow, Stats{Rows: 9, Nulls: 1, Min: i64(5), Max: i64(5), Exact: true}, true},
		{"one value, no nulls and not in", long, `[["c","not in",[5]]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(5), Exact: true}, false},
		{"nanoseconds mapped to µs round down", &arrow.TimestampType{Unit: arrow.Microsecond}, `[["c","=","1970-01-01T00:00:00.000001"]]`, Spark,
			Stats{Rows: 9, Min: ts(1500), Max: ts(1999), Exact: true}, true},
		{"also when bound to the native type", nanos, `[["c","=","1970-01-01T00:00:00.000001"]]`, Spark, Stats{Rows: 9, Min: ts(1500), Max: ts(1999), Exact: true}, true},
		{"but not in pyarrow logic", nanos, `[["c","=","1970-01-01T00:00:00.000001"]]`, PyArrow, Stats{Rows: 9, Min: ts(1500), Max: ts(1999), Exact: true}, false},
		{"and still bound", nanos, `[["c","=","1970-01-01T00:00:00.000002"]]`, Spark, Stats{Rows: 9, Min: ts(1500), Max: ts(1999), Exact: true}, false},
		{"uint64 mapped to decimal", &arrow.Decimal128Type{Precision: 20}, `[["c","=",7]]`, Spark,
			Stats{Rows: 9, Min: scalar.NewUint64Scalar(8), Max: scalar.NewUint64Scalar(math.MaxUint64), Exact: true}, false},
		{"times mapped to nanoseconds", long, `[["c","=",2000]]`, Spark,
			Stats{Rows: 9, Min: scalar.NewTime64Scalar(2, arrow.FixedWidthTypes.Time64us), Max: scalar.NewTime64Scalar(3, arrow.FixedWidthTypes.Time64us), Exact: true}, true},
		{"bounds of an unrelated type are worthless", long, `[["c","=",7]]`, PyArrow, Stats{Rows: 9, Min: str("8"), Max: str("9"), Exact: true}, true},
		{"one conjunction of two", long, `[[["c","<",0]],[["c","=",6]]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(9), Exact: true}, true},
		{"one term of two", long, `[["c","=",6],["c",">",20]]`, PyArrow, Stats{Rows: 9, Min: i64(5), Max: i64(9), Exact: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: c.typ, Nullable: true}}, nil)
			b, err := mustParse(t, c.filter).Bind(schema, c.logic)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.MayMatch(func([]string) (Stats, bool) { return c.stats, true }); got != c.want {
				t.Errorf("%s with %s: got %v, want %v", c.filter, showStats(c.stats), got, c.want)
			}
		})
	}
}

func TestNestedColumnsHaveNoStatistics(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: arrow.ListOf(arrow.PrimitiveTypes.Int8), Nullable: true}}, nil)
	b, err := mustParse(t, `[["c","is null"]]`).Bind(schema, PyArrow)
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	if !b.MayMatch(func([]string) (Stats, bool) { asked = true; return Stats{Rows: 9}, true }) || asked {
		t.Error("a list column was pruned by its elements' statistics")
	}
}

func TestEvalOfNestedColumnsAsksForNull(t *testing.T) {
	typ := arrow.ListOf(arrow.PrimitiveTypes.Int8)
	if got := evalRows(t, typ, `[[1],null,[]]`, `[["c","is null"]]`, PyArrow); got != "-+-" {
		t.Error(got)
	}
	if got := evalRows(t, arrow.StructOf(arrow.Field{Name: "a", Type: typ, Nullable: true}), `[{"a":null},null]`, `[["c","is not null"]]`, Spark); got != "+-" {
		t.Error(got)
	}
}

func TestStatisticsAreConvertedOnceForAllTerms(t *testing.T) {
	typ := &arrow.Decimal128Type{Precision: 20, Scale: 2}
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: typ}}, nil)
	stats := Stats{Rows: 9, Min: scalar.NewInt64Scalar(5), Max: scalar.NewInt64Scalar(9), Exact: true}
	allocated := func(terms int) float64 {
		b, err := mustParse(t, orOf(terms, `[["c",">",%d],["c","<",0]]`)).Bind(schema, PyArrow)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(10, func() {
			if b.MayMatch(func([]string) (Stats, bool) { return stats, true }) {
				t.Error("the group was kept")
			}
		})
	}
	if few, many := allocated(1), allocated(1000); many > few {
		t.Errorf("%v allocations for one conjunction, %v for a thousand", few, many)
	}
}
