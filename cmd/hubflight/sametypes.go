package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// agree gives the CSV files of a job the types that hold the cells of all of them, and
// its JSON files those that hold all values: a column may be empty in one of them, or have
// whole numbers only. Files with other columns are left as they are.
func agree(inputs []*rowFile) error {
	agreeCSV(slices.DeleteFunc(slices.Clone(inputs), func(in *rowFile) bool { return in.cells == nil }))
	return agreeJSON(slices.DeleteFunc(slices.Clone(inputs), func(in *rowFile) bool { return in.values == nil }))
}

func agreeCSV(inputs []*rowFile) {
	if len(inputs) < 2 {
		return
	}
	all := slices.Clone(inputs[0].cells)
	for i := range all {
		all[i].may = slices.Clone(all[i].may)
	}
	for _, in := range inputs[1:] {
		if !slices.EqualFunc(all, in.cells, func(a, b csvColumn) bool { return a.name == b.name }) {
			return
		}
		for i := range all {
			all[i].widen(in.cells[i])
		}
	}
	schema := csvSchema(all)
	for _, in := range inputs {
		for i, was := range in.cells {
			if was.any && len(was.may) > 0 && schema.Field(i).Type.ID() == arrow.STRING {
				in.notes = append(in.notes, fmt.Sprintf("%s: column %q is %s here and not in every file, so it is text", in.name, was.name, was.may[0].arrow))
			}
		}
		in.schema = schema
	}
}

func agreeJSON(inputs []*rowFile) error {
	all := newJSONFields()
	for _, in := range inputs {
		if !slices.Equal(slices.Sorted(slices.Values(in.values.names)), slices.Sorted(slices.Values(inputs[0].values.names))) {
			return nil
		}
		if err := all.widen(in.values); err != nil {
			return source.Errorf(source.KindInvalid, "put", "%s: %w", in.name, err)
		}
	}
	schema := all.schema()
	for _, in := range inputs {
		in.schema = schema
	}
	return nil
}

// withoutValues are the columns that no file of the job says a type of, because they are
// text files and have only nulls there.
func withoutValues(inputs []*rowFile) (names []string) {
	for i, f := range inputs[0].schema.Fields() {
		if !slices.ContainsFunc(inputs, func(in *rowFile) bool { return in.hasValues(i) }) {
			names = append(names, f.Name)
		}
	}
	return names
}

// hasValues reports whether a column has a value, or a type that the file says.
func (r *rowFile) hasValues(column int) bool {
	switch {
	case r.cells != nil:
		return r.cells[column].any
	case r.values != nil:
		return r.values.types[r.schema.Field(column).Name].kind != ""
	}
	return true
}

// untyped is a schema in which columns have no type.
func untyped(s *arrow.Schema, columns []string) *arrow.Schema {
	fields := slices.Clone(s.Fields())
	for i := range fields {
		if slices.Contains(columns, fields[i].Name) {
			fields[i].Type = arrow.Null
		}
	}
	meta := s.Metadata()
	return arrow.NewSchema(fields, &meta)
}

// leaveTypes leaves the types of columns without values to the dataset that the rows are
// added to. Where that has none, they stay text.
func leaveTypes(inputs []*rowFile, columns []string, begun writer.BeginResult) error {
	if len(columns) == 0 {
		return nil
	}
	has, err := writer.DecodeSchema(begun.Schema)
	if err != nil {
		return err
	}
	columns = slices.DeleteFunc(columns, func(name string) bool {
		at := has.FieldIndices(name)
		return len(at) == 0 || has.Field(at[0]).Type.ID() == arrow.NULL
	})
	for _, in := range inputs {
		in.schema = untyped(in.schema, columns)
	}
	return nil
}

// columnsDiffer says how the columns of a file differ from another one's; "" if they do
// not. What a format adds to names and types is no difference.
func columnsDiffer(got, want *arrow.Schema) string {
	if columnsText(got) == columnsText(want) {
		return ""
	}
	const most = 5
	var how []string
	for _, f := range want.Fields() {
		if at := got.FieldIndices(f.Name); len(at) == 0 {
			how = append(how, fmt.Sprintf("no column %q", f.Name))
		} else if is := got.Field(at[0]).Type.String(); is != f.Type.String() {
			how = append(how, fmt.Sprintf("column %q is %s and not %s", f.Name, is, f.Type))
		}
	}
	for _, f := range got.Fields() {
		if !want.HasField(f.Name) {
			how = append(how, fmt.Sprintf("column %q too", f.Name))
		}
	}
	if len(how) == 0 {
		return "they are in another order"
	}
	if len(how) > most {
		how = append(how[:most], fmt.Sprintf("and %d more", len(how)-most))
	}
	return strings.Join(how, ", ")
}

// columnsText is a schema's names and types.
func columnsText(s *arrow.Schema) string {
	columns := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		columns[i] = f.Name + " " + f.Type.String()
	}
	return strings.Join(columns, ", ")
}
