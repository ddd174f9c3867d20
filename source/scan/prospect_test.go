package scan

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/filter"
)

// seeded makes files and filters from a seed.
type seeded struct{ *rand.Rand }

func newSeeded(seed uint64) *seeded { return &seeded{rand.New(rand.NewPCG(5, seed))} }

// prunableSchema is flatSchema, some of it inside a struct.
func prunableSchema() *arrow.Schema {
	fields := flatSchema().Fields()
	inner := arrow.StructOf(field("x", arrow.PrimitiveTypes.Int32), field("y", arrow.BinaryTypes.String), field("z", arrow.PrimitiveTypes.Float64))
	return arrow.NewSchema(append(fields, field("st", inner)), nil)
}

// clustered is n rows whose values lie in some order: sorted, in runs, few, or one,
// with nulls here and there or for long stretches, and every float that is hard.
func (s *seeded) clustered(n int) arrow.RecordBatch {
	schema := prunableSchema()
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	for c, f := range b.Fields()[1:] {
		if schema.Field(c+1).Type.ID() == arrow.STRUCT {
			st := f.(*array.StructBuilder)
			nulls := s.nulls()
			for i := range n {
				st.Append(!nulls(i))
			}
			for k := range st.NumField() {
				s.fill(st.FieldBuilder(k), n)
			}
			continue
		}
		s.fill(f, n)
	}
	return b.NewRecordBatch()
}

func (s *seeded) fill(b array.Builder, n int) {
	value, null := s.order(n), s.nulls()
	for i := range n {
		switch {
		case null(i):
			b.AppendNull()
		case !s.special(b):
			appendValue(b, value(i))
		}
	}
}

// order says which value row i has.
func (s *seeded) order(n int) func(i int) int {
	few, run, at := 1+s.IntN(8), 1+s.IntN(40), s.IntN(2000)
	switch s.IntN(6) {
	case 0:
		return func(i int) int { return at + i }
	case 1:
		return func(i int) int { return at + n - i }
	case 2:
		return func(i int) int { return at + i/run*7 }
	case 3:
		return func(int) int { return at + s.IntN(few)*13 }
	case 4:
		return func(int) int { return at }
	}
	return func(int) int { return s.IntN(4 * n) }
}

func (s *seeded) nulls() func(i int) bool {
	percent, stretch := s.IntN(30), 1+s.IntN(200)
	switch s.IntN(4) {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(i int) bool { return i/stretch%2 == 1 }
	case 2:
		return func(i int) bool { return i/stretch%3 != 1 || s.IntN(100) < percent }
	}
	return func(int) bool { return s.IntN(100) < percent }
}

// special appends, now and then, a float that is easy to get wrong.
func (s *seeded) special(b array.Builder) bool {
	hard := []float64{math.NaN(), math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), math.MaxFloat32}
	v := hard[s.IntN(len(hard))]
	if s.IntN(12) > 0 {
		return false
	}
	switch b := b.(type) {
	case *array.Float64Builder:
		b.Append(v)
	case *array.Float32Builder:
		b.Append(float32(v))
	case *array.Float16Builder:
		b.Append(float16.New(float32(v)))
	default:
		return false
	}
	return true
}

// properties are a writer's, in any combination.
func (s *seeded) properties() []parquet.WriterProperty {
	out := []parquet.WriterProperty{
		parquet.WithDataPageSize(int64(64 << s.IntN(6))), parquet.WithBatchSize(int64(8 << s.IntN(4))),
		parquet.WithPageIndexEnabled(s.IntN(5) > 0), parquet.WithStats(s.IntN(6) > 0),
		parquet.WithBloomFilterEnabled(s.IntN(3) > 0), parquet.WithDictionaryDefault(s.IntN(2) == 0),
	}
	if s.IntN(2) == 0 {
		out = append(out, parquet.WithDataPageVersion(parquet.DataPageV2))
	}
	return out
}

// filter is a random filter about columns of a batch, with literals from the batch
// and from strangers.
func (s *seeded) filter(batch, strangers arrow.RecordBatch) string {
	conjunctions := make([]string, 1+s.IntN(3))
	for i := range conjunctions {
		terms := make([]string, 1+s.IntN(3))
		for j := range terms {
			terms[j] = s.term(batch, strangers)
		}
		conjunctions[i] = "[" + strings.Join(terms, ",") + "]"
	}
	return "[" + strings.Join(conjunctions, ",") + "]"
}

