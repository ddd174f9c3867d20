package scan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

// oracleCase is a line of what testdata/oracle.py writes.
type oracleCase struct {
	Seed    int
	File    string
	Expect  string
	Skip    string
	Columns []source.Column
	Filters json.RawMessage
}

// pyarrow is the oracle for what a file's rows are: types, values, filters,
// order. The test needs a Python with pyarrow, named by HUBFLIGHT_PYTHON;
// HUBFLIGHT_ORACLE_CASES says how many seeded files to make.
func TestRowsAndTypesAreThoseOfPyarrow(t *testing.T) {
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with pyarrow")
	}
	cases := 200
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_ORACLE_CASES")); err == nil {
		cases = n
	}
	dir := t.TempDir()
	files, err := filepath.Glob(corpora + "/parquet/*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"testdata/oracle.py", dir, strconv.Itoa(cases)}, files...)
	if out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines, err := os.Open(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lines.Close() }()
	ran := 0
	for scan := bufio.NewScanner(lines); scan.Scan(); {
		var c oracleCase
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(c.Seed)
		if c.Seed < 0 {
			name = filepath.Base(c.File)
		}
		if c.Skip == "" {
			ran++
		}
		t.Run(name, func(t *testing.T) { c.check(t, dir) })
	}
	if ran < cases/2 {
		t.Errorf("only %d cases ran", ran)
	}
}

func (c oracleCase) check(t *testing.T, dir string) {
	if c.Skip != "" {
		t.Skip(c.Skip)
	}
	path := c.File
	if c.Seed >= 0 {
		path = filepath.Join(dir, c.File)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Columns: c.Columns}
	if c.Filters != nil {
		if q.Filters, err = filter.Parse(c.Filters); err != nil {
			t.Fatalf("%s: %v", c.Filters, err)
		}
	}
	reader := read
	if c.Seed < 0 {
		reader = readInto // the library's DELTA decoders forget some scratch memory
	}
	got, _, err := reader(t, data, Task{Query: q, Limit: -1})
	if err != nil {
		if c.Seed < 0 && isRefusal(err) {
			t.Skipf("refused: %v", err)
		}
		t.Fatalf("%v (filters %s)", err, c.Filters)
	}
	want := readStream(t, filepath.Join(dir, c.Expect))
	for i, f := range want.Schema().Fields() {
		if g := got.Schema().Field(i); g.Name != f.Name || !arrow.TypeEqual(g.Type, f.Type) {
			t.Errorf("field %d is %s: %s, pyarrow has %s: %s", i, g.Name, g.Type, f.Name, f.Type)
		}
	}
	if t.Failed() {
		return
	}
	if got.NumRows() != want.NumRows() {
		t.Fatalf("%d rows, pyarrow has %d (filters %s)", got.NumRows(), want.NumRows(), c.Filters)
	}
	for i := range int(want.NumCols()) {
		g, w := got.Column(i), want.Column(i)
		if !array.ApproxEqual(g, w, array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
			t.Errorf("column %s (filters %s)\n got %.600v\nwant %.600v", want.ColumnName(i), c.Filters, g, w)
		}
	}
}

// isRefusal says whether an error is one that the corpora's README allows where
// pyarrow reads: a refusal that names the column or the file.
func isRefusal(err error) bool {
	var e *source.Error
	return errors.As(err, &e) && e.Path != "" && (e.Kind == source.KindUnsupported || e.Kind == source.KindCorrupt)
}

func readStream(t *testing.T, path string) arrow.RecordBatch {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, err := ipc.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var batches []arrow.RecordBatch
	for r.Next() {
		b := r.RecordBatch()
		b.Retain()
		batches = append(batches, b)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return joinAll(t, r.Schema(), batches)
}
