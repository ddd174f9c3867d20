package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/flightsrv/client"
)

// pictured has a row group of every sort, a name that XML must escape, and a file
// whose footer was not read.
func pictured() *client.Explanation {
	e := &client.Explanation{Files: []client.ExplainedFile{
		{File: "data/<a>&\"b\".parquet", Kept: true, Rows: 800, Groups: []client.ExplainedGroup{
			{Group: 0, Kept: true, Rows: 100, Candidates: 100, Bytes: 10, Read: 10},
			{Group: 1, Kept: true, Rows: 100, Candidates: 50, Bytes: 10, Read: 6},
			{Group: 2, Kept: true, Rows: 100, Candidates: 1, Bytes: 10, Read: 1},
			{Group: 3, Kept: true, Rows: 100, Bytes: 10}, // of a server that does not say
			{Group: 4, Layer: "statistics", Rows: 100}, {Group: 5, Layer: "bloom", Rows: 100},
			{Group: 6, Layer: "dictionary", Rows: 100}, {Group: 7, Layer: "page index", Rows: 100},
			{Group: 8, Layer: "limit", Rows: 100}, {Group: 9, Layer: "of tomorrow", Rows: 100},
		}},
		{File: "data/unread.parquet", Kept: true, Rows: -1},
	}}
	for range 100 {
		e.Files[1].Groups = append(e.Files[1].Groups, client.ExplainedGroup{Layer: "statistics", Rows: 1})
	}
	e.Files = append(e.Files, client.ExplainedFile{File: "data/later.parquet", Kept: true, Rows: -1})
	return e
}

func TestAPlanFitsTheTerminal(t *testing.T) {
	for terminal, lines := range map[int]int{60: 6, 80: 5} { // three files, of which one has 100 row groups
		var out strings.Builder
		if err := drawPlan(&out, terminal, pictured()); err != nil {
			t.Fatal(err)
		}
		files, _, _ := strings.Cut(out.String(), "\n█ read")
		widest := 0
		for line := range strings.SplitSeq(files, "\n") {
			widest = max(widest, len([]rune(line)))
		}
		if widest > terminal || strings.Count(files, "\n")+1 != lines {
			t.Errorf("not %d lines of at most %d columns:\n%s", lines, terminal, files)
		}
	}
}

func TestAPlanIsDrawnWithACellPerRowGroup(t *testing.T) {
	var out strings.Builder
	if err := drawPlan(&out, 0, pictured()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if want := `data/<a>&"b".parquet  █▅▁█·○◇□–?  4 of 10`; lines[0] != want {
		t.Errorf("got  %s\nwant %s", lines[0], want)
	}
	if want := strings.Repeat("·", 36) + "  0 of 100"; strings.TrimSpace(lines[2]) != want {
		t.Errorf("the second line of a wide file: %q", lines[2])
	}
	if want := "data/later.parquet    not looked at before it is read"; lines[3] != want {
		t.Errorf("a file whose footer was not read: %q", lines[3])
	}
	legend := lines[4]
	for _, part := range []string{"█ read", "▁…▇ pages", "· skipped by statistics", "○ skipped by a bloom", "◇ skipped by its dict", "□ skipped by the page", "– behind", "? skipped by of tomorrow"} {
		if !strings.Contains(legend, part) {
			t.Errorf("the legend %q does not say %q", legend, part)
		}
	}
	out.Reset()
	all := &client.Explanation{Files: []client.ExplainedFile{{File: "a", Groups: []client.ExplainedGroup{{Kept: true, Rows: 1, Candidates: 1}}}}}
	if err := drawPlan(&out, 0, all); err != nil || out.String() != "a  █  1 of 1\n" {
		t.Errorf("everything is read: %q, %v", out.String(), err)
	}
}

func TestAnSVGIsWellFormedAndStandsForItself(t *testing.T) {
	var out bytes.Buffer
	if err := writeSVG(&out, `ns/<set>&`, pictured()); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	cells, titles := 0, 0
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range start.Attr {
			if a.Name.Local == "href" || a.Name.Local == "src" {
				t.Errorf("%s refers to %s", start.Name.Local, a.Value)
			}
			if a.Name.Local == "class" && strings.HasPrefix(a.Value, "c ") {
				cells++
			}
		}
		if start.Name.Local == "title" {
			titles++
		}
	}
	const groups, legend, files = 110, 8, 3
	if cells != groups+legend || titles != groups+files {
		t.Errorf("%d cells and %d titles", cells, titles)
	}
	for _, part := range []string{"prefers-color-scheme: dark", "50 of 100 rows may match", "skipped by the page index", "data/&lt;a&gt;&amp;"} {
		if !strings.Contains(text, part) {
			t.Errorf("the picture does not hold %q", part)
		}
	}
	if strings.Contains(text, "url(") || strings.Contains(text, "@import") {
		t.Error("the picture loads something")
	}
}
