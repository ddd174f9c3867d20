package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

// csvType is a type that all cells of a column may have.
type csvType struct {
	arrow arrow.DataType
	holds func(cell string) bool
}

// csvTypes are what a column can be before it is text: the first of those that hold
// all of its cells. Some hold what others do, so that 1 and 1.5 are numbers together,
// and a day and a moment are moments.
func csvTypes() []csvType {
	return []csvType{
		{arrow.PrimitiveTypes.Int64, isWhole},
		{arrow.FixedWidthTypes.Boolean, isTruth},
		{arrow.FixedWidthTypes.Date32, func(cell string) bool { _, err := time.Parse(time.DateOnly, cell); return err == nil }},
		{arrow.FixedWidthTypes.Time32s, func(cell string) bool { _, err := arrow.Time32FromString(cell, arrow.Second); return err == nil }},
		moment(arrow.Second, ""), moment(arrow.Nanosecond, ""), moment(arrow.Second, "UTC"), moment(arrow.Nanosecond, "UTC"),
		{arrow.PrimitiveTypes.Float64, isNumber},
	}
}

func isWhole(cell string) bool {
	_, err := strconv.ParseInt(cell, 10, 64)
	return err == nil && !isCode(cell)
}

// isTruth does not take the t, f, 1 and 0 that strconv does: more often they are codes.
func isTruth(cell string) bool {
	return slices.Contains([]string{"true", "True", "TRUE", "false", "False", "FALSE"}, cell)
}

func isNumber(cell string) bool {
	if isCode(cell) || strings.ContainsAny(cell, "xX_") {
		return false
	}
	if strings.Trim(cell, "+-0123456789") == "" { // as a double it would lose digits
		n, err := strconv.ParseInt(cell, 10, 64)
		return err == nil && floatHolds(n)
	}
	_, err := strconv.ParseFloat(cell, 64)
	return err == nil
}

// isCode reports whether digits begin with a zero that a number would lose, as those
// of postal codes do.
func isCode(cell string) bool {
	digits := strings.TrimLeft(cell, "+-")
	return len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'
}

func moment(unit arrow.TimeUnit, zone string) csvType {
	return csvType{&arrow.TimestampType{Unit: unit, TimeZone: zone}, func(cell string) bool {
		_, zoned, err := arrow.TimestampFromStringInLocation(cell, unit, time.UTC)
		return err == nil && zoned == (zone != "")
	}}
}

// csvNulls are the cells that are null in a column of any type.
func csvNulls() []string { return []string{"", "NULL", "null"} }

// csvColumn is what the cells of a column have been.
type csvColumn struct {
	name string
	may  []csvType // what holds all of them
	any  bool      // there was one that is not null
}

// add looks at a cell. It returns what the column was taken for, if that is text now.
func (c *csvColumn) add(cell string) (was arrow.DataType) {
	if len(c.may) == 0 || slices.Contains(csvNulls(), cell) {
		return nil
	}
	if c.any {
		was = c.may[0].arrow
	}
	c.any = true
	c.may = slices.DeleteFunc(c.may, func(t csvType) bool { return !t.holds(cell) })
	if len(c.may) > 0 {
		return nil
	}
	return was
}

// widen leaves the types that hold another column's cells, too.
func (c *csvColumn) widen(with csvColumn) {
	c.any = c.any || with.any
	c.may = slices.DeleteFunc(c.may, func(t csvType) bool {
		return !slices.ContainsFunc(with.may, func(other csvType) bool { return arrow.TypeEqual(t.arrow, other.arrow) })
	})
}

// arrow is the type of the column; one that is always null is text.
func (c *csvColumn) arrow() arrow.DataType {
	if !c.any || len(c.may) == 0 {
		return arrow.BinaryTypes.String
	}
	return c.may[0].arrow
}

