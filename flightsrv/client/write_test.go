package client_test

import (
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

var idSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

// idBatches yields n batches of ten rows and then, if it is not nil, the error.
func idBatches(n int, last error) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		b := array.NewRecordBuilder(memory.DefaultAllocator, idSchema)
		defer b.Release()
		for i := range n {
			for k := range 10 {
				b.Field(0).(*array.Int64Builder).Append(int64(i*10 + k))
			}
			rec := b.NewRecordBatch()
			ok := yield(rec, nil)
			rec.Release()
			if !ok {
				return
			}
		}
		if last != nil {
			yield(nil, last)
		}
	}
}

func job(n byte) string { return "01890000-0000-7000-8000-0000000000" + string([]byte{'a', 'a' + n}) }

func TestAnIteratorThatFailsLeavesNothingBehind(t *testing.T) {
	f := flighttest.New(t)
	// io.EOF is the treacherous one: it must not look like the end of the input.
	for i, fault := range []error{errors.New("the input broke"), io.EOF, io.ErrUnexpectedEOF} {
		_, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(byte(i)), Dataset: "demo/broken", Mode: "append", CreateRepo: true}, idSchema, idBatches(3, fault), nil)
		if !errors.Is(err, fault) {
			t.Errorf("got %v, want %v", err, fault)
		}
		if n, err := f.Client.Dataset(client.Read{Dataset: "demo/broken"}).Count(t.Context()); err == nil {
			t.Errorf("%v: %d rows were committed", fault, n)
		}
	}
	r, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(5), Dataset: "demo/broken", Mode: "append", CreateRepo: true}, idSchema, idBatches(3, nil), nil)
	if err != nil || r.Rows != 30 {
		t.Errorf("the next write: %+v, %v", r, err)
	}
}

func TestABatchOfAnotherSchemaIsTheCallersMistake(t *testing.T) {
	f := flighttest.New(t)
	other := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	_, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(0), Dataset: "demo/other", Mode: "append", CreateRepo: true}, other, idBatches(1, nil), nil)
	if source.KindOf(err) != source.KindInvalid {
		t.Errorf("got %v", err)
	}
}

// A few rows that are nearly all of a batch, among many that are nothing: by their
// average size they would all be sent in one message.
func TestRowsOfVeryDifferentSizesAreSentInMessagesThatPass(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{MaxMessage: 4 << 20}))
	schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	large := strings.Repeat("x", 1<<20)
	for range 6 {
		b.Field(0).(*array.StringBuilder).Append(large)
	}
	for range 60_000 {
		b.Field(0).(*array.StringBuilder).Append("")
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	r, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(0), Dataset: "demo/skewed", Mode: "append", CreateRepo: true}, schema,
		func(yield func(arrow.RecordBatch, error) bool) { yield(rec, nil) }, nil)
	if err != nil || r.Rows != rec.NumRows() {
		t.Errorf("%d of %d rows, %v", r.Rows, rec.NumRows(), err)
	}
}

// TestAWriteMayWaitLongForItsRows: longer than the server waits for one who says nothing,
// before the first batch, which brings the schema, and between two.
func TestAWriteMayWaitLongForItsRows(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{IdleTimeoutPut: time.Second}))
	client.SayAliveEvery(f.Client, 100*time.Millisecond)
	slow := func(yield func(arrow.RecordBatch, error) bool) {
		for rec, err := range idBatches(2, nil) {
			time.Sleep(1500 * time.Millisecond)
			if !yield(rec, err) {
				return
			}
		}
	}
	r, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(0), Dataset: "demo/slow", Mode: "append", CreateRepo: true}, idSchema, slow, nil)
	if err != nil || r.Rows != 20 {
		t.Errorf("%d of 20 rows, %v", r.Rows, err)
	}
}

func TestARefusedWriteSaysWhyAtOnce(t *testing.T) {
	f := flighttest.New(t)
	batches := 0
	_, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: job(0), Dataset: "demo/none", Mode: "append"}, idSchema,
		func(yield func(arrow.RecordBatch, error) bool) {
			for rec, err := range idBatches(1<<20, nil) {
				if batches++; !yield(rec, err) {
					return
				}
			}
		}, nil)
	if source.KindOf(err) != source.KindNotFound || batches == 1<<20 {
		t.Errorf("after %d batches: %v", batches, err)
	}
}
