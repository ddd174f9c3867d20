package filter

import (
	"bytes"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// bytesTest tests strings and binaries of every layout, byte by byte.
type bytesTest struct {
	op      Op
	operand string
	set     map[string]struct{}
	sorted  []string // the set, for may
}

func newBytesTest(op Op, values []string) *bytesTest {
	t := &bytesTest{op: op}
	if !op.list() {
		t.operand = values[0]
		return t
	}
	t.sorted = slices.Clone(values)
	slices.Sort(t.sorted)
	t.sorted = slices.Compact(t.sorted)
	t.set = make(map[string]struct{}, len(t.sorted))
	for _, v := range t.sorted {
		t.set[v] = struct{}{}
	}
	return t
}

// match tests one value. The conversions to string do not allocate: the
// compiler sees that they are only compared and looked up.
func (t *bytesTest) match(b []byte) bool {
	switch t.op {
	case Eq:
		return string(b) == t.operand
	case Ne:
		return string(b) != t.operand
	case Lt:
		return string(b) < t.operand
	case Le:
		return string(b) <= t.operand
	case Gt:
		return string(b) > t.operand
	case Ge:
		return string(b) >= t.operand
	case StartsWith:
		return len(b) >= len(t.operand) && string(b[:len(t.operand)]) == t.operand
	case In:
		_, ok := t.set[string(b)]
		return ok
	default: // NotIn
		_, ok := t.set[string(b)]
		return !ok
	}
}

func (t *bytesTest) fill(dst, want []uint64, arr arrow.Array) { fillBytes(dst, want, arr, t) }

// may knows bounds as lower and upper limits: a truncated minimum is a prefix
// and hence smaller, a truncated maximum was rounded up by its writer.
func (t *bytesTest) may(s *Stats) bool {
	lo, okLo := statBytes(s.Min)
	hi, okHi := statBytes(s.Max)
	if okLo && okHi && bytes.Compare(lo, hi) > 0 {
		okLo, okHi = false, false // written in another order: worthless
	}
	// What is left says "at least lo" and "at most hi", each if it is known.
	atLeast := func(v string) bool { return !okLo || v >= string(lo) }
	atMost := func(v string) bool { return !okHi || v <= string(hi) }
	single := s.Exact && okLo && okHi && bytes.Equal(lo, hi)
	switch t.op {
	case Eq:
		return atLeast(t.operand) && atMost(t.operand)
	case Lt:
		return t.operand != "" && (!okLo || string(lo) < t.operand)
	case Le:
		return atLeast(t.operand)
	case Gt:
		return !okHi || string(hi) > t.operand
	case Ge:
		return atMost(t.operand)
	case StartsWith:
		// Values with the prefix lie from the prefix itself up to before its
		// successor: below that is a minimum that is smaller or has the prefix.
		return atMost(t.operand) && (!okLo || string(lo) <= t.operand || strings.HasPrefix(string(lo), t.operand))
	case In:
		i := 0
		if okLo {
			i, _ = slices.BinarySearch(t.sorted, string(lo))
		}
		return i < len(t.sorted) && atMost(t.sorted[i])
	case Ne:
		return !(single && string(lo) == t.operand)
	default: // NotIn
		return !(single && !t.match(lo))
	}
}
