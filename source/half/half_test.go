package half

import (
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/float16"
)

// value is what the format says: a sign, five bits of exponent, ten of mantissa.
func value(bits uint16) float64 {
	exp, m := int(bits>>10&0x1f), float64(bits&0x3ff)
	v := math.Ldexp(1+m/1024, exp-15)
	switch {
	case exp == 0:
		v = math.Ldexp(m, -24)
	case exp == 0x1f && m != 0:
		v = math.NaN()
	case exp == 0x1f:
		v = math.Inf(1)
	}
	if bits>>15 != 0 {
		v = -v
	}
	return v
}

func TestEveryHalfFloatIsItsNumberAndBack(t *testing.T) {
	for bits := range 1 << 16 {
		h := float16.FromBits(uint16(bits)) //nolint:gosec // of 16 bits
		want := value(h.Uint16())
		if got := float64(Float32(h)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) && !math.IsNaN(got) {
			t.Fatalf("%#04x is %v, not %v", bits, got, want)
		}
		back, same := Exactly(want)
		if !same || back != h && !(math.IsNaN(want) && back.IsNaN()) {
			t.Fatalf("%v is %#04x, not %#04x (the same: %v)", want, back.Uint16(), bits, same)
		}
	}
	for _, v := range []float64{0.1, 65505, 65536, 1e300, -1e-300, 0x1p-25, 0x1.8p-24, 0x1p-149} {
		if h, same := Exactly(v); same {
			t.Errorf("%v is said to be %#04x", v, h.Uint16())
		}
	}
}
