package parquetfile

import (
	"bytes"

	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// pageIndexes are the column and offset indexes of the groups that have ended, as they will be in the file: the library's builders would keep every page of
// the file as objects until its end, twenty times the bytes.
type pageIndexes struct {
	schema *schema.Schema
	groups []groupIndex
	buf    bytes.Buffer
}

// groupIndex is one group's: first the column indexes, then the offset indexes.
type groupIndex struct {
	raw   []byte
	split int                        // where the offset indexes begin
	at    metadata.PageIndexLocation // in raw
}

// add takes over the indexes of the chunks of a group, whose places in the file are known.
func (p *pageIndexes) add(chunks []*chunk) error {
	b := metadata.PageIndexBuilder{Schema: p.schema}
	if err := b.AppendRowGroup(); err != nil {
		return err
	}
	for i, c := range chunks {
		if err := c.describe(&b, i); err != nil {
			return err
		}
	}
	b.Finish()
	p.buf.Reset()
	w, g := &counted{w: &p.buf}, groupIndex{}
	if err := b.WriteTo(w, &g.at); err != nil {
		return err
	}
	g.raw, g.split = bytes.Clone(p.buf.Bytes()), p.buf.Len()
	for _, at := range g.at.OffsetIndexLocation[0] {
		if at != nil {
			g.split = min(g.split, int(at.Offset))
		}
	}
	p.groups = append(p.groups, g)
	return nil
}

// write appends all indexes to the file, and returns where they are.
func (p *pageIndexes) write(w *counted) (metadata.PageIndexLocation, error) {
	all := metadata.PageIndexLocation{ColIndexLocation: map[uint64][]*metadata.IndexLocation{}, OffsetIndexLocation: map[uint64][]*metadata.IndexLocation{}}
	part := func(group int, raw []byte, from int, places, into map[uint64][]*metadata.IndexLocation) error {
		if at, ok := places[0]; ok {
			for _, one := range at {
				if one != nil {
					one.Offset += w.n - int64(from)
				}
			}
			into[uint64(group)] = at //nolint:gosec // at most maxGroups
		}
		_, err := w.Write(raw)
		return err
	}
	for i, g := range p.groups {
		if err := part(i, g.raw[:g.split], 0, g.at.ColIndexLocation, all.ColIndexLocation); err != nil {
			return all, err
		}
	}
	for i, g := range p.groups {
		if err := part(i, g.raw[g.split:], g.split, g.at.OffsetIndexLocation, all.OffsetIndexLocation); err != nil {
			return all, err
		}
	}
	return all, nil
}
