package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// Bound is a filter that knows its columns' types. It is immutable and safe for
// concurrent use.
type Bound struct {
	leaves []leaf
	or     [][]boundTerm
}

// leaf is a column that the filter reads.
type leaf struct {
	path []string
	col  columnType
}

// boundTerm is a term made into a test.
type boundTerm struct {
	leaf   int  // index into Bound.leaves; −1: every value is null
	onNull bool // is the term true for a null?
	// test decides about values that are not null; nil if all of them have the
	// same answer, which is then onValue.
	test    matcher
	onValue bool
}

// Bind checks the filter against a schema and prepares it. The schema is that
// of the records that Eval will get: under the spark profile the mapped one.
//
// Errors are KindInvalid and say which term: an unknown column (listing the
// valid ones), a path through something that is no struct, a literal whose type
// cannot be compared with its column's (naming both), a malformed date.
func (f *Filter) Bind(schema *arrow.Schema, logic Logic) (*Bound, error) {
	return f.bind(schema, logic, false)
}

// BindWithMissing is Bind for one file of several: a column that this file's
// schema lacks is null in every row.
func (f *Filter) BindWithMissing(schema *arrow.Schema, logic Logic) (*Bound, error) {
	return f.bind(schema, logic, true)
}

// Paths returns the struct paths of the columns that Eval and MayMatch read,
// without the missing ones and those of the null type. A path that ends at a struct, list or map is only
// asked for null.
func (b *Bound) Paths() [][]string {
	out := make([][]string, len(b.leaves))
	for i, l := range b.leaves {
		out[i] = slices.Clone(l.path)
	}
	return out
}

func (f *Filter) bind(schema *arrow.Schema, logic Logic, missing bool) (*Bound, error) {
	b := &Bound{or: make([][]boundTerm, len(f.or))}
	for i, and := range f.or {
		for j, t := range and {
			bound, err := b.term(schema, logic, missing, t)
			if err != nil {
				return nil, invalid("term %d of conjunction %d: %v", j+1, i+1, err).WithColumn(t.column.String())
			}
			b.or[i] = append(b.or[i], bound)
		}
	}
	return b, b.fold(f, logic, foldFrom)
}

// foldFrom is from how many equalities of one column on they are one test. Fewer
// cost little, and apart each of them can be known to be absent.
const foldFrom = 32

// fold makes an "in" of the conjunctions that are one equality of the same column, if
// they are so many: a long OR costs as much as its tests are many, for every row group
// and every row.
func (b *Bound) fold(f *Filter, logic Logic, from int) error {
	values := make([][]Literal, len(b.leaves))
	single := func(i int) bool { // not "= null", which is no test
		return len(b.or[i]) == 1 && f.or[i][0].op == Eq && b.or[i][0].test != nil
	}
	for i := range b.or {
		if single(i) {
			leaf := b.or[i][0].leaf
			values[leaf] = append(values[leaf], f.or[i][0].values...)
		}
	}
	var or [][]boundTerm
	for i, and := range b.or {
		if !single(i) || len(values[and[0].leaf]) < from {
			or = append(or, and)
		}
	}
	for leaf := range values {
		if len(values[leaf]) < from {
			continue
		}
		for some := range slices.Chunk(values[leaf], maxSought) {
			test, err := newTest(b.leaves[leaf].col, logic, In, some)
			if err != nil {
				return err
			}
			or = append(or, []boundTerm{{leaf: leaf, test: test}})
		}
	}
	b.or = or
	return nil
}

func (b *Bound) term(schema *arrow.Schema, logic Logic, missing bool, t Term) (boundTerm, error) {
	path := t.column.Path
	if !t.column.IsPath() {
		path = []string{t.column.Name}
	}
	typ, err := resolve(schema, path, missing)
	if err != nil {
		return boundTerm{}, err
	}
	out := boundTerm{leaf: -1, onNull: trueForNull(t, logic), onValue: t.op == IsNotNull}
	values, null, err := splitNulls(t, logic)
	if err != nil {
		return out, err
	}
	if typ == nil {
		return out, nil
	}
	col := classify(typ)
	if err := checkComparable(col, t.op); err != nil {
		return out, err
	}
	out.leaf = b.addLeaf(leaf{path: path, col: col})
	if t.op.unary() {
		return out, nil
	}
	if !t.op.list() && null || t.op == NotIn && null && logic == Spark {
		return out, nil // comparing with null is never true
	}
	out.test, err = newTest(col, logic, t.op, values)
	return out, err
}

// trueForNull reports whether the term is true for a null value (wire.md §6).
func trueForNull(t Term, logic Logic) bool {
	hasNull := slices.ContainsFunc(t.values, Literal.IsNull)
	switch t.op {
	case IsNull:
		return true
	case In:
		return logic == PyArrow && hasNull
	case NotIn:
		return logic == PyArrow && !hasNull
	}
	return false
}

