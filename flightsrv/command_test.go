package flightsrv

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
)

func cmdDescriptor(raw string) *flight.FlightDescriptor {
	return &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte(raw)}
}

// TestReadCommand is wire.md §1 and §3: what is accepted, and the text of what is
// not.
func TestReadCommand(t *testing.T) {
	s := New(Options{})
	for name, c := range map[string]struct{ raw, want string }{
		"the smallest command":          {`{"v":1,"dataset":"ns/name"}`, ""},
		"every key":                     {`{"v":1,"dataset":"ns/name","revision":"main","config":"c","split":"train","data_dir":"d","data_files":{"train":["a*.parquet"]},"columns":["a",["b","c"]],"filters":[["a","=",1]],"logic":"spark","limit":3,"profile":"spark","conversion":"never","partial":"allow","max_partition_bytes":1,"batch_rows":10,"batch_bytes":65536,"compression":"zstd"}`, ""},
		"rows without columns":          {`{"v":1,"dataset":"ns/name","columns":[],"rows_only":true}`, ""},
		"a limit of zero":               {`{"v":1,"dataset":"ns/name","limit":0}`, ""},
		"a revision inside the name":    {`{"v":1,"dataset":"ns/name@v1"}`, ""},
		"both revisions, equal":         {`{"v":1,"dataset":"ns/name@v1","revision":"v1"}`, ""},
		"no version":                    {`{"dataset":"ns/name"}`, `the key "v" is missing`},
		"another version":               {`{"v":2,"dataset":"ns/name"}`, "wire version 2"},
		"a misspelt key":                {`{"v":1,"dataset":"ns/name","colums":["a"]}`, `did you mean "columns"?`},
		"a duplicate key":               {`{"v":1,"dataset":"a/b","dataset":"c/d"}`, `duplicate key "dataset"`},
		"no dataset":                    {`{"v":1}`, "the dataset name is empty"},
		"a bucket":                      {`{"v":1,"dataset":"hf://buckets/a/b"}`, "bucket"},
		"two revisions":                 {`{"v":1,"dataset":"ns/name@v1","revision":"v2"}`, `names revision "v1"`},
		"a revision git cannot have":    {`{"v":1,"dataset":"ns/name","revision":"a..b"}`, "not a git ref"},
		"empty columns":                 {`{"v":1,"dataset":"ns/name","columns":[]}`, "columns is empty"},
		"rows_only with columns":        {`{"v":1,"dataset":"ns/name","columns":["a"],"rows_only":true}`, "rows_only goes with"},
		"a column that is a number":     {`{"v":1,"dataset":"ns/name","columns":[1]}`, "a column is a string or a list of strings"},
		"an unknown logic":              {`{"v":1,"dataset":"ns/name","logic":"sql"}`, "sql"},
		"an unknown profile":            {`{"v":1,"dataset":"ns/name","profile":"flink"}`, "flink"},
		"an unknown conversion":         {`{"v":1,"dataset":"ns/name","conversion":"yes"}`, `conversion="yes" is none of auto, never, always`},
		"a negative limit":              {`{"v":1,"dataset":"ns/name","limit":-1}`, "negative"},
		"a fraction as a limit":         {`{"v":1,"dataset":"ns/name","limit":1.5}`, "limit"},
		"huge batches":                  {`{"v":1,"dataset":"ns/name","batch_bytes":1000000000}`, "batch_bytes"},
		"a filter without operator":     {`{"v":1,"dataset":"ns/name","filters":[["a",1]]}`, "filter"},
		"a message of Flight SQL":       {"\n\x3ftype.googleapis.com/arrow.flight.protocol.sql.CommandGetTables\x12\x00", "Flight SQL is not spoken here"},
		"an object that breaks off":     {`{"v":1,`, "read command: the JSON body ends too early"},
		"a local name without any root": {`{"v":1,"dataset":"file:///data"}`, "no local folders"},
	} {
		t.Run(name, func(t *testing.T) {
			command, err := readCommand(cmdDescriptor(c.raw))
			if err == nil {
				_, err = s.request(t.Context(), "read", command)
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestPathDescriptor(t *testing.T) {
	c, err := readCommand(&flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: []string{"ns/name", "config", "split"}})
	if err != nil || c.Dataset != "ns/name" || c.Config != "config" || c.Split != "split" {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, path := range [][]string{nil, {"a", "b", "c", "d"}} {
		if _, err := readCommand(&flight.FlightDescriptor{Type: flight.DescriptorPATH, Path: path}); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
	if _, err := readCommand(&flight.FlightDescriptor{}); err == nil {
		t.Error("a descriptor without type was accepted")
	}
}

func FuzzReadCommand(f *testing.F) {
	f.Add([]byte(`{"v":1,"dataset":"ns/name","columns":["a"],"filters":[["a","=",{"$dec":"1"}]]}`))
	s := New(Options{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := decodeRead(raw); err == nil {
			_, _ = s.request(t.Context(), "read", c)
		}
	})
}
