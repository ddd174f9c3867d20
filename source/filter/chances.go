package filter

import (
	"context"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// Chances is what evidence has left of a filter for one row group: the
// conjunctions that some row of it may still satisfy. Each kind of evidence takes
// conjunctions away and never brings one back; when none is left, no row of the
// group is wanted. Leaves are named by their index in Bound.Paths.
//
// Evidence about different leaves is not combined row by row: a conjunction is
// gone as soon as its terms about one leaf cannot all be true together.
//
// It belongs to one goroutine.
type Chances struct {
	bound *Bound
	alive []bool
	left  int
	// noNulls: of leaves that are known to hold no null in this group.
	noNulls []bool
}

// Chances begins to collect evidence about one row group. Conjunctions that no
// row of any file satisfies are gone from the beginning.
func (b *Bound) Chances() *Chances {
	c := &Chances{bound: b, alive: make([]bool, len(b.or)), left: len(b.or), noNulls: make([]bool, len(b.leaves))}
	for i := range c.alive {
		c.alive[i] = true
	}
	c.narrow(func(and []boundTerm) bool {
		for i := range and {
			if and[i].leaf < 0 && !and[i].onNull {
				return false
			}
		}
		return true
	})
	return c
}

// Any reports whether a row of the group may be wanted.
func (c *Chances) Any() bool { return c.left > 0 }

// Conjunctions lists the conjunctions that are left, in order.
func (c *Chances) Conjunctions() []int {
	out := make([]int, 0, c.left)
	for i, alive := range c.alive {
		if alive {
			out = append(out, i)
		}
	}
	return out
}

// Type is the storage type that a leaf's terms were bound to; values are compared
// in it.
func (b *Bound) Type(leaf int) arrow.DataType { return b.leaves[leaf].col.arrow }

// narrow keeps the conjunctions for which may is true.
func (c *Chances) narrow(may func(and []boundTerm) bool) {
	for i, alive := range c.alive {
		if alive && !may(c.bound.or[i]) {
			c.alive[i] = false
			c.left--
		}
	}
}

// ByStats uses statistics of the whole group; known says false for a leaf of
// which nothing is known, and is asked once per leaf.
func (c *Chances) ByStats(known func(leaf int) (Stats, bool)) {
	stats := make([]Stats, len(c.bound.leaves))
	for i, l := range c.bound.leaves {
		stats[i] = Stats{Nulls: -1}
		if l.col.family == famOther {
			continue // a struct, list or map has no statistics of its own
		}
		if s, ok := known(i); ok {
			stats[i] = s
			c.noNulls[i] = c.noNulls[i] || s.Nulls == 0
		}
	}
	c.narrow(func(and []boundTerm) bool {
		for i := range and {
			if and[i].leaf >= 0 && !and[i].may(&stats[and[i].leaf]) {
				return false
			}
		}
		return true
	})
}

// MayMatch reports whether a part of the group, of which these statistics of one
// leaf are known, may hold a row that satisfies a conjunction's terms about that
// leaf. s, which keeps what was made of it, is not used for another leaf.
func (c *Chances) MayMatch(conjunction, leaf int, s *Stats) bool {
	and := c.bound.or[conjunction]
	for i := range and {
		if and[i].leaf == leaf && !and[i].may(s) {
			return false
		}
	}
	return true
}

// Tests reports whether a conjunction that is left compares the values of a leaf:
// only then can knowing its values take the conjunction away.
func (c *Chances) Tests(leaf int) bool {
	return c.anyTerm(leaf, func(t *boundTerm) bool { return t.test != nil && !c.nullSuffices(t) })
}

// Mentions reports whether a conjunction that is left is about a leaf at all.
func (c *Chances) Mentions(leaf int) bool {
	return c.anyTerm(leaf, func(*boundTerm) bool { return true })
}

func (c *Chances) anyTerm(leaf int, is func(*boundTerm) bool) bool {
	for i, alive := range c.alive {
		and := c.bound.or[i]
		for j := range and {
			if alive && and[j].leaf == leaf && is(&and[j]) {
				return true
			}
		}
	}
	return false
}

// nullSuffices reports whether a null, which the group may hold, makes the term
// true.
func (c *Chances) nullSuffices(t *boundTerm) bool { return t.onNull && !c.noNulls[t.leaf] }

// ByValues uses the fact that every value of a leaf in this group that is not
// null is among values, which are of the type that the filter was bound to. Values
// that no row has do no harm.
func (c *Chances) ByValues(ctx context.Context, leaf int, values arrow.Array) error {
	col := column{arr: storageArray(values)}
	if got := classify(col.arr.DataType()); !c.bound.leaves[leaf].col.sameStorage(got) {
		return columnError(c.bound.leaves[leaf].path, "the values are of type %s, the filter was bound to %s", got.arrow, c.bound.leaves[leaf].col.arrow)
	}
	words := (values.Len() + 63) / 64
	scratch := make([]uint64, 3*words)
	e := &evaluation{rows: values.Len(), columns: make([]column, len(c.bound.leaves))}
	e.live, e.want, e.hits = scratch[:words], scratch[words:2*words], scratch[2*words:]
	col.restrict(col.arr)
	e.columns[leaf] = col
	var stopped error
	c.narrow(func(and []boundTerm) bool {
		if stopped = ctx.Err(); stopped != nil {
			return true
		}
		about, onNull := 0, !c.noNulls[leaf]
		for w := range e.live {
			e.live[w] = ^uint64(0)
			if col.valid != nil {
				e.live[w] = col.valid[w]
			}
		}
		e.clearTail(e.live)
		some := values.Len() > 0
		for i := range and {
			if and[i].leaf != leaf {
				continue
			}
			about++
			onNull = onNull && and[i].onNull
			some = some && e.apply(&and[i])
		}
		return about == 0 || some || onNull
	})
	if stopped != nil {
		return source.AsError("filter", stopped)
	}
	return nil
}

// Value is one value that a term asks for, in the stored units of the type that
// the filter was bound to.
type Value struct {
	// Int is that of everything that is stored as an integer: numbers, unscaled
	// decimals, days, ticks of a time; else nil.
	Int *big.Int
	// Float is that of floats, never NaN or zero.
	Float float64
	// Bytes is that of strings and binaries if Int is nil and IsBytes is true.
	Bytes   string
	IsBytes bool
}

// Key tells the values of one leaf apart.
func (v Value) Key() string {
	switch {
	case v.Int != nil:
		return v.Int.String()
	case v.IsBytes:
		return v.Bytes
	}
	return strconv.FormatFloat(v.Float, 'g', -1, 64)
}

// maxSought bounds the values of one term that are looked up one by one.
const maxSought = 1000

// Sought lists values of a leaf such that, if none of them is in the group, some
// conjunction is gone. Nothing is listed if looking values up cannot help.
func (c *Chances) Sought(leaf int) []Value {
	var out []Value
	for i, alive := range c.alive {
		and := c.bound.or[i]
		for j := range and {
			if alive && and[j].leaf == leaf && !c.nullSuffices(&and[j]) {
				values, _ := and[j].sought()
				out = append(out, values...)
			}
		}
	}
	return out
}

// ByAbsence uses a lookup that knows of values that they are not in the group.
func (c *Chances) ByAbsence(leaf int, absent func(Value) bool) {
	c.narrow(func(and []boundTerm) bool {
		for i := range and {
			t := &and[i]
			if t.leaf != leaf || c.nullSuffices(t) {
				continue
			}
			if values, ok := t.sought(); ok && all(values, absent) {
				return false
			}
		}
		return true
	})
}

func all(values []Value, is func(Value) bool) bool {
	for _, v := range values {
		if !is(v) {
			return false
		}
	}
	return true
}

// sought lists the values that satisfy a term, if they are few and can be looked
// up by their bytes. NaN and zero cannot: they have several.
func (t *boundTerm) sought() ([]Value, bool) {
	switch test := t.test.(type) {
	case *intTest:
		return test.sought()
	case *floatTest:
		return test.sought()
	case *bytesTest:
		return test.sought()
	}
	return nil, false
}

func (t *intTest) sought() ([]Value, bool) {
	switch {
	case t.negate:
		return nil, false
	case !t.isSet && t.lo.Cmp(t.hi) == 0:
		return []Value{{Int: t.lo}}, true
	case !t.isSet || len(t.set) > maxSought:
		return nil, false
	}
	out := make([]Value, len(t.set))
	for i, v := range t.set {
		out[i] = Value{Int: v}
	}
	return out, true
}

func (t *floatTest) sought() ([]Value, bool) {
	switch {
	case t.negate || t.nan:
		return nil, false
	case !t.isSet && t.lo == t.hi && t.lo != 0:
		return []Value{{Float: t.lo}}, true
	case !t.isSet || len(t.set) > maxSought:
		return nil, false
	}
	out := make([]Value, 0, len(t.set))
	for v := range t.set {
		if v == 0 {
			return nil, false
		}
		out = append(out, Value{Float: v})
	}
	return out, true
}

func (t *bytesTest) sought() ([]Value, bool) {
	switch {
	case t.op == Eq:
		return []Value{{Bytes: t.operand, IsBytes: true}}, true
	case t.op != In || len(t.sorted) > maxSought:
		return nil, false
	}
	out := make([]Value, len(t.sorted))
	for i, v := range t.sorted {
		out[i] = Value{Bytes: v, IsBytes: true}
	}
	return out, true
}
