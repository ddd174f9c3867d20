package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

func mustParse(t testing.TB, text string) *Filter {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return f
}

func TestParseGivesCanonicalJSON(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a list of triples is one conjunction", `[["a","=",1],["b","<",2]]`, `[[["a","=",1],["b","\u003c",2]]]`},
		{"a list of lists is an OR", `[[["a","=",1]],[["b","<",2]]]`, `[[["a","=",1]],[["b","\u003c",2]]]`},
		{"spaces do not matter", " [ [ \"a\" , \"in\" ,\n [ 1 , null ] ] ] ", `[[["a","in",[1,null]]]]`},
		{"== is =", `[["a","==",1]]`, `[[["a","=",1]]]`},
		{"pairs ask for null", `[["a","is null"],["b","is not null"]]`, `[[["a","is null"],["b","is not null"]]]`},
		{"a pair alone decides the shape", `[[["a","is null"]]]`, `[[["a","is null"]]]`},
		{"a path is a list of names", `[[[["a","b"],"=",1]]]`, `[[[["a","b"],"=",1]]]`},
		{"a path may stand later in a flat list", `[["x","=",1],[["a","b"],"is null"]]`, `[[["x","=",1],[["a","b"],"is null"]]]`},
		{"a dotted name stays a name", `[["a.b","=",1]]`, `[[["a.b","=",1]]]`},
		{"an empty set is allowed", `[["a","not in",[]]]`, `[[["a","not in",[]]]]`},
		{"integers are exact at any size", `[["a","=",-123456789012345678901234567890]]`, `[[["a","=",-123456789012345678901234567890]]]`},
		{"minus zero without a point is an integer", `[["a","=",-0]]`, `[[["a","=",0]]]`},
		{"a point makes a double", `[["a","=",2.0]]`, `[[["a","=",2.0]]]`},
		{"an exponent makes a double", `[["a","=",1e3]]`, `[[["a","=",1000.0]]]`},
		{"doubles have one spelling", `[["a","in",[0.10,1e-1,100E-3]]]`, `[[["a","in",[0.1,0.1,0.1]]]]`},
		{"minus zero with a point is the special double", `[["a","=",-0.0]]`, `[[["a","=",{"$f":"-0.0"}]]]`},
		{"special doubles", `[["a","in",[{"$f":"nan"},{"$f":"inf"},{"$f":"-inf"},{"$f":"-0.0"}]]]`, `[[["a","in",[{"$f":"nan"},{"$f":"inf"},{"$f":"-inf"},{"$f":"-0.0"}]]]]`},
		{"decimals drop trailing zeros", `[["a","=",{"$dec":"+001.50"}]]`, `[[["a","=",{"$dec":"1.5"}]]]`},
		{"decimals below one", `[["a","=",{"$dec":"-5e-3"}]]`, `[[["a","=",{"$dec":"-0.005"}]]]`},
		{"decimals with an exponent", `[["a","=",{"$dec":"1.50E+5"}]]`, `[[["a","=",{"$dec":"15e4"}]]]`},
		{"decimal zero", `[["a","=",{"$dec":"-0.00"}]]`, `[[["a","=",{"$dec":"0"}]]]`},
		{"binary", `[["a","=",{"$bin":"AP8="}]]`, `[[["a","=",{"$bin":"AP8="}]]]`},
		{"dates", `[["a","=",{"$date":"2024-02-29"}]]`, `[[["a","=",{"$date":"2024-02-29"}]]]`},
		{"timestamps without a zone", `[["a","=",{"$ts":"2024-01-31T12:00:00.120"}]]`, `[[["a","=",{"$ts":"2024-01-31T12:00:00.12"}]]]`},
		{"timestamps are written in UTC", `[["a","=",{"$ts":"2024-01-01T00:30:00+01:00"}]]`, `[[["a","=",{"$ts":"2023-12-31T23:30:00Z"}]]]`},
		{"timestamps have nanoseconds", `[["a","=",{"$ts":"1969-12-31T23:59:59.999999999Z"}]]`, `[[["a","=",{"$ts":"1969-12-31T23:59:59.999999999Z"}]]]`},
		{"times", `[["a","=",{"$time":"12:00:00.5"}]]`, `[[["a","=",{"$time":"12:00:00.5"}]]]`},
		{"strings are escaped as json.Marshal does", `[["a","=","\u00e9\/\"\\\u0001\ud83d\ude00<"]]`, "[[[\"a\",\"=\",\"é/\\\"\\\\\\u0001😀\\u003c\"]]]"},
		{"bools and nulls", `[["a","=",true],["b","!=",null]]`, `[[["a","=",true],["b","!=",null]]]`},
		{"prefixes", `[["a","starts_with","x"]]`, `[[["a","starts_with","x"]]]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mustParse(t, c.in)
			got, err := json.Marshal(f)
			if err != nil || string(got) != c.want {
				t.Fatalf("got  %s %v\nwant %s", got, err, c.want)
			}
			if again := mustParse(t, string(got)); !bytes.Equal(again.canon, f.canon) {
				t.Fatalf("the canonical form parses to another filter: %s", again.canon)
			}
			var inside struct {
				F *Filter `json:"filters"`
			}
			if err := json.Unmarshal(fmt.Appendf(nil, `{"filters":%s}`, c.in), &inside); err != nil || !bytes.Equal(inside.F.canon, f.canon) {
				t.Fatalf("inside a command: %v %v", inside.F, err)
			}
		})
	}
}

func TestParseRefusesWhatTheWireDoesNotKnowAndSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", ``, `expected a list, not ""`},
		{"null", `null`, `expected a list, not "null"`},
		{"an object", `{}`, `expected a list, not "{}"`},
		{"an empty list", `[]`, `the list is empty`},
		{"an empty conjunction", `[[]]`, `conjunction 1 is empty`},
		{"a second conjunction that is empty", `[[["a","=",1]],[]]`, `conjunction 2 is empty`},
		{"a bare triple", `["a","=",1]`, `conjunction 1: expected a list, not "\"a\""`},
		{"one item", `[["a"]]`, `term 1 of conjunction 1: a term has 3 items, or 2 with is null and is not null; this one has 1`},
		{"four items", `[["a","=",1,2]]`, `this one has 4`},
		{"an unknown operator", `[["a","=",1],["b","~",2]]`, `term 2 of conjunction 1: "~" is not an operator; known are == and =, !=, <, <=, >, >=, in, not in, starts_with, is null, is not null`},
		{"an operator in capitals", `[["a","IN",[1]]]`, `"IN" is not an operator`},
		{"an operator that is no string", `[["a",1,2]]`, `the operator is not a string: 1`},
		{"is null with a value", `[["a","is null",1]]`, `"is null" takes no value`},
		{"a comparison without one", `[["a","="]]`, `"=" needs a value`},
		{"a list for =", `[["a","=",[1]]]`, `"=" takes one value, not a list`},
		{"a string for in", `[["a","in","ab"]]`, `"in" takes a list of values, not "ab"`},
		{"a list in a list", `[["a","in",[1,[2]]]]`, `value 2: a value cannot be a list: [2]`},
		{"a number for starts_with", `[["a","starts_with",1]]`, `starts_with takes a string, not integer`},
		{"an empty name", `[["","=",1]]`, `a column name is empty`},
		{"an empty path", `[[[[],"=",1]]]`, `a column path is empty`},
		{"an empty part of a path", `[[[["a",""],"=",1]]]`, `has an empty part`},
		{"a number for a column", `[[[1,"=",1]]]`, `a column is a string or a list of strings, not 1`},
		{"a path first in a flat list", `[[["a","b"],"=",1]]`, `term 1 of conjunction 1: "b" is not an operator`},
		{"a path that reads like a pair, first in a flat list", `[[["a","is null"],"=",1]]`, `term 2 of conjunction 1: expected a list, not "\"=\""`},
		{"a double beyond the largest", `[["a","=",1e999]]`, `1e999 is not a double; write {"$f":"inf"}`},
		{"NaN", `[["a","=",NaN]]`, `malformed JSON`},
		{"a number with a leading zero", `[["a","=",01]]`, `malformed JSON`},
		{"something after the list", `[["a","=",1]] x`, `malformed JSON`},
		{"a trailing comma", `[["a","=",1],]`, `malformed JSON`},
		{"an unknown kind of literal", `[["a","=",{"$x":"1"}]]`, `"$x" is not a kind of literal; known are $dec, $f, $bin, $date, $ts, $time`},
		{"two keys", `[["a","=",{"$dec":"1","$f":"nan"}]]`, `a value in braces is one key with a string`},
		{"a duplicate key", `[["a","=",{"$dec":"1","$dec":"2"}]]`, `a value in braces is one key with a string`},
		{"no key", `[["a","=",{}]]`, `a value in braces is one key with a string`},
		{"a key with a number", `[["a","=",{"$dec":1}]]`, `a value in braces is one key with a string`},
		{"a special double that is none", `[["a","=",{"$f":"1"}]]`, `"1" is not a special double`},
		{"a decimal that is none", `[["a","=",{"$dec":"1_0"}]]`, `"1_0" is not a decimal number`},
		{"an empty decimal", `[["a","=",{"$dec":"."}]]`, `is not a decimal number`},
		{"a huge decimal", `[["a","=",{"$dec":"1e99999"}]]`, `is too long`},
		{"a decimal of many digits", `[["a","=",{"$dec":"` + strings.Repeat("9", 1001) + `"}]]`, `is too long`},
		{"base64 without padding", `[["a","=",{"$bin":"AP8"}]]`, `is not standard padded base64`},
		{"base64 with line ends", `[["a","=",{"$bin":"AP8=\n"}]]`, `is not standard padded base64`},
		{"base64 of the URL alphabet", `[["a","=",{"$bin":"-_8="}]]`, `is not standard padded base64`},
		{"a day that does not exist", `[["a","=",{"$date":"2023-02-29"}]]`, `"2023-02-29" is not a date (expected YYYY-MM-DD)`},
		{"a date with a time", `[["a","=",{"$date":"2023-02-01T00:00:00"}]]`, `is not a date`},
		{"a timestamp without seconds", `[["a","=",{"$ts":"2023-02-01T00:00"}]]`, `is not a timestamp`},
		{"a timestamp that is a date", `[["a","=",{"$ts":"2023-02-01"}]]`, `is not a timestamp`},
		{"a timestamp with ten digits", `[["a","=",{"$ts":"2023-02-01T00:00:00.1234567890"}]]`, `is not a timestamp`},
		{"a timestamp with a bad offset", `[["a","=",{"$ts":"2023-02-01T00:00:00+1"}]]`, `is not a timestamp`},
		{"a timestamp with two offsets", `[["a","=",{"$ts":"2023-02-01T00:00:00Z05:30"}]]`, `is not a timestamp`},
		{"a timestamp before the year 0", `[["a","=",{"$ts":"0000-01-01T00:00:00+01:00"}]]`, `is outside the years 0000 to 9999 in UTC`},
		{"a time that does not exist", `[["a","=",{"$time":"24:00:00"}]]`, `"24:00:00" is not a time of day`},
		{"bytes that are not UTF-8", "[[\"a\",\"=\",\"\xff\"]]", `the text is not UTF-8`},
		{"half a surrogate pair", `[["a","=","\ud800"]]`, `a string holds half of a surrogate pair (\ud800)`},
		{"the other half", `[["a","=","\udc00\ud800"]]`, `a string holds half of a surrogate pair (\udc00)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if source.KindOf(err) != source.KindInvalid {
				t.Fatalf("kind %v", source.KindOf(err))
			}
		})
	}
}

