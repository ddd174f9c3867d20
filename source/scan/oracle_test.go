package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

const oracleFolder = "scantest/oracle"

// queriesPerFile of a seeded file; one in five reads it without a filter.
const queriesPerFile = 10

// oracleCases is how many queries to make: a reduced number in CI, the number of
// HUBFLIGHT_ORACLE_CASES in the nightly run. HUBFLIGHT_ORACLE_FIRST is the first
// seed, to repeat what failed.
func oracleCases(t *testing.T, reduced int) (first, files int) {
	t.Helper()
	for name, n := range map[string]*int{"HUBFLIGHT_ORACLE_CASES": &reduced, "HUBFLIGHT_ORACLE_FIRST": &first} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	return first, (reduced + queriesPerFile - 1) / queriesPerFile
}

// The rows of every query are those that the contract's tables give, row by row,
// on what pyarrow reads from the file; and pyarrow's own are the same, or one of
// the deviations in deviations_test.go says why not.
func TestRowsAndTypesAreThoseOfPyarrow(t *testing.T) {
	first, files := oracleCases(t, 2200)
	folder := t.TempDir()
	tally := newTally()
	askAll(t, oracleFolder, first, files, func(seed int) scantest.Job {
		return scantest.Job{Op: "make", Seed: seed, Queries: queriesPerFile, Folder: folder}
	}, func(t *testing.T, a scantest.Answer) { checkAnswer(t, a, tally) })
	tally.report(t)
	if tally.agreed*2 < tally.asked {
		t.Errorf("pyarrow had an answer to %d of %d cases", tally.agreed, tally.asked)
	}
}

// askAll asks about as many files as are wanted: for each that the peer cannot
// read itself it asks about another one. A run that asks about fewer says so and
// fails, with what the peer said.
func askAll(t *testing.T, program string, first, files int, job func(seed int) scantest.Job, check func(t *testing.T, a scantest.Answer)) {
	t.Helper()
	asked, next := 0, first
	failures := map[string]int{}
	for asked < files && next < first+2*files {
		jobs := make([]scantest.Job, files-asked)
		for i := range jobs {
			jobs[i] = job(next)
			next++
		}
		scantest.Ask(t, program, jobs, func(a scantest.Answer) {
			if a.Error != "" {
				failures[fmt.Sprintf("%.60s", a.Error)]++
				return
			}
			asked++
			t.Run(fmt.Sprintf("%s%d", a.Job.Writer, a.Job.Seed), func(t *testing.T) {
				if len(a.Queries) != a.Job.Queries {
					t.Errorf("%d queries were made, not %d", len(a.Queries), a.Job.Queries)
				}
				check(t, a)
			})
		})
		if t.Failed() {
			break // the peer may have died
		}
	}
	t.Logf("%d of %d files, %d that the peer could not read: %v", asked, files, next-first-asked, failures)
	if asked < files {
		t.Errorf("only %d of %d files were asked about", asked, files)
	}
}

// checkAnswer reads a file as every one of its queries says.
func checkAnswer(t *testing.T, a scantest.Answer, tally *tally) {
	data, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := scantest.Table(a.Expect)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Release()
	ft := footer(t, data)
	if got := scantest.Shape(ft.Schema()); got != scantest.Shape(want.Schema()) {
		t.Fatalf("the schema is\n%s, pyarrow's\n%s", got, scantest.Shape(want.Schema()))
	}
	checkWhole(t, data, ft, want)
	rng := rand.New(rand.NewPCG(uint64(a.Job.Seed), 7))
	for i, q := range a.Queries {
		c := oracleCase{t: t, name: fmt.Sprintf("query %d, filters %s, columns %v", i, q.Filters, q.Columns), data: data, ft: ft, want: want, asked: q, everyRow: i == 0}
		c.check(rng, tally)
	}
}

