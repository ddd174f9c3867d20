package dataset

import (
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// csvHub has a CSV dataset on main and its conversion, with two configs.
func csvHub(t testing.TB, converted map[string][]byte) *memHub {
	t.Helper()
	h := newMemHub()
	h.commit(repo, "main", map[string][]byte{"a.csv": []byte("x\n1\n"), "b.csv": []byte("x\n2\n")})
	if converted != nil {
		h.commit(repo, source.ConvertedRevision, converted)
	}
	return h
}

func convertedFiles(t testing.TB) map[string][]byte {
	return map[string][]byte{
		".gitattributes":              []byte("*.parquet filter=lfs\n"),
		"default/train/0000.parquet":  flights(t, 0, 10, 5),
		"default/train/0001.parquet":  flights(t, 10, 10, 5),
		"default/test/0000.parquet":   flights(t, 0, 5, 5),
		"other-x/train/0000.parquet":  flights(t, 0, 3, 3),
		"other-x/train/10000.parquet": flights(t, 3, 3, 3),
		"other-x/train/2000.parquet":  flights(t, 6, 3, 3),
	}
}

func TestTheConversionIsReadOnlyWhenAskedFor(t *testing.T) {
	h := csvHub(t, convertedFiles(t))
	plan := func(change func(*Request)) (*Plan, error) {
		r := request(t)
		change(&r)
		return planner(h).Plan(t.Context(), source.HubToken{}, r)
	}
	t.Run("auto says that freshness cannot be verified", func(t *testing.T) {
		_, err := plan(func(*Request) {})
		wantError(t, err, source.KindUnsupported, "format is csv")
		wantError(t, err, source.KindUnsupported, `conversion="always"`)
	})
	t.Run("never says what the format is", func(t *testing.T) {
		_, err := plan(func(r *Request) { r.Conversion = ConversionNever })
		wantError(t, err, source.KindUnsupported, "only Parquet can be read")
	})
	t.Run("always reads it and says that it is not verified", func(t *testing.T) {
		got, err := plan(func(r *Request) { r.Conversion = ConversionAlways })
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"default/train/0000.parquet", "default/train/0001.parquet"}; !slices.Equal(paths(got), want) {
			t.Errorf("got %q, want %q", paths(got), want)
		}
		f := got.Facts
		if f.Source != SourceConverted || f.Sha != h.branches[repo]["main"] || f.DataSha != h.branches[repo][source.ConvertedRevision] || f.Sha == f.DataSha {
			t.Errorf("got facts %+v", f)
		}
		if !strings.Contains(strings.Join(got.Notes, "\n"), "freshness not verified") {
			t.Errorf("got notes %q", got.Notes)
		}
		if part := got.Partitions[0]; part.File.At.Commit != f.DataSha || part.DataSha != f.DataSha {
			t.Errorf("the partition is of commit %s", part.File.At.Commit)
		}
	})
	t.Run("always of another branch is refused", func(t *testing.T) {
		h.commit(repo, "dev", map[string][]byte{"a.csv": []byte("x\n")})
		_, err := plan(func(r *Request) { r.Conversion = ConversionAlways; r.Ref.Revision = "dev" })
		wantError(t, err, source.KindUnsupported, "only the default branch is converted")
	})
	t.Run("always with data_files is refused", func(t *testing.T) {
		_, err := plan(func(r *Request) { r.Conversion = ConversionAlways; r.DataFiles = newDataFiles("*.csv") })
		wantError(t, err, source.KindInvalid, "conversion=always")
	})
	for name, revision := range map[string]string{"its branch": source.ConvertedRevision, "its pinned commit": h.branches[repo][source.ConvertedRevision]} {
		t.Run("by "+name+" its folders are configs and its shards are in numeric order", func(t *testing.T) {
			got, err := plan(func(r *Request) { r.Ref.Revision = revision; r.Config = "other-x" })
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"other-x/train/0000.parquet", "other-x/train/2000.parquet", "other-x/train/10000.parquet"}; !slices.Equal(paths(got), want) {
				t.Errorf("got %q, want %q", paths(got), want)
			}
			if f := got.Facts; f.Source != SourceConverted || f.Sha != f.DataSha {
				t.Errorf("got facts %+v", f)
			}
		})
	}
}

