package filter

import (
	"math"
	"math/big"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/hubflight/hubflight/source/half"
)

// Stats are what is known of one leaf column in a row group or page.
//
// Whoever fills them leaves out what cannot be trusted: bounds from deprecated
// or wrongly ordered fields are nil, a missing null count is −1.
type Stats struct {
	// Nulls counts the rows in which the leaf is null, also because a struct
	// around it is; −1 is unknown.
	Nulls int64
	// Rows is the number of rows; 0 is unknown.
	Rows int64
	// Min and Max bound the values that are neither null nor NaN, in the
	// file's own Arrow type; nil is unknown. In spark logic the type may differ
	// from the bound one.
	Min, Max scalar.Scalar
	// Exact says that Min and Max are values of the column, not truncations.
	Exact bool

	// Min and Max as the terms compare them, converted once for all of them.
	converted      bool
	intLo, intHi   *big.Int // nil is unknown
	fracLo, fracHi float64  // an infinity is unknown
}

// ints are the bounds in the stored units of the leaf's column, nil if they are
// unknown or in the wrong order, and hence worthless.
func (s *Stats) ints(c columnType, logic Logic) (lo, hi *big.Int) {
	if !s.converted {
		s.converted = true
		lo, hi := statInt(c, logic, s.Min, false), statInt(c, logic, s.Max, true)
		if lo == nil || hi == nil || lo.Cmp(hi) <= 0 {
			s.intLo, s.intHi = lo, hi
		}
	}
	return s.intLo, s.intHi
}

// floats are the bounds of a column of floats, as ints.
func (s *Stats) floats() (lo, hi float64) {
	if !s.converted {
		s.converted = true
		lo, okLo := statFloat(s.Min)
		hi, okHi := statFloat(s.Max)
		if !okLo {
			lo = math.Inf(-1)
		}
		if !okHi {
			hi = math.Inf(1)
		}
		if lo > hi {
			lo, hi = math.Inf(-1), math.Inf(1)
		}
		s.fracLo, s.fracHi = lo, hi
	}
	return s.fracLo, s.fracHi
}

// MayMatch reports whether a group of rows with these statistics can hold a row
// that Eval keeps. It answers false only if none can; stats says false for a
// leaf of which nothing is known, and is asked once per leaf.
func (b *Bound) MayMatch(stats func(path []string) (Stats, bool)) bool {
	c := b.Chances()
	c.ByStats(func(leaf int) (Stats, bool) {
		if stats == nil {
			return Stats{}, false
		}
		return stats(b.leaves[leaf].path)
	})
	return c.Any()
}

func (t *boundTerm) may(s *Stats) bool {
	if t.onNull && s.Nulls != 0 {
		return true
	}
	if s.Rows > 0 && s.Nulls >= s.Rows {
		return false // nothing but nulls
	}
	if t.test == nil {
		return t.onValue
	}
	return t.test.may(s)
}

// statInt turns a bound into the stored units of the column that the term was
// bound to, or nil if it is unknown or the way there is. In spark logic that
// column may be the profile's mapping of the native one: finer timestamps are
// rounded down to µs, which keeps order, so that a mapped bound still bounds the
// mapped values.
func statInt(c columnType, logic Logic, s scalar.Scalar, isMax bool) *big.Int {
	s = storageScalar(s)
	if s == nil {
		return nil
	}
	from := classify(s.DataType())
	v := storedInt(s)
	if v == nil {
		return nil
	}
	switch {
	case from.family == famDecimal && c.family == famDecimal, from.family == famInt && c.family == famDecimal:
		rat := new(big.Rat).SetInt(v)
		rat.Mul(rat, pow10(int(c.scale)-int(from.scale)))
		if !rat.IsInt() {
			return nil
		}
		return rat.Num()
	case from.family == famTime && c.family == famInt && logic == Spark:
		return v.Mul(v, from.unit) // the profile gives times as nanoseconds
	case from.family != c.family || from.zoned != c.zoned:
		return nil
	case c.unit == nil:
		return v
	}
	nanos := v.Mul(v, from.unit)
	if logic == Spark && c.family == famTimestamp && !isMax {
		// Where the filter is bound to nanoseconds, the values may be compared
		// before or after the mapping: the minimum goes down, the maximum stays.
		nanos = floorTo(nanos, big.NewInt(int64(time.Microsecond)))
	}
	stored := floorTo(nanos, c.unit)
	if logic != Spark && stored.Cmp(nanos) != 0 {
		return nil
	}
	return stored.Div(stored, c.unit)
}

// floorTo returns the largest multiple of a unit that is not above v.
func floorTo(v, unit *big.Int) *big.Int {
	floor := new(big.Int).Div(v, unit) // Euclidean: rounds down
	return floor.Mul(floor, unit)
}

// storedInt returns the integer that a scalar of an integer-like type stores.
func storedInt(s scalar.Scalar) *big.Int {
	switch s := s.(type) {
	case *scalar.Boolean:
		if s.Value {
			return big.NewInt(1)
		}
		return new(big.Int)
	case *scalar.Int8:
		return big.NewInt(int64(s.Value))
	case *scalar.Int16:
		return big.NewInt(int64(s.Value))
	case *scalar.Int32:
		return big.NewInt(int64(s.Value))
	case *scalar.Int64:
		return big.NewInt(s.Value)
	case *scalar.Uint8:
		return big.NewInt(int64(s.Value))
	case *scalar.Uint16:
		return big.NewInt(int64(s.Value))
	case *scalar.Uint32:
		return big.NewInt(int64(s.Value))
	case *scalar.Uint64:
		return new(big.Int).SetUint64(s.Value)
	case *scalar.Decimal128:
		return s.Value.BigInt()
	case *scalar.Decimal256:
		return s.Value.BigInt()
	case *scalar.Date32:
		return big.NewInt(int64(s.Value))
	case *scalar.Date64:
		return big.NewInt(int64(s.Value))
	case *scalar.Time32:
		return big.NewInt(int64(s.Value))
	case *scalar.Time64:
		return big.NewInt(int64(s.Value))
	case *scalar.Timestamp:
		return big.NewInt(int64(s.Value))
	}
	return nil
}

// statFloat returns a bound of a float column. NaN as a bound says nothing. An
// integer bound (the file stores integers where the dataset has floats) counts
// if a double holds it exactly.
func statFloat(s scalar.Scalar) (float64, bool) {
	switch s := storageScalar(s).(type) {
	case nil:
		return 0, false
	case *scalar.Float16:
		v := float64(half.Float32(s.Value))
		return v, !math.IsNaN(v)
	case *scalar.Float32:
		return float64(s.Value), !math.IsNaN(float64(s.Value))
	case *scalar.Float64:
		return s.Value, !math.IsNaN(s.Value)
	default:
		if classify(s.DataType()).family != famInt {
			return 0, false
		}
		v, exact := new(big.Rat).SetInt(storedInt(s)).Float64()
		return v, exact
	}
}

func statBytes(s scalar.Scalar) ([]byte, bool) {
	b, ok := storageScalar(s).(scalar.BinaryScalar)
	if !ok || b.Buffer() == nil {
		return nil, false
	}
	return b.Data(), true
}

// storageScalar looks through extension types; nil for what is unknown or null.
func storageScalar(s scalar.Scalar) scalar.Scalar {
	for s != nil && s.IsValid() {
		ext, ok := s.(*scalar.Extension)
		if !ok {
			if s.DataType() == nil || s.DataType().ID() == arrow.NULL {
				return nil
			}
			return s
		}
		s = ext.Value
	}
	return nil
}
