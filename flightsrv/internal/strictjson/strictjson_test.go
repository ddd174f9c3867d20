package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/flightsrv/internal/strictjson"
)

type inner struct {
	Path string `json:"path"`
	Rows int64  `json:"rows"`
}

type body struct {
	V       int             `json:"v"`
	Columns []string        `json:"columns"`
	Files   []inner         `json:"files"`
	Filters json.RawMessage `json:"filters"`
	Limit   *int64          `json:"limit"`
}

func TestDecodeAcceptsWhatTheContractAllows(t *testing.T) {
	var b body
	raw := ` {"v":1,"columns":["a"],"files":[{"path":"x","rows":9007199254740993}],"filters":[["a","=",{"$dec":"1"}]],"limit":0} `
	if err := strictjson.Decode([]byte(raw), 1<<10, &b); err != nil {
		t.Fatal(err)
	}
	if b.V != 1 || b.Files[0].Rows != 9007199254740993 || b.Limit == nil || *b.Limit != 0 {
		t.Errorf("got %+v", b)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"an unknown key, naming the nearest": {`{"v":1,"colums":["a"]}`, `unknown key "colums": did you mean "columns"?`},
		"an unknown key without a neighbour": {`{"zzzzzzzz":1}`, `unknown key "zzzzzzzz"`},
		"a key in another case":              {`{"Columns":["a"]}`, `unknown key "Columns": did you mean "columns"?`},
		"an unknown key inside a list":       {`{"files":[{"path":"x"},{"pth":"y"}]}`, `unknown key "files[1].pth": did you mean "path"?`},
		"a duplicate key":                    {`{"v":1,"v":2}`, `duplicate key "v"`},
		"a duplicate key in an opaque value": {`{"filters":[["a","=",{"$f":"nan","$f":"inf"}]]}`, `duplicate key "$f"`},
		"NaN":                                {`{"v":NaN}`, "malformed"},
		"Infinity":                           {`{"v":Infinity}`, "malformed"},
		"an empty body":                      {``, "empty"},
		"an array":                           {`[1]`, "not an object"},
		"a scalar":                           {`1`, "not an object"},
		"text after the object":              {`{"v":1} {}`, "after the JSON object"},
		"a cut object":                       {`{"v":1`, "ends too early"},
		"a wrong type, naming the key":       {`{"columns":"a"}`, `key "columns" cannot be a JSON string`},
		"a fraction for an integer":          {`{"v":1.5}`, `key "v" cannot be a JSON number 1.5`},
		"broken UTF-8":                       {"{\"columns\":[\"\xff\"]}", "UTF-8"},
		"deep nesting":                       {`{"filters":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "nested"},
		"a body over the limit":              {`{"columns":["` + strings.Repeat("a", 2000) + `"]}`, "at most 1024"},
	} {
		t.Run(name, func(t *testing.T) {
			var b body
			err := strictjson.Decode([]byte(c.raw), 1<<10, &b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A text of a few bytes an item would take gigabytes when it is decoded.
func TestDecodeBoundsWhatBecomesOfAText(t *testing.T) {
	list := func(item string, n int) string { return `{"files":[` + strings.Repeat(item+",", n-1) + item + `]}` }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return `{"filters":{` + b.String()[1:] + `}}`
	}
	for name, c := range map[string]struct{ raw, want string }{
		"as many files as there may be": {list(`{}`, 1<<18), ""},
		"one more":                      {list(`{}`, 1<<18+1), "more than 262144 items"},
		"lists in lists":                {`{"filters":[` + strings.Repeat(`[1,2],`, 1<<17) + `0]}`, "more than 262144 items"},
		"as many keys as there may be":  {keys(1 << 12), ""},
		"one key more":                  {keys(1<<12 + 1), "more than 4096 keys"},
	} {
		var b body
		err := strictjson.Decode([]byte(c.raw), 1<<22, &b)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"columns":["a"],"limit":3}`))
	f.Add([]byte(`{"files":[{"path":"x"}],"filters":[[1]]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b body
		if strictjson.Decode(raw, 1<<16, &b) == nil && !json.Valid(raw) {
			t.Errorf("accepted %q, which is not JSON", raw)
		}
	})
}
