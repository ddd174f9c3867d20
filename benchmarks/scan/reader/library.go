package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// readLibrary reads with pqarrow as its documentation shows it: the default
// allocator and properties, a record reader over everything. It decodes all rows
// and then applies the filter, because pqarrow has none.
func readLibrary(ctx context.Context, q question, schema func(*arrow.Schema) error, batch take) (err error) {
	terms, err := parseTerms(q.Filters)
	if err != nil {
		return err
	}
	opened, err := file.OpenParquetFile(q.Path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	reader, err := pqarrow.NewFileReader(opened, pqarrow.ArrowReadProperties{BatchSize: int64(q.BatchRows)}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	records, err := reader.GetRecordReader(ctx, leaves(opened, q.Columns), nil)
	if err != nil {
		return err
	}
	defer records.Release()
	if err := schema(records.Schema()); err != nil {
		return err
	}
	for records.Next() {
		if err := kept(ctx, records.RecordBatch(), terms, batch); err != nil {
			return err
		}
	}
	return records.Err()
}

// leaves are the indices of the columns' leaves; nil for all.
func leaves(opened *file.Reader, columns []string) []int {
	if columns == nil {
		return nil
	}
	wanted := make(map[string]bool, len(columns))
	for _, name := range columns {
		wanted[name] = true
	}
	var out []int
	schema := opened.MetaData().Schema
	for i := range schema.NumColumns() {
		if wanted[schema.Column(i).ColumnPath()[0]] {
			out = append(out, i)
		}
	}
	return out
}

// term is one triple of the wire.
type term struct {
	column, sign string
	literal      any
}

var functions = map[string]string{"=": "equal", ">": "greater", ">=": "greater_equal", "<": "less", "<=": "less_equal"}

func parseTerms(raw json.RawMessage) ([]term, error) {
	var triples [][3]any
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &triples); err != nil {
		return nil, err
	}
	terms := make([]term, len(triples))
	for i, t := range triples {
		column, _ := t[0].(string)
		sign, _ := t[1].(string)
		if functions[sign] == "" {
			return nil, fmt.Errorf("operator %q is not known here", sign)
		}
		terms[i] = term{column, sign, t[2]}
	}
	return terms, nil
}

// kept hands on the rows for which all terms hold.
func kept(ctx context.Context, rec arrow.RecordBatch, terms []term, batch take) error {
	if len(terms) == 0 {
		return batch(rec)
	}
	mask, err := evaluate(ctx, rec, terms)
	if err != nil {
		return err
	}
	defer mask.Release()
	out, err := compute.FilterRecordBatch(ctx, rec, mask, compute.DefaultFilterOptions())
	if err != nil {
		return err
	}
	defer out.Release()
	return batch(out)
}

func evaluate(ctx context.Context, rec arrow.RecordBatch, terms []term) (arrow.Array, error) {
	var all compute.Datum
	for _, t := range terms {
		one, err := compare(ctx, rec, t)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = one
			continue
		}
		both, err := compute.CallFunction(ctx, "and_kleene", nil, all, one)
		all.Release()
		one.Release()
		if err != nil {
			return nil, err
		}
		all = both
	}
	defer all.Release()
	return all.(*compute.ArrayDatum).MakeArray(), nil
}

func compare(ctx context.Context, rec arrow.RecordBatch, t term) (compute.Datum, error) {
	at := rec.Schema().FieldIndices(t.column)
	if len(at) != 1 {
		return nil, fmt.Errorf("no column %q", t.column)
	}
	column := rec.Column(at[0])
	literal, err := literalOf(t.literal, column.DataType())
	if err != nil {
		return nil, err
	}
	values := compute.NewDatumWithoutOwning(column)
	return compute.CallFunction(ctx, functions[t.sign], nil, values, compute.NewDatum(literal))
}

// literalOf is a literal of the wire in the column's type.
func literalOf(given any, kind arrow.DataType) (scalar.Scalar, error) {
	if tagged, ok := given.(map[string]any); ok {
		text, _ := tagged["$ts"].(string) // with a Z if the column has a zone
		at, err := time.Parse("2006-01-02T15:04:05.999999999", strings.TrimSuffix(text, "Z"))
		if err != nil {
			return nil, err
		}
		return scalar.MakeScalarParam(arrow.Timestamp(at.UnixMicro()), kind)
	}
	if number, ok := given.(float64); ok && arrow.IsInteger(kind.ID()) {
		return scalar.MakeScalarParam(int64(number), kind)
	}
	return scalar.MakeScalarParam(given, kind)
}
