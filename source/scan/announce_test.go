package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/rangeio"
)

// listening notes what a stream announces and what it reads.
type listening struct {
	bytesReader
	announced, read []rangeio.Range
}

func (l *listening) Expect(_ context.Context, ranges []rangeio.Range) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announced = append(l.announced, ranges...)
}

func (l *listening) ExpectAll(ctx context.Context, ranges []rangeio.Range) { l.Expect(ctx, ranges) }

func (l *listening) ExpectInOrder(ctx context.Context, ranges []rangeio.Range) {
	l.Expect(ctx, ranges)
}

func (l *listening) ReadAt(ctx context.Context, p []byte, off int64) error {
	l.mu.Lock()
	l.read = append(l.read, rangeio.Range{Off: off, Len: int64(len(p))})
	l.mu.Unlock()
	return l.bytesReader.ReadAt(ctx, p, off)
}

// covered is what ranges cover, as few ranges.
func covered(ranges []rangeio.Range) []rangeio.Range {
	slices.SortFunc(ranges, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
	var out []rangeio.Range
	for _, r := range ranges {
		if n := len(out); n > 0 && r.Off == out[n-1].End() {
			out[n-1].Len += r.Len
			continue
		}
		out = append(out, r)
	}
	return out
}

func TestAStreamReadsWhatItAnnounced(t *testing.T) {
	data := write(t, flatBatch(1000), 100)
	ft := footer(t, data)
	for name, c := range map[string]struct {
		task  Task
		reads int
	}{
		"everything":       {Task{Limit: -1}, 10},
		"some row groups":  {Task{Limit: -1, Groups: []int{2, 3, 7}}, 3},
		"skip and limit":   {Task{Skip: 250, Limit: 420}, 3},
		"nothing":          {Task{Limit: 0}, 0},
		"only row numbers": {Task{Limit: -1, Query: Query{RowsOnly: true}}, 0},
		"a filter":         {Task{Limit: -1, Query: Query{Filters: mustFilter(t, `[["id",">=",750]]`)}}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			reader := &listening{bytesReader: bytesReader{data: data}}
			c.task.Reader, c.task.Footer, c.task.File = reader, ft, testFile
			benchScan(t, c.task)
			if !slices.Equal(covered(reader.announced), covered(reader.read)) {
				t.Errorf("announced %v, read %v", reader.announced, reader.read)
			}
			if len(reader.read) != c.reads {
				t.Errorf("%d reads, want %d", len(reader.read), c.reads)
			}
		})
	}
}

// Every read that nobody announced is one more answer to wait for.
func TestAnIndexIsReadOnlyWhereRowsAreLeftOut(t *testing.T) {
	data := write(t, flatBatch(1000), 100, parquet.WithPageIndexEnabled(true))
	ft := footer(t, data)
	ft.tail = tail{} // of a large file the indexes do not come with the footer
	indexes := func(task Task) (read int64) {
		reader := &listening{bytesReader: bytesReader{data: data}}
		task.Reader, task.Footer, task.File = reader, ft, testFile
		benchScan(t, task)
		for _, group := range ft.chunks {
			for _, c := range group {
				read += within(reader.read, chunk{off: c.offsetIndex.off, len: c.offsetIndex.len})
			}
		}
		return read
	}
	if n := indexes(Task{Limit: -1}); n > 0 {
		t.Errorf("%d bytes of offset indexes were read for everything", n)
	}
	if n := indexes(Task{Limit: 420}); n > 0 {
		t.Errorf("%d bytes of offset indexes were read for the first rows", n)
	}
	if n := indexes(Task{Skip: 250, Limit: -1}); n == 0 {
		t.Error("no offset index was read to leave the first rows out")
	}
}

// remote is a listening Reader of a file that is far away.
type remote struct {
	listening
	trip int64
}

func (r *remote) TripBytes() int64 { return r.trip }

