package half

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow/float16"
)

const (
	leastNormal = 0x1p-14
	unit        = 0x1p-24 // the numbers below are multiples of it
	mantissa    = 1<<10 - 1
	exponent    = 0x1f << 10
	sign        = 1 << 15
)

// Float32 is the number that h is, exactly.
func Float32(h float16.Num) float32 {
	bits := h.Uint16()
	if bits&exponent != 0 {
		return h.Float32()
	}
	v := float32(bits&mantissa) * unit
	if bits&sign != 0 {
		return -v
	}
	return v
}

// Exactly is v as a half float, and whether it is the same number; NaN is.
func Exactly(v float64) (h float16.Num, same bool) {
	if a := math.Abs(v); a < leastNormal {
		n := uint16(a / unit)
		if same = float64(n)*unit == a; math.Signbit(v) {
			n |= sign
		}
		return float16.FromBits(n), same
	}
	h = float16.New(float32(v))
	return h, float64(h.Float32()) == v || math.IsNaN(v)
}
