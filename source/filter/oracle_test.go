package filter

import (
	"bytes"
	"math"
	"math/big"
)

// The oracle decides row by row what wire.md §6 says, with rationals and SQL's
// three truth values. It shares no code with the package: values come from
// generate_test.go, which writes each one twice, into Arrow and as a val.

// val is one value or literal: null, a text, or a number (also of nanoseconds,
// and 0 and 1 for bools).
type val struct {
	null  bool
	text  []byte // if isText
	isTxt bool
	num   *big.Rat
	odd   float64 // NaN or an infinity, when num and text are unset
}

func num(r *big.Rat) val { return val{num: r} }

func double(f float64) val {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return val{odd: f}
	}
	return num(new(big.Rat).SetFloat64(f))
}

func (v val) nan() bool { return !v.null && !v.isTxt && v.num == nil && math.IsNaN(v.odd) }

// order compares two values of which none is null or, in pyarrow's logic, NaN.
func order(a, b val) int {
	rank := func(v val) int {
		switch {
		case v.nan():
			return 2
		case v.num == nil && v.odd > 0:
			return 1
		case v.num == nil:
			return -1
		}
		return 0
	}
	switch {
	case a.isTxt:
		return bytes.Compare(a.text, b.text)
	case rank(a) != rank(b):
		return rank(a) - rank(b)
	case a.num == nil:
		return 0
	}
	return a.num.Cmp(b.num)
}

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

// compare is one comparison, three-valued.
func compare(logic Logic, op string, a, b val) truth {
	if a.null || b.null {
		return unknown
	}
	if logic == PyArrow && (a.nan() || b.nan()) {
		return truthOf(op == "!=")
	}
	o := order(a, b)
	switch op {
	case "=":
		return truthOf(o == 0)
	case "!=":
		return truthOf(o != 0)
	case "<":
		return truthOf(o < 0)
	case "<=":
		return truthOf(o <= 0)
	case ">":
		return truthOf(o > 0)
	}
	return truthOf(o >= 0)
}

// member is "in", three-valued in SQL's logic, two-valued in pyarrow's.
func member(logic Logic, a val, list []val) truth {
	found := no
	for _, b := range list {
		switch {
		case logic == PyArrow && (a.null || b.null):
			if a.null && b.null {
				return yes
			}
		case compare(logic, "=", a, b) == yes:
			return yes
		case compare(logic, "=", a, b) == unknown:
			found = unknown
		}
	}
	if logic == Spark && a.null {
		return unknown // also for an empty list: wire.md says never true
	}
	return found
}

// oracleTerm is a term as the generator wrote it.
type oracleTerm struct {
	column int
	op     string
	values []val
}

func (t oracleTerm) decide(logic Logic, v val) truth {
	switch t.op {
	case "is null":
		return truthOf(v.null)
	case "is not null":
		return truthOf(!v.null)
	case "in":
		return member(logic, v, t.values)
	case "not in":
		return yes - member(logic, v, t.values)
	case "starts_with":
		if v.null {
			return unknown
		}
		return truthOf(bytes.HasPrefix(v.text, t.values[0].text))
	}
	return compare(logic, t.op, v, t.values[0])
}

// oracleRow is an OR of ANDs in Kleene's logic.
func oracleRow(logic Logic, or [][]oracleTerm, row func(column int) val) bool {
	result := no
	for _, and := range or {
		all := yes
		for _, t := range and {
			all = min(all, t.decide(logic, row(t.column)))
		}
		result = max(result, all)
	}
	return result == yes
}