// checkWhole reads everything.
func checkWhole(t *testing.T, data []byte, ft *Footer, want arrow.RecordBatch) {
	t.Helper()
	got, err := readBatches(data, Task{Footer: ft, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	sameCells(t, "whole", got, want, allRows(want))
	releaseBatches(got)
}

// readBatches collects a task's batches as they come.
func readBatches(data []byte, task Task) ([]arrow.RecordBatch, error) {
	task.File, task.Reader = testFile, &bytesReader{data: data}
	s, err := Open(context.Background(), task)
	if err != nil {
		return nil, err
	}
	var out []arrow.RecordBatch
	for {
		b, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out, s.Close()
		}
		if err != nil {
			releaseBatches(out)
			return nil, errors.Join(err, s.Close())
		}
		if !b.Schema().Equal(s.Schema()) {
			releaseBatches(append(out, b))
			return nil, errors.Join(fmt.Errorf("batch schema %s, stream schema %s", b.Schema(), s.Schema()), s.Close())
		}
		out = append(out, b)
	}
}

func releaseBatches(batches []arrow.RecordBatch) {
	for _, b := range batches {
		b.Release()
	}
}

func allRows(b arrow.RecordBatch) []int {
	out := make([]int, b.NumRows())
	for i := range out {
		out[i] = i
	}
	return out
}

// sameCells compares batches with the given rows of want, column by name.
func sameCells(t *testing.T, name string, got []arrow.RecordBatch, want arrow.RecordBatch, rows []int) {
	t.Helper()
	at := 0
	for _, b := range got {
		if at+int(b.NumRows()) > len(rows) {
			t.Errorf("%s: more than %d rows", name, len(rows))
			return
		}
		for c, f := range b.Schema().Fields() {
			g, w := b.Column(c), want.Column(want.Schema().FieldIndices(f.Name)[0])
			for i, row := range rows[at : at+int(b.NumRows())] {
				if !scantest.Same(g, i, w, row) {
					t.Errorf("%s: column %s, row %d of the result, row %d of the file: got %.300s, want %.300s", name, f.Name, at+i, row, scantest.Text(g, i), scantest.Text(w, row))
					return
				}
			}
		}
		at += int(b.NumRows())
	}
	if at != len(rows) {
		t.Errorf("%s: %d rows, want %d", name, at, len(rows))
	}
}

// oracleCase is one query of one file.
type oracleCase struct {
	t     *testing.T
	name  string
	data  []byte
	ft    *Footer
	want  arrow.RecordBatch
	asked scantest.Query
	// everyRow resumes the stream at every one of its rows.
	everyRow bool
}

func (c oracleCase) check(rng *rand.Rand, tally *tally) {
	t := c.t
	t.Helper()
	tally.asked++
	q := Query{Columns: c.asked.Columns, BatchRows: []int{0, 1 + rng.IntN(100)}[rng.IntN(2)]}
	rows, refused := allRows(c.want), false
	var terms [][]scantest.Term
	if hasFilters(c.asked.Filters) {
		var err error
		if q.Filters, err = filter.Parse(c.asked.Filters); err != nil {
			t.Errorf("%s: %v", c.name, err)
			return
		}
		terms, err = scantest.Conditions(c.want, c.asked.Filters, scantest.PyArrow)
		if refused = errors.Is(err, scantest.ErrRefused); err != nil && !refused {
			t.Fatalf("%s: %v", c.name, err)
		}
		rows = scantest.Rows(int(c.want.NumRows()), terms, scantest.PyArrow)
	}
	if refused {
		c.checkRefused(q)
		return
	}
	c.checkRows(q, rows, rng)
	if terms != nil {
		tally.compare(c, terms, rows)
	} else {
		tally.agreed++
	}
}

func hasFilters(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (c oracleCase) checkRefused(q Query) {
	c.t.Helper()
	if _, err := q.Output(c.ft.Schema()); source.KindOf(err) != source.KindInvalid {
		c.t.Errorf("%s: %v, but the contract refuses it", c.name, err)
	}
}

// checkRows reads the query whole, once more with every layer of pruning off, and
// from the middle.
func (c oracleCase) checkRows(q Query, rows []int, rng *rand.Rand) {
	t := c.t
	t.Helper()
	shape, err := scantest.Selected(c.ft.Schema(), q.Columns)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	task := Task{Footer: c.ft, Query: q, Limit: -1}
	c.read("", task, shape, rows)
	if c.everyRow && len(rows) <= 30 {
		for skip := range len(rows) + 2 {
			task.Skip = int64(skip)
			c.read(fmt.Sprintf(", skip %d", skip), task, shape, rows[min(skip, len(rows)):])
		}
		task.Skip = 0
	}
	if q.Filters != nil {
		c.read(", without pruning", unpruned(task), shape, rows)
	}
	if skip, limit := rng.IntN(len(rows)+2), rng.IntN(len(rows)+2); rng.IntN(3) == 0 {
		task.Skip, task.Limit = int64(skip), int64(limit)
		end := min(limit, len(rows))
		c.read(fmt.Sprintf(", skip %d, limit %d", skip, limit), task, shape, rows[min(skip, end):end])
	}
}

// unpruned is the task with every layer of pruning off.
func unpruned(task Task) Task {
	task.Query.off = offAll
	task.Groups = make([]int, task.Footer.NumRowGroups())
	for i := range task.Groups {
		task.Groups[i] = i
	}
	return task
}

func (c oracleCase) read(how string, task Task, shape string, rows []int) {
	t := c.t
	t.Helper()
	got, err := readBatches(c.data, task)
	if err != nil {
		t.Errorf("%s%s: %v", c.name, how, err)
		return
	}
	defer releaseBatches(got)
	for _, b := range got {
		if s := scantest.Shape(b.Schema()); s != shape {
			t.Errorf("%s: the schema is\n%s, want\n%s", c.name, s, shape)
			return
		}
	}
	sameCells(t, c.name+how, got, c.want, rows)
}

func readWhole(data []byte) ([]arrow.RecordBatch, error) {
	ft, err := ReadFooter(context.Background(), &bytesReader{data: data}, testFile)
	if err != nil {
		return nil, err
	}
	return readBatches(data, Task{Footer: ft, Limit: -1})
}
