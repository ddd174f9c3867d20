package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// jsonFields are the keys of JSON objects, in the order of their first use, and
// the types that hold all values seen.
type jsonFields struct {
	names []string
	types map[string]*jsonType
}

// jsonType is what the values of a key have been.
type jsonType struct {
	kind   string // "" while only null, bool, int, float, string, list, object
	item   *jsonType
	object *jsonFields
	exact  string // an int that a float does not hold, if there was one
}

func newJSONFields() *jsonFields { return &jsonFields{types: map[string]*jsonType{}} }

// add looks at one object.
func (f *jsonFields) add(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("a row is a JSON object, not %.20s", raw)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		name, _ := key.(string)
		t := f.types[name]
		if t == nil {
			t = &jsonType{}
			f.types[name] = t
			f.names = append(f.names, name)
		}
		if err := t.add(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (t *jsonType) add(raw []byte) error {
	kind := kindOfJSON(raw)
	if kind == "int" {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		switch {
		case err != nil && wholeFloat(string(raw)):
			kind = "float"
		case err != nil:
			return fmt.Errorf("%.60s is larger than 64 bits hold: write it as a string", raw)
		case !floatHolds(n):
			t.exact = string(raw)
		}
	}
	switch {
	case t.exact != "" && t.kind == "float":
		return fmt.Errorf("a value is %s, which a float does not hold, and float before", t.exact)
	case t.exact != "" && kind == "float":
		return fmt.Errorf("a value is float, and %s before, which a float does not hold", t.exact)
	case kind == "" || kind == t.kind:
	case t.kind == "" || t.kind == "int" && kind == "float":
		t.kind = kind
	case t.kind == "float" && kind == "int":
	default:
		return fmt.Errorf("a value is %s, and %s before", kind, t.kind)
	}
	switch kind {
	case "object":
		if t.object == nil {
			t.object = newJSONFields()
		}
		return t.object.add(raw)
	case "list":
		if t.item == nil {
			t.item = &jsonType{}
		}
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
		for _, item := range items {
			if err := t.item.add(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// widen makes the types hold what others do.
func (f *jsonFields) widen(with *jsonFields) error {
	for _, name := range with.names {
		t := f.types[name]
		if t == nil {
			t = &jsonType{}
			f.types[name] = t
			f.names = append(f.names, name)
		}
		if err := t.widen(with.types[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (t *jsonType) widen(with *jsonType) error {
	exact := cmp.Or(t.exact, with.exact)
	switch {
	case exact != "" && (t.kind == "float" || with.kind == "float"):
		return fmt.Errorf("a value is float, and another one %s, which a float does not hold", exact)
	case with.kind == "" || with.kind == t.kind:
	case t.kind == "" || t.kind == "int" && with.kind == "float":
		t.kind = with.kind
	case t.kind == "float" && with.kind == "int":
	default:
		return fmt.Errorf("a value is %s, and %s in another file", with.kind, t.kind)
	}
	t.exact = exact
	if with.object != nil {
		if t.object == nil {
			t.object = newJSONFields()
		}
		if err := t.object.widen(with.object); err != nil {
			return err
		}
	}
	if with.item != nil {
		if t.item == nil {
			t.item = &jsonType{}
		}
		return t.item.widen(with.item)
	}
	return nil
}

func kindOfJSON(raw []byte) string {
	switch raw = bytes.TrimSpace(raw); {
	case raw[0] == 'n':
		return ""
	case raw[0] == 't' || raw[0] == 'f':
		return "bool"
	case raw[0] == '"':
		return "string"
	case raw[0] == '[':
		return "list"
	case raw[0] == '{':
		return "object"
	case strings.ContainsAny(string(raw), ".eE"):
		return "float"
	}
	return "int"
}

// floatHolds reports whether a whole number is the same as a double.
func floatHolds(n int64) bool {
	f := float64(n)
	return f < math.MaxInt64 && int64(f) == n
}

// wholeFloat reports whether digits are a double as it is written without an exponent,
// which some programs do below 1e21.
func wholeFloat(digits string) bool {
	f, err := strconv.ParseFloat(digits, 64)
	return err == nil && strconv.FormatFloat(f, 'f', -1, 64) == digits
}

func (f *jsonFields) schema() *arrow.Schema { return arrow.NewSchema(f.fields(), nil) }

func (f *jsonFields) fields() []arrow.Field {
	out := make([]arrow.Field, len(f.names))
	for i, name := range f.names {
		out[i] = arrow.Field{Name: name, Type: f.types[name].arrow(), Nullable: true}
	}
	return out
}

// arrow is the type of the column; a key that is always null is text.
func (t *jsonType) arrow() arrow.DataType {
	switch t.kind {
	case "bool":
		return arrow.FixedWidthTypes.Boolean
	case "int":
		return arrow.PrimitiveTypes.Int64
	case "float":
		return arrow.PrimitiveTypes.Float64
	case "list":
		return arrow.ListOf(t.item.arrow())
	case "object":
		return arrow.StructOf(t.object.fields()...)
	}
	return arrow.BinaryTypes.String
}
