package scan

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source/scan/scantest"
)

// deviation is a case in which pyarrow's answer is not the contract's.
type deviation struct {
	name string
	why  string
	// text is what pyarrow says when it fails; empty for wrong or other rows.
	text string
	// term says that a condition may be the cause; nil is any.
	term func(t scantest.Term) bool
}

// deviations is the whole list: what pyarrow answers otherwise than row by row
// evaluation does, and ours is right (wire.md §6). A difference that none of them
// explains fails the test.
var deviations = []deviation{
	{
		name: "types without kernels",
		why:  "pyarrow cannot compare float16, views, extension types and short decimals at all, nor filter a file that holds views; ours compares the value",
		text: `has no kernel matching input types .*(halffloat|_view|extension<|decimal(32|64)|dictionary)`,
	},
	{
		name: "integers of 64 bits and more",
		why:  "a literal of 2⁶³ or more cannot be written in pyarrow; the wire's integers are exact at any size",
		text: `int too large|PyLong is too large`,
	},
	{
		name: "decimals of another precision",
		why:  "pyarrow compares decimals only if a common precision fits, with integers never; ours compares the numbers",
		text: `Precision is not great enough|Decimal precision out of range|Rescaling Decimal value would cause data loss|Decimal value does not fit`,
	},
	{
		name: "integers cast to floats",
		why:  "pyarrow casts the column or the literal to the other's type, checked, and the query fails for values that are not exact; ours compares without a cast",
		text: `Integer value -?\d+ (not in range|is outside of the range exactly representable)`,
	},
	{
		name: "empty lists on texts",
		why:  "an empty list has the type null in pyarrow, which no text column takes; ours keeps nothing (in) or everything (not in)",
		text: `doesn't match type of values set: .* vs null`,
	},
	{
		name: "lists of several sorts of numbers",
		why:  "pyarrow infers a list's type from its first item",
		text: `int or Decimal object expected|Could not convert Decimal|does not fit into precision inferred`,
	},
	{
		name: "NaN in lists",
		why:  "pyarrow looks a NaN up by its bits, and finds none where it prunes by statistics; NaN is in no list (wire.md §6)",
		term: func(t scantest.Term) bool { return inFloats(t) && t.Has(scantest.Value.NaN) },
	},
	{
		name: "zeros in lists",
		why:  "pyarrow looks 0.0 and −0.0 up by their bits; they are equal, in lists too (wire.md §6)",
		term: func(t scantest.Term) bool {
			return (t.Op == "in" || t.Op == "not in") && (arrow.IsFloating(t.Type.ID()) || t.Doubles()) && t.Has(scantest.Value.Zero)
		},
	},
	{
		name: "float32 rounded in lists",
		why:  "pyarrow casts a list to float32 and finds the neighbour of a double; numbers are compared exactly",
		term: func(t scantest.Term) bool { return inFloats(t) && t.Type.ID() == arrow.FLOAT32 },
	},
	{
		name: "NaN lost by pruning",
		why:  "writers leave NaN out of the statistics, so that pyarrow skips groups whose NaN differ from the literal",
		term: func(t scantest.Term) bool { return arrow.IsFloating(t.Type.ID()) && (t.Op == "!=" || t.Op == "not in") },
	},
	{
		name: "decimals as doubles",
		why:  "pyarrow compares a decimal with a double as doubles, and rounds doubles in lists to the column's scale; ours compares with the decimal that was written",
		term: func(t scantest.Term) bool { return arrow.IsDecimal(t.Type.ID()) && t.Doubles() },
	},
}

// tally counts how often pyarrow agreed, and what explained the rest.
type tally struct {
	asked, agreed int
	used          map[string]int
}

func newTally() *tally { return &tally{used: make(map[string]int)} }

// compare judges pyarrow's own answer to a case.
func (y *tally) compare(c oracleCase, terms [][]scantest.Term, rows []int) {
	if c.asked.Error == "" && slices.Equal(c.asked.Rows, rows) {
		y.agreed++
		return
	}
	for _, d := range deviations {
		if d.explains(c.asked.Error, terms) {
			y.used[d.name]++
			return
		}
	}
	c.t.Errorf("%s: pyarrow has %d rows %v (%s), row by row there are %d: %v", c.name, len(c.asked.Rows), clipRows(c.asked.Rows), c.asked.Error, len(rows), clipRows(rows))
}

func clipRows(rows []int) []int { return rows[:min(len(rows), 20)] }

func (d deviation) explains(text string, terms [][]scantest.Term) bool {
	if (d.text == "") != (text == "") || d.text != "" && !regexp.MustCompile(d.text).MatchString(text) {
		return false
	}
	if d.term == nil {
		return true
	}
	for _, and := range terms {
		if slices.ContainsFunc(and, d.term) {
			return true
		}
	}
	return false
}

func (y *tally) report(t *testing.T) {
	t.Logf("%d cases, pyarrow agreed with %d", y.asked, y.agreed)
	var lines []string
	for name, n := range y.used {
		lines = append(lines, fmt.Sprintf("%5d × %s", n, name))
	}
	sort.Strings(lines)
	for _, line := range lines {
		t.Log(line)
	}
}

func inFloats(t scantest.Term) bool {
	return arrow.IsFloating(t.Type.ID()) && (t.Op == "in" || t.Op == "not in")
}
