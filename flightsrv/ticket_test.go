package flightsrv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/scan"
)

const (
	sha1 = "0123456789abcdef0123456789abcdef01234567"
	sha2 = "89abcdef0123456789abcdef0123456789abcdef"
)

func oid(c string) string { return strings.Repeat(c, 64) }

// partitions are every shape of ticket that plans make.
func partitions(t testing.TB) map[string]dataset.Partition {
	t.Helper()
	small, err := filter.Parse([]byte(`[["a","=",1]]`))
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	for i := range 500 {
		items = append(items, fmt.Sprintf(`"a long common prefix %d"`, i))
	}
	large, err := filter.Parse([]byte(`[["a","in",[` + strings.Join(items, ",") + `]]]`))
	if err != nil {
		t.Fatal(err)
	}
	at := source.Snapshot{Name: "ns/name", Commit: sha1, Revision: sha1}
	file := source.File{At: at, Path: "data/train-00000-of-00001.parquet", OID: oid("a"), Size: 1234}
	base := dataset.Partition{Dataset: "ns/name", Sha: sha1, DataSha: sha1, Config: "default", Split: "train", File: file, Limit: -1, Source: "native"}
	with := func(change func(*dataset.Partition)) dataset.Partition { p := base; change(&p); return p }
	converted := source.File{At: source.Snapshot{Name: "ns/name", Commit: sha2, Revision: sha2}, Path: "en/partial-train/0000.parquet", ETag: "abc", Size: 7}
	return map[string]dataset.Partition{
		"a whole file": base,
		"row groups":   with(func(p *dataset.Partition) { p.Groups = []int{0, 3, 7} }),
		"no row group": with(func(p *dataset.Partition) { p.Groups = []int{} }),
		"columns": with(func(p *dataset.Partition) {
			p.Query.Columns = []source.Column{source.Col("a.b"), {Path: []string{"c", "d"}}}
		}),
		"rows only":      with(func(p *dataset.Partition) { p.Query.Columns = []source.Column{}; p.Query.RowsOnly = true }),
		"a filter":       with(func(p *dataset.Partition) { p.Query.Filters = small; p.Query.Logic = filter.Spark }),
		"a large filter": with(func(p *dataset.Partition) { p.Query.Filters = large }),
		"the spark profile": with(func(p *dataset.Partition) {
			p.Query.Profile = scan.Spark
			p.Query.BatchRows = 100
			p.Query.BatchBytes = 1 << 20
		}),
		"a limit": with(func(p *dataset.Partition) { p.Limit = 10 }),
		"a limit over files": with(func(p *dataset.Partition) {
			p.Limit = 3
			p.Query.Filters = small
			p.Files = []source.File{file, {At: at, Path: "data/b.parquet", OID: oid("b"), Size: 5}}
		}),
		"a converted dataset": with(func(p *dataset.Partition) {
			p.DataSha, p.File, p.Source, p.Partial = sha2, converted, "converted", true
		}),
		"a schema of its own": with(func(p *dataset.Partition) {
			p.Schema = arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
		}),
	}
}

func TestATicketHoldsThePartition(t *testing.T) {
	s := New(Options{})
	for name, want := range partitions(t) {
		t.Run(name, func(t *testing.T) {
			raw, err := encodeTicket(want, "zstd")
			if err != nil {
				t.Fatal(err)
			}
			again, err := encodeTicket(want, "zstd")
			if err != nil || !bytes.Equal(raw, again) {
				t.Errorf("two encodings differ")
			}
			got, compression, err := s.decodeTicket(raw)
			if err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			if compression != "zstd" {
				t.Errorf("compression is %q", compression)
			}
			compare(t, got, want)
		})
	}
}

