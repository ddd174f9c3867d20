package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/flightsrv/client"
)

// fate is what becomes of a row group, as the pictures of a plan show it.
type fate struct {
	layer string // of the wire; "" is read
	glyph string // in a terminal
	label string // in a legend
	class string // in an SVG
}

// fates in the order of their legends. A row group of which a part is read stands
// between "read" and "page index": its cell is as full as that part.
var fates = []fate{
	{"", "█", "read", "read"},
	{"statistics", "·", "skipped by statistics", "statistics"},
	{"bloom", "○", "skipped by a bloom filter", "bloom"},
	{"dictionary", "◇", "skipped by its dictionary", "dictionary"},
	{"page index", "□", "skipped by the page index", "pages"},
	{"limit", "–", "behind the limit", "limit"},
}

// partly are cells for an eighth, two eighths, … of a row group's rows.
var partly = []rune("▁▂▃▄▅▆▇")

// fateOf also knows layers that a newer server may name.
func fateOf(layer string) fate {
	for _, f := range fates {
		if f.layer == layer {
			return f
		}
	}
	return fate{layer, "?", "skipped by " + layer, "other"}
}

// occurring are the fates of the layers that occur, in the order of the legends; those
// that a newer server names come last.
func occurring(used map[string]bool) (out []fate) {
	for _, f := range fates {
		if used[f.layer] {
			out = append(out, f)
		}
	}
	for _, layer := range slices.Sorted(maps.Keys(used)) {
		if f := fateOf(layer); f.class == "other" {
			out = append(out, f)
		}
	}
	return out
}

// share is the part of a row group's rows that may match, 0 … 1.
func share(kept bool, candidates, rows int64) float64 {
	switch {
	case !kept:
		return 0
	case candidates <= 0 || rows <= 0: // a server that does not say
		return 1
	}
	return min(float64(candidates)/float64(rows), 1)
}

// cell is a row group in a terminal.
func cell(kept bool, layer string, candidates, rows int64) string {
	if part := share(kept, candidates, rows); part > 0 && part < 1 {
		return string(partly[min(int(part*8), len(partly)-1)])
	} else if kept {
		return fates[0].glyph
	}
	return fateOf(layer).glyph
}

// cellsOfLine is how many row groups a line shows behind a column of names: what a
// terminal of that width has room for, or 64 where there is none (0).
func cellsOfLine(terminal, names int) int {
	const most, least = 64, 8
	if terminal == 0 {
		return most
	}
	return max(least, min(most, terminal-names-len("    999 of 999")))
}

// notLookedAt is said of a file whose footer the plan has not read.
const notLookedAt = "not looked at before it is read"

// drawPlan draws a row per file and a cell per row group, and what the cells mean,
// as wide as the terminal.
func drawPlan(out io.Writer, terminal int, e *client.Explanation) error {
	width := 0
	for _, f := range e.Files {
		width = max(width, len([]rune(f.File)))
	}
	most := cellsOfLine(terminal, width)
	used, part := map[string]bool{}, false
	for _, f := range e.Files {
		var cells strings.Builder
		kept := 0
		for i, g := range f.Groups {
			if i > 0 && i%most == 0 {
				cells.WriteString("\n" + strings.Repeat(" ", width+2))
			}
			cells.WriteString(cell(g.Kept, g.Layer, g.Candidates, g.Rows))
			if g.Kept {
				kept++
				part = part || share(true, g.Candidates, g.Rows) < 1
			}
			used[g.Layer] = true
		}
		what := fmt.Sprintf("%s  %d of %d", cells.String(), kept, len(f.Groups))
		if len(f.Groups) == 0 {
			what = notLookedAt
		}
		if _, err := fmt.Fprintf(out, "%-*s  %s\n", width, printable(f.File), what); err != nil {
			return err
		}
	}
	if legend := legendOf(used, part); legend != "" {
		_, err := fmt.Fprintln(out, legend)
		return err
	}
	return nil
}

// legendOf names the cells that were drawn.
func legendOf(used map[string]bool, part bool) string {
	var words []string
	skipped := false
	for _, f := range occurring(used) {
		words = append(words, f.glyph+" "+f.label)
		skipped = skipped || f.layer != ""
		if f.layer == "" && part {
			words = append(words, string(partly[0])+"…"+string(partly[len(partly)-1])+" pages of it")
		}
	}
	if skipped || part {
		return strings.Join(words, "   ")
	}
	return "" // everything is read
}
