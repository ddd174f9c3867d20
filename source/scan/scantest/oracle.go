package scantest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/hubflight/hubflight/source"
)

// Job is a line that the Python side is given; oracle/__main__.py says what each
// op does.
type Job struct {
	Op      string `json:"op"`
	Seed    int    `json:"seed"`
	Queries int    `json:"queries,omitempty"`
	Rows    int    `json:"rows,omitempty"`
	Path    string `json:"path,omitempty"`
	Writer  string `json:"writer,omitempty"`
	Folder  string `json:"folder"`
}

// Answer is what comes back: a file, the Arrow stream with its rows, and what was
// asked of it; or how the peer fails.
type Answer struct {
	Job     Job     `json:"job"`
	Path    string  `json:"path"`
	Expect  string  `json:"expect"`
	Error   string  `json:"error"`
	Queries []Query `json:"queries"`
}

// Query is one question. Rows is what the peer keeps, nil where it fails with
// Error or was not asked.
type Query struct {
	Filters json.RawMessage `json:"filters"`
	Columns []source.Column `json:"columns"`
	Rows    []int           `json:"rows"`
	Error   string          `json:"error"`
}

// Ask runs a Python program on all jobs, in one process, and hands every
// answer to each as it comes, while the next ones are being worked on. Without
// HUBFLIGHT_PYTHON the test is skipped.
func Ask(t *testing.T, program string, jobs []Job, each func(Answer)) {
	t.Helper()
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with pyarrow")
	}
	cmd := exec.CommandContext(t.Context(), python, program)
	var talk bytes.Buffer
	cmd.Stderr = &talk
	defer func() {
		if t.Failed() && talk.Len() > 0 {
			t.Logf("%s: %s", program, talk.Bytes()[max(0, talk.Len()-4000):])
		}
	}()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- writeJobs(in, jobs) }()
	answered := 0
	lines := bufio.NewScanner(out)
	for lines.Buffer(nil, 64<<20); lines.Scan(); answered++ {
		var a Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v: %.200s", err, lines.Bytes())
		}
		each(a)
		for _, file := range []string{a.Expect, a.Path} {
			if strings.HasPrefix(file, a.Job.Folder) {
				_ = os.Remove(file) // thousands of them
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if answered != len(jobs) {
		t.Errorf("%d answers to %d jobs", answered, len(jobs))
	}
}

func writeJobs(in io.WriteCloser, jobs []Job) error {
	enc := json.NewEncoder(in)
	for _, j := range jobs {
		if err := enc.Encode(j); err != nil {
			return err
		}
	}
	return in.Close()
}

// Table reads an Arrow stream into one batch.
func Table(path string) (arrow.RecordBatch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, err := ipc.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	if !r.Next() {
		return emptyBatch(r.Schema()), r.Err()
	}
	// One batch: the writer was given one chunk. (The library's Concatenate loses
	// elements of fixed-size lists below other lists.)
	b := r.RecordBatch()
	b.Retain()
	if r.Next() {
		b.Release()
		return nil, fmt.Errorf("%s holds several batches", path)
	}
	return b, r.Err()
}

func emptyBatch(schema *arrow.Schema) arrow.RecordBatch {
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		columns[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, 0)
		defer columns[i].Release()
	}
	return array.NewRecordBatch(schema, columns, 0)
}
