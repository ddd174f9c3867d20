package source

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Column names a column on the wire: a string, or a path of strings.
//
// A string is first a top-level name, in which dots are ordinary characters. In
// a projection (not in a filter) a string that is no top-level name is then read
// as a dotted path. A list is always a path.
type Column struct {
	// Name is set for the string form.
	Name string
	// Path is set for the list form; it has at least one element.
	Path []string
}

// Col is the string form.
func Col(name string) Column { return Column{Name: name} }

// IsPath reports whether the column was given as a list.
func (c Column) IsPath() bool { return c.Path != nil }

// String returns the name, or the path joined by dots.
func (c Column) String() string {
	if c.IsPath() {
		return strings.Join(c.Path, ".")
	}
	return c.Name
}

// MarshalJSON writes the form the column was given in.
func (c Column) MarshalJSON() ([]byte, error) {
	if c.IsPath() {
		return json.Marshal(c.Path)
	}
	return json.Marshal(c.Name)
}

// UnmarshalJSON reads a string or a non-empty list of strings.
func (c *Column) UnmarshalJSON(raw []byte) error {
	var name string
	if err := json.Unmarshal(raw, &name); err == nil {
		*c = Column{Name: name}
		return c.Validate()
	}
	var path []string
	if err := json.Unmarshal(raw, &path); err != nil {
		return fmt.Errorf("a column is a string or a list of strings, not %s", Clip(string(raw), 60))
	}
	*c = Column{Path: path}
	if path == nil {
		return fmt.Errorf("a column is a string or a list of strings, not null")
	}
	return c.Validate()
}

// Validate refuses empty names and paths.
func (c Column) Validate() error {
	if !c.IsPath() {
		if c.Name == "" {
			return fmt.Errorf("a column name is empty")
		}
		return nil
	}
	if len(c.Path) == 0 {
		return fmt.Errorf("a column path is empty")
	}
	if slices.Contains(c.Path, "") {
		return fmt.Errorf("column path %q has an empty part", c.Path)
	}
	return nil
}
