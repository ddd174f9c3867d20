package scantest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// ErrRefused is what Evaluate says of filters that the contract refuses: a
// literal that cannot be compared with its column, an unknown column.
var ErrRefused = errors.New("the contract refuses this filter")

// parse reads a literal of the wire for a column of a class.
func parse(raw json.RawMessage, c class) (Value, error) {
	var decoded any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&decoded); err != nil {
		return Value{}, err
	}
	switch v := decoded.(type) {
	case nil:
		return Value{Null: true}, nil
	case bool:
		if c == classBool {
			return whole(map[bool]int64{false: 0, true: 1}[v]), nil
		}
	case json.Number:
		if c == classNumber || c == classDecimal {
			return parseNumber(v.String(), c), nil
		}
	case string:
		return parseText(v, tagOf[c], c)
	case map[string]any:
		for tag, text := range v {
			return parseText(text.(string), tag, c)
		}
	}
	return Value{}, fmt.Errorf("%w: %s against a column of class %d", ErrRefused, raw, c)
}

// tagOf is what a plain string means, by its column.
var tagOf = map[class]string{classDecimal: "$dec", classText: "", classDay: "$date", classInstant: "$ts", classZoned: "$ts", classClock: "$time"}

// parseNumber reads an integer exactly and the rest as a double; a decimal column
// takes a double as the decimal that was written.
func parseNumber(text string, c class) Value {
	if c == classDecimal || !strings.ContainsAny(text, ".eE") {
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			panic(text)
		}
		return number(r)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return float(f)
}

var specials = map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1), "-0.0": 0}

func parseText(text, tag string, c class) (Value, error) {
	refused := fmt.Errorf("%w: %s %q against a column of class %d", ErrRefused, tag, text, c)
	numeric := c == classNumber || c == classDecimal
	switch {
	case tag == "" && c == classText:
		return Value{text: text}, nil
	case tag == "$bin" && c == classText:
		raw, err := base64.StdEncoding.DecodeString(text)
		return Value{text: string(raw)}, err
	case tag == "$f" && numeric:
		return float(specials[text]), nil
	case tag == "$dec" && numeric:
		if r, ok := new(big.Rat).SetString(text); ok {
			return number(r), nil
		}
	case tag == "$time" && c == classClock:
		if t, err := time.Parse("15:04:05.999999999", text); err == nil {
			return whole(int64(t.Sub(t.Truncate(24 * time.Hour)))), nil
		}
	case tag == "$date" || tag == "$ts":
		return parseInstant(text, c, refused)
	}
	return Value{}, refused
}

// parseInstant reads ISO 8601; an offset is there if and only if the column has a
// zone.
func parseInstant(text string, c class, refused error) (Value, error) {
	layouts := []string{"2006-01-02", "2006-01-02T15:04:05.999999999"}
	switch c {
	case classZoned:
		layouts = []string{time.RFC3339Nano}
	case classDay, classInstant:
	default:
		return Value{}, refused
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			seconds := new(big.Rat).SetInt64(t.Unix())
			seconds.Mul(seconds, big.NewRat(1e9, 1))
			return number(seconds.Add(seconds, big.NewRat(int64(t.Nanosecond()), 1))), nil
		}
	}
	return Value{}, refused
}
