package flightsrv_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// duorc is a repository in the shape of ibm/duorc's conversion, with one split of
// two shards.
func duorc(t testing.TB) []hubtest.Option {
	return []hubtest.Option{
		hubtest.Dataset("ibm/duorc", map[string][]byte{"a.csv": []byte("x\n1\n")}),
		hubtest.At("ibm/duorc", source.ConvertedRevision, map[string][]byte{
			"SelfRC/test/0000.parquet":                     flighttest.Numbers(t, 0, 3),
			"SelfRC/train/0000.parquet":                    flighttest.Numbers(t, 0, 5),
			"SelfRC/train/0001.parquet":                    flighttest.Numbers(t, 5, 4),
			"ParaphraseRC/partial-validation/0000.parquet": flighttest.Numbers(t, 0, 2),
		}),
		hubtest.Dataset("demo/none", map[string][]byte{"a.csv": []byte("x\n1\n")}),
	}
}

func TestTheActionParquetAnswersInTheViewersShape(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(duorc(t)...))
	l, err := f.Client.Parquet(t.Context(), client.ParquetRequest{Dataset: "ibm/duorc"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range l.Files {
		got = append(got, strings.Join([]string{file.Dataset, file.Config, file.Split, file.Filename}, " "))
		if want := f.Hub.HubURL + "/datasets/ibm/duorc/resolve/refs%2Fconvert%2Fparquet/" + file.Config; !strings.HasPrefix(file.URL, want) || file.Size <= 0 {
			t.Errorf("got address %s and size %d", file.URL, file.Size)
		}
	}
	want := []string{"ibm/duorc ParaphraseRC validation 0000.parquet", "ibm/duorc SelfRC test 0000.parquet", "ibm/duorc SelfRC train 0000.parquet", "ibm/duorc SelfRC train 0001.parquet"}
	if !slices.Equal(got, want) || !l.Partial {
		t.Errorf("got %q, partial %v", got, l.Partial)
	}
	raw, err := json.Marshal(l)
	if err != nil || !strings.Contains(string(raw), `"pending":[],"failed":[],"partial":true}`) {
		t.Errorf("got %s, %v", raw, err)
	}
	t.Run("of one config and split", func(t *testing.T) {
		l, err := f.Client.Parquet(t.Context(), client.ParquetRequest{Dataset: "ibm/duorc", Config: "SelfRC", Split: "train"})
		if err != nil || len(l.Files) != 2 {
			t.Errorf("got %+v, %v", l, err)
		}
	})
	t.Run("without a conversion it is empty and says why", func(t *testing.T) {
		l, err := f.Client.Parquet(t.Context(), client.ParquetRequest{Dataset: "demo/none"})
		if err != nil || len(l.Files) != 0 || !strings.Contains(l.Reason, "no Parquet conversion") {
			t.Errorf("got %+v, %v", l, err)
		}
	})
	t.Run("a repository that is not there is an error", func(t *testing.T) {
		if _, err := f.Client.Parquet(t.Context(), client.ParquetRequest{Dataset: "demo/missing"}); source.KindOf(err) != source.KindNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheActionParquetAnswersInTheHubsShapes(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(duorc(t)...))
	base := f.Hub.HubURL + "/api/datasets/ibm/duorc/parquet/"
	one := 1
	for name, c := range map[string]struct {
		request client.ParquetRequest
		want    any
	}{
		"all": {client.ParquetRequest{}, map[string]map[string][]string{
			"ParaphraseRC": {"partial-validation": {base + "ParaphraseRC/partial-validation/0.parquet"}},
			"SelfRC":       {"test": {base + "SelfRC/test/0.parquet"}, "train": {base + "SelfRC/train/0.parquet", base + "SelfRC/train/1.parquet"}},
		}},
		"a config": {client.ParquetRequest{Config: "SelfRC"}, map[string][]string{
			"test": {base + "SelfRC/test/0.parquet"}, "train": {base + "SelfRC/train/0.parquet", base + "SelfRC/train/1.parquet"},
		}},
		"a split": {client.ParquetRequest{Config: "SelfRC", Split: "train"}, []string{base + "SelfRC/train/0.parquet", base + "SelfRC/train/1.parquet"}},
		"a shard": {client.ParquetRequest{Config: "SelfRC", Split: "train", Shard: &one}, base + "SelfRC/train/1.parquet"},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.Dataset = "ibm/duorc"
			got, reason, err := f.Client.ParquetURLs(t.Context(), c.request)
			want, marshal := json.Marshal(c.want)
			if err != nil || marshal != nil || reason != "" || string(got) != string(want) {
				t.Errorf("got %s, %q, %v\nwant %s", got, reason, err, want)
			}
		})
	}
	t.Run("without a conversion it is empty and says why", func(t *testing.T) {
		got, reason, err := f.Client.ParquetURLs(t.Context(), client.ParquetRequest{Dataset: "demo/none"})
		if err != nil || string(got) != "{}" || reason == "" {
			t.Errorf("got %s, %q, %v", got, reason, err)
		}
	})
	for name, r := range map[string]client.ParquetRequest{
		"a split of no config":      {Dataset: "ibm/duorc", Split: "train"},
		"a shard of no split":       {Dataset: "ibm/duorc", Config: "SelfRC", Shard: &one},
		"a folder in the name":      {Dataset: "hf://datasets/ibm/duorc/SelfRC"},
		"a shard that is not there": {Dataset: "ibm/duorc", Config: "SelfRC", Split: "test", Shard: &one},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			if _, _, err := f.Client.ParquetURLs(t.Context(), r); source.KindOf(err) != source.KindInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAPartialConversionSaysSoInThePlanTheSchemaAndExplain(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(duorc(t)...))
	read := client.Read{Dataset: "ibm/duorc", Config: "ParaphraseRC", Split: "validation", Conversion: "always"}
	if _, err := f.Client.Dataset(read).Plan(t.Context()); source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), `partial="allow"`) {
		t.Errorf("got %v", err)
	}
	read.Partial = "allow"
	plan, err := f.Client.Dataset(read).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	facts, _ := plan.Schema.Metadata().GetValue("hubflight")
	if !plan.Facts.Partial || plan.Facts.Source != "converted" || plan.Facts.Sha == plan.Facts.DataSha || !strings.Contains(facts, `"partial":true`) {
		t.Errorf("got facts %+v and in the schema %s", plan.Facts, facts)
	}
	explained, err := f.Client.Dataset(read).Explain(t.Context())
	if err != nil || !explained.Totals.Partial {
		t.Errorf("got %+v, %v", explained, err)
	}
}