func TestOfADistantFileAFewRowGroupsAreAnnouncedAsAWhole(t *testing.T) {
	data := write(t, flatBatch(1000), 100)
	ft := footer(t, data)
	size := int64(0)
	for _, leaf := range ft.chunks[7] {
		size += leaf.len
	}
	for name, c := range map[string]struct {
		groups []int
		trip   int64
		whole  bool
	}{
		"one that is worth the trips": {[]int{7}, size/savedTrips + 100, true},
		"two that are not":            {[]int{7, 8}, size/savedTrips + 100, false},
		"one, of a near file":         {[]int{7}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			reader := &remote{listening{bytesReader: bytesReader{data: data}}, c.trip}
			benchScan(t, Task{
				Reader: reader, Footer: ft, File: testFile, Limit: -1, Groups: c.groups,
				Query: Query{Filters: mustFilter(t, `[["id","=",-1]]`), off: offAll},
			})
			announced, read := int64(0), int64(0)
			slices.SortFunc(reader.announced, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
			for _, r := range slices.Compact(reader.announced) { // some are announced again when they are needed
				announced += r.Len
			}
			for _, r := range covered(reader.read) {
				read += r.Len
			}
			if whole := announced == size && read < size; whole != c.whole || !c.whole && announced != read {
				t.Errorf("announced %d bytes, read %d of %d", announced, read, size)
			}
		})
	}
}

// The filter's column has chunks that are worth reading in parts.
func TestOfTheFiltersColumnsOnlyPagesThatMayMatchAreReadAndAnnounced(t *testing.T) {
	const n, perGroup = 160_000, 80_000
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	data := write(t, b.NewRecordBatch(), perGroup, parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(8<<10), parquet.WithBatchSize(512))
	ft := footer(t, data)
	reader := &listening{bytesReader: bytesReader{data: data}}
	benchScan(t, Task{
		Reader: reader, Footer: ft, File: testFile, Limit: -1,
		Query: Query{RowsOnly: true, Filters: mustFilter(t, `[["id",">=",79500],["id","<",80500]]`)},
	})
	read, announced := int64(0), int64(0)
	for _, r := range reader.read {
		read += r.Len
	}
	for _, r := range reader.announced {
		announced += r.Len
	}
	// Of each row group the pages that touch 500 rows of 8 bytes, and what a jump reads.
	if most := int64(2 * (2*9<<10 + jumpBytes)); read > most || announced > most || announced == 0 {
		t.Errorf("%d bytes were read, %d announced; at most %d of %d", read, announced, most, len(data))
	}
}