func TestParseFailsBeyond64KiB(t *testing.T) {
	fits := `[["a","=","` + strings.Repeat("x", maxBytes-100) + `"]]`
	mustParse(t, fits)
	for name, text := range map[string]string{
		"as it comes":                `[["a","=","` + strings.Repeat("x", maxBytes) + `"]]`,
		"in canonical form":          `[["a","in",[` + strings.Repeat(`-0.0,`, 12000) + `1]]]`,
		"in canonical form, escapes": `[["a","=","` + strings.Repeat(`<`, 32000) + `"]]`,
	} {
		if _, err := Parse([]byte(text)); source.KindOf(err) != source.KindLimit {
			t.Errorf("%s: %d bytes gave %v", name, len(text), err)
		}
	}
}

func TestStringIsReadable(t *testing.T) {
	for in, want := range map[string]string{
		`[["langdetect","=","zh-cn"]]`:                                                        `langdetect = "zh-cn"`,
		`[["a","==",1],["b","in",["x",null,{"$dec":"1.50"}]]]`:                                `a = 1 and b in ("x", null, 1.5)`,
		`[[["a",">",0.5],["b","is null"]],[[["c","d"],"!=",{"$ts":"2024-01-01T00:00:00Z"}]]]`: `(a > 0.5 and b is null) or c.d != 2024-01-01T00:00:00Z`,
		`[["a","=",{"$bin":"AP8="}],["b","<",{"$f":"inf"}]]`:                                  `a = 0x00ff and b < inf`,
	} {
		if got := mustParse(t, in).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestColumnsAreDistinctInOrderOfFirstUse(t *testing.T) {
	f := mustParse(t, `[[["b","=",1],["a","=",2]],[["b","<",0],[["a"],"is null"],[["a","c"],"is null"]]]`)
	var got []string
	for _, c := range f.Columns() {
		got = append(got, fmt.Sprintf("%s/%v", c, c.IsPath()))
	}
	if want := []string{"b/false", "a/false", "a/true", "a.c/true"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestLogicNames(t *testing.T) {
	for _, l := range []Logic{PyArrow, Spark} {
		if got, err := ParseLogic(l.String()); got != l || err != nil {
			t.Errorf("%v: %v %v", l, got, err)
		}
	}
	if _, err := ParseLogic("sql"); err == nil || err.Error() != `[invalid] logic: "sql" is not a logic: use pyarrow or spark` {
		t.Error(err)
	}
}

// FuzzParse: whatever is accepted has a canonical form that parses to itself,
// and nothing panics.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`[["a","=",1]]`, `[[[["a","b"],"in",[1.5,null,"x",{"$f":"nan"},{"$dec":"1e-7"}]]]]`, `[["a","is null"]]`,
		`[["t",">",{"$ts":"2024-01-31T12:00:00.123456789+05:30"}],["d","=",{"$date":"0001-01-01"}]]`,
		`[["t","<",{"$time":"23:59:59.9"}],["b","=",{"$bin":"AA=="}]]`, `[["a","=","\ud83d\ude00"]]`, `[["a","=","\ud83d"]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Parse(raw)
		if err != nil {
			if k := source.KindOf(err); k != source.KindInvalid && k != source.KindLimit {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		_ = got.String()
		canon, _ := got.MarshalJSON()
		if !json.Valid(canon) {
			t.Fatalf("not JSON: %s", canon)
		}
		again, err := Parse(canon)
		if err != nil || string(again.canon) != string(canon) {
			t.Fatalf("%s -> %v, %v", canon, again, err)
		}
		if len(again.Columns()) == 0 || again.String() != got.String() {
			t.Fatalf("%s and %s differ", got, again)
		}
	})
}
