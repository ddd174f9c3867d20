package filter

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// family groups the Arrow types that are compared in the same way.
type family uint8

const (
	famOther   family = iota // can only be asked for null
	famBool                  // false < true, stored as 0 and 1
	famInt                   // any width, signed or not
	famDecimal               // unscaled integers
	famFloat                 // 16, 32, 64 bits
	famBytes                 // strings and binaries of every layout, bytewise
	famDate
	famTime
	famTimestamp
)

// columnType is what comparing needs to know of a column's Arrow type.
type columnType struct {
	arrow  arrow.DataType // storage type
	family family
	// Integer-like families: the range of what can be stored.
	min, max *big.Int
	scale    int32    // decimal: the value is stored · 10^-scale
	unit     *big.Int // date, time, timestamp: nanoseconds per stored 1
	zoned    bool     // timestamp with a zone: stored as UTC
}

// storageOf returns the type in which an extension type keeps its values.
func storageOf(typ arrow.DataType) arrow.DataType {
	for {
		ext, ok := typ.(arrow.ExtensionType)
		if !ok {
			return typ
		}
		typ = ext.StorageType()
	}
}

func classify(typ arrow.DataType) columnType {
	typ = storageOf(typ)
	c := columnType{arrow: typ}
	integer := func(f family, bits uint, signed bool) columnType {
		c.family = f
		c.min, c.max = new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
		if signed {
			c.max.Rsh(c.max, 1)
			c.min.Neg(c.max)
		}
		c.max.Sub(c.max, big.NewInt(1))
		return c
	}
	switch typ := typ.(type) {
	case *arrow.BooleanType:
		return integer(famBool, 1, false)
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return integer(famInt, uint(typ.(arrow.FixedWidthDataType).BitWidth()), true)
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		return integer(famInt, uint(typ.(arrow.FixedWidthDataType).BitWidth()), false)
	case arrow.DecimalType:
		c.scale = typ.GetScale()
		return integer(famDecimal, uint(typ.BitWidth()), true)
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		c.family = famFloat
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType,
		*arrow.BinaryType, *arrow.LargeBinaryType, *arrow.BinaryViewType, *arrow.FixedSizeBinaryType:
		c.family = famBytes
	case *arrow.Date32Type:
		c.unit = big.NewInt(nanosPerDay)
		return integer(famDate, 32, true)
	case *arrow.Date64Type:
		c.unit = big.NewInt(int64(time.Millisecond))
		return integer(famDate, 64, true)
	case *arrow.Time32Type:
		c.unit = big.NewInt(int64(typ.Unit.Multiplier()))
		return integer(famTime, 32, true)
	case *arrow.Time64Type:
		c.unit = big.NewInt(int64(typ.Unit.Multiplier()))
		return integer(famTime, 64, true)
	case *arrow.TimestampType:
		c.unit, c.zoned = big.NewInt(int64(typ.Unit.Multiplier())), typ.TimeZone != ""
		return integer(famTimestamp, 64, true)
	}
	return c
}

// sameStorage reports whether values of the two types are stored alike, so that
// a test made for one may run on the other.
func (c columnType) sameStorage(d columnType) bool {
	if c.arrow.ID() != d.arrow.ID() || c.scale != d.scale || c.zoned != d.zoned {
		return false
	}
	return c.unit == nil || c.unit.Cmp(d.unit) == 0
}

// numeric reports whether the values are numbers.
func (c columnType) numeric() bool {
	return c.family == famInt || c.family == famDecimal || c.family == famFloat
}

// number is an exact value in a column's stored units: a rational, or one of
// the doubles that is none (NaN, +Inf, -Inf) when rat is nil.
type number struct {
	rat     *big.Rat
	special float64
}

// errMismatch: values of these two types are not comparable at all.
var errMismatch = errors.New("types cannot be compared")

