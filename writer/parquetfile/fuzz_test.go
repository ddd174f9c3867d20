package parquetfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzWrite makes a table, properties and groups from a seed. What is written has the table's values when the Arrow library reads it, and is the
// same file however the rows came in batches and wherever its pages waited.
func FuzzWrite(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, uint16(300+200*seed), uint16(100), uint16(70))
	}
	f.Fuzz(func(t *testing.T, seed uint64, rows, group, batch uint16) {
		r := rand.New(rand.NewPCG(seed, uint64(rows)))
		rec := someTable(t, r, 1+int(rows)%3000, someType(r, 3), leafTypes[r.IntN(len(leafTypes))])
		props := someProperties(r)
		perGroup := int64(1 + int(group)%4000)
		raw := written(t, rec, props, perGroup, func() int64 { return 1 + int64(batch)%1000 })
		got := readBack(t, raw)
		for i := range got {
			if want := shown(rec.Column(i)); !slices.Equal(got[i], want) {
				t.Fatalf("column %d, %s: %s", i, rec.Column(i).DataType(), firstDifference(got[i], want))
			}
		}
		otherwise := written(t, rec, props, perGroup, func() int64 { return 1 + r.Int64N(2000) })
		if !bytes.Equal(raw, otherwise) {
			t.Fatalf("%s: other batches make another file", rec.Schema())
		}
	})
}

func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("row %d is %s, not %s", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("%d rows, not %d", len(got), len(want))
}