func (s *seeded) term(batch, strangers arrow.RecordBatch) string {
	c := s.IntN(int(batch.NumCols()))
	name := strconv.Quote(batch.ColumnName(c))
	own, other := batch.Column(c), strangers.Column(c)
	if st, ok := own.(*array.Struct); ok {
		k := s.IntN(st.NumField())
		name = fmt.Sprintf("[%q,%q]", batch.ColumnName(c), st.DataType().(*arrow.StructType).Field(k).Name)
		own, other = st.Field(k), other.(*array.Struct).Field(k)
	}
	literal := func() string {
		from := own
		if s.IntN(2) == 0 {
			from = other
		}
		for range 20 {
			if i := s.IntN(from.Len()); !from.IsNull(i) {
				return literalOf(from, i)
			}
		}
		return ""
	}
	ops := []string{"=", "=", "!=", "<", "<=", ">", ">=", "in", "in", "not in", "is null", "is not null"}
	if own.DataType().ID() == arrow.STRING {
		ops = append(ops, "starts_with", "starts_with")
	}
	op := ops[s.IntN(len(ops))]
	v := literal()
	switch {
	case op == "is null" || op == "is not null" || v == "":
		if op != "is null" {
			op = "is not null"
		}
		return fmt.Sprintf("[%s,%q]", name, op)
	case op == "starts_with":
		v = strconv.Quote(v[1 : 1+s.IntN(len(v)-1)])
	case op == "in" || op == "not in":
		list := []string{v}
		for range s.IntN(5) {
			if v := literal(); v != "" {
				list = append(list, v)
			}
		}
		if s.IntN(5) == 0 {
			list = append(list, "null")
		}
		v = "[" + strings.Join(list, ",") + "]"
	}
	return fmt.Sprintf("[%s,%q,%s]", name, op, v)
}

