package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// together opens files of these texts, in the order of their names, as one job's.
func together(t *testing.T, files ...string) ([]*rowFile, error) {
	t.Helper()
	dir := t.TempDir()
	var inputs []*rowFile
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.WriteFile(name, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := openRows(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, in)
	}
	return inputs, agree(inputs)
}

func TestTheFilesOfAJobDecideTogetherWhatAColumnIs(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  []string
	}{
		"a column that is empty in one, and whole in another": {
			[]string{"a.csv", "id,x,y\n1,,1\n", "b.csv", "id,x,y\n2,2020-01-02,1.5\n"},
			[]string{"id int64, x date32, y float64\n{\"id\":1,\"x\":null,\"y\":1}\n", "id int64, x date32, y float64\n{\"id\":2,\"x\":\"2020-01-02\",\"y\":1.5}\n"},
		},
		"codes": {
			[]string{"a.csv", "zip\n94110\n", "b.csv", "zip\n01234\n"},
			[]string{"zip utf8\n{\"zip\":\"94110\"}\n", "zip utf8\n{\"zip\":\"01234\"}\n"},
		},
		"JSON": {
			[]string{"a.jsonl", `{"id":1,"x":null,"o":[{"a":1}]}`, "b.jsonl", `{"o":[{"b":"t"},null],"x":["t"],"id":2.5}`},
			[]string{
				"id float64, x list<item: utf8, nullable>, o list<item: struct<a: int64 nullable, b: utf8 nullable>, nullable>\n{\"id\":1,\"o\":[{\"a\":1,\"b\":null}],\"x\":null}\n",
				"id float64, x list<item: utf8, nullable>, o list<item: struct<a: int64 nullable, b: utf8 nullable>, nullable>\n{\"id\":2.5,\"o\":[{\"a\":null,\"b\":\"t\"},null],\"x\":[\"t\"]}\n",
			},
		},
	} {
		inputs, err := together(t, c.files...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, in := range inputs {
			if got := rowsText(t, in); got != c.want[i] {
				t.Errorf("%s: got\n%swant\n%s", name, got, c.want[i])
			}
			if how := columnsDiffer(in.schema, inputs[0].schema); how != "" {
				t.Errorf("%s: %s", name, how)
			}
		}
	}
	inputs, err := together(t, "a.csv", "zip\n94110\n", "b.csv", "zip\n01234\n")
	if want := `a.csv: column "zip" is int64 here and not in every file, so it is text`; err != nil || len(inputs[0].notes) != 1 || !strings.HasSuffix(inputs[0].notes[0], want) || len(inputs[1].notes) > 0 {
		t.Errorf("the notes are %q and %q, %v", inputs[0].notes, inputs[1].notes, err)
	}
}

func TestFilesOfOtherColumnsAreToldHowTheyDiffer(t *testing.T) {
	for want, files := range map[string][]string{
		`no column "b", column "c" too`:       {"a.csv", "a,b\n1,2\n", "b.csv", "a,c\n1,2\n"},
		"they are in another order":           {"a.csv", "a,b\n1,2\n", "b.csv", "b,a\n1,2\n"},
		`no column "b"`:                       {"a.jsonl", `{"a":1,"b":1}`, "b.jsonl", `{"a":2}`},
		`column "a" is float64 and not int64`: {"a.csv", "a\n1\n", "b.jsonl", `{"a":1.5}`},
		`no column "a", no column "b", no column "c", no column "d", column "e" too, and 2 more`: {"a.csv", "a,b,c,d\n1,2,3,4\n", "b.csv", "e,f,g\n1,2,3\n"},
	} {
		inputs, err := together(t, files...)
		if err != nil {
			t.Fatal(err)
		}
		if got := columnsDiffer(inputs[1].schema, inputs[0].schema); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for want, files := range map[string][]string{
		"b.jsonl: a: a value is string, and int in another file":                                      {"a.jsonl", `{"a":1}`, "b.jsonl", `{"a":"x"}`},
		"b.jsonl: a: a value is float, and another one 9007199254740993, which a float does not hold": {"a.jsonl", `{"a":9007199254740993}`, "b.jsonl", `{"a":0.5}`},
	} {
		if _, err := together(t, files...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
