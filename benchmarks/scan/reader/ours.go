package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/filter"
	"github.com/hubflight/hubflight/source/localfs"
	"github.com/hubflight/hubflight/source/rangeio"
	"github.com/hubflight/hubflight/source/scan"
)

// ours reads as the server does for a local folder, without the server.
type ours struct {
	pool *scan.Pool // the server has one for all streams
	open map[string]opened
}

// opened is a file that was found once; its bytes are opened for each read.
type opened struct {
	roots *localfs.Roots
	store *localfs.Store
	file  source.File
}

func newOurs() *ours { return &ours{pool: scan.NewPool(), open: map[string]opened{}} }

func (o *ours) close() error {
	var err error
	for _, found := range o.open {
		err = errors.Join(err, found.roots.Close())
	}
	return err
}

func (o *ours) read(ctx context.Context, q question, schema func(*arrow.Schema) error, batch take) (err error) {
	task, err := o.task(ctx, q)
	if err != nil {
		return err
	}
	stream, err := scan.Open(ctx, task)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	if err := schema(stream.Schema()); err != nil {
		return err
	}
	return drain(ctx, stream, batch)
}

// drain gives every batch that is left. The caller closes the stream.
func drain(ctx context.Context, stream dataset.Stream, batch take) error {
	for {
		b, err := stream.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = batch(b)
		b.Release()
		if err != nil {
			return err
		}
	}
}

// task is what a ticket for the whole file becomes. The stream owns its Reader.
func (o *ours) task(ctx context.Context, q question) (scan.Task, error) {
	found, err := o.find(ctx, q.Path)
	if err != nil {
		return scan.Task{}, err
	}
	below, err := found.store.Open(ctx, found.file)
	if err != nil {
		return scan.Task{}, err
	}
	reader := rangeio.New(below, rangeio.Options{File: found.file})
	footer, err := scan.ReadFooter(ctx, reader, found.file)
	if err != nil {
		return scan.Task{}, errors.Join(err, reader.Close())
	}
	query := scan.Query{BatchRows: q.BatchRows}
	for _, name := range q.Columns {
		query.Columns = append(query.Columns, source.Col(name))
	}
	if len(q.Filters) > 0 && !bytes.Equal(q.Filters, []byte("null")) {
		if query.Filters, err = filter.Parse(q.Filters); err != nil {
			return scan.Task{}, errors.Join(err, reader.Close())
		}
	}
	return scan.Task{File: found.file, Reader: reader, Footer: footer, Query: query, Limit: -1, Memory: o.pool}, nil
}

func (o *ours) find(ctx context.Context, path string) (opened, error) {
	if found, ok := o.open[path]; ok {
		return found, nil
	}
	folder, name := filepath.Split(path)
	roots, err := localfs.NewRoots([]string{folder})
	if err != nil {
		return opened{}, err
	}
	found, err := findIn(ctx, roots, filepath.Clean(folder), name)
	if err != nil {
		return opened{}, errors.Join(err, roots.Close())
	}
	o.open[path] = found
	return found, nil
}

func findIn(ctx context.Context, roots *localfs.Roots, folder, name string) (opened, error) {
	ref, err := source.ParseRef("file://" + filepath.ToSlash(folder))
	if err != nil {
		return opened{}, err
	}
	store, err := roots.Store(ref)
	if err != nil {
		return opened{}, err
	}
	at, err := store.Resolve(ctx, "")
	if err != nil {
		return opened{}, err
	}
	for file, err := range store.Files(ctx, at, "") {
		if err != nil {
			return opened{}, err
		}
		if file.Path == name {
			return opened{roots, store, file}, nil
		}
	}
	return opened{}, fmt.Errorf("%s is not in its folder", name)
}