// literalOf writes a value as a filter's literal.
func literalOf(a arrow.Array, i int) string {
	object := func(key, value string) string { return fmt.Sprintf("{%q:%q}", key, value) }
	float := func(v float64) string {
		switch {
		case math.IsNaN(v):
			return object("$f", "nan")
		case math.IsInf(v, 0):
			return object("$f", map[bool]string{true: "inf", false: "-inf"}[v > 0])
		case v == 0 && math.Signbit(v):
			return object("$f", "-0.0")
		}
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	switch a := a.(type) {
	case *array.Float16:
		return float(float64(a.Value(i).Float32()))
	case *array.Float32:
		return float(float64(a.Value(i)))
	case *array.Float64:
		return float(a.Value(i))
	case *array.String:
		return strconv.Quote(a.Value(i))
	case *array.LargeString:
		return strconv.Quote(a.Value(i))
	case *array.Binary:
		return object("$bin", base64.StdEncoding.EncodeToString(a.Value(i)))
	case *array.FixedSizeBinary:
		return object("$bin", base64.StdEncoding.EncodeToString(a.Value(i)))
	case *array.Date32:
		return object("$date", a.Value(i).ToTime().Format("2006-01-02"))
	case *array.Time32:
		return object("$time", a.Value(i).ToTime(a.DataType().(*arrow.Time32Type).Unit).Format("15:04:05.999999999"))
	case *array.Time64:
		return object("$time", a.Value(i).ToTime(a.DataType().(*arrow.Time64Type).Unit).Format("15:04:05.999999999"))
	case *array.Timestamp:
		typ := a.DataType().(*arrow.TimestampType)
		layout := "2006-01-02T15:04:05.999999999"
		if typ.TimeZone != "" {
			layout += "Z"
		}
		return object("$ts", a.Value(i).ToTime(typ.Unit).UTC().Format(layout))
	case *array.Decimal128:
		return object("$dec", a.ValueStr(i))
	}
	return a.ValueStr(i)
}

// wantedIDs evaluates a filter over whole row groups, with nothing left out.
func wantedIDs(t testing.TB, data []byte, ft *Footer, q Query) []int64 {
	t.Helper()
	q.off, q.Columns = offAll, []source.Column{source.Col("id")}
	out := mustRead(t, data, Task{Footer: ft, Query: q, Limit: -1})
	return out.Column(0).(*array.Int64).Int64Values()
}

// prospects asks about every row group of a file, whatever the footer's statistics
// say.
func prospects(t testing.TB, r *bytesReader, ft *Footer, q Query) []*prospect {
	t.Helper()
	task := Task{File: testFile, Reader: r, Footer: ft, Query: q, Memory: memory.NewGoAllocator()}
	for g := range ft.NumRowGroups() {
		task.Groups = append(task.Groups, g)
	}
	out, err := q.Output(ft.schema)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := newLayout(ft, q, out)
	if err != nil {
		t.Fatal(err)
	}
	p := newProspector(&task, plan)
	most := p.holds()
	found := make([]*prospect, ft.NumRowGroups())
	for g := range found {
		if found[g], err = p.group(context.Background(), g); err != nil {
			t.Fatal(err)
		}
		kept := int64(0)
		for _, c := range p.ready {
			for _, raw := range c.raw {
				kept += int64(len(raw))
			}
		}
		if kept > most {
			t.Fatalf("%d bytes of indexes are kept, at most %d were announced", kept, most)
		}
	}
	return found
}

// checkSpans makes sure that the wanted rows are among the candidates, and that the
// candidates have the promised form. It counts the row groups that each layer took.
func checkSpans(ft *Footer, found []*prospect, wanted []int64, took map[string]int) error {
	first := int64(0)
	for g, c := range found {
		last, n := int64(-1), ft.GroupRows(g)
		for _, r := range c.spans {
			if r.from <= last || r.from >= r.to || r.to > n {
				return fmt.Errorf("row group %d: spans %v of %d rows", g, c.spans, n)
			}
			last = r.to
		}
		if (c.layer == "") != (len(c.spans) > 0) {
			return fmt.Errorf("row group %d: layer %q and spans %v", g, c.layer, c.spans)
		}
		for ; len(wanted) > 0 && wanted[0] < first+n; wanted = wanted[1:] {
			if row := wanted[0] - first; !overlap(c.spans, rows{row, row + 1}) {
				return fmt.Errorf("row group %d: row %d is wanted, candidates are %v (%s)", g, row, c.spans, c.layer)
			}
		}
		if first += n; c.layer == "" && countRows(c.spans) < n {
			took["pages"]++
		}
		took[c.layer]++
	}
	return nil
}

func TestNoLayerLeavesOutARowThatIsWanted(t *testing.T) {
	files, filters := 10, 20
	if n, err := strconv.Atoi(os.Getenv("HUBFLIGHT_PRUNING_FILES")); err == nil {
		files = n
	}
	took, asked, refused := map[string]int{}, 0, 0
	for seed := range uint64(files) {
		s := newSeeded(seed)
		batch, strangers := s.clustered(600), s.clustered(600)
		data := write(t, batch, 200, s.properties()...)
		ft := footer(t, data)
		for range filters {
			text := s.filter(batch, strangers)
			q := Query{Filters: mustFilter(t, text)}
			if s.IntN(2) == 0 {
				q.Logic = filter.Spark
				q.Profile = Profile(s.IntN(2))
			}
			if _, err := q.Output(ft.schema); err != nil {
				refused++ // a time is a number in the spark profile, null has no order
				continue
			}
			asked++
			wanted := wantedIDs(t, data, ft, q)
			for off := range offAll + 1 {
				q.off = off
				if err := checkSpans(ft, prospects(t, &bytesReader{data: data}, ft, q), wanted, took); err != nil {
					t.Fatalf("seed %d, layers off %04b, %s logic, profile %d: %s: %v", seed, off, q.Logic, q.Profile, text, err)
				}
			}
		}
	}
	t.Logf("row groups by layer: %v", took)
	if refused > asked/4 {
		t.Errorf("%d filters of %d were refused", refused, asked+refused)
	}
	for _, layer := range []string{LayerStatistics, LayerBloom, LayerDictionary, LayerPageIndex, "pages"} {
		if took[layer] == 0 {
			t.Errorf("%s never took a row group", layer)
		}
	}
}