func compare(t *testing.T, got, want dataset.Partition) {
	t.Helper()
	if (got.Schema == nil) != (want.Schema == nil) || (got.Schema != nil && !got.Schema.Equal(want.Schema)) {
		t.Errorf("schema: got %v, want %v", got.Schema, want.Schema)
	}
	filters := func(p dataset.Partition) string { raw, _ := json.Marshal(p.Query.Filters); return string(raw) }
	if filters(got) != filters(want) {
		t.Errorf("filters: got %s, want %s", filters(got), filters(want))
	}
	if want.Files != nil {
		want.File = want.Files[0]
	}
	got.Schema, want.Schema, got.Query.Filters, want.Query.Filters = nil, nil, nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestTicketKeys is wire.md §5: keys in their order, absent when default.
func TestTicketKeys(t *testing.T) {
	raw, err := encodeTicket(partitions(t)["a whole file"], "")
	want := `{"v":1,"ref":"ns/name","sha":"` + sha1 + `","cfg":"default","split":"train","path":"data/train-00000-of-00001.parquet","oid":"` + oid("a") + `","size":1234}`
	if err != nil || string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	large, err := encodeTicket(partitions(t)["a large filter"], "")
	if err != nil || len(large) > 6000 {
		t.Errorf("500 strings of 25 bytes make a ticket of %d bytes: they are not deflated", len(large))
	}
}

func TestTicketsAreValidatedLikeRequests(t *testing.T) {
	s := New(Options{})
	good := `{"v":1,"ref":"ns/name","sha":"` + sha1 + `","path":"a.parquet","oid":"` + oid("a") + `","size":1}`
	if _, _, err := s.decodeTicket([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"a path that leaves the dataset": {`"a.parquet"`, `"../a.parquet"`, "path"},
		"an absolute path":               {`"a.parquet"`, `"/etc/passwd"`, "path"},
		"no path":                        {`"path":"a.parquet",`, ``, "path"},
		"no identity":                    {`"oid":"` + oid("a") + `",`, ``, "identity"},
		"a short oid":                    {oid("a"), "aaaa", "identity"},
		"a negative size":                {`"size":1`, `"size":-1`, "identity"},
		"a branch for a sha":             {sha1, "main", "commit id"},
		"falling row groups":             {`"size":1`, `"size":1,"rg":[2,1]`, "rising"},
		"another version":                {`"v":1`, `"v":9`, "version 9"},
		"an unknown key":                 {`"size":1`, `"size":1,"token":"x"`, "unknown key"},
		"a local folder":                 {`"ns/name"`, `"file:///etc"`, "no local folders"},
		"a revision in the name":         {`"ns/name"`, `"ns/name@main"`, "revision"},
		"a schema that is no schema":     {`"size":1`, `"size":1,"schema":"AAAA"`, "schema"},
		"filters that are no deflate":    {`"size":1`, `"size":1,"filters":"AAAA"`, "inflated"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := strings.Replace(good, c.old, c.new, 1)
			if raw == good {
				t.Fatal("the case changes nothing")
			}
			_, _, err := s.decodeTicket([]byte(raw))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestDamagedTicketsNeverPanic: whatever bytes come, the answer is an error or a
// partition that is sound in form.
func TestDamagedTicketsNeverPanic(t *testing.T) {
	s := New(Options{})
	for name, p := range partitions(t) {
		raw, err := encodeTicket(p, "lz4")
		if err != nil {
			t.Fatal(err)
		}
		for seed := range 2000 {
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			damaged := bytes.Clone(raw)
			for range 1 + rng.IntN(3) {
				damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
			}
			got, _, err := s.decodeTicket(damaged[:1+rng.IntN(len(damaged))])
			if err == nil && source.ValidatePath(got.File.Path) != "" {
				t.Fatalf("%s, seed %d: accepted path %q", name, seed, got.File.Path)
			}
		}
	}
}

func FuzzTicket(f *testing.F) {
	s := New(Options{})
	for _, p := range partitions(f) {
		raw, err := encodeTicket(p, "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _, _ = s.decodeTicket(raw) })
}
