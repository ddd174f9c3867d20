package filter

import (
	"maps"
	"math"
	"math/big"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// matcher is a term's test on values that are not null.
type matcher interface {
	// fill sets dst's bit i where want's bit i is set and row i satisfies the
	// test. Bits outside want are arbitrary.
	fill(dst, want []uint64, arr arrow.Array)
	// may reports whether a column with these statistics can hold a value that
	// satisfies the test. They are of one column, for all of its tests.
	may(s *Stats) bool
}

// intTest tests columns that store integers: ints, decimals, bools, dates,
// times and timestamps. It wants lo ≤ x ≤ hi, or x ∈ set, or the opposite.
type intTest struct {
	col    columnType
	logic  Logic
	lo, hi *big.Int   // lo > hi: no value
	set    []*big.Int // sorted, distinct; only if isSet
	isSet  bool
	negate bool
	loop   func(dst, want []uint64, arr arrow.Array)
}

func newIntRange(c columnType, logic Logic, op Op, v number) *intTest {
	t := &intTest{col: c, logic: logic, lo: c.min, hi: c.max}
	one := big.NewInt(1)
	none := func() { t.lo, t.hi = big.NewInt(1), new(big.Int) }
	if v.rat == nil {
		// Infinities lie outside every stored value; so does Spark's NaN, above
		// them. In pyarrow's logic nothing is equal to, below or above NaN.
		above := math.IsInf(v.special, 1) || math.IsNaN(v.special) && logic == Spark
		below := math.IsInf(v.special, -1)
		all := above && (op == Lt || op == Le) || below && (op == Gt || op == Ge)
		if !all {
			none()
		}
	} else {
		floor, whole := floorRat(v.rat)
		next := new(big.Int).Add(floor, one)
		ceil := next
		if whole {
			ceil = floor
		}
		switch op {
		case Eq, Ne:
			t.lo, t.hi = ceil, floor // empty when v is no integer
		case Lt:
			t.hi = new(big.Int).Sub(ceil, one)
		case Le:
			t.hi = floor
		case Gt:
			t.lo = next
		case Ge:
			t.lo = ceil
		}
	}
	t.negate = op == Ne
	// The loops work on stored types: the ends must fit.
	t.lo, t.hi = maxInt(t.lo, c.min), minInt(t.hi, c.max)
	if t.lo.Cmp(t.hi) > 0 {
		none()
	}
	t.loop = intLoop(t)
	return t
}

func newIntSet(c columnType, logic Logic, negate bool, values []number) *intTest {
	t := &intTest{col: c, logic: logic, isSet: true, negate: negate}
	for _, v := range values {
		if v.rat == nil || !v.rat.IsInt() {
			continue // equals no stored value
		}
		n := v.rat.Num()
		if n.Cmp(c.min) >= 0 && n.Cmp(c.max) <= 0 {
			t.set = append(t.set, n)
		}
	}
	slices.SortFunc(t.set, (*big.Int).Cmp)
	t.set = slices.CompactFunc(t.set, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	t.loop = intLoop(t)
	return t
}

func (t *intTest) fill(dst, want []uint64, arr arrow.Array) { t.loop(dst, want, arr) }

func (t *intTest) empty() bool {
	if t.isSet {
		return len(t.set) == 0
	}
	return t.lo.Cmp(t.hi) > 0
}

func (t *intTest) may(s *Stats) bool {
	lo, hi := s.ints(t.col, t.logic)
	if t.negate {
		// Every value is unwanted only if the whole span is.
		return !(s.Exact && lo != nil && hi != nil && t.covers(lo, hi))
	}
	return t.touches(lo, hi)
}

// covers reports whether the wanted values (before negation) include lo … hi.
func (t *intTest) covers(lo, hi *big.Int) bool {
	if t.isSet {
		return lo.Cmp(hi) == 0 && t.has(lo)
	}
	return t.lo.Cmp(lo) <= 0 && hi.Cmp(t.hi) <= 0
}

func (t *intTest) has(v *big.Int) bool {
	_, ok := slices.BinarySearchFunc(t.set, v, (*big.Int).Cmp)
	return ok
}

// touches reports whether the wanted values (before negation) include one of
// lo … hi; nil is unbounded.
func (t *intTest) touches(lo, hi *big.Int) bool {
	if t.empty() {
		return false
	}
	if !t.isSet {
		return (hi == nil || t.lo.Cmp(hi) <= 0) && (lo == nil || lo.Cmp(t.hi) <= 0)
	}
	i := 0
	if lo != nil {
		i, _ = slices.BinarySearchFunc(t.set, lo, (*big.Int).Cmp)
	}
	return i < len(t.set) && (hi == nil || t.set[i].Cmp(hi) <= 0)
}

// floatTest tests columns of floats. NaN is never inside lo … hi or the set;
// nan says whether it counts as inside (Spark's logic).
type floatTest struct {
	lo, hi float64 // lo > hi: no value
	set    map[float64]struct{}
	sorted []float64 // the set, for may
	isSet  bool
	nan    bool
	negate bool
	loop   func(dst, want []uint64, arr arrow.Array)
}

func newFloatRange(c columnType, logic Logic, op Op, v number) *floatTest {
	t := &floatTest{lo: math.Inf(-1), hi: math.Inf(1), negate: op == Ne}
	// NaN is the greatest value in Spark's logic and satisfies nothing but != in
	// pyarrow's.
	t.nan = logic == Spark && (op == Gt || op == Ge)
	switch {
	case v.rat != nil:
		t.narrow(op, v.rat)
	case math.IsNaN(v.special):
		// Every value is < NaN in Spark's logic; only NaN itself is = and >=.
		if logic != Spark || op != Lt && op != Le {
			t.lo, t.hi = 1, 0
		}
		t.nan = logic == Spark && op != Lt && op != Gt
	default:
		t.narrowToInf(op, v.special)
	}
	t.loop = floatLoop(c, t)
	return t
}

// narrow moves the ends to the doubles next to v, so that comparing with them
// says exactly what comparing with v would. -0.0 and 0.0 are equal in IEEE
// comparisons, so a zero end is both.
func (t *floatTest) narrow(op Op, v *big.Rat) {
	near, exact := v.Float64() // an infinity beyond the largest double
	below, above := near, near
	if !exact {
		if math.IsInf(near, 1) || !math.IsInf(near, -1) && new(big.Rat).SetFloat64(near).Cmp(v) > 0 {
			below = math.Nextafter(near, math.Inf(-1))
		} else {
			above = math.Nextafter(near, math.Inf(1))
		}
	}
	switch op {
	case Eq, Ne:
		t.lo, t.hi = above, below // empty when v is no double
	case Le:
		t.hi = below
	case Ge:
		t.lo = above
	case Lt:
		t.hi = below
		if exact {
			t.hi = math.Nextafter(below, math.Inf(-1))
		}
	case Gt:
		t.lo = above
		if exact {
			t.lo = math.Nextafter(above, math.Inf(1))
		}
	}
}

func (t *floatTest) narrowToInf(op Op, inf float64) {
	switch up := inf > 0; {
	case op == Eq || op == Ne || up && op == Ge || !up && op == Le:
		t.lo, t.hi = inf, inf
	case up && op == Gt || !up && op == Lt:
		t.lo, t.hi = 1, 0
	case up && op == Lt:
		t.hi = math.MaxFloat64
	case !up && op == Gt:
		t.lo = -math.MaxFloat64
	}
}

func newFloatSet(c columnType, logic Logic, negate bool, values []number) *floatTest {
	// Go's map keys are what wire.md §6 asks for: 0.0 and -0.0 are one key, and
	// looking up NaN never finds anything.
	t := &floatTest{isSet: true, negate: negate, set: map[float64]struct{}{}}
	for _, v := range values {
		switch {
		case v.rat != nil:
			if f, exact := v.rat.Float64(); exact {
				t.set[f] = struct{}{}
			}
		case math.IsNaN(v.special):
			t.nan = logic == Spark
		default:
			t.set[v.special] = struct{}{}
		}
	}
	t.sorted = slices.Sorted(maps.Keys(t.set))
	t.loop = floatLoop(c, t)
	return t
}

func (t *floatTest) fill(dst, want []uint64, arr arrow.Array) { t.loop(dst, want, arr) }

func (t *floatTest) may(s *Stats) bool {
	// Writers leave NaN out of the bounds, so NaN may always be there: nothing is
	// provable where NaN is wanted, nor (in both logics) for != and not in.
	if t.negate || t.nan {
		return true
	}
	lo, hi := s.floats()
	if t.isSet {
		i, _ := slices.BinarySearch(t.sorted, lo)
		return i < len(t.sorted) && t.sorted[i] <= hi
	}
	return t.lo <= t.hi && t.lo <= hi && lo <= t.hi
}

func maxInt(a, b *big.Int) *big.Int {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}

func minInt(a, b *big.Int) *big.Int {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}
