package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/hubflight/hubflight/source"
)

// csvOf opens a CSV file of this text as put does.
func csvOf(t *testing.T, text string) (*rowFile, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openRows(t.Context(), name)
}

func TestAllCellsOfACSVColumnDecideItsType(t *testing.T) {
	for cells, want := range map[string]string{
		"1,2":                         "int64 [1 2]",
		"1,1.5":                       "float64 [1 1.5]",
		"1.5,,1":                      "float64 [1.5 (null) 1]",
		`"",5`:                        "int64 [(null) 5]",
		"NULL,null,7":                 "int64 [(null) (null) 7]",
		"1,NaN":                       "float64 [1 NaN]",
		"-1,+2,0,-0":                  "int64 [-1 2 0 0]",
		"1e3,-.5":                     "float64 [1000 -0.5]",
		"94110,01234":                 `utf8 ["94110" "01234"]`,
		"01234,1":                     `utf8 ["01234" "1"]`,
		"00.5,1.5":                    `utf8 ["00.5" "1.5"]`,
		"12345678901234567890,1":      `utf8 ["12345678901234567890" "1"]`,
		"9007199254740993,1.5":        `utf8 ["9007199254740993" "1.5"]`,
		"9007199254740993,1":          "int64 [9007199254740993 1]",
		"0x10p0,1e999":                `utf8 ["0x10p0" "1e999"]`,
		"true,,False":                 "bool [true (null) false]",
		"t,f":                         `utf8 ["t" "f"]`,
		"true,1":                      `utf8 ["true" "1"]`,
		"2020-01-02,2021-02-03":       "date32 [2020-01-02 2021-02-03]",
		"2020-01-02,2021-02-03 04:05": "timestamp[s] [1577923200 1612325100]",
		"2020-01-02 03:04:05,2021-02-03T04:05:06.5": "timestamp[ns] [1577934245000000000 1612325106500000000]",
		"2020-01-02T03:04:05Z":                      "timestamp[s, tz=UTC] [1577934245]",
		"2020-01-02T03:04:05Z,2020-01-02T03:04:05":  `utf8 ["2020-01-02T03:04:05Z" "2020-01-02T03:04:05"]`,
		"0001-01-01,2020-01-02 03:04:05.5":          `utf8 ["0001-01-01" "2020-01-02 03:04:05.5"]`,
		"12:30:15,23:59:59":                         "time32[s] [45015 86399]",
		`"",NULL`:                                   "utf8 [(null) (null)]",
		"a,,1":                                      `utf8 ["a" (null) "1"]`,
	} {
		text := "key,c\n"
		for i, cell := range strings.Split(cells, ",") {
			text += fmt.Sprintf("%d,%s\n", i, cell)
		}
		in, err := csvOf(t, text)
		if err != nil {
			t.Errorf("%s: %v", cells, err)
			continue
		}
		var values []string
		for rec, err := range in.rows(t.Context()) {
			if err != nil {
				t.Fatalf("%s: %v", cells, err)
			}
			values = append(values, rec.Column(1).String())
		}
		if got := in.schema.Field(1).Type.String() + " " + strings.Join(values, " "); got != want {
			t.Errorf("%s: got %s, want %s", cells, got, want)
		}
	}
}

func TestACSVColumnThatTurnsOutToBeTextIsTold(t *testing.T) {
	in, err := csvOf(t, "id,\"na\nme\",zip\n1,a,94110\n\nx,2,01234\ny,3,5\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`a.csv: line 5: "x" is no int64 as what is above it, so column "id" is text`,
		`a.csv: line 5: "01234" is no int64 as what is above it, so column "zip" is text`,
	}
	if len(in.notes) != len(want) || !strings.HasSuffix(in.notes[0], want[0]) || !strings.HasSuffix(in.notes[1], want[1]) {
		t.Errorf("got %q, want %q", in.notes, want)
	}
}

func TestAMarkInFrontOfACSVFileIsNoPartOfAName(t *testing.T) {
	for text, names := range map[string]string{"\ufeffa,b\n1,x\n": "[a b]", "\ufeff\"a\",b\n1,x\n": "[a b]", "a\n1": "[a]"} {
		in, err := csvOf(t, text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		rows := int64(0)
		for rec, err := range in.rows(t.Context()) {
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			rows += rec.NumRows()
			for i, f := range rec.Schema().Fields() {
				if f.Name != in.schema.Field(i).Name {
					t.Errorf("%q: the rows call a column %q", text, f.Name)
				}
			}
		}
		var got []string
		for _, f := range in.schema.Fields() {
			got = append(got, f.Name)
		}
		if fmt.Sprint(got) != names || rows != 1 {
			t.Errorf("%q: %d rows of %q, want %s", text, rows, got, names)
		}
	}
}

func TestACellOfSeveralLinesIsKeptAsItIs(t *testing.T) {
	// The second row begins and ends where the readers' buffers of 4096 bytes do.
	for pad := range 3 {
		long := strings.Repeat("x", 4090-20+pad)
		cells := []string{"a\r\nb", "\r\n", long + "\r\n\r\n\r", "say \"\r\n\"\n", "a\rb\n\r"}
		text := "k,c\r\n"
		for i, cell := range cells {
			text += fmt.Sprintf("%d,\"%s\"\r\n", i, strings.ReplaceAll(cell, `"`, `""`))
		}
		for name, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			rows, err := csv.NewReader(csvLines(reader(strings.NewReader(text)))).ReadAll()
			if err != nil || len(rows) != len(cells)+1 {
				t.Fatalf("%s: %d rows, %v", name, len(rows), err)
			}
			for i, row := range rows[1:] {
				if row[1] != cells[i] {
					t.Errorf("%s: cell %d is %.40q, want %.40q", name, i, row[1], cells[i])
				}
			}
		}
		in, err := csvOf(t, text)
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range in.rows(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range cells {
				if got := rec.Column(1).(*array.String).Value(i); got != want {
					t.Errorf("row %d has %.40q, want %.40q", i, got, want)
				}
			}
		}
	}
}

func TestWhatIsWrongInACSVFileIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "a.csv is empty: a CSV file begins with the names",
		"a,b\n":                         "a.csv has no rows",
		"a,b\n1,x\n2\n":                 "a.csv: line 3 has 1 cell, and the header 2: give each row",
		"a,b\n1,x\n2,\"y\nz\"\"":        "a.csv: line 4, character",
		"a,b\n1,x\n2,y\"z\n":            "a.csv: line 3, character 4: bare \"",
		"a,b\n1,x\n2,M\xfcller\n":       "a.csv: line 3: column \"b\" is not UTF-8: save the file as CSV in UTF-8",
		"\xff\xfea\x00,\x00b\x00\n\x00": "a.csv: line 1: its name is not UTF-8",
	} {
		_, err := csvOf(t, text)
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
