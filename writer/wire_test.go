package writer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

const testJob = "0190b5a0-1234-7000-8000-000000000001"

func record(partition int, attempt string, index int) StagedFile {
	return StagedFile{Job: testJob, Dataset: "a/b", Partition: partition, Attempt: attempt, Index: index, OID: strings.Repeat("a", 64),
		Size: 10, Rows: 1, NumBytes: 8, Mode: UploadLFS, SchemaHash: "s"}
}

func TestTheWireStructsHaveTheContractsKeys(t *testing.T) {
	for name, c := range map[string]struct {
		into any
		text string
	}{
		"begin":  {&BeginRequest{}, `{"v":1,"job":"j","dataset":"d","revision":"r","config":"c","split":"s","mode":"append","naming":"dataset","dir":"x","create_repo":true,"private":false,"create_pr":true,"publish":"batches","replace_format":true,"files_expected":3,"schema":"AA"}`},
		"stage":  {&StageRequest{}, `{"v":1,"op":"stage","job":"j","dataset":"d","revision":"r","base":"b","mode":"append","config":"c","split":"s","naming":"dataset","dir":"x","partition":3,"attempt":"17","max_bytes_per_file":1,"row_group_bytes":2,"row_group_rows":3,"compression":"snappy","compression_level":4,"use_dictionary":false,"data_page_size":5,"write_statistics":["a"],"page_index":false,"bloom_columns":["a"],"keep_features":false}`},
		"record": {&StagedFile{}, `{"job":"j","dataset":"d","config":"c","split":"s","partition":1,"attempt":"a","index":0,"oid":"o","size":1,"rows":2,"num_bytes":3,"mode":"regular","content":"c","schema_hash":"h"}`},
		"commit": {&CommitRequest{}, `{"v":1,"job":"j","dataset":"d","revision":"r","base":"b","mode":"append","config":"c","split":"s","naming":"parts","dir":"x","publish":"switch","replace_format":true,"files":[],"max_operations_per_commit":0,"message":"m"}`},
	} {
		t.Run(name, func(t *testing.T) {
			dec := json.NewDecoder(strings.NewReader(c.text))
			dec.DisallowUnknownFields()
			if err := dec.Decode(c.into); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(c.into)
			if err != nil || !bytes.Equal(raw, []byte(c.text)) {
				t.Errorf("got  %s\nwant %s (%v)", raw, c.text, err)
			}
		})
	}
}

