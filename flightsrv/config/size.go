package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is an integer with an optional unit:
// B, K, M, G, T (powers of 1024, also as KiB or k) or KB, MB, GB, TB (powers of
// 1000, as file systems and the Hub count).
type Size int64

var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// ParseSize reads the text form of a Size.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(strings.ToLower(strings.TrimSpace(text)), "bikmgt ")
	unit := strings.TrimSpace(strings.ToLower(strings.TrimSpace(text))[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	factor, known := sizeUnits[unit]
	if err != nil || !known || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not a size such as 512MiB", text)
	}
	return Size(n * factor), nil
}

// String returns the shortest exact text: the largest binary unit that divides
// the size.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		n    int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if int64(s) >= u.n && int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
