package scan

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/semaphore"

	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

// combination is one way of reading a file.
type combination struct {
	workers     int
	rows        int   // of a batch
	bytes       int64 // of a batch
	step        int64 // bytes that a step may decode; 0 is no bound worth naming
	turns       int64 // decode slots
	spare       int64 // memory for decoding ahead
	trip        int64 // bytes that a distant file's answer is worth; 0 is a near one
	skip, limit int64
}

func (s *seeded) combination(kept int64) combination {
	return combination{
		trip:    []int64{0, 0, 500, 1 << 20}[s.IntN(4)],
		workers: 1 + s.IntN(3), rows: 1 + s.IntN(60), bytes: int64(1) << (6 + s.IntN(12)),
		step: []int64{0, 0, 20_000, 60_000}[s.IntN(4)], turns: int64(1 + s.IntN(3)), spare: []int64{0, 50 << 20, 1 << 30}[s.IntN(3)],
		skip: s.Int64N(kept + 3), limit: []int64{-1, 0, 1, s.Int64N(kept + 3), kept}[s.IntN(5)],
	}
}

// run reads the file so, and compares with the rows that one worker gives.
func (c combination) run(t *testing.T, data []byte, ft *Footer, q Query, want arrow.RecordBatch) error {
	t.Helper()
	q.BatchRows, q.BatchBytes = c.rows, c.bytes
	turns, spare, mem := &slots{room: semaphore.NewWeighted(c.turns)}, &lent{room: semaphore.NewWeighted(c.spare)}, newChecked()
	task := Task{Footer: ft, Query: q, Skip: c.skip, Limit: c.limit, Workers: c.workers, Turns: turns, Spare: spare, Memory: mem, stepBytes: c.step}
	if c.trip > 0 {
		task.Reader = &remote{listening{bytesReader: bytesReader{data: data}}, c.trip}
	}
	got, batches, err := readInto(t, data, task)
	balanced(t, mem)
	if err != nil {
		return err
	}
	if turns.held.Load() != 0 || spare.out.Load() != 0 {
		return fmt.Errorf("%d slots and %d bytes of spare memory were not given back", turns.held.Load(), spare.out.Load())
	}
	for i, b := range batches {
		if b.NumRows() == 0 || b.NumRows() > int64(c.rows) {
			return fmt.Errorf("batch %d has %d rows", i, b.NumRows())
		}
	}
	end := want.NumRows()
	if c.limit >= 0 {
		end = min(end, c.limit)
	}
	begin := min(c.skip, end)
	if got.NumRows() != end-begin {
		return fmt.Errorf("%d rows, want %d", got.NumRows(), end-begin)
	}
	for i, f := range want.Schema().Fields() {
		for row := range int(end - begin) {
			if g, w := got.Column(i), want.Column(i); !scantest.Same(g, row, w, int(begin)+row) {
				return fmt.Errorf("column %s, row %d: %s, want %s", f.Name, row, scantest.Text(g, row), scantest.Text(w, int(begin)+row))
			}
		}
	}
	return nil
}

// Workers, slots, spare memory, sizes of batches and of steps, how far the file is, where a stream begins
// and where it ends: none of them changes which rows come, nor their order. Every
// small file is also resumed at every one of its rows, each time in another way.
func TestNoCombinationOfLimitsChangesTheRows(t *testing.T) {
	files := 2
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_COMBINED_FILES")); err == nil {
		files = n
	}
	some := 0
	for seed := range uint64(files) {
		s := newSeeded(1000 + seed)
		batch, strangers := s.clustered(90), s.clustered(90)
		data := write(t, batch, int64(7+s.IntN(40)), s.properties()...)
		ft := footer(t, data)
		for k := range 4 {
			q, text := Query{}, ""
			if k > 0 {
				text = s.filter(batch, strangers)
				q.Filters, q.Logic = mustFilter(t, text), filter.Logic(s.IntN(2))
			}
			if _, err := q.Output(ft.schema); err != nil {
				continue // null has no order
			}
			serial := q
			serial.off = offAll
			want := mustRead(t, data, Task{Footer: ft, Query: serial, Limit: -1, Workers: 1, Memory: memory.NewGoAllocator()})
			for skip := range want.NumRows() + 2 {
				c := s.combination(want.NumRows())
				if c.skip = skip; skip%3 == 0 {
					c.limit = -1
				}
				if err := c.run(t, data, ft, q, want); err != nil {
					t.Fatalf("seed %d, filter %q, %s logic, %+v: %v", seed, text, q.Logic, c, err)
				}
				some++
			}
		}
	}
	if some < 60*files {
		t.Errorf("only %d combinations were read", some)
	}
}
