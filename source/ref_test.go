package source_test

import (
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

func TestParseRefReadsEveryForm(t *testing.T) {
	for text, want := range map[string]source.Ref{
		"ns/name":                       {Repo: "ns/name"},
		"squad":                         {Repo: "squad"},
		"datasets/ns/name":              {Repo: "ns/name"},
		"ns/name@v1.0":                  {Repo: "ns/name", Revision: "v1.0"},
		"ns/name@my%2Fbranch":           {Repo: "ns/name", Revision: "my/branch"},
		"ns/name@refs/convert/parquet":  {Repo: "ns/name", Revision: "refs/convert/parquet"},
		"ns/name@refs/pr/7":             {Repo: "ns/name", Revision: "refs/pr/7"},
		"hf://datasets/ns/name":         {Repo: "ns/name"},
		"hf://datasets/ns/name/data/*":  {Repo: "ns/name", Path: "data/*"},
		"hf://datasets/ns/name@v1/a/b":  {Repo: "ns/name", Revision: "v1", Path: "a/b"},
		"hf://datasets/ns/name/x@y.csv": {Repo: "ns/name", Path: "x@y.csv"},
		"hf://datasets/ns/name@refs/convert/parquet/en/train": {Repo: "ns/name", Revision: "refs/convert/parquet", Path: "en/train"},
		"file:///data/flights":                                {Dir: "/data/flights"},
		"file:///data/../data//x/.":                           {Dir: "/data/x"},
		"a_b.c-d/0625":                                        {Repo: "a_b.c-d/0625"},
		"ns/" + strings.Repeat("n", 96):                       {Repo: "ns/" + strings.Repeat("n", 96)},
	} {
		got, err := source.ParseRef(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := source.ParseRef(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q, which reads as %+v, %v", text, got.String(), again, err)
		}
	}
}

func TestParseRefRefuses(t *testing.T) {
	for text, c := range map[string]struct {
		kind source.Kind
		want string
	}{
		"":                                      {source.KindInvalid, "empty"},
		"a/b/c":                                 {source.KindInvalid, "an id is ns/name"},
		"ns/na me":                              {source.KindInvalid, "not a dataset id"},
		"ns/-name":                              {source.KindInvalid, "not a dataset id"},
		"ns/a--b":                               {source.KindInvalid, `"--"`},
		"ns/a..b":                               {source.KindInvalid, `".."`},
		"ns/name.git":                           {source.KindInvalid, ".git"},
		"ns/" + strings.Repeat("n", 97):         {source.KindInvalid, "1 to 96"},
		"ns/name@":                              {source.KindInvalid, "revision"},
		"ns/name@my/branch":                     {source.KindInvalid, "%2F"},
		"ns/name@%zz":                           {source.KindInvalid, "revision"},
		"ns/name@a..b":                          {source.KindInvalid, "not a git ref"},
		"ns/name@" + strings.Repeat("%2a", 300): {source.KindInvalid, "longer than 250"},
		"ns/\xff":                               {source.KindInvalid, "UTF-8"},
		"hf://datasets/squad":                   {source.KindInvalid, "namespace"},
		"hf://datasets/ns/name/../x":            {source.KindInvalid, ".. segment"},
		"hf://datasets/ns/name/a//x":            {source.KindInvalid, "empty segment"},
		"hf://models/ns/name":                   {source.KindInvalid, "hf://datasets/"},
		"hf://buckets/ns/name":                  {source.KindUnsupported, "bucket"},
		"s3://bucket/x":                         {source.KindInvalid, "scheme"},
		"/data/x":                               {source.KindInvalid, "file:///"},
		"./x":                                   {source.KindInvalid, "file:///"},
		"../x":                                  {source.KindInvalid, "file:///"},
		`C:\data\x`:                             {source.KindInvalid, "file:///C:/"},
		"C:/data/x":                             {source.KindInvalid, "file:///C:/"},
		`.\x`:                                   {source.KindInvalid, "file:///C:/"},
		"file://host/x":                         {source.KindInvalid, "absolute"},
		"file:///":                              {source.KindInvalid, "root"},
		"ns/name\n":                             {source.KindInvalid, "control character"},
		strings.Repeat("x", 5000):               {source.KindInvalid, "bytes long"},
	} {
		_, err := source.ParseRef(text)
		if source.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want [%s] … %s", text, err, c.kind, c.want)
		}
	}
}

func TestRevisionsAreGitRefs(t *testing.T) {
	for _, rev := range []string{"main", "v1.0", "my/branch", "refs/pr/3", strings.Repeat("a", 40)} {
		if why := source.ValidateRevision(rev); why != "" {
			t.Errorf("%q %s", rev, why)
		}
	}
	for _, rev := range []string{"", "a..b", "/a", "a/", "a.lock", "-x", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", `a\b`, "a\n", strings.Repeat("a", 251)} {
		if source.ValidateRevision(rev) == "" {
			t.Errorf("%q was accepted", rev)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"ns/name@v1", "hf://datasets/ns/name@refs/pr/1/a", "file:///a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := source.ParseRef(text)
		if err != nil {
			return
		}
		again, err := source.ParseRef(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q reads as %+v, prints as %q, reads as %+v, %v", text, ref, ref.String(), again, err)
		}
	})
}
