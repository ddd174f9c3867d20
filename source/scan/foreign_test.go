package scan

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/parquet-go/parquet-go"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/scan/scantest"
)

// What DuckDB and Polars write is read as pyarrow reads it, and queries about it
// keep the right rows.
func TestForeignFilesAreReadAsPyarrowReadsThem(t *testing.T) {
	first, files := oracleCases(t, 200)
	folder := t.TempDir()
	for _, writer := range []string{"duckdb", "polars"} {
		tally := newTally()
		askAll(t, oracleFolder, first, files, func(seed int) scantest.Job {
			return scantest.Job{Op: "foreign", Writer: writer, Seed: seed, Queries: queriesPerFile, Folder: folder}
		}, func(t *testing.T, a scantest.Answer) { checkAnswer(t, a, tally) })
		tally.report(t)
	}
}

// refusal is why a published file is refused.
type refusal struct {
	kind         source.Kind
	column, text string
}

// refusedFiles are those of the published files that are refused, and those that
// pyarrow refuses. All others are read, and equal.
var (
	refusedFiles = map[string]refusal{
		// Damaged on purpose; pyarrow, which does not verify checksums unless it is asked to, reads other values.
		"datapage_v1-corrupt-checksum.parquet":           {source.KindCorrupt, "a", "the checksum does not match"},
		"rle-dict-uncompressed-corrupt-checksum.parquet": {source.KindCorrupt, "long_field", "the dictionary's checksum does not match"},
		// By accident: the page says that it has more bytes than the chunk.
		"nation.dict-malformed.parquet": {source.KindCorrupt, "name", "28 bytes of data, but 13 are left"},
		// Valid, and seldom met: the LZ4 framing of Hadoop that Parquet has given up, and a logical type of the future.
		"hadoop_lz4_compressed.parquet":     {source.KindUnsupported, "c0", "compression LZ4 cannot be read"},
		"non_hadoop_lz4_compressed.parquet": {source.KindUnsupported, "c0", "compression LZ4 cannot be read"},
		"unknown-logical-type.parquet":      {source.KindUnsupported, "", "invalid logical type"},
	}
	pyarrowFails = map[string]string{
		"incorrect_map_schema.parquet":    "Map keys must be annotated as required",
		"large_string_map.brotli.parquet": "Nested data conversions not implemented for chunked array outputs",
	}
)

// The published files are read as pyarrow reads them, or refused for a reason that
// is known.
func TestCorpusFilesAreReadAsPyarrowReadsThem(t *testing.T) {
	paths, err := filepath.Glob(corpora + "/parquet/*.parquet")
	if err != nil || len(paths) == 0 {
		t.Skipf("the corpora are not beside the repository (%v)", err)
	}
	jobs := make([]scantest.Job, len(paths))
	for i, path := range paths {
		jobs[i] = scantest.Job{Op: "read", Path: path, Folder: t.TempDir()}
	}
	asked := 0
	scantest.Ask(t, oracleFolder, jobs, func(a scantest.Answer) {
		name := filepath.Base(a.Job.Path)
		asked++
		t.Run(name, func(t *testing.T) {
			if fails, ok := pyarrowFails[name]; ok != (a.Error != "") || !strings.Contains(a.Error, fails) {
				t.Errorf("pyarrow: %q, want %q", a.Error, fails)
			}
			if why, ok := refusedFiles[name]; ok {
				why.check(t, a.Job.Path)
			} else if a.Error == "" {
				checkCorpusFile(t, a)
			}
		})
	})
	if asked != len(paths) {
		t.Errorf("%d of %d files were asked about", asked, len(paths))
	}
}

// check wants a file to be refused for this reason.
func (r refusal) check(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readWhole(data)
	releaseBatches(got)
	var e *source.Error
	if !errors.As(err, &e) || e.Path == "" || e.Kind != r.kind || e.Column != r.column || !strings.Contains(e.Msg, r.text) {
		t.Errorf("%v, want %+v", err, r)
	}
}

func checkCorpusFile(t *testing.T, a scantest.Answer) {
	data, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := scantest.Table(a.Expect)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Release()
	got, err := readWhole(data)
	if err != nil {
		t.Fatal(err)
	}
	defer releaseBatches(got)
	if len(got) > 0 && scantest.Shape(got[0].Schema()) != scantest.Shape(want.Schema()) {
		t.Errorf("the schema is\n%s, pyarrow's\n%s", scantest.Shape(got[0].Schema()), scantest.Shape(want.Schema()))
	}
	sameCells(t, "whole", got, want, allRows(want))
}

