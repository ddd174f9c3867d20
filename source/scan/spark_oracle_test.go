package scan

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

// queriesPerSparkFile are many, because Spark answers all of a file at once.
const queriesPerSparkFile = 72

// The spark profile's types and values are those that real Spark reads from the
// same file, or from one with the mapped values where it reads none; and the rows
// that the spark logic keeps are those for which Spark's own expression is true.
// A third of the files is written by Spark.
func TestRowsTypesAndValuesAreThoseOfSpark(t *testing.T) {
	first, files := oracleCases(t, 70)
	folder := t.TempDir()
	askAll(t, oracleFolder+"/spark.py", first, files, func(seed int) scantest.Job {
		return scantest.Job{Op: "spark", Seed: seed, Queries: queriesPerSparkFile, Folder: folder}
	}, checkSparkAnswer)
}

func checkSparkAnswer(t *testing.T, a scantest.Answer) {
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
	whole := Query{Profile: Spark, Logic: filter.Spark}
	out, err := whole.Output(ft.Schema())
	if err != nil {
		t.Fatal(err)
	}
	if got := scantest.Shape(out); got != scantest.Shape(want.Schema()) {
		t.Fatalf("the schema is\n%s, Spark's\n%s", got, scantest.Shape(want.Schema()))
	}
	checkSparkRows(t, "whole", data, Task{Footer: ft, Query: whole, Limit: -1}, want, allRows(want))
	for i, asked := range a.Queries {
		name := fmt.Sprintf("query %d, filters %s", i, asked.Filters)
		terms, err := scantest.Conditions(want, asked.Filters, scantest.Spark)
		if errors.Is(err, scantest.ErrRefused) {
			t.Fatalf("%s: %v", name, err)
		}
		rows := scantest.Rows(int(want.NumRows()), terms, scantest.Spark)
		if !slices.Equal(rows, asked.Rows) {
			t.Errorf("%s: Spark has %d rows %v, the contract %d: %v", name, len(asked.Rows), clipRows(asked.Rows), len(rows), clipRows(rows))
		}
		q := whole
		if q.Filters, err = filter.Parse(asked.Filters); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		task := Task{Footer: ft, Query: q, Limit: -1}
		checkSparkRows(t, name, data, task, want, rows)
		checkSparkRows(t, name+", without pruning", data, unpruned(task), want, rows)
	}
}

func checkSparkRows(t *testing.T, name string, data []byte, task Task, want arrow.RecordBatch, rows []int) {
	t.Helper()
	got, err := readBatches(data, task)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer releaseBatches(got)
	sameCells(t, name, got, want, rows)
}
