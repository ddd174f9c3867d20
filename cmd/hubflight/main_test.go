package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hubflight/hubflight/source"
)

// TestMain makes this test binary the program itself when it is started under
// the program's name, as the scripts do.
func TestMain(m *testing.M) {
	testscript.Main(raceWatch{m}, map[string]func(){"hubflight": main, "racy": racy})
}

// canary is the Hub token of every script: it must not be printed, ever.
const canary = "hf_canaryCanaryCanary"

// TestScripts runs testdata/script/*.txtar: whole programs, told as a user would
// type them. Beside testscript's own commands there are
//
//	mkparquet FILE FIRST ROWS  rows FIRST…FIRST+ROWS−1 in row groups of 100: id
//	                           int64, name string (null every tenth row)
//	damage FILE                breaks the data pages, not the footer
//	readback FILE              prints the rows of a .parquet or .arrow file as JSON lines
//	code N PROGRAM ARGUMENTS…  runs a program that must exit with N
//	waitfile FILE NAME         waits for a file and puts its line into $NAME
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"mkparquet": mkparquet, "damage": damage, "readback": readback, "code": code, "waitfile": waitfile,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HF_TOKEN", canary)
			env.Setenv("HF_ENDPOINT", "http://127.0.0.1:1") // nobody is there: no script reaches the real Hub by mistake
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}

func arguments(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func mkparquet(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "mkparquet FILE FIRST ROWS")
	first, err := strconv.Atoi(args[1])
	ts.Check(err)
	rows, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), numbers(first, rows, ""), 0o600))
}

// numbers is what mkparquet writes; pad is added to every name.
func numbers(first, rows int, pad string) []byte {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := first; i < first+rows; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if i%10 == 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("name %d%s", i, pad))
		}
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	table := array.NewTableFromRecords(schema, []arrow.RecordBatch{rec})
	defer table.Release()
	var out bytes.Buffer
	if err := pqarrow.WriteTable(table, &out, 100, nil, pqarrow.DefaultWriterProps()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "damage FILE")
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	copy(raw[4:], bytes.Repeat([]byte{0xFF}, 64)) // after the magic: the first page's header
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o600))
}

func readback(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "readback FILE")
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	var reader array.RecordReader
	if strings.HasSuffix(args[0], ".parquet") {
		f, err := file.NewParquetReader(bytes.NewReader(raw))
		ts.Check(err)
		pr, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 1000}, memory.DefaultAllocator)
		ts.Check(err)
		reader, err = pr.GetRecordReader(context.Background(), nil, nil)
		ts.Check(err)
	} else {
		reader, err = ipc.NewReader(bytes.NewReader(raw))
		ts.Check(err)
	}
	defer reader.Release()
	for reader.Next() {
		ts.Check(array.RecordToJSON(reader.RecordBatch(), ts.Stdout()))
	}
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "code N PROGRAM ARGUMENTS…")
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	output := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s\n%s", got, args[0], output)
	}
	if strings.Contains(strings.ToLower(output), "canary") {
		ts.Fatalf("the token is printed")
	}
	if strings.Contains(output, "panic:") || strings.Contains(output, "goroutine ") {
		ts.Fatalf("a panic is printed")
	}
}

func waitfile(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "waitfile FILE NAME")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if raw, err := os.ReadFile(ts.MkAbs(args[0])); err == nil {
			ts.Setenv(args[1], strings.TrimSpace(string(raw)))
			return
		}
	}
	ts.Fatalf("%s does not appear", args[0])
}

func TestEveryKindOfFailureHasItsExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("anything"), exitFailed},
		{source.Errorf(source.KindUpstream, "read", "x"), exitFailed},
		{&usageError{errors.New("a flag")}, exitUsage},
		{source.Errorf(source.KindNotFound, "read", "x"), exitNotFound},
		{source.Errorf(source.KindDenied, "read", "x"), exitDenied},
		{source.Errorf(source.KindUnauthenticated, "read", "x"), exitDenied},
		{fmt.Errorf("commit: %w", source.Errorf(source.KindUnknownOutcome, "commit", "x")), exitUnknownOutcome},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}