func TestWithoutAConversionTheErrorNamesTheRule(t *testing.T) {
	h := csvHub(t, nil)
	for _, conversion := range []string{ConversionAuto, ConversionAlways} {
		r := request(t)
		r.Conversion = conversion
		_, err := planner(h).Plan(t.Context(), source.HubToken{}, r)
		wantError(t, err, source.KindUnsupported, "PRO users and Enterprise")
	}
}

func TestAParquetDatasetIsReadFromItsOwnTree(t *testing.T) {
	h := flightsHub(t)
	h.commit(repo, source.ConvertedRevision, convertedFiles(t))
	if plan := mustPlan(t, planner(h), request(t)); plan.Facts.Source != SourceNative {
		t.Errorf("got source %s", plan.Facts.Source)
	}
}

func TestAPartialConversionNeedsPermission(t *testing.T) {
	h := csvHub(t, map[string][]byte{
		"en/partial-train/0000.parquet": flights(t, 0, 4, 4), "en/partial-train/0001.parquet": flights(t, 4, 4, 4),
		"fr/train/0000.parquet": flights(t, 0, 4, 4),
	})
	r := request(t)
	r.Conversion, r.Config = ConversionAlways, "en"
	_, err := planner(h).Plan(t.Context(), source.HubToken{}, r)
	wantError(t, err, source.KindUnsupported, `partial="allow"`)
	r.Partial = PartialAllow
	plan := mustPlan(t, planner(h), r)
	if !plan.Facts.Partial || !plan.Partitions[0].Partial || plan.Facts.Split != "train" || len(plan.Partitions) != 2 {
		t.Errorf("got facts %+v and %d partitions", plan.Facts, len(plan.Partitions))
	}
	t.Run("also where it is read by data_dir", func(t *testing.T) {
		r := request(t)
		r.Ref.Revision, r.DataDir = source.ConvertedRevision, "en"
		_, err := planner(h).Plan(t.Context(), source.HubToken{}, r)
		wantError(t, err, source.KindUnsupported, `partial="allow"`)
		r.Partial = PartialAllow
		if plan := mustPlan(t, planner(h), r); !plan.Facts.Partial || len(plan.Partitions) != 2 {
			t.Errorf("got facts %+v and %d partitions", plan.Facts, len(plan.Partitions))
		}
	})
	r.Config = "fr"
	if plan := mustPlan(t, planner(h), r); plan.Facts.Partial {
		t.Error("the whole config is called partial")
	}
}

func TestManyConvertedShardsAreInPartOrder(t *testing.T) {
	tree := treeOf("", "c/train-part0/0000.parquet", "c/train-part0/0001.parquet", "c/train-part10/0000.parquet", "c/train-part2/0000.parquet", "c/test/0000.parquet", "c/train/readme.txt", "x.parquet")
	l, err := resolveConverted(tree, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := chosen(l, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"c/train-part0/0000.parquet", "c/train-part0/0001.parquet", "c/train-part2/0000.parquet", "c/train-part10/0000.parquet"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATicketOfAConversionCarriesWhatItsKeysDoNotSay(t *testing.T) {
	h := csvHub(t, convertedFiles(t))
	r := request(t)
	r.Ref.Revision = source.ConvertedRevision
	for _, part := range mustPlan(t, planner(h), r).Partitions {
		if part.Schema == nil {
			t.Error("without its schema, a ticket whose commits are equal is taken for a native one")
		}
	}
	r = request(t)
	r.Conversion = ConversionAlways
	for _, part := range mustPlan(t, planner(h), r).Partitions {
		if part.Schema != nil {
			t.Error("two different commits say that this is a conversion")
		}
	}
}
