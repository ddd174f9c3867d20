package filter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// literalKind is the type that a value was written with. What it is compared as
// depends on its column too (bind.go).
type literalKind uint8

const (
	litNull literalKind = iota
	litBool
	litInt
	litDouble
	litDecimal
	litString
	litBinary
	litDate
	litTimestamp
	litTime
)

var literalNames = [...]string{"null", "bool", "integer", "double", "decimal", "string", "binary", "date", "timestamp", "time"}

func (k literalKind) String() string { return literalNames[k] }

// Literal is one value of a filter. It is immutable.
type Literal struct {
	kind   literalKind
	truth  bool
	zoned  bool    // timestamp: written with an offset, hence an instant
	double float64 // double
	whole  *big.Int
	exp    int    // decimal: the value is whole · 10^exp, without a trailing zero
	text   string // string, and binary's bytes
	sec    int64  // timestamp: seconds since 1970-01-01; date: days
	nanos  int64  // timestamp: 0 … 999,999,999; time: since midnight
}

// IsNull reports whether the literal is null.
func (l Literal) IsNull() bool { return l.kind == litNull }

// Bounds of decimals: a decimal256 has 76 digits; more is accepted so that every
// literal can be compared, but work stays small.
const (
	maxDecimalDigits   = 1000
	maxDecimalExponent = 1000
)

// parseDecimal reads [+-]digits[.digits][e[+-]digits], as Python and Java print
// decimals, and normalises trailing zeros away.
func parseDecimal(text string) (Literal, error) {
	bad := func() (Literal, error) {
		return Literal{}, fmt.Errorf("%q is not a decimal number (expected for example 1.50)", clip(text))
	}
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(text[i+1:]); err != nil {
			return bad()
		}
		mantissa = text[:i]
	}
	negative := false
	if mantissa != "" && (mantissa[0] == '-' || mantissa[0] == '+') {
		negative, mantissa = mantissa[0] == '-', mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return bad()
	}
	if exponent < -2*maxDecimalExponent || exponent > 2*maxDecimalExponent || len(digits) > maxDecimalDigits {
		return Literal{}, fmt.Errorf("decimal %q is too long: at most %d digits and an exponent of ±%d are accepted", clip(text), maxDecimalDigits, maxDecimalExponent)
	}
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	trimmed = strings.TrimLeft(trimmed, "0")
	if trimmed == "" {
		return Literal{kind: litDecimal, whole: new(big.Int)}, nil
	}
	if exponent < -maxDecimalExponent || exponent > maxDecimalExponent {
		return Literal{}, fmt.Errorf("decimal %q is out of range: an exponent of ±%d is accepted", clip(text), maxDecimalExponent)
	}
	value, _ := new(big.Int).SetString(trimmed, 10)
	if negative {
		value.Neg(value)
	}
	return Literal{kind: litDecimal, whole: value, exp: exponent}, nil
}

func formatDecimal(value *big.Int, exp int) string {
	switch digits := value.Text(10); {
	case exp == 0:
		return digits
	case exp > 0 || exp < -80: // plain notation up to what a decimal256 can hold
		return digits + "e" + strconv.Itoa(exp)
	default:
		sign := ""
		if digits[0] == '-' {
			sign, digits = "-", digits[1:]
		}
		if len(digits) <= -exp {
			digits = strings.Repeat("0", -exp-len(digits)+1) + digits
		}
		return sign + digits[:len(digits)+exp] + "." + digits[len(digits)+exp:]
	}
}

// formatDouble writes a finite double so that it reads back as one: with a
// point or an exponent, in the shortest form.
func formatDouble(v float64) string {
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// specialDouble names the doubles that JSON numbers cannot say.
func specialDouble(v float64) (string, bool) {
	switch {
	case math.IsNaN(v):
		return "nan", true
	case math.IsInf(v, 1):
		return "inf", true
	case math.IsInf(v, -1):
		return "-inf", true
	case v == 0 && math.Signbit(v):
		return "-0.0", true
	}
	return "", false
}

// appendJSON writes the canonical wire form of wire.md §1.
func (l Literal) appendJSON(b []byte) []byte {
	switch l.kind {
	case litBool:
		return strconv.AppendBool(b, l.truth)
	case litInt:
		return l.whole.Append(b, 10)
	case litDouble:
		if name, ok := specialDouble(l.double); ok {
			return append(b, `{"$f":"`+name+`"}`...)
		}
		return append(b, formatDouble(l.double)...)
	case litString:
		return appendString(b, l.text)
	case litDecimal:
		return append(b, `{"$dec":"`+formatDecimal(l.whole, l.exp)+`"}`...)
	case litBinary:
		b = append(b, `{"$bin":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(l.text))
		return append(b, `"}`...)
	case litDate:
		return append(b, `{"$date":"`+formatDate(l.sec)+`"}`...)
	case litTimestamp:
		return append(b, `{"$ts":"`+formatTimestamp(l)+`"}`...)
	case litTime:
		return append(b, `{"$time":"`+formatTime(l.nanos)+`"}`...)
	}
	return append(b, "null"...)
}

// String returns a readable form, clipped.
func (l Literal) String() string {
	switch l.kind {
	case litDouble:
		if name, ok := specialDouble(l.double); ok {
			return name
		}
	case litString:
		return strconv.Quote(clip(l.text))
	case litDecimal:
		return clip(formatDecimal(l.whole, l.exp))
	case litBinary:
		return clip(fmt.Sprintf("0x%x", l.text))
	case litDate:
		return formatDate(l.sec)
	case litTimestamp:
		return formatTimestamp(l)
	case litTime:
		return formatTime(l.nanos)
	}
	return clip(string(l.appendJSON(nil)))
}

// appendString writes a JSON string as json.Marshal does, with < > & escaped:
// the canonical form stays the same, and its length with it, when a command or
// ticket around it is marshalled.
func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return append(b, text...)
}

// clip shortens what is quoted in messages.
func clip(s string) string { return source.Clip(s, 60) }
