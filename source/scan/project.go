package scan

import (
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// selection is a set of paths as a tree: a nil child map selects everything
// below.
type selection struct {
	children map[string]*selection
	whole    bool
}

// project applies columns to a schema, by wire.md §7: the order is as given,
// paths keep their nesting, and the children of a struct stay in file order.
func project(schema *arrow.Schema, columns []source.Column) ([]arrow.Field, error) {
	if columns == nil {
		return schema.Fields(), nil
	}
	var order []string
	chosen := make(map[string]*selection)
	for _, c := range columns {
		path, err := resolveColumn(schema, c)
		if err != nil {
			return nil, err
		}
		top := chosen[path[0]]
		if top == nil {
			top = &selection{}
			chosen[path[0]] = top
			order = append(order, path[0])
		}
		if !top.add(path[1:]) {
			return nil, source.Errorf(source.KindInvalid, opPlan, "column %q is selected twice", c.String()).
				WithHint("name every column once; a struct's field is part of the struct")
		}
	}
	out := make([]arrow.Field, len(order))
	for i, name := range order {
		out[i] = narrow(schema.Field(schema.FieldIndices(name)[0]), chosen[name])
	}
	return out, nil
}

// add marks a path; it reports false if the path, or one above or below it, is
// there already.
func (s *selection) add(path []string) bool {
	if s.whole {
		return false
	}
	if len(path) == 0 {
		if s.children != nil {
			return false
		}
		s.whole = true
		return true
	}
	if s.children == nil {
		s.children = make(map[string]*selection)
	}
	next := s.children[path[0]]
	if next == nil {
		next = &selection{}
		s.children[path[0]] = next
	}
	return next.add(path[1:])
}

// resolveColumn turns a column into a path of field names that exists: a string
// is a top-level name first, else a dotted path.
func resolveColumn(schema *arrow.Schema, c source.Column) ([]string, error) {
	path := c.Path
	if !c.IsPath() {
		if schema.HasField(c.Name) {
			return []string{c.Name}, nil
		}
		path = strings.Split(c.Name, ".")
	}
	if !schema.HasField(path[0]) {
		return nil, misspelt(schema, c, nil, schema.Fields())
	}
	at := schema.Field(schema.FieldIndices(path[0])[0]).Type
	for i, name := range path[1:] {
		f, ok := fieldBelow(at, name)
		if !ok {
			return nil, misspelt(schema, c, path[:i+1], below(at))
		}
		at = f.Type
	}
	return path, nil
}

// fieldBelow is the field of a name among below's. (To list them all for each of
// thousands of columns would take minutes.)
func fieldBelow(t arrow.DataType, name string) (arrow.Field, bool) {
	switch t := t.(type) {
	case *arrow.StructType:
		return t.FieldByName(name)
	case *arrow.MapType:
	case arrow.ListLikeType:
		return fieldBelow(t.Elem(), name)
	}
	return arrow.Field{}, false
}

// misspelt is unknownColumn with the column that was most likely meant.
func misspelt(schema *arrow.Schema, c source.Column, parent []string, fields []arrow.Field) *source.Error {
	err := unknownColumn(c, parent, fields)
	if near := nearestColumn(schema.Fields(), c); near != "" {
		err.Hint = fmt.Sprintf("did you mean %q? %s", near, err.Hint)
	}
	return err
}

func unknownColumn(c source.Column, parent []string, fields []arrow.Field) *source.Error {
	err := source.Errorf(source.KindInvalid, opPlan, "there is no column %q", c.String()).WithColumn(c.String())
	switch {
	case len(parent) == 0:
		return err.WithHint("the columns are %s", clipNames(fields))
	case len(fields) == 0:
		return err.WithHint("%q has no fields that can be selected", strings.Join(parent, "."))
	}
	return err.WithHint("the fields of %q are %s", strings.Join(parent, "."), clipNames(fields))
}

// nearestColumn is the column that a misspelt one most likely means, "" if none
// is near. A string is read as a path first, because a path whose every part is
// near is nearer than any top-level name.
func nearestColumn(fields []arrow.Field, c source.Column) string {
	path := c.Path
	if !c.IsPath() {
		path = strings.Split(c.Name, ".")
	}
	var found []string
	for at := fields; len(found) < len(path); {
		near := path[len(found)]
		if _, ok := fieldByName(at, near); !ok {
			if near = source.Nearest(near, fieldNames(at)); near == "" {
				break
			}
		}
		f, _ := fieldByName(at, near)
		found, at = append(found, near), below(f.Type)
	}
	if len(found) == len(path) {
		return strings.Join(found, ".")
	}
	if c.IsPath() {
		return ""
	}
	return source.Nearest(c.Name, fieldNames(fields))
}

func fieldNames(fields []arrow.Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// below lists the fields that a path may name next: a struct's, stepping
// through list elements without a token, never through maps.
func below(t arrow.DataType) []arrow.Field {
	switch t := t.(type) {
	case *arrow.StructType:
		return t.Fields()
	case *arrow.MapType:
		return nil
	case arrow.ListLikeType:
		return below(t.Elem())
	}
	return nil
}

func fieldByName(fields []arrow.Field, name string) (arrow.Field, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f, true
		}
	}
	return arrow.Field{}, false
}

// narrow keeps of a field what is selected.
func narrow(f arrow.Field, s *selection) arrow.Field {
	if s.whole {
		return f
	}
	f.Type = narrowType(f.Type, s)
	return f
}

func narrowType(t arrow.DataType, s *selection) arrow.DataType {
	elem := func(f arrow.Field) arrow.Field {
		f.Type = narrowType(f.Type, s)
		return f
	}
	switch t := t.(type) {
	case *arrow.StructType:
		var fields []arrow.Field
		for _, c := range t.Fields() {
			if sub := s.children[c.Name]; sub != nil {
				fields = append(fields, narrow(c, sub))
			}
		}
		return arrow.StructOf(fields...)
	case *arrow.ListType:
		return arrow.ListOfField(elem(t.ElemField()))
	case *arrow.LargeListType:
		return arrow.LargeListOfField(elem(t.ElemField()))
	case *arrow.FixedSizeListType:
		return arrow.FixedSizeListOfField(t.Len(), elem(t.ElemField()))
	}
	return t
}