// inferCSV reads the whole file for the types of its columns, row by row. The notes tell
// where a column turned out to be text.
func (r *rowFile) inferCSV(f io.Reader) (*arrow.Schema, error) {
	text := csv.NewReader(csvLines(f))
	text.ReuseRecord = true
	header, err := text.Read()
	if errors.Is(err, io.EOF) {
		return nil, source.Errorf(source.KindInvalid, "put", "%s is empty", r.name).WithHint("a CSV file begins with the names of its columns")
	}
	if err != nil {
		return nil, csvError(r.name, err)
	}
	columns := make([]csvColumn, len(header))
	for i, name := range header {
		if !utf8.ValidString(name) {
			return nil, notUTF8(r.name, text, i, "its name")
		}
		columns[i] = csvColumn{name: name, may: csvTypes()}
	}
	for {
		began := text.InputOffset()
		row, err := text.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := text.FieldPos(0)
			return nil, source.Errorf(source.KindInvalid, "put", "%s: line %d has %s, and the header %d", r.name, line, count(len(row), "cell"), len(columns)).
				WithHint("give each row a cell for each column; a cell with a comma is put in double quotes")
		}
		if err != nil {
			return nil, csvError(r.name, err)
		}
		for i, cell := range row {
			if !utf8.ValidString(cell) {
				return nil, notUTF8(r.name, text, i, fmt.Sprintf("column %q", columns[i].name))
			}
			if was := columns[i].add(cell); was != nil {
				line, _ := text.FieldPos(i)
				r.notes = append(r.notes, fmt.Sprintf("%s: line %d: %.60q is no %s as what is above it, so column %q is text", r.name, line, cell, was, columns[i].name))
			}
		}
		r.lengths.add(text.InputOffset() - began)
	}
	if r.lengths.rows == 0 {
		return nil, source.Errorf(source.KindInvalid, "put", "%s has no rows, so the types of its columns are not known", r.name)
	}
	r.cells = columns
	return csvSchema(columns), nil
}

// csvSchema is the schema of columns.
func csvSchema(columns []csvColumn) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.arrow(), Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// unmarked reads behind the mark with which some programs begin text in UTF-8.
func unmarked(r io.Reader) *bufio.Reader {
	const mark = "\ufeff"
	text := bufio.NewReaderSize(r, 1<<20)
	if first, _ := text.Peek(len(mark)); string(first) == mark { // a shorter file has none, and its error comes again
		_, _ = text.Discard(len(mark))
	}
	return text
}

// csvLines reads a CSV file so that cells of several lines keep their carriage returns.
// encoding/csv takes one away in front of every line feed: inside of quotes it gets two.
func csvLines(f io.Reader) io.Reader { return &returnsKept{text: unmarked(f)} }

type returnsKept struct {
	text   *bufio.Reader
	quoted bool
	again  bool // the carriage return that was read last is read once more
}

// Read implements io.Reader. It gives what is between two carriage returns, or one of
// them.
func (r *returnsKept) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.again {
		r.again, p[0] = false, '\r'
		return 1, nil
	}
	if _, err := r.text.Peek(1); err != nil {
		return 0, err
	}
	ahead, _ := r.text.Peek(min(r.text.Buffered(), len(p))) // is there
	if ahead[0] == '\r' {
		next, _ := r.text.Peek(2) // at the end there is one
		r.again, p[0] = r.quoted && len(next) == 2 && next[1] == '\n', '\r'
		return r.text.Discard(1)
	}
	if end := bytes.IndexByte(ahead, '\r'); end > 0 {
		ahead = ahead[:end]
	}
	if bytes.Count(ahead, []byte{'"'})%2 == 1 {
		r.quoted = !r.quoted
	}
	return r.text.Discard(copy(p, ahead))
}

func csvError(name string, err error) error {
	var at *csv.ParseError
	if !errors.As(err, &at) {
		return source.Errorf(source.KindInvalid, "put", "%s: %w", name, err)
	}
	return source.Errorf(source.KindInvalid, "put", "%s: line %d, character %d: %w", name, at.Line, at.Column, at.Err).
		WithHint("a cell that holds a double quote is put in double quotes, and the one inside is doubled")
}

func notUTF8(name string, r *csv.Reader, cell int, what string) error {
	line, _ := r.FieldPos(cell)
	return source.Errorf(source.KindInvalid, "put", "%s: line %d: %s is not UTF-8", name, line, what).WithHint("save the file as CSV in UTF-8")
}