// rare is a row of what parquet-go writes and others seldom do: its encodings,
// bloom filters, enums, groups, optional and repeated values of every sort.
type rare struct {
	Row      int64             `parquet:"row,delta"`
	Small    int32             `parquet:"small,split"`
	Big      *int64            `parquet:"big,optional"`
	Unsigned uint64            `parquet:"unsigned"`
	Single   float32           `parquet:"single,split"`
	Double   *float64          `parquet:"double,optional"`
	Truth    bool              `parquet:"truth"`
	Text     string            `parquet:"text,delta"`
	Label    string            `parquet:"label,optional,dict"`
	Length   *string           `parquet:"length,optional"`
	Enum     string            `parquet:"enum,enum,dict"`
	JSON     string            `parquet:"json,json"`
	UUID     uuid.UUID         `parquet:"uuid,uuid"`
	Bytes    []byte            `parquet:"bytes"`
	Price    int32             `parquet:"price,decimal(2:9)"`
	Cost     int64             `parquet:"cost,decimal(4:18)"`
	Day      int32             `parquet:"day,date"`
	Millis   time.Time         `parquet:"millis,timestamp(millisecond)"`
	Nanos    time.Time         `parquet:"nanos,timestamp(nanosecond)"`
	Clock    time.Duration     `parquet:"clock,time(microsecond)"`
	Tags     []string          `parquet:"tags,list"`
	Names    map[string]*int64 `parquet:"names"`
	Inner    *rareInner        `parquet:"inner,optional"`
	Many     []rareInner       `parquet:"many,list"`
}

type rareInner struct {
	X *int32   `parquet:"x,optional"`
	Y []int64  `parquet:"y,list"`
	Z *float64 `parquet:"z,optional"`
}

func rareRows(n int) []rare {
	rows := make([]rare, n)
	for i := range rows {
		big, double, text, x := int64(i)*math.MaxInt32, float64(i)/4, fmt.Sprintf("text %d", i%90), int32(i)
		at := time.Unix(1_700_000_000+int64(i), int64(i)*1_000_001).UTC()
		r := rare{
			Row: int64(i), Small: int32(i * i), Unsigned: math.MaxUint64 - uint64(i), Single: float32(i) / 3, Truth: i%3 == 0, Text: text,
			Enum: []string{"RED", "GREEN"}[i%2], JSON: fmt.Sprintf(`{"i":%d}`, i), UUID: uuid.UUID{byte(i), 15: byte(i >> 8)}, Bytes: []byte{byte(i), 0},
			Price: int32(i * 7), Cost: -int64(i), Day: int32(i), Millis: at.Truncate(time.Millisecond), Nanos: at, Clock: time.Duration(i) * time.Second,
		}
		if i%4 > 0 {
			r.Big, r.Double, r.Length = &big, &double, &text
			r.Inner = &rareInner{X: &x, Y: []int64{1, 2, int64(i)}[:i%4]}
			r.Names = map[string]*int64{"a": &big, "b": nil}
		}
		for k := range i % 5 {
			r.Tags = append(r.Tags, fmt.Sprint(k))
			r.Many = append(r.Many, rareInner{Z: &double, Y: []int64{big}[:k%2]})
		}
		rows[i] = r
	}
	return rows
}

// TestRareFormsOfParquetGoAreReadAsPyarrowReadsThem: encodings and annotations
// that no Arrow writer makes.
func TestRareFormsOfParquetGoAreReadAsPyarrowReadsThem(t *testing.T) {
	rows, folder := rareRows(700), t.TempDir()
	var jobs []scantest.Job
	for name, options := range map[string][]parquet.WriterOption{
		"v1-snappy": {parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1), parquet.PageBufferSize(700)},
		"v2-zstd":   {parquet.Compression(&parquet.Zstd), parquet.DataPageVersion(2)},
		"v2-gzip":   {parquet.Compression(&parquet.Gzip), parquet.DataPageVersion(2), parquet.PageBufferSize(300)},
		"v1-brotli": {parquet.Compression(&parquet.Brotli), parquet.DataPageVersion(1), parquet.MaxRowsPerRowGroup(77)},
		"v2-lz4": {parquet.Compression(&parquet.Lz4Raw), parquet.BloomFilters(
			parquet.SplitBlockFilter(10, "row"), parquet.SplitBlockFilter(10, "text"), parquet.SplitBlockFilter(4, "uuid"), parquet.SplitBlockFilter(10, "price"))},
	} {
		var file bytes.Buffer
		w := parquet.NewGenericWriter[rare](&file, append([]parquet.WriterOption{parquet.MaxRowsPerRowGroup(300)}, options...)...)
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, name+".parquet")
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, scantest.Job{Op: "read", Path: path, Queries: 20, Folder: folder})
	}
	tally := newTally()
	scantest.Ask(t, oracleFolder, jobs, func(a scantest.Answer) {
		t.Run(filepath.Base(a.Job.Path), func(t *testing.T) {
			if a.Error != "" {
				t.Fatal(a.Error)
			}
			checkAnswer(t, a, tally)
		})
	})
	tally.report(t)
}
