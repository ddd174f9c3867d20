package client_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// The README shows the inside of count.
func Example_scan() {
	server, stop := exampleServer()
	defer stop()
	ctx, token, rows := context.Background(), "", int64(0)

	count := func() error {
		c, err := client.Dial(ctx, server, client.Options{HubToken: source.NewHubToken(token)})
		if err != nil {
			return err
		}
		defer c.Close()
		read := client.Read{Dataset: "demo/flights", Columns: client.Columns("carrier", "dep_delay")}
		for batch, err := range c.Dataset(read).Scan(ctx, client.ScanOptions{Ordered: true}) {
			if err != nil {
				return err
			}
			rows += batch.NumRows()
		}
		return nil
	}

	err := count()
	fmt.Println(rows, "rows, error:", err)
	// Output: 4 rows, error: <nil>
}

func ExampleDial() {
	server, stop := exampleServer()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, server, client.Options{}) // nothing is sent before the first call
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_, splits, err := c.Splits(ctx, "demo/flights", "")
	for _, s := range splits {
		fmt.Printf("config %s, split %s: %d rows in %d files\n", s.Config, s.Split, *s.Rows, s.Files)
	}
	fmt.Println("error:", err)
	// Output:
	// config default, split train: 4 rows in 2 files
	// error: <nil>
}

func TestTheReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no Go example")
	}
	want := strings.ReplaceAll(string(block[1]), `"grpc://127.0.0.1:8815"`, "server")
	if indent := regexp.MustCompile(`(?m)^\t\t`); !strings.Contains(indent.ReplaceAllString(string(ours), ""), want) {
		t.Errorf("Example_scan does not run what the README shows:\n%s", block[1])
	}
}

// exampleServer runs the real service over the embedded Hub.
func exampleServer() (location string, stop func()) {
	tb := &exampleTB{}
	f := flighttest.New(tb, flighttest.Hub(hubtest.Dataset("demo/flights", map[string][]byte{
		"data/train-00000-of-00002.parquet": flights(`[{"carrier":"UA","origin":"EWR","dep_delay":2},{"carrier":"AA","origin":"JFK","dep_delay":null}]`),
		"data/train-00001-of-00002.parquet": flights(`[{"carrier":"B6","origin":"JFK","dep_delay":-1},{"carrier":"DL","origin":"LGA","dep_delay":-6}]`),
	})))
	return f.Location, tb.stop
}

func flights(rows string) []byte {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "carrier", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "origin", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "dep_delay", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		panic(err)
	}
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, 100, nil, pqarrow.DefaultWriterProps()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// exampleTB lets an example, which has no *testing.T, use what tests use.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                  {}
func (e *exampleTB) Context() context.Context { return context.Background() }
func (e *exampleTB) Cleanup(f func())         { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (e *exampleTB) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (e *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (e *exampleTB) stop() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
}
