package hubtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

// parquetFile makes a file of n rows with a text, a list and a struct.
func parquetFile(t testing.TB, n int) []byte {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "ids", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "at", Type: arrow.StructOf(arrow.Field{Name: "z", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, arrow.Field{Name: "a", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}), Nullable: true},
	}, nil)
	build := array.NewRecordBuilder(mem, schema)
	defer build.Release()
	for i := range n {
		build.Field(0).(*array.StringBuilder).Append(fmt.Sprint(i))
		build.Field(1).(*array.ListBuilder).AppendNull()
		build.Field(2).(*array.StructBuilder).AppendNull()
	}
	rows := build.NewRecordBatch()
	defer rows.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithAllocator(mem)), pqarrow.NewArrowWriterProperties(pqarrow.WithAllocator(mem)))
	if err == nil {
		err = w.Write(rows)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func converted(t testing.TB, more ...hubtest.Option) *hubtest.Running {
	t.Helper()
	files := map[string][]byte{"README.md": []byte("no data")}
	for path, rows := range map[string]int{
		"default/train/0000.parquet": 3, "default/train/0001.parquet": 4, "default/test/0000.parquet": 2,
		"a b/train/0000.parquet": 1, "zh/partial-train/0000.parquet": 5, "zh/train-part0/0000.parquet": 5,
	} {
		files[path] = parquetFile(t, rows)
	}
	options := []hubtest.Option{hubtest.Dataset(repo, map[string][]byte{"data.csv": []byte("a\n1\n")}), hubtest.At(repo, "refs/convert/parquet", files)}
	return hubtest.New(t, append(more, options...)...)
}

func TestTheHubListsConvertedFilesByConfigAndSplit(t *testing.T) {
	hub := converted(t)
	c := connect(t, hub, "")
	api := "/api/datasets/" + repo + "/parquet"
	var all map[string]map[string][]string
	c.do(http.MethodGet, api, nil).json(t, &all)
	train := []string{hub.HubURL + api + "/default/train/0.parquet", hub.HubURL + api + "/default/train/1.parquet"}
	if len(all) != 3 || !slices.Equal(all["default"]["train"], train) || len(all["zh"]["partial-train"]) != 1 {
		t.Errorf("all: %v", all)
	}
	var config map[string][]string
	c.do(http.MethodGet, api+"/default", nil).json(t, &config)
	if len(config) != 2 || !slices.Equal(config["train"], train) {
		t.Errorf("config: %v", config)
	}
	var split []string
	c.do(http.MethodGet, api+"/default/train", nil).json(t, &split)
	if !slices.Equal(split, train) {
		t.Errorf("split: %v", split)
	}
	got := c.do(http.MethodGet, train[1], nil)
	if want := "/datasets/" + repo + "/resolve/refs%2Fconvert%2Fparquet/default/train/0001.parquet"; got.StatusCode != http.StatusFound || got.Header.Get("Location") != want {
		t.Errorf("shard: %s to %s", got.Status, got.Header.Get("Location"))
	}
	if got = c.do(http.MethodGet, got.Header.Get("Location"), nil); got.StatusCode != http.StatusFound {
		t.Errorf("resolve: %s", got.Status)
	}
	want, err := hub.Read(repo, "refs/convert/parquet", "default/train/0001.parquet")
	if got = c.do(http.MethodGet, got.Header.Get("Location"), nil); err != nil || !bytes.Equal(got.body, want) {
		t.Errorf("content: %s (%v)", got.Status, err)
	}
	var odd []string
	c.do(http.MethodGet, api+"/a%20b/train", nil).json(t, &odd)
	if len(odd) != 1 || !strings.HasSuffix(odd[0], "/a%20b/train/0.parquet") {
		t.Errorf("odd name: %v", odd)
	}
	for _, missing := range []string{"/nowhere", "/default/nowhere", "/default/train/2.parquet", "/default/train/00.parquet", "/default/train/x.parquet", "/default/train/-1.parquet"} {
		c.do(http.MethodGet, api+missing, nil).want(t, http.StatusNotFound, "EntryNotFound", "")
	}
	c.do(http.MethodGet, api+"/default/train/0.parquet/more", nil).want(t, http.StatusNotFound, "", "")
}

type viewed struct {
	Files []struct {
		Dataset, Config, Split, URL, Filename string
		Size                                  int64
	} `json:"parquet_files"`
	Pending, Failed []struct {
		Kind, Dataset, Config string
		Split                 *string
	}
	Partial  *bool
	Features json.RawMessage
	Error    string
}

func (c *client) viewer(query string) (viewed, answer) {
	c.t.Helper()
	got := c.do(http.MethodGet, c.hub.ViewerURL+query, nil)
	var out viewed
	got.json(c.t, &out)
	return out, got
}

func TestTheViewerListsFilesWithSizes(t *testing.T) {
	hub := converted(t)
	c := connect(t, hub, "")
	out, got := c.viewer("/parquet?dataset=" + repo)
	var names []string
	for _, f := range out.Files {
		names = append(names, f.Config+" "+f.Split+" "+f.Filename)
		if f.Dataset != repo || f.Size < 100 || !strings.HasPrefix(f.URL, hub.HubURL+"/datasets/"+repo+"/resolve/refs%2Fconvert%2Fparquet/") {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"default test 0000.parquet", "default train 0000.parquet", "default train 0001.parquet", "a b train 0000.parquet", "zh train 0000.parquet", "zh train 0000.parquet"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	if !strings.Contains(out.Files[4].URL+out.Files[5].URL, "/zh/partial-train/0000.parquet") {
		t.Error("the partial folder is not in any URL")
	}
	if out.Pending == nil || out.Failed == nil || len(out.Pending)+len(out.Failed) > 0 || out.Partial == nil || !*out.Partial {
		t.Errorf("got %s", got.body)
	}
	if got.Header.Get("X-Revision") != head(t, hub, "main") {
		t.Errorf("X-Revision %s", got.Header.Get("X-Revision"))
	}
	one, got := c.viewer("/parquet?dataset=" + repo + "&config=default")
	if len(one.Files) != 3 || one.Pending != nil || *one.Partial || string(one.Features) != wantFeatures {
		t.Errorf("one config: %s", got.body)
	}
	// The same below the Hub's address, and under the name that datasets asks.
	for _, at := range []answer{c.do(http.MethodGet, "/datasets-server/parquet?dataset="+repo, nil), c.asked("datasets-server.hub.test", "/parquet?dataset="+repo)} {
		var again viewed
		if at.json(t, &again); len(again.Files) != len(out.Files) {
			t.Errorf("%s: %s", at.Request.URL, at.body)
		}
	}
}

// asked sends a request to the Hub's address under another host name.
func (c *client) asked(host, path string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.hub.HubURL+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Host = host
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return answer{resp, body.Bytes()}
}

const wantFeatures = `{"text":{"dtype":"string","_type":"Value"},"ids":{"feature":{"dtype":"int64","_type":"Value"},"_type":"List"},` +
	`"at":{"z":{"dtype":"float64","_type":"Value"},"a":{"dtype":"bool","_type":"Value"}}}`

func TestTheViewerTellsFeaturesAndRows(t *testing.T) {
	hub := converted(t)
	c := connect(t, hub, "")
	type facts struct {
		Features json.RawMessage
		Builder  string `json:"builder_name"`
		Config   string `json:"config_name"`
		Splits   map[string]struct {
			Examples int64 `json:"num_examples"`
		}
	}
	var all struct {
		Info    map[string]facts `json:"dataset_info"`
		Pending []any
		Failed  []any
		Partial bool
	}
	got := c.do(http.MethodGet, hub.ViewerURL+"/info?dataset="+repo, nil)
	if got.json(t, &all); len(all.Info) != 3 || all.Info["default"].Splits["train"].Examples != 7 || all.Info["default"].Splits["test"].Examples != 2 || !all.Partial || all.Pending == nil {
		t.Errorf("info %s", got.body)
	}
	var one struct {
		Info facts `json:"dataset_info"`
	}
	got = c.do(http.MethodGet, hub.ViewerURL+"/info?dataset="+repo+"&config=default", nil)
	if got.json(t, &one); string(one.Info.Features) != wantFeatures || one.Info.Builder != "parquet" || one.Info.Config != "default" {
		t.Errorf("info %s", got.body)
	}
}

func TestTheViewersStatesAreAsTheyWereSet(t *testing.T) {
	hub := converted(t)
	c := connect(t, hub, "")
	first := head(t, hub, "main")
	c.commit("main", "", fileLine("more.csv", "a")).want(t, http.StatusOK, "", "")
	now := head(t, hub, "main")
	for _, tc := range []struct {
		set      hubtest.Conversion
		status   int
		code     string
		revision string
		check    func(viewed) bool
	}{
		{hubtest.Conversion{}, 200, "", first, func(v viewed) bool { return len(v.Files) == 6 }}, // main has moved since
		{hubtest.Conversion{State: hubtest.Fresh}, 200, "", now, func(v viewed) bool { return len(v.Files) == 6 }},
		{hubtest.Conversion{State: hubtest.Stale}, 200, "", first, func(v viewed) bool { return len(v.Files) == 6 }},
		{hubtest.Conversion{State: hubtest.Pending}, 200, "", now, func(v viewed) bool { return len(v.Files) == 0 && len(v.Pending) == 3 && !*v.Partial }},
		{hubtest.Conversion{State: hubtest.Failed, Configs: []string{"zh"}}, 200, "", now, func(v viewed) bool {
			return len(v.Files) == 4 && len(v.Failed) == 1 && v.Failed[0].Config == "zh" && v.Failed[0].Split == nil && v.Failed[0].Kind == "config-parquet"
		}},
		{hubtest.Conversion{State: hubtest.Partial, Configs: []string{"default"}}, 200, "", now, func(v viewed) bool { return *v.Partial }},
		{hubtest.Conversion{State: hubtest.NotReady}, 500, "ResponseNotReady", now, func(v viewed) bool { return v.Error != "" }},
		{hubtest.Conversion{State: hubtest.Broken}, 500, "DatasetGenerationError", now, func(v viewed) bool { return v.Error != "" }},
		{hubtest.Conversion{State: hubtest.Blocked}, 501, "DatasetInBlockListError", now, func(v viewed) bool { return v.Error != "" }},
	} {
		if err := hub.SetConversion(repo, tc.set); err != nil {
			t.Fatal(err)
		}
		out, got := c.viewer("/parquet?dataset=" + repo)
		if got.StatusCode != tc.status || got.Header.Get("X-Error-Code") != tc.code || got.Header.Get("X-Revision") != tc.revision || !tc.check(out) {
			t.Errorf("%+v: %s %v: %s", tc.set, got.Status, got.Header, got.body)
		}
	}
	if err := hub.SetConversion(repo, hubtest.Conversion{State: "odd"}); err == nil {
		t.Error("an unknown state is accepted")
	}
}

func TestTheViewerRefusesInItsOwnWords(t *testing.T) {
	tokens := hubtest.Tokens(map[string]hubtest.Rights{"hf_r": hubtest.Read, "hf_p": hubtest.Public})
	hub := converted(t, tokens, hubtest.Dataset("org/private", nil), hubtest.WithSettings("org/private", hubtest.Settings{Private: true}),
		hubtest.Dataset("org/gated", nil), hubtest.WithSettings("org/gated", hubtest.Settings{Gated: "auto"}), hubtest.Dataset("org/new", nil))
	for _, tc := range []struct {
		token, query string
		status       int
		code         string
	}{
		{"", "/parquet", 422, "MissingRequiredParameter"},
		{"", "/parquet?dataset=" + repo + "&config=", 422, "InvalidParameter"},
		{"", "/parquet?dataset=" + repo + "&config=nowhere", 404, "ResponseNotFound"},
		{"", "/other?dataset=" + repo, 404, "ResponseNotFound"},
		{"", "/parquet?dataset=org/nowhere", 401, "ExternalUnauthenticatedError"},
		{"", "/parquet?dataset=org/private", 401, "ExternalUnauthenticatedError"},
		{"", "/info?dataset=org/gated", 401, "ExternalUnauthenticatedError"},
		{"hf_p", "/parquet?dataset=org/nowhere", 404, "ExternalAuthenticatedError"},
		{"hf_p", "/parquet?dataset=org/private", 404, "ExternalAuthenticatedError"},
		{"hf_forged", "/parquet?dataset=" + repo, 401, "ExternalUnauthenticatedError"},
		{"hf_r", "/parquet?dataset=org/private", 501, "NotSupportedPrivateRepositoryError"},
		{"hf_r", "/parquet?dataset=org/gated", 500, "ResponseNotReady"},
		{"", "/info?dataset=org/new", 500, "ResponseNotReady"},
		{"", "/parquet?dataset=" + repo, 200, ""},
	} {
		c := connect(t, hub, "")
		var header []string
		if tc.token != "" {
			header = []string{"Authorization", "Bearer " + tc.token}
		}
		got := c.do(http.MethodGet, hub.ViewerURL+tc.query, nil, header...)
		var body struct{ Error string }
		if got.json(t, &body); got.StatusCode != tc.status || got.Header.Get("X-Error-Code") != tc.code || (body.Error == "") != (tc.status == 200) {
			t.Errorf("%q %s: %s %q: %s", tc.token, tc.query, got.Status, got.Header.Get("X-Error-Code"), got.body)
		}
	}
	hub.ForgetRequests()
	connect(t, hub, "").do(http.MethodGet, hub.ViewerURL+"/parquet?dataset="+repo, nil)
	if seen := hub.Requests(); len(seen) != 1 || seen[0].Origin != "viewer" {
		t.Errorf("requests %+v", seen)
	}
}

func TestWhatIsNoParquetHasNoFeatures(t *testing.T) {
	good := parquetFile(t, 3)
	for name, content := range map[string][]byte{"short": []byte("PAR1"), "cut": good[:len(good)-20], "holes": append(bytes.Repeat([]byte{0xff}, 200), good[len(good)-8:]...)} {
		hub := hubtest.New(t, hubtest.Dataset(repo, nil), hubtest.At(repo, "refs/convert/parquet", map[string][]byte{"default/train/0000.parquet": content}))
		out, got := connect(t, hub, "").viewer("/parquet?dataset=" + repo + "&config=default")
		if got.StatusCode != http.StatusOK || string(out.Features) != "null" || len(out.Files) != 1 {
			t.Errorf("%s: %s %s", name, got.Status, got.body)
		}
	}
}
