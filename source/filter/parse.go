package filter

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

// maxBytes bounds a filter, as it comes and in its canonical form (wire.md §5).
const maxBytes = 64 << 10

const shapeHint = `write a list of triples, [["score", ">", 0.5]], or a list of lists of triples for OR`

// Parse reads filters from the wire: literals as wire.md §1, shape as §6.
//
// It is strict: an unknown operator, a malformed literal, an empty list, a lone
// surrogate or a duplicate key is KindInvalid, and the error says in which term
// of which conjunction (both counted from 1). More than 64 KiB is KindLimit.
func Parse(raw []byte) (*Filter, error) {
	if len(raw) > maxBytes {
		return nil, tooLong(len(raw))
	}
	if err := checkText(raw); err != nil {
		return nil, invalid("%v", err)
	}
	outer, err := elements(raw)
	if err != nil {
		return nil, invalid("%v", err).WithHint(shapeHint)
	}
	if len(outer) == 0 {
		return nil, invalid("the list is empty").WithHint(shapeHint)
	}
	conjunctions := outer
	if isFlat(outer) {
		conjunctions = []json.RawMessage{raw}
	}
	f := &Filter{or: make([][]Term, len(conjunctions))}
	for i, text := range conjunctions {
		if f.or[i], err = parseConjunction(text, i+1); err != nil {
			return nil, err
		}
	}
	f.canon = appendFilter(nil, f.or)
	if len(f.canon) > maxBytes {
		return nil, tooLong(len(f.canon))
	}
	return f, nil
}

func tooLong(n int) error {
	return source.Errorf(source.KindLimit, "filters", "the filters are %d bytes long; at most %d are accepted", n, maxBytes).
		WithHint("select by a range or a prefix instead of a long list, or filter in the engine")
}

func invalid(format string, args ...any) *source.Error {
	return source.Errorf(source.KindInvalid, "filters", format, args...)
}

// isFlat decides between the two shapes as wire.md §6 says: by filters[0][0]
// being a string. (So a path as the first column needs the list of lists.)
func isFlat(outer []json.RawMessage) bool {
	first, err := elements(outer[0])
	return err == nil && len(first) > 0 && first[0][0] == '"'
}

func parseConjunction(raw json.RawMessage, number int) ([]Term, error) {
	terms, err := elements(raw)
	if err != nil {
		return nil, invalid("conjunction %d: %v", number, err).WithHint(shapeHint)
	}
	if len(terms) == 0 {
		return nil, invalid("conjunction %d is empty", number).WithHint(shapeHint)
	}
	out := make([]Term, len(terms))
	for i, text := range terms {
		if out[i], err = parseTerm(text); err != nil {
			return nil, invalid("term %d of conjunction %d: %v", i+1, number, err)
		}
	}
	return out, nil
}

func parseTerm(raw json.RawMessage) (Term, error) {
	parts, err := elements(raw)
	if err != nil {
		return Term{}, fmt.Errorf("%w; a term is [column, operator, value], and a path of names as the first column needs the doubly nested form", err)
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Term{}, fmt.Errorf("a term has 3 items, or 2 with is null and is not null; this one has %d", len(parts))
	}
	var t Term
	if err := t.column.UnmarshalJSON(parts[0]); err != nil {
		return Term{}, err
	}
	name, err := parseString(parts[1])
	if err != nil {
		return Term{}, fmt.Errorf("the operator is not a string: %s", clip(string(parts[1])))
	}
	var known bool
	if t.op, known = parseOp(name); !known {
		return Term{}, fmt.Errorf("%q is not an operator; known are == and %s", clip(name), strings.Join(opNames[:], ", "))
	}
	if t.op.unary() != (len(parts) == 2) {
		if t.op.unary() {
			return Term{}, fmt.Errorf("%q takes no value", t.op)
		}
		return Term{}, fmt.Errorf("%q needs a value", t.op)
	}
	if !t.op.unary() {
		t.values, err = parseValue(t.op, parts[2])
	}
	return t, err
}

// parseValue reads the third item: one literal, or a list for in and not in.
func parseValue(op Op, raw json.RawMessage) ([]Literal, error) {
	if !op.list() {
		if raw[0] == '[' {
			return nil, fmt.Errorf("%q takes one value, not a list", op)
		}
		lit, err := parseLiteral(raw)
		if err == nil && op == StartsWith && lit.kind != litString {
			return nil, fmt.Errorf("starts_with takes a string, not %s", lit.kind)
		}
		return []Literal{lit}, err
	}
	items, err := elements(raw)
	if err != nil {
		return nil, fmt.Errorf("%q takes a list of values, not %s", op, clip(string(raw)))
	}
	out := make([]Literal, len(items))
	for i, item := range items {
		if out[i], err = parseLiteral(item); err != nil {
			return nil, fmt.Errorf("value %d: %w", i+1, err)
		}
	}
	return out, nil
}

