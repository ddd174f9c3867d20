package filter

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/scalar"
)

// BenchmarkMayMatch decides about 1,000 row groups, none of which holds a wanted
// row.
func BenchmarkMayMatch(b *testing.B) {
	const groups = 1_000
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "x", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	stats := make([]map[string]Stats, groups)
	for g := range stats {
		low, high := int64(4*g), int64(4*g+3)
		stats[g] = map[string]Stats{
			"id": {Rows: 2, Min: scalar.NewInt64Scalar(low), Max: scalar.NewInt64Scalar(high), Exact: true},
			"x":  {Rows: 2, Min: scalar.NewFloat64Scalar(float64(low)), Max: scalar.NewFloat64Scalar(float64(high)), Exact: true},
		}
	}
	in := func(column string, n int) string {
		return `[["` + column + `","in",` + orOf(n, "%d") + `]]`
	}
	for _, c := range []struct{ name, filter string }{
		{"1 equality", orOf(1, `[["id","=",%d]]`)},
		{"100 equalities", orOf(100, `[["id","=",%d]]`)},
		{"3200 equalities", orOf(3200, `[["id","=",%d]]`)},
		{"1000 pairs of terms", orOf(1000, `[["id",">",%d],["id","<",%d]]`)},
		{"1000 pairs of float terms", orOf(1000, `[["x",">",%d],["x","<",%d]]`)},
		{"in 5000 ints", in("id", 5000)},
		{"in 5000 floats", in("x", 5000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, err := Parse([]byte(c.filter))
			if err != nil {
				b.Fatal(err)
			}
			bound, err := f.Bind(schema, PyArrow)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for g := range stats {
					if bound.MayMatch(func(path []string) (Stats, bool) { s, ok := stats[g][path[0]]; return s, ok }) {
						b.Fatal("a row group was kept")
					}
				}
			}
		})
	}
}

// BenchmarkBind is done once for every file.
func BenchmarkBind(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	f, err := Parse([]byte(orOf(3200, `[["id","=",%d]]`)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := f.Bind(schema, PyArrow); err != nil {
			b.Fatal(err)
		}
	}
}
