package dataset

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzCard: a README never panics, and what it says stays in bounds.
func FuzzCard(f *testing.F) {
	for _, card := range []string{imdbCard, infinityCard, finewebCard, "---\n---\n", "\ufeff---\nconfigs: 1\n---\n", "---\nconfigs:\n- &a {config_name: x, <<: *a}\n---\n", "---\r\nconfigs: [A, B]\r\n--- \r\n"} {
		f.Add([]byte(card))
	}
	f.Fuzz(func(t *testing.T, readme []byte) {
		l, err := Resolve(Tree{Readme: readme, Files: treeOf("", imdbFiles...).Files}, Options{})
		if err != nil {
			return
		}
		for _, c := range l.Configs {
			for _, s := range c.Splits {
				if c.Err != nil || !isSplitName(s.Name) {
					t.Errorf("config %q with error %v has split %q", c.Name, c.Err, s.Name)
				}
			}
		}
	})
}

// FuzzGlob: matching never panics, and a literal pattern matches itself only.
func FuzzGlob(f *testing.F) {
	f.Add("**/[!-a]*/x?", "a/b/xy")
	f.Add("a[", "a[")
	f.Add("[b-a-]]", "-")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		g, err := compileGlob(pattern)
		if err != nil {
			return
		}
		got := g.match(strings.Split(path, "/"))
		if !g.magic && got != (pattern == path) && utf8.ValidString(pattern) && utf8.ValidString(path) {
			t.Errorf("literal %q matches %q: %v", pattern, path, got)
		}
	})
}

// FuzzDataFiles: what is accepted survives being written and read again.
func FuzzDataFiles(f *testing.F) {
	for _, text := range []string{`"a"`, `["a","b"]`, `{"train":"a","test":["b"]}`, `[{"split":"x","path":"y"}]`, `[]`, `{}`, `[null]`, `{"a":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d, again DataFiles
		if json.Unmarshal(raw, &d) != nil {
			return
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(d, again) {
			t.Errorf("%s became %s (%v)", raw, text, err)
		}
	})
}

// BenchmarkResolve is a repository without README, as large as they come.
func BenchmarkResolve(b *testing.B) {
	var paths []string
	for i := range 100_000 {
		paths = append(paths, fmt.Sprintf("dump-%02d/sub/part-%05d.parquet", i%90, i))
	}
	tree := treeOf("", paths...)
	for b.Loop() {
		if l, err := Resolve(tree, Options{}); err != nil || len(l.Configs[0].Splits[0].Files) != len(paths) {
			b.Fatal(err)
		}
	}
}
