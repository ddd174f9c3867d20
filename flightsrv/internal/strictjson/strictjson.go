package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

// maxDepth bounds nesting before encoding/json recurses into it. The deepest
// legal body (a filter list inside a command) has depth 5.
const maxDepth = 32

// What is decoded takes far more memory than its text where that is "{},{},…": these
// bound how much more. The largest legal body, a commit, has a hundred thousand files
// of 14 keys.
const (
	maxItems = 1 << 18 // of all lists together
	maxKeys  = 1 << 12 // of one object
)

// Decode reads exactly one JSON object of at most limit bytes into the struct
// that v points to. Its errors name the key and are safe to show.
func Decode(raw []byte, limit int, v any) error {
	if len(raw) > limit {
		return fmt.Errorf("the JSON body has %d bytes; at most %d are accepted", len(raw), limit)
	}
	if !utf8.Valid(raw) {
		return errors.New("the JSON body is not valid UTF-8")
	}
	if err := checkTokens(raw); err != nil {
		return err
	}
	if err := make(known).check(raw, reflect.TypeOf(v), ""); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return describe(err)
	}
	return nil
}

// checkTokens walks the text once: syntax, depth, duplicate keys, one object
// and nothing after it.
func checkTokens(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	type level struct {
		keys    map[string]bool // nil inside an array
		wantKey bool
	}
	var stack []level
	items := 0
	for {
		tok, err := dec.Token()
		if err == io.EOF && len(stack) == 0 {
			return errors.New("the JSON body is empty")
		}
		if err != nil {
			return describe(err)
		}
		top := len(stack) - 1
		if name, ok := tok.(string); ok && top >= 0 && stack[top].wantKey {
			if stack[top].keys[name] {
				return fmt.Errorf("duplicate key %.100q", name)
			}
			if len(stack[top].keys) == maxKeys {
				return fmt.Errorf("an object has more than %d keys", maxKeys)
			}
			stack[top].keys[name] = true
			stack[top].wantKey = false
			continue
		}
		if top >= 0 && stack[top].keys != nil {
			stack[top].wantKey = true
		} else if top >= 0 && tok != json.Delim(']') {
			if items++; items > maxItems {
				return fmt.Errorf("the JSON body's lists have more than %d items", maxItems)
			}
		}
		switch d, _ := tok.(json.Delim); d {
		case '{':
			stack = append(stack, level{keys: map[string]bool{}, wantKey: true})
		case '[':
			stack = append(stack, level{})
		case '}', ']':
			stack = stack[:top]
		default:
			if top < 0 {
				return errors.New("the JSON body is not an object")
			}
		}
		if len(stack) > maxDepth {
			return fmt.Errorf("the JSON body is nested more than %d deep", maxDepth)
		}
		if len(stack) == 0 {
			break
		}
	}
	if raw[firstByte(raw)] != '{' {
		return errors.New("the JSON body is not an object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is text after the JSON object")
	}
	return nil
}

func firstByte(raw []byte) int {
	return len(raw) - len(bytes.TrimLeft(raw, " \t\r\n"))
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
)

// known are the keys of the structs met so far: a list has many of one kind.
type known map[reflect.Type]map[string]reflect.Type

// check compares the keys of every object in raw with the fields of the struct it
// will be decoded into. Types that decode themselves look after their own keys.
func (k known) check(raw []byte, t reflect.Type, where string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == rawMessage || reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		var object map[string]json.RawMessage
		_ = json.Unmarshal(raw, &object) // not an object: decoding says so later, with the field's name
		fields := k[t]
		if fields == nil {
			fields = fieldsOf(t)
			k[t] = fields
		}
		for _, key := range sortedKeys(object) {
			field, ok := fields[key]
			if !ok {
				return unknownKey(where+key, source.Nearest(key, sortedKeys(fields)))
			}
			if err := k.check(object[key], field, where+key+"."); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		if e := t.Elem().Kind(); e != reflect.Struct && e != reflect.Pointer && e != reflect.Slice {
			return nil // scalars hold no keys; do not split a million of them
		}
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items) // likewise
		for i, item := range items {
			if err := k.check(item, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(where, "."), i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(fields, fieldsOf(f.Type))
		case name != "" && name != "-":
			fields[name] = f.Type
		}
	}
	return fields
}

func unknownKey(key, nearest string) error {
	if nearest == "" {
		return fmt.Errorf("unknown key %.100q", key)
	}
	return fmt.Errorf("unknown key %.100q: did you mean %q?", key, nearest)
}

func describe(err error) error {
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Errorf("key %q cannot be a JSON %s", typ.Field, typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("the JSON body cannot be a JSON %s", typ.Value)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("the JSON body ends too early")
	}
	return fmt.Errorf("the JSON body is malformed: %w", err)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
