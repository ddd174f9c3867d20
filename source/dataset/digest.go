package dataset

import (
	"context"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source/scan"
)

// digest is what a plan keeps of a footer, which itself takes hundreds of times as
// much.
type digest struct {
	schema *arrow.Schema
	rows   int64
	groups []scan.Decision // of a plan
	bytes  int64           // that the footer takes while it is there
	err    error           // why nothing could be decided
}

// readFooters fills the digests of some files.
func (p *Planner) readFooters(ctx context.Context, d *description, r Request, which []int, decide bool) error {
	err := p.eachFooter(ctx, d.data, d.files, which, func(i int, f *scan.Footer) {
		g := &digest{schema: d.schemas.same(f.Schema()), rows: f.NumRows(), bytes: f.MemSize()}
		if decide {
			// That the files' schemas disagree is said first, so this error has to wait.
			g.groups, g.err = r.Query.Prune(ctx, f)
		}
		d.digests[i] = g
	})
	if err == nil {
		err = ctx.Err() // which kept row groups from being decided about
	}
	return err
}

// schemaSet makes one of equal schemas: a dataset's files mostly have the same, and
// of thousands of columns each takes a megabyte.
type schemaSet struct {
	mu  sync.Mutex
	all []*arrow.Schema
}

// maxKnownSchemas is with how many schemas a new one is compared.
const maxKnownSchemas = 16

// same is a schema equal to s that was there before, or s.
func (set *schemaSet) same(s *arrow.Schema) *arrow.Schema {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, known := range set.all {
		if known == s || sameSchema(known, s) {
			return known
		}
	}
	if len(set.all) < maxKnownSchemas {
		set.all = append(set.all, s)
	}
	return s
}
