package scan

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
)

const corpora = "../../../shared/corpora"

// Every published file, valid, damaged or found by a fuzzer, gives a table or a
// classified error that names the file: no panic, no hang, no other error.
func TestEveryCorpusFileIsATableOrAClearRefusal(t *testing.T) {
	for _, dir := range []string{"parquet", "parquet-bad", "parquet-fuzzed"} {
		entries, err := os.ReadDir(filepath.Join(corpora, dir))
		if err != nil {
			t.Skipf("the corpora are not beside the repository: %v", err)
		}
		for _, e := range entries {
			for _, profile := range []Profile{Native, Spark} {
				t.Run(dir+"/"+e.Name()+"/"+profile.String(), func(t *testing.T) {
					rows, err := drain(t, filepath.Join(corpora, dir, e.Name()), profile)
					if err == nil {
						t.Logf("%d rows", rows)
						return
					}
					t.Logf("%v", err)
					switch kind := source.KindOf(err); kind {
					case source.KindCorrupt, source.KindUnsupported, source.KindInvalid:
					default:
						t.Errorf("kind %s: %v", kind, err)
					}
				})
			}
		}
	}
}

func drain(t *testing.T, path string, profile Profile) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := &bytesReader{data: data}
	ft, err := ReadFooter(ctx, r, testFile)
	if err != nil {
		return 0, err
	}
	s, err := Open(ctx, Task{File: testFile, Reader: r, Footer: ft, Query: Query{Profile: profile}, Limit: -1})
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows := int64(0)
	for {
		b, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows += b.NumRows()
		touch(b)
		b.Release()
	}
}

// touch reads every value.
func touch(b arrow.RecordBatch) {
	for i := range int(b.NumCols()) {
		for row := range int(b.NumRows()) {
			_ = b.Column(i).ValueStr(row)
		}
	}
}