// number turns a literal into the column's stored units, exactly. It fails with
// errMismatch, or with what is wrong with the literal's text.
func (c columnType) number(l Literal) (number, error) {
	if l.kind == litString {
		parsed, err := c.readString(l.text)
		if err != nil {
			return number{}, err
		}
		l = parsed
	}
	switch {
	case c.numeric() && (l.kind == litInt || l.kind == litDouble || l.kind == litDecimal):
		return c.scaled(l), nil
	case c.family == famBool && l.kind == litBool:
		rat := new(big.Rat)
		if l.truth {
			rat.SetInt64(1)
		}
		return number{rat: rat}, nil
	case c.family == famTime && l.kind == litTime:
		return c.fromNanos(big.NewInt(l.nanos)), nil
	case (c.family == famDate || c.family == famTimestamp) && (l.kind == litDate || l.kind == litTimestamp):
		return c.instant(l)
	}
	return number{}, errMismatch
}

// readString reads a plain string as the literal that the column calls for
// (wire.md §1).
func (c columnType) readString(text string) (Literal, error) {
	switch c.family {
	case famDecimal:
		return parseDecimal(text)
	case famDate:
		return parseDate(text)
	case famTimestamp:
		return parseTimestamp(text, true)
	case famTime:
		return parseTime(text)
	}
	return Literal{}, errMismatch
}

// scaled gives a numeric literal in units of 10^-scale (scale is 0 but for
// decimals).
//
// A double against a decimal is the shortest decimal that reads as that double:
// who writes 19.99 means 19.99, and no decimal equals the binary fraction that it
// is stored as. pyarrow and Spark arrive at the same rows by rounding the column
// to doubles, for decimals of up to fifteen digits.
func (c columnType) scaled(l Literal) number {
	rat := new(big.Rat)
	switch l.kind {
	case litInt:
		rat.SetInt(l.whole)
	case litDecimal:
		rat.Mul(rat.SetInt(l.whole), pow10(l.exp))
	case litDouble:
		if math.IsNaN(l.double) || math.IsInf(l.double, 0) {
			return number{special: l.double}
		}
		if c.family == famDecimal {
			rat.SetString(strconv.FormatFloat(l.double, 'e', -1, 64))
		} else {
			rat.SetFloat64(l.double)
		}
	}
	if c.scale != 0 {
		rat.Mul(rat, pow10(int(c.scale)))
	}
	return number{rat: rat}
}

// instant gives a date or timestamp literal in stored units. A date is its
// midnight, which has no zone.
func (c columnType) instant(l Literal) (number, error) {
	if l.zoned != c.zoned {
		if c.zoned {
			return number{}, fmt.Errorf("the column has a time zone and %s has no offset; write for example 2024-01-31T12:00:00Z", l)
		}
		return number{}, fmt.Errorf("the column has no time zone and %s has an offset; write it without", l)
	}
	nanos := big.NewInt(l.sec)
	if l.kind == litDate {
		return c.fromNanos(nanos.Mul(nanos, big.NewInt(nanosPerDay))), nil
	}
	nanos.Mul(nanos, big.NewInt(int64(time.Second)))
	return c.fromNanos(nanos.Add(nanos, big.NewInt(l.nanos))), nil
}

func (c columnType) fromNanos(nanos *big.Int) number {
	return number{rat: new(big.Rat).SetFrac(nanos, c.unit)}
}

// pow10 returns 10^n as a rational; n may be negative.
func pow10(n int) *big.Rat {
	abs := n
	if n < 0 {
		abs = -n
	}
	rat := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(abs)), nil))
	if n < 0 {
		rat.Inv(rat)
	}
	return rat
}

// floorRat returns the largest integer ≤ r, and whether r is that integer.
func floorRat(r *big.Rat) (floor *big.Int, whole bool) {
	// Div is Euclidean: with a positive denominator it rounds down.
	return new(big.Int).Div(r.Num(), r.Denom()), r.IsInt()
}
