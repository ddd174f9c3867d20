package scantest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// Logic is one of the contract's two.
type Logic uint8

// The logics of the wire.
const (
	PyArrow Logic = iota
	Spark
)

// truth is one of SQL's three, in an order in which AND is the least and OR the
// greatest.
type truth int8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// Term is a condition as it is on the wire.
type Term struct {
	Path   []string
	Op     string
	Type   arrow.DataType // of the column
	Values []Value
	Raw    []json.RawMessage // what the values were
	cell   func(i int) Value
}

// Conditions reads filters of the wire for a table: OR of ANDs. Filters that the
// contract refuses give an ErrRefused.
func Conditions(batch arrow.RecordBatch, filters json.RawMessage, logic Logic) ([][]Term, error) {
	var or [][][]json.RawMessage
	if err := json.Unmarshal(filters, &or); err != nil {
		return nil, err
	}
	out := make([][]Term, len(or))
	for i, and := range or {
		for _, parts := range and {
			t, err := condition(batch, parts, logic)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], t)
		}
	}
	return out, nil
}

func condition(batch arrow.RecordBatch, parts []json.RawMessage, logic Logic) (Term, error) {
	var t Term
	if err := json.Unmarshal(parts[0], &t.Path); err != nil {
		t.Path = []string{""}
		if err := json.Unmarshal(parts[0], &t.Path[0]); err != nil {
			return t, err
		}
	}
	if err := json.Unmarshal(parts[1], &t.Op); err != nil {
		return t, err
	}
	var err error
	if t.Type, t.cell, err = columnAt(batch, t.Path); err != nil {
		return t, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(parts) == 2 {
		return t, nil
	}
	// A column of nulls can be compared with everything, and nothing comes of it.
	if t.Type.ID() == arrow.NULL {
		return t, nil
	}
	items := parts[2:]
	if t.Op == "in" || t.Op == "not in" {
		if err := json.Unmarshal(parts[2], &items); err != nil {
			return t, err
		}
	}
	c := classOf(t.Type)
	if c == classNone {
		return t, fmt.Errorf("%w: %s cannot be compared", ErrRefused, t.Type)
	}
	t.Raw = items
	for _, item := range items {
		v, err := parse(item, c)
		if err != nil {
			return t, err
		}
		t.Values = append(t.Values, v)
	}
	if logic == Spark && len(items) == 1 && t.Values[0].Null && t.Op != "in" && t.Op != "not in" {
		return t, fmt.Errorf("%w: a comparison with null", ErrRefused)
	}
	return t, nil
}

// Has says whether some literal is so.
func (t Term) Has(is func(v Value) bool) bool { return slices.ContainsFunc(t.Values, is) }

// Doubles says whether some literal is a double of the wire.
func (t Term) Doubles() bool {
	return slices.ContainsFunc(t.Raw, func(raw json.RawMessage) bool {
		return raw[0] != '"' && raw[0] != '{' && strings.ContainsAny(string(raw), ".eE") || strings.HasPrefix(string(raw), `{"$f"`)
	})
}

// Rows are the rows of a table that the conditions keep.
func Rows(rows int, or [][]Term, logic Logic) []int {
	out := []int{}
	for i := range rows {
		result := no
		for _, and := range or {
			all := yes
			for _, t := range and {
				all = min(all, t.decide(logic, t.cell(i)))
			}
			result = max(result, all)
		}
		if result == yes {
			out = append(out, i)
		}
	}
	return out
}

func (t Term) decide(logic Logic, v Value) truth {
	switch t.Op {
	case "is null":
		return truthOf(v.Null)
	case "is not null":
		return truthOf(!v.Null)
	case "in":
		return t.member(logic, v)
	case "not in":
		return yes - t.member(logic, v)
	case "starts_with":
		if v.Null {
			return unknown
		}
		return truthOf(strings.HasPrefix(v.text, t.Values[0].text))
	}
	if v.Null || len(t.Values) == 0 {
		return unknown
	}
	return compare(logic, t.Op, v, t.Values[0])
}

// compare is one comparison by the contract's table: NaN is unequal to all in
// pyarrow's logic, equal to itself and greatest in SQL's.
func compare(logic Logic, op string, a, b Value) truth {
	if a.Null || b.Null {
		return unknown
	}
	if logic == PyArrow && (a.nan() || b.nan()) {
		return truthOf(op == "!=")
	}
	o := order(a, b)
	switch op {
	case "=", "==":
		return truthOf(o == 0)
	case "!=":
		return truthOf(o != 0)
	case "<":
		return truthOf(o < 0)
	case "<=":
		return truthOf(o <= 0)
	case ">":
		return truthOf(o > 0)
	case ">=":
		return truthOf(o >= 0)
	}
	panic(op)
}

func order(a, b Value) int {
	if a.rank() != b.rank() {
		return a.rank() - b.rank()
	}
	if a.num == nil || b.num == nil {
		return strings.Compare(a.text, b.text)
	}
	return a.num.Cmp(b.num)
}

// member is "in": two-valued in pyarrow's logic, where null is a value like
// others; three-valued in SQL's.
func (t Term) member(logic Logic, v Value) truth {
	hasNull := slices.ContainsFunc(t.Values, func(x Value) bool { return x.Null })
	switch {
	case v.Null && logic == PyArrow:
		return truthOf(hasNull)
	case v.Null:
		return unknown
	}
	for _, x := range t.Values {
		if compare(logic, "=", v, x) == yes {
			return yes
		}
	}
	if hasNull && logic == Spark {
		return unknown
	}
	return no
}