// parseLiteral reads one literal; raw is valid JSON.
func parseLiteral(raw json.RawMessage) (Literal, error) {
	switch raw[0] {
	case 'n':
		return Literal{}, nil
	case 't', 'f':
		return Literal{kind: litBool, truth: raw[0] == 't'}, nil
	case '"':
		text, err := parseString(raw)
		return Literal{kind: litString, text: text}, err
	case '{':
		return parseTagged(raw)
	case '[':
		return Literal{}, fmt.Errorf("a value cannot be a list: %s", clip(string(raw)))
	}
	return parseNumber(string(raw))
}

// parseNumber reads an integer exactly, and anything with a point or an
// exponent as a double.
func parseNumber(text string) (Literal, error) {
	if !strings.ContainsAny(text, ".eE") {
		value, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return Literal{}, fmt.Errorf("%q is not a number", clip(text))
		}
		return Literal{kind: litInt, whole: value}, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Literal{}, fmt.Errorf(`%s is not a double; write {"$f":"inf"} for infinity or {"$dec":"…"} for a decimal`, clip(text))
	}
	return Literal{kind: litDouble, double: value}, nil
}

// parseTagged reads the one-key objects: {"$date":"2024-01-31"} and so on.
func parseTagged(raw json.RawMessage) (Literal, error) {
	key, text, err := onePair(raw)
	if err != nil {
		return Literal{}, err
	}
	switch key {
	case "$dec":
		return parseDecimal(text)
	case "$f":
		return parseSpecial(text)
	case "$bin":
		data, err := base64.StdEncoding.Strict().DecodeString(text)
		// The decoder skips line ends; the wire's base64 has none.
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return Literal{}, fmt.Errorf("%q is not standard padded base64", clip(text))
		}
		return Literal{kind: litBinary, text: string(data)}, nil
	case "$date":
		return parseDate(text)
	case "$ts":
		return parseTimestamp(text, false)
	case "$time":
		return parseTime(text)
	}
	return Literal{}, fmt.Errorf("%q is not a kind of literal; known are $dec, $f, $bin, $date, $ts, $time", clip(key))
}

func parseSpecial(text string) (Literal, error) {
	lit := Literal{kind: litDouble}
	switch text {
	case "nan":
		lit.double = math.NaN()
	case "inf":
		lit.double = math.Inf(1)
	case "-inf":
		lit.double = math.Inf(-1)
	case "-0.0":
		lit.double = math.Copysign(0, -1)
	default:
		return Literal{}, fmt.Errorf("%q is not a special double; known are nan, inf, -inf, -0.0", clip(text))
	}
	return lit, nil
}

// onePair reads an object of exactly one key with a string value. It walks
// tokens, since decoding into a map would hide duplicate keys.
func onePair(raw json.RawMessage) (key, text string, err error) {
	malformed := fmt.Errorf(`a value in braces is one key with a string, such as {"$date":"2024-01-31"}, not %s`, clip(string(raw)))
	dec := json.NewDecoder(bytes.NewReader(raw))
	var tokens [4]json.Token
	for i := range tokens {
		if tokens[i], err = dec.Token(); err != nil {
			return "", "", malformed
		}
	}
	key, isKey := tokens[1].(string)
	text, isText := tokens[2].(string)
	if !isKey || !isText || tokens[3] != json.Delim('}') {
		return "", "", malformed
	}
	return key, text, nil
}

func parseString(raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", clip(string(raw)))
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

// elements splits a JSON list into its items. The items have no space around
// them and are valid JSON.
func elements(raw json.RawMessage) ([]json.RawMessage, error) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '[' {
		return nil, fmt.Errorf("expected a list, not %q", clip(string(trimmed)))
	}
	var items []json.RawMessage
	if err := json.Unmarshal(trimmed, &items); err != nil {
		return nil, fmt.Errorf("malformed JSON: %w", err)
	}
	for i, item := range items {
		items[i] = bytes.TrimSpace(item)
	}
	return items, nil
}

// checkText refuses what encoding/json would silently replace by U+FFFD and so
// turn into a filter that nobody wrote: bytes that are not UTF-8, and escaped
// surrogates without their other half.
func checkText(raw []byte) error {
	if !utf8.Valid(raw) {
		return fmt.Errorf("the text is not UTF-8")
	}
	// In valid JSON a backslash occurs only in strings; elsewhere the decoder
	// refuses it later.
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		if raw[i] != 'u' {
			continue
		}
		unit, ok := hexUnit(raw[i+1:])
		i += 4
		switch {
		case !ok || unit < 0xD800 || unit > 0xDFFF:
			continue
		case unit < 0xDC00 && len(raw) > i+2 && raw[i+1] == '\\' && raw[i+2] == 'u':
			if low, ok := hexUnit(raw[i+3:]); ok && low >= 0xDC00 && low <= 0xDFFF {
				i += 6
				continue
			}
		}
		return fmt.Errorf("a string holds half of a surrogate pair (\\u%04x)", unit)
	}
	return nil
}

func hexUnit(raw []byte) (unit uint64, ok bool) {
	if len(raw) < 4 {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[:4]), 16, 16)
	return unit, err == nil
}
