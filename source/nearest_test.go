package source_test

import (
	"testing"

	"github.com/hubflight/hubflight/source"
)

func TestTheNearestNameIsOneThatWasProbablyMeant(t *testing.T) {
	for _, c := range []struct {
		name  string
		known []string
		want  string
	}{
		{"colums", []string{"config", "columns", "limit"}, "columns"},
		{"adress", []string{"dress", "address"}, "dress"}, // the first of equally near ones
		{"hsot", []string{"host", "hour"}, "host"},
		{"Carrier", []string{"carriers", "carrier"}, "carrier"},
		{"ID", []string{"id"}, "id"},
		{"idd", []string{"name", "id"}, "id"},
		{"pth", []string{"path"}, "path"},
		{"größe", []string{"grösse", "tiefe"}, "grösse"},
		{"y", []string{"x"}, ""}, // whatever has one letter is as near
		{"abc", []string{"xyc"}, ""},
		{"nothing", []string{"carrier", "hour"}, ""},
		{"", []string{"a", ""}, ""},
		{"a", nil, ""},
	} {
		if got := source.Nearest(c.name, c.known); got != c.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", c.name, c.known, got, c.want)
		}
	}
}
