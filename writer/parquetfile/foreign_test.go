package parquetfile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
)

// oracle reads each file with pyarrow and DuckDB and compares its rows with those beside it; it compares the statistics of plain columns
// with what pyarrow computes.
const oracle = `
import datetime, glob, sys
import duckdb, pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq

def plain(kind):
    return not pa.types.is_nested(kind)

def statistics(path, want, name):
    start, groups = 0, pq.ParquetFile(path).metadata
    for g in range(groups.num_row_groups):
        group = groups.row_group(g)
        part = want.slice(start, group.num_rows)
        start += group.num_rows
        for c in range(group.num_columns):
            column = group.column(c)
            field = column.path_in_schema
            if field not in part.schema.names:
                continue
            found, values = column.statistics, part[field]
            if found is None:
                assert "stats" not in name, (name, g, field, "has no statistics")
                continue
            assert found.null_count == values.null_count, (name, g, field, found.null_count, values.null_count)
            if pa.types.is_null(values.type) or pa.types.is_float16(values.type):
                continue
            if pa.types.is_floating(values.type):
                values = values.filter(pc.invert(pc.fill_null(pc.is_nan(values), True)))
            lowest = pc.min_max(values).as_py() if values.null_count < len(values) else {"min": None, "max": None}
            assert found.has_min_max == (lowest["min"] is not None), (name, g, field, found, lowest)
            if found.has_min_max and not pa.types.is_timestamp(values.type):
                assert (found.min, found.max) == (lowest["min"], lowest["max"]), (name, g, field, found, lowest)

def same(got, want, where):
    for row, (a, b) in enumerate(zip(got, want, strict=True)):
        assert repr(a) == repr(b), (where, row, repr(a)[:200], repr(b)[:200])

files = sorted(glob.glob(sys.argv[1] + "/*.parquet"))
for path in files:
    want = pa.ipc.open_file(path.replace(".parquet", ".arrow")).read_all()
    name = path.rpartition("/")[2]
    got = pq.read_table(path)
    for field in want.schema.names:
        same(got[field].to_pylist(), want[field].to_pylist(), (name, field, want[field].type))
    statistics(path, want, name)
    numbers = [f.name for f in want.schema if pa.types.is_integer(f.type) or pa.types.is_string(f.type) or pa.types.is_decimal128(f.type)
               or pa.types.is_boolean(f.type) or pa.types.is_float64(f.type) or pa.types.is_date(f.type)
               or (pa.types.is_list(f.type) and (pa.types.is_integer(f.type.value_type) or pa.types.is_string(f.type.value_type)))]
    if numbers:
        rows = duckdb.sql(f"select {','.join(numbers)} from read_parquet('{path}')").fetchall()
        for i, field in enumerate(numbers):
            same([row[i] for row in rows], want[field].to_pylist(), ("duckdb", name, field))
print(len(files))
`

func TestOtherReadersSeeTheSameRowsAndTrueStatistics(t *testing.T) {
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with pyarrow and DuckDB")
	}
	dir := t.TempDir()
	n := cases(t, 29)
	for seed := range uint64(n) { //nolint:gosec // few
		r := rand.New(rand.NewPCG(seed, 3))
		types := []arrow.DataType{leafTypes[int(seed)%len(leafTypes)], leafTypes[r.IntN(len(leafTypes))], someType(r, 3), arrow.ListOf(leafTypes[r.IntN(len(leafTypes))])} //nolint:gosec // as above
		rec := someTable(t, r, 1+r.IntN(700), types...)
		props := someProperties(r)
		name := fmt.Sprintf("%04d", seed)
		if props.StatisticsEnabled() {
			name += "-stats"
		}
		save(t, filepath.Join(dir, name), rec, props, r)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", oracle, dir).CombinedOutput() //nolint:gosec // the test's own
	if err != nil || string(bytes.TrimSpace(out)) != fmt.Sprint(n) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// save writes the rows as an Arrow file and as a Parquet file that says which Arrow types they had.
func save(t *testing.T, path string, rec arrow.RecordBatch, props *parquet.WriterProperties, r *rand.Rand) {
	t.Helper()
	var plain, schema bytes.Buffer
	w, err := ipc.NewFileWriter(&plain, ipc.WithSchema(rec.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ipc.NewWriter(&schema, ipc.WithSchema(rec.Schema())).Close(); err != nil {
		t.Fatal(err)
	}
	meta := arrow.NewMetadata([]string{"ARROW:schema"}, []string{base64.StdEncoding.EncodeToString(schema.Bytes())})
	described := array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields(), &meta), rec.Columns(), rec.NumRows())
	defer described.Release()
	raw := written(t, described, props, 1+r.Int64N(500), func() int64 { return 1 + r.Int64N(400) })
	for name, data := range map[string][]byte{path + ".arrow": plain.Bytes(), path + ".parquet": raw} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