func TestAListingOfThousandsOfFilesComesInParts(t *testing.T) {
	// Long names fill an answer with fewer files.
	const files, first = 2300, 100
	config, splits := strings.Repeat("c", 240), []string{strings.Repeat("a", 200), strings.Repeat("b", 200)}
	content := flighttest.Numbers(t, 0, 3)
	branch := map[string][]byte{}
	place := func(i int) (split, path string) {
		split = splits[min(i/first, 1)]
		return split, fmt.Sprintf("%s/%s/%04d.parquet", config, split, i-first*min(i/first, 1))
	}
	for i := range files {
		_, path := place(i)
		branch[path] = content
	}
	f := flighttest.New(t, flighttest.Hub(
		hubtest.Dataset("demo/many", map[string][]byte{"a.csv": []byte("x\n1\n")}), hubtest.At("demo/many", source.ConvertedRevision, branch)))
	l, err := f.Client.Parquet(t.Context(), client.ParquetRequest{Dataset: "demo/many"})
	if err != nil || len(l.Files) != files || l.Reason != "" {
		t.Fatalf("got %d files, reason %q, %v", len(l.Files), l.Reason, err)
	}
	for i, file := range l.Files {
		if split, path := place(i); file.Split != split || !strings.HasSuffix(file.URL, path) {
			t.Fatalf("file %d is %+v, want %s", i, file, path)
		}
	}
	raw, err := json.Marshal(l)
	if err != nil || len(raw) <= 1<<20 || !strings.HasSuffix(string(raw), `"pending":[],"failed":[],"partial":false}`) {
		t.Errorf("the listing has %d bytes, %v", len(raw), err)
	}
	urls := func(r client.ParquetRequest) (found map[string]map[string][]string) {
		t.Helper()
		r.Dataset = "demo/many"
		raw, _, err := f.Client.ParquetURLs(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrap := range []string{"%s", `{"` + config + `":%s}`, `{"` + config + `":{"` + splits[1] + `":%s}}`} {
			found = nil
			if err = json.Unmarshal(fmt.Appendf(nil, wrap, raw), &found); err == nil {
				return found
			}
		}
		t.Fatal(err)
		return nil
	}
	for name, r := range map[string]client.ParquetRequest{"all": {}, "a config": {Config: config}, "a split": {Config: config, Split: splits[1]}} {
		got := urls(r)[config][splits[1]]
		if len(got) != files-first || !strings.HasSuffix(got[files-first-1], fmt.Sprintf("/%d.parquet", files-first-1)) {
			t.Errorf("%s: %d addresses", name, len(got))
		}
	}
}