// The filter's column is in no order, so all of it is looked at; of another column
// what holds the hits is a few pages.
func TestOfOtherColumnsOnlyPagesThatHoldHitsAreReadAndAnnounced(t *testing.T) {
	const n, pageBytes = 160_000, 9 << 10 // a page and its header
	rng := rand.New(rand.NewPCG(8, 8))
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema([]arrow.Field{
		{Name: "key", Type: arrow.PrimitiveTypes.Int64}, {Name: "value", Type: arrow.PrimitiveTypes.Int64},
	}, nil))
	defer b.Release()
	values := make([]int64, n)
	for i := range values {
		values[i] = rng.Int64()
		b.Field(0).(*array.Int64Builder).Append(int64(i * 7919 % n))
		b.Field(1).(*array.Int64Builder).Append(values[i])
	}
	data := write(t, b.NewRecordBatch(), n, parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(8<<10), parquet.WithBatchSize(512))
	ft := footer(t, data)
	for _, hits := range [][]int{{77_777}, {3, 40_000, 40_001, 100_200, 130_000, n - 1}} {
		keys := make([]string, len(hits))
		for i, row := range hits {
			keys[i] = fmt.Sprint(row * 7919 % n)
		}
		reader := &listening{bytesReader: bytesReader{data: data}}
		s, err := Open(t.Context(), Task{
			Reader: reader, Footer: ft, File: testFile, Limit: -1,
			Query: Query{Columns: []source.Column{source.Col("value")}, Filters: mustFilter(t, `[["key","in",[`+strings.Join(keys, ",")+`]]]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for err == nil {
			var batch arrow.RecordBatch
			if batch, err = s.Next(t.Context()); err == nil {
				got = append(got, batch.Column(0).(*array.Int64).Int64Values()...)
				batch.Release()
			}
		}
		if e := s.Close(); e != nil || !errors.Is(err, io.EOF) {
			t.Fatal(err, e)
		}
		for i, row := range hits {
			if len(got) != len(hits) || got[i] != values[row] {
				t.Fatalf("rows %v have the values %v", hits, got)
			}
		}
		key, value := ft.chunks[0][0], ft.chunks[0][1]
		most := int64(len(hits)) * (pageBytes + jumpBytes)
		if read, announced := within(reader.read, value), within(reader.announced, value); read > most || announced > most || announced == 0 || read == 0 {
			t.Errorf("%d hits: %d bytes of the other column were read, %d announced; at most %d of %d", len(hits), read, announced, most, value.len)
		}
		if read := within(reader.read, key); read < key.len {
			t.Errorf("only %d bytes of %d of the filter's column were read: its pages tell too much", read, key.len)
		}
	}
}

// within is how much of a chunk ranges cover, what they cover twice counted twice.
func within(ranges []rangeio.Range, c chunk) int64 {
	sum := int64(0)
	for _, r := range ranges {
		sum += max(min(r.End(), c.off+c.len)-max(r.Off, c.off), 0)
	}
	return sum
}

func TestWindowsReadEveryByteOnceAndAsAnnounced(t *testing.T) {
	const mib = 1 << 20
	chunks := []chunk{{off: 4, len: 100 * mib}, {off: 4 + 100*mib, len: 200*mib + 17}}
	var read []rangeio.Range
	r := &chunkReader{read: func(p []byte, off int64) error {
		read = append(read, rangeio.Range{Off: off, Len: int64(len(p))})
		return nil
	}, size: 400 * mib, mem: memory.NewGoAllocator(), spans: ownSpans(chunks, false)}
	defer r.close()
	page := make([]byte, 70_001) // no divisor of a window
	for i := int64(0); i < 2*100*mib; i += int64(len(page)) {
		for k, c := range chunks { // the second has twice as many bytes for the same rows
			at := i / int64(2-k) / int64(len(page)) * int64(len(page))
			n := min(c.len-at, int64(len(page)))
			if n <= 0 {
				continue
			}
			if _, err := r.ReadAt(page[:n], c.off+at); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := int64(0)
	for _, x := range read {
		total += x.Len
	}
	if want := 300*int64(mib) + 17; total > want {
		t.Errorf("%d bytes read of %d", total, want)
	}
	if len(read) > 301*11/10 { // windows of 1 MiB
		t.Errorf("%d reads", len(read))
	}
}

// What is announced becomes requests, however small the windows are.
func TestARowGroupIsAnnouncedInPartsAsLargeAsMayBeHeld(t *testing.T) {
	const mib = 1 << 20
	var small, large []chunk
	for i := range int64(20) {
		small = append(small, chunk{off: 4 + i*mib, len: mib})
		large = append(large, chunk{off: 4 + i*10*mib, len: 10 * mib})
	}
	at := int64(4)
	for _, x := range readPlan(small) {
		if x.Off != at {
			t.Fatalf("a row group of 20 MiB is announced with %v, not as it lies", x)
		}
		at = x.End()
	}
	if at != 4+20*mib {
		t.Errorf("of 20 MiB everything up to %d was announced", at)
	}
	seen, sum := make([]int64, 20), int64(0)
	plan := readPlan(large)
	for i, x := range plan {
		k := (x.Off - 4) / (10 * mib)
		if x.Off != large[k].off+seen[k] {
			t.Fatalf("part %d is %v; of its chunk %d bytes were announced before", i, x, seen[k])
		}
		if slices.Min(seen) < seen[k] {
			t.Fatalf("part %d is of a chunk that is ahead of the others", i)
		}
		seen[k] += x.Len
		sum += x.Len
	}
	if sum != 200*mib || len(plan) != 7*20 { // 200 MiB are 7 stripes
		t.Errorf("%d bytes announced in %d parts", sum, len(plan))
	}
}

// Half of the rows can be decoded when little more than half of the bytes have come.
func TestTheLastRowGroupButOneIsDecodedWhileItComes(t *testing.T) {
	const mib = 1 << 20
	var chunks []chunk
	total := int64(0)
	for i := range int64(12) {
		n := (i%3 + 1) * mib
		chunks = append(chunks, chunk{off: 4 + total, len: n})
		total += n
	}
	half := func(plan []rangeio.Range) (come int64) {
		seen := make([]int64, len(chunks))
		for _, x := range plan {
			k := slices.IndexFunc(chunks, func(c chunk) bool { return c.off <= x.Off && x.End() <= c.off+c.len })
			if k < 0 || x.Off != chunks[k].off+seen[k] || x.Len < min(leastPartBytes, chunks[k].len) {
				t.Fatalf("%v is no next part of a column, or too small", x)
			}
			seen[k] += x.Len
			come += x.Len
			if !slices.ContainsFunc(chunks, func(c chunk) bool { return 2*seen[slices.Index(chunks, c)] < c.len }) {
				return come
			}
		}
		t.Fatal("the plan is not of all columns")
		return 0
	}
	if come := half(lastButOnePlan(chunks)); come > total*3/4 {
		t.Errorf("half of the rows are there after %d of %d bytes", come, total)
	}
}

// united is how many bytes ranges cover, what several cover counted once.
func united(ranges []rangeio.Range) int64 {
	total, end := int64(0), int64(0)
	slices.SortFunc(ranges, func(a, b rangeio.Range) int { return cmp.Compare(a.Off, b.Off) })
	for _, r := range ranges {
		total += max(r.End()-max(r.Off, end), 0)
		end = max(end, r.End())
	}
	return total
}

// trips counts the answers that a reader waits for one after the other: what it
// reads of an announcement that it has only just made.
type trips struct {
	remote
	fresh []rangeio.Range // announced since the last read
	n     int
}

func (l *trips) Expect(_ context.Context, ranges []rangeio.Range) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range ranges {
		if !slices.Contains(l.announced, r) {
			l.fresh, l.announced = append(l.fresh, r), append(l.announced, r)
		}
	}
}

func (l *trips) ReadAt(ctx context.Context, p []byte, off int64) error {
	l.mu.Lock()
	for _, r := range l.fresh {
		if r.Off <= off && off < r.End() {
			l.n++
			break
		}
	}
	l.fresh = nil
	l.mu.Unlock()
	return l.bytesReader.ReadAt(ctx, p, off)
}

func TestKeptRowsAreNotWaitedForBatchByBatch(t *testing.T) {
	const n = 120_000
	data := write(t, flatBatch(n), n, parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(8<<10), parquet.WithBatchSize(512))
	ft := footer(t, data)
	scanned := func(filters string, trip, limit int64) (int, int64) {
		reader := &trips{remote: remote{listening{bytesReader: bytesReader{data: data}}, trip}}
		benchScan(t, Task{
			Reader: reader, Footer: ft, File: testFile, Limit: limit, Workers: 1,
			Query: Query{BatchRows: 1000, Filters: mustFilter(t, filters)},
		})
		return reader.n, united(reader.announced)
	}
	const dense, sparse = `[["id",">=",10000],["id","<",110000]]`, `[["id","in",[11000,31000,51000,71000,91000]]]`
	// Windows of 1,024, 8,192 and then 65,536 rows: one answer for each, and few
	// before them.
	if n, _ := scanned(dense, 0, -1); n > 8 {
		t.Errorf("of a near file, %d answers were waited for", n)
	}
	if n, _ := scanned(dense, 1<<20, -1); n > 4 {
		t.Errorf("of a distant file, %d answers were waited for", n)
	}
	// What is kept here and there says nothing about the rows behind it: announced are
	// the pages that may match by the index. A limit says that they are not wanted.
	_, near := scanned(sparse, 0, -1)
	if n, far := scanned(sparse, 1<<20, -1); far > near*5/4 || n > 1 {
		t.Errorf("a distant file's scattered rows announce %d bytes, a near one's %d; %d answers were waited for", far, near, n)
	}
	_, near = scanned(dense, 0, 10)
	if _, far := scanned(dense, 1<<20, 10); far != near {
		t.Errorf("ten rows of a distant file announce %d bytes, of a near one %d", far, near)
	}
}

// The filter tests windows of 1,024, 8,192, 65,536 and the other rows, and keeps some
// of each. How far the file is must not show in what comes.
func TestOfADistantFileWhatIsKeptOfARowGroupIsAskedForAtOnce(t *testing.T) {
	const n = 80_000
	rng := rand.New(rand.NewPCG(5, 5))
	fields := make([]arrow.Field, 5)
	for i := range fields {
		fields[i] = arrow.Field{Name: string(rune('a' + i)), Type: arrow.PrimitiveTypes.Int64}
	}
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(fields, nil))
	defer b.Release()
	for row := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(row))
		for i := 1; i < len(fields); i++ {
			b.Field(i).(*array.Int64Builder).Append(rng.Int64())
		}
	}
	data := write(t, b.NewRecordBatch(), n, parquet.WithPageIndexEnabled(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(8<<10), parquet.WithBatchSize(512))
	ft := footer(t, data)
	tested := ft.chunks[0][0].len
	scanned := func(trip int64, filters string, task Task) (int, []arrow.RecordBatch) {
		reader := &trips{remote: remote{listening{bytesReader: bytesReader{data: data}}, trip}}
		task.Reader, task.Footer, task.File, task.Workers = reader, ft, testFile, 1
		task.Query = Query{BatchRows: 1000, Filters: mustFilter(t, filters), off: offAll}
		batches := batchesOf(t, task)
		return reader.n, batches
	}
	const scattered, dense = `[["a","in",[500,5000,5001,50000,79000]]]`, `[["a",">=",900],["a","<",78000]]`
	if n, _ := scanned(tested/decidingTrips-1, scattered, Task{Limit: -1}); n != 5 {
		t.Errorf("of a near file %d answers were waited for, and there are four windows", n)
	}
	if n, _ := scanned(tested/decidingTrips+1, scattered, Task{Limit: -1}); n != 2 {
		t.Errorf("%d answers were waited for: what the filter looks at is one, what it keeps another", n)
	}
	for _, filters := range []string{scattered, dense} {
		for _, task := range []Task{
			{Limit: -1}, {Limit: 3}, {Skip: 2, Limit: -1}, {Skip: 1, Limit: 4}, {Skip: 60_000, Limit: 70_000},
		} {
			_, want := scanned(0, filters, task)
			_, got := scanned(tested, filters, task)
			if !slices.EqualFunc(got, want, array.RecordEqual) {
				t.Errorf("%s, skip %d, limit %d: of a distant file other batches come than of a near one", filters, task.Skip, task.Limit)
			}
		}
	}
}

// batchesOf are all batches of a task, released when the test ends.
func batchesOf(t *testing.T, task Task) []arrow.RecordBatch {
	t.Helper()
	s, err := Open(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	var out []arrow.RecordBatch
	for err == nil {
		var batch arrow.RecordBatch
		if batch, err = s.Next(t.Context()); err == nil {
			t.Cleanup(batch.Release)
			out = append(out, batch)
		}
	}
	if e := s.Close(); e != nil || !errors.Is(err, io.EOF) {
		t.Fatal(err, e)
	}
	return out
}

func TestOfTheLastRowGroupTheFirstRowsAreThereBeforeItsLastColumn(t *testing.T) {
	const mib, columns = 1 << 20, 20
	ft, plan := &Footer{chunks: make([][]chunk, 2)}, &layout{}
	for i := range columns {
		plan.units = append(plan.units, unit{order: []int{i}})
		for g := range int64(2) {
			ft.chunks[g] = append(ft.chunks[g], chunk{off: 4 + (g*columns+int64(i))*mib, len: mib})
		}
	}
	reader := &listening{}
	newAhead(t.Context(), reader).announce(&Task{Footer: ft, Reader: reader}, plan, []portion{{group: 0}, {group: 1}})
	begin := ft.chunks[1][0].off
	first := slices.IndexFunc(reader.announced, func(x rangeio.Range) bool { return x.Off == begin })
	if first < 0 || !slices.Equal(covered(slices.Clone(reader.announced[:first])), []rangeio.Range{{Off: 4, Len: columns * mib}}) {
		t.Fatalf("the first row group is not announced as it lies: %v", reader.announced)
	}
	sum := int64(0)
	for _, x := range reader.announced[first:][:columns] {
		sum += x.Len
		if (x.Off-begin)%mib != 0 {
			t.Errorf("%v is not the beginning of a column", x)
		}
	}
	if sum > 10*mib+columns {
		t.Errorf("%d bytes of the last row group are announced before every column has begun", sum)
	}
	if got := covered(reader.announced); len(got) != 1 || got[0].Len != 2*columns*mib {
		t.Errorf("announced %v", got)
	}
}

// The last bytes hold few rows, whatever the sizes of the columns, and no part is
// too small for a request.
func TestTheLastBytesOfTheLastRowGroupHoldFewOfItsRows(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for name, sizes := range map[string][]int64{
		"large columns":           {4 * mib, 4 * mib, 8 * mib, 4 * mib},
		"large and small columns": {100 * kib, 9 * mib, 300 * kib, 9 * mib, 200 * kib},
		"several stripes":         {30 * mib, 60 * mib, 10 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			var chunks []chunk
			total := int64(0)
			for _, n := range sizes {
				chunks = append(chunks, chunk{off: 4 + total, len: n})
				total += n
			}
			plan := lastPlan(chunks)
			seen, complete := make([]int64, len(chunks)), 0.0 // share of the rows that can be decoded
			left := total
			for _, x := range plan {
				k := slices.IndexFunc(chunks, func(c chunk) bool { return c.off <= x.Off && x.End() <= c.off+c.len })
				if k < 0 || x.Off != chunks[k].off+seen[k] || x.Len < min(leastPartBytes, chunks[k].len) {
					t.Fatalf("%v is no next part of a column, or too small", x)
				}
				seen[k] += x.Len
				if left -= x.Len; left == 0 {
					break
				}
				complete = 1.0
				for i, c := range chunks {
					complete = min(complete, float64(seen[i])/float64(c.len))
				}
			}
			if complete < 0.8 || left != 0 {
				t.Errorf("before the last part %.2f of the rows are there, and in the end all but %d bytes", complete, left)
			}
		})
	}
	if plan := lastPlan([]chunk{{off: 4, len: mib}, {off: 4 + mib, len: 2 * mib}}); plan != nil {
		t.Errorf("a small row group is announced in parts: %v", plan)
	}
	var wide []chunk
	for i := range int64(1000) {
		wide = append(wide, chunk{off: 4 + i*mib, len: mib})
	}
	if n := len(lastPlan(wide)); n > 1000 {
		t.Errorf("1,000 columns of a MiB are announced in %d parts", n)
	}
}