func TestRequestsThatNoJobCanBeAreRefused(t *testing.T) {
	ok := BeginRequest{V: 1, Job: testJob, Dataset: "a/b", Mode: ModeAppend}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*BeginRequest){
		"another version":          func(r *BeginRequest) { r.V = 2 },
		"no mode":                  func(r *BeginRequest) { r.Mode = "" },
		"an unknown mode":          func(r *BeginRequest) { r.Mode = "merge" },
		"an unknown naming":        func(r *BeginRequest) { r.Naming = "x" },
		"a config that is a path":  func(r *BeginRequest) { r.Config = "a/b" },
		"a config that is a glob":  func(r *BeginRequest) { r.Config = "a*" },
		"a config called data":     func(r *BeginRequest) { r.Config = "data" },
		"a hidden config":          func(r *BeginRequest) { r.Config = ".x" },
		"a split with a dash":      func(r *BeginRequest) { r.Split = "train-x" },
		"a dir that climbs":        func(r *BeginRequest) { r.Dir = "../x" },
		"a hidden dir":             func(r *BeginRequest) { r.Dir = "a/.git" },
		"two revisions":            func(r *BeginRequest) { r.Dataset, r.Revision = "a/b@x", "y" },
		"a config with parts":      func(r *BeginRequest) { r.Naming, r.Config = NamingParts, "c" },
		"a file without extension": func(r *BeginRequest) { r.Naming, r.Dir = NamingFile, "x" },
		"a negative count":         func(r *BeginRequest) { r.FilesExpected = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := ok
			change(&r)
			if err := r.Validate(); source.KindOf(err) != source.KindInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestAWriteIsRefusedBeforeItsRowsAreTaken: what its stage and its commit would refuse,
// too.
func TestAWriteIsRefusedBeforeItsRowsAreTaken(t *testing.T) {
	ok := WriteRequest{V: 1, Job: testJob, Dataset: "a/b", Mode: ModeAppend}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	many := 10_001
	for name, change := range map[string]func(*WriteRequest){
		"too many operations":  func(r *WriteRequest) { r.MaxOperations = &many },
		"a message of lines":   func(r *WriteRequest) { r.Message = "a\nb" },
		"a negative partition": func(r *WriteRequest) { r.Partition = -1 },
		"an attempt's path":    func(r *WriteRequest) { r.Attempt = "a/b" },
		"no such codec":        func(r *WriteRequest) { r.Compression = "x" },
	} {
		r := ok
		change(&r)
		if err := r.Validate(); source.KindOf(err) != source.KindInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFilesThatAreNotOneJobAreRefusedByName(t *testing.T) {
	base := CommitRequest{V: 1, Job: testJob, Dataset: "a/b", Mode: ModeAppend, Base: strings.Repeat("0", 40)}
	for name, c := range map[string]struct {
		files []StagedFile
		want  string
	}{
		"two attempts":      {[]StagedFile{record(3, "7", 0), record(3, "8", 0)}, `partition 3 is there twice: attempts "7" and "8"`},
		"one file twice":    {[]StagedFile{record(3, "7", 0), record(3, "7", 0)}, "file 0 of partition 3 is there twice"},
		"another dataset":   {[]StagedFile{func() StagedFile { f := record(1, "", 0); f.Dataset = "x/y"; return f }()}, "staged for x/y"},
		"another job":       {[]StagedFile{func() StagedFile { f := record(1, "", 0); f.Job = strings.Replace(testJob, "1", "2", 1); return f }()}, "belongs to job"},
		"another schema":    {[]StagedFile{record(0, "", 0), func() StagedFile { f := record(1, "", 0); f.SchemaHash = "t"; return f }()}, "partitions 0 and 1"},
		"content with lfs":  {[]StagedFile{func() StagedFile { f := record(1, "", 0); f.Content = "x"; return f }()}, "content"},
		"an oid that isn't": {[]StagedFile{func() StagedFile { f := record(1, "", 0); f.OID = "x"; return f }()}, "sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			r := base
			r.Files = c.files
			if err := r.Validate(); source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestADescriptionIsReadBack(t *testing.T) {
	job := Job{ID: testJob, Digest: strings.Repeat("d", 64)}
	names := Names{Prefix: "a b/=train-{x}-", Width: 5, Offset: 7, Suffix: "-of-00009-é.parquet"}
	text := "Upload\n" + job.Describe(Batch{Index: 2, Of: 3}, names) + "\n"
	r, ok := ParseDescription(text)
	want := Record{Job: testJob, Batch: 2, Of: 3, Digest: job.Digest, Names: names}
	if !ok || r != want {
		t.Errorf("got %+v (%v), want %+v from %s", r, ok, want, text)
	}
	for _, bad := range []string{"", "hubflight job=x", strings.Replace(text, "offset=7", "offset=-7", 1), strings.Replace(text, "names=", "names=../", 1)} {
		if r, ok := ParseDescription(bad); ok {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestASmallFileSurvivesItsRecord(t *testing.T) {
	raw := bytes.Repeat([]byte("abc"), 1000)
	content, err := packContent(raw)
	if err != nil {
		t.Fatal(err)
	}
	f := record(0, "", 0)
	f.Mode, f.Content, f.Size = UploadRegular, content, int64(len(raw))
	if _, err := f.Bytes(); source.KindOf(err) != source.KindInvalid {
		t.Errorf("a record whose oid is another file's was accepted: %v", err)
	}
	bomb, err := packContent(make([]byte, 100<<20))
	if err != nil {
		t.Fatal(err)
	}
	f.Content = bomb
	if _, err := f.Bytes(); source.KindOf(err) != source.KindInvalid {
		t.Errorf("a bomb was accepted: %v", err)
	}
}