// splitNulls separates null from the values to compare with and refuses it
// where it has no meaning.
func splitNulls(t Term, logic Logic) (values []Literal, null bool, err error) {
	for _, v := range t.values {
		if v.IsNull() {
			null = true
		} else {
			values = append(values, v)
		}
	}
	if null && !t.op.list() && (logic == Spark || t.op != Eq && t.op != Ne) {
		return nil, false, fmt.Errorf("null cannot be compared with %q in %s logic; use is null or is not null", t.op, logic)
	}
	return values, null, nil
}

// newTest makes the test for values that are not null.
func newTest(col columnType, logic Logic, op Op, values []Literal) (matcher, error) {
	if col.family == famBytes {
		texts := make([]string, len(values))
		for i, v := range values {
			if v.kind != litString && v.kind != litBinary {
				return nil, mismatch(col, v)
			}
			texts[i] = v.text
		}
		return newBytesTest(op, texts), nil
	}
	if op == StartsWith {
		return nil, fmt.Errorf("starts_with needs a string or binary column; this one is of type %s", col.arrow)
	}
	numbers := make([]number, len(values))
	for i, v := range values {
		var err error
		if numbers[i], err = col.number(v); err != nil {
			if errors.Is(err, errMismatch) {
				err = mismatch(col, v)
			}
			return nil, err
		}
	}
	switch {
	case col.family == famFloat && op.list():
		return newFloatSet(col, logic, op == NotIn, numbers), nil
	case col.family == famFloat:
		return newFloatRange(col, logic, op, numbers[0]), nil
	case op.list():
		return newIntSet(col, logic, op == NotIn, numbers), nil
	}
	return newIntRange(col, logic, op, numbers[0]), nil
}

func mismatch(col columnType, v Literal) error {
	return fmt.Errorf("a column of type %s cannot be compared with the %s literal %s", col.arrow, v.kind, v)
}

// checkComparable refuses what no test can be made for: types that keep their
// nulls elsewhere than in a bitmap, and comparing anything without an order.
func checkComparable(col columnType, op Op) error {
	switch col.arrow.ID() {
	case arrow.SPARSE_UNION, arrow.DENSE_UNION, arrow.RUN_END_ENCODED, arrow.DICTIONARY:
		return fmt.Errorf("columns of type %s cannot be filtered", col.arrow)
	}
	if col.family == famOther && !op.unary() {
		return fmt.Errorf("columns of type %s can only be tested with is null and is not null", col.arrow)
	}
	return nil
}

func (b *Bound) addLeaf(l leaf) int {
	for i, have := range b.leaves {
		if slices.Equal(have.path, l.path) {
			return i
		}
	}
	b.leaves = append(b.leaves, l)
	return len(b.leaves) - 1
}

// resolve finds a column's type by walking structs; nil without an error means
// that all its values are null: the column is missing and may be, or it is of
// the null type.
func resolve(schema *arrow.Schema, path []string, missing bool) (arrow.DataType, error) {
	named, all := schema.FieldsByName, schema.Fields // all makes a list each time
	for depth, name := range path {
		found, _ := named(name)
		switch {
		case len(found) == 0 && missing:
			return nil, nil
		case len(found) == 0:
			return nil, unknownColumn(all(), path[:depth], name)
		case len(found) > 1:
			return nil, fmt.Errorf("%d columns are named %q, so the name is ambiguous", len(found), name)
		}
		typ := storageOf(found[0].Type)
		if typ.ID() == arrow.NULL {
			return nil, nil
		}
		if depth == len(path)-1 {
			return typ, nil
		}
		structure, ok := typ.(*arrow.StructType)
		if !ok {
			return nil, fmt.Errorf("%q is of type %s; a path can only step through structs", strings.Join(path[:depth+1], "."), typ)
		}
		named, all = structure.FieldsByName, structure.Fields
	}
	return nil, fmt.Errorf("the column path is empty")
}

func unknownColumn(fields []arrow.Field, parent []string, name string) error {
	const most = 50 // names in one message
	names := make([]string, 0, len(fields))
	for _, f := range fields[:min(len(fields), most)] {
		names = append(names, clip(f.Name))
	}
	if len(fields) > most {
		names = append(names, fmt.Sprintf("… (%d in all)", len(fields)))
	}
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.Name
	}
	then := ";"
	if near := source.Nearest(name, all); near != "" {
		then = fmt.Sprintf(": did you mean %q?", near)
	}
	list := strings.Join(names, ", ")
	if len(parent) > 0 {
		return fmt.Errorf("struct %q has no field %q%s its fields are: %s", strings.Join(parent, "."), clip(name), then, list)
	}
	return fmt.Errorf("there is no column %q%s the columns are: %s", clip(name), then, list)
}

// columnError is an internal error: Eval got a record that is not of the schema
// that the filter was bound to.
func columnError(path []string, format string, args ...any) error {
	return source.Errorf(source.KindInternal, "filter", format, args...).WithColumn(strings.Join(path, "."))
}
