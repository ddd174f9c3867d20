package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// question is what is asked for, as it crosses the pipe.
type question struct {
	Path      string          `json:"path"`
	Columns   []string        `json:"columns"`    // nil: all
	Filters   json.RawMessage `json:"filters"`    // the wire's; null: none
	BatchRows int             `json:"batch_rows"` // of a batch
	Repeats   int             `json:"repeats"`    // within one timing; 0 is 1
	// Peak asks for the most memory that the process took beyond what it had.
	Peak bool `json:"peak"`
	// Copy is where an Arrow IPC stream of the answer goes; empty: nowhere.
	Copy string `json:"copy"`
}

// Validate refuses what no reader can answer.
func (q question) Validate() error {
	if q.Path == "" || q.BatchRows <= 0 || q.Repeats < 0 {
		return errors.New("a question needs a path, batch_rows above 0 and no negative repeats")
	}
	return nil
}

// answer holds means over the repeats, in seconds.
type answer struct {
	Wall  float64 `json:"wall"`
	CPU   float64 `json:"cpu"`
	Rows  int64   `json:"rows"` // of one repeat
	Peak  int64   `json:"peak,omitempty"`
	Error string  `json:"error,omitempty"`
}

// take is called with every batch, which it does not keep.
type take func(arrow.RecordBatch) error

// read is a reader: it opens the file, gives every batch that answers the
// question, and closes the file. The schema is known before the first batch.
type read func(ctx context.Context, q question, schema func(*arrow.Schema) error, batch take) error

// ask answers one question.
func ask(ctx context.Context, r read, q question) (answer, error) {
	if err := q.Validate(); err != nil {
		return answer{}, err
	}
	if q.Copy != "" {
		return copied(ctx, r, q)
	}
	idle := int64(0)
	if q.Peak {
		var err error
		if idle, err = forgetPeak(); err != nil {
			return answer{}, err
		}
	}
	repeats := max(q.Repeats, 1)
	rows, began, cpu := int64(0), time.Now(), cpuSeconds()
	for i := range repeats {
		got := int64(0)
		err := r(ctx, q, func(*arrow.Schema) error { return nil }, func(b arrow.RecordBatch) error {
			got += b.NumRows()
			return nil
		})
		if err != nil {
			return answer{}, err
		}
		if i > 0 && got != rows {
			return answer{}, fmt.Errorf("%d rows, and %d when asked again", rows, got)
		}
		rows = got
	}
	out := answer{Wall: time.Since(began).Seconds() / float64(repeats), CPU: (cpuSeconds() - cpu) / float64(repeats), Rows: rows}
	if q.Peak {
		peak, err := resident("VmHWM:")
		if err != nil {
			return answer{}, err
		}
		out.Peak = peak - idle
	}
	return out, nil
}

// copied reads once and writes the rows to q.Copy.
func copied(ctx context.Context, r read, q question) (out answer, err error) {
	file, err := os.OpenFile(q.Copy, os.O_WRONLY, 0)
	if err != nil {
		return answer{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var w *ipc.Writer
	err = r(ctx, q, func(s *arrow.Schema) error {
		w = ipc.NewWriter(file, ipc.WithSchema(s))
		return nil
	}, func(b arrow.RecordBatch) error {
		out.Rows += b.NumRows()
		return w.Write(b)
	})
	if w != nil {
		err = errors.Join(err, w.Close())
	}
	return out, err
}

// cpuSeconds is what this process took so far, collector included.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot happen with RUSAGE_SELF; a ratio of it would not be judged
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// forgetPeak makes the kernel count the peak from here on; it gives what is
// resident now.
func forgetPeak() (int64, error) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 0, err
	}
	return resident("VmRSS:")
}

// resident is a line of the kernel's account of this process, in bytes.
func resident(line string) (int64, error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for text := range strings.SplitSeq(string(raw), "\n") {
		if rest, ok := strings.CutPrefix(text, line); ok {
			kib := int64(0)
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
				return 0, err
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", line)
}

// serve answers until the questions end.
func serve(ctx context.Context, r read, in io.Reader, out io.Writer) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := ask(ctx, r, q)
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
