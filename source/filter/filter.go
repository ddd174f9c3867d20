package filter

import (
	"bytes"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Logic says what null and NaN do in a filter (wire.md §6).
type Logic uint8

const (
	// PyArrow gives the rows for which pyarrow's expression is true: "not in"
	// keeps nulls, NaN equals nothing and differs from everything.
	PyArrow Logic = iota
	// Spark gives SQL's rows: no comparison, "in" or "not in" is true for a
	// null, NaN equals NaN and is greater than every number.
	Spark
)

// String returns the wire name of the logic.
func (l Logic) String() string {
	if l == Spark {
		return "spark"
	}
	return "pyarrow"
}

// ParseLogic reads a wire name. Any other text is KindInvalid.
func ParseLogic(name string) (Logic, error) {
	switch name {
	case "pyarrow":
		return PyArrow, nil
	case "spark":
		return Spark, nil
	}
	return PyArrow, source.Errorf(source.KindInvalid, "logic", "%q is not a logic", clip(name)).
		WithHint("use pyarrow or spark")
}

// Op is the operator of a term.
type Op uint8

// The operators of wire.md §6; "==" is read as Eq.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
	In
	NotIn
	StartsWith
	IsNull
	IsNotNull
)

var opNames = [...]string{"=", "!=", "<", "<=", ">", ">=", "in", "not in", "starts_with", "is null", "is not null"}

// String returns the operator as it is written canonically.
func (o Op) String() string { return opNames[o] }

// parseOp reads an operator; the spelling is exact.
func parseOp(text string) (Op, bool) {
	if text == "==" {
		return Eq, true
	}
	for i, name := range opNames {
		if name == text {
			return Op(i), true
		}
	}
	return 0, false
}

// unary reports whether the operator takes no value.
func (o Op) unary() bool { return o == IsNull || o == IsNotNull }

// list reports whether the operator takes a list of values.
func (o Op) list() bool { return o == In || o == NotIn }

// Term is one condition on one column. It is immutable.
type Term struct {
	column source.Column
	op     Op
	values []Literal // one, or the list of in/not in, or none
}

// String returns the term in a readable form: langdetect in ("de", null).
func (t Term) String() string {
	var b strings.Builder
	b.WriteString(t.column.String())
	b.WriteByte(' ')
	b.WriteString(t.op.String())
	switch {
	case t.op.unary():
	case t.op.list():
		b.WriteString(" (")
		for i, v := range t.values {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(v.String())
		}
		b.WriteByte(')')
	default:
		b.WriteByte(' ')
		b.WriteString(t.values[0].String())
	}
	return b.String()
}

// Filter is an OR of conjunctions of terms. It comes from Parse, is immutable
// and safe for concurrent use.
type Filter struct {
	or    [][]Term // of conjunctions: neither list is empty
	canon []byte   // canonical JSON, ≤ maxBytes
}

// Columns returns the columns that the filter is about, distinct, in the order
// of their first use.
func (f *Filter) Columns() []source.Column {
	var out []source.Column
	seen := map[string]bool{}
	for _, and := range f.or {
		for _, t := range and {
			key := string(appendColumn(nil, t.column))
			if !seen[key] {
				seen[key] = true
				out = append(out, t.column)
			}
		}
	}
	return out
}

// String returns the filter on one line, for people:
//
//	(langdetect = "zh-cn" and score > 0.5) or label is null
func (f *Filter) String() string {
	var b strings.Builder
	for i, and := range f.or {
		if i > 0 {
			b.WriteString(" or ")
		}
		group := len(f.or) > 1 && len(and) > 1
		if group {
			b.WriteByte('(')
		}
		for j, t := range and {
			if j > 0 {
				b.WriteString(" and ")
			}
			b.WriteString(t.String())
		}
		if group {
			b.WriteByte(')')
		}
	}
	return b.String()
}

// MarshalJSON returns the canonical JSON: always a list of lists, "=" for "==",
// numbers and times normalised. Filters of the same terms in the same order give
// the same bytes, and Parse of these gives such a filter again.
func (f *Filter) MarshalJSON() ([]byte, error) { return bytes.Clone(f.canon), nil }

// UnmarshalJSON is Parse, for filters inside a command or ticket.
func (f *Filter) UnmarshalJSON(raw []byte) error {
	parsed, err := Parse(raw)
	if err != nil {
		return err
	}
	*f = *parsed
	return nil
}

func appendFilter(b []byte, or [][]Term) []byte {
	b = append(b, '[')
	for i, and := range or {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		for j, t := range and {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendTerm(b, t)
		}
		b = append(b, ']')
	}
	return append(b, ']')
}

func appendTerm(b []byte, t Term) []byte {
	b = append(b, '[')
	b = appendColumn(b, t.column)
	b = append(b, ',')
	b = appendString(b, t.op.String())
	switch {
	case t.op.unary():
	case t.op.list():
		b = append(b, ",["...)
		for i, v := range t.values {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.appendJSON(b)
		}
		b = append(b, ']')
	default:
		b = append(b, ',')
		b = t.values[0].appendJSON(b)
	}
	return append(b, ']')
}

func appendColumn(b []byte, c source.Column) []byte {
	if !c.IsPath() {
		return appendString(b, c.Name)
	}
	b = append(b, '[')
	for i, p := range c.Path {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p)
	}
	return append(b, ']')
}
