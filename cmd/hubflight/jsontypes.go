package main

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	switch {
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
