package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// column is one of a table: text begins at the left, numbers end at the right.
type column struct {
	heading string
	number  bool
}

func text(heading string) column   { return column{heading: heading} }
func number(heading string) column { return column{heading: heading, number: true} }

// printTable prints rows under their headings. A row has a cell for each column.
func printTable(out io.Writer, columns []column, rows [][]string) error {
	headings := make([]string, len(columns))
	for i, c := range columns {
		headings[i] = c.heading
	}
	shown := [][]string{headings}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = printable(cell)
		}
		shown = append(shown, cells)
	}
	rows = shown
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].number {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// printable is a text as a terminal may show it: names are chosen by whoever has made a
// repository, and control characters in them would be orders to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// terminalWidth is how many letters a line of the terminal has that out is; 0 is none.
func terminalWidth(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
